/* SPDX-License-Identifier: MIT */
/* What emulated_avx512.h makes of the intrinsics against what the instructions do, as Intel's manual has it: one
 * rounding in a multiply-add, NaNs and zeros in maxima and comparisons, what masks leave alone, where lanes go. */
#include <limits.h>
#include <math.h>

#include "elements.h"
#include "fenced.h"
#include "inside.h"

enum { N = 16 };

/* Sixteen lanes as numbers; loads and stores are tested by everything here. */
struct lanes {
    _Alignas(64) float f[N];
};

struct ints {
    _Alignas(64) int32_t i[N];
};

static struct lanes of_ps(__m512 a) {
    struct lanes r;
    _mm512_store_ps(r.f, a);
    return r;
}

static struct ints of_si(__m512i a) {
    struct ints r;
    _mm512_store_si512(r.i, a);
    return r;
}

static __m512 ps(const struct lanes *a) { return _mm512_load_ps(a->f); }
static __m512i si(const struct ints *a) { return _mm512_load_si512(a->i); }

static float roll_special(struct dice *dice) {
    static const float values[] = {0.0f,      -0.0f,      1.0f,     -1.0f, INFINITY, -INFINITY,
                                   0x1p-149f, -0x1p-149f, 0x1p126f, 1.5f,  -2.5f,    2.5f};
    unsigned at = (unsigned)(roll(dice) % 20);
    if (at < 12)
        return values[at];
    return at < 14 ? float_of(0x7fc00000u | (uint32_t)(roll(dice) & 0xffff) | (at == 12 ? 0x80000000u : 0))
                   : 4 * roll_unit(dice);
}

static struct lanes roll_lanes(struct dice *dice) {
    struct lanes a;
    for (int i = 0; i < N; i++)
        a.f[i] = roll_special(dice);
    return a;
}

static struct ints roll_ints(struct dice *dice) {
    static const int32_t values[] = {0, 1, -1, 5, INT_MIN, INT_MAX, INT_MIN + 1, 0x2000001};
    struct ints a;
    for (int i = 0; i < N; i++)
        a.i[i] = roll_one_in(dice, 2) ? values[roll(dice) % 8] : (int32_t)roll(dice);
    return a;
}

/* Bit for bit, NaNs with what they carry. */
static void lane_is(const char *what, int i, float got, float wanted) {
    must(bits_of(got) == bits_of(wanted), "%s: lane %d is %a, expected %a", what, i, (double)got, (double)wanted);
}

/* The same for sums and products: which of two NaNs they pass on is up to the compiler. */
static void result_is(const char *what, int i, float got, float wanted) {
    must(same_float(got, wanted), "%s: lane %d is %a, expected %a", what, i, (double)got, (double)wanted);
}

enum { ROUNDS = 2000 };

/* ---------------------------------------------------------------- arithmetic */

START_TEST(a_multiply_add_rounds_once) {
    struct dice dice = {1};
    /* The square of 1 + 2^-12 is 1 + 2^-11 + 2^-24: rounded by itself it loses its tail, which is all that is left. */
    __m512 x = _mm512_set1_ps(1 + 0x1p-12f), minus = _mm512_set1_ps(-(1 + 0x1p-11f));
    struct lanes tail = of_ps(_mm512_fmadd_ps(x, x, minus)), none = of_ps(x * x + minus);
    for (int i = 0; i < N; i++) {
        lane_is("fused", i, tail.f[i], 0x1p-24f);
        lane_is("not fused", i, none.f[i], 0.0f);
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct lanes a = roll_lanes(&dice), b = roll_lanes(&dice), c = roll_lanes(&dice);
        struct lanes r = of_ps(_mm512_fmadd_ps(ps(&a), ps(&b), ps(&c)));
        for (int i = 0; i < N; i++)
            result_is("fmadd", i, r.f[i], fmaf(a.f[i], b.f[i], c.f[i]));
    }
}
END_TEST

START_TEST(maxima_take_the_second_of_nans_and_zeros) {
    struct dice dice = {2};
    for (int round = 0; round < ROUNDS; round++) {
        struct lanes a = roll_lanes(&dice), b = roll_lanes(&dice);
        struct lanes most = of_ps(_mm512_max_ps(ps(&a), ps(&b))), least = of_ps(_mm512_min_ps(ps(&a), ps(&b)));
        for (int i = 0; i < N; i++) {
            lane_is("max", i, most.f[i], a.f[i] > b.f[i] ? a.f[i] : b.f[i]);
            lane_is("min", i, least.f[i], a.f[i] < b.f[i] ? a.f[i] : b.f[i]);
        }
    }
}
END_TEST

/* As on processors that have them: what was looked up with one. */
START_TEST(powers_and_their_rests) {
    static const struct {
        float x, above, sum, scaled; /* x above a 32nd; 393216 + x, rounded down; 1.5 times 2^(the whole of x) */
    } known[] = {{0.0f, -0.0f, 393216.0f, 1.5f},
                 {-0x1p-149f, 0x1.fffffep-6f, 0x1.7ffffep18f, 0.75f},
                 {-0x1.80024p-26f, 0x1.ffffe6p-6f, 0x1.7ffffep18f, 0.75f},
                 {-0x1p-5f, -0.0f, 0x1.7ffffep18f, 0.75f},
                 {-0x1.8p-5f, 0x1p-6f, 0x1.7ffffcp18f, 0.75f},
                 {-1.0f, -0.0f, 393215.0f, 0.75f},
                 {-126.5f, -0.0f, 393089.5f, 0x1.8p-127f},
                 {-200.0f, -0.0f, 393016.0f, 0.0f},
                 {-INFINITY, 0.0f, -INFINITY, 0.0f},
                 {NAN, NAN, NAN, NAN}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const __m512 x = _mm512_set1_ps(known[i].x);
        const struct lanes above = of_ps(_mm512_reduce_ps(x, 5 << 4 | _MM_FROUND_TO_NEG_INF));
        const struct lanes sum =
            of_ps(_mm512_add_round_ps(x, _mm512_set1_ps(393216.0f), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
        const struct lanes scaled = of_ps(_mm512_scalef_ps(_mm512_set1_ps(1.5f), x));
        for (int k = 0; k < N; k++) {
            result_is("reduce", k, above.f[k], known[i].above);
            result_is("add_round", k, sum.f[k], known[i].sum);
            result_is("scalef", k, scaled.f[k], known[i].scaled);
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- masks */

START_TEST(masks_choose_lanes) {
    struct dice dice = {3};
    for (int round = 0; round < ROUNDS; round++) {
        struct lanes a = roll_lanes(&dice), b = roll_lanes(&dice), c = roll_lanes(&dice);
        __mmask16 k = (__mmask16)roll(&dice);
        struct lanes sum = of_ps(_mm512_fmadd_ps(ps(&a), ps(&b), ps(&c))), product = of_ps(ps(&a) * ps(&b));
        struct lanes blend = of_ps(_mm512_mask_blend_ps(k, ps(&a), ps(&b)));
        struct lanes mask3 = of_ps(_mm512_mask3_fmadd_ps(ps(&a), ps(&b), ps(&c), k));
        struct lanes maskz = of_ps(_mm512_maskz_mul_ps(k, ps(&a), ps(&b)));
        for (int i = 0; i < N; i++) {
            bool set = k >> i & 1;
            lane_is("blend", i, blend.f[i], set ? b.f[i] : a.f[i]);
            result_is("mask3_fmadd", i, mask3.f[i], set ? sum.f[i] : c.f[i]);
            result_is("maskz_mul", i, maskz.f[i], set ? product.f[i] : 0.0f);
        }
    }
}
END_TEST

static bool nan_in(float a, float b) { return a != a || b != b; }

/* The lanes' truth as a mask. */
#define MASK_OF(condition)                                                                                             \
    __extension__({                                                                                                    \
        unsigned mask_ = 0;                                                                                            \
        for (int i = 0; i < N; i++)                                                                                    \
            mask_ |= (unsigned)((condition) != 0) << i;                                                                \
        mask_;                                                                                                         \
    })

#define CHECK_PS(predicate, condition)                                                                                 \
    must(_mm512_cmp_ps_mask(ps(&a), ps(&b), predicate) == MASK_OF(condition), #predicate)

START_TEST(nans_compare_as_the_predicate_says) {
    struct dice dice = {4};
    for (int round = 0; round < ROUNDS; round++) {
        struct lanes a = roll_lanes(&dice), b = roll_lanes(&dice);
        CHECK_PS(_CMP_EQ_OQ, a.f[i] == b.f[i]);
        CHECK_PS(_CMP_LT_OQ, a.f[i] < b.f[i]);
        CHECK_PS(_CMP_LE_OQ, a.f[i] <= b.f[i]);
        CHECK_PS(_CMP_GT_OQ, a.f[i] > b.f[i]);
        CHECK_PS(_CMP_GE_OQ, a.f[i] >= b.f[i]);
        CHECK_PS(_CMP_NEQ_UQ, a.f[i] != b.f[i]);
        CHECK_PS(_CMP_NLT_UQ, !(a.f[i] < b.f[i]));
        CHECK_PS(_CMP_NLE_UQ, !(a.f[i] <= b.f[i]));
        CHECK_PS(_CMP_NGT_UQ, !(a.f[i] > b.f[i]));
        CHECK_PS(_CMP_NGE_UQ, !(a.f[i] >= b.f[i]));
        CHECK_PS(_CMP_UNORD_Q, nan_in(a.f[i], b.f[i]));
        CHECK_PS(_CMP_ORD_Q, !nan_in(a.f[i], b.f[i]));
    }
}
END_TEST

START_TEST(integers_compare_with_their_signs) {
    struct dice dice = {5};
    for (int round = 0; round < ROUNDS; round++) {
        struct ints a = roll_ints(&dice), b = roll_ints(&dice);
        a.i[round % N] = b.i[round % N];
        must(_mm512_cmplt_epi32_mask(si(&a), si(&b)) == MASK_OF(a.i[i] < b.i[i]), "cmplt");
        must(_mm512_cmple_epi32_mask(si(&a), si(&b)) == MASK_OF(a.i[i] <= b.i[i]), "cmple");
        must(_mm512_cmpgt_epi32_mask(si(&a), si(&b)) == MASK_OF(a.i[i] > b.i[i]), "cmpgt");
        must(_mm512_cmpge_epi32_mask(si(&a), si(&b)) == MASK_OF(a.i[i] >= b.i[i]), "cmpge");
        must(_mm512_cmpeq_epi32_mask(si(&a), si(&b)) == MASK_OF(a.i[i] == b.i[i]), "cmpeq");
        must(_mm512_cmpneq_epi32_mask(si(&a), si(&b)) == MASK_OF(a.i[i] != b.i[i]), "cmpneq");
    }
}
END_TEST

/* ---------------------------------------------------------------- integers */

/* Ties to the even one; what is no int32 becomes INT_MIN. */
static int32_t int_of(float x) { return x >= -0x1p31f && x < 0x1p31f ? (int32_t)x : INT_MIN; }

START_TEST(floats_become_integers_and_back) {
    struct dice dice = {6};
    for (int round = 0; round < ROUNDS; round++) {
        struct lanes a = roll_lanes(&dice);
        struct ints n = roll_ints(&dice);
        struct ints near = of_si(_mm512_cvtps_epi32(ps(&a))), cut = of_si(_mm512_cvttps_epi32(ps(&a)));
        struct ints left = of_si(_mm512_slli_epi32(si(&n), 23)), right = of_si(_mm512_srai_epi32(si(&n), 23));
        struct lanes back = of_ps(_mm512_cvtepi32_ps(si(&n)));
        for (int i = 0; i < N; i++) {
            must(near.i[i] == int_of(rintf(a.f[i])), "%a to the nearest: %d", (double)a.f[i], near.i[i]);
            must(cut.i[i] == int_of(a.f[i]), "%a cut: %d", (double)a.f[i], cut.i[i]);
            must(left.i[i] == (int32_t)((uint32_t)n.i[i] << 23), "%d << 23: %d", n.i[i], left.i[i]);
            must(right.i[i] == n.i[i] >> 23, "%d >> 23: %d", n.i[i], right.i[i]);
            lane_is("from an integer", i, back.f[i], (float)n.i[i]);
        }
    }
}
END_TEST

/* Halves to nearest, ties to even; integers lose their upper bits. */
START_TEST(lanes_become_narrow_and_wide_again) {
    struct dice dice = {8};
    for (int round = 0; round < ROUNDS; round++) {
        struct lanes a = roll_lanes(&dice), wide;
        struct ints b = roll_ints(&dice), c = roll_ints(&dice), widened;
        uint16_t halves[N], half, words[N];
        int8_t bytes[N];
        for (int i = 0; i < N; i++)
            a.f[i] = round % 2 ? a.f[i] : float_of(0x38000000u + (uint32_t)roll_between(&dice, 0, 0x10000000));
        _mm256_storeu_si256((__m256i *)(void *)halves, _mm512_cvtps_ph(ps(&a), _MM_FROUND_TO_NEAREST_INT));
        _mm256_storeu_si256((__m256i *)(void *)words, _mm512_cvtepi32_epi16(si(&b)));
        _mm_storeu_si128((__m128i *)(void *)bytes, _mm512_cvtepi32_epi8(si(&b)));
        wide = of_ps(_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)words)));
        for (int i = 0; i < N; i++) {
            element_store(SA_F16, (double)a.f[i], &half);
            must(halves[i] == half, "cvtps_ph: lane %d of %a is %x, expected %x", i, (double)a.f[i], halves[i], half);
            must(words[i] == (uint16_t)b.i[i] && bytes[i] == (int8_t)b.i[i], "cvtepi32: lane %d of %d", i, b.i[i]);
            result_is("cvtph_ps", i, wide.f[i], (float)element_value(SA_F16, &words[i]));
        }
        widened = of_si(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)words)));
        struct ints of_bytes = of_si(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)bytes)));
        struct ints most = of_si(_mm512_max_epi32(si(&b), si(&c)));
        for (int i = 0; i < N; i++)
            must(widened.i[i] == words[i] && of_bytes.i[i] == bytes[i] &&
                     most.i[i] == (b.i[i] > c.i[i] ? b.i[i] : c.i[i]),
                 "integers: lane %d of %d and %d", i, b.i[i], c.i[i]);
    }
}
END_TEST

/* ---------------------------------------------------------------- places */

/* Lanes as named by their place: a is 0 .. 15, b 16 .. 31. */
static void places(const char *what, __m512 got, const int wanted[N]) {
    struct lanes r = of_ps(got);
    for (int i = 0; i < N; i++)
        must(r.f[i] == (float)wanted[i], "%s: lane %d holds %g, expected %d", what, i, (double)r.f[i], wanted[i]);
}

#define PLACES(call, ...) places(#call, call, (const int[N]){__VA_ARGS__})

START_TEST(lanes_go_where_they_should) {
    struct lanes low, high;
    struct ints back;
    for (int i = 0; i < N; i++)
        low.f[i] = (float)i, high.f[i] = (float)(16 + i), back.i[i] = 31 - 2 * i;
    __m512 a = ps(&low), b = ps(&high);
    __m512d ad = _mm512_castps_pd(a), bd = _mm512_castps_pd(b);
    PLACES(_mm512_unpacklo_ps(a, b), 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
    PLACES(_mm512_unpackhi_ps(a, b), 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
    PLACES(_mm512_castpd_ps(_mm512_unpacklo_pd(ad, bd)), 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
    PLACES(_mm512_castpd_ps(_mm512_unpackhi_pd(ad, bd)), 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    PLACES(_mm512_shuffle_ps(a, b, 0x1b), 3, 2, 17, 16, 7, 6, 21, 20, 11, 10, 25, 24, 15, 14, 29, 28);
    PLACES(_mm512_permute_ps(a, 0x1b), 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
    PLACES(_mm512_shuffle_f32x4(a, b, 0x8d), 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19, 24, 25, 26, 27);
    PLACES(_mm512_permutex2var_ps(a, si(&back), b), 31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    PLACES(_mm512_permutexvar_ps(si(&back), a), 15, 13, 11, 9, 7, 5, 3, 1, 15, 13, 11, 9, 7, 5, 3, 1);
    PLACES(_mm512_insertf32x4(a, _mm512_extractf32x4_ps(b, 2), 1), 0, 1, 2, 3, 24, 25, 26, 27, 8, 9, 10, 11, 12, 13, 14,
           15);
    PLACES(_mm512_insertf32x8(a, _mm512_extractf32x8_ps(b, 1), 0), 24, 25, 26, 27, 28, 29, 30, 31, 8, 9, 10, 11, 12, 13,
           14, 15);
}
END_TEST

/* ---------------------------------------------------------------- memory */

START_TEST(lanes_outside_of_a_mask_touch_no_memory) {
    struct fenced fenced = fenced_map(64);
    struct dice dice = {7};
    for (int n = 0; n <= N; n++) {
        struct lanes a = roll_lanes(&dice), c = roll_lanes(&dice);
        __mmask16 k = (__mmask16)((1u << n) - 1);
        float *p = fenced.end - n;
        _mm512_mask_storeu_ps(p, k, ps(&a));
        struct lanes zero = of_ps(_mm512_maskz_loadu_ps(k, p)), kept = of_ps(_mm512_mask_loadu_ps(ps(&c), k, p));
        for (int i = 0; i < N; i++) {
            lane_is("maskz_loadu", i, zero.f[i], i < n ? a.f[i] : 0.0f);
            lane_is("mask_loadu", i, kept.f[i], i < n ? a.f[i] : c.f[i]);
        }
    }
    fenced_unmap(&fenced);
}
END_TEST

START_TEST(bytes_outside_of_a_mask_touch_no_memory) {
    struct fenced fenced = fenced_map(64);
    for (int n = 0; n <= 64; n++) {
        char *p = (char *)fenced.end - n, got[64];
        for (int i = 0; i < n; i++)
            p[i] = (char)(3 * i + n);
        memset(got, 1, sizeof got);
        _mm512_storeu_si512(got, _mm512_maskz_loadu_epi8(n < 64 ? ((__mmask64)1 << n) - 1 : ~(__mmask64)0, p));
        for (int i = 0; i < 64; i++)
            must(got[i] == (i < n ? (char)(3 * i + n) : 0), "maskz_loadu_epi8: byte %d of %d", i, n);
        memset(got, 1, sizeof got);
        if (n <= 16)
            _mm_storeu_si128((__m128i *)(void *)got, _mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1), p));
        for (int i = 0; i < 16 && n <= 16; i++)
            must(got[i] == (i < n ? (char)(3 * i + n) : 0), "maskz_loadu_epi8 of 16: byte %d of %d", i, n);
    }
    fenced_unmap(&fenced);
}
END_TEST

START_TEST(words_are_stored_and_added_up) {
    struct fenced fenced = fenced_map(64);
    struct dice dice = {9};
    for (int n = 0; n <= N; n++) {
        struct ints a = roll_ints(&dice);
        uint32_t sum = 0;
        int32_t *p = (int32_t *)(void *)fenced.end - n;
        _mm512_mask_storeu_epi32(p, (__mmask16)((1u << n) - 1), si(&a));
        for (int i = 0; i < N; i++) {
            must(i >= n || p[i] == a.i[i], "mask_storeu_epi32: word %d of %d", i, n);
            sum += (uint32_t)a.i[i];
        }
        must(_mm512_reduce_add_epi32(si(&a)) == (int32_t)sum, "reduce_add_epi32");
    }
    fenced_unmap(&fenced);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("emulated");
    TCase *tcase = add_case(suite, "intrinsics");
    tcase_add_test(tcase, a_multiply_add_rounds_once);
    tcase_add_test(tcase, maxima_take_the_second_of_nans_and_zeros);
    tcase_add_test(tcase, powers_and_their_rests);
    tcase_add_test(tcase, masks_choose_lanes);
    tcase_add_test(tcase, nans_compare_as_the_predicate_says);
    tcase_add_test(tcase, integers_compare_with_their_signs);
    tcase_add_test(tcase, floats_become_integers_and_back);
    tcase_add_test(tcase, lanes_become_narrow_and_wide_again);
    tcase_add_test(tcase, lanes_go_where_they_should);
    tcase_add_test(tcase, lanes_outside_of_a_mask_touch_no_memory);
    tcase_add_test(tcase, bytes_outside_of_a_mask_touch_no_memory);
    tcase_add_test(tcase, words_are_stored_and_added_up);
    return run_suite(suite);
}
