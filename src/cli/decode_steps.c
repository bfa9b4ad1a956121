/* SPDX-License-Identifier: MIT */
/* Tensors in files as sequences that grow token by token. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "decode.h"
#include "progress.h"
#include "types.h"

/* A cache that a last-level cache holds half of is still partly read from there; beyond that hardly. */
enum { FAR = 2 };

/* ---------------------------------------------------------------- open and close */

static const char *name_of(const struct decode *decode, int64_t i) {
    return decode->inputs.names ? decode->inputs.names[i] : decode->options->inputs.files[0];
}

/* Does every token have its q, and is there something to decode? */
static bool check_lengths(struct decode *decode) {
    const struct decode_options *o = decode->options;
    int64_t longest = 0;
    for (int64_t i = 0; i < decode->inputs.batch.n_sequences; i++) {
        const sa_sequence *seq = &decode->inputs.seqs[i];
        if (seq->n_q != seq->n_k)
            return complain("%s: %lld queries, but %lld keys: a token needs one of each", name_of(decode, i),
                            (long long)seq->n_q, (long long)seq->n_k);
        if (o->n_prompt > seq->n_k)
            return complain("--prompt is %lld, but %s has %lld tokens", (long long)o->n_prompt, name_of(decode, i),
                            (long long)seq->n_k);
        longest = seq->n_k > longest ? seq->n_k : longest;
    }
    decode->n_steps = longest - o->n_prompt;
    if (decode->n_steps <= 0)
        return complain("%s: no token is left after a prompt of %lld", o->inputs.files[0], (long long)o->n_prompt);
    if (o->n_steps > decode->n_steps)
        return complain("--steps is %lld, but only %lld tokens are left after the prompt", (long long)o->n_steps,
                        (long long)decode->n_steps);
    decode->n_steps = o->n_steps ? o->n_steps : decode->n_steps;
    return true;
}

/* One after the other, each [token][head][d]. */
static bool make_outputs(struct decode *decode) {
    sa_batch *b = &decode->inputs.batch;
    const size_t row = (size_t)b->n_query_heads * (size_t)b->d_v * type_bytes(b->o_type);
    size_t n = 0;
    for (int64_t i = 0; i < b->n_sequences; i++)
        n += (size_t)decode->inputs.seqs[i].n_q;
    decode->o = calloc(n, row);
    if (!decode->o)
        return complain("no memory for the outputs of %zu tokens", n);
    char *at = decode->o;
    for (int64_t i = 0; i < b->n_sequences; at += (size_t)decode->inputs.seqs[i++].n_q * row)
        decode->inputs.seqs[i].o.data = at;
    return true;
}

bool decode_open(const struct decode_options *options, struct decode *decode) {
    *decode = (struct decode){.options = options};
    if (!attention_open(&options->attention, &decode->attention) || !inputs_open(&options->inputs, &decode->inputs) ||
        !attention_apply(&decode->attention, &decode->inputs.batch, decode->inputs.seqs) || !check_lengths(decode))
        return false;
    sa_batch *b = &decode->inputs.batch;
    b->flags = SA_CAUSAL;
    b->scale = options->scale;
    b->o_type = options->store.has_type ? options->store.type : b->o_type;
    decode->seqs = calloc((size_t)b->n_sequences, sizeof *decode->seqs);
    return (decode->seqs || complain("no memory for a list of sequences")) && make_outputs(decode);
}

void decode_close(struct decode *decode) {
    store_close(&decode->store);
    inputs_close(&decode->inputs);
    attention_close(&decode->attention);
    free(decode->seqs);
    free(decode->o);
}

/* ---------------------------------------------------------------- steps */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t decode_end(const struct decode *decode, int64_t i) {
    return least(decode->options->n_prompt + decode->n_steps, decode->inputs.seqs[i].n_k);
}

static const void *at_token(const void *data, int64_t token, int64_t stride, int type) {
    return (const char *)data + token * stride * (int64_t)type_bytes(type);
}

static sa_tensor from_token(sa_tensor t, int64_t token, int type) {
    t.data = at_token(t.data, token, t.token_stride, type);
    return t;
}

/* Tokens begin .. end - 1 are next, of the sequences that have them. */
static void set_step(struct decode *decode, int64_t begin, int64_t end) {
    const sa_batch *from = &decode->inputs.batch, *b = &decode->batch;
    for (int64_t i = 0; i < b->n_sequences; i++) {
        const sa_sequence *file = &decode->inputs.seqs[i], *whole = &decode->store.seqs[i];
        const int64_t first = least(begin, file->n_k), n = least(end, file->n_k) - first;
        sa_sequence *seq = &decode->seqs[i];
        decode->store.tokens[i] = (sa_new_tokens){
            .n = n, .k = from_token(file->k, first, from->k_type), .v = from_token(file->v, first, from->v_type)};
        *seq = *whole;
        seq->n_q = n;
        seq->n_k = first + n;
        seq->q = from_token(whole->q, first, b->q_type);
        seq->o.data = (char *)whole->o.data + first * b->n_query_heads * b->d_v * (int64_t)type_bytes(b->o_type);
    }
}

/* Bytes of k, v and scales that the step reads. */
static double bytes_read(const struct decode *decode) {
    const sa_batch *b = &decode->batch;
    const bool scaled = decode->options->store.kv_int8;
    const size_t row = (size_t)b->d_qk * type_bytes(b->k_type) + (size_t)b->d_v * type_bytes(b->v_type) +
                       (scaled ? 2 * type_bytes(b->scale_type) : 0);
    double tokens = 0;
    for (int64_t i = 0; i < b->n_sequences; i++)
        tokens += decode->seqs[i].n_q ? (double)decode->seqs[i].n_k : 0;
    return tokens * (double)b->n_kv_heads * (double)row;
}

static bool append(sa_engine *engine, struct decode *decode) {
    const sa_batch *from = &decode->inputs.batch;
    return store_append(engine, &decode->batch, decode->store.tokens, from->k_type, from->v_type);
}

static bool attend(sa_engine *engine, const struct decode *decode) {
    return sa_batch_forward(engine, &decode->batch) == SA_OK || complain("%s", sa_last_reason());
}

bool decode_forward(sa_engine *engine, sa_batch *batch) {
    sa_batch_info info = {.struct_size = sizeof info};
    double seconds;
    if (sa_batch_get_info(engine, batch, &info) != SA_OK)
        return complain("%s", sa_last_reason());
    return progress_forward(engine, batch, info.n_pairs, &seconds);
}

static bool take_prompt(sa_engine *engine, struct decode *decode, struct decode_times *times) {
    double begin = seconds_now();
    if (decode->options->n_prompt == 0)
        return true;
    set_step(decode, 0, decode->options->n_prompt);
    bool good = append(engine, decode) && decode_forward(engine, &decode->batch);
    times->prompt = seconds_now() - begin;
    return good;
}

static bool take_step(sa_engine *engine, struct decode *decode, int64_t token, struct decode_report *report) {
    struct decode_times *t = &report->times;
    set_step(decode, token, token + 1);
    const double begin = seconds_now();
    if (!append(engine, decode))
        return false;
    const double appended = seconds_now();
    if (!attend(engine, decode))
        return false;
    const double end = seconds_now(), bytes = bytes_read(decode);
    bench_samples_add(&t->steps, end - begin);
    t->appending += appended - begin;
    t->attending += end - appended;
    t->bytes += bytes;
    if (report->last_level > 0 && bytes > FAR * report->last_level) {
        t->far_bytes += bytes;
        t->far_seconds += end - appended;
    }
    report->cache_bytes = bytes > report->cache_bytes ? bytes : report->cache_bytes;
    for (int64_t i = 0; i < decode->batch.n_sequences; i++)
        report->n_tokens += decode->seqs[i].n_q;
    return true;
}

bool decode_run(sa_engine *engine, struct decode *decode, struct decode_report *report) {
    const int64_t n_prompt = decode->options->n_prompt;
    struct progress progress;
    if (!store_open(engine, &decode->options->store, &decode->inputs.batch, &decode->store))
        return false;
    decode->batch = decode->store.batch;
    decode->batch.sequences = decode->seqs;
    bool good = take_prompt(engine, decode, &report->times);
    progress_start(&progress, decode->n_steps);
    for (int64_t step = 0; good && step < decode->n_steps; step++) {
        good = take_step(engine, decode, n_prompt + step, report);
        __atomic_store_n(&progress.done, step + 1, __ATOMIC_RELAXED);
    }
    progress_stop(&progress);
    return good;
}
