/* SPDX-License-Identifier: MIT */
/* The inputs under the rule that the options give, with outputs created beside their layout. */
#include <stdlib.h>

#include "cli.h"
#include "options.h"
#include "run.h"
#include "types.h"

/* ---------------------------------------------------------------- the rule */

static bool apply_kv_lens(struct run_batch *run) {
    const struct run_options *o = run->options;
    const int64_t n_items = run->batch.n_sequences;
    if (o->n_kv_lens && o->n_kv_lens != n_items)
        return complain("--kv-lens: %d lengths, but the batch has %lld item%s", o->n_kv_lens, (long long)n_items,
                        n_items == 1 ? "" : "s");
    for (int i = 0; i < o->n_kv_lens; i++) {
        if (o->kv_lens[i] > run->seqs[i].n_k)
            return complain("--kv-lens: length %d is %lld, but %s has %lld tokens", i + 1, (long long)o->kv_lens[i],
                            o->inputs.files[1], (long long)run->seqs[i].n_k);
        run->seqs[i].n_k = o->kv_lens[i];
    }
    return true;
}

static void set_rule(struct run_batch *run) {
    const struct run_options *o = run->options;
    sa_batch *b = &run->batch;
    b->flags = (o->causal ? SA_CAUSAL : 0) | (o->has_window ? SA_WINDOW : 0);
    b->window_left = o->window[0];
    b->window_right = o->window[1];
    b->n_sink_keys = o->n_sink_keys;
    b->scale = o->scale;
    if (o->store.has_type)
        b->o_type = o->store.type;
    for (int64_t i = 0; i < b->n_sequences && o->has_offset; i++) {
        run->seqs[i].q_offset = o->q_offset;
        run->seqs[i].flags = SA_SEQ_Q_OFFSET;
    }
}

/* ---------------------------------------------------------------- outputs */

static void set_output(struct run_batch *run, int64_t i, void *data) {
    const bool heads_first = run->options->inputs.heads_first;
    const int64_t d = run->batch.d_v;
    run->seqs[i].o =
        (sa_output){data, heads_first ? d : run->batch.n_query_heads * d, heads_first ? run->seqs[i].n_q * d : d};
}

static void set_lse(struct run_batch *run, int64_t i, void *data) {
    run->seqs[i].lse = (sa_output){data, 1, run->seqs[i].n_q};
}

/* Gives sequence i its part of an output. */
static void set_data(struct run_batch *run, int64_t i, bool is_lse, const void *data) {
    void *elements = (void *)(uintptr_t)data;
    if (is_lse)
        set_lse(run, i, elements);
    else
        set_output(run, i, elements);
}

/* [batch,] heads, tokens of the log-sum-exp; everything else is as q has it. */
static struct array npy_shape(const struct run_batch *run, bool is_lse) {
    struct array array = run->inputs.npy[0].array;
    int64_t *s = array.shape + (array.rank - 3);
    array.type = is_lse ? SA_F32 : run->batch.o_type;
    s[2] = run->batch.d_v;
    if (!is_lse)
        return array;
    s[1] = s[run->options->inputs.heads_first];
    s[0] = run->batch.n_query_heads;
    array.rank--;
    return array;
}

/* One array for all sequences, with a batch dimension if q has one. */
static bool create_npy(struct run_batch *run, const char *path, bool is_lse, struct output *output) {
    struct array array = npy_shape(run, is_lse);
    struct fault fault;
    if (!npy_create(output, path, &array, &fault))
        return complain("%s", fault.text);
    const int64_t n = run->batch.n_sequences, all_bytes = array_elements(&array) * (int64_t)type_bytes(array.type);
    for (int64_t i = 0; i < n; i++)
        set_data(run, i, is_lse, (const char *)array.data + i * (all_bytes / n));
    return true;
}

static struct array tensor_shape(const struct run_batch *run, int64_t i, bool is_lse) {
    const int64_t n_q = run->seqs[i].n_q, heads = run->batch.n_query_heads;
    bool heads_first = is_lse || run->options->inputs.heads_first;
    return (struct array){.rank = is_lse ? 2 : 3,
                          .type = is_lse ? SA_F32 : run->batch.o_type,
                          .shape = {heads_first ? heads : n_q, heads_first ? n_q : heads, run->batch.d_v}};
}

/* The tensors P.o or P.lse of all sequences in one file. */
static bool create_archive(struct run_batch *run, const char *path, bool is_lse, struct output *output) {
    size_t n = (size_t)run->batch.n_sequences;
    struct fault fault = {"no memory for the names of tensors"};
    struct array *arrays = calloc(n, sizeof *arrays);
    char **names = calloc(n, sizeof *names);
    bool good = arrays && names;
    for (size_t i = 0; i < n && good; i++) {
        arrays[i] = tensor_shape(run, (int64_t)i, is_lse);
        arrays[i].name = names[i] = tensor_name(run->inputs.names[i], is_lse ? "lse" : "o");
        good = names[i] != NULL;
    }
    good = (good && safetensors_create(output, path, n, arrays, &fault)) || complain("%s", fault.text);
    for (size_t i = 0; i < n && good; i++)
        set_data(run, (int64_t)i, is_lse, arrays[i].data);
    for (size_t i = 0; names && i < n; i++)
        free(names[i]);
    free(names);
    free(arrays);
    return good;
}

static bool create_outputs(struct run_batch *run) {
    const struct run_options *o = run->options;
    bool (*create)(struct run_batch *, const char *, bool, struct output *) =
        is_archive(&o->inputs) ? create_archive : create_npy;
    return create(run, o->o_path, false, &run->outputs[0]) &&
           (!run->has_lse || create(run, o->lse_path, true, &run->outputs[1]));
}

/* ---------------------------------------------------------------- open and close */

bool run_open(const struct run_options *options, struct run_batch *run) {
    *run = (struct run_batch){.options = options, .has_lse = options->lse_path != NULL};
    if (!inputs_open(&options->inputs, &run->inputs))
        return false;
    run->batch = run->inputs.batch;
    run->seqs = run->inputs.seqs;
    if (!apply_kv_lens(run))
        return false;
    set_rule(run);
    return create_outputs(run);
}

bool run_store(sa_engine *engine, struct run_batch *run) {
    const struct store_options *options = &run->options->store;
    if (!store_wanted(options))
        return true;
    if (!store_open(engine, options, &run->batch, &run->store) || !store_fill(engine, &run->store, &run->batch))
        return false;
    run->batch = run->store.batch;
    run->seqs = run->store.seqs;
    return true;
}

static bool commit(struct output *output) {
    struct fault fault;
    return output_commit(output, &fault) || complain("%s", fault.text);
}

bool run_commit(struct run_batch *run) {
    return commit(&run->outputs[0]) && (!run->has_lse || commit(&run->outputs[1]));
}

void run_close(struct run_batch *run) {
    for (int i = 0; i < 2; i++)
        output_discard(&run->outputs[i]);
    store_close(&run->store);
    inputs_close(&run->inputs);
}
