/* SPDX-License-Identifier: MIT */
/* Scores of tiles of few rows to weights. Included by lanes.h, lanes_dots.h and amx_dots.h. */
#ifndef SA_LANES_FEW_WEIGHTS_H
#define SA_LANES_FEW_WEIGHTS_H

#include "kernels/lanes_exp2.h"
#include "kernels/lanes_strips.h"

INLINE float few_maximum(int n_keys, const float *s) {
    _Alignas(64) float each[LANES];
    vf max = v_load(s);
    for (int j = LANES; j < n_keys; j += LANES)
        max = v_max(v_load(s + j), max);
    v_store(each, max);
    for (int i = 1; i < LANES; i++)
        each[0] = each[i] > each[0] ? each[i] : each[0];
    return each[0];
}

/* The tree of kernels.h with its keys side by side. */
INLINE float few_sum16(const float *p) {
    strip a, b;
    memcpy(&a, p, sizeof a);
    memcpy(&b, p + STRIP_ROWS, sizeof b);
    a = a + b;
    const half_strip t4 = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
    return (t4[0] + t4[2]) + (t4[1] + t4[3]);
}

INLINE float few_weights_row(int n_keys, float *s, float shift) {
    enum { AT_ONCE = SA_SUM_KEYS / LANES };
    const vf m = v_set1(shift);
    float sum = 0.0f;
    for (int j = 0; j < n_keys; j += SA_SUM_KEYS) {
        vf p[AT_ONCE];
        UNROLL
        for (int i = 0; i < AT_ONCE; i++)
            p[i] = v_load(s + j + i * LANES);
        exp2_of_weights(AT_ONCE, p, m);
        UNROLL
        for (int i = 0; i < AT_ONCE; i++)
            v_store(s + j + i * LANES, p[i]);
        sum = sum + few_sum16(s + j);
    }
    return sum;
}

static __attribute__((noinline)) void few_weights_rows(int n_rows, int n_keys, float *s, const float *shift,
                                                       float *sum) {
    const unsigned mode = v_begin_flushing();
    for (int r = 0; r < n_rows; r++)
        sum[r] = few_weights_row(n_keys, s + r * SA_FEW_STRIDE, shift[r]);
    v_end_flushing(mode);
}

/* Rows of the group that the tile does not have keep what they have. */
static void lanes_few_weights(int n_rows, int n_keys, float *s, float *m, float *l, float *alpha) {
    _Alignas(64) float mb[SA_GROUP_ROWS], shift[SA_GROUP_ROWS], sum[SA_GROUP_ROWS];
    for (int r = 0; r < SA_GROUP_ROWS; r++) {
        mb[r] = r < n_rows ? few_maximum(n_keys, s + r * SA_FEW_STRIDE) : -INFINITY;
        sum[r] = 0.0f;
    }
    for (int lane = 0; lane < SA_GROUP_ROWS; lane += LANES) {
        vf m_new = v_max(v_load(m + lane), v_load(mb + lane)), to = finite_max(m_new);
        v_store(shift + lane, to);
        v_store(alpha + lane, exp2_below(v_load(m + lane), to));
        v_store(m + lane, m_new);
    }
    few_weights_rows(n_rows, n_keys, s, shift, sum);
    for (int lane = 0; lane < SA_GROUP_ROWS; lane += LANES)
        v_store(l + lane, v_fma_few(v_load(l + lane), v_load(alpha + lane), v_load(sum + lane)));
}

#endif
