/* SPDX-License-Identifier: MIT */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "bench_shape.h"
#include "bench_values.h"

struct bench_options {
    struct bench_shapes shapes;
    struct bench_list threads; /* 0: as many as the engine likes */
    struct bench_list isas;    /* sa_isa */
    struct bench_list callers; /* none: the ordinary bench */
    int binding;               /* sa_binding */
    int rounds;
    double seconds;     /* a shape, all rounds together */
    double logit_scale; /* times 1/sqrt(d) */
    size_t max_memory_bytes;
    const char *csv_path, *json_path;
    bool verify, read_rate, quiet;
};

enum bench_parse { BENCH_PARSE_RUN, BENCH_PARSE_HELP, BENCH_PARSE_WRONG };

/* Reads the command line and the shapes it names. Complaints go to stderr, help to stdout. */
enum bench_parse bench_options_parse(struct bench_options *options, int argc, char **argv);
void bench_options_free(struct bench_options *options);

const char *bench_isa_name(int isa);
const char *bench_binding_name(int binding);

#endif
