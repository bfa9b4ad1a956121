/* SPDX-License-Identifier: MIT */
/* A BERT in float64, straight from its formulas and tensors, sharing no code with the program's: the weights of its
 * attention, and what each head's output is without one of the keys. */
#ifndef SA_TESTS_BERT_H
#define SA_TESTS_BERT_H

#include <stdint.h>

#include <sa/sa.h>

#include "safetensors.h"

struct bert {
    struct safetensors *file;
    int d_model, d_inner, n_layers, n_heads;
    double norm_eps;
};

/* What it does with n tokens: of each layer, head and query, a number a key. */
struct bert_run {
    int n;
    double *weights; /* [n_layers, n_heads, n, n] */
    double *moves;   /* the same: |o - o without the key|, o computed anew */
};

/* Both arrays are to be freed. */
struct bert_run bert_run(const struct bert *bert, const int32_t *ids, int n);

#endif
