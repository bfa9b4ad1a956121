/* SPDX-License-Identifier: MIT */
/* 2^-y. Included by lanes.h. */
#ifndef SA_LANES_EXP2_H
#define SA_LANES_EXP2_H

/* 2^-y in three steps, so that three numbers may be under way side by side: one's chain is 13 operations long, and the
 * processor does not look far enough ahead to find the next ones by itself.
 *
 * -y = n + i/8 + f with n whole, i = 0 .. 7 and |f| <= 1/16. Taking y from 1.5 * 2^20 leaves no bits of it below 1/8,
 * so that 8 n + i stands in the low bits: the lowest three choose 2^(i/8) from a table, a shift makes the others the
 * exponent. 2^f - 1 is a cubic without a constant term (relative error of 2^f 2.6e-8) in -f, whose odd coefficients are
 * negative; it is multiplied and added to 2^(n + i/8) in one operation: at most 1.88 u off after all roundings (tried
 * for all y), and 2^0 is exactly 1. Beyond 126 the exponent field is empty, so that the result is anything below
 * 2^-126; from 127 on it is 0. A NaN passes through the cubic. */
struct exp2_begun {
    vf y, eighths;
};

struct exp2_turned {
    vf beyond, power;
};

#define EXP2_MAGIC 1572864.0f

/* y = m - s, so that s may be taken from memory by the subtraction. */
INLINE struct exp2_begun exp2_begin(vf s, vf m) {
    const vf y = v_min(v_set1(127.0f), m - s);
    return (struct exp2_begun){y, v_set1(EXP2_MAGIC) - y};
}

INLINE struct exp2_turned exp2_turn(struct exp2_begun x) {
    return (struct exp2_turned){v_beyond(x.y, v_set1(EXP2_MAGIC) - x.eighths), v_power_of_2(x.eighths)};
}

INLINE vf exp2_end(struct exp2_turned x) {
    vf p = v_fma(v_set1(-0x1.c690cep-5f), x.beyond, v_set1(0x1.ec0c22p-3f));
    p = v_fma(p, x.beyond, v_set1(-0x1.62e432p-1f));
    return v_fma(p * x.beyond, x.power, x.power);
}

/* n scores to 2^(s - m). */
INLINE void exp2_each(const int n, vf *s, vf m) {
    struct exp2_begun begun[4];
    struct exp2_turned turned[4];
    UNROLL
    for (int i = 0; i < n; i++)
        begun[i] = exp2_begin(s[i], m);
    UNROLL
    for (int i = 0; i < n; i++)
        turned[i] = exp2_turn(begun[i]);
    UNROLL
    for (int i = 0; i < n; i++)
        s[i] = exp2_end(turned[i]);
}

/* That of weights. A vec_<isa>.h that chooses another also has v_begin_flushing() and v_end_flushing(), around it. */
#ifndef exp2_of_weights
#define exp2_of_weights exp2_each
INLINE unsigned v_begin_flushing(void) { return 0; }
INLINE void v_end_flushing(unsigned mode) { (void)mode; }
#else
#include "kernels/lanes_exp2_flushed.h"
#endif

/* 2^(a - b) where a <= b. */
INLINE vf exp2_below(vf a, vf b) { return exp2_end(exp2_turn(exp2_begin(a, b))); }

/* A maximum to subtract: -inf (no key seen yet) would give -inf - -inf. */
INLINE vf finite_max(vf m) { return v_select(v_equal(m, v_set1(-INFINITY)), v_set1(0.0f), m); }

#endif
