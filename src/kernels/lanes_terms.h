/* SPDX-License-Identifier: MIT */
/* What happens to scores beside their product: softcap, ALiBi, bias. Included by lanes.h. */
#ifndef SA_LANES_TERMS_H
#define SA_LANES_TERMS_H

/* Beyond 9 tanh is 1 up to 2^-25. */
#define SOFTCAP_END 9.0f

INLINE vf polynomial_4(vf y, const float c[5]) {
    vf sum = v_fma_few(v_set1(c[4]), y, v_set1(c[3]));
    sum = v_fma_few(sum, y, v_set1(c[2]));
    sum = v_fma_few(sum, y, v_set1(c[1]));
    return v_fma_few(sum, y, v_set1(c[0]));
}

/* cap * tanh(s / cap) as s times tanh(x) / x, a function of x^2: so a score far below the cap stays what it is, and
 * nothing cancels. The quotient of two polynomials is 0.63 u off, all together 5.35 u with a cap of 1 (tried for all
 * s), below 6 u with any (see tests/test_kernel_terms.c). A NaN stays one. */
INLINE vf softcap_of(vf s, vf cap, vf limit) {
    static const float above[5] = {1.0f, 0x1.121a9ap-3f, 0x1.ca9ed8p-9f, 0x1.5aa37cp-16f, 0x1.cd1a1ap-27f};
    static const float below[5] = {1.0f, 0x1.de629ap-2f, 0x1.a82f68p-6f, 0x1.591728p-12f, 0x1.a30372p-21f};
    s = v_max(v_set1(0.0f) - limit, v_min(limit, s));
    const vf x = v_div(s, cap), y = x * x;
    return s * v_div(polynomial_4(y, above), polynomial_4(y, below));
}

/* The distance is a whole number, exact in 32 bits but for one of 2^31, which wraps to what has the same magnitude. */
INLINE vf distance_of(vi a, vi b) {
    const vf difference = (vf) __builtin_convertvector((wholes)((words)a - (words)b), vf);
    return (vf)((words)difference & 0x7fffffffu);
}

/* -inf hides the key, whatever its score is. */
INLINE vf biased(vf s, vf bias, vmask *hidden) {
    *hidden = v_equal(bias, v_set1(-INFINITY));
    return v_select(*hidden, v_set1(-INFINITY), v_fma_few(bias, v_set1(SA_LOG2_E), s));
}

/* ---------------------------------------------------------------- queries in the lanes
 * One group, up to 16 keys at a time: they stay near from one step to the next. s points at the first key and lane.
 */

INLINE void group_softcap(int n_keys, float softcap, float *s) {
    const vf cap = v_set1(softcap), limit = v_set1(softcap * SOFTCAP_END);
    for (int j = 0; j < n_keys; j++)
        UNROLL
    for (int v = 0; v < GROUP_VECTORS; v++) {
        float *at = s + j * W + v * LANES;
        v_store(at, softcap_of(v_load(at), cap, limit));
    }
}

INLINE void group_alibi(int n_keys, const float *slopes, const int32_t *q_at, const int32_t *k_at, float *s) {
    for (int v = 0; v < GROUP_VECTORS; v++) {
        const vf slope = v_load(slopes + v * LANES);
        const vi q = v_load_i(q_at + v * LANES);
        for (int j = 0; j < n_keys; j++) {
            float *at = s + j * W + v * LANES;
            v_store(at, v_fma_few(slope, distance_of(q, v_set1_i(k_at[j])), v_load(at)));
        }
    }
}

/* Elements j .. j + n_keys - 1 of 8 rows, transposed. */
INLINE void turn_bias(const float *const *rows, int j, int n_keys, float *to) {
    int c = 0;
    for (; c + STRIP_COLUMNS <= n_keys; c += STRIP_COLUMNS) {
        strip r[4];
        UNROLL
        for (int i = 0; i < 4; i++)
            strip_of_rows(&r[i], rows[i] + j + c, rows[i + 4] + j + c);
        strip_transpose(r);
        UNROLL
        for (int i = 0; i < 4; i++)
            memcpy(to + (c + i) * SA_GROUP_ROWS, &r[i], sizeof r[i]);
    }
    for (; c < n_keys; c++)
        for (int i = 0; i < STRIP_ROWS; i++)
            to[c * SA_GROUP_ROWS + i] = rows[i][j + c];
}

INLINE bool group_bias(const float *const *rows, int j, int n_keys, float *s) {
    _Alignas(64) float turned[SA_SUM_KEYS * SA_GROUP_ROWS];
    vmask hidden, any = v_less_i(v_set1_i(0), v_set1_i(0));
    for (int r = 0; r < SA_GROUP_ROWS; r += STRIP_ROWS)
        turn_bias(rows + r, j, n_keys, turned + r);
    for (int i = 0; i < n_keys; i++)
        UNROLL
    for (int v = 0; v < GROUP_VECTORS; v++) {
        float *at = s + i * W + v * LANES;
        v_store(at, biased(v_load(at), v_load(turned + i * SA_GROUP_ROWS + v * LANES), &hidden));
        any = m_or(any, hidden);
    }
    return m_any(any);
}

INLINE void group_maximum(int n_keys, const float *s, float *mb) {
    for (int v = 0; v < GROUP_VECTORS; v++) {
        vf best = v_load(mb + v * LANES);
        for (int j = 0; j < n_keys; j++)
            best = v_max(best, v_load(s + j * W + v * LANES));
        v_store(mb + v * LANES, best);
    }
}

static bool lanes_terms(int g, int n_keys, const struct sa_score_terms *terms, float *s, float *mb) {
    const int lane = g * SA_GROUP_ROWS;
    bool hides = false;
    s += lane;
    for (int j = 0, n; j < n_keys; j += n, s += n * W) {
        n = n_keys - j < SA_SUM_KEYS ? n_keys - j : SA_SUM_KEYS;
        if (terms->softcap > 0)
            group_softcap(n, terms->softcap, s);
        if (terms->slopes)
            group_alibi(n, terms->slopes + lane, terms->q_at + lane, terms->k_at + j, s);
        if (terms->bias)
            hides = group_bias(terms->bias + lane, j, n, s) || hides;
        group_maximum(n, s, mb + lane);
    }
    return hides;
}

/* The lanes of a vector, from `lane` of its group on, whose bits are set. */
INLINE vmask lanes_with(uint32_t bits, int lane) {
    static const _Alignas(64)
        int32_t bit[SA_GROUP_ROWS] = {1 << 0, 1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                                      1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
    return v_less_i(v_set1_i(0), (vi)((words)v_set1_i((int32_t)bits) & (words)v_load_i(bit + lane)));
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
    const vf cap = v_set1(softcap), limit = v_set1(softcap * SOFTCAP_END);
    for (int j = 0; j < n_keys; j += LANES)
        v_store(s + j, softcap_of(v_load(s + j), cap, limit));
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
