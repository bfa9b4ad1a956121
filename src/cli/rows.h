/* SPDX-License-Identifier: MIT */
/* Sampled rows of a batch that has been computed, against the float64 reference. */
#ifndef SA_CLI_ROWS_H
#define SA_CLI_ROWS_H

#include <stdbool.h>

#include <jansson.h>

#include <sa/sa.h>

struct rows_check {
    int n_rows, n_weights; /* rows of outputs, rows of weights */
    bool has_mass;         /* the key mass was compared as well: it takes all rows, so only that of small batches is */
    double worst_error, worst_ratio; /* largest error, largest error / bound */
    bool good;
};

/* isa: the sa_isa that computed it. Complains and returns false if there is no memory. */
bool rows_compare(const sa_batch *batch, int isa, struct rows_check *check);

/* "64 rows, 16 of weights against float64: largest error 1e-7, at most 0.01 of the bound: good", without a newline. */
void rows_print(const struct rows_check *check);
json_t *rows_json(const struct rows_check *check);

#endif
