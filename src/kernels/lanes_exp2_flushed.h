/* SPDX-License-Identifier: MIT */
/* 2^x of weights that are multiplied in pairs. Included by lanes_exp2.h, after vec_avx512_bf16.h. */
#ifndef SA_LANES_EXP2_FLUSHED_H
#define SA_LANES_EXP2_FLUSHED_H

/* As exp2_each(), but s - m = n + i/32 + f with 0 <= f < 1/32: 2^(i/32) comes from a table of two registers, 2^f - 1
 * is a quadratic without a constant term, and n is added to the exponent by an instruction that takes any number,
 * rounded down as s - m is here, so that nothing has to be kept in bounds. 2^0 is exactly 1, others are at most 3.07 u
 * off (tried for one of each 523), of the least numbers below 0 it is 1 - 2^-24. A result below 2^-126 is 0, between
 * v_begin_flushing() and v_end_flushing(): to make a subnormal number takes the processor 200 cycles.
 *
 * While AMX is awake one unit multiplies, converts and compares vectors, and another one at best adds them, moves their
 * elements and counts: 5 operations of the former kind here, where exp2_each() has 7. */
INLINE void exp2_flushed(const int n, vf *x, vf m) {
    const vf magic = v_keep(v_set1(0x1.8p18f));
    vf below[4], power[4], p[4];
    UNROLL
    for (int i = 0; i < n; i++)
        x[i] = x[i] - m;
    UNROLL
    for (int i = 0; i < n; i++)
        below[i] = v_add_down(x[i], magic);
    UNROLL
    for (int i = 0; i < n; i++)
        power[i] = v_times_power(v_part_of_power(below[i]), x[i]);
    UNROLL
    for (int i = 0; i < n; i++)
        x[i] = v_beyond_32nds(x[i]);
    const vf c1 = v_keep(v_set1(0x1.62e11ep-1f)), c2 = v_keep(v_set1(0x1.f0ea56p-3f));
    UNROLL
    for (int i = 0; i < n; i++)
        p[i] = v_fma(c2, x[i], c1);
    UNROLL
    for (int i = 0; i < n; i++)
        p[i] = p[i] * x[i];
    UNROLL
    for (int i = 0; i < n; i++)
        x[i] = v_fma(p[i], power[i], power[i]);
}

#endif
