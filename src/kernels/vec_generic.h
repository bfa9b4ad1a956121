/* SPDX-License-Identifier: MIT */
/* 4 floats on the compilers' vector extensions, for any processor. See lanes.h for what each wrapper means.
 *
 * The bits of the library are those of fused multiply-add. Where the processor has none (x86-64 before FMA), it is
 * emulated exactly: the product of two floats is exact in double, the sum is rounded to odd there, and rounding to odd
 * in 53 bits followed by rounding to nearest in 24 equals one rounding (Boldo & Melquiond, IEEE TC 57(4), 2008). */
#ifndef SA_VEC_GENERIC_H
#define SA_VEC_GENERIC_H

#include <string.h>
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { LANES = 4, PASS_GROUPS = 1, SCORE_STEPS = 1 };

#define TILE_SIZE(v) 4
#define FEW_SIZES_1_8
#define EACH_TILE(X) EACH_SIZE_4(X, 4)

typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef vi vmask;
typedef uint32_t vu __attribute__((vector_size(16)));

#define INLINE static inline __attribute__((always_inline))

INLINE vf v_load(const float *p) {
    vf a;
    memcpy(&a, p, sizeof a);
    return a;
}
INLINE vf v_load_any(const float *p) { return v_load(p); }
INLINE void v_store(float *p, vf a) { memcpy(p, &a, sizeof a); }
INLINE void v_store_any(float *p, vf a) { v_store(p, a); }
INLINE vf v_keep(vf a) { return a; }
INLINE vf v_set1(float a) { return (vf){a, a, a, a}; }

#if defined(__aarch64__)
INLINE vf v_fma(vf a, vf b, vf c) { return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#elif defined(__FP_FAST_FMAF)
INLINE vf v_fma(vf a, vf b, vf c) {
    for (int i = 0; i < LANES; i++)
        c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
}
#else
INLINE vf v_fma(vf a, vf b, vf c) {
    typedef double vd __attribute__((vector_size(32)));
    typedef int64_t vl __attribute__((vector_size(32)));
    vd product = __builtin_convertvector(a, vd) * __builtin_convertvector(b, vd);
    vd addend = __builtin_convertvector(c, vd);
    vd sum = product + addend;
    vd part = sum - product; /* two-sum: error is exact unless something is inf or NaN, when it is NaN */
    vd error = (product - (sum - part)) + (addend - part);
    vl away = (vl)((error > 0) ^ (sum > 0)) | 1; /* towards the exact value: -1 if the error shrinks |sum|, else 1 */
    vl inexact = (vl)((error > 0) | (error < 0));
    vl bits = (vl)sum;
    bits += away & inexact & ((bits & 1) - 1);
    return __builtin_convertvector((vd)bits, vf);
}
#endif

/* For kernels that unroll so much that an emulation in every place would take minutes to compile. */
#if defined(__aarch64__) || defined(__FP_FAST_FMAF)
#define v_fma_few v_fma
#else
static __attribute__((noinline)) vf v_fma_few(vf a, vf b, vf c) { return v_fma(a, b, c); }
#endif

#define v_fma_onto v_fma_few

INLINE vmask m_and(vmask a, vmask b) { return a & b; }
INLINE vmask m_or(vmask a, vmask b) { return a | b; }
INLINE vmask m_not(vmask a) { return ~a; }
INLINE bool m_any(vmask a) { return (a[0] | a[1] | a[2] | a[3]) != 0; }
INLINE vf v_select(vmask mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
INLINE vf v_max(vf a, vf b) { return v_select((vmask)(a > b), a, b); }
INLINE vf v_min(vf a, vf b) { return v_select((vmask)(a < b), a, b); }
INLINE vf v_div(vf a, vf b) { return a / b; }
INLINE vf v_max_abs(vf a, vf b) {
    const vi bits = (vi)a & 0x7fffffff;
    return v_select((vmask)(bits > (vi)b), (vf)bits, b);
}
INLINE vf v_beyond(vf a, vf eighths) { return a - eighths; }
INLINE vf v_power_of_2(vf a) {
    static const uint32_t table[8] = {SA_POWERS_OF_2};
    vu bits = (vu)a;
    vu power = {table[bits[0] & 7], table[bits[1] & 7], table[bits[2] & 7], table[bits[3] & 7]};
    return (vf)(power + (bits << 20));
}

/* An exponent of 5 bits becomes one of 8 by a multiplication that is exact for subnormal numbers as well. */
INLINE float of_f16(uint16_t bits) {
    uint32_t magnitude = (bits & 0x7fffu) << 13, sign = (bits & 0x8000u) << 16;
    float a;
    memcpy(&a, &magnitude, sizeof a);
    a = magnitude < 0x7c00u << 13 ? a * 0x1p112f : a;
    memcpy(&magnitude, &a, sizeof a);
    magnitude |= sign | ((bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0);
    memcpy(&a, &magnitude, sizeof a);
    return a;
}

/* Below 2^-14 the last place is 2^-24: adding 0.5 rounds there. Above, the 13 bits that go are rounded off; 65520 and
 * more become inf by carrying into its exponent. */
INLINE uint16_t f16_of(float a) {
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (bits >= 0x47800000u) /* 65536 */
        return (uint16_t)(sign | 0x7c00u);
    if (bits < 0x38800000u) {
        memcpy(&a, &bits, sizeof a);
        a += 0.5f;
        memcpy(&bits, &a, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000u));
    }
    return (uint16_t)(sign | ((bits + 0xfffu + (bits >> 13 & 1) - (112u << 23)) >> 13));
}

INLINE vf v_of_f16(const void *p) {
    uint16_t bits[LANES];
    memcpy(bits, p, sizeof bits);
    return (vf){of_f16(bits[0]), of_f16(bits[1]), of_f16(bits[2]), of_f16(bits[3])};
}
INLINE vf v_of_quarters(const char *const *row, ptrdiff_t at) {
    vf a;
    memcpy(&a, row[0] + at, sizeof a);
    return a;
}
INLINE void v_turn(vf r[4]) {
    const vf a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    const vf c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7), d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    r[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}
INLINE vf v_of_lower_halves(vf pairs) { return (vf)((vu)pairs << 16); }
INLINE vf v_of_upper_halves(vf pairs) { return (vf)((vu)pairs & 0xffff0000u); }
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define v_of_first  v_of_upper_halves
#define v_of_second v_of_lower_halves
#else
#define v_of_first  v_of_lower_halves
#define v_of_second v_of_upper_halves
#endif
INLINE void v_part(vf *a, vf *b) {
    const vf even = __builtin_shufflevector(*a, *b, 0, 2, 4, 6);
    *b = __builtin_shufflevector(*a, *b, 1, 3, 5, 7);
    *a = even;
}
INLINE void v_join(vf *even, vf *odd) {
    const vf first = __builtin_shufflevector(*even, *odd, 0, 4, 1, 5);
    *odd = __builtin_shufflevector(*even, *odd, 2, 6, 3, 7);
    *even = first;
}
INLINE void v_fetch(const char *row, ptrdiff_t at) { __builtin_prefetch(row + at, 0, 2); }
INLINE void v_fetch_near(const char *row, ptrdiff_t at) { __builtin_prefetch(row + at, 0, 3); }
INLINE void v_turn_halves(const char *const *row, ptrdiff_t at, void *to) {
    uint16_t half[16], *turned = to;
    for (int i = 0; i < LANES; i++) {
        memcpy(half, row[i] + at, sizeof half);
        for (int c = 0; c < 16; c++)
            turned[(c % 8 * 2 + c / 8) * LANES + i] = half[c];
    }
}
INLINE void v_turn_bytes(const char *const *row, ptrdiff_t at, void *to) {
    char *turned = to;
    for (int i = 0; i < LANES; i++)
        for (int c = 0; c < 32; c++)
            turned[((c % 16 / 2 * 2 + c / 16) * 2 + c % 2) * LANES + i] = row[i][at + c];
}
INLINE vf v_of_bf16(const void *p) {
    uint16_t bits[LANES];
    memcpy(bits, p, sizeof bits);
    return (vf)((vu){bits[0], bits[1], bits[2], bits[3]} << 16);
}
INLINE vf v_of_i8(const void *p) {
    int8_t a[LANES];
    memcpy(a, p, sizeof a);
    return (vf){a[0], a[1], a[2], a[3]};
}

INLINE void v_to_bf16(void *p, vf a) {
    const vu bits = (vu)a, upper = bits >> 16;
    const vu rounded = (bits + 0x7fffu + (upper & 1)) >> 16;
    const vu all = (vu)v_select((vmask)(a == a), (vf)rounded, (vf)(upper | 0x40u));
    const uint16_t narrow[LANES] = {(uint16_t)all[0], (uint16_t)all[1], (uint16_t)all[2], (uint16_t)all[3]};
    memcpy(p, narrow, sizeof narrow);
}
INLINE void v_to_f16(void *p, vf a) {
    const uint16_t narrow[LANES] = {f16_of(a[0]), f16_of(a[1]), f16_of(a[2]), f16_of(a[3])};
    memcpy(p, narrow, sizeof narrow);
}
/* Adding 1.5 * 2^23 leaves no bits below 1; ties go to the even sum. */
INLINE void v_to_i8(void *p, vf a) {
    const vi whole = (vi)(a + 12582912.0f);
    const int8_t narrow[LANES] = {(int8_t)whole[0], (int8_t)whole[1], (int8_t)whole[2], (int8_t)whole[3]};
    memcpy(p, narrow, sizeof narrow);
}

INLINE vi v_load_i(const int32_t *p) {
    vi a;
    memcpy(&a, p, sizeof a);
    return a;
}
INLINE vi v_set1_i(int32_t a) { return (vi){a, a, a, a}; }
INLINE vmask v_less_i(vi a, vi b) { return (vmask)(a < b); }
INLINE vmask v_equal(vf a, vf b) { return (vmask)(a == b); }
INLINE vf v_fma_where(vmask mask, vf a, vf b, vf c) { return v_select(mask, v_fma(a, b, c), c); }

#endif
