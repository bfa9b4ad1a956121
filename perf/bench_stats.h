/* SPDX-License-Identifier: MIT */
/* The clock, and what many measurements say together. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>

double bench_now(void);      /* seconds, monotonic */
double bench_cpu_time(void); /* seconds that all threads of this process have computed */

struct bench_samples {
    double *at;
    size_t n, capacity;
};

/* Adds one; it is dropped if there is no memory for it. */
void bench_samples_add(struct bench_samples *samples, double value);
void bench_samples_append(struct bench_samples *to, const struct bench_samples *from);
void bench_samples_free(struct bench_samples *samples);

struct bench_summary {
    size_t n;
    double min, quarter, median, three_quarters, p99, max;
};

/* Sorts the samples. All 0 if there are none. */
struct bench_summary bench_summarize(struct bench_samples *samples);

/* Distance of the quartiles as a share of the median. */
double bench_spread(const struct bench_summary *summary);

/* "1.23 us", "12.3 ms", "123 s": three digits. Returns `text`. */
enum { BENCH_TIME_CHARS = 16 };
const char *bench_time_text(double seconds, char text[BENCH_TIME_CHARS]);

#endif
