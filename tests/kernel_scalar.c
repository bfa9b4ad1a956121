/* SPDX-License-Identifier: MIT */
#include "kernel_scalar.h"

#include <math.h>
#include <stdbool.h>

enum { ROW = SA_TILE_ROWS };

static bool sees(const struct sa_lane_keys *keys, int r, int j) {
    return (j < keys->sink[r] || keys->lo[r] <= j) && j < keys->hi[r];
}

/* Not fmaxf(): the second if either is NaN. */
static float max_of(float a, float b) { return a > b ? a : b; }

/* Adding 1.5 * 2^23 + 127 leaves no bits for a fraction; ties go to the even sum. */
float scalar_exp2(float x) {
    const float magic = 12582912.0f + 127.0f;
    if (x < -126.0f)
        return 0.0f;
    float n = (x + magic) - magic, f = x - n;
    float p = 0x1.416b52p-13f;
    p = fmaf(p, f, 0x1.5f082ep-10f);
    p = fmaf(p, f, 0x1.3b2de0p-7f);
    p = fmaf(p, f, 0x1.c6af7cp-5f);
    p = fmaf(p, f, 0x1.ebfbdcp-3f);
    p = fmaf(p, f, 0x1.62e430p-1f);
    p = fmaf(p, f, 1.0f);
    return x != x ? x : ldexpf(p, (int)n);
}

static float minus(float x, float m) { return x - (m == -INFINITY ? 0.0f : m); }

static void pack(const float *const rows[SA_TILE_ROWS], int n_rows, int d, float factor, float *qt) {
    for (int r = 0; r < (n_rows + 15) / 16 * 16; r++)
        for (int c = 0; c < d; c++)
            qt[c * ROW + r] = r < n_rows ? rows[r][c] * factor : 0.0f;
}

static float dot(const float *qt, int r, const float *k, int d) {
    float sum = 0.0f;
    for (int c = 0; c < d; c++)
        sum = fmaf(qt[c * ROW + r], k[c], sum);
    return sum;
}

static void score(const float *qt, int r, struct sa_rows k, int first_key, const struct sa_lane_keys *keys, float *s,
                  float *mb) {
    for (int j = 0; j < k.n; j++) {
        bool visible = !keys || sees(keys, r, first_key + j);
        s[j * ROW + r] = visible ? dot(qt, r, k.data + j * k.stride, k.d) : -INFINITY;
        mb[r] = max_of(mb[r], s[j * ROW + r]);
    }
}

static void scores(const float *qt, int g0, int g1, struct sa_rows k, struct sa_rows ahead, float *s, float *mb) {
    (void)ahead;
    for (int r = 16 * g0; r < 16 * g1; r++)
        score(qt, r, k, 0, NULL, s, mb);
}

static void scores_masked(const float *qt, int g, struct sa_rows k, int first_key, const struct sa_lane_keys *keys,
                          float *s, float *mb) {
    for (int r = 16 * g; r < 16 * g + 16; r++)
        score(qt, r, k, first_key, keys, s, mb);
}

static void scores_none(int g, int n_keys, float *s) {
    for (int j = 0; j < n_keys; j++)
        for (int r = 16 * g; r < 16 * g + 16; r++)
            s[j * ROW + r] = -INFINITY;
}

/* Weights of 16 keys, halved by adding until one sum is left. */
static float row_sum(const float *p) {
    float t[16];
    for (int i = 0; i < 16; i++)
        t[i] = p[i * ROW];
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            t[i] = t[i] + t[i + half];
    return t[0];
}

static void weights(int g, int n_keys, float *s, const float *mb, float *m, float *l, float *alpha) {
    for (int r = 16 * g; r < 16 * g + 16; r++) {
        float m_old = m[r], sum = 0.0f;
        m[r] = max_of(m_old, mb[r]);
        alpha[r] = scalar_exp2(minus(m_old, m[r]));
        for (int j = 0; j < n_keys; j++)
            s[j * ROW + r] = scalar_exp2(minus(s[j * ROW + r], m[r]));
        for (int j = 0; j < n_keys; j += 16)
            sum = sum + row_sum(s + j * ROW + r);
        l[r] = fmaf(l[r], alpha[r], sum);
    }
}

static void add_values(const float *p, int r, struct sa_rows v, int first_key, const struct sa_lane_keys *keys,
                       float *sum) {
    for (int c = 0; c < v.d; c++)
        for (int j = 0; j < v.n; j++)
            if (!keys || sees(keys, r, first_key + j))
                sum[c * ROW + r] = fmaf(p[j * ROW + r], v.data[j * v.stride + c], sum[c * ROW + r]);
}

static void values(const float *p, int g0, int g1, struct sa_rows v, const float *alpha, float *o) {
    for (int r = 16 * g0; r < 16 * g1; r++)
        for (int c = 0; c < v.d; c++) {
            float sum = 0.0f;
            for (int j = 0; j < v.n; j++)
                sum = fmaf(p[j * ROW + r], v.data[j * v.stride + c], sum);
            o[c * ROW + r] = fmaf(o[c * ROW + r], alpha[r], sum);
        }
}

static void values_part(const float *p, int g0, int g1, struct sa_rows v, float *sum) {
    for (int r = 16 * g0; r < 16 * g1; r++)
        add_values(p, r, v, 0, NULL, sum);
}

static void values_masked(const float *p, int g, struct sa_rows v, int first_key, const struct sa_lane_keys *keys,
                          float *sum) {
    for (int r = 16 * g; r < 16 * g + 16; r++)
        add_values(p, r, v, first_key, keys, sum);
}

static void values_apply(int g0, int g1, int d, const float *sum, const float *alpha, float *o) {
    for (int r = 16 * g0; r < 16 * g1; r++)
        for (int c = 0; c < d; c++)
            o[c * ROW + r] = fmaf(o[c * ROW + r], alpha[r], sum[c * ROW + r]);
}

static void merge(int n_groups, int d, struct sa_state *a, const struct sa_state *b) {
    for (int r = 0; r < 16 * n_groups; r++) {
        float m = max_of(a->m[r], b->m[r]);
        float of_a = scalar_exp2(minus(a->m[r], m)), of_b = scalar_exp2(minus(b->m[r], m));
        a->m[r] = m;
        a->l[r] = fmaf(b->l[r], of_b, a->l[r] * of_a);
        for (int c = 0; c < d; c++)
            a->o[c * ROW + r] = fmaf(b->o[c * ROW + r], of_b, a->o[c * ROW + r] * of_a);
    }
}

/* A product with the inverse, one rounding more than a quotient; never -0. */
static void finish(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]) {
    for (int r = 0; r < n_rows; r++) {
        float inverse = state->l[r] == 0.0f ? 0.0f : 1.0f / state->l[r];
        for (int c = 0; c < d; c++)
            rows[r][c] = state->o[c * ROW + r] * inverse + 0.0f;
    }
}

const struct sa_kernels kernel_scalar = {.name = "scalar",
                                         .lanes = 1,
                                         .pack = pack,
                                         .scores = scores,
                                         .scores_masked = scores_masked,
                                         .scores_none = scores_none,
                                         .weights = weights,
                                         .values = values,
                                         .values_part = values_part,
                                         .values_masked = values_masked,
                                         .values_apply = values_apply,
                                         .merge = merge,
                                         .finish = finish};
