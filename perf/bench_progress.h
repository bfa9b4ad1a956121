/* SPDX-License-Identifier: MIT */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

#include <stdbool.h>

/* A bar on stderr, if that is a terminal. */
struct bench_progress {
    bool shown;
    double total, done;
};

struct bench_progress bench_progress_begin(bool quiet, double total);

/* Draws the bar with what is being done now, then counts `amount` of the total as done. */
void bench_progress_step(struct bench_progress *progress, double amount, const char *doing);

/* Takes the bar away. */
void bench_progress_end(struct bench_progress *progress);

#endif
