/* SPDX-License-Identifier: MIT */
/* Rows of words to lanes, 8 rows x 4 columns at a time. Included by lanes_rows.h, lanes_paired.h, amx_f16.c and
 * amx_int8.c. */
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

/* Words at any alignment, times a factor if they are floats; NULL: they are moved, whatever they are. */
INLINE void pack_strip(const char *const eight[STRIP_ROWS], int n_words, const float *factor, float *qt) {
    const char *const rows[STRIP_ROWS] = {eight[0], eight[1], eight[2], eight[3],
                                          eight[4], eight[5], eight[6], eight[7]};
    enum { WORD_BYTES = sizeof(float) };
    int c = 0;
    for (; c + STRIP_COLUMNS <= n_words; c += STRIP_COLUMNS) {
        strip r[4];
        UNROLL
        for (int i = 0; i < 4; i++)
            strip_of_rows(&r[i], rows[i] + c * WORD_BYTES, rows[i + 4] + c * WORD_BYTES);
        strip_transpose(r);
        UNROLL
        for (int i = 0; i < 4; i++) {
            if (factor)
                r[i] *= *factor;
            memcpy(qt + (c + i) * W, &r[i], sizeof r[i]);
        }
    }
    for (; c < n_words; c++)
        for (int i = 0; i < STRIP_ROWS; i++) {
            memcpy(qt + c * W + i, rows[i] + c * WORD_BYTES, WORD_BYTES);
            if (factor)
                qt[c * W + i] *= *factor;
        }
}

/* The rows of a tile; lanes without a row are packed from zeros. */
INLINE void pack_strips(const char *const *rows, int n_rows, int n_words, const float *factor, float *qt) {
    static const float zeros[SA_MAX_D] = {0};
    const int n_lanes = (n_rows + SA_GROUP_ROWS - 1) / SA_GROUP_ROWS * SA_GROUP_ROWS;
    for (int r = 0; r < n_lanes; r += STRIP_ROWS) {
        const char *eight[STRIP_ROWS];
        for (int i = 0; i < STRIP_ROWS; i++)
            eight[i] = r + i < n_rows ? rows[r + i] : (const char *)zeros;
        pack_strip(eight, n_words, factor, qt + of_row(r, n_words));
    }
}

#endif
