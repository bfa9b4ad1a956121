/* SPDX-License-Identifier: MIT */
/* What happens to rows between the products. Loops are written so that compilers turn them into vectors. */
#include "encoder.h"

#include <math.h>

/* Clang 14 names the functions that choose between clones otherwise than their callers do. */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

enum { LANES = 16 };

/* ---------------------------------------------------------------- layer norm */

/* Sums in lanes: a compiler may not reorder those of floats by itself. */
static inline float total(const float lanes[LANES]) {
    float sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

static inline float mean_of(const float *row, int64_t d) {
    float lanes[LANES] = {0};
    int64_t c = 0;
    for (; c + LANES <= d; c += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += row[c + l];
    for (; c < d; c++)
        lanes[c % LANES] += row[c];
    return total(lanes) / (float)d;
}

static inline float variance_of(const float *row, int64_t d, float mean) {
    float lanes[LANES] = {0};
    int64_t c = 0;
    for (; c + LANES <= d; c += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += (row[c + l] - mean) * (row[c + l] - mean);
    for (; c < d; c++)
        lanes[c % LANES] += (row[c] - mean) * (row[c] - mean);
    return total(lanes) / (float)d;
}

WIDE void rows_normalise(float *rows, const float *more, const float *bias, int64_t n, int64_t d,
                         const struct encoder_norm *norm, float eps) {
    for (int64_t i = 0; i < n; i++) {
        float *row = rows + i * d;
        for (int64_t c = 0; more && c < d; c++)
            row[c] += more[i * d + c];
        for (int64_t c = 0; bias && c < d; c++)
            row[c] += bias[c];
        const float mean = mean_of(row, d), factor = 1 / sqrtf(variance_of(row, d, mean) + eps);
        for (int64_t c = 0; c < d; c++)
            row[c] = (row[c] - mean) * factor * norm->scale[c] + norm->shift[c];
    }
}

/* ---------------------------------------------------------------- gelu */

/* erf(x) = x P(x^2) / Q(x^2) up to 3.92, beyond which it is 1 - 3e-8: fitted to 1.6e-8, 5e-7 in floats. */
static inline float error_function(float x) {
    enum { DEGREE = 5 };
    static const float p[] = {1.12837902f,    0.192763469f,    0.0530603754f,
                              0.00386829357f, 0.000287477269f, 2.03472256e-06f};
    static const float q[] = {1.0f, 0.504163843f, 0.11508435f, 0.0151722304f, 0.00118810432f, 3.80703994e-05f};
    const float limit = 3.92f;
    x = x < -limit ? -limit : x > limit ? limit : x;
    const float u = x * x;
    float above = p[DEGREE], below = q[DEGREE];
    for (int i = DEGREE - 1; i >= 0; i--) {
        above = above * u + p[i];
        below = below * u + q[i];
    }
    const float y = x * above / below;
    return y < -1 ? -1 : y > 1 ? 1 : y;
}

WIDE void rows_gelu(float *rows, const float *bias, int64_t n, int64_t d) {
    const float root_half = 0.707106781f;
    for (int64_t i = 0; i < n; i++) {
        float *row = rows + i * d;
        for (int64_t c = 0; c < d; c++) {
            const float x = row[c] + bias[c];
            row[c] = 0.5f * x * (1 + error_function(x * root_half));
        }
    }
}
