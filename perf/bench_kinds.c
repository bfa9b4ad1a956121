/* SPDX-License-Identifier: MIT */
#include "bench_kinds.h"

#include <stdlib.h>
#include <string.h>

#include "bench_arena.h"
#include "bench_dice.h"
#include "elements.h"

/* ---------------------------------------------------------------- words */

static bool parse_real(const char *text, double low, double high, double *value) {
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == 0 && *value >= low && *value <= high;
}

static bool parse_whole(const char *text, int64_t *value) {
    double x;
    const bool good = parse_real(text, 1, INT32_MAX, &x);
    *value = good ? (int64_t)x : 0;
    return good;
}

static bool parse_blocks(const char *text, struct bench_kinds *kinds) {
    char tokens[24], *colon = memccpy(tokens, text, ':', sizeof tokens);
    if (!colon)
        return false;
    colon[-1] = 0;
    return parse_whole(tokens, &kinds->block) && parse_real(text + (colon - tokens), 0, 1, &kinds->block_share);
}

static bool parse_bias(const char *text, struct bench_kinds *kinds) {
    int type;
    const bool good = bench_type_named(text, &type) && type != SA_I8;
    kinds->bias = good ? 1 + type : 0;
    return good;
}

static bool parse_flag(const char *key, struct bench_kinds *kinds) {
    bool *flag = strcmp(key, "alibi") == 0       ? &kinds->alibi
                 : strcmp(key, "sinks") == 0     ? &kinds->sinks
                 : strcmp(key, "positions") == 0 ? &kinds->positions
                                                 : NULL;
    return flag && (*flag = true);
}

bool bench_kinds_parse(const char *key, const char *value, struct bench_kinds *kinds, bool *known) {
    *known = true;
    if (!value)
        return *known = parse_flag(key, kinds);
    if (strcmp(key, "softcap") == 0)
        return parse_real(value, 1e-3, 1e6, &kinds->softcap);
    if (strcmp(key, "mask") == 0)
        return parse_real(value, 1e-6, 1, &kinds->mask);
    if (strcmp(key, "docs") == 0)
        return parse_whole(value, &kinds->docs);
    if (strcmp(key, "prefix") == 0)
        return parse_whole(value, &kinds->prefix);
    if (strcmp(key, "bias") == 0)
        return parse_bias(value, kinds);
    if (strcmp(key, "blocks") == 0)
        return parse_blocks(value, kinds);
    return *known = false;
}

bool bench_kinds_hide(const struct bench_kinds *kinds) {
    return kinds->positions || kinds->mask > 0 || kinds->docs || kinds->prefix || kinds->block;
}

/* ---------------------------------------------------------------- arrays */

enum { MOST_ARRAYS = 8 }; /* of a sequence */

struct maker {
    const struct bench_kinds *kinds;
    struct bench_dice dice;
    void **next; /* where the address of the next array goes */
    bool good;
};

static void *make_array(struct maker *m, int64_t n, size_t bytes) {
    void *array = calloc((size_t)n + 1, bytes);
    m->good = m->good && array;
    *m->next = array;
    m->next += array != NULL;
    return array;
}

static double uniform(struct maker *m) { return (double)(bench_roll(&m->dice) >> 11) * 0x1p-53; }

static void give_bias(struct maker *m, sa_sequence *seq) {
    const int type = m->kinds->bias - 1, bytes = element_bytes(type);
    char *bias = make_array(m, seq->n_q * seq->n_k, (size_t)bytes);
    for (int64_t i = 0; bias && i < seq->n_q * seq->n_k; i++)
        element_store(type, 2 * uniform(m) - 1, bias + i * bytes);
    seq->bias = (sa_grid){bias, 0, seq->n_k, 1};
}

static void give_mask(struct maker *m, sa_sequence *seq) {
    unsigned char *mask = make_array(m, seq->n_q * seq->n_k, 1);
    for (int64_t i = 0; mask && i < seq->n_q * seq->n_k; i++)
        mask[i] = uniform(m) < m->kinds->mask;
    seq->mask = (sa_grid){mask, 0, seq->n_k, 1};
}

static void give_documents(struct maker *m, sa_sequence *seq) {
    int32_t *documents = make_array(m, seq->n_k, sizeof *documents);
    for (int64_t j = 0; documents && j < seq->n_k; j++)
        documents[j] = (int32_t)(j / m->kinds->docs);
    seq->k_documents = documents;
}

static void give_positions(struct maker *m, sa_sequence *seq) {
    int32_t *q = make_array(m, seq->n_q, sizeof *q), *k = make_array(m, seq->n_k, sizeof *k);
    for (int64_t i = 0; q && i < seq->n_q; i++)
        q[i] = (int32_t)(seq->n_k - seq->n_q + i);
    for (int64_t j = 0; k && j < seq->n_k; j++)
        k[j] = (int32_t)j;
    seq->q_positions = q;
    seq->k_positions = k;
}

/* The last keys that a block of queries has, and others at random. */
static void give_blocks(struct maker *m, sa_sequence *seq) {
    const int64_t block = m->kinds->block, rows = (seq->n_q + block - 1) / block,
                  columns = (seq->n_k + block - 1) / block;
    int64_t *begin = make_array(m, rows + 1, sizeof *begin);
    int32_t *blocks = make_array(m, rows * columns, sizeof *blocks);
    for (int64_t r = 0, n = 0; begin && blocks && r < rows; r++) {
        for (int64_t c = 0; c < columns; c++)
            if (c == columns - rows + r || uniform(m) < m->kinds->block_share)
                blocks[n++] = (int32_t)c;
        begin[r + 1] = n;
    }
    seq->blocks =
        (sa_block_sparsity){.partial = {begin, blocks, 0}, .q_block = (int32_t)block, .k_block = (int32_t)block};
}

static void give_all(struct maker *m, sa_sequence *seq) {
    if (m->kinds->bias)
        give_bias(m, seq);
    if (m->kinds->mask > 0)
        give_mask(m, seq);
    if (m->kinds->docs)
        give_documents(m, seq);
    if (m->kinds->positions)
        give_positions(m, seq);
    if (m->kinds->block)
        give_blocks(m, seq);
    seq->n_prefix_keys = m->kinds->prefix;
}

/* Slopes 2^-(8 (h + 1) / heads), as ALiBi has them, and sink logits about those of a key. */
static void give_batch(struct maker *m, sa_batch *batch) {
    float *slopes = make_array(m, batch->n_query_heads, sizeof *slopes),
          *sinks = make_array(m, batch->n_query_heads, sizeof *sinks);
    for (int h = 0; slopes && sinks && h < batch->n_query_heads; h++) {
        slopes[h] = (float)(1.0 / (double)(1 << (8 * (h + 1) / batch->n_query_heads)));
        sinks[h] = (float)uniform(m);
    }
    batch->alibi_slopes = m->kinds->alibi ? slopes : NULL;
    batch->sink_logits = m->kinds->sinks ? sinks : NULL;
    batch->softcap = (float)m->kinds->softcap;
    batch->bias_type = m->kinds->bias ? m->kinds->bias - 1 : SA_F32;
}

bool bench_kinds_open(const struct bench_kinds *kinds, sa_batch *batch, sa_sequence *seqs, void ***memory) {
    *memory = calloc((size_t)(batch->n_sequences + 1) * MOST_ARRAYS, sizeof **memory);
    struct maker m = {.kinds = kinds, .dice = {8}, .next = *memory, .good = true};
    if (!*memory)
        return false;
    give_batch(&m, batch);
    for (int64_t i = 0; m.good && i < batch->n_sequences; i++)
        give_all(&m, &seqs[i]);
    return m.good;
}

void bench_kinds_free(void **memory) {
    for (void **at = memory; at && *at; at++)
        free(*at);
    free(memory);
}

/* ---------------------------------------------------------------- who sees what, from the arrays */

static bool is_listed(const sa_block_sparsity *blocks, int64_t i, int64_t j) {
    const int64_t row = i / blocks->q_block;
    for (int64_t at = blocks->partial.begin[row]; at < blocks->partial.begin[row + 1]; at++)
        if (blocks->partial.blocks[at] == j / blocks->k_block)
            return true;
    return false;
}

bool bench_kinds_see(const struct bench_kinds *kinds, const sa_sequence *seq, int64_t i, int64_t j, bool beside) {
    const unsigned char *mask = seq->mask.data;
    return (beside || j < kinds->prefix) && (!mask || mask[i * seq->n_k + j]) &&
           (!kinds->docs || seq->k_documents[seq->n_k - seq->n_q + i] == seq->k_documents[j]) &&
           (!kinds->block || is_listed(&seq->blocks, i, j));
}
