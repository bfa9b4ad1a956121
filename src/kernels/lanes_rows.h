/* SPDX-License-Identifier: MIT */
/* Rows of q into lanes, lanes into rows of o: transposing 8 rows x 4 columns. Included by lanes.h. */
#ifndef SA_LANES_ROWS_H
#define SA_LANES_ROWS_H

enum { STRIP_ROWS = 8, STRIP_COLUMNS = 4 };

typedef float half __attribute__((vector_size(16)));
typedef float strip __attribute__((vector_size(32))); /* in memory order: rows i and i + 4, or 8 rows of a column */

/* Strips are not passed by value: processors without such vectors have no way to. */
INLINE void strip_of_rows(strip *to, const void *row, const void *row_4) {
    half low, high;
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

static void pack_strip(const float *const eight[STRIP_ROWS], int d, float factor, float *qt) {
    const float *const rows[STRIP_ROWS] = {eight[0], eight[1], eight[2], eight[3],
                                           eight[4], eight[5], eight[6], eight[7]};
    int c = 0;
    for (; c + STRIP_COLUMNS <= d; c += STRIP_COLUMNS) {
        strip r[4];
        UNROLL
        for (int i = 0; i < 4; i++)
            strip_of_rows(&r[i], rows[i] + c, rows[i + 4] + c);
        strip_transpose(r);
        UNROLL
        for (int i = 0; i < 4; i++) {
            r[i] *= factor;
            memcpy(qt + (c + i) * W, &r[i], sizeof r[i]);
        }
    }
    for (; c < d; c++)
        for (int i = 0; i < STRIP_ROWS; i++)
            qt[c * W + i] = rows[i][c] * factor;
}

/* Lanes without a row are packed from zeros. */
static void lanes_pack(const float *const rows[SA_TILE_ROWS], int n_rows, int d, float factor, float *qt) {
    static const float zeros[SA_MAX_D] = {0};
    const int n_lanes = (n_rows + SA_GROUP_ROWS - 1) / SA_GROUP_ROWS * SA_GROUP_ROWS;
    for (int r = 0; r < n_lanes; r += STRIP_ROWS) {
        const float *eight[STRIP_ROWS];
        for (int i = 0; i < STRIP_ROWS; i++)
            eight[i] = r + i < n_rows ? rows[r + i] : zeros;
        pack_strip(eight, d, factor, qt + of_row(r, d));
    }
}

/* + 0 turns -0 into +0: whether a row met a block without visible keys must not show in the sign of a zero. */
static void finish_strip(const float *o, int d, const strip *inverse, float *const eight[STRIP_ROWS]) {
    float *const rows[STRIP_ROWS] = {eight[0], eight[1], eight[2], eight[3], eight[4], eight[5], eight[6], eight[7]};
    const strip zero = {0};
    int c = 0;
    for (; c + STRIP_COLUMNS <= d; c += STRIP_COLUMNS) {
        strip r[4];
        UNROLL
        for (int i = 0; i < 4; i++) {
            memcpy(&r[i], o + (c + i) * W, sizeof r[i]);
            r[i] = r[i] * *inverse + zero;
        }
        strip_transpose(r);
        UNROLL
        for (int i = 0; i < 4; i++) {
            half low = __builtin_shufflevector(r[i], r[i], 0, 1, 2, 3);
            half high = __builtin_shufflevector(r[i], r[i], 4, 5, 6, 7);
            memcpy(rows[i] + c, &low, sizeof low);
            memcpy(rows[i + 4] + c, &high, sizeof high);
        }
    }
    for (; c < d; c++)
        for (int i = 0; i < STRIP_ROWS; i++)
            rows[i][c] = o[c * W + i] * (*inverse)[i] + 0.0f;
}

INLINE float inverse_sum(float l) { return l == 0.0f ? 0.0f : 1.0f / l; }

/* What stands in lanes without a row goes nowhere. */
static void lanes_finish(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]) {
    float nowhere[SA_MAX_D];
    for (int r = 0; r < n_rows; r += STRIP_ROWS) {
        float *eight[STRIP_ROWS];
        strip inverse = {0};
        for (int i = 0; i < STRIP_ROWS; i++) {
            eight[i] = r + i < n_rows ? rows[r + i] : nowhere;
            inverse[i] = r + i < n_rows ? inverse_sum(state->l[r + i]) : 0.0f;
        }
        finish_strip(state->o + of_row(r, d), d, &inverse, eight);
    }
}

#endif
