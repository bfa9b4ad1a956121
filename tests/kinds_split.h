/* SPDX-License-Identifier: MIT */
/* A sequence cut into two along its keys, and merged again: both parts as sequences of their own with o and lse, or as
 * keys of one sequence in two calls. */
#ifndef SA_TESTS_KINDS_SPLIT_H
#define SA_TESTS_KINDS_SPLIT_H

#include <sa/sa.h>

#include "inside.h"

/* Rows [token][head] of floats. */
struct kinds_merged {
    float *o, *lse;
    float lse_size; /* the largest |lse| of a part with o and lse */
};

/* Cuts the only sequence of the batch at some key, computes both parts without sinks and merges them. SA_OK without o:
 * there is no place to cut it at. */
sa_status kinds_split(sa_engine *engine, const sa_batch *batch, struct dice *dice, struct kinds_merged *merged);

/* The same in two calls, which must merge to the bits of one: at a multiple of `chunk` keys. */
sa_status kinds_split_calls(sa_engine *engine, const sa_batch *batch, int64_t chunk, struct kinds_merged *merged);
void kinds_drop_merged(struct kinds_merged *merged);

#endif
