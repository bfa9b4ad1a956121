/* SPDX-License-Identifier: MIT */
/* How much work a shape is: memory, visible pairs, bytes to read. */
#include "bench_shape.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

struct bench_extent bench_shape_extent(const struct bench_shape *shape) {
    struct bench_extent extent = {0};
    size_t n_q = 0, n_k = 0;
    for (int64_t i = 0; i < shape->n_seqs; i++) {
        n_q += (size_t)shape->seqs[i].n_q;
        n_k += (size_t)shape->seqs[i].n_k;
    }
    extent.q = n_q * (size_t)shape->heads * (size_t)shape->d_qk;
    extent.k = n_k * (size_t)shape->kv_heads * (size_t)shape->d_qk;
    extent.v = n_k * (size_t)shape->kv_heads * (size_t)shape->d_v;
    extent.o = n_q * (size_t)shape->heads * (size_t)shape->d_v;
    return extent;
}

size_t bench_extent_bytes(struct bench_extent extent) {
    return (extent.q + extent.k + extent.v + extent.o) * sizeof(float);
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

double bench_shape_kv_bytes(const struct bench_shape *shape) {
    double keys = 0;
    for (int64_t i = 0; i < shape->n_seqs; i++) {
        const struct bench_seq *seq = &shape->seqs[i];
        const int64_t first = first_position(shape, seq);
        if (seq->n_q == 0)
            continue;
        keys += (double)span_keys(seen(shape, seq->n_k, first, first + seq->n_q - 1));
    }
    return keys * shape->kv_heads * (shape->d_qk + shape->d_v) * (double)sizeof(float);
}

/* Flops a byte are n_q * heads / kv_heads / 2; processors turn from one limit to the other at 2 to 10. */
bool bench_shape_is_decode(const struct bench_shape *shape) {
    return bench_shape_pairs(shape) * 2 * (shape->d_qk + shape->d_v) <= 8 * bench_shape_kv_bytes(shape);
}
