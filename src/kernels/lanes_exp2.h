/* SPDX-License-Identifier: MIT */
/* 2^x. Included by lanes.h. */
#ifndef SA_LANES_EXP2_H
#define SA_LANES_EXP2_H

/* x = n + i/8 + f with n whole, i = 0 .. 7 and |f| <= 1/16. Adding 1.5 * 2^20 leaves no bits of x below 1/8, so that
 * 8 n + i stands in the low bits: the lowest three choose 2^(i/8) from a table, a shift makes the others the exponent.
 * 2^f - 1 is a cubic without a constant term (relative error of 2^f 2.6e-8), multiplied and added to 2^(n + i/8) in one
 * operation: at most 1.88 u off after all roundings (tried for all x), and 2^0 is exactly 1. Below -126 the exponent
 * field is empty, so that the result is anything below 2^-126; from -127 down it is 0. A NaN passes through the cubic.
 *
 * Step by step for n numbers side by side: one number's chain is 13 operations long, and the processor does not look
 * far enough ahead to find the next ones by itself. Constants are kept in registers, or each operation would load its
 * own. */
INLINE void exp2_each(const int n, vf *x) {
    const vf magic = v_keep(v_set1(1572864.0f)), least = v_keep(v_set1(-127.0f));
    vf power[4], p[4];
    UNROLL
    for (int i = 0; i < n; i++)
        x[i] = v_max(least, x[i]);
    UNROLL
    for (int i = 0; i < n; i++)
        power[i] = x[i] + magic;
    UNROLL
    for (int i = 0; i < n; i++)
        x[i] = v_beyond(x[i], power[i] - magic);
    UNROLL
    for (int i = 0; i < n; i++)
        power[i] = v_power_of_2(power[i]);
    const vf c1 = v_keep(v_set1(0x1.62e432p-1f)), c2 = v_keep(v_set1(0x1.ec0c22p-3f)),
             c3 = v_keep(v_set1(0x1.c690cep-5f));
    UNROLL
    for (int i = 0; i < n; i++)
        p[i] = v_fma(c3, x[i], c2);
    UNROLL
    for (int i = 0; i < n; i++)
        p[i] = v_fma(p[i], x[i], c1);
    UNROLL
    for (int i = 0; i < n; i++)
        p[i] = p[i] * x[i];
    UNROLL
    for (int i = 0; i < n; i++)
        x[i] = v_fma(p[i], power[i], power[i]);
}

/* That of weights. A vec_<isa>.h that chooses another also has v_begin_flushing() and v_end_flushing(), around it. */
#ifndef exp2_of_weights
#define exp2_of_weights exp2_each
INLINE unsigned v_begin_flushing(void) { return 0; }
INLINE void v_end_flushing(unsigned mode) { (void)mode; }
#else
#include "kernels/lanes_exp2_flushed.h"
#endif

INLINE vf exp2_nonpositive(vf x) {
    exp2_each(1, &x);
    return x;
}

/* A maximum to subtract: -inf (no key seen yet) would give -inf - -inf. */
INLINE vf finite_max(vf m) { return v_select(v_equal(m, v_set1(-INFINITY)), v_set1(0.0f), m); }

#endif
