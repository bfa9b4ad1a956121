/* SPDX-License-Identifier: MIT */
/* A shape as often as it takes for each copy to have left the caches when its turn comes again, if memory limits it. */
#ifndef BENCH_COPIES_H
#define BENCH_COPIES_H

#include "bench_case.h"

struct bench_copies {
    struct bench_case *c;
    int n, turn;
};

/* Is it to be measured with its k and v in memory? */
bool bench_is_cold(const struct bench_shape *shape);

/* How many that takes; 1 of a shape that is not cold. */
int bench_copies_of(const struct bench_shape *shape);
struct bench_extent bench_copies_extent(const struct bench_shape *shape, int n);

/* One behind the other from the beginning of the arena. Close them in any case. */
bool bench_copies_open(struct bench_copies *copies, const struct bench_shape *shape, int n,
                       const struct bench_arena *arena, double logit_scale);
void bench_copies_close(struct bench_copies *copies);

/* The one whose turn it is. */
const struct bench_case *bench_copies_next(struct bench_copies *copies);

/* Touches each huge page of the tensors of the next n, as read_rate() does: see wake_pages(). */
void bench_copies_wake(const struct bench_copies *copies, int n);

#endif
