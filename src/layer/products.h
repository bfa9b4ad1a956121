/* SPDX-License-Identifier: MIT */
/* Products of rows and weights, cut into pieces for the engine's team. */
#ifndef SA_LAYER_PRODUCTS_H
#define SA_LAYER_PRODUCTS_H

#include "layer.h"
#include "rows.h"

/* Into how many rows products with these weights are cut for so many threads. */
int sa_cut_choose(int64_t n_rows, const struct sa_weights *const *weights, int n_weights, int n_threads);

/* Rows that are multiplied, in place or staged. */
struct sa_operand {
    struct sa_strip strip;
    bool in_place;
    int64_t place_stride;
    float *stage; /* of the rows from sa_stage_begin() on, padded */
    int64_t stage_stride;
};

/* Floats of the stage for pieces of so many rows. */
int64_t sa_operand_stage_floats(const struct sa_operand *operand, int cut_rows);

/* Rows begin .. end - 1 are brought to the stage if they belong there; by pieces of `cut_rows`. */
void sa_operand_fill(const struct sa_operand *operand, int64_t begin, int64_t end, int cut_rows);

/* One product: rows times weights, into rows of our own or into those of the caller. */
struct sa_product {
    const struct sa_weights *weights;
    const struct sa_operand *rows;
    float *to; /* [padded rows][to_stride]; if the result is delivered and stands in place only the last piece's */
    int64_t to_stride;
    const struct sa_strip *deliver; /* NULL: it stays in `to` */
    bool in_place;                  /* deliver is a matrix of floats: */
    int64_t place_stride;
    int by_rows; /* so many rows, if any, are computed one by one */
};

/* Are so many rows faster computed one by one than as a matrix, where bits may depend on the other rows? */
bool sa_products_by_rows(int64_t n_rows);

enum { SA_MAX_PRODUCTS = 3 };

struct sa_products {
    struct sa_product product[SA_MAX_PRODUCTS];
    int n;
    int cut_rows;
    float *scratch; /* scratch_floats for each worker: weights of 16 bits as floats */
    int64_t scratch_floats;
};

int64_t sa_products_scratch(const struct sa_weights *weights);

/* Computes them. */
sa_status sa_products_run(sa_engine *engine, struct sa_products *products);

#endif
