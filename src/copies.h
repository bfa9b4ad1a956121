/* SPDX-License-Identifier: MIT */
/* Rows of k and v that cannot be used where they stand: of other types, in small pages, or so many bytes apart that
 * they drive each other out of the caches. A thread copies them once for all its tiles of a kv head. */
#ifndef SA_COPIES_H
#define SA_COPIES_H

#include "block.h"

/* How many blocks a thread has room for, and of how many bytes, whatever the sequences' lengths: in n_copies and
 * copy_bytes of the problem; 0: all rows are used in place, or by one tile. */
void sa_copies_choose_room(const struct sa_kernels *kernels, struct sa_problem *problem);

/* Rows of the tile's k or v, as sa_rows_of() has them, or where int8 is multiplied as it is as sa_keys_of_bytes() and
 * sa_values_of_bytes() do. */
struct sa_rows sa_copied_rows_of(const struct sa_tile *tile, const struct sa_cache *cache, int64_t at, int begin,
                                 int end);

/* Are there copies of them, so that they are not read where they stand? */
bool sa_are_copied(const struct sa_tile *tile, const struct sa_cache *cache, int64_t at, int begin, int end);

/* The same rows, of which the same are seen? */
bool sa_is_same_cache(const struct sa_cache *a, const struct sa_cache *b);

/* Where a block of the tile has its place among n that a thread keeps for all tiles of the kv head: if the tile's
 * blocks find room together each has one, else the first ones have. -1: nowhere. */
int sa_place_of_block(const struct sa_tile *tile, int64_t at, int n);

#endif
