/* SPDX-License-Identifier: MIT */
#ifndef LAYER_REPORT_H
#define LAYER_REPORT_H

#include "bench_report.h"
#include "layer_run.h"

void layer_print_header(const struct bench_machine *machine, const struct bench_configs *configs);
void layer_print_results(const struct layer_results *results);

/* "separate", "packed", "vector": how the products of a part are computed. */
const char *layer_products_name(int part);

/* What a result comes to. */
struct layer_rates {
    double gflops, share, share_best; /* of the peak: median against median, best against best */
    double weight_gbytes;             /* weights read, GB/s */
};
struct layer_rates layer_rates_of(const struct layer_result *result);

/* False, with the reason on stderr, if the file could not be written. */
bool layer_write_csv(const char *path, const struct layer_results *results);
bool layer_write_json(const char *path, const struct bench_machine *machine, const struct layer_results *results);

#endif
