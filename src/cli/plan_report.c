/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "names.h"
#include "output.h"
#include "plan.h"

/* ---------------------------------------------------------------- text */

static void print_engine(const struct plan *plan) {
    const sa_engine_info *i = &plan->info;
    size_t length;
    sa_engine_describe(plan->engine, NULL, 0, &length);
    char *text = malloc(length + 1);
    if (text) {
        sa_engine_describe(plan->engine, text, length + 1, NULL);
        fputs(text, stdout);
    }
    free(text);
    int n_domains = plan->n_cases ? plan->cases[0].sim.n_domains : 1;
    printf("plan for    %d thread%s in %d group%s with a cache of their own\n\n", (int)i->n_threads,
           i->n_threads == 1 ? "" : "s", n_domains, n_domains == 1 ? "" : "s");
}

/* Three digits: "1.23 us", "45.6 ms", "789 s"; into a buffer that the next seven calls leave alone. */
static const char *time_text(double seconds) {
    static char texts[8][16];
    static int next;
    static const char *const units[] = {"s", "ms", "us", "ns"};
    char *text = texts[next++ % 8];
    int unit = 0;
    for (; unit < 3 && seconds > 0 && seconds < 0.9995; unit++)
        seconds *= 1000;
    snprintf(text, sizeof texts[0], "%.*f %s", seconds < 10 ? 2 : seconds < 100 ? 1 : 0, seconds, units[unit]);
    return text;
}

static double ratio(double a, double b) { return b > 0 ? a / b : 1; }

static void print_line(const char *name, const sa_simulation *s) {
    printf("%-24s %9lld %8s %8s %7.3f %6.1f %% %7.3f  %10s %10s %10s %10s %10s\n", name, (long long)s->n_items,
           time_text(s->seconds), time_text(s->ideal_seconds), ratio(s->seconds, s->ideal_seconds),
           100 * fmax(0, 1 - ratio(s->ideal_seconds, s->seconds)), ratio(s->round_robin_seconds, s->ideal_seconds),
           bytes_text(s->kv_bytes), bytes_text(s->l3_bytes), bytes_text(s->round_robin_l3_bytes),
           bytes_text(s->numa_bytes), bytes_text(s->round_robin_numa_bytes));
}

static void add(sa_simulation *sum, const sa_simulation *s) {
    sum->n_items += s->n_items;
    sum->seconds += s->seconds;
    sum->ideal_seconds += s->ideal_seconds;
    sum->round_robin_seconds += s->round_robin_seconds;
    sum->kv_bytes += s->kv_bytes;
    sum->l3_bytes += s->l3_bytes;
    sum->numa_bytes += s->numa_bytes;
    sum->round_robin_l3_bytes += s->round_robin_l3_bytes;
    sum->round_robin_numa_bytes += s->round_robin_numa_bytes;
}

static void print_table(const struct plan *plan) {
    sa_simulation sum = {0};
    printf("%-24s %9s %8s %8s %7s %8s %7s  %10s %21s %21s\n", "", "", "", "", "time /", "", "in turn", "k and v",
           "copies for other L3s", "for other NUMA nodes");
    printf("%-24s %9s %8s %8s %7s %8s %7s  %10s %10s %10s %10s %10s\n", "batch", "items", "time", "ideal", "ideal",
           "idle", "/ ideal", "once", "planned", "in turn", "planned", "in turn");
    for (int i = 0; i < plan->n_cases; i++) {
        print_line(plan->cases[i].shape->name, &plan->cases[i].sim);
        add(&sum, &plan->cases[i].sim);
    }
    if (plan->n_cases > 1)
        print_line("all, one after another", &sum);
}

/* Where the plan falls short of the ideal for want of items. */
static void print_notes(const struct plan *plan) {
    for (int i = 0; i < plan->n_cases; i++) {
        const sa_simulation *s = &plan->cases[i].sim;
        const sa_batch_info *info = &plan->cases[i].info;
        const char *name = plan->cases[i].shape->name;
        if (info->in_caller)
            printf("%s: too small for the team, the calling thread computes it\n", name);
        if (info->n_splits > 0)
            printf("%s: %lld items have a part of a tile's keys\n", name, (long long)info->n_splits);
        if (!info->in_caller && s->seconds > 1.03 * s->ideal_seconds)
            printf("%s: the longest item alone takes %s, %.2f of the ideal%s\n", name, time_text(s->longest_seconds),
                   ratio(s->longest_seconds, s->ideal_seconds), info->n_splits ? "" : "; no key range is split");
    }
    printf("\ntime: until the last thread is done, by the cost model of %s; ideal: all work evenly on all threads;\n"
           "in turn: the same items dealt to the threads one after the other, as they come in the batch. copies: bytes "
           "of\n"
           "k and v that a further cache or node needs, beyond the first one that reads them.\n",
           isa_name(plan->options->max_isa && plan->options->topology ? plan->options->max_isa : plan->info.isa));
    if (plan->speeds.compute > 0)
        printf("The machine computes %.2f times as fast as that of the model, a thread reads k and v %.2f times as "
               "fast.\n",
               plan->speeds.compute, plan->speeds.memory);
}

static void print_measured(const struct plan *plan) {
    double worst = 0;
    printf("\n%-24s %10s %8s %10s %8s\n", "batch", "measured", "spread", "predicted", "error");
    for (int i = 0; i < plan->n_cases; i++) {
        const struct plan_case *c = &plan->cases[i];
        double error = plan_predicted(c) / c->measured - 1;
        worst = fmax(worst, fabs(error));
        printf("%-24s %10s %6.1f %% %10s %+6.1f %%\n", c->shape->name, time_text(c->measured), 100 * c->spread,
               time_text(plan_predicted(c)), 100 * error);
    }
    printf("largest error %.1f %%; measured: lower quartile by the clock, and how far it is to the upper one; an error "
           "below\n"
           "that is noise; predicted: with %s for the call itself, at the speeds of this machine as two other calls "
           "found\n"
           "them, a prompt and a step of decoding: --at %.2f,%.2f\n",
           100 * worst, time_text(plan->cases[0].sim.overhead_seconds), plan->speeds.compute, plan->speeds.memory);
}

void plan_print(const struct plan *plan) {
    print_engine(plan);
    print_table(plan);
    print_notes(plan);
    if (plan->options->measure)
        print_measured(plan);
    if (plan->options->csv_path)
        printf("wrote       %s\n", plan->options->csv_path);
    if (plan->options->svg_path)
        printf("wrote       %s\n", plan->options->svg_path);
    if (plan->options->png_path)
        printf("wrote       %s\n", plan->options->png_path);
}

/* ---------------------------------------------------------------- CSV */

static bool write_row(struct output *output, const struct plan_case *c, struct fault *fault) {
    char line[512], measured[32] = ""; /* nothing: not measured */
    const sa_simulation *s = &c->sim;
    if (c->measured > 0)
        snprintf(measured, sizeof measured, "%.9g", c->measured);
    int n = snprintf(
        line, sizeof line, "%s,%d,%d,%lld,%lld,%.9g,%.9g,%.9g,%.9g,%.9g,%.0f,%.0f,%.0f,%.0f,%.0f,%lld,%s\n",
        c->shape->name, (int)s->n_threads, (int)s->n_domains, (long long)s->n_items, (long long)s->n_moved, s->seconds,
        s->ideal_seconds, s->longest_seconds, s->round_robin_seconds, s->overhead_seconds, s->kv_bytes, s->l3_bytes,
        s->round_robin_l3_bytes, s->numa_bytes, s->round_robin_numa_bytes, (long long)c->info.plan_bytes, measured);
    return output_write(output, line, (size_t)n, fault);
}

bool plan_write_csv(const struct plan *plan, const char *path) {
    static const char head[] =
        "batch,threads,domains,items,moved,seconds,ideal_s,longest_s,round_robin_s,overhead_s,kv_bytes,"
        "l3_bytes,round_robin_l3_bytes,numa_bytes,round_robin_numa_bytes,plan_bytes,measured_s\n";
    struct output output = {0};
    struct fault fault;
    bool good = output_create(&output, path, &fault) && output_write(&output, head, sizeof head - 1, &fault);
    for (int i = 0; good && i < plan->n_cases; i++)
        good = write_row(&output, &plan->cases[i], &fault);
    good = good && output_commit(&output, &fault);
    output_discard(&output);
    return good || complain("%s", fault.text);
}
