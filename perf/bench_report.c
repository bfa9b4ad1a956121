/* SPDX-License-Identifier: MIT */
#include "bench_report.h"

#include <stdlib.h>

#include "peak.h"

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

static void print_read(const struct bench_config *config) {
    if (config->read.n)
        printf("memory     %.1f GB/s read by %d thread%s before the first round\n", config->read.median * 1e-9,
               config->info.n_threads, config->info.n_threads == 1 ? "" : "s");
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
    for (int i = 0; i < configs->n; i++)
        print_read(&configs->at[i]);
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
        rates.share_cpu =
            result->c->flops / result->cpu_time.median / (peak->median / peak_threads(&result->config->info));
    }
    const struct bench_summary *read = &result->config->read;
    rates.read_median = read->median * 1e-9;
    rates.read_best = read->max * 1e-9;
    if (read->median > 0 && time->median > 0 && bench_shape_is_decode(result->c->shape)) {
        rates.share_read = rates.gbytes / rates.read_median;
        rates.share_read_best = result->c->kv_bytes / time->min / read->max;
        rates.share_read_cpu =
            result->c->kv_bytes / result->cpu_time.median / (read->median / peak_threads(&result->config->info));
    }
    return rates;
}

/* What k and v come to where memory is the limit. */
static void print_read_share(const struct bench_result *result, const struct bench_rates *rates) {
    char copies[16];
    snprintf(copies, sizeof copies, "%d", result->copies.n);
    if (!bench_shape_is_decode(result->c->shape)) {
        printf("%8s%10s%9s%9s%8s", "", "", "", "", "");
        return;
    }
    printf("%8.1f%8.1f %%%7.1f %%%7.1f %%", rates->gbytes, 100 * rates->share_read, 100 * rates->share_read_best,
           100 * rates->share_read_cpu);
    printf("%8s", bench_is_cold(result->c->shape) ? copies : "warm");
}

static void print_loop_share(const struct bench_result *result) {
    if (result->loop.n)
        printf("%7.1f %%", 100 * result->loop.median);
    else
        printf("%9s", "");
}

/* `first`: the same shape with the first engine, NULL if there is only one. */
static void print_result(const struct bench_result *result, const struct bench_result *first, bool reads) {
    const struct bench_rates rates = bench_rates_of(result);
    char min[BENCH_TIME_CHARS], median[BENCH_TIME_CHARS];
    printf("%-26s %-7s%4d%10s%10s%7.1f %%%9.1f%7.1f %%%7.1f %%%7.1f %%", result->c->shape->name,
           bench_isa_name(result->config->info.isa), result->config->info.n_threads,
           bench_time_text(result->time.min, min), bench_time_text(result->time.median, median),
           100 * bench_spread(&result->time), rates.gflops, 100 * rates.share, 100 * rates.share_best,
           100 * rates.share_cpu);
    print_loop_share(result);
    if (reads)
        print_read_share(result, &rates);
    if (first)
        printf("%8.2fx", first->time.median / result->time.median);
    putchar('\n');
}

static void print_titles(bool reads, bool several) {
    printf("%-26s %-7s%4s%10s%10s%9s%9s%9s%9s%9s%9s", "shape", "kernel", "thr", "min", "median", "spread", "GFLOP/s",
           "of peak", "at best", "by cpu", "of loop");
    if (reads)
        printf("%8s%10s%9s%9s%8s", "GB/s", "of read", "at best", "by cpu", "copies");
    puts(several ? "    speed" : "");
}

/* A batch against its prefills and its decodes, each alone. */
static void print_parts(const struct bench_result *result) {
    char prefills[BENCH_TIME_CHARS], decodes[BENCH_TIME_CHARS];
    if (result->ratio.n)
        printf("%s, %d thread%s: %.3f x the sum of its prefills alone, %s, and its decodes alone, %s; spread %.1f %%\n",
               result->c->shape->name, result->config->info.n_threads, result->config->info.n_threads == 1 ? "" : "s",
               result->ratio.median, bench_time_text(result->part_time[0].median, prefills),
               bench_time_text(result->part_time[1].median, decodes), 100 * bench_spread(&result->ratio));
}

static void print_limit(const char *what, const struct bench_config *config, const struct bench_summary *limit,
                        const char *unit) {
    printf("%s, %d thread%s: median %.1f, best %.1f %s, spread %.1f %% of %zu\n", what, config->info.n_threads,
           config->info.n_threads == 1 ? "" : "s", limit->median * 1e-9, limit->max * 1e-9, unit,
           100 * bench_spread(limit), limit->n);
}

void bench_print_peaks(const struct bench_configs *configs) {
    for (int i = 0; i < configs->n; i++) {
        const struct bench_config *config = &configs->at[i];
        char what[64];
        snprintf(what, sizeof what, "peak of multiply-adds, %s", bench_isa_name(config->info.isa));
        print_limit(what, config, &config->peak, "GFLOP/s");
        if (config->read.n)
            print_limit("memory read", config, &config->read, "GB/s");
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
    print_titles(results->reads, several);
    for (int i = 0; i < results->n_shapes; i++)
        for (int c = 0; c < results->configs.n; c++)
            print_result(&results->at[c * results->n_shapes + i], several ? &results->at[i] : NULL, results->reads);
    for (int i = 0; i < results->n; i++)
        print_parts(&results->at[i]);
    putchar('\n');
    bench_print_peaks(&results->configs);
    printf(
        "of peak: median time against median peak; at best: shortest time against highest peak; by cpu: the time that\n"
        "threads computed instead of the clock's. Only visible (query, key) pairs count. spread: quartiles over\n"
        "median. of loop: of what register tiles of multiply-adds got from the first-level cache right after each "
        "call.\n");
    if (results->reads)
        printf(
            "GB/s: bytes of k and v and their scales, where memory is the limit; of read: of what these threads read\n"
            "from memory in the same run; of loop there: of what they read from the next copy right after each call.\n"
            "Calls take turns with copies, so that each has left the caches; their pages are touched before.\n");
    if (several)
        printf("speed: the first engine's median time on the same shape over this one's.\n");
    if (worst_error(results) >= 0)
        printf("Every shape was verified: errors of at most %.0f %% of the documented bound.\n",
               100 * worst_error(results));
}
