/* SPDX-License-Identifier: MIT */
/* What makes pairs of bf16, see sa_dots in kernels.h. Included by lanes_dots.h and amx_bf16.c, after the vec_<isa>.h of
 * an instruction set that has
 *
 *     v_pair(first, second)       floats to pairs, rounded to nearest, ties to even
 *     v_pair_neighbours           the same of 2 LANES floats that follow each other
 *     v_pair_of_rows              LANES elements of two rows to pairs
 *     v_pairs_finite v_pair_where
 */
#ifndef SA_LANES_PAIRS_H
#define SA_LANES_PAIRS_H

#include "kernels/lanes_base.h"

#include "kernels/lanes_exp2.h"

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

/* Sixteen weights of each lane, as weights1() has them, and their pairs, which may be written where the first of them
 * stand: all are read before. */
INLINE vf pair_strip(const float *s, vf m, float *to) {
    vf sum[4], pair[8];
    UNROLL
    for (int i = 0; i < 4; i += 2) {
        vf p[2][4];
        UNROLL
        for (int k = 0; k < 2; k++) {
            const float *at = s + (i + k) * W;
            p[k][0] = v_load(at) - m;
            p[k][1] = v_load(at + 8 * W) - m;
            p[k][2] = v_load(at + 4 * W) - m;
            p[k][3] = v_load(at + 12 * W) - m;
            exp2_each(4, p[k]);
            sum[i + k] = (p[k][0] + p[k][1]) + (p[k][2] + p[k][3]);
        }
        pair[i / 2] = v_pair(p[0][0], p[1][0]);
        pair[i / 2 + 4] = v_pair(p[0][1], p[1][1]);
        pair[i / 2 + 2] = v_pair(p[0][2], p[1][2]);
        pair[i / 2 + 6] = v_pair(p[0][3], p[1][3]);
    }
    UNROLL
    for (int j = 0; j < 8; j++)
        v_store(to + j * W, pair[j]);
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

static void dots_weights(int g, int begin, int end, float *s, const float *mb, float *m, float *l, float *alpha) {
    for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES) {
        const vf m_new = v_max(v_load(m + lane), v_load(mb + lane)), shift = finite_max(m_new);
        const vf factor = exp2_nonpositive(v_load(m + lane) - shift);
        vf sum = v_set1(0.0f);
        for (int j = begin; j < end; j += SA_SUM_KEYS)
            sum = sum + pair_strip(s + j * W + lane, shift, s + j / 2 * W + lane);
        v_store(m + lane, m_new);
        v_store(alpha + lane, factor);
        v_store(l + lane, v_fma(v_load(l + lane), factor, sum));
    }
}

/* What is left of a row goes through copies. */
INLINE vf dots_rest(const char *first, const char *second, int n) {
    char rest[2][2 * LANES] = {{0}, {0}};
    memcpy(rest[0], first, (size_t)n * 2);
    memcpy(rest[1], second, (size_t)n * 2);
    return v_pair_of_rows(rest[0], rest[1]);
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
