/* SPDX-License-Identifier: MIT */
/* A block as the rows of a tile see it, where sight.h has looked: strips of 16 keys. Those that no row sees may be left
 * out, the others then follow each other: row sums are formed strip by strip, in which such a strip counts 0, so that
 * no bit changes; for sums of values see struct sa_gaps. Pure. */
#ifndef SA_VIEW_H
#define SA_VIEW_H

#include "sight.h"

enum { SA_STRIPS = SA_BLOCK_KEYS / SA_SUM_KEYS, SA_LANE_WORDS = SA_BLOCK_KEYS / 32 };

/* Keys are those that are kept: key 16 i is key 16 strip[i] of the block. */
struct sa_view {
    struct sa_key_set seen[SA_TILE_ROWS], any;                                 /* by each row, by any row */
    _Alignas(64) uint32_t lanes[SA_TILE_GROUPS][SA_LANE_WORDS][SA_GROUP_ROWS]; /* the same, as sa_lane_keys has it */
    uint16_t some[SA_TILE_GROUPS], all[SA_TILE_GROUPS]; /* strips of which some row of a group sees some key, or every
                                                           row every key */
    int n_keys, n_strips;
    bool gaps; /* strips in between are left out */
    uint8_t strip[SA_STRIPS];
};

/* What may be left out: strips, if that spares at least so many between the first and the last that is seen; where 32
 * keys are added up before they are added to others, both strips of them or none. */
struct sa_gaps {
    int least;
    bool by_pairs;
};

/* Looks at the n_keys keys from `at` on. False: no row sees any key. */
bool sa_view_open(struct sa_view *view, const struct sa_viewer *viewer, int64_t at, int n_keys, struct sa_gaps gaps);

/* Do all n_rows rows see every key of a whole block? */
bool sa_view_is_full(const struct sa_view *view, int n_rows);

/* Of the strips from i on, those that follow each other in the block. */
int sa_view_run(const struct sa_view *view, int i);

/* For whole groups of rows: lanes, some, all. Lanes without a row are as the last one, groups without any see nothing.
 */
void sa_view_group(struct sa_view *view, int n_rows);

/* The keys that a group sees, at the edges of strips. */
struct sa_zones sa_view_zones(const struct sa_view *view, int group);

#endif
