/* SPDX-License-Identifier: MIT */
#include "bench_callers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench_fleet.h"
#include "bench_progress.h"
#include "bench_report.h"
#include "bench_small.h"
#include "peak.h"

/* Of one number of callers and one engine. */
struct crowd {
    const struct bench_config *config;
    int n_callers, n_passes;
    struct bench_samples rates, joined_rates; /* flop/s, one a round */
    struct bench_samples ratios;              /* of the two, taken one after the other */
    struct bench_samples *latency;            /* [shape] */
};

struct meeting {
    struct bench_configs configs;
    struct bench_fleet fleet;
    struct crowd *crowds; /* [config][callers] */
    int n;
    struct bench_small *small; /* [config] */
};

/* ---------------------------------------------------------------- beginning and end */

static int most(const struct bench_list *list) {
    int max = 0;
    for (int i = 0; i < list->n; i++)
        max = list->at[i] > max ? list->at[i] : max;
    return max;
}

static bool open_crowd(struct crowd *crowd, const struct bench_config *config, int n_callers, int n_shapes) {
    *crowd = (struct crowd){.config = config, .n_callers = n_callers, .n_passes = 1};
    crowd->latency = calloc((size_t)n_shapes, sizeof *crowd->latency);
    return crowd->latency != NULL;
}

static bool open_meeting(struct meeting *m, const struct bench_options *options) {
    const int n_callers = options->callers.n;
    if (!bench_configs_open(&m->configs, options) || !bench_fleet_open(&m->fleet, options, most(&options->callers)))
        return false;
    m->crowds = calloc((size_t)(m->configs.n * n_callers), sizeof *m->crowds);
    m->small = calloc((size_t)m->configs.n, sizeof *m->small);
    for (; m->crowds && m->small && m->n < m->configs.n * n_callers; m->n++)
        if (!open_crowd(&m->crowds[m->n], &m->configs.at[m->n / n_callers], options->callers.at[m->n % n_callers],
                        options->shapes.n))
            break;
    return m->n == m->configs.n * n_callers || (perror("bench"), false);
}

static void close_meeting(struct meeting *m) {
    for (int i = 0; i < m->n; i++) {
        struct crowd *crowd = &m->crowds[i];
        for (int s = 0; s < m->fleet.shapes->n; s++)
            bench_samples_free(&crowd->latency[s]);
        bench_samples_free(&crowd->rates);
        bench_samples_free(&crowd->joined_rates);
        bench_samples_free(&crowd->ratios);
        free(crowd->latency);
    }
    free(m->crowds);
    free(m->small);
    bench_fleet_close(&m->fleet);
    bench_configs_close(&m->configs);
}

/* ---------------------------------------------------------------- measuring */

/* So many passes that a visit, callers and joined batches together, takes about `seconds`. */
static bool choose_passes(struct crowd *crowd, const struct meeting *m, double seconds) {
    const double once = bench_fleet_run_joined(&m->fleet, crowd->config->engine, crowd->n_callers, 1);
    const double passes = seconds / 2 / once;
    crowd->n_passes = passes < 1 ? 1 : passes > 1e6 ? 1000000 : (int)passes;
    return once >= 0;
}

static bool visit(struct crowd *crowd, const struct meeting *m) {
    sa_engine *engine = crowd->config->engine;
    const double flops = bench_fleet_flops(&m->fleet) * crowd->n_callers * crowd->n_passes;
    const double apart = bench_fleet_run(&m->fleet, engine, crowd->n_callers, crowd->n_passes, crowd->latency);
    const double joined = bench_fleet_run_joined(&m->fleet, engine, crowd->n_callers, crowd->n_passes);
    if (apart <= 0 || joined <= 0)
        return false;
    bench_samples_add(&crowd->rates, flops / apart);
    bench_samples_add(&crowd->joined_rates, flops / joined);
    bench_samples_add(&crowd->ratios, joined / apart);
    return true;
}

static bool run_rounds(struct meeting *m, const struct bench_options *options) {
    const int per_config = options->callers.n;
    struct bench_progress progress = bench_progress_begin(options->quiet, options->rounds * m->n);
    bool good = true;
    for (int i = 0; good && i < m->n; i++)
        good = choose_passes(&m->crowds[i], m, options->seconds / options->rounds);
    for (int i = 0; good && i < options->rounds * m->n; i++) {
        struct crowd *crowd = &m->crowds[i % m->n];
        char doing[40];
        snprintf(doing, sizeof doing, "%d callers", crowd->n_callers);
        bench_progress_step(&progress, 1, doing);
        if (i % per_config == 0)
            bench_config_measure_peak(&m->configs.at[i % m->n / per_config]);
        good = visit(crowd, m);
    }
    bench_progress_end(&progress);
    return good;
}

static bool verify(const struct meeting *m) {
    for (int i = 0; i < m->configs.n; i++)
        if (!bench_fleet_verify(&m->fleet, m->configs.at[i].engine))
            return false;
    return true;
}

static bool measure_small(struct meeting *m) {
    for (int i = 0; i < m->configs.n; i++)
        if (!bench_small_measure(&m->small[i], &m->configs.at[i],
                                 m->configs.at[i].peak.median / peak_threads(&m->configs.at[i].info)))
            return false;
    return true;
}

/* ---------------------------------------------------------------- for people */

static void print_latency(const char *name, struct bench_samples *samples) {
    const struct bench_summary summary = bench_summarize(samples);
    char median[BENCH_TIME_CHARS], p99[BENCH_TIME_CHARS], max[BENCH_TIME_CHARS];
    printf("    %-32s%9zu%37s%12s%12s%12s\n", name, summary.n, "", bench_time_text(summary.median, median),
           bench_time_text(summary.p99, p99), bench_time_text(summary.max, max));
}

static void print_crowd(struct crowd *crowd, const struct bench_shapes *shapes) {
    const struct bench_summary rate = bench_summarize(&crowd->rates), ratio = bench_summarize(&crowd->ratios);
    const struct bench_summary joined = bench_summarize(&crowd->joined_rates);
    struct bench_samples all = {0};
    char who[40], median[BENCH_TIME_CHARS], p99[BENCH_TIME_CHARS], max[BENCH_TIME_CHARS];
    for (int s = 0; s < shapes->n; s++)
        bench_samples_append(&all, &crowd->latency[s]);
    const struct bench_summary time = bench_summarize(&all);
    snprintf(who, sizeof who, "%d caller%s, %d thread%s, %s", crowd->n_callers, crowd->n_callers == 1 ? "" : "s",
             crowd->config->info.n_threads, crowd->config->info.n_threads == 1 ? "" : "s",
             bench_isa_name(crowd->config->info.isa));
    printf("%-36s%9zu%9.1f%8.1f %%%10.1f%7.1f %%%12s%12s%12s\n", who, time.n, rate.median * 1e-9,
           100 * rate.median / crowd->config->peak.median, joined.median * 1e-9, 100 * ratio.median,
           bench_time_text(time.median, median), bench_time_text(time.p99, p99), bench_time_text(time.max, max));
    bench_samples_free(&all);
    for (int s = 0; s < shapes->n; s++)
        print_latency(shapes->at[s].name, &crowd->latency[s]);
}

static void print_small(const struct bench_config *config, const struct bench_small *small) {
    char call[BENCH_TIME_CHARS], arithmetic[BENCH_TIME_CHARS], over[BENCH_TIME_CHARS];
    printf("small call, %s: 1 head of 16 x 64 takes %s, its arithmetic %s at the peak: %s above it\n",
           bench_isa_name(config->info.isa), bench_time_text(small->call_seconds, call),
           bench_time_text(small->arithmetic_seconds, arithmetic),
           bench_time_text(small->call_seconds - small->arithmetic_seconds, over));
    if (small->threaded_heads)
        printf("hand-over to %d thread%s: %s (%d heads of 16 x 64 take %s; in the caller, alone, they would take %s)\n",
               config->info.n_threads, config->info.n_threads == 1 ? "" : "s",
               bench_time_text(small->handover_seconds, over), small->threaded_heads,
               bench_time_text(small->threaded_seconds, call), bench_time_text(small->serial_seconds, arithmetic));
}

static void print_meeting(struct meeting *m) {
    printf("%-36s%9s%9s%10s%10s%9s%12s%12s%12s\n", "", "calls", "GFLOP/s", "of peak", "one batch", "ratio", "median",
           "p99", "longest");
    for (int i = 0; i < m->n; i++)
        print_crowd(&m->crowds[i], m->fleet.shapes);
    printf(
        "\none batch: GFLOP/s of one caller who hands over the same work in as few batches as can be; ratio: of the\n"
        "two, taken in turns, median of %zu rounds.\n\n",
        m->crowds[0].ratios.n);
    for (int i = 0; i < m->configs.n; i++)
        print_small(&m->configs.at[i], &m->small[i]);
    bench_print_peaks(&m->configs);
}

/* ---------------------------------------------------------------- for programs */

static bool write_csv(const char *path, struct meeting *m) {
    FILE *file = bench_open_output(path);
    if (!file)
        return false;
    fputs("callers,kernel,threads,gflops,share_of_peak,one_batch_gflops,ratio,shape,calls,median_s,p99_s,max_s\n",
          file);
    for (int i = 0; i < m->n; i++)
        for (int s = 0; s < m->fleet.shapes->n; s++) {
            struct crowd *crowd = &m->crowds[i];
            const struct bench_summary time = bench_summarize(&crowd->latency[s]);
            const double rate = bench_summarize(&crowd->rates).median;
            fprintf(file, "%d,%s,%d,%.6g,%.4f,%.6g,%.4f,%s,%zu,%.9g,%.9g,%.9g\n", crowd->n_callers,
                    bench_isa_name(crowd->config->info.isa), crowd->config->info.n_threads, rate * 1e-9,
                    rate / crowd->config->peak.median, bench_summarize(&crowd->joined_rates).median * 1e-9,
                    bench_summarize(&crowd->ratios).median, m->fleet.shapes->at[s].name, time.n, time.median, time.p99,
                    time.max);
        }
    return bench_close_output(path, file);
}

static void write_crowd(FILE *file, const struct crowd *crowd, const struct bench_shapes *shapes) {
    fprintf(file, "  {\"callers\": %d, \"kernel\": \"%s\", \"threads\": %d,\n   ", crowd->n_callers,
            bench_isa_name(crowd->config->info.isa), crowd->config->info.n_threads);
    bench_json_samples(file, "flops_per_s", &crowd->rates);
    fputs(", ", file);
    bench_json_samples(file, "one_batch_flops_per_s", &crowd->joined_rates);
    fputs(",\n   \"latency_s\": {", file);
    for (int s = 0; s < shapes->n; s++) {
        fputs(s ? ",\n    " : "", file);
        bench_json_samples(file, shapes->at[s].name, &crowd->latency[s]);
    }
    fputs("}}", file);
}

static bool write_json(const char *path, const struct bench_machine *machine, struct meeting *m) {
    FILE *file = bench_open_output(path);
    if (!file)
        return false;
    fputs("{", file);
    bench_json_head(file, machine, &m->configs);
    fputs(" \"small\": [", file);
    for (int i = 0; i < m->configs.n; i++)
        fprintf(file, "%s{\"threads\": %d, \"call_s\": %.6g, \"arithmetic_s\": %.6g, \"handover_s\": %.6g}",
                i ? ", " : "", m->configs.at[i].info.n_threads, m->small[i].call_seconds,
                m->small[i].arithmetic_seconds, m->small[i].handover_seconds);
    fputs("],\n \"callers\": [\n", file);
    for (int i = 0; i < m->n; i++) {
        write_crowd(file, &m->crowds[i], m->fleet.shapes);
        fputs(i + 1 < m->n ? ",\n" : "\n", file);
    }
    fputs(" ]}\n", file);
    return bench_close_output(path, file);
}

bool bench_callers(const struct bench_options *options, const struct bench_machine *machine) {
    struct meeting m = {.fleet.shapes = &options->shapes};
    const struct bench_use use = bench_use_look();
    bool good = open_meeting(&m, options);
    if (good)
        bench_print_header(machine, &m.configs);
    good = good && (!options->verify || verify(&m)) && run_rounds(&m, options);
    bench_configs_summarize(&m.configs);
    good = good && measure_small(&m);
    if (good) {
        print_meeting(&m);
        bench_print_use(&use);
    }
    good = good && (!options->csv_path || write_csv(options->csv_path, &m));
    good = good && (!options->json_path || write_json(options->json_path, machine, &m));
    close_meeting(&m);
    return good;
}
