/* SPDX-License-Identifier: MIT */
#ifndef LAYER_OPTIONS_H
#define LAYER_OPTIONS_H

#include "bench_options.h"
#include "layer_shape.h"

struct layer_bench_options {
    struct layer_shapes shapes;
    struct bench_options bench; /* engines, rounds, seconds, files; no shapes */
};

/* As bench_options_parse(). */
enum bench_parse layer_options_parse(struct layer_bench_options *options, int argc, char **argv);
void layer_options_free(struct layer_bench_options *options);

#endif
