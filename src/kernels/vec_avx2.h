/* SPDX-License-Identifier: MIT */
/* 8 floats: AVX2 and FMA. See lanes.h for what each wrapper means. */
#ifndef SA_VEC_AVX2_H
#define SA_VEC_AVX2_H

#include <immintrin.h>

enum {
    LANES = 8,
    PASS_GROUPS = 1, /* 16 registers: 12 sums for 2 vectors x 6 keys */
    SCORE_STEPS = 1,
    SCORE_KEYS_WIDE = 6,
    SCORE_KEYS_NARROW = 6,
    VALUE_DIMS_WIDE = 6,
    VALUE_DIMS_NARROW = 6
};

typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vmask;

#define INLINE static inline __attribute__((always_inline))

INLINE vf v_load(const float *p) { return _mm256_load_ps(p); }
INLINE void v_store(float *p, vf a) { _mm256_store_ps(p, a); }
INLINE vf v_set1(float a) { return _mm256_set1_ps(a); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf v_exponent(vf n) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(n), 23)); }

INLINE vi v_load_i(const int32_t *p) { return _mm256_load_si256((const __m256i *)(const void *)p); }
INLINE vi v_set1_i(int32_t a) { return _mm256_set1_epi32(a); }
INLINE vmask v_less_i(vi a, vi b) { return _mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a)); }
INLINE vmask v_not_less(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_NLT_UQ); }
INLINE vmask v_equal(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
INLINE vmask m_and(vmask a, vmask b) { return _mm256_and_ps(a, b); }
INLINE vmask m_or(vmask a, vmask b) { return _mm256_or_ps(a, b); }
INLINE vmask m_not(vmask a) { return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))); }
INLINE vf v_select(vmask mask, vf a, vf b) { return _mm256_blendv_ps(b, a, mask); }
INLINE vf v_mul_where(vmask mask, vf a, vf b) { return _mm256_and_ps(mask, _mm256_mul_ps(a, b)); }
INLINE vf v_fma_where(vmask mask, vf a, vf b, vf c) { return v_select(mask, v_fma(a, b, c), c); }

#endif
