/* SPDX-License-Identifier: MIT */
/* Results for people (stdout) and for programs (files). */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "bench_machine.h"
#include "bench_run.h"

/* What was run, where and how. */
void bench_print_header(const struct bench_machine *machine, const struct bench_configs *configs);

void bench_print_results(const struct bench_results *results);
void bench_print_peaks(const struct bench_configs *configs);

/* What the numbers of a result come to. */
struct bench_rates {
    double gflops, peak_median, peak_best; /* GFLOP/s */
    double share, share_best;              /* of the peak: median against median, best against best */
    double share_cpu;                      /* the same by computed time, one thread's work against one thread's peak */
    double gbytes, read_median, read_best; /* K and V, and what the memory gives, GB/s */
    double share_read, share_read_best, share_read_cpu; /* likewise; 0: not measured, or memory is not the limit */
};

struct bench_rates bench_rates_of(const struct bench_result *result);

/* Before anything is measured: can the files be written? False, with the reason on stderr, if one cannot. */
bool bench_can_write(const struct bench_options *options);

/* False, with the reason on stderr, if the file could not be written. */
bool bench_write_csv(const char *path, const struct bench_results *results);
bool bench_write_json(const char *path, const struct bench_machine *machine, const struct bench_results *results);

/* The members that describe the run, ending in a comma. */
void bench_json_head(FILE *file, const struct bench_machine *machine, const struct bench_configs *configs);
void bench_json_samples(FILE *file, const char *key, const struct bench_samples *samples);
FILE *bench_open_output(const char *path);
bool bench_close_output(const char *path, FILE *file);

#endif
