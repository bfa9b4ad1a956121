/* SPDX-License-Identifier: MIT */
/* AVX-512 for processors that have AVX2 and FMA: the intrinsics of <immintrin.h> become SIMDe's emulations. Included
 * ahead of src/kernels/avx512.c, avx512_bf16.c, amx_bf16.c and amx_int8.c by the compiler (-include), which are thereby
 * compiled as they stand; for tests only.
 *
 * SIMDe does not have every intrinsic. One that it lacks ends in "target specific option mismatch" (gcc) or "needs
 * target feature avx512f" (clang): it goes here, and what it does with NaNs, masks and memory into test_emulated.c. */
#ifndef SA_TESTS_EMULATED_AVX512_H
#define SA_TESTS_EMULATED_AVX512_H

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "without AVX2, FMA and F16C SIMDe rounds a multiply-add twice"
#endif
#if defined(__AVX512F__)
#error "the real instructions would be used"
#endif

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#define EMULATED static inline __attribute__((always_inline))

/* Lane by lane with the compilers' own vectors; mask registers are made of the sign bits of lanes. */
typedef int32_t emulated_ints __attribute__((vector_size(64), may_alias));
typedef float emulated_floats __attribute__((vector_size(64), may_alias));

EMULATED __mmask16 emulated_mask(emulated_ints a) { return simde_mm512_movepi32_mask((__m512i)a); }

/* ---------------------------------------------------------------- arithmetic and comparisons */

EMULATED __m512 emulated_mask3_fmadd_ps(__m512 a, __m512 b, __m512 c, __mmask16 k) {
    return simde_mm512_mask_mov_ps(c, k, simde_mm512_fmadd_ps(a, b, c));
}

/* What is left beside the nearest eighth, for numbers below 2^20. */
EMULATED __m512 emulated_reduce_eighths(__m512 a) {
    const __m512 magic = simde_mm512_set1_ps(1572864.0f);
    return simde_mm512_sub_ps(a, simde_mm512_sub_ps(simde_mm512_add_ps(a, magic), magic));
}

/* What a number has above the next 32nd below, rounded down; nothing of infinities. In doubles, since subnormal floats
 * may count as 0: a sum, and what that has lost. */
EMULATED float emulated_above_32nd(float x) {
    const double c = -floor(32.0 * (double)x) / 32, sum = c + (double)x, lost = (double)x - (sum - c);
    const float near = sum == 0 ? -0.0f : (float)sum;
    return (double)near > sum || ((double)near == sum && lost < 0) ? nextafterf(near, -INFINITY) : near;
}

static __attribute__((noinline, unused)) __m512 emulated_reduce_32nds(__m512 a) {
    emulated_floats x = (emulated_floats)a;
    for (int i = 0; i < 16; i++)
        x[i] = x[i] != x[i] ? x[i] : !(fabsf(x[i]) < 0x1p18f) ? 0.0f : emulated_above_32nd(x[i]);
    return (__m512)x;
}

static __attribute__((noinline, unused)) __m512 emulated_scalef(__m512 a, __m512 b) {
    emulated_floats x = (emulated_floats)a, power = (emulated_floats)b;
    for (int i = 0; i < 16; i++) {
        const double n = power[i] < -1000 ? -1000 : power[i] > 1000 ? 1000 : floor((double)power[i]);
        x[i] = power[i] != power[i] ? power[i] : (float)ldexp((double)x[i], (int)n);
    }
    return (__m512)x;
}

/* Volatile, so that the sum is formed in its mode. */
static __attribute__((noinline, unused)) __m512 emulated_add_down(__m512 a, __m512 b) {
    const unsigned mode = _mm_getcsr();
    volatile emulated_floats x = (emulated_floats)a, y = (emulated_floats)b, sum;
    _mm_setcsr((mode & ~(unsigned)_MM_ROUND_MASK) | _MM_ROUND_DOWN);
    sum = x + y;
    _mm_setcsr(mode);
    return (__m512)sum;
}

EMULATED __mmask16 emulated_cmplt_epi32(__m512i a, __m512i b) {
    return emulated_mask((emulated_ints)a < (emulated_ints)b);
}

EMULATED __mmask16 emulated_cmple_epi32(__m512i a, __m512i b) {
    return emulated_mask((emulated_ints)a <= (emulated_ints)b);
}

EMULATED __mmask16 emulated_cmpneq_epi32(__m512i a, __m512i b) {
    return emulated_mask((emulated_ints)a != (emulated_ints)b);
}

#undef _mm512_mask3_fmadd_ps
#undef _mm512_reduce_ps
#undef _mm512_add_round_ps
#undef _mm512_scalef_ps
#undef _mm512_cmplt_epi32_mask
#undef _mm512_cmpge_epi32_mask
#undef _mm512_cmple_epi32_mask
#undef _mm512_cmpneq_epi32_mask
#define _mm512_mask3_fmadd_ps(a, b, c, k) emulated_mask3_fmadd_ps(a, b, c, k)
#define _mm512_reduce_ps(a, imm)                                                                                       \
    ((void)sizeof(char[(imm) == 3 << 4 || (imm) == (5 << 4 | 1) ? 1 : -1]),                                            \
     (imm) == 3 << 4 ? emulated_reduce_eighths(a) : emulated_reduce_32nds(a))
#define _mm512_add_round_ps(a, b, mode)                                                                                \
    ((void)sizeof(char[(mode) == (_MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC) ? 1 : -1]), emulated_add_down(a, b))
#define _mm512_scalef_ps(a, b)         emulated_scalef(a, b)
#define _mm512_cmplt_epi32_mask(a, b)  emulated_cmplt_epi32(a, b)
#define _mm512_cmpge_epi32_mask(a, b)  emulated_cmple_epi32(b, a)
#define _mm512_cmple_epi32_mask(a, b)  emulated_cmple_epi32(a, b)
#define _mm512_cmpneq_epi32_mask(a, b) emulated_cmpneq_epi32(a, b)

/* ---------------------------------------------------------------- conversions and shifts */

#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps(a, half)                                                                                \
    simde_mm256_castpd_ps(simde_mm512_extractf64x4_pd(simde_mm512_castps_pd(a), half))

EMULATED __m512i emulated_join(__m256i low, __m256i high) {
    return simde_mm512_inserti64x4(simde_mm512_castsi256_si512(low), high, 1);
}

#define _mm512_zextps256_ps512(a)                                                                                      \
    simde_mm512_castsi512_ps(emulated_join(simde_mm256_castps_si256(a), simde_mm256_setzero_si256()))

EMULATED __m512i emulated_cvtps_epi32(__m512 a) {
    return emulated_join(simde_mm256_cvtps_epi32(_mm512_extractf32x8_ps(a, 0)),
                         simde_mm256_cvtps_epi32(_mm512_extractf32x8_ps(a, 1)));
}

EMULATED __m512i emulated_cvttps_epi32(__m512 a) {
    return emulated_join(simde_mm256_cvttps_epi32(_mm512_extractf32x8_ps(a, 0)),
                         simde_mm256_cvttps_epi32(_mm512_extractf32x8_ps(a, 1)));
}

EMULATED __m512 emulated_cvtepi32_ps(__m512i a) {
    return (__m512) __builtin_convertvector((emulated_ints)a, emulated_floats);
}

EMULATED __m512i emulated_cvtepu16_epi32(__m256i a) {
    return emulated_join(simde_mm256_cvtepu16_epi32(simde_mm256_castsi256_si128(a)),
                         simde_mm256_cvtepu16_epi32(simde_mm256_extracti128_si256(a, 1)));
}

EMULATED __m512i emulated_cvtepi8_epi32(__m128i a) {
    return emulated_join(simde_mm256_cvtepi8_epi32(a), simde_mm256_cvtepi8_epi32(simde_mm_srli_si128(a, 8)));
}

/* F16C is there with AVX2 and FMA. */
EMULATED __m512 emulated_cvtph_ps(__m256i a) {
    const __m256 low = _mm256_cvtph_ps(simde_mm256_castsi256_si128(a)),
                 high = _mm256_cvtph_ps(simde_mm256_extracti128_si256(a, 1));
    return simde_mm512_castsi512_ps(emulated_join(simde_mm256_castps_si256(low), simde_mm256_castps_si256(high)));
}

EMULATED __m256i emulated_cvtps_ph(__m512 a) {
    return _mm256_set_m128i(_mm256_cvtps_ph(_mm512_extractf32x8_ps(a, 1), 0),
                            _mm256_cvtps_ph(_mm512_extractf32x8_ps(a, 0), 0));
}

typedef short emulated_shorts __attribute__((vector_size(32), may_alias));
typedef signed char emulated_bytes __attribute__((vector_size(16), may_alias));

EMULATED __m256i emulated_cvtepi32_epi16(__m512i a) {
    return (__m256i) __builtin_convertvector((emulated_ints)a, emulated_shorts);
}

EMULATED __m128i emulated_cvtepi32_epi8(__m512i a) {
    return (__m128i) __builtin_convertvector((emulated_ints)a, emulated_bytes);
}

#undef _mm512_cvtps_ph
#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtps_ph(a, rounding) emulated_cvtps_ph(a)
#define _mm512_cvtepi32_epi16(a)     emulated_cvtepi32_epi16(a)
#define _mm512_cvtepi32_epi8(a)      emulated_cvtepi32_epi8(a)
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtepi8_epi32
#undef _mm512_cvtph_ps
#define _mm512_cvtepu16_epi32(a) emulated_cvtepu16_epi32(a)
#define _mm512_cvtepi8_epi32(a)  emulated_cvtepi8_epi32(a)
#define _mm512_cvtph_ps(a)       emulated_cvtph_ps(a)
#undef _mm512_cvtps_epi32
#undef _mm512_cvttps_epi32
#undef _mm512_cvtepi32_ps
#undef _mm512_srai_epi32
#define _mm512_cvtps_epi32(a)   emulated_cvtps_epi32(a)
#define _mm512_cvttps_epi32(a)  emulated_cvttps_epi32(a)
#define _mm512_cvtepi32_ps(a)   emulated_cvtepi32_ps(a)
#define _mm512_srai_epi32(a, n) ((__m512i)((emulated_ints)(a) >> ((n) < 31 ? (int)(n) : 31)))

/* ---------------------------------------------------------------- lanes that change places */

#undef _mm512_permute_ps
#undef _mm512_shuffle_f32x4
#define _mm512_permute_ps(a, imm) simde_mm512_shuffle_ps(a, a, imm)
#define _mm512_shuffle_f32x4(a, b, imm)                                                                                \
    simde_mm512_castsi512_ps(simde_mm512_shuffle_i32x4(simde_mm512_castps_si512(a), simde_mm512_castps_si512(b), imm))

/* ---------------------------------------------------------------- memory under a mask: other lanes are not touched */

EMULATED __m512 emulated_mask_loadu_ps(__m512 src, __mmask16 k, const void *p) {
    const float *from = (const float *)p;
    emulated_floats a = (emulated_floats)src;
    for (int i = 0; i < 16; i++)
        if (k >> i & 1)
            a[i] = from[i];
    return (__m512)a;
}

EMULATED void emulated_mask_storeu_ps(void *p, __mmask16 k, __m512 a) {
    float *to = (float *)p;
    emulated_floats lanes = (emulated_floats)a;
    for (int i = 0; i < 16; i++)
        if (k >> i & 1)
            to[i] = lanes[i];
}

#undef _mm512_mask_loadu_ps
#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_load_ps
#undef _mm512_maskz_load_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_mask_store_ps
#define _mm512_mask_loadu_ps(src, k, p) emulated_mask_loadu_ps(src, k, p)
#define _mm512_maskz_loadu_ps(k, p)     emulated_mask_loadu_ps(simde_mm512_setzero_ps(), k, p)
#define _mm512_mask_load_ps(src, k, p)  emulated_mask_loadu_ps(src, k, p)
#define _mm512_maskz_load_ps(k, p)      emulated_mask_loadu_ps(simde_mm512_setzero_ps(), k, p)
#define _mm512_mask_storeu_ps(p, k, a)  emulated_mask_storeu_ps(p, k, a)
#define _mm512_mask_store_ps(p, k, a)   emulated_mask_storeu_ps(p, k, a)

/* ---------------------------------------------------------------- pairs of bf16, as Intel's manual has them
 * Two multiply-adds, the second elements first; subnormal operands and results are zeros of their sign. */

#include <immintrin.h> /* for the type */

EMULATED __m512 emulated_flushed(__m512 a) {
    const emulated_ints bits = (emulated_ints)a, sign = bits & (int32_t)0x80000000;
    const emulated_ints subnormal = (bits & 0x7fffffff) < 0x00800000;
    return (__m512)((subnormal & sign) | (~subnormal & bits));
}

/* A call, or the compiler takes minutes over kernels that are made of it. */
static __attribute__((noinline, unused)) __m512 emulated_dpbf16_ps(__m512 sum, emulated_ints a, emulated_ints b) {
    const __m512 a0 = (__m512)(a << 16), b0 = (__m512)(b << 16);
    const __m512 a1 = (__m512)(a & (int32_t)0xffff0000), b1 = (__m512)(b & (int32_t)0xffff0000);
    sum = emulated_flushed(simde_mm512_fmadd_ps(emulated_flushed(a1), emulated_flushed(b1), emulated_flushed(sum)));
    return emulated_flushed(simde_mm512_fmadd_ps(emulated_flushed(a0), emulated_flushed(b0), sum));
}

/* To nearest, ties to even; a NaN stays one, quiet. */
EMULATED __m256i emulated_cvtneps_pbh(__m512 a) {
    const emulated_ints bits = (emulated_ints)emulated_flushed(a), upper = bits >> 16;
    const emulated_ints is_nan = (bits & 0x7fffffff) > 0x7f800000;
    const emulated_ints rounded = (bits + 0x7fff + (upper & 1)) >> 16;
    return (__m256i) __builtin_convertvector((is_nan & (upper | 0x40)) | (~is_nan & rounded), emulated_shorts);
}

typedef short emulated_words __attribute__((vector_size(64), may_alias));

EMULATED __mmask32 emulated_cmpeq_epi16(__m512i a, __m512i b) {
    const emulated_words x = (emulated_words)a, y = (emulated_words)b;
    __mmask32 k = 0;
    for (int i = 0; i < 32; i++)
        k |= (__mmask32)(x[i] == y[i]) << i;
    return k;
}

EMULATED __m512i emulated_maskz_and(__mmask16 k, __m512i a, __m512i b) {
    emulated_ints r = (emulated_ints)a & (emulated_ints)b;
    for (int i = 0; i < 16; i++)
        r[i] = k >> i & 1 ? r[i] : 0;
    return (__m512i)r;
}

#undef _mm512_dpbf16_ps
#undef _mm512_cvtne2ps_pbh
#undef _mm512_cmpeq_epi16_mask
#undef _mm512_maskz_and_epi32
#define _mm512_dpbf16_ps(sum, a, b)     emulated_dpbf16_ps(sum, (emulated_ints)(a), (emulated_ints)(b))
#define _mm512_cvtne2ps_pbh(a, b)       ((__m512bh)emulated_join(emulated_cvtneps_pbh(b), emulated_cvtneps_pbh(a)))
#define _mm512_cmpeq_epi16_mask(a, b)   emulated_cmpeq_epi16(a, b)
#define _mm512_maskz_and_epi32(k, a, b) emulated_maskz_and(k, a, b)

/* ---------------------------------------------------------------- AMX, as Intel's manual has it
 * A register of 8 for each thread. Whoever uses them without having made them ready ends there, as on a processor.
 */

static _Thread_local struct {
    _Alignas(64) float word[8][16][16];
    unsigned char shapes[64]; /* of the registers: bytes of a row from 16 on, rows from 48 on; palette 0: not ready */
} emulated_tiles __attribute__((unused));

EMULATED int emulated_tile_rows(int tile) {
    if (emulated_tiles.shapes[0] != 1)
        __builtin_trap();
    return emulated_tiles.shapes[48 + tile];
}

EMULATED int emulated_tile_bytes(int tile) { return emulated_tiles.shapes[16 + 2 * tile]; }

EMULATED void emulated_tile_loadconfig(const void *shapes) { memcpy(emulated_tiles.shapes, shapes, 64); }

EMULATED void emulated_tile_release(void) { memset(&emulated_tiles, 0, sizeof emulated_tiles); }

EMULATED void emulated_tile_zero(int tile) {
    if (emulated_tile_rows(tile))
        memset(emulated_tiles.word[tile], 0, sizeof emulated_tiles.word[tile]);
}

EMULATED void emulated_tile_load(int tile, const void *from, ptrdiff_t stride) {
    emulated_tile_zero(tile);
    for (int r = 0; r < emulated_tile_rows(tile); r++)
        memcpy(emulated_tiles.word[tile][r], (const char *)from + r * stride, (size_t)emulated_tile_bytes(tile));
}

EMULATED void emulated_tile_store(int tile, void *to, ptrdiff_t stride) {
    for (int r = 0; r < emulated_tile_rows(tile); r++)
        memcpy((char *)to + r * stride, emulated_tiles.word[tile][r], (size_t)emulated_tile_bytes(tile));
}

EMULATED __m512 emulated_add_products(__m512 sum, emulated_ints a, emulated_ints b) {
    return simde_mm512_fmadd_ps((__m512)a, (__m512)b, sum);
}

static __attribute__((noinline, unused)) void emulated_tile_add_dots(int sum, int left, int right) {
    for (int m = 0; m < emulated_tile_rows(sum); m++) {
        __m512 first = simde_mm512_setzero_ps(), second = first, *row = (__m512 *)emulated_tiles.word[sum][m];
        for (int k = 0; k < emulated_tile_bytes(left) / 4; k++) {
            const emulated_ints a = (emulated_ints)simde_mm512_set1_ps(emulated_tiles.word[left][m][k]),
                                b = *(emulated_ints *)emulated_tiles.word[right][k];
            first = emulated_add_products(first, a << 16, b << 16);
            second = emulated_add_products(second, a & (int32_t)0xffff0000, b & (int32_t)0xffff0000);
        }
        const __m512 both = simde_mm512_add_ps(first, second);
        *row = simde_mm512_add_ps(*row, both);
    }
}

/* Under the mode that rounds as the instruction does; arithmetic could move across what sets it. */
static __attribute__((noinline, unused)) void emulated_tile_dpbf16ps(int sum, int left, int right) {
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040); /* flush to zero, denormals are zero */
    emulated_tile_add_dots(sum, left, right);
    _mm_setcsr(mode);
}

EMULATED __m512i emulated_maskz_loadu_epi8(uint64_t bytes, const void *from) {
    __m512i loaded = simde_mm512_setzero_si512();
    for (int i = 0; i < 64; i++)
        if (bytes >> i & 1)
            memcpy((char *)&loaded + i, (const char *)from + i, 1);
    return loaded;
}
EMULATED __m128i emulated_maskz_loadu_epi8_16(uint16_t bytes, const void *from) {
    char loaded[16] = {0};
    for (int i = 0; i < 16; i++)
        if (bytes >> i & 1)
            memcpy(loaded + i, (const char *)from + i, 1);
    return simde_mm_loadu_si128(loaded);
}
EMULATED void emulated_mask_storeu_epi32(void *to, uint16_t words, __m512i a) {
    for (int i = 0; i < 16; i++)
        if (words >> i & 1)
            memcpy((char *)to + 4 * i, (const char *)&a + 4 * i, 4);
}
#undef _mm512_mask_storeu_epi32
#define _mm512_mask_storeu_epi32(to, words, a) emulated_mask_storeu_epi32(to, words, a)

EMULATED int emulated_reduce_add_epi32(__m512i a) {
    uint32_t sum = 0;
    for (int i = 0; i < 16; i++)
        sum += (uint32_t)((emulated_ints)a)[i];
    return (int)sum;
}
#undef _mm512_reduce_add_epi32
#define _mm512_reduce_add_epi32(a) emulated_reduce_add_epi32(a)
#undef _mm_maskz_loadu_epi8
#define _mm_maskz_loadu_epi8(bytes, from) emulated_maskz_loadu_epi8_16(bytes, from)
#undef _mm512_maskz_loadu_epi8
#define _mm512_maskz_loadu_epi8(bytes, from) emulated_maskz_loadu_epi8(bytes, from)

/* Bytes of the left and of the right one, with a sign or without. */
static __attribute__((noinline, unused)) void emulated_tile_dp_bytes(int sum, int left, int right, bool left_signed,
                                                                     bool right_signed) {
    for (int m = 0; m < emulated_tile_rows(sum); m++)
        for (int k = 0; k < emulated_tile_bytes(left); k++) {
            const unsigned char a = ((const unsigned char *)emulated_tiles.word[left][m])[k];
            const int32_t factor = left_signed ? (signed char)a : a;
            for (int n = 0; n < emulated_tile_bytes(sum) / 4; n++) {
                const unsigned char b = ((const unsigned char *)&emulated_tiles.word[right][k / 4][n])[k % 4];
                int32_t word;
                memcpy(&word, &emulated_tiles.word[sum][m][n], sizeof word);
                word += factor * (right_signed ? (signed char)b : b);
                memcpy(&emulated_tiles.word[sum][m][n], &word, sizeof word);
            }
        }
}

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#undef _tile_dpbssd
#undef _tile_dpbsud
#undef _tile_dpbusd
#define _tile_loadconfig(shapes)               emulated_tile_loadconfig(shapes)
#define _tile_release()                        emulated_tile_release()
#define _tile_zero(tile)                       emulated_tile_zero(tile)
#define _tile_loadd(tile, from, stride)        emulated_tile_load(tile, from, stride)
#define _tile_stream_loadd(tile, from, stride) emulated_tile_load(tile, from, stride)
#define _tile_stored(tile, to, stride)         emulated_tile_store(tile, to, stride)
#define _tile_dpbf16ps(sum, left, right)       emulated_tile_dpbf16ps(sum, left, right)
#define _tile_dpbssd(sum, left, right)         emulated_tile_dp_bytes(sum, left, right, true, true)
#define _tile_dpbsud(sum, left, right)         emulated_tile_dp_bytes(sum, left, right, true, false)
#define _tile_dpbusd(sum, left, right)         emulated_tile_dp_bytes(sum, left, right, false, true)

#undef EMULATED
#endif
