/* SPDX-License-Identifier: MIT */
/* What makes pairs of bf16, see sa_dots in kernels.h. Included by lanes_dots.h and amx_dots.h, after the vec_<isa>.h of
 * an instruction set that has
 *
 *     v_pair(first, second)       weights to pairs, rounded to nearest, ties away from 0
 *     v_pair_neighbours           the same of 2 LANES floats that follow each other
 *     v_pair_of_rows              LANES elements of two rows to pairs
 *     v_pairs_finite v_pair_where
 */
#ifndef SA_LANES_PAIRS_H
#define SA_LANES_PAIRS_H

#include "kernels/lanes_base.h"

#include "kernels/lanes_exp2.h"

/* A score, if s is one before it is scaled. */
INLINE vf scaled(vf s, const vf *scale) {
    if (scale)
        s = s * *scale;
    return s;
}

/* Those of the keys 0, 8, 4 and 12 from s on, and their sum t4[0], see kernels.h. */
INLINE vf weights_of_four(const float *s, const int s_step, const vf *scale, vf m, vf p[4]) {
    p[0] = scaled(v_load(s), scale);
    p[1] = scaled(v_load(s + 8 * s_step), scale);
    p[2] = scaled(v_load(s + 4 * s_step), scale);
    p[3] = scaled(v_load(s + 12 * s_step), scale);
    exp2_of_weights(4, p, m);
    return (p[0] + p[1]) + (p[2] + p[3]);
}

/* Sixteen weights of each lane, as lanes_weights() has them, and their pairs, which may be written where the first of
 * them stand: all are read before. scale: NULL, or what s is to be multiplied by. */
INLINE vf pair_strip(const float *s, const int s_step, const vf *scale, vf m, float *to, const int step) {
    vf sum[4], pair[8];
    UNROLL
    for (int i = 0; i < 4; i += 2) {
        vf p[2][4];
        UNROLL
        for (int k = 0; k < 2; k++)
            sum[i + k] = weights_of_four(s + (i + k) * s_step, s_step, scale, m, p[k]);
        pair[i / 2] = v_pair(p[0][0], p[1][0]);
        pair[i / 2 + 4] = v_pair(p[0][1], p[1][1]);
        pair[i / 2 + 2] = v_pair(p[0][2], p[1][2]);
        pair[i / 2 + 6] = v_pair(p[0][3], p[1][3]);
    }
    UNROLL
    for (int j = 0; j < 8; j++)
        v_store(to + j * step, pair[j]);
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* The weights of a vector of rows under way. */
struct weighing {
    vf m, shift, factor, sum;
};

INLINE struct weighing begin_weights(const float *mb, const float *m) {
    const vf m_new = v_max(v_load(m), v_load(mb)), shift = finite_max(m_new);
    return (struct weighing){m_new, shift, exp2_below(v_load(m), shift), v_set1(0.0f)};
}

/* Keys j .. j + 15, s_step floats apart, to pairs `step` floats apart; both begin with key 0. */
INLINE void weigh_strip(struct weighing *weighing, const float *s, const int s_step, const vf *scale, int j,
                        float *pairs, const int step) {
    const vf sum = pair_strip(s + j * s_step, s_step, scale, weighing->shift, pairs + j / 2 * step, step);
    weighing->sum = weighing->sum + sum;
}

INLINE void end_weights(const struct weighing *weighing, float *m, float *l, float *alpha) {
    v_store(m, weighing->m);
    v_store(alpha, weighing->factor);
    v_store(l, v_fma(v_load(l), weighing->factor, weighing->sum));
}

/* What is left of a row goes through copies. */
INLINE vf dots_rest(const char *first, const char *second, int n) {
    char rest[2][2 * LANES] = {{0}, {0}};
    memcpy(rest[0], first, (size_t)n * 2);
    memcpy(rest[1], second, (size_t)n * 2);
    return v_pair_of_rows(rest[0], rest[1]);
}

#endif
