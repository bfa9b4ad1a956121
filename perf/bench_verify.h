/* SPDX-License-Identifier: MIT */
/* Is a result right? Rows at the edges of tiles, blocks and sequences and some at random are compared with the float64
 * reference, within the bound that sa.h states; all other elements must at least be finite and no larger than v. */
#ifndef BENCH_VERIFY_H
#define BENCH_VERIFY_H

#include "bench_case.h"

/* Fills o with NaN, so that an element nobody writes does not go unnoticed. */
void bench_poison(const struct bench_case *c);

/* Looks at what a call has made of o, and whether the library counts the visible pairs as the bench does. The largest
 * error as a share of its bound; negative, with the reason on stderr, if something is wrong. */
double bench_check(const struct bench_case *c, sa_engine *engine);

#endif
