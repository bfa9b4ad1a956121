/* SPDX-License-Identifier: MIT */
/* Measures one shape in a process of its own; see --help. */
#include "scale_point.h"

#include <dlfcn.h>
#include <math.h>
#include <sa/sa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_case.h"
#include "bench_config.h"
#include "bench_machine.h"
#include "bench_verify.h"
#include "peak.h"
#include "standard.h"

/* ---------------------------------------------------------------- memory */

/* VmHWM and not ru_maxrss: the latter survives exec() and would be the parent's, had that been larger. */
static int64_t highest_rss(void) {
    long long kib = -1;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && kib < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lld kB", &kib) != 1)
            kib = -1;
    if (file)
        fclose(file);
    return kib < 0 ? -1 : kib * 1024;
}

/* ---------------------------------------------------------------- calls */

struct point {
    const struct scale_options *options;
    sa_engine *engine;
    sa_engine_info info;
    const struct bench_case *c;
    struct scale_result result;
};

static bool call(struct point *point, int n_calls, double *seconds) {
    const double begin = bench_now();
    for (int i = 0; i < n_calls; i++)
        if (sa_batch_forward(point->engine, &point->c->batch) != SA_OK) {
            fprintf(stderr, "scale_point: %s\n", sa_last_reason());
            return false;
        }
    *seconds = (bench_now() - begin) / n_calls;
    return true;
}

static void measure_peak(struct point *point) {
    for (int i = 0; i < 5; i++)
        bench_samples_add(&point->result.peaks, peak_flops(peak_threads(&point->info), point->info.isa, 0.002));
}

static bool verified_call(struct point *point, double *seconds) {
    bench_poison(point->c);
    if (!call(point, 1, seconds))
        return false;
    point->result.memory.after = highest_rss(); /* before the reference takes memory of its own */
    point->result.error_share = bench_check(point->c, point->engine);
    return point->result.error_share >= 0;
}

/* The caches and the clock of the processor are as calls leave them, not as the measurement of the peak does. */
static bool take_sample(struct point *point, double call_seconds) {
    static const double shortest = 1e-3, warm_below = 0.1;
    const int n_calls = call_seconds < shortest ? (int)(shortest / (call_seconds + 1e-7)) + 1 : 1;
    double seconds;
    measure_peak(point);
    if ((call_seconds < warm_below && !call(point, 1, &seconds)) || !call(point, n_calls, &seconds))
        return false;
    bench_samples_add(&point->result.seconds, seconds);
    return true;
}

/* Not more samples than asked for, and none that would not end in time. */
static bool measure(struct point *point) {
    const struct scale_options *options = point->options;
    double first;
    measure_peak(point);
    if (!verified_call(point, &first))
        return false;
    point->result.first_counts = first > options->seconds;
    if (point->result.first_counts)
        bench_samples_add(&point->result.seconds, first);
    const double end = bench_now() + options->seconds;
    for (int i = 0; i < options->repeats && !point->result.first_counts; i++) {
        if (i > 0 && bench_now() + first > end)
            break;
        if (!take_sample(point, first))
            return false;
    }
    measure_peak(point);
    return true;
}

/* ---------------------------------------------------------------- JSON */

static void print_string(const char *name, const char *text) {
    printf(", \"%s\": \"", name);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < ' ')
            printf("\\u%04x", (unsigned)*text);
        else
            putchar(*text);
    putchar('"');
}

static void print_samples(const char *name, const struct bench_samples *samples) {
    printf(", \"%s\": [", name);
    for (size_t i = 0; i < samples->n; i++)
        printf("%s%.7g", i ? ", " : "", samples->at[i]);
    putchar(']');
}

static void print_engine(const sa_engine_info *info) {
    printf("\"threads\": %d", (int)info->n_threads);
    print_string("isa", bench_isa_name(info->isa));
    print_string("binding", bench_binding_name(info->binding));
}

static void print_result(const struct point *point, const sa_batch_info *batch) {
    const struct scale_result *r = &point->result;
    putchar('{');
    print_engine(&point->info);
    printf(", \"threads_used\": %d, \"pairs\": %lld, \"flops\": %.17g", batch->in_caller ? 1 : (int)batch->n_threads,
           (long long)batch->n_pairs, batch->flops);
    printf(", \"tensor_bytes\": %.0f, \"workspace_bytes\": %lld, \"plan_bytes\": %lld", r->tensor_bytes,
           (long long)batch->workspace_bytes, (long long)batch->plan_bytes);
    printf(", \"rss_before\": %lld, \"rss_filled\": %lld, \"rss_after\": %lld", (long long)r->memory.before,
           (long long)r->memory.filled, (long long)r->memory.after);
    printf(", \"error_share\": %.4g, \"first_counts\": %s", r->error_share, r->first_counts ? "true" : "false");
    print_samples("seconds", &r->seconds);
    print_samples("peak_flops", &r->peaks);
    puts("}");
}

/* ---------------------------------------------------------------- the two jobs */

/* The file the library's code is in: scripts/scaling tells builds apart by what it holds. */
static const char *library_path(void) {
    Dl_info where;
    void *address = NULL;
    const char *(*const function)(void) = sa_version;
    memcpy(&address, &function, sizeof address); /* ISO C has no cast from a function to an object pointer */
    return dladdr(address, &where) && where.dli_fname ? where.dli_fname : "";
}

static bool print_machine(const struct point *point) {
    static char text[4096];
    const struct bench_machine machine = bench_machine_look();
    if (sa_engine_describe(point->engine, text, sizeof text, NULL) != SA_OK) {
        fprintf(stderr, "scale_point: %s\n", sa_last_reason());
        return false;
    }
    putchar('{');
    print_engine(&point->info);
    print_string("version", sa_version());
    print_string("library", library_path());
    print_string("cpu", machine.cpu);
    print_string("compiler", bench_compiler);
    print_string("flags", bench_flags);
    print_string("describe", text);
    puts("}");
    return true;
}

/* Threads that have run once have left their traces in memory, which are no part of what a length costs. */
static void warm_up(const struct point *point) { peak_flops(peak_threads(&point->info), point->info.isa, 0.002); }

static bool measure_case(struct point *point, const struct bench_shape *shape, struct bench_arena *arena) {
    struct bench_case c;
    struct bench_extent at = {0};
    sa_batch_info batch = {.struct_size = sizeof batch};
    if (!bench_case_open(&c, shape, arena, &at, 1))
        return perror("scale_point"), false;
    point->c = &c;
    bool good = sa_batch_get_info(point->engine, &c.batch, &batch) == SA_OK;
    if (!good)
        fprintf(stderr, "scale_point: %s\n", sa_last_reason());
    good = good && measure(point);
    if (good)
        print_result(point, &batch);
    bench_case_close(&c);
    return good;
}

static bool measure_shape(struct point *point) {
    const struct bench_shape *shape = &point->options->shapes.at[0];
    const struct bench_extent extent = bench_shape_extent(shape);
    struct bench_arena arena = {0};
    warm_up(point);
    point->result.memory.before = highest_rss();
    if (!bench_arena_open(&arena, extent)) {
        fprintf(stderr, "scale_point: no memory for %.3g GiB of tensors\n",
                (double)bench_extent_bytes(extent) * 0x1p-30);
        return false;
    }
    point->result.memory.filled = highest_rss();
    point->result.tensor_bytes = (double)bench_extent_bytes(extent);
    const bool good = measure_case(point, shape, &arena);
    bench_arena_close(&arena);
    return good;
}

static bool run(const struct scale_options *options) {
    struct point point = {.options = options, .info = {.struct_size = sizeof(sa_engine_info)}};
    sa_engine_options wanted = {.struct_size = sizeof wanted, .n_threads = options->threads};
    if (sa_engine_create(&wanted, &point.engine) != SA_OK || sa_engine_get_info(point.engine, &point.info) != SA_OK) {
        fprintf(stderr, "scale_point: no engine: %s\n", sa_last_reason());
        return false;
    }
    const bool good = options->machine ? print_machine(&point) : measure_shape(&point);
    bench_samples_free(&point.result.seconds);
    bench_samples_free(&point.result.peaks);
    sa_engine_destroy(point.engine);
    return good;
}

int main(int argc, char **argv) {
    struct scale_options options;
    standard_open();
    const int parse = scale_options_parse(&options, argc, argv);
    const bool good = parse != 0 || run(&options);
    bench_shapes_free(&options.shapes);
    return standard_close("scale_point", parse == 2 ? 2 : good ? 0 : 1);
}
