/* SPDX-License-Identifier: MIT */
/* How much work a shape is: memory, visible pairs, bytes to read. */
#include "bench_shape.h"
#include "elements.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

int64_t bench_shape_tokens(const struct bench_shape *shape, int64_t n_k) {
    return shape->page ? (n_k + shape->page - 1) / shape->page * shape->page : n_k;
}

static size_t row_bytes(int type, int heads, int d) { return (size_t)heads * (size_t)d * (size_t)element_bytes(type); }

struct bench_extent bench_shape_extent(const struct bench_shape *shape) {
    struct bench_extent extent = {0};
    size_t n_q = 0, n_k = 0;
    for (int64_t i = 0; i < shape->n_seqs; i++) {
        n_q += (size_t)shape->seqs[i].n_q;
        n_k += (size_t)bench_shape_tokens(shape, shape->seqs[i].n_k);
    }
    extent.bytes[BENCH_Q][shape->q_type] = n_q * row_bytes(shape->q_type, shape->heads, shape->d_qk);
    extent.bytes[BENCH_K][shape->kv_type] = n_k * row_bytes(shape->kv_type, shape->kv_heads, shape->d_qk);
    extent.bytes[BENCH_V][shape->kv_type] = n_k * row_bytes(shape->kv_type, shape->kv_heads, shape->d_v);
    extent.bytes[BENCH_O][shape->o_type] = n_q * row_bytes(shape->o_type, shape->heads, shape->d_v);
    if (shape->kv_type == SA_I8) {
        extent.bytes[BENCH_K_SCALES][SA_F32] = n_k * row_bytes(SA_F32, shape->kv_heads, 1);
        extent.bytes[BENCH_V_SCALES][SA_F32] = n_k * row_bytes(SA_F32, shape->kv_heads, 1);
    }
    return extent;
}

/* ---------------------------------------------------------------- what a query sees: the rule of sa.h, spelled out */

struct span {
    int64_t sink, lo, hi; /* keys 0 .. sink - 1 and lo .. hi - 1 */
};

/* What the queries at positions first .. last see together: their windows overlap. */
static struct span seen(const struct bench_shape *shape, int64_t n_k, int64_t first, int64_t last) {
    const int64_t right = shape->causal ? 0 : shape->windowed ? shape->right : -1;
    const int64_t left = shape->windowed ? shape->left : -1;
    struct span span = {.hi = right < 0 ? n_k : MAX(0, MIN(n_k, last + right + 1))};
    span.lo = left < 0 ? 0 : MIN(span.hi, MAX(0, first - left));
    span.sink = MIN(shape->sink, span.lo);
    return span;
}

static int64_t span_keys(struct span span) { return span.sink + span.hi - span.lo; }

static int64_t first_position(const struct bench_shape *shape, const struct bench_seq *seq) {
    return shape->has_offset ? shape->offset : seq->n_k - seq->n_q;
}

bool bench_shape_sees(const struct bench_shape *shape, int64_t seq, int64_t query, int64_t key) {
    const int64_t position = first_position(shape, &shape->seqs[seq]) + query;
    const struct span span = seen(shape, shape->seqs[seq].n_k, position, position);
    return key < span.sink || (key >= span.lo && key < span.hi);
}

double bench_shape_pairs(const struct bench_shape *shape) {
    double pairs = 0;
    for (int64_t i = 0; i < shape->n_seqs; i++) {
        const struct bench_seq *seq = &shape->seqs[i];
        const int64_t first = first_position(shape, seq);
        int64_t of_seq = 0;
        for (int64_t q = 0; q < seq->n_q; q++)
            of_seq += span_keys(seen(shape, seq->n_k, first + q, first + q));
        pairs += (double)of_seq * shape->heads;
    }
    return pairs;
}

/* Tokens of all sequences that some query sees. */
static double seen_keys(const struct bench_shape *shape) {
    double keys = 0;
    for (int64_t i = 0; i < shape->n_seqs; i++) {
        const struct bench_seq *seq = &shape->seqs[i];
        const int64_t first = first_position(shape, seq);
        if (seq->n_q == 0)
            continue;
        keys += (double)span_keys(seen(shape, seq->n_k, first, first + seq->n_q - 1));
    }
    return keys;
}

double bench_shape_kv_bytes(const struct bench_shape *shape) {
    const size_t scales = shape->kv_type == SA_I8 ? 2 * row_bytes(SA_F32, shape->kv_heads, 1) : 0;
    return seen_keys(shape) * (double)(row_bytes(shape->kv_type, shape->kv_heads, shape->d_qk + shape->d_v) + scales);
}

/* Multiply-adds an element are n_q * heads / kv_heads; processors turn from one limit to the other at 4 to 40. */
bool bench_shape_is_decode(const struct bench_shape *shape) {
    for (int64_t i = 0; i < shape->n_seqs; i++)
        if (shape->seqs[i].n_q >= shape->seqs[i].n_k && shape->seqs[i].n_q > 1)
            return false;
    return bench_shape_pairs(shape) <= 16 * seen_keys(shape) * shape->kv_heads;
}
