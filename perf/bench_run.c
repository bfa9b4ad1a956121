/* SPDX-License-Identifier: MIT */
#include "bench_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench_loop.h"
#include "bench_progress.h"
#include "bench_verify.h"
#include "tile.h"

/* ---------------------------------------------------------------- memory */

static void keep_shape(struct bench_results *results, const struct bench_shape *shape, size_t max_bytes) {
    const struct bench_extent extent =
        bench_extent_max(results->extent, bench_copies_extent(shape, bench_copies_of(shape)));
    if (bench_extent_bytes(extent) > max_bytes) {
        fprintf(stderr, "bench: %s skipped: %.3g GiB of tensors, more than --max-memory\n", shape->name,
                (double)bench_extent_bytes(extent) * 0x1p-30);
        return;
    }
    results->shapes[results->n_shapes++] = shape;
    results->extent = extent;
    results->reads = results->reads || bench_shape_is_decode(shape);
}

/* The tensors of all shapes share one memory, so that is what is limited. The shapes that are left, in order. */
static bool choose_shapes(struct bench_results *results, const struct bench_options *options) {
    results->shapes = calloc((size_t)options->shapes.n + 1, sizeof(const struct bench_shape *));
    if (!results->shapes)
        return perror("bench"), false;
    for (int i = 0; i < options->shapes.n; i++)
        keep_shape(results, &options->shapes.at[i], options->max_memory_bytes);
    if (!results->n_shapes)
        fprintf(stderr, "bench: nothing is left to measure\n");
    return results->n_shapes > 0;
}

static bool open_copies(struct bench_results *results, double logit_scale) {
    results->copies = calloc((size_t)results->n_shapes + 1, sizeof *results->copies);
    for (int i = 0; results->copies && i < results->n_shapes; i++)
        if (!bench_copies_open(&results->copies[i], results->shapes[i], bench_copies_of(results->shapes[i]),
                               &results->arena, logit_scale))
            return false;
    return results->copies != NULL;
}

static bool open_results(struct bench_results *results) {
    results->n = results->configs.n * results->n_shapes;
    results->at = calloc((size_t)results->n + 1, sizeof *results->at);
    for (int i = 0; results->at && i < results->n; i++) {
        results->at[i].config = &results->configs.at[i / results->n_shapes];
        results->at[i].copies = results->copies[i % results->n_shapes];
        results->at[i].c = results->at[i].copies.c;
        results->at[i].error_share = -1;
    }
    return results->at != NULL;
}

/* Few rows out of the caches are neither. */
static bool has_loop(const struct bench_results *results, const struct bench_result *result) {
    return bench_shape_is_decode(result->c->shape) ? results->reads && bench_is_cold(result->c->shape)
                                                   : tile_flops(result->config->info.isa) > 0;
}

bool bench_open(struct bench_results *results, const struct bench_options *options) {
    *results = (struct bench_results){0};
    if (!bench_configs_open(&results->configs, options) || !choose_shapes(results, options))
        return false;
    if (!bench_arena_open(&results->arena, results->extent) || !open_copies(results, options->logit_scale) ||
        !open_results(results))
        return perror("bench"), false;
    results->reads = results->reads && options->read_rate;
    for (int i = 0; i < results->n; i++)
        results->at[i].loops = has_loop(results, &results->at[i]);
    for (int i = 0; results->reads && i < results->configs.n; i++)
        bench_config_measure_read(&results->configs.at[i]);
    bench_configs_summarize(&results->configs);
    return true;
}

static void close_result(struct bench_result *result) {
    bench_samples_free(&result->samples);
    bench_samples_free(&result->cpu_samples);
    bench_samples_free(&result->ratio_samples);
    bench_samples_free(&result->loop_samples);
    for (int i = 0; i < BENCH_PARTS; i++)
        bench_samples_free(&result->part_samples[i]);
}

void bench_close(struct bench_results *results) {
    for (int i = 0; i < results->n && results->at; i++)
        close_result(&results->at[i]);
    for (int i = 0; i < results->n_shapes && results->copies; i++)
        bench_copies_close(&results->copies[i]);
    free(results->at);
    free(results->copies);
    free(results->shapes);
    bench_arena_close(&results->arena);
    bench_configs_close(&results->configs);
}

/* ---------------------------------------------------------------- calls */

static bool forward(const struct bench_result *result, const sa_batch *batch) {
    if (sa_batch_forward(result->config->engine, batch) == SA_OK)
        return true;
    fprintf(stderr, "bench: %s failed: %s\n", result->c->shape->name, sa_last_reason());
    return false;
}

static bool call(struct bench_result *result) { return forward(result, &bench_copies_next(&result->copies)->batch); }

static const double sample_seconds =
    20e-6; /* calls shorter than this are timed several at once: the clock takes 25 ns */
enum { MAX_CALLS = 1000, MAX_VISIT_SAMPLES = 2000 };

static int calls_a_sample(const struct bench_result *result) {
    const double calls = sample_seconds / (result->call_seconds + 1e-9);
    return calls < 1 ? 1 : calls > MAX_CALLS ? MAX_CALLS : (int)calls;
}

/* The prefills or the decodes of a batch as one of their own. */
static sa_batch part_of(const struct bench_case *c, int part) {
    const int64_t first = bench_shape_first_decode(c->shape);
    sa_batch batch = c->batch;
    batch.sequences = part ? c->seqs + first : c->seqs;
    batch.n_sequences = part ? c->shape->n_seqs - first : first;
    return batch;
}

/* Right after the whole, which the last sample is of. */
static bool take_parts(struct bench_result *result) {
    double sum = 0;
    for (int i = 0; i < BENCH_PARTS; i++) {
        const sa_batch batch = part_of(result->c, i);
        const double begin = bench_now();
        if (!forward(result, &batch))
            return false;
        const double seconds = bench_now() - begin;
        bench_samples_add(&result->part_samples[i], seconds);
        sum += seconds;
    }
    if (result->samples.n)
        bench_samples_add(&result->ratio_samples, result->samples.at[result->samples.n - 1] / sum);
    return true;
}

/* Right after a call, which the last sample is of: what the next copy is read with, or what tiles compute. */
static bool take_loop(struct bench_result *result) {
    static const double least_seconds = 0.2e-3, most_seconds = 3e-3, share = 0.25;
    const double seconds = result->samples.at[result->samples.n - 1], tiles = share * seconds;
    const bool cold = bench_is_cold(result->c->shape);
    const double rate = cold ? bench_loop_rate(result->config, bench_copies_next(&result->copies))
                             : bench_tile_rate(result->config, fmin(fmax(tiles, least_seconds), most_seconds));
    if (rate > 0)
        bench_samples_add(&result->loop_samples, (cold ? result->c->kv_bytes : result->c->flops) / seconds / rate);
    return rate > 0;
}

static bool take_sample(struct bench_result *result, int n_calls) {
    if (bench_is_cold(result->c->shape))
        bench_copies_wake(&result->copies, n_calls + 1); /* one for the loop */
    const double cpu_begin = bench_cpu_time(), begin = bench_now();
    for (int i = 0; i < n_calls; i++)
        if (!call(result))
            return false;
    bench_samples_add(&result->samples, (bench_now() - begin) / n_calls);
    bench_samples_add(&result->cpu_samples, (bench_cpu_time() - cpu_begin) / n_calls);
    if (result->loops && result->samples.n && !take_loop(result))
        return false;
    return !result->c->shape->parts || take_parts(result);
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

/* The first round's read rate is that of the report's header. */
static bool run_round(struct bench_results *results, int round, double seconds, struct bench_progress *progress) {
    for (int c = 0; c < results->configs.n; c++) {
        bench_config_measure_peak(&results->configs.at[c]);
        if (results->reads && round > 0)
            bench_config_measure_read(&results->configs.at[c]);
        for (int i = 0; i < results->n_shapes; i++) {
            struct bench_result *result = &results->at[c * results->n_shapes + i];
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
        good = run_round(results, round, seconds, &progress);
    bench_progress_end(&progress);
    return good;
}

static void summarize(struct bench_result *result) {
    result->time = bench_summarize(&result->samples);
    result->cpu_time = bench_summarize(&result->cpu_samples);
    result->ratio = bench_summarize(&result->ratio_samples);
    result->loop = bench_summarize(&result->loop_samples);
    for (int i = 0; i < BENCH_PARTS; i++)
        result->part_time[i] = bench_summarize(&result->part_samples[i]);
}

bool bench_run(struct bench_results *results, const struct bench_options *options) {
    if (!prepare_all(results, options) || !run_rounds(results, options))
        return false;
    bench_configs_summarize(&results->configs);
    for (int i = 0; i < results->n; i++)
        summarize(&results->at[i]);
    return true;
}
