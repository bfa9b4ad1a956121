/* SPDX-License-Identifier: MIT */
#include "bench_run.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench_progress.h"
#include "bench_verify.h"

/* ---------------------------------------------------------------- memory */

/* The tensors of all shapes share one memory, so that is what is limited. The shapes that are left, in order. */
static bool choose_shapes(struct bench_results *results, const struct bench_options *options) {
    results->shapes = calloc((size_t)options->shapes.n + 1, sizeof(const struct bench_shape *));
    for (int i = 0; results->shapes && i < options->shapes.n; i++) {
        const struct bench_shape *shape = &options->shapes.at[i];
        struct bench_extent extent = bench_extent_max(results->extent, bench_shape_extent(shape));
        if (bench_extent_bytes(extent) <= options->max_memory_bytes) {
            results->shapes[results->n_shapes++] = shape;
            results->extent = extent;
        } else
            fprintf(stderr, "bench: %s skipped: %.3g GiB of tensors, more than --max-memory\n", shape->name,
                    (double)bench_extent_bytes(extent) * 0x1p-30);
    }
    if (results->shapes && !results->n_shapes)
        fprintf(stderr, "bench: nothing is left to measure\n");
    return results->n_shapes > 0;
}

static bool open_cases(struct bench_results *results, double logit_scale) {
    results->cases = calloc((size_t)results->n_shapes + 1, sizeof *results->cases);
    for (int i = 0; results->cases && i < results->n_shapes; i++) {
        struct bench_extent at = {0};
        if (!bench_case_open(&results->cases[i], results->shapes[i], &results->arena, &at, logit_scale))
            return false;
        results->n_cases++;
    }
    return results->cases != NULL;
}

bool bench_open(struct bench_results *results, const struct bench_options *options) {
    *results = (struct bench_results){0};
    if (!bench_configs_open(&results->configs, options))
        return false;
    if (!choose_shapes(results, options))
        return false;
    if (!bench_arena_open(&results->arena, results->extent) || !open_cases(results, options->logit_scale))
        return perror("bench"), false;
    results->n = results->configs.n * results->n_cases;
    results->at = calloc((size_t)results->n + 1, sizeof *results->at);
    for (int i = 0; results->at && i < results->n; i++) {
        results->at[i].config = &results->configs.at[i / results->n_cases];
        results->at[i].c = &results->cases[i % results->n_cases];
        results->at[i].error_share = -1;
    }
    return results->at || (perror("bench"), false);
}

void bench_close(struct bench_results *results) {
    for (int i = 0; i < results->n && results->at; i++) {
        bench_samples_free(&results->at[i].samples);
        bench_samples_free(&results->at[i].cpu_samples);
    }
    for (int i = 0; i < results->n_cases; i++)
        bench_case_close(&results->cases[i]);
    free(results->at);
    free(results->cases);
    free(results->shapes);
    bench_arena_close(&results->arena);
    bench_configs_close(&results->configs);
}

/* ---------------------------------------------------------------- calls */

static bool call(const struct bench_result *result) {
    if (sa_batch_forward(result->config->engine, &result->c->batch) == SA_OK)
        return true;
    fprintf(stderr, "bench: %s failed: %s\n", result->c->shape->name, sa_last_reason());
    return false;
}

static const double sample_seconds =
    20e-6; /* calls shorter than this are timed several at once: the clock takes 25 ns */
enum { MAX_CALLS = 1000, MAX_VISIT_SAMPLES = 2000 };

static int calls_a_sample(const struct bench_result *result) {
    const double calls = sample_seconds / (result->call_seconds + 1e-9);
    return calls < 1 ? 1 : calls > MAX_CALLS ? MAX_CALLS : (int)calls;
}

static bool take_sample(struct bench_result *result, int n_calls) {
    const double cpu_begin = bench_cpu_time(), begin = bench_now();
    for (int i = 0; i < n_calls; i++)
        if (!call(result))
            return false;
    bench_samples_add(&result->samples, (bench_now() - begin) / n_calls);
    bench_samples_add(&result->cpu_samples, (bench_cpu_time() - cpu_begin) / n_calls);
    return true;
}

static bool time_call(struct bench_result *result) {
    const double begin = bench_now();
    const bool good = call(result);
    result->call_seconds = bench_now() - begin;
    return good;
}

/* The first call of a shape books memory and wakes threads; unless it was long, a second one tells how long calls take.
 */
static bool prepare(struct bench_result *result, bool verify) {
    static const double long_seconds = 0.1;
    if (verify)
        bench_poison(result->c);
    if (!time_call(result))
        return false;
    if (verify && (result->error_share = bench_check(result->c, result->config->engine)) < 0)
        return false;
    return result->call_seconds > long_seconds || time_call(result);
}

/* A round's share of a shape. Other shapes have had the caches since the last one: a short call is warmed up. */
static bool visit(struct bench_result *result, double seconds) {
    const int n_calls = calls_a_sample(result);
    const double begin = bench_now();
    if (result->call_seconds < seconds / 4 && !call(result))
        return false;
    for (int i = 0; i < MAX_VISIT_SAMPLES; i++) {
        if (!take_sample(result, n_calls))
            return false;
        if (bench_now() - begin >= seconds)
            break;
    }
    return true;
}

/* ---------------------------------------------------------------- rounds */

static bool prepare_all(struct bench_results *results, const struct bench_options *options) {
    struct bench_progress progress = bench_progress_begin(options->quiet, results->n);
    bool good = true;
    for (int i = 0; good && i < results->n; i++) {
        char doing[64];
        snprintf(doing, sizeof doing, "checking %s", results->at[i].c->shape->name);
        bench_progress_step(&progress, 1, doing);
        good = prepare(&results->at[i], options->verify);
    }
    bench_progress_end(&progress);
    return good;
}

static double expected(const struct bench_result *result, double seconds) {
    return result->call_seconds > seconds ? result->call_seconds : seconds;
}

static bool run_round(struct bench_results *results, double seconds, struct bench_progress *progress) {
    for (int c = 0; c < results->configs.n; c++) {
        bench_config_measure_peak(&results->configs.at[c]);
        for (int i = 0; i < results->n_cases; i++) {
            struct bench_result *result = &results->at[c * results->n_cases + i];
            bench_progress_step(progress, expected(result, seconds), result->c->shape->name);
            if (!visit(result, seconds))
                return false;
        }
    }
    return true;
}

static bool run_rounds(struct bench_results *results, const struct bench_options *options) {
    const double seconds = options->seconds / options->rounds;
    double total = 0;
    for (int i = 0; i < results->n; i++)
        total += expected(&results->at[i], seconds) * options->rounds;
    struct bench_progress progress = bench_progress_begin(options->quiet, total);
    bool good = true;
    for (int round = 0; good && round < options->rounds; round++)
        good = run_round(results, seconds, &progress);
    bench_progress_end(&progress);
    return good;
}

bool bench_run(struct bench_results *results, const struct bench_options *options) {
    if (!prepare_all(results, options) || !run_rounds(results, options))
        return false;
    bench_configs_summarize(&results->configs);
    for (int i = 0; i < results->n; i++) {
        results->at[i].time = bench_summarize(&results->at[i].samples);
        results->at[i].cpu_time = bench_summarize(&results->at[i].cpu_samples);
    }
    return true;
}
