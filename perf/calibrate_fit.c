/* SPDX-License-Identifier: MIT */
#include "calibrate_fit.h"

#include <math.h>

/* The normal equations of rows divided by y, columns scaled to length 1. */
struct normal {
    double a[FIT_MAX_COLUMNS][FIT_MAX_COLUMNS], b[FIT_MAX_COLUMNS], scale[FIT_MAX_COLUMNS];
    int n;
};

static void add_row(struct normal *normal, const double *row, double y) {
    for (int i = 0; i < normal->n; i++) {
        normal->b[i] += row[i] / y;
        for (int j = 0; j < normal->n; j++)
            normal->a[i][j] += row[i] * row[j] / (y * y);
    }
}

static void rescale(struct normal *normal) {
    for (int i = 0; i < normal->n; i++)
        normal->scale[i] = normal->a[i][i] > 0 ? 1 / sqrt(normal->a[i][i]) : 0;
    for (int i = 0; i < normal->n; i++) {
        normal->b[i] *= normal->scale[i];
        for (int j = 0; j < normal->n; j++)
            normal->a[i][j] *= normal->scale[i] * normal->scale[j];
    }
}

/* Coordinate descent: each weight in turn becomes the best one given the others, or 0. The function is convex, so this
 * ends at its minimum; with a dozen columns the sweeps cost nothing. */
static void descend(const struct normal *normal, double *x) {
    enum { SWEEPS = 200000 };
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        double moved = 0;
        for (int i = 0; i < normal->n; i++) {
            double gradient = -normal->b[i], before = x[i];
            for (int j = 0; j < normal->n; j++)
                gradient += normal->a[i][j] * x[j];
            if (normal->scale[i] > 0)
                x[i] = fmax(0, x[i] - gradient / normal->a[i][i]);
            moved = fmax(moved, fabs(x[i] - before));
        }
        if (moved < 1e-13)
            return;
    }
}

void fit_relative(const double *rows, const double *y, int n, int n_columns, double *x) {
    struct normal normal = {.n = n_columns};
    for (int i = 0; i < n; i++)
        add_row(&normal, rows + i * n_columns, y[i]);
    rescale(&normal);
    for (int i = 0; i < n_columns; i++)
        x[i] = 0;
    descend(&normal, x);
    for (int i = 0; i < n_columns; i++)
        x[i] *= normal.scale[i];
}
