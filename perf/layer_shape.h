/* SPDX-License-Identifier: MIT */
/* Shapes of whole layers: those of bench_shape.h and a few words more, see README.md. */
#ifndef LAYER_SHAPE_H
#define LAYER_SHAPE_H

#include "bench_shape.h"

struct layer_shape {
    struct bench_shape attention; /* as the layer hands it on: q and o of SA_F32 */
    int d_model;
    int x_type, y_type, weight_type; /* sa_type */
    bool rope, pack;
    bool referenced; /* weights of 16 bits are converted by every call */
    bool cached;     /* some keys are there already */
};

struct layer_shapes {
    struct layer_shape *at;
    int n;
};

/* As those of bench_shape.h. */
bool layer_shapes_add_line(struct layer_shapes *shapes, const char *line, const char *where);
bool layer_shapes_add_file(struct layer_shapes *shapes, const char *path);
void layer_shapes_free(struct layer_shapes *shapes);

#endif
