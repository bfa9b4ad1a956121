/* SPDX-License-Identifier: MIT */
/*
 * How fast this machine is beside the one that the cost model's weights are of, as two calls take it: a prompt, which
 * computes, and a step of decoding, which reads. A processor's clock, and what others leave of its cores and its
 * memory, change by the hour; how shapes compare does not.
 */
#ifndef BENCH_GAUGE_H
#define BENCH_GAUGE_H

#include <sa/sa.h>
#include <stdbool.h>

#include "bench_shape.h"

enum bench_gauge { BENCH_PROMPT, BENCH_STEP, BENCH_GAUGES };

struct bench_speeds {
    double compute, memory; /* as sa_simulation_request has them; 1 if times do not depend on it */
};

/* Adds the two shapes, in order. */
bool bench_gauges_add(struct bench_shapes *shapes);

/* From what the two took, in seconds, with the engine that is to be predicted. Both 1, and false with the reason on
 * stderr, if they cannot be simulated. */
bool bench_gauge_speeds(sa_engine *engine, const sa_batch *const batches[BENCH_GAUGES],
                        const double seconds[BENCH_GAUGES], struct bench_speeds *speeds);

#endif
