/* SPDX-License-Identifier: MIT */
/* The layer, its products and its attention, in turns. */
#ifndef LAYER_RUN_H
#define LAYER_RUN_H

#include "bench_config.h"
#include "layer_case.h"
#include "layer_options.h"

/* What takes turns; the products as enum layer_products has them. */
enum layer_part { LAYER_WHOLE, LAYER_ATTENTION, LAYER_PRODUCTS, LAYER_PARTS = LAYER_PRODUCTS + LAYER_VECTOR + 1 };

struct layer_result {
    const struct layer_shape *shape;
    const struct bench_config *config;
    struct bench_samples samples[LAYER_PARTS]; /* seconds a call; none: does not apply */
    struct bench_summary time[LAYER_PARTS];
    struct bench_samples ratio_samples; /* of each round: medians, the fastest products */
    struct bench_summary ratio;
    int64_t n_tokens;
    double product_flops, flops, weight_bytes;
    size_t workspace_bytes;
    double error_share; /* -1: not verified */
};

/* The products that are fastest, in the median: a layer_part. */
int layer_best_products(const struct layer_result *result);

/* The shortest time of the layer over the sum of the shortest times of its parts. */
double layer_ratio_at_best(const struct layer_result *result);

struct layer_results {
    struct bench_configs configs;
    struct layer_result *at; /* [shape][config] */
    int n;
};

/* As those of bench_run.h. The memory is that of one shape at a time. */
bool layer_open(struct layer_results *results, const struct layer_bench_options *options);
void layer_close(struct layer_results *results);
bool layer_run(struct layer_results *results, const struct layer_bench_options *options);

#endif
