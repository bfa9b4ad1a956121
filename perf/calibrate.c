/* SPDX-License-Identifier: MIT */
/* Measures this machine, fits the cost model of src/cost.c to it, and says how near it comes; see README.md. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_case.h"
#include "bench_gauge.h"
#include "bench_stats.h"
#include "block.h"
#include "calibrate_fit.h"
#include "cost.h"
#include "engine.h"
#include "isa.h"
#include "kernels/kernels.h"
#include "standard.h"
#include "validate.h"

static const char help[] =
    "usage: calibrate [options]\n"
    "\n"
    "Times shapes on one thread, fits the weights of the cost model to them and prints the row for the\n"
    "table in src/cost.c, then each shape as measured, as the library's own model has it, and as the new\n"
    "one does. Times are processor time, the lower quartile of all rounds, so that other programs and a\n"
    "clock that jumps disturb little. A row is fitted to shapes that are multiplied as the first one is:\n"
    "as floats, or in one of the other ways that some kernels have for some types.\n"
    "\n"
    "  --shapes FILE   shapes to fit to (calibrate.txt); may be repeated\n"
    "  --test FILE     shapes that are only predicted; may be repeated\n"
    "  --as TYPE       bf16, f16, f16_pairs or int8: all shapes are of this type; default: as they say\n"
    "  --isa NAME      generic, avx2, avx512, avx512_bf16, amx_bf16; default: the fastest this machine has\n"
    "  --rounds N      rounds over all shapes (9)\n"
    "  --help          this text\n";

enum { N_COLUMNS = SA_N_COST_TERMS + 1, CALL = SA_N_COST_TERMS }; /* the last column: a call that runs in its caller */

static const char *const columns[N_COLUMNS] = {"tile",       "element",     "fetch",     "far",     "weight",
                                               "stream",     "widen",       "edge",      "product", "few read",
                                               "few stream", "few product", "few apart", "call"};

struct options {
    struct bench_shapes shapes;
    int n_fitted; /* the first ones, if they are multiplied as the very first one is */
    int isa, rounds;
    const struct type *as; /* NULL: as they say */
};

struct subject {
    struct bench_case c;
    struct bench_samples samples;
    double row[N_COLUMNS];
    struct bench_summary time;
    int n_calls; /* a sample */
    enum sa_cost_way way;
    double seconds; /* by src/cost.c, at this machine's speeds */
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

struct type {
    const char *name;
    int q, kv; /* sa_type */
    bool f16_pairs;
};

static const struct type types[] = {{"bf16", SA_BF16, SA_BF16, false},
                                    {"f16", SA_F16, SA_F16, false},
                                    {"f16_pairs", SA_F16, SA_F16, true},
                                    {"int8", SA_BF16, SA_I8, false}};

static bool parse_type(const char *name, const struct type **type) {
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(name, types[i].name) == 0)
            return *type = &types[i], true;
    return fprintf(stderr, "calibrate: --as: '%s' will not do\n", name), false;
}

static void set_types(struct options *o) {
    for (int i = 0; o->as && i < o->shapes.n; i++) {
        struct bench_shape *shape = &o->shapes.at[i];
        shape->q_type = shape->o_type = o->as->q;
        shape->kv_type = o->as->kv;
        shape->f16_pairs = o->as->f16_pairs;
    }
}

enum { MAX_TESTS = 16 };

static bool add_test(const char **tests, int *n, const char *path) {
    if (*n == MAX_TESTS)
        return fprintf(stderr, "calibrate: more than %d times --test\n", MAX_TESTS), false;
    return tests[(*n)++] = path, true;
}

/* Exit status, or -1 to go on. Shapes to fit to come first whatever the order of the options, the gauges last. */
static int parse(struct options *o, int argc, char **argv) {
    static const struct option table[] = {{"shapes", 1, NULL, 's'},
                                          {"test", 1, NULL, 't'},
                                          {"as", 1, NULL, 'a'},
                                          {"isa", 1, NULL, 'i'},
                                          {"rounds", 1, NULL, 'r'},
                                          {"help", 0, NULL, 'h'},
                                          {0}};
    const char *tests[MAX_TESTS];
    int n_tests = 0, n_files = 0;
    bool good = true;
    for (int option; good && (option = getopt_long(argc, argv, "", table, NULL)) != -1;)
        switch (option) {
        case 's': good = bench_shapes_add_file(&o->shapes, optarg), n_files++; break;
        case 't': good = add_test(tests, &n_tests, optarg); break;
        case 'a': good = parse_type(optarg, &o->as); break;
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
    set_types(o);
    return good && bench_gauges_add(&o->shapes) ? -1 : 2;
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

/* The sequences of a batch are alike in this. Only of floats are there some that first become such. */
static void choose_way(struct subject *s, const struct sa_problem *problem, const struct sa_kernels *kernels) {
    const bool own = sa_dots_of(kernels, problem, problem->seqs) || sa_bytes_of(kernels, problem, problem->seqs);
    s->way = own ? sa_cost_way_of(problem, problem->seqs) : SA_AS_FLOATS;
    if (s->way != SA_AS_FLOATS)
        s->row[SA_COST_WIDEN] = 0;
}

/* By the weights of src/cost.c. */
static double seconds_of(const struct subject *s, const struct sa_cost_model *model) {
    const enum sa_cost_way way = model->weight[s->way][SA_COST_TILE] > 0 ? s->way : SA_AS_FLOATS;
    return s->row[CALL] * model->call_seconds +
           sa_terms_cost(model->weight[way], model->beside[way], s->row) * model->unit_seconds;
}

static bool count_terms(struct subject *s, sa_engine *engine) {
    sa_batch own;
    sa_batch_info info = {.struct_size = sizeof info};
    struct sa_problem problem = {.seqs = calloc((size_t)s->c.batch.n_sequences + 1, sizeof(struct sa_seq))};
    bool good = problem.seqs && sa_validate_batch(&s->c.batch, &own) == SA_OK &&
                sa_validate_sequences(&own, &problem) == SA_OK &&
                sa_batch_get_info(engine, &s->c.batch, &info) == SA_OK;
    s->row[CALL] = info.in_caller;
    if (good) {
        add_terms(s, &problem);
        choose_way(s, &problem, engine->cpu.kernels);
    }
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

/* A sample takes a millisecond at least, as the processor's clock is coarse, or is one call that reads from memory. */
static bool prepare(struct subject *s, sa_engine *engine) {
    if (!count_terms(s, engine) || !call(s, engine, 1))
        return false;
    double begin = bench_cpu_time();
    if (!call(s, engine, 1))
        return false;
    double calls = 1e-3 / (bench_cpu_time() - begin + 1e-7);
    s->n_calls = calls < 1 || bench_shape_is_decode(s->c.shape) ? 1 : (int)calls;
    return true;
}

static bool measure(struct subject *s, sa_engine *engine) {
    if (!bench_shape_is_decode(s->c.shape) && !call(s, engine, 1)) /* other shapes have had the caches */
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

/* Of those that are multiplied alike. */
static bool is_fitted(const struct subject *subjects, int i) { return subjects[i].way == subjects[0].way; }

static double predict(const struct subject *s, const double *x) {
    return sa_terms_cost(x, true, s->row) + x[CALL] * s->row[CALL];
}

/* What few rows take is no sum of its terms. But the sum of each term times its slope at x, by Euler's theorem; with
 * the slopes of the weights before, a fit of sums finds better ones. */
static void weigh_slopes(double *row, const double *x) {
    double few[SA_N_COST_TERMS] = {0}, read[SA_N_COST_TERMS] = {0};
    for (int t = SA_COST_FEW_READ; t < SA_N_COST_TERMS; t++)
        few[t] = row[t];
    read[SA_COST_FEW_READ] = row[SA_COST_FEW_READ];
    read[SA_COST_FEW_APART] = row[SA_COST_FEW_APART];
    const double all = sa_terms_cost(x, true, few), share = all > 0 ? sa_terms_cost(x, true, read) / all : sqrt(0.5);
    for (int t = SA_COST_FEW_READ; t < SA_N_COST_TERMS; t++)
        row[t] *= read[t] > 0 ? share : sqrt(fmax(0, 1 - share * share));
}

static void fit_once(const struct subject *subjects, int n, const double *before, double *x) {
    double *rows = calloc((size_t)n * N_COLUMNS + 1, sizeof *rows), *y = calloc((size_t)n + 1, sizeof *y);
    int n_rows = 0;
    for (int i = 0; rows && y && i < n; i++)
        if (is_fitted(subjects, i)) {
            memcpy(rows + n_rows * N_COLUMNS, subjects[i].row, sizeof subjects[i].row);
            weigh_slopes(rows + n_rows * N_COLUMNS, before);
            y[n_rows++] = subjects[i].time.quarter;
        }
    if (rows && y)
        fit_relative(rows, y, n_rows, N_COLUMNS, x);
    free(rows);
    free(y);
}

/* Halfway each time: the slopes swing less, and what was 0 once has one. */
static void fit(const struct subject *subjects, int n, double *x) {
    enum { TIMES = 60 };
    double before[N_COLUMNS] = {0};
    fit_once(subjects, n, before, x);
    for (int i = 0; i < N_COLUMNS; i++)
        before[i] = i > SA_COST_FEW_READ && i < SA_N_COST_TERMS ? fmax(x[i], x[SA_COST_FEW_READ] / 10) : x[i];
    for (int time = 0; time < TIMES; time++) {
        fit_once(subjects, n, before, x);
        for (int i = 0; i < N_COLUMNS; i++)
            before[i] = (before[i] + x[i]) / 2;
    }
    memcpy(x, before, sizeof before);
}

static void print_weights(const double *x, double unit) {
    for (int i = 0; i < SA_N_COST_TERMS; i++)
        printf("%s%.4g", i ? ", " : "{", fmax(x[i] / unit, i == SA_COST_TILE ? 1 : 0));
    printf("}");
}

/* All ways of a kernel have the unit of its floats, since a batch may have several. */
static void print_row(const double *x, enum sa_cost_way way, int isa, double unit_of_floats) {
    static const char *const ways[SA_N_COST_WAYS] = {"floats", "pairs of bf16", "pairs of f16", "bytes"};
    double unit = x[SA_COST_PRODUCT] + x[SA_COST_STREAM] / SA_TILE_ROWS, call = x[CALL] > 0 ? x[CALL] : 1e-6;
    printf("The weights in src/cost.c of %s, %s:\n\n    ", isa_names[isa], ways[way]);
    if (way == SA_AS_FLOATS)
        printf("%.4g, %.2g, ", unit, call);
    print_weights(x, way == SA_AS_FLOATS ? unit : unit_of_floats);
    printf("\n    with few rows read and computed beside each other: its place in `beside` is true\n\n");
}

static void add_shares(const struct subject *s, const double *x, double *shares) {
    double row[N_COLUMNS];
    memcpy(row, s->row, sizeof row);
    weigh_slopes(row, x);
    for (int t = 0; t < N_COLUMNS; t++)
        shares[t] += x[t] * row[t] / s->time.quarter;
}

/* Where the time of all shapes goes, each counted alike: a term that has no share is not needed. */
static void print_shares(const struct subject *subjects, int n, const double *x) {
    printf("Of the fitted shapes' time:");
    double shares[N_COLUMNS] = {0}, n_fitted = 0;
    for (int i = 0; i < n; i++)
        if (is_fitted(subjects, i)) {
            add_shares(&subjects[i], x, shares);
            n_fitted++;
        }
    for (int t = 0; t < N_COLUMNS; t++)
        printf(" %s %.1f %%%s", columns[t], 100 * shares[t] / n_fitted, t + 1 < N_COLUMNS ? "," : "\n\n");
}

/* With x NULL that of src/cost.c. */
static double error_of(const struct subject *s, const double *x) {
    return (x ? predict(s, x) : s->seconds) / s->time.quarter - 1;
}

static void print_summary(const char *what, const struct subject *subjects, int begin, int end, const double *x) {
    double worst = 0, square = 0;
    int n = 0, n_near = 0;
    for (int i = begin; i < end; i++)
        if (!x || is_fitted(subjects, i)) {
            double error = fabs(error_of(&subjects[i], x));
            worst = fmax(worst, error);
            square += error * error;
            n_near += error <= 0.1;
            n++;
        }
    if (n > 0)
        printf("%s: %d of %d shapes within 10 %%, root mean square %.1f %%, worst %.1f %%\n", what, n_near, n,
               100 * sqrt(square / n), 100 * worst);
}

static void print_line(const struct subject *s, const double *new) {
    char text[BENCH_TIME_CHARS];
    printf("%-26s %10s %7.1f %% %+10.1f %%", s->c.shape->name, bench_time_text(s->time.quarter, text),
           100 * bench_spread(&s->time), 100 * error_of(s, NULL));
    if (new)
        printf(" %+7.1f %%", 100 * error_of(s, new));
    printf("\n");
}

/* The gauges, which the speeds are taken from, tell nothing about them. */
static int n_shown(const struct options *o) { return o->shapes.n - BENCH_GAUGES; }

static void print_table(const struct subject *subjects, const struct options *o, const double *new) {
    printf("%-26s %10s %9s %12s %9s\n", "shape", "measured", "spread", "src/cost.c", "new");
    for (int i = 0; i < n_shown(o); i++) {
        if (i == o->n_fitted)
            printf("not fitted:\n");
        print_line(&subjects[i], is_fitted(subjects, i) ? new : NULL);
    }
    printf("\n");
    print_summary("src/cost.c", subjects, 0, n_shown(o), NULL);
    print_summary("new, fitted", subjects, 0, o->n_fitted, new);
    print_summary("new, others", subjects, o->n_fitted, n_shown(o), new);
}

/* Predicts all by src/cost.c as it would be here. */
static bool apply_speeds(struct subject *subjects, const struct options *o, sa_engine *engine, int isa,
                         struct bench_speeds *speeds) {
    const struct subject *gauges = &subjects[o->shapes.n - BENCH_GAUGES];
    const sa_batch *batches[BENCH_GAUGES];
    double seconds[BENCH_GAUGES];
    for (int i = 0; i < BENCH_GAUGES; i++) {
        batches[i] = &gauges[i].c.batch;
        seconds[i] = gauges[i].time.quarter;
    }
    if (!bench_gauge_speeds(engine, batches, seconds, speeds))
        return false;
    const struct sa_cost_model model = sa_cost_model_at(sa_cost_model_of(isa), speeds->compute, speeds->memory);
    for (int i = 0; i < o->shapes.n; i++)
        subjects[i].seconds = seconds_of(&subjects[i], &model);
    printf("By two calls, a prompt and a step of decoding, this machine computes %.2f times as fast as that of "
           "src/cost.c\n"
           "and reads keys and values %.2f times as fast; its weights are taken at these speeds.\n\n",
           speeds->compute, speeds->memory);
    return true;
}

static bool tell(const struct subject *subjects, const struct options *o, int isa, double unit_of_floats) {
    double new[N_COLUMNS] = {0};
    fit(subjects, o->n_fitted, new);
    if (subjects[0].way == SA_AS_FLOATS && !(new[SA_COST_PRODUCT] + new[SA_COST_STREAM] > 0))
        return fprintf(stderr, "calibrate: these shapes do not tell what a multiply-add takes\n"), false;
    print_row(new, subjects[0].way, isa, unit_of_floats);
    print_shares(subjects, o->n_fitted, new);
    print_table(subjects, o, new);
    return true;
}

/* ---------------------------------------------------------------- all of it */

/* Shapes that memory limits stand one behind the other, so that each has left the caches when its turn comes again; the
 * others share one place. */
static struct bench_extent end_of(const struct bench_shapes *shapes) {
    struct bench_extent shared = {0}, end = {0};
    for (int i = 0; i < shapes->n; i++) {
        const struct bench_extent extent = bench_shape_extent(&shapes->at[i]);
        if (bench_shape_is_decode(&shapes->at[i]))
            end = bench_extent_add(end, extent);
        else
            shared = bench_extent_max(shared, extent);
    }
    return bench_extent_max(shared, end);
}

static bool open_subjects(struct subject *subjects, const struct options *o, struct bench_arena *arena) {
    struct bench_extent end = {0};
    if (!bench_arena_open(arena, end_of(&o->shapes)))
        return perror("calibrate"), false;
    for (int i = 0; i < o->shapes.n; i++) {
        struct bench_extent begin = {0};
        const struct bench_shape *shape = &o->shapes.at[i];
        if (!bench_case_open(&subjects[i].c, shape, arena, bench_shape_is_decode(shape) ? &end : &begin, 1))
            return perror("calibrate"), false;
    }
    return true;
}

static bool calibrate(struct subject *subjects, const struct options *o) {
    sa_engine_options options = {.struct_size = sizeof options, .n_threads = 1, .max_isa = o->isa};
    sa_engine_info info = {.struct_size = sizeof info};
    struct bench_arena arena = {0};
    struct bench_speeds speeds;
    sa_engine *engine;
    if (sa_engine_create(&options, &engine) != SA_OK)
        return fail("no engine");
    sa_engine_get_info(engine, &info);
    bool good = open_subjects(subjects, o, &arena) && measure_all(subjects, o->shapes.n, engine, o->rounds) &&
                apply_speeds(subjects, o, engine, info.isa, &speeds) &&
                tell(subjects, o, info.isa, sa_cost_model_of(info.isa)->unit_seconds / speeds.compute);
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
    standard_open();
    bench_shapes_directory = BENCH_SHAPES;
    int status = parse(&options, argc, argv);
    if (status < 0) {
        struct subject *subjects = calloc((size_t)options.shapes.n + 1, sizeof *subjects);
        status = subjects && calibrate(subjects, &options) ? 0 : 1;
        free(subjects);
    }
    bench_shapes_free(&options.shapes);
    return standard_close("calibrate", status);
}
