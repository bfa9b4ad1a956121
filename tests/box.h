/* SPDX-License-Identifier: MIT */
/* A batch with its tensors, and the bits that have to come out of it. */
#ifndef SA_TESTS_BOX_H
#define SA_TESTS_BOX_H

#include <stdlib.h>

#include <sa/sa.h>

#include "inside.h"

enum { BOX_SEQS = 6 };

struct box_shape {
    int n_seqs, n_query_heads, n_kv_heads, d_qk, d_v;
    int64_t n_q, n_k; /* of the first sequence; the others have less and less */
};

struct box {
    sa_sequence seqs[BOX_SEQS];
    sa_batch batch;
    float *memory, *o; /* o and lse of all sequences follow each other at the end of the memory */
    size_t n_o;
    float *wanted; /* NULL, or the n_o floats that o has to become */
};

static inline size_t box_floats(const struct box *box, bool outputs_only) {
    size_t n = 0;
    for (int i = 0; i < box->batch.n_sequences; i++) {
        const sa_sequence *s = &box->seqs[i];
        size_t n_q = (size_t)s->n_q, n_k = (size_t)s->n_k, d_qk = (size_t)box->batch.d_qk, d_v = (size_t)box->batch.d_v;
        n += n_q * (size_t)box->batch.n_query_heads * (d_v + 1);
        if (!outputs_only)
            n += n_q * (size_t)box->batch.n_query_heads * d_qk + n_k * (size_t)box->batch.n_kv_heads * (d_qk + d_v);
    }
    return n;
}

static inline void box_place(struct box *box) {
    const sa_batch *b = &box->batch;
    float *at = box->memory, *out = box->o;
    for (int i = 0; i < b->n_sequences; i++) {
        sa_sequence *s = &box->seqs[i];
        s->q.data = at, at += s->n_q * b->n_query_heads * b->d_qk;
        s->k.data = at, at += s->n_k * b->n_kv_heads * b->d_qk;
        s->v.data = at, at += s->n_k * b->n_kv_heads * b->d_v;
        s->o.data = out, out += s->n_q * b->n_query_heads * b->d_v;
        s->lse.data = out, out += s->n_q * b->n_query_heads;
    }
}

static inline struct box *box_new(uint64_t seed, struct box_shape shape) {
    struct dice dice = {seed};
    struct box *box = calloc(1, sizeof *box);
    box->batch = (sa_batch){SA_BATCH_HEAD,
                            .n_sequences = shape.n_seqs,
                            .sequences = box->seqs,
                            .n_query_heads = shape.n_query_heads,
                            .n_kv_heads = shape.n_kv_heads,
                            .d_qk = shape.d_qk,
                            .d_v = shape.d_v,
                            .flags = SA_CAUSAL};
    for (int i = 0; i < shape.n_seqs; i++)
        box->seqs[i] = (sa_sequence){.n_q = shape.n_q / (i + 1), .n_k = shape.n_k / (i + 1)};
    size_t n = box_floats(box, false);
    box->n_o = box_floats(box, true);
    box->memory = malloc((n + 1) * sizeof(float));
    box->o = box->memory + n - box->n_o;
    for (size_t i = 0; i < n; i++)
        box->memory[i] = roll_unit(&dice);
    box_place(box);
    return box;
}

static inline void box_free(struct box *box) {
    free(box->memory);
    free(box->wanted);
    free(box);
}

/* Forgets what was computed. */
static inline void box_clear(struct box *box) { memset(box->o, 0x7f, box->n_o * sizeof(float)); }

/* Takes what stands in o for right. */
static inline void box_learn(struct box *box) {
    box->wanted = malloc((box->n_o + 1) * sizeof(float));
    memcpy(box->wanted, box->o, box->n_o * sizeof(float));
}

static inline bool box_right(const struct box *box) {
    return memcmp(box->o, box->wanted, box->n_o * sizeof(float)) == 0;
}

/* An engine of so many threads, nothing else said. */
static inline sa_engine *engine_of(int n_threads) {
    sa_engine *engine;
    sa_engine_options options = {sizeof options, n_threads, SA_BIND_NONE, SA_ISA_DEFAULT, 0, NULL};
    ck_assert_msg(sa_engine_create(&options, &engine) == SA_OK, "%s", sa_last_reason());
    return engine;
}

/* Computes it by an engine of one thread, and takes that for right. */
static inline void box_answer(struct box *box, sa_engine *engine_of_one) {
    box_clear(box);
    ck_assert_msg(sa_batch_forward(engine_of_one, &box->batch) == SA_OK, "%s", sa_last_reason());
    box_learn(box);
}

/* A box whose right bits were computed by one thread. */
static inline struct box *box_with_answer(uint64_t seed, struct box_shape shape) {
    struct box *box = box_new(seed, shape);
    sa_engine *engine = engine_of(1);
    box_answer(box, engine);
    sa_engine_destroy(engine);
    return box;
}

/* The right bits come out. */
static inline void check_forward(sa_engine *engine, struct box *box) {
    box_clear(box);
    ck_assert_msg(sa_batch_forward(engine, &box->batch) == SA_OK, "%s", sa_last_reason());
    ck_assert(box_right(box));
}

#endif
