/* SPDX-License-Identifier: MIT */
#include "bench_progress.h"

#include <stdio.h>
#include <unistd.h>

enum { BAR_CHARS = 32 };

struct bench_progress bench_progress_begin(bool quiet, double total) {
    return (struct bench_progress){.shown = !quiet && isatty(STDERR_FILENO), .total = total};
}

void bench_progress_step(struct bench_progress *progress, double amount, const char *doing) {
    const double share = progress->total > 0 ? progress->done / progress->total : 1;
    progress->done += amount;
    if (!progress->shown)
        return;
    const int filled = (int)(share * BAR_CHARS);
    fprintf(stderr, "\r[%.*s%*s] %3.0f %%  %-40.40s", filled, "################################", BAR_CHARS - filled,
            "", 100 * share, doing);
    fflush(stderr);
}

void bench_progress_end(struct bench_progress *progress) {
    if (progress->shown)
        fprintf(stderr, "\r%84s\r", "");
    progress->shown = false;
}
