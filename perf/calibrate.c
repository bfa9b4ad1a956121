/* SPDX-License-Identifier: MIT */
/* Measures this machine, fits the cost model of src/cost.c to it, and says how near it comes; see README.md. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_case.h"
#include "bench_stats.h"
#include "calibrate_fit.h"
#include "cost.h"
#include "isa.h"
#include "kernels/kernels.h"
#include "validate.h"

static const char help[] =
    "usage: calibrate [options]\n"
    "\n"
    "Times shapes on one thread, fits the weights of the cost model to them and prints the row for the\n"
    "table in src/cost.c, then each shape as measured, as the library's own model has it, and as the new\n"
    "one does. Times are processor time, the lower quartile of all rounds, so that other programs and a\n"
    "clock that jumps disturb little.\n"
    "\n"
    "  --shapes FILE   shapes to fit to (calibrate.txt); may be repeated\n"
    "  --test FILE     shapes that are only predicted; may be repeated\n"
    "  --isa NAME      generic, avx2, avx512, avx512_bf16, amx_bf16; default: the fastest this machine has\n"
    "  --rounds N      rounds over all shapes (9)\n"
    "  --help          this text\n";

enum { N_COLUMNS = SA_N_COST_TERMS + 1, CALL = SA_N_COST_TERMS }; /* the last column: a call that runs in its caller */

static const char *const columns[N_COLUMNS] = {"tile", "element", "fetch",    "far",        "weight",      "stream",
                                               "edge", "product", "few read", "few stream", "few product", "call"};

struct options {
    struct bench_shapes shapes;
    int n_fitted; /* the first ones */
    int isa, rounds;
};

struct subject {
    struct bench_case c;
    struct bench_samples samples;
    double row[N_COLUMNS];
    struct bench_summary time;
    int n_calls; /* a sample */
};

/* ---------------------------------------------------------------- options */

static bool parse_isa(const char *name, int *isa) {
    for (*isa = 0; *isa < N_ISA_NAMES; (*isa)++)
        if (strcmp(name, isa_names[*isa]) == 0)
            return true;
    return fprintf(stderr, "calibrate: --isa: '%s' will not do\n", name), false;
}

static bool parse_rounds(const char *text, int *rounds) {
    char *end;
    long n = strtol(text, &end, 10);
    *rounds = (int)n;
    return (*text && *end == 0 && n >= 1 && n <= 1000) ||
           (fprintf(stderr, "calibrate: --rounds: '%s' will not do\n", text), false);
}

/* Exit status, or -1 to go on. Shapes to fit to come first whatever the order of the options. */
static int parse(struct options *o, int argc, char **argv) {
    static const struct option table[] = {{"shapes", 1, NULL, 's'}, {"test", 1, NULL, 't'}, {"isa", 1, NULL, 'i'},
                                          {"rounds", 1, NULL, 'r'}, {"help", 0, NULL, 'h'}, {0}};
    const char *tests[16];
    int n_tests = 0, n_files = 0;
    bool good = true;
    for (int option; good && (option = getopt_long(argc, argv, "", table, NULL)) != -1;)
        switch (option) {
        case 's': good = bench_shapes_add_file(&o->shapes, optarg), n_files++; break;
        case 't': good = n_tests < 16, tests[good ? n_tests++ : 0] = optarg; break;
        case 'i': good = parse_isa(optarg, &o->isa); break;
        case 'r': good = parse_rounds(optarg, &o->rounds); break;
        case 'h': return fputs(help, stdout), 0;
        default: return 2;
        }
    if (good && optind < argc)
        good = (fprintf(stderr, "calibrate: what is '%s'?\n", argv[optind]), false);
    if (good && n_files == 0)
        good = bench_shapes_add_file(&o->shapes, "calibrate.txt");
    o->n_fitted = o->shapes.n;
    for (int i = 0; good && i < n_tests; i++)
        good = bench_shapes_add_file(&o->shapes, tests[i]);
    return good ? -1 : 2;
}

/* ---------------------------------------------------------------- what a shape consists of */

static bool fail(const char *name) {
    fprintf(stderr, "calibrate: %s: %s\n", name, sa_last_reason());
    return false;
}

static void add_terms(struct subject *s, const struct sa_problem *problem) {
    double terms[SA_N_COST_TERMS];
    for (int64_t i = 0; i < problem->n_seqs; i++) {
        int64_t n_tiles = sa_seq_tiles(problem, &problem->seqs[i]);
        for (int64_t tile = 0; tile < n_tiles; tile++) {
            sa_tile_terms(problem, &problem->seqs[i], tile, terms);
            for (int t = 0; t < SA_N_COST_TERMS; t++)
                s->row[t] += terms[t] * problem->n_kv_heads;
        }
    }
}

static bool count_terms(struct subject *s, sa_engine *engine) {
    sa_batch own;
    sa_batch_info info = {.struct_size = sizeof info};
    struct sa_problem problem = {.seqs = calloc((size_t)s->c.batch.n_sequences + 1, sizeof(struct sa_seq))};
    bool good = problem.seqs && sa_validate_batch(&s->c.batch, &own) == SA_OK &&
                sa_validate_sequences(&own, &problem) == SA_OK &&
                sa_batch_get_info(engine, &s->c.batch, &info) == SA_OK;
    if (good)
        add_terms(s, &problem);
    s->row[CALL] = info.in_caller;
    free(problem.seqs);
    return good || fail(s->c.shape->name);
}

/* ---------------------------------------------------------------- measuring */

static bool call(const struct subject *s, sa_engine *engine, int n) {
    for (int i = 0; i < n; i++)
        if (sa_batch_forward(engine, &s->c.batch) != SA_OK)
            return fail(s->c.shape->name);
    return true;
}

/* A sample takes a millisecond at least: the processor's clock is coarse. */
static bool prepare(struct subject *s, sa_engine *engine) {
    if (!count_terms(s, engine) || !call(s, engine, 1))
        return false;
    double begin = bench_cpu_time();
    if (!call(s, engine, 1))
        return false;
    double calls = 1e-3 / (bench_cpu_time() - begin + 1e-7);
    s->n_calls = calls < 1 ? 1 : (int)calls;
    return true;
}

static bool measure(struct subject *s, sa_engine *engine) {
    if (!call(s, engine, 1)) /* other shapes have had the caches */
        return false;
    double begin = bench_cpu_time();
    if (!call(s, engine, s->n_calls))
        return false;
    bench_samples_add(&s->samples, (bench_cpu_time() - begin) / s->n_calls);
    return true;
}

static bool measure_all(struct subject *subjects, int n, sa_engine *engine, int rounds) {
    for (int i = 0; i < n; i++)
        if (!prepare(&subjects[i], engine))
            return false;
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < n; i++)
            if (!measure(&subjects[i], engine))
                return false;
    for (int i = 0; i < n; i++)
        subjects[i].time = bench_summarize(&subjects[i].samples);
    return true;
}

/* ---------------------------------------------------------------- fitting and telling */

static void fit(const struct subject *subjects, int n, double *x) {
    double *rows = calloc((size_t)n * N_COLUMNS + 1, sizeof *rows), *y = calloc((size_t)n + 1, sizeof *y);
    for (int i = 0; rows && y && i < n; i++) {
        memcpy(rows + i * N_COLUMNS, subjects[i].row, sizeof subjects[i].row);
        y[i] = subjects[i].time.quarter;
    }
    if (rows && y)
        fit_relative(rows, y, n, N_COLUMNS, x);
    free(rows);
    free(y);
}

static double predict(const struct subject *s, const double *x) {
    double seconds = 0;
    for (int i = 0; i < N_COLUMNS; i++)
        seconds += x[i] * s->row[i];
    return seconds;
}

static void weights_of(const struct sa_cost_model *model, double *x) {
    for (int i = 0; i < SA_N_COST_TERMS; i++)
        x[i] = model->weight[i] * model->unit_seconds;
    x[CALL] = model->call_seconds;
}

static void print_row(const double *x, int isa) {
    double unit = x[SA_COST_PRODUCT] + x[SA_COST_STREAM] / SA_TILE_ROWS, call = x[CALL] > 0 ? x[CALL] : 1e-6;
    printf("The row of src/cost.c:\n\n    {%.4g, %.2g, {", unit, call);
    for (int i = 0; i < SA_N_COST_TERMS; i++)
        printf("%s%.4g", i ? ", " : "", fmax(x[i] / unit, i == SA_COST_TILE ? 1 : 0));
    printf("}}, /* %s */\n\n", isa_names[isa]);
}

/* Where the time of all shapes goes, each counted alike: a term that has no share is not needed. */
static void print_shares(const struct subject *subjects, int n, const double *x) {
    printf("Of the fitted shapes' time:");
    for (int t = 0; t < N_COLUMNS; t++) {
        double share = 0;
        for (int i = 0; i < n; i++)
            share += x[t] * subjects[i].row[t] / subjects[i].time.quarter / n;
        printf(" %s %.1f %%%s", columns[t], 100 * share, t + 1 < N_COLUMNS ? "," : "\n\n");
    }
}

static double error_of(const struct subject *s, const double *x) { return predict(s, x) / s->time.quarter - 1; }

static void print_summary(const char *what, const struct subject *subjects, int n, const double *x) {
    double worst = 0, square = 0;
    int n_near = 0;
    for (int i = 0; i < n; i++) {
        double error = fabs(error_of(&subjects[i], x));
        worst = fmax(worst, error);
        square += error * error / n;
        n_near += error <= 0.1;
    }
    printf("%s: %d of %d shapes within 10 %%, root mean square %.1f %%, worst %.1f %%\n", what, n_near, n,
           100 * sqrt(square), 100 * worst);
}

static void print_table(const struct subject *subjects, const struct options *o, const double *old, const double *new) {
    char text[BENCH_TIME_CHARS];
    printf("%-26s %10s %9s %12s %9s\n", "shape", "measured", "spread", "src/cost.c", "new");
    for (int i = 0; i < o->shapes.n; i++) {
        if (i == o->n_fitted)
            printf("not fitted:\n");
        printf("%-26s %10s %7.1f %% %+10.1f %% %+7.1f %%\n", subjects[i].c.shape->name,
               bench_time_text(subjects[i].time.quarter, text), 100 * bench_spread(&subjects[i].time),
               100 * error_of(&subjects[i], old), 100 * error_of(&subjects[i], new));
    }
    printf("\n");
    print_summary("src/cost.c", subjects, o->shapes.n, old);
    print_summary("new, fitted", subjects, o->n_fitted, new);
    if (o->n_fitted < o->shapes.n)
        print_summary("new, others", subjects + o->n_fitted, o->shapes.n - o->n_fitted, new);
}

static bool tell(const struct subject *subjects, const struct options *o, int isa) {
    double old[N_COLUMNS], new[N_COLUMNS] = {0};
    weights_of(sa_cost_model_of(isa), old);
    fit(subjects, o->n_fitted, new);
    if (!(new[SA_COST_PRODUCT] > 0))
        return fprintf(stderr, "calibrate: these shapes do not tell what a multiply-add takes\n"), false;
    print_row(new, isa);
    print_shares(subjects, o->n_fitted, new);
    print_table(subjects, o, old, new);
    return true;
}

/* ---------------------------------------------------------------- all of it */

static bool open_subjects(struct subject *subjects, const struct options *o, struct bench_arena *arena) {
    struct bench_extent extent = {0};
    for (int i = 0; i < o->shapes.n; i++)
        extent = bench_extent_max(extent, bench_shape_extent(&o->shapes.at[i]));
    if (!bench_arena_open(arena, extent))
        return perror("calibrate"), false;
    for (int i = 0; i < o->shapes.n; i++) {
        struct bench_extent at = {0};
        if (!bench_case_open(&subjects[i].c, &o->shapes.at[i], arena, &at, 1))
            return perror("calibrate"), false;
    }
    return true;
}

static bool calibrate(struct subject *subjects, const struct options *o) {
    sa_engine_options options = {.struct_size = sizeof options, .n_threads = 1, .max_isa = o->isa};
    sa_engine_info info = {.struct_size = sizeof info};
    struct bench_arena arena = {0};
    sa_engine *engine;
    if (sa_engine_create(&options, &engine) != SA_OK)
        return fail("no engine");
    sa_engine_get_info(engine, &info);
    bool good = open_subjects(subjects, o, &arena) && measure_all(subjects, o->shapes.n, engine, o->rounds) &&
                tell(subjects, o, info.isa);
    for (int i = 0; i < o->shapes.n; i++) {
        bench_samples_free(&subjects[i].samples);
        bench_case_close(&subjects[i].c);
    }
    bench_arena_close(&arena);
    sa_engine_destroy(engine);
    return good;
}

int main(int argc, char **argv) {
    struct options options = {.rounds = 9};
    bench_shapes_directory = BENCH_SHAPES;
    int status = parse(&options, argc, argv);
    if (status < 0) {
        struct subject *subjects = calloc((size_t)options.shapes.n + 1, sizeof *subjects);
        status = subjects && calibrate(subjects, &options) ? 0 : 1;
        free(subjects);
    }
    bench_shapes_free(&options.shapes);
    return status;
}
