/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench_copies.h"
#include "cli.h"
#include "plan.h"
#include "progress.h"

enum { ROUNDS = 7, MAX_ROUND_SAMPLES = 20, MAX_SAMPLES = ROUNDS * MAX_ROUND_SAMPLES };
static const double round_seconds = 0.05, sample_seconds = 50e-6;

/* A batch, or one of the gauges. */
struct subject {
    const struct bench_shape *shape;
    struct bench_copies copies;
    int n_calls, n; /* calls a sample */
    double at[MAX_SAMPLES], seconds, spread;
};

struct subjects {
    struct bench_shapes gauges;
    struct bench_arena arena;
    struct subject *at; /* the plan's batches, then the gauges */
    int n;
};

/* ---------------------------------------------------------------- timing */

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool run(sa_engine *engine, struct subject *s, int n_calls, double *seconds) {
    bench_copies_wake(&s->copies, n_calls);
    double begin = seconds_now();
    for (int i = 0; i < n_calls; i++)
        if (sa_batch_forward(engine, &bench_copies_next(&s->copies)->batch) != SA_OK)
            return complain("%s: %s", s->shape->name, sa_last_reason());
    *seconds = (seconds_now() - begin) / n_calls;
    return true;
}

/* Calls that are too short for the clock are timed several at once. */
static bool prepare(sa_engine *engine, struct subject *s) {
    double seconds = 0;
    if (!run(engine, s, 1, &seconds) || !run(engine, s, 1, &seconds))
        return false;
    s->n_calls = seconds < sample_seconds ? (int)(sample_seconds / (seconds + 1e-7)) + 1 : 1;
    return true;
}

/* Other batches have had the caches since the last round: one call is not counted. */
static bool visit(sa_engine *engine, struct subject *s) {
    double begin = seconds_now(), seconds;
    if (!run(engine, s, 1, &seconds))
        return false;
    for (int i = 0; i < MAX_ROUND_SAMPLES; i++) {
        if (!run(engine, s, s->n_calls, &s->at[s->n++]))
            return false;
        if (seconds_now() - begin >= round_seconds)
            break;
    }
    return true;
}

/* All batches in turns, so that a disturbance hits everyone alike. */
static bool measure(sa_engine *engine, struct subjects *all, struct progress *progress) {
    for (int i = 0; i < all->n; i++) {
        if (!prepare(engine, &all->at[i]))
            return false;
        __atomic_add_fetch(&progress->done, 1, __ATOMIC_RELAXED);
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < all->n; i++) {
            if (!visit(engine, &all->at[i]))
                return false;
            __atomic_add_fetch(&progress->done, 1, __ATOMIC_RELAXED);
        }
    for (int i = 0; i < all->n; i++) {
        struct subject *s = &all->at[i];
        qsort(s->at, (size_t)s->n, sizeof *s->at, compare);
        s->seconds = s->at[s->n / 4];
        s->spread = s->at[3 * s->n / 4] / s->seconds - 1;
    }
    return true;
}

/* ---------------------------------------------------------------- what is measured */

static double memory_bytes(void) { return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE); }

static bool open_subjects(struct subjects *all, const struct plan *plan) {
    struct bench_extent extent = {0};
    all->n = plan->n_cases + BENCH_GAUGES;
    all->at = calloc((size_t)all->n, sizeof *all->at);
    if (!all->at || !bench_gauges_add(&all->gauges))
        return complain("no memory for %d batches", all->n);
    for (int i = 0; i < all->n; i++) {
        const struct bench_shape *shape = i < plan->n_cases ? plan->cases[i].shape : &all->gauges.at[i - plan->n_cases];
        all->at[i].shape = shape;
        extent = bench_extent_max(extent, bench_copies_extent(shape, bench_copies_of(shape)));
    }
    if ((double)bench_extent_bytes(extent) > memory_bytes())
        return complain("--measure would take %s of tensors, more than this machine has",
                        bytes_text((double)bench_extent_bytes(extent)));
    if (!bench_arena_open(&all->arena, extent))
        return complain("no memory for %s of tensors", bytes_text((double)bench_extent_bytes(extent)));
    for (int i = 0; i < all->n; i++)
        if (!bench_copies_open(&all->at[i].copies, all->at[i].shape, bench_copies_of(all->at[i].shape), &all->arena, 1))
            return complain("no memory for the batches");
    return true;
}

static void close_subjects(struct subjects *all) {
    for (int i = 0; all->at && i < all->n; i++)
        bench_copies_close(&all->at[i].copies);
    free(all->at);
    bench_shapes_free(&all->gauges);
    bench_arena_close(&all->arena);
}

static bool measure_under_bar(sa_engine *engine, struct subjects *all) {
    struct progress progress;
    progress_start(&progress, (int64_t)(ROUNDS + 1) * all->n);
    const bool good = measure(engine, all, &progress);
    progress_stop(&progress);
    return good;
}

static bool read_gauges(const struct subjects *all, struct plan *plan) {
    const struct subject *gauges = &all->at[plan->n_cases];
    const sa_batch *batches[BENCH_GAUGES];
    double seconds[BENCH_GAUGES];
    for (int i = 0; i < BENCH_GAUGES; i++) {
        batches[i] = &gauges[i].copies.c->batch;
        seconds[i] = gauges[i].seconds;
    }
    return bench_gauge_speeds(plan->engine, batches, seconds, &plan->speeds);
}

bool plan_measure(struct plan *plan) {
    struct subjects all = {0};
    bool good = open_subjects(&all, plan) && measure_under_bar(plan->engine, &all) && read_gauges(&all, plan);
    for (int i = 0; good && i < plan->n_cases; i++)
        plan->cases[i].measured = all.at[i].seconds, plan->cases[i].spread = all.at[i].spread;
    close_subjects(&all);
    return good;
}
