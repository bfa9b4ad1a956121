/* SPDX-License-Identifier: MIT */
/* Softcap of a vector of scores, distances of ALiBi, bias of columns of rows. Included by lanes_terms.h and amx_dots.h.
 */
#ifndef SA_LANES_ONE_TERM_H
#define SA_LANES_ONE_TERM_H

#include "kernels/lanes_base.h"

#include "kernels/lanes_strips.h"

typedef uint32_t uint_lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t int_lanes __attribute__((vector_size(4 * LANES)));

/* Beyond 9 tanh is 1 up to 2^-25. */
#define SOFTCAP_END 9.0f

INLINE vf polynomial_4(vf y, const float c[5]) {
    vf sum = v_fma_few(v_set1(c[4]), y, v_set1(c[3]));
    sum = v_fma_few(sum, y, v_set1(c[2]));
    sum = v_fma_few(sum, y, v_set1(c[1]));
    return v_fma_few(sum, y, v_set1(c[0]));
}

/* A cap, scaled to 1 .. 2 by a power of two as scores are, so that no quotient is subnormal, or inf, because of a large
 * or a small one. */
struct softcap {
    vf down, cap, inverse, limit;
};

INLINE struct softcap softcap_for(float cap) {
    uint32_t bits;
    memcpy(&bits, &cap, sizeof bits);
    const uint32_t exponent = bits >> 23, down_bits = exponent < 254 ? (254 - exponent) << 23 : 1u << 22;
    float down;
    memcpy(&down, &down_bits, sizeof down);
    return (struct softcap){v_set1(down), v_set1(cap * down), v_set1(1.0f / (cap * down)), v_set1(cap * SOFTCAP_END)};
}

/* s / cap, less than u off: a product, and what it leaves of s times the inverse. */
INLINE vf in_caps(vf s, const struct softcap *cap) {
    const vf scaled = s * cap->down, x = scaled * cap->inverse;
    return v_fma_few(v_fma_few(v_set1(0.0f) - x, cap->cap, scaled), cap->inverse, x);
}

/* cap * tanh(s / cap) as s times tanh(x) / x, a function of x^2: so a score far below the cap stays what it is, and
 * nothing cancels. The quotient of two polynomials is 0.63 u off, all together 5.35 u with a cap of 1 (tried for all
 * s), 6.2 u with any (see tests/test_kernel_terms.c). A NaN stays one. */
INLINE vf softcap_of(vf s, const struct softcap *cap) {
    static const float above[5] = {1.0f, 0x1.121a9ap-3f, 0x1.ca9ed8p-9f, 0x1.5aa37cp-16f, 0x1.cd1a1ap-27f};
    static const float below[5] = {1.0f, 0x1.de629ap-2f, 0x1.a82f68p-6f, 0x1.591728p-12f, 0x1.a30372p-21f};
    s = v_max(v_set1(0.0f) - cap->limit, v_min(cap->limit, s));
    const vf x = in_caps(s, cap), y = x * x;
    return s * v_div(polynomial_4(y, above), polynomial_4(y, below));
}

/* The distance is a whole number, exact in 32 bits but for one of 2^31, which wraps to what has the same magnitude. */
INLINE vf distance_of(vi a, vi b) {
    const vf difference = (vf) __builtin_convertvector((int_lanes)((uint_lanes)a - (uint_lanes)b), vf);
    return (vf)((uint_lanes)difference & 0x7fffffffu);
}

/* -inf hides the key, whatever its score is; the lowest numbers, times log2(e), would become that. A NaN stays one. */
INLINE vf biased(vf s, vf bias, vmask *hidden) {
    *hidden = v_equal(bias, v_set1(-INFINITY));
    bias = v_max(v_set1(SA_LOWEST_BIAS), bias);
    return v_select(*hidden, v_set1(-INFINITY), v_fma_few(bias, v_set1(SA_LOG2_E), s));
}

/* Vector v of a column of 16 rows. */
INLINE vf part_of_column(const strip *low, const strip *high, const int v) {
    typedef float column __attribute__((vector_size(4 * SA_GROUP_ROWS)));
    float rows[SA_GROUP_ROWS];
    vf part;
    if ((int)LANES == (int)SA_GROUP_ROWS) { /* not through memory, where a processor would wait for two stores */
        const column both = __builtin_shufflevector(*low, *high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        memcpy(&part, &both, sizeof part);
        return part;
    }
    memcpy(rows, low, sizeof *low);
    memcpy(rows + STRIP_ROWS, high, sizeof *high);
    return v_load_any(rows + v * LANES);
}

INLINE void strips_of_bias(const float *const *rows, int j, strip r[STRIP_COLUMNS]) {
    UNROLL
    for (int i = 0; i < 4; i++)
        strip_of_rows(&r[i], rows[i] + j, rows[i + 4] + j);
    strip_transpose(r);
}

#endif
