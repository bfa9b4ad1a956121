/* SPDX-License-Identifier: MIT */
/* block.h's work for tiles of few rows: the same result, by kernels that read k and v as they stand. */
#ifndef SA_FEW_H
#define SA_FEW_H

#include "block.h"

/* The chunk that begins at key `begin`, for tiles of at most SA_FEW_ROWS rows: one, or those of heads that go abreast,
 * with a state each. False, and nothing written: no row sees any key. */
bool sa_attend_few(const struct sa_tile *tiles, int64_t begin, const struct sa_state *state);

/* As sa_weigh_block(). */
bool sa_weigh_few(const struct sa_tile *tile, int64_t at, const float m[SA_TILE_ROWS], const bool broken[SA_TILE_ROWS],
                  struct sa_scored *scored);

#endif
