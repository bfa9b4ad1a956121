/* SPDX-License-Identifier: MIT */
/* The engines that are compared: one for each instruction set and number of threads. */
#ifndef BENCH_CONFIG_H
#define BENCH_CONFIG_H

#include <sa/sa.h>

#include "bench_options.h"
#include "bench_stats.h"
#include "read_rate.h"

struct bench_config {
    sa_engine *engine;
    sa_engine_info info;
    struct bench_samples peaks; /* flop/s of all its threads together */
    struct bench_summary peak;
    struct bench_samples reads; /* bytes/s that they read from memory; none if no shape is limited by that */
    struct bench_summary read;
    struct read_way way; /* how */
};

struct bench_configs {
    struct bench_config *at;
    int n;
};

/* Makes the engines. False, with the reason on stderr, if one cannot be had as it was asked for. */
bool bench_configs_open(struct bench_configs *configs, const struct bench_options *options);
void bench_configs_close(struct bench_configs *configs);

/* Measures the multiply-add peak once more, for as many threads as the engine has, at most one a hardware thread. */
void bench_config_measure_peak(struct bench_config *config);

/* Measures the read rate once more, for as many threads. Takes most of a second. */
void bench_config_measure_read(struct bench_config *config);

/* Of all peaks and rates measured so far. */
void bench_configs_summarize(struct bench_configs *configs);

#endif
