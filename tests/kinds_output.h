/* SPDX-License-Identifier: MIT */
/* All that comes out of a sequence, dense and in one order. */
#ifndef SA_TESTS_KINDS_OUTPUT_H
#define SA_TESTS_KINDS_OUTPUT_H

#include <sa/sa.h>

#include "inside.h"

/* Rows of o, lse and row_max; then reported weights; then the mass of keys. */
struct kinds_output {
    float *values;
    size_t n, n_rows;
};

/* What has to be the same: all, or of rows only those of tokens from first_token on, one row, or all but one. */
struct kinds_part {
    bool rows_only, one_row, but_row;
    int64_t first_token, row; /* row: token * heads + head */
};

float *kinds_row_max(const sa_batch *b, const sa_sequence *s, int64_t token, int head);

/* Weights of rows[r], n_k of them. */
float *kinds_weights(const sa_sequence *s, int64_t r);

/* Fills every output, and the room between weights, with something that no result is. */
void kinds_forget(const sa_batch *b, const sa_sequence *s);

/* Is it still there between the weights, and between the masses? */
bool kinds_gaps_left(const sa_batch *b, const sa_sequence *s);

struct kinds_output kinds_collect(const sa_batch *b, const sa_sequence *s);
void kinds_drop(struct kinds_output *output);

/* Are the bits the same? part NULL: of everything. `got` begins with the part's first token. If not, says where. */
bool kinds_same(const sa_batch *b, const struct kinds_output *got, const struct kinds_output *wanted,
                const struct kinds_part *part, char where[120]);

#endif
