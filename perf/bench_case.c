/* SPDX-License-Identifier: MIT */
#include "bench_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench_dice.h"
#include "elements.h"

/* ---------------------------------------------------------------- tensors */

/* What is being placed, and where: `pool`, where the case begins, and `at`, where the sequence does. */
struct place {
    const struct bench_shape *shape;
    const struct bench_arena *arena;
    struct bench_extent pool, *at;
    int64_t n_pages; /* of the case */
};

/* A tensor of n tokens, [head][token][dimension] or [token][head][dimension], the library's default. */
static sa_tensor place(const struct place *p, enum bench_tensor tensor, int type, int64_t n, int heads, int d) {
    const bool token_major = p->shape->token_major;
    size_t *at = &p->at->bytes[tensor][type];
    const sa_tensor placed = {p->arena->at[tensor][type] + *at, token_major ? 0 : d, token_major ? 0 : n * d};
    *at += (size_t)(n * heads * d * element_bytes(type));
    return placed;
}

/* The same of k, v or, with d = 1, their scales: where there are pages, all of the case stands in one pool of them. */
static sa_tensor place_kv(const struct place *p, enum bench_tensor tensor, int type, int64_t n_k, int d) {
    const int64_t page = p->shape->page, n = bench_shape_tokens(p->shape, n_k);
    sa_tensor placed = place(p, tensor, type, n, p->shape->kv_heads, d);
    if (page) {
        placed.data = p->arena->at[tensor][type] + p->pool.bytes[tensor][type];
        placed.head_stride = p->shape->token_major ? 0 : page * d;
    }
    return placed;
}

static sa_scales place_scales(const struct place *p, enum bench_tensor tensor, int64_t n_k) {
    const sa_tensor placed = place_kv(p, tensor, SA_F32, n_k, 1);
    return (sa_scales){placed.data, placed.token_stride, placed.head_stride, 0};
}

static sa_sequence place_seq(const struct place *p, const struct bench_seq *seq, const int32_t *table) {
    const struct bench_shape *shape = p->shape;
    sa_sequence s = {.n_q = seq->n_q, .n_k = seq->n_k, .q_offset = shape->offset};
    s.flags = shape->has_offset ? SA_SEQ_Q_OFFSET : 0;
    s.q = place(p, BENCH_Q, shape->q_type, seq->n_q, shape->heads, shape->d_qk);
    s.k = place_kv(p, BENCH_K, shape->kv_type, seq->n_k, shape->d_qk);
    s.v = place_kv(p, BENCH_V, shape->kv_type, seq->n_k, shape->d_v);
    const sa_tensor o = place(p, BENCH_O, shape->o_type, seq->n_q, shape->heads, shape->d_v);
    s.o = (sa_output){(void *)(uintptr_t)o.data, o.token_stride, o.head_stride};
    if (shape->kv_type == SA_I8) {
        s.k_scales = place_scales(p, BENCH_K_SCALES, seq->n_k);
        s.v_scales = place_scales(p, BENCH_V_SCALES, seq->n_k);
    }
    if (table)
        s.k_pages = (sa_pages){.table = table, .n_pages = p->n_pages, .page_tokens = (int32_t)shape->page};
    return s;
}

/* ---------------------------------------------------------------- pages */

static int64_t n_pages_of(const struct bench_shape *shape, int64_t i) {
    return shape->page ? bench_shape_tokens(shape, shape->seqs[i].n_k) / shape->page : 0;
}

/* A cache that has been in use for a while: no page lies where the one before it would make one expect it. */
static int32_t *new_table(int64_t n) {
    int32_t *table = calloc((size_t)n + 1, sizeof *table);
    struct bench_dice dice = {6};
    for (int64_t i = 0; table && i < n; i++) {
        const int64_t k = (int64_t)(bench_roll(&dice) % (uint64_t)(i + 1));
        table[i] = table[k];
        table[k] = (int32_t)i;
    }
    return table;
}

/* ---------------------------------------------------------------- cases */

static sa_batch make_batch(const struct bench_shape *shape, const sa_sequence *seqs, double logit_scale) {
    sa_batch batch = {SA_BATCH_HEAD, .n_sequences = shape->n_seqs, .sequences = seqs};
    batch.n_query_heads = shape->heads;
    batch.n_kv_heads = shape->kv_heads;
    batch.d_qk = shape->d_qk;
    batch.d_v = shape->d_v;
    batch.q_type = shape->q_type;
    batch.k_type = batch.v_type = shape->kv_type;
    batch.o_type = shape->o_type;
    batch.scale = (float)(logit_scale / sqrt(shape->d_qk));
    batch.flags =
        (shape->causal ? SA_CAUSAL : 0) | (shape->windowed ? SA_WINDOW : 0) | (shape->f16_pairs ? SA_F16_PAIRS : 0);
    batch.window_left = shape->windowed ? shape->left : 0;
    batch.window_right = shape->windowed ? shape->right : 0;
    batch.n_sink_keys = shape->sink;
    return batch;
}

static bool place_seqs(struct bench_case *c, struct place *p) {
    const struct bench_shape *shape = c->shape;
    for (int64_t i = 0; i < shape->n_seqs; i++)
        p->n_pages += n_pages_of(shape, i);
    if (shape->page && !(c->table = new_table(p->n_pages)))
        return false;
    const int32_t *table = c->table;
    for (int64_t i = 0; i < shape->n_seqs; i++) {
        c->seqs[i] = place_seq(p, &shape->seqs[i], table);
        table = table ? table + n_pages_of(shape, i) : NULL;
    }
    return true;
}

/* Where more than windows says what is seen, every pair is looked at; heads are alike. */
static double seen_pairs(const struct bench_case *c) {
    double pairs = 0;
    for (int64_t s = 0; s < c->shape->n_seqs; s++)
        for (int64_t i = 0; i < c->seqs[s].n_q; i++)
            for (int64_t j = 0; j < c->seqs[s].n_k; j++)
                pairs += bench_kinds_see(&c->shape->kinds, &c->seqs[s], i, j, bench_shape_sees(c->shape, s, i, j));
    return pairs * c->shape->heads;
}

/* Each is of one type. */
static void find_tensors(struct bench_case *c, const struct bench_arena *arena, const struct bench_extent *at,
                         const struct bench_extent *extent) {
    for (int i = 0; i < BENCH_TENSORS * BENCH_TYPES; i++) {
        const int tensor = i / BENCH_TYPES, type = i % BENCH_TYPES;
        const size_t bytes = extent->bytes[tensor][type];
        if (bytes)
            c->tensors[tensor] = (struct bench_block){arena->at[tensor][type] + at->bytes[tensor][type], bytes};
    }
}

bool bench_case_open(struct bench_case *c, const struct bench_shape *shape, const struct bench_arena *arena,
                     struct bench_extent *at, double logit_scale) {
    *c = (struct bench_case){.shape = shape, .seqs = calloc((size_t)shape->n_seqs, sizeof *c->seqs)};
    struct bench_extent inside = *at;
    struct place p = {.shape = shape, .arena = arena, .pool = *at, .at = &inside};
    if (!c->seqs || !place_seqs(c, &p))
        return false;
    const struct bench_extent extent = bench_shape_extent(shape);
    find_tensors(c, arena, at, &extent);
    *at = bench_extent_add(*at, extent);
    c->batch = make_batch(shape, c->seqs, logit_scale);
    if (!bench_kinds_open(&shape->kinds, &c->batch, c->seqs, &c->memory))
        return false;
    const double of_windows = bench_shape_pairs(shape);
    c->pairs = bench_kinds_hide(&shape->kinds) ? seen_pairs(c) : of_windows;
    c->flops = 2 * c->pairs * (shape->d_qk + shape->d_v);
    c->kv_bytes = bench_shape_kv_bytes(shape) * (of_windows > 0 ? c->pairs / of_windows : 1); /* exact for one query */
    return true;
}

void bench_case_close(struct bench_case *c) {
    free(c->seqs);
    free(c->table);
    bench_kinds_free(c->memory);
    *c = (struct bench_case){0};
}

bool bench_shapes_join(const struct bench_shape *a, const struct bench_shape *b) {
    return a->heads == b->heads && a->kv_heads == b->kv_heads && a->d_qk == b->d_qk && a->d_v == b->d_v &&
           a->q_type == b->q_type && a->kv_type == b->kv_type && a->o_type == b->o_type && a->causal == b->causal &&
           a->f16_pairs == b->f16_pairs && a->windowed == b->windowed && a->left == b->left && a->right == b->right &&
           a->sink == b->sink && memcmp(&a->kinds, &b->kinds, sizeof a->kinds) == 0;
}
