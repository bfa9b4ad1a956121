/* SPDX-License-Identifier: MIT */
/* What is fetched while an item is computed: its own rows of o, and what the item after it begins with. Memory is busy
 * then as evenly as the kernels are, not where one item ends and the next begins. */
#ifndef SA_AHEAD_H
#define SA_AHEAD_H

#include "block.h"
#include "parts.h"
#include "plan.h"
#include "problem.h"

/* Sets `after` of a tile, whose problem, space and seq are set, and of one of few rows `next_keys`; `next` may be NULL.
 */
void sa_ahead_of_item(struct sa_tile *tile, const struct sa_splits *splits, struct sa_item item,
                      const struct sa_item *next);

#endif
