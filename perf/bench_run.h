/* SPDX-License-Identifier: MIT */
/* The ordinary bench: every shape with every engine, in rounds. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "bench_case.h"
#include "bench_config.h"
#include "bench_copies.h"

enum { BENCH_PARTS = 2 }; /* prefills, decodes */

struct bench_result {
    const struct bench_case *c; /* the first of the copies, which the calls take turns with */
    struct bench_copies copies;
    const struct bench_config *config;
    double call_seconds;                       /* of the first timed call: how many make a sample */
    struct bench_samples samples, cpu_samples; /* seconds a call, by the clock and computed by all threads */
    struct bench_summary time, cpu_time;
    struct bench_samples part_samples[BENCH_PARTS], ratio_samples; /* a call over the sum of its parts; see `parts` */
    struct bench_summary part_time[BENCH_PARTS], ratio;
    struct bench_samples
        loop_samples; /* a call's rate over that of a loop that only reads, or multiplies; see bench_loop.h */
    struct bench_summary loop;
    bool loops;         /* is it to be measured? */
    double error_share; /* largest error over its bound, of the rows looked at; -1: not verified */
};

struct bench_results {
    struct bench_configs configs;
    const struct bench_shape **shapes; /* those that fit into max_memory_bytes */
    int n_shapes;
    struct bench_copies *copies; /* [n_shapes] */
    bool reads;                  /* is any of them limited by memory, and is that to be measured? */
    struct bench_extent extent;
    struct bench_arena arena;
    struct bench_result *at; /* [config][shape] */
    int n;
};

/* Engines, memory, shapes. False, with the reason on stderr, if something is not to be had; close it all the same. */
bool bench_open(struct bench_results *results, const struct bench_options *options);
void bench_close(struct bench_results *results);

/* Verifies and times. False, with the reason on stderr, if a result was wrong or a call failed. */
bool bench_run(struct bench_results *results, const struct bench_options *options);

#endif
