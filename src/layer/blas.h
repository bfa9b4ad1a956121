/* SPDX-License-Identifier: MIT */
/* The only file that knows BLAS. */
#ifndef SA_LAYER_BLAS_H
#define SA_LAYER_BLAS_H

#include <stdbool.h>

/* c[m][n] = a[m][k] b, plus what is in c if `add`; b is [k][n], or [n][k] if `turned`. All row by row, with so many
 * floats from one row to the next; m a multiple of SA_ROW_GRAIN but row by row. In the calling thread, between
 * sa_blas_enter() and sa_blas_leave() of some thread.
 */
struct sa_blas_product {
    int m, n, k;
    const float *a, *b;
    float *c;
    int a_stride, b_stride, c_stride;
    bool turned, add;
    bool by_rows; /* row by row: faster for a few rows, but other bits */
};
void sa_blas_multiply(const struct sa_blas_product *product);

/* From here to sa_blas_leave() BLAS makes no threads of its own. */
void sa_blas_enter(void);
void sa_blas_leave(void);

#endif
