/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "plan.h"

enum { ROUNDS = 7, MAX_ROUND_SAMPLES = 20, MAX_SAMPLES = ROUNDS * MAX_ROUND_SAMPLES };
static const double round_seconds = 0.05, sample_seconds = 50e-6;

struct samples {
    struct bench_case c;
    int n_calls, n; /* calls a sample */
    double at[MAX_SAMPLES];
};

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool run(sa_engine *engine, const struct bench_case *c, int n_calls, double *seconds) {
    double begin = seconds_now();
    for (int i = 0; i < n_calls; i++)
        if (sa_batch_forward(engine, &c->batch) != SA_OK)
            return complain("%s: %s", c->shape->name, sa_last_reason());
    *seconds = (seconds_now() - begin) / n_calls;
    return true;
}

/* Calls that are too short for the clock are timed several at once. */
static bool prepare(sa_engine *engine, struct samples *s) {
    double seconds = 0;
    if (!run(engine, &s->c, 1, &seconds) || !run(engine, &s->c, 1, &seconds))
        return false;
    s->n_calls = seconds < sample_seconds ? (int)(sample_seconds / (seconds + 1e-7)) + 1 : 1;
    return true;
}

/* Other batches have had the caches since the last round: one call is not counted. */
static bool visit(sa_engine *engine, struct samples *s) {
    double begin = seconds_now(), seconds;
    if (!run(engine, &s->c, 1, &seconds))
        return false;
    for (int i = 0; i < MAX_ROUND_SAMPLES; i++) {
        if (!run(engine, &s->c, s->n_calls, &s->at[s->n++]))
            return false;
        if (seconds_now() - begin >= round_seconds)
            break;
    }
    return true;
}

/* All batches in turns, so that a disturbance hits everyone alike. */
static bool measure(struct plan *plan, struct samples *samples) {
    for (int i = 0; i < plan->n_cases; i++)
        if (!prepare(plan->engine, &samples[i]))
            return false;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < plan->n_cases; i++)
            if (!visit(plan->engine, &samples[i]))
                return false;
    for (int i = 0; i < plan->n_cases; i++) {
        qsort(samples[i].at, (size_t)samples[i].n, sizeof *samples[i].at, compare);
        plan->cases[i].measured = samples[i].at[samples[i].n / 4];
    }
    return true;
}

static bool open_samples(struct plan *plan, struct samples *samples, const struct bench_arena *arena) {
    for (int i = 0; i < plan->n_cases; i++) {
        struct bench_extent at = {0};
        if (!bench_case_open(&samples[i].c, plan->cases[i].shape, arena, &at, 1))
            return complain("no memory for the batches");
    }
    return true;
}

bool plan_measure(struct plan *plan) {
    struct bench_extent extent = {0};
    struct bench_arena arena;
    for (int i = 0; i < plan->n_cases; i++)
        extent = bench_extent_max(extent, bench_shape_extent(plan->cases[i].shape));
    if (!bench_arena_open(&arena, extent))
        return complain("no memory for %s of tensors", bytes_text((double)bench_extent_bytes(extent)));
    struct samples *samples = calloc((size_t)plan->n_cases, sizeof *samples);
    bool good = (samples || complain("no memory for %d batches", plan->n_cases)) &&
                open_samples(plan, samples, &arena) && measure(plan, samples);
    for (int i = 0; samples && i < plan->n_cases; i++)
        bench_case_close(&samples[i].c);
    free(samples);
    bench_arena_close(&arena);
    return good;
}
