/* SPDX-License-Identifier: MIT */
/* The keys of a tile: blocks in chunks in a tree of chunks, all of them or a part. */
#ifndef SA_TREE_H
#define SA_TREE_H

#include "block.h"
#include "parts.h"
#include "workspace.h"

/* a = a and b in one. */
void sa_tree_merge(const struct sa_tile *tile, const struct sa_state *a, const struct sa_state *b);

/* Here `tiles` and `state` are those of all kv heads that go abreast, see abreast.h: one each if none do.
 * The results over one node. */
void sa_tree_attend_node(const struct sa_tile *tiles, int level, int64_t begin, const struct sa_state *state);

/* The results over all keys. */
void sa_tree_attend(const struct sa_tile *tiles, const struct sa_state *state);

/* Merges a sink into each row of a result that is complete: a key of score sinks[r], in units of log2, and value 0. */
void sa_tree_add_sinks(const struct sa_tile *tile, const float sinks[SA_TILE_ROWS], const struct sa_state *state);

/* One part of split tiles, their sequence ending where the part does, kv_head being that of the first: its results go
 * to its slots. */
void sa_tree_attend_part(const struct sa_tile *tiles, const struct sa_split *split, int kv_head, int part,
                         const struct sa_partials *partials);

/* Then, for each of these tiles: merges the nodes that are complete with the part. True: that is the whole tile, and
 * *result, in a slot, its result. No part waits for another. */
bool sa_tree_merge_part(const struct sa_tile *tile, const struct sa_split *split, int kv_head, int part,
                        const struct sa_partials *partials, struct sa_state *result);

#endif
