/* SPDX-License-Identifier: MIT */
/* Patterns as batches, and what they lose. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cheaper.h"
#include "cli.h"
#include "reference.h"

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int n_kv_heads(const sa_batch *batch) { return batch->n_kv_heads ? batch->n_kv_heads : batch->n_query_heads; }

bool cheaper_has_lists(const struct cheaper_pattern *pattern) { return pattern->kind >= CHEAPER_STRIDED; }

/* ---------------------------------------------------------------- outputs */

static int64_t count_rows(const sa_batch *batch) {
    int64_t n_rows = 0;
    for (int64_t i = 0; i < batch->n_sequences; i++)
        n_rows += batch->sequences[i].n_q * batch->n_query_heads;
    return n_rows;
}

bool cheaper_outputs_open(struct cheaper_outputs *outputs, const sa_batch *batch) {
    const int64_t n_rows = count_rows(batch);
    outputs->o = calloc((size_t)(n_rows * batch->d_v) + 1, sizeof(float));
    outputs->lse = calloc((size_t)n_rows + 1, sizeof(float));
    return (outputs->o && outputs->lse) || complain("no memory for the outputs");
}

void cheaper_outputs_close(struct cheaper_outputs *outputs) {
    free(outputs->o);
    free(outputs->lse);
}

bool cheaper_outputs_are_numbers(const struct cheaper_outputs *outputs, const sa_batch *batch) {
    const int64_t n_rows = count_rows(batch);
    bool good = true;
    for (int64_t row = 0; row < n_rows; row++)
        good &= !isnan(outputs->lse[row]);
    for (int64_t at = 0; at < n_rows * batch->d_v; at++)
        good &= isfinite(outputs->o[at]) != 0;
    return good || complain("the exact result holds NaN or infinity: there is nothing to compare with");
}

/* Both are left packed: [token][head][d_v] and [head][token]. */
void cheaper_outputs_set(const struct cheaper_outputs *outputs, const sa_batch *batch, sa_sequence *seqs) {
    int64_t row = 0;
    for (int64_t i = 0; i < batch->n_sequences; i++) {
        seqs[i].o = (sa_output){.data = outputs->o + row * batch->d_v};
        seqs[i].lse = (sa_output){.data = outputs->lse + row};
        row += seqs[i].n_q * batch->n_query_heads;
    }
}

/* ---------------------------------------------------------------- lists */

static int64_t count_kept(const unsigned char *keep, int64_t n) {
    int64_t kept = 0;
    for (int64_t c = 0; c < n; c++)
        kept += keep[c];
    return kept;
}

/* Lists by query head from choices by kv head. */
static bool make_lists(struct cheaper_lists *lists, const struct cheaper_choice *choice, const sa_batch *batch) {
    const int64_t per_head = choice->n_q_blocks * choice->n_k_blocks;
    const int64_t group = batch->n_query_heads / n_kv_heads(batch);
    const int64_t kept = group * count_kept(choice->keep, n_kv_heads(batch) * per_head);
    int64_t x = 0, at = 0;
    lists->begin = malloc((size_t)(batch->n_query_heads * choice->n_q_blocks + 1) * sizeof *lists->begin);
    lists->blocks = malloc((size_t)(kept + 1) * sizeof *lists->blocks);
    if (!lists->begin || !lists->blocks)
        return complain("no memory for %lld blocks in lists", (long long)kept);
    for (int64_t h = 0; h < batch->n_query_heads; h++)
        for (int64_t b = 0; b < choice->n_q_blocks; b++) {
            const unsigned char *keep = choice->keep + h / group * per_head + b * choice->n_k_blocks;
            lists->begin[x++] = at;
            for (int64_t c = 0; c < choice->n_k_blocks; c++)
                if (keep[c])
                    lists->blocks[at++] = (int32_t)c;
        }
    lists->begin[x] = at;
    return true;
}

/* Keys of block c that the query at position p sees. */
static int64_t seen_of_block(const sa_batch *batch, const sa_sequence *seq, int64_t block, int64_t c, int64_t p) {
    int64_t end = smaller((c + 1) * block, seq->n_k);
    if (batch->flags & SA_CAUSAL)
        end = smaller(end, p + 1);
    return end > c * block ? end - c * block : 0;
}

static double count_pairs(const struct cheaper_lists *lists, const struct cheaper_choice *choice, const sa_batch *batch,
                          const sa_sequence *seq) {
    double pairs = 0;
    for (int64_t h = 0; h < batch->n_query_heads; h++)
        for (int64_t i = 0; i < seq->n_q; i++) {
            const int64_t *begin = lists->begin + h * choice->n_q_blocks + i / choice->block;
            for (int64_t at = begin[0]; at < begin[1]; at++)
                pairs += (double)seen_of_block(batch, seq, choice->block, lists->blocks[at], seq->n_k - seq->n_q + i);
        }
    return pairs;
}

static bool set_lists(struct cheaper_case *c, int64_t i, int64_t block, sa_engine *engine) {
    sa_sequence *seq = &c->seqs[i];
    struct cheaper_choice choice = {
        .block = block, .n_q_blocks = (seq->n_q + block - 1) / block, .n_k_blocks = (seq->n_k + block - 1) / block};
    if (seq->n_q == 0 || seq->n_k == 0)
        return true;
    choice.keep = calloc((size_t)(n_kv_heads(&c->batch) * choice.n_q_blocks), (size_t)choice.n_k_blocks);
    bool good = choice.keep || complain("no memory for a choice of blocks");
    good = good && cheaper_choose(&choice, &c->pattern, &c->batch, seq, engine);
    good = good && make_lists(&c->lists[i], &choice, &c->batch);
    free(choice.keep);
    if (!good)
        return false;
    c->pairs += count_pairs(&c->lists[i], &choice, &c->batch, seq);
    seq->blocks = (sa_block_sparsity){.partial = {c->lists[i].begin, c->lists[i].blocks, choice.n_q_blocks},
                                      .q_block = (int32_t)block,
                                      .k_block = (int32_t)block};
    return true;
}

/* ---------------------------------------------------------------- cases */

static void set_window(struct cheaper_case *c) {
    const bool causal = c->batch.flags & SA_CAUSAL;
    c->batch.flags |= SA_WINDOW;
    c->batch.window_left = causal ? c->pattern.size - 1 : c->pattern.size / 2;
    c->batch.window_right = c->pattern.size - 1 - c->batch.window_left;
    c->batch.n_sink_keys = c->pattern.sinks;
}

static bool ask_for_pairs(struct cheaper_case *c, sa_engine *engine) {
    sa_batch_info info = {.struct_size = sizeof info};
    if (sa_batch_get_info(engine, &c->batch, &info) != SA_OK)
        return complain("%s", sa_last_reason());
    c->pairs = (double)info.n_pairs;
    return true;
}

bool cheaper_case_open(struct cheaper_case *c, const struct cheaper_pattern *pattern, const sa_batch *exact,
                       int64_t block, sa_engine *engine) {
    const size_t n = (size_t)exact->n_sequences;
    *c = (struct cheaper_case){.pattern = *pattern, .batch = *exact};
    c->seqs = calloc(n + 1, sizeof *c->seqs);
    c->lists = calloc(n + 1, sizeof *c->lists);
    if (!c->seqs || !c->lists)
        return complain("no memory for a pattern");
    memcpy(c->seqs, exact->sequences, n * sizeof *c->seqs);
    c->batch.sequences = c->seqs;
    if (pattern->kind == CHEAPER_WINDOW || pattern->kind == CHEAPER_SINK)
        set_window(c);
    if (!cheaper_has_lists(pattern))
        return ask_for_pairs(c, engine);
    for (int64_t i = 0; i < exact->n_sequences; i++)
        if (!set_lists(c, i, block, engine))
            return false;
    return true;
}

void cheaper_case_close(struct cheaper_case *c) {
    for (int64_t i = 0; c->lists && i < c->batch.n_sequences; i++) {
        free(c->lists[i].begin);
        free(c->lists[i].blocks);
    }
    free(c->lists);
    free(c->seqs);
    bench_samples_free(&c->seconds);
}

/* ---------------------------------------------------------------- what is lost */

struct loss {
    double mass, mass_min, error, error_max;
    int64_t n_rows, n_errors;
};

/* The weights of a row are exp(s - lse), so those of the kept keys sum to exp(lse of the kept - lse of all). */
static void add_mass(struct loss *loss, double exact_lse, double lse) {
    if (!(exact_lse > -HUGE_VAL))
        return;
    const double mass = fmin(1, exp(lse - exact_lse));
    loss->mass += mass;
    loss->mass_min = fmin(loss->mass_min, mass);
    loss->n_rows++;
}

static void add_error(struct loss *loss, const float *exact, const float *o, int d) {
    double length = 0, difference = 0;
    for (int i = 0; i < d; i++) {
        const double e = (double)exact[i], x = (double)o[i] - e;
        length += e * e;
        difference += x * x;
    }
    if (length == 0)
        return;
    const double error = sqrt(difference / length);
    loss->error += error;
    loss->error_max = fmax(loss->error_max, error);
    loss->n_errors++;
}

void cheaper_compare(struct cheaper_case *c, const struct cheaper_outputs *exact, const struct cheaper_outputs *found) {
    struct loss loss = {.mass_min = 1};
    const int64_t n_rows = count_rows(&c->batch);
    for (int64_t row = 0; row < n_rows; row++) {
        const int64_t at = row * c->batch.d_v;
        add_mass(&loss, (double)exact->lse[row], (double)found->lse[row]);
        add_error(&loss, exact->o + at, found->o + at, c->batch.d_v);
    }
    c->mass_mean = loss.n_rows ? loss.mass / (double)loss.n_rows : 1;
    c->mass_min = loss.mass_min;
    c->error_mean = loss.n_errors ? loss.error / (double)loss.n_errors : 0;
    c->error_max = loss.error_max;
}

/* ---------------------------------------------------------------- against float64 */

static bool check_row(struct cheaper_case *c, int64_t i, int64_t token, int head) {
    double o[576], bound[576];
    struct reference_row row = {.o = o, .bound = bound};
    if (!reference_row(&c->batch, i, token, head, &row))
        return complain("no memory for the reference");
    for (int at = 0; at < c->batch.d_v; at++) {
        const double error = fabs(reference_output(&c->batch, &c->seqs[i], token, head, at) - o[at]);
        c->error_share = error > 0 ? fmax(c->error_share, error / bound[at]) : c->error_share;
        if (!(error <= bound[at]))
            return complain(
                "%s %lld is WRONG: sequence %lld, token %lld, head %d, element %d: off by %g, the bound is %g",
                cheaper_kind_names[c->pattern.kind], (long long)c->pattern.size, (long long)i, (long long)token, head,
                at, error, bound[at]);
    }
    return true;
}

bool cheaper_check(struct cheaper_case *c) {
    const int heads[2] = {0, c->batch.n_query_heads - 1};
    for (int64_t i = 0; i < c->batch.n_sequences; i++)
        for (int at = 0; at < 6 && c->seqs[i].n_q > 0; at++)
            if (!check_row(c, i, (c->seqs[i].n_q - 1) * at / 5, heads[at % 2]))
                return false;
    return true;
}
