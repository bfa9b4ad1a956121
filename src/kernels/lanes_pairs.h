/* SPDX-License-Identifier: MIT */
/* What makes pairs of bf16, see sa_dots in kernels.h, and what is not finite among them. Included by lanes_dots.h and
 * amx_bf16.c, after the vec_<isa>.h of an instruction set that has
 *
 *     v_pair(first, second)       floats to pairs, rounded to nearest, ties to even
 *     v_pair_neighbours           the same of 2 LANES floats that follow each other
 *     v_pair_of_rows              LANES elements of two rows to pairs
 *     v_pairs_finite v_pair_where
 */
#ifndef SA_LANES_PAIRS_H
#define SA_LANES_PAIRS_H

#include "kernels/lanes_base.h"

_Static_assert((int)PASS_GROUPS == (int)SA_TILE_GROUPS, "dots_pack() takes a tile for a pass");

/* Elements of q are bf16 already: their upper halves are all there is. */
static void dots_pack(int n_rows, int d, float factor, float *qt) {
    const int n_lanes = (n_rows + SA_GROUP_ROWS - 1) / SA_GROUP_ROWS * SA_GROUP_ROWS;
    for (int lane = 0; lane < n_lanes; lane += LANES) {
        float *to = qt + lane;
        for (int c = 0; c < d; c += 2, to += W)
            v_store(to, v_pair(v_load(qt + c * W + lane), v_load(qt + (c + 1) * W + lane)));
        v_store(to, v_set1(factor));
    }
}

/* Pair j is written where key j stood, which is done with. */
static void dots_pair(int g, int begin, int end, float *s) {
    for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES)
        for (int j = begin; j < end; j += 2)
            v_store(s + j / 2 * W + lane, v_pair(v_load(s + j * W + lane), v_load(s + (j + 1) * W + lane)));
}

/* What is left of a row goes through copies. */
INLINE vf dots_rest(const char *first, const char *second, int n) {
    char rest[2][2 * LANES] = {{0}, {0}};
    memcpy(rest[0], first, (size_t)n * 2);
    memcpy(rest[1], second, (size_t)n * 2);
    return v_pair_of_rows(rest[0], rest[1]);
}

static void dots_pair_rows(const char *const *rows, int n, int d, float *to, ptrdiff_t to_stride) {
    for (int j = 0; j < n; j++, to += to_stride) {
        const char *first = rows[2 * j], *second = rows[2 * j + 1];
        int c = 0;
        for (; c + LANES <= d; c += LANES)
            v_store_any(to + c, v_pair_of_rows(first + 2 * c, second + 2 * c));
        if (c < d) {
            float rest[LANES];
            v_store_any(rest, dots_rest(first + 2 * c, second + 2 * c, d - c));
            memcpy(to + c, rest, (size_t)(d - c) * sizeof *rest);
        }
    }
}

static bool dots_finite(struct sa_rows rows) {
    bool finite = true;
    for (int j = 0; finite && j < rows.n; j++) {
        const float *row = rows.data + j * rows.stride;
        int c = 0;
        for (; c + LANES <= rows.d; c += LANES)
            finite = finite && v_pairs_finite(v_load_any(row + c));
        if (c < rows.d) {
            float rest[LANES] = {0};
            memcpy(rest, row + c, (size_t)(rows.d - c) * sizeof *rest);
            finite = finite && v_pairs_finite(v_load_any(rest));
        }
    }
    return finite;
}

/* What follows the last sixteen is not looked at; a pair is written where weights were that are done with. */
static void dots_few_pair(int n_rows, int n_keys, const float *s, float *pairs) {
    for (int r = 0; r < n_rows; r++, s += SA_FEW_STRIDE, pairs += SA_FEW_STRIDE)
        for (int j = 0; j < n_keys; j += 2 * LANES) {
            const vf upper = j + LANES < n_keys ? v_load(s + j + LANES) : v_set1(0.0f);
            v_store_any(pairs + j / 2, v_pair_neighbours(v_load(s + j), upper));
        }
}

#endif
