/* SPDX-License-Identifier: MIT */
/* One call of a layer: its batch checked, its workspace laid out, its attention as the engine is told of it. */
#ifndef SA_LAYER_CALL_H
#define SA_LAYER_CALL_H

#include "products.h"

/* Rows of x, and of what keys and values are made from, none free. */
struct sa_counts {
    int64_t x, kv;
};

/* Sequences first .. first + n - 1, whose tokens begin at token `begin` of all; the so many-th group. Rows of sequences
 * ahead of it, and those up to its end, are counted where there are several. */
struct sa_group {
    int64_t first, n, begin, number;
    struct sa_counts ahead, through;
};

struct sa_layer_call {
    sa_engine *engine;
    const struct sa_layer *layer;
    sa_layer_batch batch;
    sa_batch attention; /* what this version knows of it: the caller's, defaults not filled in */
    int64_t n;          /* sequences */
    bool caches;        /* keys and values are in the caller's caches */
    bool kv_from_x;     /* all keys are made from x, and only from it */
    bool writes_o;      /* there is no w_o: the engine writes y */
    bool by_heads;      /* keys and values are made where o will be, and brought from there to heads of their own */
    int n_threads;

    /* Sequences are computed in groups, one after the other: what follows is that of the one at hand. */
    bool several;
    int64_t group_tokens;
    struct sa_counts counts; /* of all groups */
    struct sa_group group;

    /* The workspace. */
    size_t bytes;
    void *workspace;
    sa_batch *inner;           /* what the engine is told */
    char *inner_sequences;     /* those of all groups */
    sa_new_tokens *new_tokens; /* with caches */
    struct sa_operand x, kv;
    struct sa_strip y;
    int cut_in, cut_out; /* rows */
    float *q, *k, *v, *o, *scratch, *y_stage;
    int64_t q_stride, k_stride, v_stride, o_stride, y_stride, y_place_stride, scratch_floats;
    bool y_in_place;
};

/* Checks the batch; the number of rows and the bytes of the workspace are known then. */
sa_status sa_layer_call_check(struct sa_layer_call *call, sa_engine *engine, const struct sa_layer *layer,
                              const sa_layer_batch *batch);

/* Of a batch that is checked: what it needs. */
void sa_layer_call_measure(struct sa_layer_call *call);

/* Where the workspace is there: lays it out and fills in what the engine is told of all sequences, to be checked. */
void sa_layer_call_place(struct sa_layer_call *call, void *workspace);

/* From here on the first group is the next. */
void sa_layer_call_begin(struct sa_layer_call *call);

/* Lays the workspace out for the next group, which is what the engine is told of then; false: there is none. */
bool sa_layer_call_next(struct sa_layer_call *call);

/* Sequence i as far as this version knows it, and its tokens. */
void sa_layer_call_sequence(const struct sa_layer_call *call, int64_t i, sa_sequence *seq);
void sa_layer_call_tokens(const struct sa_layer_call *call, int64_t i, sa_layer_tokens *tokens);

/* How many keys are made. */
static inline int64_t sa_layer_new_keys(const sa_sequence *s, const sa_layer_tokens *t) {
    return t->source == SA_LAYER_SELF ? s->n_q : t->source == SA_LAYER_MEMORY ? t->n_memory : 0;
}

#endif
