/* SPDX-License-Identifier: MIT */
/* Scores to weights, and two partial results into one. Included by lanes.h. */
#ifndef SA_LANES_WEIGHTS_H
#define SA_LANES_WEIGHTS_H

/* Four weights of the tree of kernels.h: t4[i]. */
INLINE vf weights4(float *s, int i, vf m) {
    const int key[4] = {i, i + 8, i + 4, i + 12};
    vf p[4];
    UNROLL
    for (int j = 0; j < 4; j++)
        p[j] = v_load(s + key[j] * W) - m;
    exp2_each(4, p);
    UNROLL
    for (int j = 0; j < 4; j++)
        v_store(s + key[j] * W, p[j]);
    return v_keep((p[0] + p[1]) + (p[2] + p[3])); /* at once, or gcc spills all sixteen */
}

INLINE vf weights2(float *s, int i, vf m) {
    vf first = weights4(s, i, m);
    return first + weights4(s, i + 2, m);
}

INLINE vf weights1(float *s, vf m) {
    vf first = weights2(s, 0, m);
    return first + weights2(s, 1, m);
}

static void lanes_weights(int g, int n_keys, float *s, const float *mb, float *m, float *l, float *alpha) {
    for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES) {
        vf m_new = v_max(v_load(m + lane), v_load(mb + lane));
        vf shift = finite_max(m_new);
        vf factor = exp2_nonpositive(v_load(m + lane) - shift);
        vf sum = v_set1(0.0f);
        for (int j = 0; j < n_keys; j += SA_SUM_KEYS)
            sum = sum + weights1(s + j * W + lane, shift);
        v_store(m + lane, m_new);
        v_store(alpha + lane, factor);
        v_store(l + lane, v_fma(v_load(l + lane), factor, sum));
    }
}

INLINE void scale_each(const bool maxima, int n_keys, const float *scale, float *s, float *mb) {
    vf best[GROUP_VECTORS];
    UNROLL
    for (int v = 0; v < GROUP_VECTORS; v++)
        best[v] = maxima ? v_load(mb + v * LANES) : v_set1(0.0f);
    UNROLL_4
    for (int j = 0; j < n_keys; j++, s += W) {
        const vf factor = v_set1(scale[j]);
        UNROLL
        for (int v = 0; v < GROUP_VECTORS; v++) {
            const vf x = v_load(s + v * LANES) * factor;
            v_store(s + v * LANES, x);
            best[v] = v_max(best[v], x);
        }
    }
    UNROLL
    for (int v = 0; maxima && v < GROUP_VECTORS; v++)
        v_store(mb + v * LANES, best[v]);
}

static void lanes_scale(int g, int n_keys, const float *scale, float *s, float *mb) {
    const int lane = g * SA_GROUP_ROWS;
    if (mb)
        scale_each(true, n_keys, scale, s + lane, mb + lane);
    else
        scale_each(false, n_keys, scale, s + lane, NULL);
}

static void lanes_few_scale(int n_rows, int n_keys, const float *scale, float *s) {
    for (int r = 0; r < n_rows; r++, s += SA_FEW_STRIDE)
        for (int j = 0; j < n_keys; j += LANES)
            v_store(s + j, v_load(s + j) * v_load(scale + j));
}

/* ---------------------------------------------------------------- merging two partial results */

/* m and l of some rows, and what their o are multiplied by. */
INLINE void merge_sums(const struct sa_state *a, const struct sa_state *b, int lane, vf *of_a, vf *of_b) {
    const vf ma = v_load(a->m + lane), mb = v_load(b->m + lane), m = v_max(ma, mb), shift = finite_max(m);
    *of_a = exp2_nonpositive(ma - shift);
    *of_b = exp2_nonpositive(mb - shift);
    v_store(a->m + lane, m);
    v_store(a->l + lane, v_fma(v_load(b->l + lane), *of_b, v_load(a->l + lane) * *of_a));
}

static void lanes_merge(int n_groups, int d, const struct sa_state *a, const struct sa_state *b) {
    for (int lane = 0; lane < n_groups * SA_GROUP_ROWS; lane += LANES) {
        vf fa, fb;
        merge_sums(a, b, lane, &fa, &fb);
        for (int c = 0; c < d; c++) {
            float *o = a->o + c * W + lane;
            v_store(o, v_fma(v_load(b->o + c * W + lane), fb, v_load(o) * fa));
        }
    }
}

#endif
