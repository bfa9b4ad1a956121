/* SPDX-License-Identifier: MIT */
/* Rows of q into lanes, lanes into rows of o. Included by lanes.h. */
#ifndef SA_LANES_ROWS_H
#define SA_LANES_ROWS_H

#include "kernels/lanes_strips.h"

static void lanes_pack(const float *const rows[SA_TILE_ROWS], int n_rows, int d, float factor, float *qt) {
    const char *at[SA_TILE_ROWS];
    for (int r = 0; r < n_rows; r++)
        at[r] = (const char *)rows[r];
    pack_strips(at, n_rows, d, &factor, qt);
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
            half_strip low = __builtin_shufflevector(r[i], r[i], 0, 1, 2, 3);
            half_strip high = __builtin_shufflevector(r[i], r[i], 4, 5, 6, 7);
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
