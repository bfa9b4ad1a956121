/* SPDX-License-Identifier: MIT */
/* 8 floats: AVX2, FMA and F16C. See lanes.h for what each wrapper means. */
#ifndef SA_VEC_AVX2_H
#define SA_VEC_AVX2_H

#include <immintrin.h>

enum { LANES = 8, PASS_GROUPS = 1, SCORE_STEPS = 4 };

/* 16 registers: 12 sums; in tiles for half a group clang spills some of more than 8. */
#if defined(__clang__)
enum { HALF_TILE = 8 };
#define EACH_HALF(X) EACH_SIZE_8(X, 1)
#else
enum { HALF_TILE = 12 };
#define EACH_HALF(X) EACH_SIZE_12(X, 1)
#endif
#define TILE_SIZE(v) ((v) == 1 ? HALF_TILE : 6)
#define EACH_TILE(X) EACH_HALF(X) EACH_SIZE_6(X, 2)
#define HALF_GROUPS

typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vmask;

#define INLINE static inline __attribute__((always_inline))

INLINE vf v_load(const float *p) { return _mm256_load_ps(p); }
INLINE vf v_load_any(const float *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(float *p, vf a) { _mm256_store_ps(p, a); }
INLINE void v_store_any(float *p, vf a) { _mm256_storeu_ps(p, a); }
INLINE vf v_set1(float a) { return _mm256_set1_ps(a); }
/* In a register, not folded into the operations that use it: the processor loads two vectors a cycle at most. */
INLINE vf v_keep(vf a) {
    __asm__ volatile("" : "+x"(a));
    return a;
}
INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
#define v_fma_few v_fma
/* See lanes_base.h. Written out, since gcc would move the sums of a register tile about. */
INLINE void v_add_term(vf *sum, vf a, vf b) { __asm__("vfmadd231ps %2, %1, %0" : "+x"(*sum) : "x"(a), "x"(b)); }
#define v_add_term v_add_term
INLINE vf v_fma_onto(vf a, vf b, vf c) {
    v_add_term(&c, a, b);
    return c;
}
INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
INLINE vf v_max_abs(vf a, vf b) {
    const __m256i bits = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x7fffffff));
    return _mm256_castsi256_ps(_mm256_max_epi32(bits, _mm256_castps_si256(b)));
}
INLINE vf v_beyond(vf a, vf eighths) { return a - eighths; }
INLINE vf v_power_of_2(vf a) {
    const __m256i table = _mm256_setr_epi32(SA_POWERS_OF_2);
    __m256i bits = _mm256_castps_si256(a);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_permutevar8x32_epi32(table, bits), _mm256_slli_epi32(bits, 20)));
}

INLINE vf v_of_bf16(const void *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
INLINE vf v_of_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }
INLINE vf v_of_i8(const void *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p))); }
INLINE void v_to_bf16(void *p, vf a) {
    const __m256i bits = _mm256_castps_si256(a), upper = _mm256_srli_epi32(bits, 16);
    const __m256i last = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i half = _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
    const __m256i nan = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    const __m256i all = _mm256_blendv_epi8(rounded, nan, is_nan);
    _mm_storeu_si128(p, _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
}
INLINE void v_to_f16(void *p, vf a) { _mm_storeu_si128(p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT)); }
INLINE void v_to_i8(void *p, vf a) {
    const __m256i whole = _mm256_cvtps_epi32(a);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64(p, _mm_packs_epi16(words, words));
}
/* 16 bytes at `at` of every fourth row, and the turning of four such vectors, so that vector i holds word i of each. */
INLINE vf v_of_quarters(const char *const *row, ptrdiff_t at) {
    const __m128 low = _mm_loadu_ps((const float *)(const void *)(row[0] + at));
    return _mm256_insertf128_ps(_mm256_castps128_ps256(low), _mm_loadu_ps((const float *)(const void *)(row[4] + at)),
                                1);
}
INLINE void v_turn(vf r[4]) {
    const vf a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpacklo_ps(r[2], r[3]);
    const vf c = _mm256_unpackhi_ps(r[0], r[1]), d = _mm256_unpackhi_ps(r[2], r[3]);
    r[0] = _mm256_shuffle_ps(a, b, 0x44);
    r[1] = _mm256_shuffle_ps(a, b, 0xee);
    r[2] = _mm256_shuffle_ps(c, d, 0x44);
    r[3] = _mm256_shuffle_ps(c, d, 0xee);
}
INLINE vf v_of_first(vf pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(pairs), 16)); }
INLINE vf v_of_second(vf pairs) {
    return _mm256_and_ps(pairs, _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000)));
}
INLINE void v_part(vf *a, vf *b) {
    const vf x = _mm256_permute2f128_ps(*a, *b, 0x20), y = _mm256_permute2f128_ps(*a, *b, 0x31);
    *a = _mm256_shuffle_ps(x, y, 0x88);
    *b = _mm256_shuffle_ps(x, y, 0xdd);
}
INLINE void v_join(vf *even, vf *odd) {
    const vf x = _mm256_unpacklo_ps(*even, *odd), y = _mm256_unpackhi_ps(*even, *odd);
    *even = _mm256_permute2f128_ps(x, y, 0x20);
    *odd = _mm256_permute2f128_ps(x, y, 0x31);
}
/* Written out, since gcc adds the two up first. */
INLINE void v_fetch(const char *row, ptrdiff_t at) { __asm__ volatile("prefetcht1 (%0,%1)" ::"r"(row), "r"(at)); }
INLINE void v_fetch_near(const char *row, ptrdiff_t at) { __builtin_prefetch(row + at, 0, 3); }

/* Pairs, fours, eights of rows, within each half of a vector. */
INLINE void v_turn_halves(const char *const *row, ptrdiff_t at, void *to) {
    __m256i two[8], four[8];
    for (int i = 0; i < 8; i += 2) {
        const __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(row[i] + at));
        const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(row[i + 1] + at));
        two[i] = _mm256_unpacklo_epi16(a, b);
        two[i + 1] = _mm256_unpackhi_epi16(a, b);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            four[i + 2 * k] = _mm256_unpacklo_epi32(two[i + k], two[i + 2 + k]);
            four[i + 2 * k + 1] = _mm256_unpackhi_epi32(two[i + k], two[i + 2 + k]);
        }
    for (int k = 0; k < 4; k++) {
        _mm256_store_si256((__m256i *)to + 2 * k, _mm256_unpacklo_epi64(four[k], four[4 + k]));
        _mm256_store_si256((__m256i *)to + 2 * k + 1, _mm256_unpackhi_epi64(four[k], four[4 + k]));
    }
}
INLINE void v_turn_bytes(const char *const *row, ptrdiff_t at, void *to) {
    __m256i two[8], four[8];
    for (int i = 0; i < 8; i += 2) {
        const __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(row[i] + at));
        const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(row[i + 1] + at));
        two[i] = _mm256_unpacklo_epi8(a, b);
        two[i + 1] = _mm256_unpackhi_epi8(a, b);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            four[i + 2 * k] = _mm256_unpacklo_epi16(two[i + k], two[i + 2 + k]);
            four[i + 2 * k + 1] = _mm256_unpackhi_epi16(two[i + k], two[i + 2 + k]);
        }
    for (int k = 0; k < 4; k++) {
        _mm256_store_si256((__m256i *)to + 2 * k, _mm256_unpacklo_epi32(four[k], four[4 + k]));
        _mm256_store_si256((__m256i *)to + 2 * k + 1, _mm256_unpackhi_epi32(four[k], four[4 + k]));
    }
}
INLINE uint16_t f16_of(float a) { return (uint16_t)_cvtss_sh(a, _MM_FROUND_TO_NEAREST_INT); }
INLINE float of_f16(uint16_t bits) { return _cvtsh_ss(bits); }

INLINE vi v_load_i(const int32_t *p) { return _mm256_load_si256((const __m256i *)(const void *)p); }
INLINE vi v_set1_i(int32_t a) { return _mm256_set1_epi32(a); }
INLINE vmask v_less_i(vi a, vi b) { return _mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a)); }
INLINE vmask v_equal(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
INLINE vmask m_and(vmask a, vmask b) { return _mm256_and_ps(a, b); }
INLINE vmask m_or(vmask a, vmask b) { return _mm256_or_ps(a, b); }
INLINE vmask m_not(vmask a) { return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))); }
INLINE bool m_any(vmask a) { return _mm256_movemask_ps(a) != 0; }
INLINE vf v_select(vmask mask, vf a, vf b) { return _mm256_blendv_ps(b, a, mask); }
INLINE vf v_fma_where(vmask mask, vf a, vf b, vf c) { return v_select(mask, v_fma(a, b, c), c); }

#endif
