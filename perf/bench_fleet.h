/* SPDX-License-Identifier: MIT */
/* A fleet of callers: each has tensors of its own for every shape, and calls with one after the other. */
#ifndef BENCH_FLEET_H
#define BENCH_FLEET_H

#include "bench_case.h"
#include "bench_options.h"
#include "bench_stats.h"

struct bench_fleet {
    struct bench_arena arena;
    const struct bench_shapes *shapes;
    int n_callers;
    struct bench_case *cases; /* [caller][shape] */
};

/* Room for n_callers of them. */
bool bench_fleet_open(struct bench_fleet *fleet, const struct bench_options *options, int n_callers);
void bench_fleet_close(struct bench_fleet *fleet);

/* The first n_callers call at once, each n_passes times with every shape. Latencies are added to latency[shape].
 * Returns the seconds from the first call to the end of the last, negative if one failed. */
double bench_fleet_run(const struct bench_fleet *fleet, sa_engine *engine, int n_callers, int n_passes,
                       struct bench_samples *latency);

/* The same work handed over by one caller, n_passes times, in batches as large as can be: one for all shapes that can
 * be sequences of the same batch. */
double bench_fleet_run_joined(const struct bench_fleet *fleet, sa_engine *engine, int n_callers, int n_passes);

/* Fills all outputs with NaN; runs the whole fleet once; checks the outputs of everyone. */
bool bench_fleet_verify(const struct bench_fleet *fleet, sa_engine *engine);

/* Flops of one pass of one caller. */
double bench_fleet_flops(const struct bench_fleet *fleet);

#endif
