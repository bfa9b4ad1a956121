/* SPDX-License-Identifier: MIT */
/* 16 pairs of bf16: AVX-512 BF16, beside vec_avx512.h. A pair stands in a float, the first element in the lower half.
 */
#ifndef SA_VEC_AVX512_BF16_H
#define SA_VEC_AVX512_BF16_H

#include "kernels/vec_avx512.h"

/* sum + a's second times b's second, + a's first times b's first. */
INLINE vf v_dot(vf a, vf b, vf sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
}

/* The lower and the upper half of 32 elements, element by element in turns. */
INLINE vf v_weave(__m512i halves) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, halves));
}

/* Rounded to nearest, ties to even; subnormal numbers become 0. */
INLINE vf v_pair(vf first, vf second) { return v_weave((__m512i)_mm512_cvtne2ps_pbh(second, first)); }

/* The same of floats that follow each other. */
INLINE vf v_pair_neighbours(vf lower, vf upper) {
    return _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(upper, lower));
}

/* 16 elements of each of two rows. */
INLINE vf v_pair_of_rows(const void *first, const void *second) {
    const __m512i lower = _mm512_castsi256_si512(_mm256_loadu_si256(first));
    return v_weave(_mm512_inserti64x4(lower, _mm256_loadu_si256(second), 1));
}

/* Is neither element of any pair inf or NaN? */
INLINE bool v_pairs_finite(vf pairs) {
    const __m512i bits = _mm512_castps_si512(pairs), most = _mm512_set1_epi16(0x7f80);
    return _mm512_cmpeq_epi16_mask(_mm512_and_si512(bits, most), most) == 0;
}

/* The elements of a pair that their lanes see, 0 in place of the others. */
INLINE vf v_pair_where(vmask sees_first, vmask sees_second, vf pair) {
    const __m512i bits = _mm512_castps_si512(pair);
    const __m512i first = _mm512_maskz_and_epi32(sees_first, bits, _mm512_set1_epi32(0xffff)),
                  second = _mm512_maskz_and_epi32(sees_second, bits, _mm512_set1_epi32((int)0xffff0000));
    return _mm512_castsi512_ps(_mm512_or_si512(first, second));
}

/* See lanes_base.h; the few kernels read words, which SA_F32 stands for. */
enum { OF_PAIRS = 1 };
#define v_term      v_dot
#define v_term_few  v_dot
#define EACH_FEW(X) EACH_FEW_SIZE(X, words, SA_F32)

#endif
