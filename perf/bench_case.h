/* SPDX-License-Identifier: MIT */
/* Shapes with memory under them. All shapes live in the same four blocks of random numbers, so that a list of shapes
 * takes no more memory than its largest. */
#ifndef BENCH_CASE_H
#define BENCH_CASE_H

#include <sa/sa.h>
#include <stdbool.h>

#include "bench_shape.h"

struct bench_arena {
    float *q, *k, *v, *o;
    struct bench_extent extent;
};

/* q, k and v standard normal, the same on every machine. False: no memory. */
bool bench_arena_open(struct bench_arena *arena, struct bench_extent extent);
void bench_arena_close(struct bench_arena *arena);

struct bench_case {
    const struct bench_shape *shape;
    sa_sequence *seqs;
    sa_batch batch;
    double flops, pairs, kv_bytes;
};

/* Places a shape at *at and moves *at behind it. The scores get the standard deviation logit_scale. */
bool bench_case_open(struct bench_case *c, const struct bench_shape *shape, const struct bench_arena *arena,
                     struct bench_extent *at, double logit_scale);
void bench_case_close(struct bench_case *c);

struct bench_extent bench_extent_max(struct bench_extent a, struct bench_extent b);

/* b behind a, on a boundary of 64 bytes. */
struct bench_extent bench_extent_add(struct bench_extent a, struct bench_extent b);

/* May two shapes be sequences of one batch? */
bool bench_shapes_join(const struct bench_shape *a, const struct bench_shape *b);

#endif
