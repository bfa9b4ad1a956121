/* SPDX-License-Identifier: MIT */
/* What register tiles get of the multiply-add peak: keys and queries come from the first-level cache, sums go back
 * there. Where others slow a core the peak, which needs no loads, may stay as it is while this falls. */
#ifndef PERF_TILE_H
#define PERF_TILE_H

#include <stdint.h>

/* Flops of going once through all keys with the widest tiles up to isa (sa_isa); 0: there are none of these. */
double tile_flops(int isa);

/* Goes through them so often, in the calling thread. Returns one of the sums, 64: of products of ones in 64 dimensions;
 * 0 if there are no tiles. */
float tile_loop(int isa, int64_t n_times);

#endif
