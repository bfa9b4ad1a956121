/* SPDX-License-Identifier: MIT */
/* What happens to scores beside their product: softcap, ALiBi, bias. Included by lanes.h. */
#ifndef SA_LANES_TERMS_H
#define SA_LANES_TERMS_H

#include "kernels/lanes_one_term.h"

/* ---------------------------------------------------------------- queries in the lanes
 * One group, up to 16 keys at a time: they stay near from one step to the next. s points at the first key and lane.
 * Each step looks for the maximum beyond that in mb, the last one's is kept.
 */

struct lane_maximum {
    vf of[GROUP_VECTORS];
};

INLINE struct lane_maximum maximum_of(const float *mb) {
    struct lane_maximum best;
    UNROLL
    for (int v = 0; v < GROUP_VECTORS; v++)
        best.of[v] = v_load(mb + v * LANES);
    return best;
}

INLINE void put_score(struct lane_maximum *best, float *s, const int v, vf score) {
    v_store(s + v * LANES, score);
    best->of[v] = v_max(best->of[v], score);
}

INLINE struct lane_maximum group_scores(const int n_keys, float *s, const float *mb) {
    struct lane_maximum best = maximum_of(mb);
    for (int j = 0; j < n_keys; j++)
        UNROLL
    for (int v = 0; v < GROUP_VECTORS; v++)
        best.of[v] = v_max(best.of[v], v_load(s + j * W + v * LANES));
    return best;
}

INLINE struct lane_maximum group_softcap(const int n_keys, float softcap, float *s, const float *mb) {
    const struct softcap cap = softcap_for(softcap);
    struct lane_maximum best = maximum_of(mb);
    for (int j = 0; j < n_keys; j++, s += W)
        UNROLL
    for (int v = 0; v < GROUP_VECTORS; v++)
        put_score(&best, s, v, softcap_of(v_load(s + v * LANES), &cap));
    return best;
}

INLINE struct lane_maximum group_alibi(const int n_keys, const float *slopes, const int32_t *q_at, const int32_t *k_at,
                                       float *s, const float *mb) {
    struct lane_maximum best = maximum_of(mb);
    for (int j = 0; j < n_keys; j++, s += W)
        UNROLL
    for (int v = 0; v < GROUP_VECTORS; v++) {
        const vf distance = distance_of(v_load_i(q_at + v * LANES), v_set1_i(k_at[j]));
        put_score(&best, s, v, v_fma_few(v_load(slopes + v * LANES), distance, v_load(s + v * LANES)));
    }
    return best;
}

INLINE struct lane_maximum group_bias(const int n_keys, const float *const *rows, int j, float *s, const float *mb,
                                      bool *hides) {
    struct lane_maximum best = maximum_of(mb);
    vmask hidden, any = v_less_i(v_set1_i(0), v_set1_i(0));
    int c = 0;
    for (; c + STRIP_COLUMNS <= n_keys; c += STRIP_COLUMNS) {
        strip low[STRIP_COLUMNS], high[STRIP_COLUMNS];
        strips_of_bias(rows, j + c, low);
        strips_of_bias(rows + STRIP_ROWS, j + c, high);
        UNROLL
        for (int i = 0; i < STRIP_COLUMNS * GROUP_VECTORS; i++) {
            const int key = i / GROUP_VECTORS, v = i % GROUP_VECTORS;
            float *at = s + (c + key) * W;
            put_score(&best, at, v, biased(v_load(at + v * LANES), part_of_column(&low[key], &high[key], v), &hidden));
            any = m_or(any, hidden);
        }
    }
    for (; c < n_keys; c++) {
        _Alignas(64) float bias[SA_GROUP_ROWS];
        for (int r = 0; r < SA_GROUP_ROWS; r++)
            bias[r] = rows[r][j + c];
        UNROLL
        for (int v = 0; v < GROUP_VECTORS; v++) {
            float *at = s + c * W;
            put_score(&best, at, v, biased(v_load(at + v * LANES), v_load(bias + v * LANES), &hidden));
            any = m_or(any, hidden);
        }
    }
    *hides = *hides || m_any(any);
    return best;
}

INLINE bool group_terms(const int n_keys, int lane, int j, const struct sa_score_terms *terms, float *s, float *mb) {
    struct lane_maximum best;
    bool hides = false;
    if (terms->softcap > 0)
        best = group_softcap(n_keys, terms->softcap, s, mb);
    if (terms->slopes)
        best = group_alibi(n_keys, terms->slopes + lane, terms->q_at + lane, terms->k_at + j, s, mb);
    if (terms->bias)
        best = group_bias(n_keys, terms->bias + lane, j, s, mb, &hides);
    if (!(terms->softcap > 0) && !terms->slopes && !terms->bias)
        best = group_scores(n_keys, s, mb);
    UNROLL
    for (int v = 0; v < GROUP_VECTORS; v++)
        v_store(mb + v * LANES, best.of[v]);
    return hides;
}

static bool lanes_terms(int g, int n_keys, const struct sa_score_terms *terms, float *s, float *mb) {
    const int lane = g * SA_GROUP_ROWS;
    bool hides = false;
    int j = 0;
    s += lane;
    mb += lane;
    for (; j + SA_SUM_KEYS <= n_keys; j += SA_SUM_KEYS)
        hides = group_terms(SA_SUM_KEYS, lane, j, terms, s + j * W, mb) || hides;
    return (j < n_keys && group_terms(n_keys - j, lane, j, terms, s + j * W, mb)) || hides;
}

/* The lanes of a vector, from `lane` of its group on, whose bits are set. */
INLINE vmask lanes_with(uint32_t bits, int lane) {
    static const _Alignas(64)
        int32_t bit[SA_GROUP_ROWS] = {1 << 0, 1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                                      1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
    return v_less_i(v_set1_i(0), (vi)((uint_lanes)v_set1_i((int32_t)bits) & (uint_lanes)v_load_i(bit + lane)));
}

/* Only blocks with NaN or inf in values and -inf in bias come here, one dimension after the other. */
static void lanes_values_biased(const float *p, int g, struct sa_rows v, int first_key, struct sa_lane_keys keys,
                                const float *const *bias, const float *alpha, float *o) {
    uint32_t hidden[SA_BLOCK_KEYS];
    const float *const *row = bias + g * SA_GROUP_ROWS;
    for (int j = 0; j < v.n; j++) {
        hidden[j] = 0;
        for (int r = 0; r < SA_GROUP_ROWS; r++)
            hidden[j] |= (uint32_t)(row[r][j] == -INFINITY) << r;
    }
    for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES)
        for (int c = 0; c < v.d; c++) {
            float *at = o + c * W + lane;
            vf sum = v_set1(0.0f);
            for (int j = 0; j < v.n; j++) {
                const vmask hides = lanes_with(hidden[j], lane % SA_GROUP_ROWS);
                sum = v_fma_where(m_and(visible(keys, lane, first_key + j), m_not(hides)), v_load(p + j * W + lane),
                                  v_set1(v.data[j * v.stride + c]), sum);
            }
            v_store(at, v_fma_few(v_load(at), v_load(alpha + lane), sum));
        }
}

/* ---------------------------------------------------------------- keys in the lanes, one row */

INLINE void row_softcap(int n_keys, float softcap, float *s) {
    const struct softcap cap = softcap_for(softcap);
    for (int j = 0; j < n_keys; j += LANES)
        v_store(s + j, softcap_of(v_load(s + j), &cap));
}

INLINE void row_alibi(int n_keys, float slope, int32_t q_at, const int32_t *k_at, float *s) {
    for (int j = 0; j < n_keys; j += LANES)
        v_store(s + j, v_fma_few(v_set1(slope), distance_of(v_set1_i(q_at), v_load_i(k_at + j)), v_load(s + j)));
}

INLINE bool row_bias(int n_keys, const float *row, float *s) {
    vmask hidden, any = v_less_i(v_set1_i(0), v_set1_i(0));
    for (int j = 0; j < n_keys; j += LANES) {
        const vf bias = n_keys - j < LANES ? v_load_rest(row + j, n_keys - j) : v_load_any(row + j);
        v_store(s + j, biased(v_load(s + j), bias, &hidden));
        any = m_or(any, hidden);
    }
    return m_any(any);
}

static bool lanes_few_terms(int n_rows, int n_keys, const struct sa_score_terms *terms, float *s) {
    bool hides = false;
    for (int r = 0; r < n_rows; r++, s += SA_FEW_STRIDE) {
        if (terms->softcap > 0)
            row_softcap(n_keys, terms->softcap, s);
        if (terms->slopes)
            row_alibi(n_keys, terms->slopes[r], terms->q_at[r], terms->k_at, s);
        if (terms->bias)
            hides = row_bias(n_keys, terms->bias[r], s) || hides;
    }
    return hides;
}

#endif
