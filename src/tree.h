/* SPDX-License-Identifier: MIT */
/* The keys of a tile: blocks in chunks in a tree of chunks. */
#ifndef SA_TREE_H
#define SA_TREE_H

#include "block.h"

/* The result of the tile over all its keys. */
void sa_tree_attend(const struct sa_tile *tile, const struct sa_state *state);

#endif
