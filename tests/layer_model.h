/* SPDX-License-Identifier: MIT */
/* Random layers, their weights stored in every way, and the whole layer in float64 with a bound of what SA_F32 in
 * between may add: the errors of each step, to first order, carried through the next ones. */
#ifndef SA_TESTS_LAYER_MODEL_H
#define SA_TESTS_LAYER_MODEL_H

#include <sa/layer.h>

#include "inside.h"

/* A matrix of n_out x n_in and its bias, exactly. */
struct layer_weights {
    int n_out, n_in;
    double *w, *b; /* b NULL: none */
};

enum { LAYER_MEMORIES = 24 };

struct layer_model {
    struct dice dice;
    int d_model, d_memory, d_out, n_query_heads, n_kv_heads, d_qk, d_v;
    struct layer_weights q, k, v, o; /* o.w NULL: none */
    double *q_norm, *k_norm;         /* NULL: none */
    double eps;
    bool turns;
    sa_rope rope;
    sa_layer_options options; /* of the same layer */
    void *memories[LAYER_MEMORIES];
    int n_memories;
};

/* Dimensions are there; everything else is drawn. With `packed` w_qkv, if d_memory is d_model. */
void layer_draw(struct layer_model *model, bool packed);
void layer_free(struct layer_model *model);

/* n elements of a type in memory of the model's, uniform in -1 .. 1 times size; values (NULL: not wanted) exactly. */
void *layer_draw_elements(struct layer_model *model, int type, int64_t n, double size, double **values);

/* One sequence: queries from x, keys from memory (x itself in self-attention). */
struct layer_sequence {
    const double *x, *memory; /* [n_q][d_model], [n_k][d_memory] */
    int64_t n_q, n_k;
    const int64_t *q_positions, *k_positions; /* for turning */
    bool causal;                              /* query i sees keys up to n_k - n_q + i */
};

/* y[n_q][d_out] and how far an SA_F32 result may be from it. */
void layer_reference(const struct layer_model *model, const struct layer_sequence *sequence, double *y, double *bound);

#endif
