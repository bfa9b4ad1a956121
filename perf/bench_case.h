/* SPDX-License-Identifier: MIT */
/* Shapes with memory under them. All shapes live in the same blocks of random elements, so that a list of shapes takes
 * no more memory than its largest. */
#ifndef BENCH_CASE_H
#define BENCH_CASE_H

#include <sa/sa.h>
#include <stdbool.h>

#include "bench_arena.h"
#include "bench_shape.h"

/* Memory that a tensor of all sequences of a case stands in. */
struct bench_block {
    const char *at;
    size_t bytes;
};

struct bench_case {
    const struct bench_shape *shape;
    sa_sequence *seqs;
    int32_t *table; /* of all sequences: pages in random order; NULL: not paged */
    void **memory;  /* of what the shape's kinds ask for */
    sa_batch batch;
    double flops, pairs, kv_bytes;
    struct bench_block tensors[BENCH_TENSORS];
};

/* Places a shape at *at and moves *at behind it. The scores get the standard deviation logit_scale. */
bool bench_case_open(struct bench_case *c, const struct bench_shape *shape, const struct bench_arena *arena,
                     struct bench_extent *at, double logit_scale);
void bench_case_close(struct bench_case *c);

/* May two shapes be sequences of one batch? */
bool bench_shapes_join(const struct bench_shape *a, const struct bench_shape *b);

#endif
