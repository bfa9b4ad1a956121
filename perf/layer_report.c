/* SPDX-License-Identifier: MIT */
#include "layer_report.h"

#include "layer_blas.h"

void layer_print_header(const struct bench_machine *machine, const struct bench_configs *configs) {
    char name[LAYER_BLAS_CHARS];
    printf("BLAS       %s\n", layer_blas_name(name));
    bench_print_header(machine, configs);
}

const char *layer_products_name(int part) {
    static const char *const names[] = {
        [LAYER_SEPARATE] = "separate", [LAYER_PACKED] = "packed", [LAYER_VECTOR] = "vector"};
    return names[part - LAYER_PRODUCTS];
}

struct layer_rates layer_rates_of(const struct layer_result *result) {
    const struct bench_summary *time = &result->time[LAYER_WHOLE], *peak = &result->config->peak;
    struct layer_rates rates = {0};
    if (time->median > 0 && peak->median > 0) {
        rates.gflops = result->flops / time->median * 1e-9;
        rates.share = result->flops / time->median / peak->median;
        rates.share_best = result->flops / time->min / peak->max;
        rates.weight_gbytes = result->weight_bytes / time->median * 1e-9;
    }
    return rates;
}

/* ---------------------------------------------------------------- table */

static void print_result(const struct layer_result *result) {
    const struct layer_rates rates = layer_rates_of(result);
    const int best = layer_best_products(result);
    char whole[BENCH_TIME_CHARS], products[BENCH_TIME_CHARS], attention[BENCH_TIME_CHARS];
    printf("%-24s%4d%10s%10s %-8s%10s", result->shape->attention.name, result->config->info.n_threads,
           bench_time_text(result->time[LAYER_WHOLE].median, whole),
           bench_time_text(result->time[best].median, products), layer_products_name(best),
           bench_time_text(result->time[LAYER_ATTENTION].median, attention));
    printf("%8.3f%7.1f %%%9.3f%9.1f%7.1f %%%7.1f %%%11.1f", result->ratio.median, 100 * bench_spread(&result->ratio),
           layer_ratio_at_best(result), rates.gflops, 100 * rates.share, 100 * rates.share_best,
           (double)result->workspace_bytes * 0x1p-20);
    if (result->shape->cached)
        printf("%9.1f", rates.weight_gbytes);
    putchar('\n');
}

static double worst_error(const struct layer_results *results) {
    double worst = -1;
    for (int i = 0; i < results->n; i++)
        worst = results->at[i].error_share > worst ? results->at[i].error_share : worst;
    return worst;
}

void layer_print_results(const struct layer_results *results) {
    printf("%-24s%4s%10s%10s %-8s%10s%8s%9s%9s%9s%9s%9s%11s%9s\n", "shape", "thr", "layer", "products", "", "attention",
           "ratio", "spread", "at best", "GFLOP/s", "of peak", "at best", "workspace", "weights");
    for (int i = 0; i < results->n; i++)
        print_result(&results->at[i]);
    putchar('\n');
    bench_print_peaks(&results->configs);
    printf(
        "ratio: the layer's time over that of its products by BLAS, in the fastest way, and its attention, each "
        "alone;\n"
        "median of the rounds, at best: of the shortest times. Times are medians, workspace in MiB, weights in GB/s\n"
        "where most keys are cached.\n");
    if (worst_error(results) >= 0)
        printf("Every shape was verified: errors of at most %.0f %% of what roundings may make.\n",
               100 * worst_error(results));
}
