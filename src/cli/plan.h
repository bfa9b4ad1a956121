/* SPDX-License-Identifier: MIT */
/* The parts of `sa plan`. */
#ifndef SA_CLI_PLAN_H
#define SA_CLI_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

#include "bench_case.h"
#include "bench_gauge.h"
#include "bench_shape.h"

enum { PLAN_MAX_THREADS = 1024 };

struct plan_options {
    const char *topology; /* NULL: this machine */
    const char *svg_path, *png_path, *csv_path;
    int64_t n_threads; /* 0: the engine's choice */
    int32_t max_isa;
    double speeds[PLAN_MAX_THREADS];
    int n_speeds;           /* 0: as the topology tells */
    struct bench_speeds at; /* 0: the cost model's own */
    bool measure;
    struct bench_shapes shapes; /* a batch each */
};

/* DONE, WRONG_USAGE, or -1 if help was asked for and printed. Free the options in any case. */
int plan_parse(int argc, char **argv, struct plan_options *options);
void plan_options_free(struct plan_options *options);

/* A batch and what would become of it. */
struct plan_case {
    const struct bench_shape *shape;
    struct bench_case c; /* with tensors that are nowhere: only planned */
    sa_batch_info info;
    sa_simulation sim;
    sa_segment *segments; /* [sim.n_segments], if a picture is wanted */
    double measured;      /* seconds, lower quartile; 0: not measured */
    double spread;        /* distance of the quartiles over that */
};

struct plan {
    const struct plan_options *options;
    sa_engine *engine;
    sa_engine_info info;
    int32_t domains[PLAN_MAX_THREADS];
    struct bench_speeds speeds; /* asked for, or measured; 0: the cost model's own */
    struct plan_case *cases;
    int n_cases;
};

/* Runs every batch on random tensors, and the gauges that tell this machine's speeds. Complains and returns false if
 * something fails. */
bool plan_measure(struct plan *plan);

void plan_print(const struct plan *plan);
bool plan_write_csv(const struct plan *plan, const char *path);

/* Threads as rows, time to the right, one panel a batch. */
bool timeline_write_png(const struct plan *plan, const char *path);
bool timeline_write_svg(const struct plan *plan, const char *path);

/* What a call takes altogether. */
static inline double plan_predicted(const struct plan_case *c) { return c->sim.seconds + c->sim.overhead_seconds; }

#endif
