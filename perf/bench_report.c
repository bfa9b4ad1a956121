/* SPDX-License-Identifier: MIT */
#include "bench_report.h"

#include <stdlib.h>

/* ---------------------------------------------------------------- header */

static void print_environment(void) {
    static const char *const names[] = {"OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY",
                                        "SA_MAX_ISA"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]))
            printf("set        %s=%s\n", names[i], getenv(names[i]));
}

static void print_engine(const struct bench_config *config) {
    const sa_engine_info *info = &config->info;
    printf("engine     %s, %d thread%s, binding %s, tiles of %d rows, blocks of %d keys\n", bench_isa_name(info->isa),
           info->n_threads, info->n_threads == 1 ? "" : "s", bench_binding_name(info->binding), info->tile_rows,
           info->block_keys);
}

void bench_print_header(const struct bench_machine *machine, const struct bench_configs *configs) {
    const sa_engine_info *info = &configs->at[0].info;
    printf("libsa      %s\n", sa_version());
    printf("machine    %s; may use %d core%s, %d hardware thread%s", machine->cpu, info->n_cores,
           info->n_cores == 1 ? "" : "s", info->n_cpus, info->n_cpus == 1 ? "" : "s");
    if (info->quota_cpus > 0)
        printf(", quota %.3g", info->quota_cpus);
    printf("; load %.2f\n", machine->load);
    for (int i = 0; i < configs->n; i++)
        print_engine(&configs->at[i]);
    print_environment();
    printf("compiler   %s: %s\n\n", bench_compiler, bench_flags);
    fflush(stdout);
}

/* ---------------------------------------------------------------- table */

struct bench_rates bench_rates_of(const struct bench_result *result) {
    const struct bench_summary *time = &result->time, *peak = &result->config->peak;
    struct bench_rates rates = {.peak_median = peak->median * 1e-9, .peak_best = peak->max * 1e-9};
    if (time->median > 0 && peak->median > 0) {
        rates.gflops = result->c->flops / time->median * 1e-9;
        rates.gbytes = result->c->kv_bytes / time->median * 1e-9;
        rates.share = rates.gflops / rates.peak_median;
        rates.share_best = result->c->flops / time->min / peak->max;
        rates.share_cpu = result->c->flops / result->cpu_time.median / (peak->median / result->config->info.n_threads);
    }
    return rates;
}

/* `first`: the same shape with the first engine, NULL if there is only one. */
static void print_result(const struct bench_result *result, const struct bench_result *first) {
    const struct bench_rates rates = bench_rates_of(result);
    char min[BENCH_TIME_CHARS], median[BENCH_TIME_CHARS];
    printf("%-26s %-7s%4d%10s%10s%7.1f %%%9.1f%7.1f %%%7.1f %%%7.1f %%", result->c->shape->name,
           bench_isa_name(result->config->info.isa), result->config->info.n_threads,
           bench_time_text(result->time.min, min), bench_time_text(result->time.median, median),
           100 * bench_spread(&result->time), rates.gflops, 100 * rates.share, 100 * rates.share_best,
           100 * rates.share_cpu);
    if (bench_shape_is_decode(result->c->shape))
        printf("%8.1f", rates.gbytes);
    else if (first)
        printf("%8s", "");
    if (first)
        printf("%7.2fx", first->time.median / result->time.median);
    putchar('\n');
}

void bench_print_peaks(const struct bench_configs *configs) {
    for (int i = 0; i < configs->n; i++) {
        const struct bench_config *config = &configs->at[i];
        printf("peak of multiply-adds, %s, %d thread%s: median %.1f, best %.1f GFLOP/s, spread %.1f %% of %zu\n",
               bench_isa_name(config->info.isa), config->info.n_threads, config->info.n_threads == 1 ? "" : "s",
               config->peak.median * 1e-9, config->peak.max * 1e-9, 100 * bench_spread(&config->peak), config->peak.n);
    }
}

static double worst_error(const struct bench_results *results) {
    double worst = -1;
    for (int i = 0; i < results->n; i++)
        worst = results->at[i].error_share > worst ? results->at[i].error_share : worst;
    return worst;
}

void bench_print_results(const struct bench_results *results) {
    const bool several = results->configs.n > 1;
    printf("%-26s %-7s%4s%10s%10s%9s%9s%9s%9s%9s%8s%s\n", "shape", "kernel", "thr", "min", "median", "spread",
           "GFLOP/s", "of peak", "at best", "by cpu", "GB/s", several ? "   speed" : "");
    for (int i = 0; i < results->n_cases; i++)
        for (int c = 0; c < results->configs.n; c++)
            print_result(&results->at[c * results->n_cases + i], several ? &results->at[i] : NULL);
    putchar('\n');
    bench_print_peaks(&results->configs);
    printf(
        "of peak: median time against median peak; at best: shortest time against highest peak; by cpu: the time that\n"
        "threads computed instead of the clock's. Only visible (query, key) pairs count. spread: quartiles over\n"
        "median. GB/s: bytes of k and v, where memory is the limit.\n");
    if (several)
        printf("speed: the first engine's median time on the same shape over this one's.\n");
    if (worst_error(results) >= 0)
        printf("Every shape was verified: errors of at most %.0f %% of the documented bound.\n",
               100 * worst_error(results));
}
