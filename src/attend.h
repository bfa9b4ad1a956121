/* SPDX-License-Identifier: MIT */
/* One work item: a tile of rows against the keys they see, or a part of them. */
#ifndef SA_ATTEND_H
#define SA_ATTEND_H

#include "block.h"
#include "plan.h"
#include "problem.h"
#include "workspace.h"

struct sa_kernels;

/* May a thread take the item and the one behind it in the plan together? They are tiles of a long head, and go through
 * its keys block by block, so that these come from afar once. `behind` has the lower tile. */
bool sa_go_together(const struct sa_kernels *kernels, const struct sa_problem *problem, struct sa_item item,
                    struct sa_item behind);

/* Computes o, lse and progress of the item, or of n_tiles that go together, this one with the lower tile and the next;
 * of a part, its results and progress, and o and lse once all parts are there. `next` is NULL or the item that the
 * thread will probably do next, of which the first rows are fetched meanwhile. The workspace is laid out for the
 * problem's dimensions, the partials for the plan's splits. Runs under sa_fpmode_enter().
 */
void sa_attend(const struct sa_kernels *kernels, const struct sa_problem *problem, const struct sa_splits *splits,
               const struct sa_partials *partials, struct sa_item item, int n_tiles, const struct sa_item *next,
               struct sa_workspace *space);

/* Makes a tile of n_rows rows of a kv head ready for its keys; kernels, problem, space and seq are set. */
void sa_open_rows(struct sa_tile *tile, int kv_head, int64_t first_row, int n_rows);

#endif
