/* SPDX-License-Identifier: MIT */
/* A shape with memory under it: the layer and its batch, the attention alone, and what the products alone need. */
#ifndef LAYER_CASE_H
#define LAYER_CASE_H

#include <sa/layer.h>

#include "bench_case.h"
#include "layer_shape.h"

/* A matrix of weights, [n_out][n_in], as the layer gets it and as floats. */
struct layer_matrix {
    int n_in, n_out;
    char *given;
    float *floats; /* may be `given` */
};

struct layer_case {
    const struct layer_shape *shape;
    struct bench_arena arena;
    struct bench_case attention;     /* alone, on random q; what is cached is the layer's cache as well */
    int64_t n_tokens;                /* of x, all sequences */
    int n_q, n_k, n_v;               /* outputs of the products */
    struct layer_matrix w_in, w_out; /* w_in: those of q, k and v one after the other */
    char *x, *y;                     /* packed */
    float *x_floats;                 /* may be x */
    float *made, *heads, *result;    /* of the products alone: q, k, v; what w_out is applied to; y */
    sa_rope rope;
    sa_layer *layer;
    sa_sequence *seqs;
    sa_layer_tokens *tokens;
    sa_batch inner;
    sa_layer_batch batch;
    double product_flops, weight_bytes; /* weight_bytes: as they are read */
};

/* False, with the reason on stderr, if it is not to be had; close it all the same. */
bool layer_case_open(struct layer_case *c, const struct layer_shape *shape);
void layer_case_close(struct layer_case *c);

/* The products alone, in the ways that a program may choose from. */
enum layer_products {
    LAYER_SEPARATE, /* one each for q, k, v, y */
    LAYER_PACKED,   /* q, k and v at once */
    LAYER_VECTOR    /* for one token: matrices times a vector */
};
void layer_case_multiply(const struct layer_case *c, enum layer_products how);

#endif
