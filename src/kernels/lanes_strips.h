/* SPDX-License-Identifier: MIT */
/* Transposing 8 rows x 4 columns of words. Included by lanes_rows.h and lanes_pairs.h. */
#ifndef SA_LANES_STRIPS_H
#define SA_LANES_STRIPS_H

#include "kernels/lanes_base.h"

enum { STRIP_ROWS = 8, STRIP_COLUMNS = 4 };

typedef float half_strip __attribute__((vector_size(16)));
typedef float strip __attribute__((vector_size(32))); /* in memory order: rows i and i + 4, or 8 rows of a column */

/* Strips are not passed by value: processors without such vectors have no way to. */
INLINE void strip_of_rows(strip *to, const void *row, const void *row_4) {
    half_strip low, high;
    memcpy(&low, row, sizeof low);
    memcpy(&high, row_4, sizeof high);
    *to = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
}

/* 4 x 4 in each half: from r[i] = columns 0 .. 3 of rows i and i + 4 to r[c] = rows 0 .. 7 of column c, and back. */
INLINE void strip_transpose(strip r[4]) {
    strip a = __builtin_shufflevector(r[0], r[1], 0, 8, 1, 9, 4, 12, 5, 13);
    strip b = __builtin_shufflevector(r[2], r[3], 0, 8, 1, 9, 4, 12, 5, 13);
    strip c = __builtin_shufflevector(r[0], r[1], 2, 10, 3, 11, 6, 14, 7, 15);
    strip d = __builtin_shufflevector(r[2], r[3], 2, 10, 3, 11, 6, 14, 7, 15);
    r[0] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
    r[1] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    r[2] = __builtin_shufflevector(c, d, 0, 1, 8, 9, 4, 5, 12, 13);
    r[3] = __builtin_shufflevector(c, d, 2, 3, 10, 11, 6, 7, 14, 15);
}

#endif
