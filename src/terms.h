/* SPDX-License-Identifier: MIT */
/* What happens to the scores of a tile beside their product: softcap, ALiBi, bias. */
#ifndef SA_TERMS_H
#define SA_TERMS_H

#include <stdbool.h>
#include <stdint.h>

#include "block.h"

/* Is there any of them? */
static inline bool sa_has_terms(const struct sa_tile *t) {
    return t->problem->softcap > 0 || t->seq->terms.slopes || t->seq->terms.bias.data;
}

/* Lane r of the tile is this row. Lanes without a row, up to whole groups, must be told of one as well. */
void sa_set_row_terms(const struct sa_tile *t, int r, int64_t token, int query_head);

/* Applies them to scores of the keys at .. at + n_keys - 1: of one group of the pass that begins at row `row`, as the
 * kernels' terms() does; or of all rows of few, as few_terms(). True: some bias is -inf. */
bool sa_apply_terms(const struct sa_tile *t, int64_t at, int n_keys, int row, int group, float *s, float *mb);
bool sa_apply_few_terms(const struct sa_tile *t, int64_t at, int n_keys, float *s);

/* For a whole block at once, whose keys j .. j + n_keys - 1 are those at .. at + n_keys - 1 of the sequence. Where they
 * are, for ALiBi; false if some are too far away. */
bool sa_set_keys(const struct sa_tile *t, int64_t at, int j, int n_keys);

/* Their bias. */
void sa_find_block_bias(const struct sa_tile *t, int64_t at, int j, int n_keys);

/* What sa_dots_block wants, when those are set. */
struct sa_score_terms sa_block_terms(const struct sa_tile *t);

/* Bias of the keys at .. at + n_keys - 1 for each row of a group, to t->space->terms.bias_row, where
 * sa_apply_few_terms() leaves that of its keys. */
void sa_find_bias(const struct sa_tile *t, int64_t at, int n_keys, int first_row);

#endif
