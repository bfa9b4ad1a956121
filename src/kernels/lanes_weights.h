/* SPDX-License-Identifier: MIT */
/* Scores to weights, and two partial results into one. Included by lanes.h. */
#ifndef SA_LANES_WEIGHTS_H
#define SA_LANES_WEIGHTS_H

/* The i-th key, in the order in which the tree of kernels.h adds them up: the bits of i from right to left. */
INLINE int tree_key(const int i) { return i % 2 * 8 + i / 2 % 2 * 4 + i / 4 % 2 * 2 + i / 8; }

/* sums[h]: what the next sum of 2^h weights is to be added to. The i-th weight comes; sums[4] is that of all 16. */
INLINE void add_in_tree(const int i, vf p, vf sums[5]) {
    const int height = __builtin_ctz(~(unsigned)i);
    UNROLL
    for (int h = 0; h < height; h++)
        p = sums[h] + p;
    sums[height] = p;
}

/* Of a vector of rows: scores to weights, whose sum is returned. The next weight but one begins while one ends; behind
 * the last key the first ones begin again, for nothing. */
INLINE vf weigh_lanes(int n_keys, float *s, vf m) {
    vf sum = v_set1(0.0f);
    struct exp2_begun begun = exp2_begin(v_load(s), m);
    struct exp2_turned turned = exp2_turn(begun);
    begun = exp2_begin(v_load(s + tree_key(1) * W), m);
    for (int j = 0; j < n_keys; j += SA_SUM_KEYS, s += SA_SUM_KEYS * W) {
        const float *next = j + SA_SUM_KEYS < n_keys ? s + SA_SUM_KEYS * W : s;
        vf sums[5];
        UNROLL
        for (int i = 0; i < SA_SUM_KEYS; i++) {
            const int n = i + 2;
            const struct exp2_begun after =
                exp2_begin(v_load((n < SA_SUM_KEYS ? s : next) + tree_key(n % SA_SUM_KEYS) * W), m);
            const vf p = exp2_end(turned);
            turned = exp2_turn(begun);
            begun = after;
            v_store(s + tree_key(i) * W, p);
            add_in_tree(i, p, sums);
        }
        sum = sum + sums[4];
    }
    return sum;
}

static void lanes_weights(int g, int n_keys, float *s, const float *mb, float *m, float *l, float *alpha) {
    for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES) {
        vf m_new = v_max(v_load(m + lane), v_load(mb + lane));
        vf shift = finite_max(m_new);
        vf factor = exp2_below(v_load(m + lane), shift);
        vf sum = weigh_lanes(n_keys, s + lane, shift);
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
    *of_a = exp2_below(ma, shift);
    *of_b = exp2_below(mb, shift);
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
