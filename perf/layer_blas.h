/* SPDX-License-Identifier: MIT */
/* The system's BLAS, as a program without libsa would call it: whole matrices, threads of its own. */
#ifndef LAYER_BLAS_H
#define LAYER_BLAS_H

#include <stddef.h>
#include <stdint.h>

/* Sets its threads; returns how many it had. 0: it does not say, and nothing was set. */
int layer_blas_set_threads(int n);

/* What it says it is, and how it was built. */
enum { LAYER_BLAS_CHARS = 200 };
const char *layer_blas_name(char text[LAYER_BLAS_CHARS]);

/* c[m][n] = a[m][k] times b[n][k] turned. All packed. */
void layer_blas_multiply(int64_t m, int n, int k, const float *a, const float *b, float *c);

/* The same of one row, as a matrix times a vector. */
void layer_blas_multiply_row(int n, int k, const float *a, const float *b, float *c);

/* In float64, for the reference. */
void layer_blas_multiply_exactly(int64_t m, int n, int k, const double *a, const double *b, double *c);

#endif
