/* SPDX-License-Identifier: MIT */
/* 16 floats: AVX-512 F, BW, DQ, VL. See lanes.h for what each wrapper means. */
#ifndef SA_VEC_AVX512_H
#define SA_VEC_AVX512_H

#include <immintrin.h>

enum { LANES = 16, PASS_GROUPS = 4, SCORE_STEPS = 2 };

/* 32 registers: up to 24 sums. The more of them, the fewer loads a multiply-add and ends of tiles. */
#define TILE_SIZE(v) ((v) > 3 ? 6 : (v) == 2 ? 12 : 8)
#define EACH_TILE(X) EACH_SIZE_8(X, 1) EACH_SIZE_12(X, 2) EACH_SIZE_8(X, 3) EACH_SIZE_6(X, 4)

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vmask;

#define INLINE static inline __attribute__((always_inline))

INLINE vf v_load(const float *p) { return _mm512_load_ps(p); }
INLINE vf v_load_any(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, vf a) { _mm512_store_ps(p, a); }
INLINE void v_store_any(float *p, vf a) { _mm512_storeu_ps(p, a); }
INLINE vf v_set1(float a) { return _mm512_set1_ps(a); }
/* In a register, not folded into the operations that use it: the processor loads two vectors a cycle at most. */
INLINE vf v_keep(vf a) {
#if defined(__AVX512F__) /* not where tests emulate it */
    __asm__ volatile("" : "+v"(a));
#endif
    return a;
}
INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
#define v_fma_few  v_fma
#define v_fma_onto v_fma
INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf v_max_abs(vf a, vf b) {
    const __m512i bits = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff));
    return _mm512_castsi512_ps(_mm512_max_epi32(bits, _mm512_castps_si512(b)));
}
/* In one instruction. */
INLINE vf v_beyond(vf a, vf eighths) {
    (void)eighths;
    return _mm512_reduce_ps(a, 3 << 4);
}
INLINE vf v_power_of_2(vf a) {
    const __m512i table = _mm512_broadcast_i64x4(_mm256_setr_epi32(SA_POWERS_OF_2));
    __m512i bits = _mm512_castps_si512(a);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_permutexvar_epi32(bits, table), _mm512_slli_epi32(bits, 20)));
}

INLINE vf v_of_bf16(const void *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
INLINE vf v_of_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
INLINE vf v_of_i8(const void *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p))); }
INLINE void v_to_bf16(void *p, vf a) {
    const __m512i bits = _mm512_castps_si512(a), upper = _mm512_srli_epi32(bits, 16);
    const __m512i last = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i half = _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
    const __m512i nan = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    const __mmask16 is_nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    _mm256_storeu_si256(p, _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(is_nan, rounded, nan)));
}
INLINE void v_to_f16(void *p, vf a) { _mm256_storeu_si256(p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT)); }
INLINE void v_to_i8(void *p, vf a) { _mm_storeu_si128(p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a))); }
/* 16 bytes at `at` of every fourth row, and the turning of four such vectors, so that vector i holds word i of each. */
INLINE vf v_of_quarters(const char *const *row, ptrdiff_t at) {
    vf a = _mm512_castps128_ps512(_mm_loadu_ps((const float *)(const void *)(row[0] + at)));
    a = _mm512_insertf32x4(a, _mm_loadu_ps((const float *)(const void *)(row[4] + at)), 1);
    a = _mm512_insertf32x4(a, _mm_loadu_ps((const float *)(const void *)(row[8] + at)), 2);
    return _mm512_insertf32x4(a, _mm_loadu_ps((const float *)(const void *)(row[12] + at)), 3);
}
INLINE void v_turn(vf r[4]) {
    const vf a = _mm512_unpacklo_ps(r[0], r[1]), b = _mm512_unpacklo_ps(r[2], r[3]);
    const vf c = _mm512_unpackhi_ps(r[0], r[1]), d = _mm512_unpackhi_ps(r[2], r[3]);
    r[0] = _mm512_shuffle_ps(a, b, 0x44);
    r[1] = _mm512_shuffle_ps(a, b, 0xee);
    r[2] = _mm512_shuffle_ps(c, d, 0x44);
    r[3] = _mm512_shuffle_ps(c, d, 0xee);
}
INLINE vf v_of_first(vf pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(pairs), 16)); }
INLINE vf v_of_second(vf pairs) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pairs), _mm512_set1_epi32((int)0xffff0000)));
}
INLINE void v_part(vf *a, vf *b) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const vf x = _mm512_permutex2var_ps(*a, even, *b);
    *b = _mm512_permutex2var_ps(*a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), *b);
    *a = x;
}
INLINE void v_join(vf *even, vf *odd) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const vf x = _mm512_permutex2var_ps(*even, first, *odd);
    *odd = _mm512_permutex2var_ps(*even, _mm512_add_epi32(first, _mm512_set1_epi32(8)), *odd);
    *even = x;
}
/* Written out, since gcc adds the two up first. */
INLINE void v_fetch(const char *row, ptrdiff_t at) { __asm__ volatile("prefetcht1 (%0,%1)" ::"r"(row), "r"(at)); }
INLINE void v_fetch_near(const char *row, ptrdiff_t at) { __builtin_prefetch(row + at, 0, 3); }

/* Pairs, fours, eights of rows, within each quarter of a vector; the upper half has the last eight rows. */
INLINE __m512i v_of_halves(const char *const *row, ptrdiff_t at) {
    const __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(const void *)(row[0] + at)));
    return _mm512_inserti64x4(first, _mm256_loadu_si256((const __m256i *)(const void *)(row[8] + at)), 1);
}
INLINE void v_turn_halves(const char *const *row, ptrdiff_t at, void *to) {
    const __m512i order = _mm512_setr_epi64(0, 1, 4, 5, 2, 3, 6, 7);
    __m512i two[8], four[8];
    for (int i = 0; i < 8; i += 2) {
        const __m512i a = v_of_halves(row + i, at), b = v_of_halves(row + i + 1, at);
        two[i] = _mm512_unpacklo_epi16(a, b);
        two[i + 1] = _mm512_unpackhi_epi16(a, b);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            four[i + 2 * k] = _mm512_unpacklo_epi32(two[i + k], two[i + 2 + k]);
            four[i + 2 * k + 1] = _mm512_unpackhi_epi32(two[i + k], two[i + 2 + k]);
        }
    for (int k = 0; k < 4; k++) {
        const __m512i a = _mm512_unpacklo_epi64(four[k], four[4 + k]), b = _mm512_unpackhi_epi64(four[k], four[4 + k]);
        _mm512_store_si512((__m512i *)to + 2 * k, _mm512_permutexvar_epi64(order, a));
        _mm512_store_si512((__m512i *)to + 2 * k + 1, _mm512_permutexvar_epi64(order, b));
    }
}
INLINE void v_turn_bytes(const char *const *row, ptrdiff_t at, void *to) {
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    __m512i two[8], four[8];
    for (int i = 0; i < 8; i += 2) {
        const __m512i a = v_of_halves(row + i, at), b = v_of_halves(row + i + 1, at);
        two[i] = _mm512_unpacklo_epi8(a, b);
        two[i + 1] = _mm512_unpackhi_epi8(a, b);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            four[i + 2 * k] = _mm512_unpacklo_epi16(two[i + k], two[i + 2 + k]);
            four[i + 2 * k + 1] = _mm512_unpackhi_epi16(two[i + k], two[i + 2 + k]);
        }
    for (int k = 0; k < 4; k++) {
        const __m512i a = _mm512_unpacklo_epi32(four[k], four[4 + k]), b = _mm512_unpackhi_epi32(four[k], four[4 + k]);
        _mm512_store_si512((__m512i *)to + 2 * k, _mm512_permutexvar_epi64(order, a));
        _mm512_store_si512((__m512i *)to + 2 * k + 1, _mm512_permutexvar_epi64(order, b));
    }
}
INLINE uint16_t f16_of(float a) { return (uint16_t)_cvtss_sh(a, _MM_FROUND_TO_NEAREST_INT); }
INLINE float of_f16(uint16_t bits) { return _cvtsh_ss(bits); }

INLINE vi v_load_i(const int32_t *p) { return _mm512_load_si512(p); }
INLINE vi v_set1_i(int32_t a) { return _mm512_set1_epi32(a); }
INLINE vmask v_less_i(vi a, vi b) { return _mm512_cmplt_epi32_mask(a, b); }
INLINE vmask v_equal(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
INLINE vmask m_and(vmask a, vmask b) { return (vmask)(a & b); }
INLINE vmask m_or(vmask a, vmask b) { return (vmask)(a | b); }
INLINE vmask m_not(vmask a) { return (vmask)~a; }
INLINE bool m_any(vmask a) { return a != 0; }
INLINE vf v_select(vmask mask, vf a, vf b) { return _mm512_mask_blend_ps(mask, b, a); }
INLINE vf v_fma_where(vmask mask, vf a, vf b, vf c) { return _mm512_mask3_fmadd_ps(a, b, c, mask); }

#endif
