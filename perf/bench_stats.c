/* SPDX-License-Identifier: MIT */
#include "bench_stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_now(void) { return read_clock(CLOCK_MONOTONIC); }
double bench_cpu_time(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

void bench_samples_add(struct bench_samples *samples, double value) {
    if (samples->n == samples->capacity) {
        size_t capacity = samples->capacity ? 2 * samples->capacity : 64;
        double *grown = realloc(samples->at, capacity * sizeof *grown);
        if (!grown)
            return;
        samples->at = grown;
        samples->capacity = capacity;
    }
    samples->at[samples->n++] = value;
}

void bench_samples_append(struct bench_samples *to, const struct bench_samples *from) {
    for (size_t i = 0; i < from->n; i++)
        bench_samples_add(to, from->at[i]);
}

void bench_samples_free(struct bench_samples *samples) {
    free(samples->at);
    *samples = (struct bench_samples){0};
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the two nearest samples. */
static double quantile(const struct bench_samples *samples, double q) {
    const double at = q * (double)(samples->n - 1);
    const size_t low = (size_t)at, high = low + 1 < samples->n ? low + 1 : low;
    return samples->at[low] + (at - (double)low) * (samples->at[high] - samples->at[low]);
}

struct bench_summary bench_summarize(struct bench_samples *samples) {
    if (!samples->n)
        return (struct bench_summary){0};
    qsort(samples->at, samples->n, sizeof *samples->at, compare);
    return (struct bench_summary){samples->n,
                                  samples->at[0],
                                  quantile(samples, 0.25),
                                  quantile(samples, 0.5),
                                  quantile(samples, 0.75),
                                  quantile(samples, 0.99),
                                  samples->at[samples->n - 1]};
}

double bench_spread(const struct bench_summary *summary) {
    return summary->median > 0 ? (summary->three_quarters - summary->quarter) / summary->median : 0;
}

const char *bench_time_text(double seconds, char text[BENCH_TIME_CHARS]) {
    static const char *const units[] = {"ns", "us", "ms", "s"};
    double value = seconds * 1e9;
    int unit = 0;
    for (; unit < 3 && fabs(value) >= 999.5; unit++)
        value /= 1000;
    const int digits = fabs(value) < 9.995 ? 2 : fabs(value) < 99.95 ? 1 : 0;
    snprintf(text, BENCH_TIME_CHARS, "%.*f %s", digits, value, units[unit]);
    return text;
}
