/* SPDX-License-Identifier: MIT */
#include "layer_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench_progress.h"
#include "layer_blas.h"
#include "layer_verify.h"

bool layer_open(struct layer_results *results, const struct layer_bench_options *options) {
    *results = (struct layer_results){0};
    if (!bench_configs_open(&results->configs, &options->bench))
        return false;
    results->n = results->configs.n * options->shapes.n;
    results->at = calloc((size_t)results->n + 1, sizeof *results->at);
    if (!results->at)
        return perror("layer"), false;
    for (int i = 0; i < results->n; i++)
        results->at[i] = (struct layer_result){.shape = &options->shapes.at[i / results->configs.n],
                                               .config = &results->configs.at[i % results->configs.n],
                                               .error_share = -1};
    return true;
}

void layer_close(struct layer_results *results) {
    for (int i = 0; results->at && i < results->n; i++) {
        for (int part = 0; part < LAYER_PARTS; part++)
            bench_samples_free(&results->at[i].samples[part]);
        bench_samples_free(&results->at[i].ratio_samples);
    }
    free(results->at);
    bench_configs_close(&results->configs);
}

/* ---------------------------------------------------------------- calls */

static bool applies(const struct layer_case *c, int part) {
    return part != LAYER_PRODUCTS + LAYER_VECTOR || c->n_tokens == 1;
}

static bool call(const struct layer_case *c, const struct layer_result *result, int part) {
    sa_status status = SA_OK;
    if (part == LAYER_WHOLE)
        status = sa_layer_forward(result->config->engine, c->layer, &c->batch);
    else if (part == LAYER_ATTENTION)
        status = sa_batch_forward(result->config->engine, &c->attention.batch);
    else
        layer_case_multiply(c, (enum layer_products)(part - LAYER_PRODUCTS));
    if (status != SA_OK)
        fprintf(stderr, "layer: %s failed: %s\n", c->shape->attention.name, sa_last_reason());
    return status == SA_OK;
}

/* Both BLAS and the engine let threads spin for a while after their work; those of one must not cost the other. */
static void wait_for_rest(void) {
    enum { MOST_NAPS = 100 };
    const struct timespec nap = {.tv_nsec = 2000000};
    for (int i = 0; i < MOST_NAPS; i++) {
        const double begin = bench_now(), cpu_begin = bench_cpu_time();
        nanosleep(&nap, NULL);
        if (bench_cpu_time() - cpu_begin < 0.1 * (bench_now() - begin))
            return;
    }
}

/* ---------------------------------------------------------------- rounds */

/* A round's share of a part; its median. Short calls find the caches as they leave them themselves. < 0: failed. */
static double visit(const struct layer_case *c, struct layer_result *result, int part, double seconds) {
    struct bench_samples now = {0};
    wait_for_rest();
    double begin = bench_now();
    bool good = call(c, result, part);
    const double first = bench_now() - begin, end = begin + seconds;
    if (first > seconds / 2) /* the only one */
        bench_samples_add(&now, first);
    while (good && (now.n == 0 || bench_now() < end)) {
        begin = bench_now();
        good = call(c, result, part);
        bench_samples_add(&now, bench_now() - begin);
    }
    bench_samples_append(&result->samples[part], &now);
    const double median = bench_summarize(&now).median;
    bench_samples_free(&now);
    return good ? median : -1;
}

static bool run_round(const struct layer_case *c, struct layer_result *result, double seconds) {
    double median[LAYER_PARTS], products = 0;
    for (int part = 0; part < LAYER_PARTS; part++) {
        const bool of_blas = part >= LAYER_PRODUCTS;
        if (!applies(c, part))
            continue;
        const int had = of_blas ? layer_blas_set_threads(result->config->info.n_threads) : 0;
        median[part] = visit(c, result, part, seconds);
        if (of_blas && had)
            layer_blas_set_threads(had);
        if (median[part] < 0)
            return false;
        if (of_blas)
            products = products > 0 && products < median[part] ? products : median[part];
    }
    bench_samples_add(&result->ratio_samples, median[LAYER_WHOLE] / (products + median[LAYER_ATTENTION]));
    return true;
}

static bool prepare(const struct layer_case *c, struct layer_result *result, bool verify) {
    result->n_tokens = c->n_tokens;
    result->product_flops = c->product_flops;
    result->flops = c->product_flops + c->attention.flops;
    result->weight_bytes = c->weight_bytes;
    if (sa_layer_workspace_bytes(result->config->engine, c->layer, &c->batch, &result->workspace_bytes) != SA_OK) {
        fprintf(stderr, "layer: %s: %s\n", c->shape->attention.name, sa_last_reason());
        return false;
    }
    if (!verify)
        return call(c, result, LAYER_WHOLE); /* books memory */
    result->error_share = layer_verify(c, result->config->engine);
    return result->error_share >= 0;
}

/* All engines on one shape; `progress` counts rounds. */
static bool run_shape(struct layer_results *results, int first, const struct bench_options *options,
                      struct bench_progress *progress) {
    struct layer_case c;
    const struct layer_shape *shape = results->at[first].shape;
    bool good = layer_case_open(&c, shape);
    bench_progress_step(progress, 1, shape->attention.name);
    for (int i = 0; good && i < results->configs.n; i++)
        good = prepare(&c, &results->at[first + i], options->verify);
    for (int round = 0; good && round < options->rounds; round++) {
        bench_progress_step(progress, 1, shape->attention.name);
        for (int i = 0; good && i < results->configs.n; i++) {
            bench_config_measure_peak(&results->configs.at[i]);
            good = run_round(&c, &results->at[first + i], options->seconds / options->rounds / (LAYER_PRODUCTS + 2));
        }
    }
    layer_case_close(&c);
    return good;
}

static void summarize(struct layer_result *result) {
    for (int part = 0; part < LAYER_PARTS; part++)
        result->time[part] = bench_summarize(&result->samples[part]);
    result->ratio = bench_summarize(&result->ratio_samples);
}

bool layer_run(struct layer_results *results, const struct layer_bench_options *options) {
    struct bench_progress progress =
        bench_progress_begin(options->bench.quiet, (double)options->shapes.n * (options->bench.rounds + 1));
    bool good = true;
    for (int i = 0; good && i < results->n; i += results->configs.n)
        good = run_shape(results, i, &options->bench, &progress);
    bench_progress_end(&progress);
    bench_configs_summarize(&results->configs);
    for (int i = 0; i < results->n; i++)
        summarize(&results->at[i]);
    return good;
}

/* ---------------------------------------------------------------- what it comes to */

int layer_best_products(const struct layer_result *result) {
    int best = LAYER_PRODUCTS;
    for (int part = best + 1; part < LAYER_PARTS; part++)
        if (result->time[part].n && result->time[part].median < result->time[best].median)
            best = part;
    return best;
}

double layer_ratio_at_best(const struct layer_result *result) {
    double products = result->time[LAYER_PRODUCTS].min;
    for (int part = LAYER_PRODUCTS + 1; part < LAYER_PARTS; part++)
        if (result->time[part].n && result->time[part].min < products)
            products = result->time[part].min;
    return result->time[LAYER_WHOLE].min / (products + result->time[LAYER_ATTENTION].min);
}
