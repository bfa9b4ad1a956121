/* SPDX-License-Identifier: MIT */
#include "kernel_scalar.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { ROW = SA_TILE_ROWS };

static bool sees(struct sa_lane_keys keys, int r, int j) {
    return (j < keys.sink[r] || keys.lo[r] <= j) && j < keys.hi[r];
}

/* Not fmaxf(): the second if either is NaN. */
static float max_of(float a, float b) { return a > b ? a : b; }

/* Adding 1.5 * 2^20 leaves no bits below 1/8; ties go to the even sum. Down to -127 the sum of exponents is that of a
 * float with an empty exponent field, as the vectors add it. */
float scalar_exp2(float x) {
    static const uint32_t powers[8] = {SA_POWERS_OF_2};
    const float magic = 1572864.0f;
    if (x != x)
        return x;
    x = max_of(-127.0f, x);
    float nearest = (x + magic) - magic, f = x - nearest, power;
    int eighths = (int)(8 * nearest);
    uint32_t bits = powers[eighths & 7] + ((uint32_t)eighths << 20);
    memcpy(&power, &bits, sizeof power);
    float p = fmaf(0x1.c690cep-5f, f, 0x1.ec0c22p-3f);
    p = fmaf(p, f, 0x1.62e432p-1f);
    return fmaf(p * f, power, power);
}

static float minus(float x, float m) { return x - (m == -INFINITY ? 0.0f : m); }

static void pack(const float *const rows[SA_TILE_ROWS], int n_rows, int d, float factor, float *qt) {
    for (int r = 0; r < (n_rows + 15) / 16 * 16; r++)
        for (int c = 0; c < d; c++)
            qt[c * ROW + r] = (r < n_rows ? rows[r][c] : 0.0f) * factor;
}

static float dot(const float *qt, int r, const float *k, int d) {
    float sum = 0.0f;
    for (int c = 0; c < d; c++)
        sum = fmaf(qt[c * ROW + r], k[c], sum);
    return sum;
}

static void scores(const float *qt, int g0, int g1, struct sa_rows k, float *s, float *mb, struct sa_ahead *ahead) {
    (void)ahead;
    for (int r = 16 * g0; r < 16 * g1; r++)
        for (int j = 0; j < k.n; j++) {
            s[j * ROW + r] = dot(qt, r, k.data + j * k.stride, k.d);
            mb[r] = max_of(mb[r], s[j * ROW + r]);
        }
}

static void mask(int g, int n_keys, int first_key, struct sa_lane_keys keys, float *s, float *mb) {
    for (int r = 16 * g; r < 16 * g + 16; r++)
        for (int j = 0; j < n_keys; j++) {
            s[j * ROW + r] = sees(keys, r, first_key + j) ? s[j * ROW + r] : -INFINITY;
            mb[r] = max_of(mb[r], s[j * ROW + r]);
        }
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

static void scale(int g, int n_keys, const float *factor, float *s, float *mb) {
    for (int j = 0; j < n_keys; j++)
        for (int r = 16 * g; r < 16 * g + 16; r++) {
            s[j * ROW + r] *= factor[j];
            if (mb)
                mb[r] = max_of(mb[r], s[j * ROW + r]);
        }
}

/* A chain of multiply-adds, the constant last. */
static float chain(const float c[5], float y) {
    float sum = c[4];
    for (int i = 3; i >= 0; i--)
        sum = fmaf(sum, y, c[i]);
    return sum;
}

float scalar_softcap(float s, float cap) {
    static const float above[5] = {1.0f, 0x1.121a9ap-3f, 0x1.ca9ed8p-9f, 0x1.5aa37cp-16f, 0x1.cd1a1ap-27f};
    static const float below[5] = {1.0f, 0x1.de629ap-2f, 0x1.a82f68p-6f, 0x1.591728p-12f, 0x1.a30372p-21f};
    const float limit = cap * 9.0f;
    s = limit < s ? limit : s; /* not if it is NaN */
    s = -limit > s ? -limit : s;
    int exponent;
    frexpf(cap, &exponent);
    const float down = ldexpf(1.0f, 1 - (exponent < -125 ? -125 : exponent)), inverse = 1.0f / (cap * down);
    const float product = s * down * inverse, x = fmaf(fmaf(-product, cap * down, s * down), inverse, product);
    const float y = x * x;
    return s * (chain(above, y) / chain(below, y));
}

float scalar_alibi(float s, float slope, int32_t q_at, int32_t k_at) {
    const int64_t distance = (int64_t)q_at - k_at;
    return fmaf(slope, (float)(distance < 0 ? -distance : distance), s);
}

float scalar_bias(float s, float bias) {
    return bias == -INFINITY ? -INFINITY : fmaf(bias < SA_LOWEST_BIAS ? SA_LOWEST_BIAS : bias, SA_LOG2_E, s);
}

static bool terms(int g, int n_keys, const struct sa_score_terms *terms, float *s, float *mb) {
    bool hides = false;
    for (int r = 16 * g; r < 16 * g + 16; r++)
        for (int j = 0; j < n_keys; j++) {
            float *at = &s[j * ROW + r];
            *at = terms->softcap > 0 ? scalar_softcap(*at, terms->softcap) : *at;
            *at = terms->slopes ? scalar_alibi(*at, terms->slopes[r], terms->q_at[r], terms->k_at[j]) : *at;
            *at = terms->bias ? scalar_bias(*at, terms->bias[r][j]) : *at;
            hides = hides || (terms->bias && terms->bias[r][j] == -INFINITY);
            mb[r] = max_of(mb[r], *at);
        }
    return hides;
}

static void values(const float *p, int g0, int g1, const struct sa_stairs *keys, struct sa_rows v, const float *alpha,
                   float *o, struct sa_ahead *ahead) {
    (void)ahead;
    for (int r = 16 * g0; r < 16 * g1; r++)
        for (int c = 0; c < v.d; c++) {
            float sum = 0.0f;
            for (int j = keys->begin[r / 16]; j < keys->end[r / 16]; j++)
                sum = fmaf(p[j * ROW + r], v.data[j * v.stride + c], sum);
            o[c * ROW + r] = alpha ? fmaf(o[c * ROW + r], alpha[r], sum) : sum;
        }
}

static bool all_finite(struct sa_rows rows) {
    for (int j = 0; j < rows.n; j++)
        for (int c = 0; c < rows.d; c++)
            if (!isfinite(rows.data[j * rows.stride + c]))
                return false;
    return true;
}

static void values_masked(const float *p, int g, struct sa_rows v, int first_key, struct sa_lane_keys keys,
                          const float *alpha, float *o) {
    for (int r = 16 * g; r < 16 * g + 16; r++)
        for (int c = 0; c < v.d; c++) {
            float sum = 0.0f;
            for (int j = 0; j < v.n; j++)
                if (sees(keys, r, first_key + j))
                    sum = fmaf(p[j * ROW + r], v.data[j * v.stride + c], sum);
            o[c * ROW + r] = fmaf(o[c * ROW + r], alpha[r], sum);
        }
}

static void values_biased(const float *p, int g, struct sa_rows v, int first_key, struct sa_lane_keys keys,
                          const float *const *bias, const float *alpha, float *o) {
    for (int r = 16 * g; r < 16 * g + 16; r++)
        for (int c = 0; c < v.d; c++) {
            float sum = 0.0f;
            for (int j = 0; j < v.n; j++)
                if (sees(keys, r, first_key + j) && bias[r][j] != -INFINITY)
                    sum = fmaf(p[j * ROW + r], v.data[j * v.stride + c], sum);
            o[c * ROW + r] = fmaf(o[c * ROW + r], alpha[r], sum);
        }
}

static void merge(int n_groups, int d, const struct sa_state *a, const struct sa_state *b) {
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
                                         .pass_groups = SA_TILE_GROUPS,
                                         .pack = pack,
                                         .floats.scores = scores,
                                         .mask = mask,
                                         .scores_none = scores_none,
                                         .weights = weights,
                                         .scale = scale,
                                         .terms = terms,
                                         .floats.values = values,
                                         .floats.finite = all_finite,
                                         .floats.values_masked = values_masked,
                                         .values_biased = values_biased,
                                         .merge = merge,
                                         .finish = finish};
