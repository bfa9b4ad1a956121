/* SPDX-License-Identifier: MIT */
/* One point of a scaling experiment: one shape, one team, one process. Its parts. */
#ifndef SCALE_POINT_H
#define SCALE_POINT_H

#include <stdbool.h>
#include <stdint.h>

#include "bench_shape.h"
#include "bench_stats.h"

struct scale_options {
    struct bench_shapes shapes;
    int threads, repeats;
    double seconds;
    bool machine;
};

/* Highest resident memory of this process so far, in bytes; -1: unknown. */
struct scale_memory {
    int64_t before, filled, after; /* before the tensors, with them, after the calls */
};

struct scale_result {
    struct bench_samples seconds, peaks; /* of a call; flop/s of the team, measured between the calls */
    double error_share;                  /* largest error found, as a share of its bound */
    bool first_counts;                   /* the verified first call is the only sample */
    double tensor_bytes;
    struct scale_memory memory;
};

/* 0 run, 1 help was printed, 2 usage error, reported. */
int scale_options_parse(struct scale_options *options, int argc, char **argv);

#endif
