/* SPDX-License-Identifier: MIT */
#include "bench_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench_dice.h"

/* ---------------------------------------------------------------- memory */

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

struct bench_extent bench_extent_max(struct bench_extent a, struct bench_extent b) {
    return (struct bench_extent){larger(a.q, b.q), larger(a.k, b.k), larger(a.v, b.v), larger(a.o, b.o)};
}

static size_t behind(size_t a, size_t b) { return (a + b + 15) / 16 * 16; }

struct bench_extent bench_extent_add(struct bench_extent a, struct bench_extent b) {
    return (struct bench_extent){behind(a.q, b.q), behind(a.k, b.k), behind(a.v, b.v), behind(a.o, b.o)};
}

static float *new_floats(size_t n) {
    void *memory = NULL;
    return posix_memalign(&memory, 64, (n ? n : 1) * sizeof(float)) == 0 ? memory : NULL;
}

static float *new_normals(size_t n, uint64_t seed) {
    float *x = new_floats(n);
    struct bench_dice dice = {seed};
    for (size_t i = 0; x && i < n; i++)
        x[i] = bench_roll_normal(&dice);
    return x;
}

bool bench_arena_open(struct bench_arena *arena, struct bench_extent extent) {
    arena->extent = extent;
    arena->q = new_normals(extent.q, 1);
    arena->k = new_normals(extent.k, 2);
    arena->v = new_normals(extent.v, 3);
    arena->o = new_floats(extent.o);
    if (arena->q && arena->k && arena->v && arena->o) {
        memset(arena->o, 0, extent.o * sizeof(float)); /* no page faults while the clock runs */
        return true;
    }
    bench_arena_close(arena);
    return false;
}

void bench_arena_close(struct bench_arena *arena) {
    free(arena->q);
    free(arena->k);
    free(arena->v);
    free(arena->o);
    *arena = (struct bench_arena){0};
}

/* ---------------------------------------------------------------- tensors */

/* Strides of a packed tensor; the library's default 0 is [token][head][dimension]. */
static int64_t token_stride(const struct bench_shape *shape, int d) { return shape->token_major ? 0 : d; }
static int64_t head_stride(const struct bench_shape *shape, int64_t n, int d) { return shape->token_major ? 0 : n * d; }

static sa_sequence place_seq(const struct bench_shape *shape, const struct bench_seq *seq,
                             const struct bench_arena *arena, struct bench_extent *at) {
    const int d = shape->d_qk, d_v = shape->d_v;
    sa_sequence s = {.n_q = seq->n_q, .n_k = seq->n_k, .q_offset = shape->offset};
    s.flags = shape->has_offset ? SA_SEQ_Q_OFFSET : 0;
    s.q = (sa_tensor){arena->q + at->q, token_stride(shape, d), head_stride(shape, seq->n_q, d)};
    s.k = (sa_tensor){arena->k + at->k, token_stride(shape, d), head_stride(shape, seq->n_k, d)};
    s.v = (sa_tensor){arena->v + at->v, token_stride(shape, d_v), head_stride(shape, seq->n_k, d_v)};
    s.o = (sa_output){arena->o + at->o, token_stride(shape, d_v), head_stride(shape, seq->n_q, d_v)};
    at->q += (size_t)(seq->n_q * shape->heads * d);
    at->k += (size_t)(seq->n_k * shape->kv_heads * d);
    at->v += (size_t)(seq->n_k * shape->kv_heads * d_v);
    at->o += (size_t)(seq->n_q * shape->heads * d_v);
    return s;
}

static sa_batch make_batch(const struct bench_shape *shape, const sa_sequence *seqs, double logit_scale) {
    sa_batch batch = {SA_BATCH_HEAD, .n_sequences = shape->n_seqs, .sequences = seqs};
    batch.n_query_heads = shape->heads;
    batch.n_kv_heads = shape->kv_heads;
    batch.d_qk = shape->d_qk;
    batch.d_v = shape->d_v;
    batch.scale = (float)(logit_scale / sqrt(shape->d_qk));
    batch.flags = (shape->causal ? SA_CAUSAL : 0) | (shape->windowed ? SA_WINDOW : 0);
    batch.window_left = shape->windowed ? shape->left : 0;
    batch.window_right = shape->windowed ? shape->right : 0;
    batch.n_sink_keys = shape->sink;
    return batch;
}

bool bench_case_open(struct bench_case *c, const struct bench_shape *shape, const struct bench_arena *arena,
                     struct bench_extent *at, double logit_scale) {
    *c = (struct bench_case){.shape = shape, .seqs = calloc((size_t)shape->n_seqs, sizeof *c->seqs)};
    if (!c->seqs)
        return false;
    struct bench_extent inside = *at;
    for (int64_t i = 0; i < shape->n_seqs; i++)
        c->seqs[i] = place_seq(shape, &shape->seqs[i], arena, &inside);
    *at = bench_extent_add(*at, bench_shape_extent(shape));
    c->batch = make_batch(shape, c->seqs, logit_scale);
    c->pairs = bench_shape_pairs(shape);
    c->flops = 2 * c->pairs * (shape->d_qk + shape->d_v);
    c->kv_bytes = bench_shape_kv_bytes(shape);
    return true;
}

void bench_case_close(struct bench_case *c) {
    free(c->seqs);
    *c = (struct bench_case){0};
}

bool bench_shapes_join(const struct bench_shape *a, const struct bench_shape *b) {
    return a->heads == b->heads && a->kv_heads == b->kv_heads && a->d_qk == b->d_qk && a->d_v == b->d_v &&
           a->causal == b->causal && a->windowed == b->windowed && a->left == b->left && a->right == b->right &&
           a->sink == b->sink;
}
