/* SPDX-License-Identifier: MIT */
/* A loop that only reads what a call reads, or only multiplies: the limit under the same disturbances, call by call. */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include "bench_case.h"
#include "bench_config.h"

/* Bytes a second that the engine's team reads k and v of a case with, in pieces, in the way that is fastest on this
 * machine. 0, with the reason on stderr, if the engine could not. */
double bench_loop_rate(const struct bench_config *config, const struct bench_case *c);

/* Flop/s of the team's register tiles, see tile.h, measured for about so long. 0 if the kernels have none, or, with the
 * reason on stderr, if the engine could not. */
double bench_tile_rate(const struct bench_config *config, double seconds);

#endif
