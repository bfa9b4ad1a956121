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

/* The upper halves of floats that follow each other. */
INLINE vf v_upper_halves(vf lower, vf upper) {
    const __m512i odd = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25,
                                         23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return _mm512_castsi512_ps(_mm512_permutex2var_epi16(_mm512_castps_si512(lower), odd, _mm512_castps_si512(upper)));
}

/* So that the upper half is what a weight is rounded to. An addition can be done by either unit, a conversion cannot
 * while AMX is awake. */
INLINE __m512i v_rounded_bits(vf a) { return _mm512_add_epi32(_mm512_castps_si512(a), _mm512_set1_epi32(1 << 15)); }
INLINE vf v_rounded(vf a) { return _mm512_castsi512_ps(v_rounded_bits(a)); }

INLINE vf v_pair(vf first, vf second) {
    const __m512i lower = _mm512_srli_epi32(v_rounded_bits(first), 16);
    return _mm512_castsi512_ps(_mm512_mask_blend_epi16(0xaaaaaaaa, lower, v_rounded_bits(second)));
}

/* The same of floats that follow each other. */
INLINE vf v_pair_neighbours(vf lower, vf upper) { return v_upper_halves(v_rounded(lower), v_rounded(upper)); }

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

/* 2^(k/32), of the k / 32 that a was rounded to: k stands in the lowest bits. */
INLINE vf v_part_of_power(vf a) {
    static const _Alignas(64) uint32_t powers[32] = {SA_POWERS_OF_2_BY_32};
    const __m512i first = _mm512_load_si512(powers), last = _mm512_load_si512(powers + 16);
    return _mm512_castsi512_ps(_mm512_permutex2var_epi32(first, _mm512_castps_si512(a), last));
}
INLINE vf v_add_down(vf a, vf b) { return _mm512_add_round_ps(a, b, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
INLINE vf v_beyond_32nds(vf a) { return _mm512_reduce_ps(a, 5 << 4 | _MM_FROUND_TO_NEG_INF); }
INLINE vf v_times_power(vf a, vf power) { return _mm512_scalef_ps(a, power); }

/* Results that are subnormal become 0, until the mode is put back. Arithmetic in between has to go from memory to
 * memory, or the compiler may move it out. */
enum { FLUSH_TO_ZERO = 0x8000 };
INLINE unsigned v_begin_flushing(void) {
    const unsigned mode = _mm_getcsr(), flushing = mode | FLUSH_TO_ZERO;
    __asm__ volatile("ldmxcsr %0" ::"m"(flushing) : "memory");
    return mode;
}
INLINE void v_end_flushing(unsigned mode) { __asm__ volatile("ldmxcsr %0" ::"m"(mode) : "memory"); }

/* See lanes_exp2.h. */
#define exp2_of_weights exp2_flushed

/* See lanes_base.h; the few kernels read words, which SA_F32 stands for. */
enum { OF_PAIRS = 1 };
#define v_term      v_dot
#define v_term_few  v_dot
#define EACH_FEW(X) EACH_FEW_SIZE(X, words, SA_F32)

#endif
