/* SPDX-License-Identifier: MIT */
/* Values of whole blocks as the kernels' dots want them. A thread keeps those of a call, from tile to tile of a kv
 * head. */
#ifndef SA_TURNED_H
#define SA_TURNED_H

#include "block.h"

/* How many blocks a thread has room for, whatever their sequences' lengths, and of how many bytes: in n_turned and
 * turned_bytes of the problem; 0: its kernels have no use for any. */
void sa_turned_choose_room(const struct sa_kernels *kernels, struct sa_problem *problem);

/* Those of the first n keys of the block that begins at key `at`, n a multiple of SA_DOT_KEYS. What nobody sees may
 * count as 0. `known`: what is known of them, for the next time. */
struct sa_turned {
    void *values;            /* NULL: they are not kept */
    const char *const *rows; /* NULL: the values are there; or sa_dots.block() has to put them there from these rows */
};
struct sa_turned sa_turned_of(const struct sa_tile *tile, int64_t at, int n, enum sa_finiteness known);

/* Are these values finite, all of them? */
bool sa_turned_are_finite(const struct sa_tile *tile, int64_t at, int n);

/* Are they there, so that they are not read from v? */
bool sa_turned_are_kept(const struct sa_tile *tile, int64_t at, int n);

#endif
