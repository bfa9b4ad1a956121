/* SPDX-License-Identifier: MIT */
#include "bench_fleet.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_verify.h"

/* ---------------------------------------------------------------- beginning and end */

static struct bench_extent fleet_extent(const struct bench_shapes *shapes, int n_callers) {
    struct bench_extent extent = {0};
    for (int i = 0; i < n_callers * shapes->n; i++)
        extent = bench_extent_add(extent, bench_shape_extent(&shapes->at[i % shapes->n]));
    return extent;
}

bool bench_fleet_open(struct bench_fleet *fleet, const struct bench_options *options, int n_callers) {
    *fleet = (struct bench_fleet){.shapes = &options->shapes, .n_callers = n_callers};
    const int n_cases = n_callers * options->shapes.n;
    const struct bench_extent extent = fleet_extent(&options->shapes, n_callers);
    if (bench_extent_bytes(extent) > options->max_memory_bytes) {
        fprintf(stderr, "bench: the tensors of %d callers take %.3g GiB, more than --max-memory\n", n_callers,
                (double)bench_extent_bytes(extent) * 0x1p-30);
        return false;
    }
    fleet->cases = calloc((size_t)n_cases, sizeof *fleet->cases);
    if (!fleet->cases || !bench_arena_open(&fleet->arena, extent))
        return perror("bench"), false;
    struct bench_extent at = {0};
    for (int i = 0; i < n_cases; i++)
        if (!bench_case_open(&fleet->cases[i], &options->shapes.at[i % options->shapes.n], &fleet->arena, &at,
                             options->logit_scale))
            return perror("bench"), false;
    return true;
}

void bench_fleet_close(struct bench_fleet *fleet) {
    for (int i = 0; fleet->cases && i < fleet->n_callers * fleet->shapes->n; i++)
        bench_case_close(&fleet->cases[i]);
    free(fleet->cases);
    bench_arena_close(&fleet->arena);
}

double bench_fleet_flops(const struct bench_fleet *fleet) {
    double flops = 0;
    for (int i = 0; i < fleet->shapes->n; i++)
        flops += fleet->cases[i].flops;
    return flops;
}

/* ---------------------------------------------------------------- callers */

/* Where callers wait for each other: it is held until all of them exist, or one could not be had. */
struct gate {
    pthread_mutex_t lock;
    bool cancelled;
};

struct caller {
    pthread_t thread;
    sa_engine *engine;
    struct gate *gate;
    const struct bench_case *cases;
    int n_cases, n_passes, first;  /* each begins with another shape */
    struct bench_samples *latency; /* [n_cases], its own */
    bool failed;
};

static void *call_on(void *argument) {
    struct caller *caller = argument;
    pthread_mutex_lock(&caller->gate->lock);
    caller->failed = caller->gate->cancelled;
    pthread_mutex_unlock(&caller->gate->lock);
    for (int i = 0; i < caller->n_passes * caller->n_cases && !caller->failed; i++) {
        const int which = (caller->first + i) % caller->n_cases;
        const double begin = bench_now();
        caller->failed = sa_batch_forward(caller->engine, &caller->cases[which].batch) != SA_OK;
        bench_samples_add(&caller->latency[which], bench_now() - begin);
        if (caller->failed)
            fprintf(stderr, "bench: %s failed: %s\n", caller->cases[which].shape->name, sa_last_reason());
    }
    return NULL;
}

/* Lets all of them go at once and waits for them. Seconds, negative if one could not be had or failed. */
static double run_callers(struct caller *callers, int n, struct gate *gate) {
    int n_started = 0;
    pthread_mutex_lock(&gate->lock);
    while (n_started < n && pthread_create(&callers[n_started].thread, NULL, call_on, &callers[n_started]) == 0)
        n_started++;
    gate->cancelled = n_started < n;
    const double begin = bench_now();
    pthread_mutex_unlock(&gate->lock);
    bool good = !gate->cancelled;
    for (int i = 0; i < n_started; i++) {
        pthread_join(callers[i].thread, NULL);
        good = good && !callers[i].failed;
    }
    const double seconds = bench_now() - begin;
    if (gate->cancelled)
        fprintf(stderr, "bench: the system has no %d threads to give\n", n);
    return good ? seconds : -1;
}

double bench_fleet_run(const struct bench_fleet *fleet, sa_engine *engine, int n_callers, int n_passes,
                       struct bench_samples *latency) {
    const int n_shapes = fleet->shapes->n;
    struct caller *callers = calloc((size_t)n_callers, sizeof *callers);
    struct bench_samples *own = calloc((size_t)(n_callers * n_shapes), sizeof *own);
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER, false};
    double seconds = -1;
    for (int i = 0; callers && own && i < n_callers; i++)
        callers[i] = (struct caller){.engine = engine,
                                     .gate = &gate,
                                     .cases = fleet->cases + i * n_shapes,
                                     .n_cases = n_shapes,
                                     .n_passes = n_passes,
                                     .first = i,
                                     .latency = own + i * n_shapes};
    if (callers && own)
        seconds = run_callers(callers, n_callers, &gate);
    for (int i = 0; own && i < n_callers * n_shapes; i++) {
        bench_samples_append(&latency[i % n_shapes], &own[i]);
        bench_samples_free(&own[i]);
    }
    free(callers);
    free(own);
    return seconds;
}

/* ---------------------------------------------------------------- one caller, large batches */

/* Is it the first shape of those it can be joined with? */
static bool leads(const struct bench_shapes *shapes, int shape) {
    for (int i = 0; i < shape; i++)
        if (bench_shapes_join(&shapes->at[i], &shapes->at[shape]))
            return false;
    return true;
}

/* All sequences of the callers' shapes that join `leader`, into `seqs`; returns their number. */
static int64_t collect(const struct bench_fleet *fleet, int n_callers, int leader, sa_sequence *seqs) {
    const struct bench_shapes *shapes = fleet->shapes;
    int64_t n = 0;
    for (int i = 0; i < n_callers * shapes->n; i++) {
        const struct bench_case *c = &fleet->cases[i];
        if (!bench_shapes_join(&shapes->at[leader], c->shape))
            continue;
        memcpy(seqs + n, c->seqs, (size_t)c->shape->n_seqs * sizeof *seqs);
        n += c->shape->n_seqs;
    }
    return n;
}

static int64_t count_seqs(const struct bench_fleet *fleet, int n_callers) {
    int64_t n = 0;
    for (int i = 0; i < n_callers * fleet->shapes->n; i++)
        n += fleet->cases[i].shape->n_seqs;
    return n;
}

static bool forward_all(sa_engine *engine, const sa_batch *batches, int n) {
    for (int i = 0; i < n; i++)
        if (sa_batch_forward(engine, &batches[i]) != SA_OK) {
            fprintf(stderr, "bench: a joined batch failed: %s\n", sa_last_reason());
            return false;
        }
    return true;
}

double bench_fleet_run_joined(const struct bench_fleet *fleet, sa_engine *engine, int n_callers, int n_passes) {
    const int n_shapes = fleet->shapes->n;
    sa_sequence *seqs = calloc((size_t)count_seqs(fleet, n_callers), sizeof *seqs);
    sa_batch *batches = calloc((size_t)n_shapes, sizeof *batches);
    int n_batches = 0;
    int64_t n_seqs = 0;
    for (int i = 0; seqs && batches && i < n_shapes; i++)
        if (leads(fleet->shapes, i)) {
            sa_batch *batch = &batches[n_batches++];
            *batch = fleet->cases[i].batch;
            batch->sequences = seqs + n_seqs;
            batch->n_sequences = collect(fleet, n_callers, i, seqs + n_seqs);
            n_seqs += batch->n_sequences;
        }
    const double begin = bench_now();
    bool good = n_batches > 0;
    for (int pass = 0; good && pass < n_passes; pass++)
        good = forward_all(engine, batches, n_batches);
    const double seconds = bench_now() - begin;
    free(batches);
    free(seqs);
    return good ? seconds : -1;
}

/* ---------------------------------------------------------------- verification */

bool bench_fleet_verify(const struct bench_fleet *fleet, sa_engine *engine) {
    const int n_cases = fleet->n_callers * fleet->shapes->n;
    struct bench_samples *latency = calloc((size_t)fleet->shapes->n, sizeof *latency);
    for (int i = 0; i < n_cases; i++)
        bench_poison(&fleet->cases[i]);
    bool good = latency && bench_fleet_run(fleet, engine, fleet->n_callers, 1, latency) >= 0;
    for (int i = 0; good && i < n_cases; i++)
        good = bench_check(&fleet->cases[i], engine) >= 0;
    for (int i = 0; latency && i < fleet->shapes->n; i++)
        bench_samples_free(&latency[i]);
    free(latency);
    return good;
}
