/* SPDX-License-Identifier: MIT */
/* The arrays kernels work on, three times over: as they were, as the contract has them afterwards, and as a kernel left
 * them. All of it is compared, so that lanes a kernel had no business with are as well. */
#ifndef SA_TESTS_KERNEL_FRAME_H
#define SA_TESTS_KERNEL_FRAME_H

#include <math.h>

#include "each_kernel.h"
#include "inside.h"
#include "kernel_tile.h"

enum { MAX_D = 576 };

struct frame {
    _Alignas(64) float m[SA_TILE_ROWS];
    float l[SA_TILE_ROWS], mb[SA_TILE_ROWS], alpha[SA_TILE_ROWS];
    float s[SA_BLOCK_KEYS + 1][SA_TILE_ROWS]; /* one row more than any kernel may touch */
    float o[MAX_D + 1][SA_TILE_ROWS];
};

static struct frame before, wanted, got;

/* Copies the vectors, n_keys + 1 rows of s and n_dims + 1 of o. */
static inline void frame_copy(struct frame *to, const struct frame *from, int n_keys, int n_dims) {
    memcpy(to->m, from->m, sizeof to->m);
    memcpy(to->l, from->l, sizeof to->l);
    memcpy(to->mb, from->mb, sizeof to->mb);
    memcpy(to->alpha, from->alpha, sizeof to->alpha);
    memcpy(to->s, from->s, (size_t)(n_keys + 1) * sizeof to->s[0]);
    memcpy(to->o, from->o, (size_t)(n_dims + 1) * sizeof to->o[0]);
}

static inline void same_rows(const char *kernel, const char *array, const float *a, const float *b, int n_rows) {
    if (memcmp(a, b, (size_t)n_rows * SA_TILE_ROWS * sizeof *a) == 0)
        return;
    for (int i = 0; i < n_rows * SA_TILE_ROWS; i++)
        must(same_float(a[i], b[i]), "%s: %s[%d][%d] is %a, expected %a", kernel, array, i / SA_TILE_ROWS,
             i % SA_TILE_ROWS, (double)a[i], (double)b[i]);
}

/* What the kernel left against what was wanted, bit for bit. */
static inline void frame_check(const char *kernel, int n_keys, int n_dims) {
    same_rows(kernel, "m", got.m, wanted.m, 1);
    same_rows(kernel, "l", got.l, wanted.l, 1);
    same_rows(kernel, "mb", got.mb, wanted.mb, 1);
    same_rows(kernel, "alpha", got.alpha, wanted.alpha, 1);
    same_rows(kernel, "s", got.s[0], wanted.s[0], n_keys + 1);
    same_rows(kernel, "o", got.o[0], wanted.o[0], n_dims + 1);
}

/* Not zero, so that nothing is left out by chance, and of either sign. */
static inline float roll_value(struct dice *dice) {
    float x = roll_unit(dice);
    return x == 0.0f ? 0.5f : x;
}

static inline void roll_floats(struct dice *dice, float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = roll_value(dice);
}

#endif
