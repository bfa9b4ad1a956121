/* SPDX-License-Identifier: MIT */
/* Weights that are multiplied in pairs (sa_dots in kernels.h), bit for bit: 2^x as lanes_exp2_flushed.h says, all of x;
 * sums of rows, of tiles of many rows and of few; words of two bf16, or of parts of them. */
#include <math.h>
#include <stdio.h>

#include <sa/sa.h>

#include "cpu.h"
#include "inside.h"
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#define _mm_getcsr()    0u
#define _MM_EXCEPT_MASK 0u
#endif

enum { W = SA_TILE_ROWS, MAX_KEYS = SA_BLOCK_KEYS, FEW = SA_FEW_ROWS * SA_FEW_STRIDE };

static const struct {
    int isa, type;
} kinds[] = {{SA_ISA_AVX512_BF16, SA_BF16}, {SA_ISA_AMX_BF16, SA_BF16}, {SA_ISA_AMX_BF16, SA_F16}};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

static _Alignas(64) float s[MAX_KEYS * W], before[MAX_KEYS * W], mb[W], alpha[2][W], m[2][W], l[2][W];

/* NULL, said aloud: this machine lacks them. */
static const struct sa_kernels *kernels_of(int kind) {
    const struct sa_kernels *kernels = sa_cpu_choose(kinds[kind].isa, 0, true).kernels;
    if (kernels->isa == kinds[kind].isa)
        return kernels;
    printf("skipped: this machine lacks %s\n", sa_isa_name(kinds[kind].isa));
    return NULL;
}

static const struct sa_dots *dots_of(const struct sa_kernels *kernels, int kind) {
    return kinds[kind].type == SA_F16 ? kernels->dots_f16 : kernels->dots;
}

/* ---------------------------------------------------------------- one number at a time */

/* Differences and results that are subnormal become 0. */
static float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }

/* What x has above whole / 32, rounded down: the sum in doubles and what that has lost, which is exact. */
static float above(float x, float whole) {
    const double c = (double)-whole / 32, sum = c + (double)x, lost = (double)x - (sum - c);
    const float near = (float)sum;
    return (double)near > sum || ((double)near == sum && lost < 0) ? nextafterf(near, -INFINITY) : near;
}

static float scalar_exp2(float x) {
    static const uint32_t powers[32] = {SA_POWERS_OF_2_BY_32};
    if (x != x)
        return x;
    if (x < -126.0f)
        return 0.0f;
    const float below = floorf(32 * x), f = above(x, below);
    const float power = ldexpf(float_of(powers[(int)below & 31]), (int)floorf(x));
    const float p = fmaf(0x1.f0ea56p-3f, f, 0x1.62e11ep-1f) * f;
    return fmaf(p, power, power);
}

static float minus(float x, float shift) { return flushed(x - (shift == -INFINITY ? 0.0f : shift)); }

/* The tree of kernels.h. */
static float sum_of_16(const float *p, int step) {
    float t[16];
    for (int i = 0; i < 16; i++)
        t[i] = p[i * step];
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            t[i] = t[i] + t[i + half];
    return t[0];
}

/* n weights of a row, in place, and their sum. */
static float scalar_weights(float *p, int n, int step, float shift) {
    float sum = 0.0f;
    for (int j = 0; j < n; j++)
        p[j * step] = scalar_exp2(minus(p[j * step], shift));
    for (int j = 0; j < n; j += 16)
        sum = sum + sum_of_16(p + j * step, step);
    return sum;
}

/* Of which there are one or two, to nearest, ties away from 0. */
static uint32_t part_of(float p, int parts, int part) {
    const float first = float_of(bits_of(p) & 0xffff0000u);
    return (parts == 1 ? bits_of(p) + 0x8000 : part ? bits_of(flushed(p - first)) + 0x8000 : bits_of(first)) >> 16;
}

/* The part of two keys' weights in a word, where pairs stand from `pairs` on, `step` floats apart. */
static void check_pair(const float *pairs, int step, int parts, int pair, float first, float second) {
    for (int part = 0; part < parts; part++) {
        const int row = parts == 1 ? pair : pair / 16 * 32 + part * 16 + pair % 16;
        const uint32_t word = bits_of(pairs[row * step]);
        const float p[2] = {first, second};
        for (int i = 0; i < 2; i++)
            must(same_float(float_of(word >> 16 * i << 16), float_of(part_of(p[i], parts, part) << 16)),
                 "part %d of %a, number %d of pair %d, is %#x", part, (double)p[i], i, pair, word >> 16 * i & 0xffff);
    }
}

/* Some hidden, some far below the others. */
static void roll_scores(struct dice *dice, float *to, int n) {
    for (int i = 0; i < n; i++)
        to[i] = roll_one_in(dice, 9) ? -INFINITY : roll_unit(dice) * (roll_one_in(dice, 3) ? 140.0f : 8.0f);
}

static void roll_state(struct dice *dice) {
    for (int r = 0; r < W; r++) {
        m[0][r] = m[1][r] = roll_one_in(dice, 4) ? -INFINITY : roll_unit(dice) * 8.0f;
        l[0][r] = l[1][r] = roll_unit(dice);
    }
}

/* Factors are those of the kernels for floats. */
static void check_state(int r, float sum) {
    must(bits_of(m[0][r]) == bits_of(m[1][r]) && bits_of(alpha[0][r]) == bits_of(alpha[1][r]) &&
             same_float(l[1][r], fmaf(l[0][r], alpha[0][r], sum)),
         "row %d: m %a, %a, alpha %a, %a, l %a after %a and %a", r, (double)m[0][r], (double)m[1][r],
         (double)alpha[0][r], (double)alpha[1][r], (double)l[1][r], (double)l[0][r], (double)sum);
}

/* m and alpha as the kernels for floats have them; l stays. */
static void weigh_as_floats(const struct sa_kernels *kernels, int g, const float *scores, int n) {
    static _Alignas(64) float copy[MAX_KEYS * W], sums[W];
    memcpy(copy, scores, (size_t)n * W * sizeof *copy);
    memcpy(sums, l[0], sizeof sums);
    kernels->weights(g, n, copy, mb, m[0], sums, alpha[0]);
}

/* ---------------------------------------------------------------- tests */

/* Where the pairs stand nothing is lost that is read later. The caller's mode is what it was. */
START_TEST(of_many_rows) {
    const struct sa_kernels *kernels = kernels_of(_i);
    struct dice dice = {2};
    for (int round = 0; kernels && round < 200; round++) {
        const struct sa_dots *dots = dots_of(kernels, _i);
        const int g = (int)roll_between(&dice, 0, 3), begin = 16 * (int)roll_between(&dice, 0, 15);
        const int end = (int)roll_between(&dice, begin / 16 + 1, 16) * 16;
        const unsigned mode = _mm_getcsr() & ~(unsigned)_MM_EXCEPT_MASK;
        roll_scores(&dice, before, MAX_KEYS * W);
        before[begin * W + g * 16] = NAN;
        for (int r = 0; r < W; r++)
            mb[r] = roll_unit(&dice) * 8.0f;
        roll_state(&dice);
        memcpy(s, before, sizeof s);
        weigh_as_floats(kernels, g, before + begin * W, end - begin);
        dots->weights(g, begin, end, s, mb, m[1], l[1], alpha[1]);
        must(mode == (_mm_getcsr() & ~(unsigned)_MM_EXCEPT_MASK), "the mode has changed");
        for (int r = 16 * g; r < 16 * g + 16; r++) {
            check_state(r, scalar_weights(before + begin * W + r, end - begin, W, m[1][r]));
            for (int j = begin; j < end; j += 2)
                check_pair(s + r, W, dots->parts, j / 2, before[j * W + r], before[(j + 1) * W + r]);
        }
    }
}
END_TEST

/* As of many rows, and then to pairs. */
START_TEST(of_few_rows) {
    const struct sa_kernels *kernels = kernels_of(_i);
    struct dice dice = {3};
    for (int round = 0; kernels && round < 200; round++) {
        const struct sa_dots *dots = dots_of(kernels, _i);
        const int n_rows = (int)roll_between(&dice, 1, SA_FEW_ROWS), n = 16 * (int)roll_between(&dice, 1, 16);
        static _Alignas(64) float lanes[MAX_KEYS * W];
        roll_scores(&dice, before, FEW);
        roll_state(&dice);
        for (int i = 0; i < MAX_KEYS * W; i++)
            lanes[i] = i % W < n_rows ? before[i % W * SA_FEW_STRIDE + i / W] : -INFINITY;
        for (int r = 0; r < W; r++) {
            mb[r] = -INFINITY;
            for (int j = 0; j < n; j++)
                mb[r] = lanes[j * W + r] > mb[r] ? lanes[j * W + r] : mb[r];
        }
        memcpy(s, before, FEW * sizeof *s);
        weigh_as_floats(kernels, 0, lanes, n);
        const unsigned mode = _mm_getcsr() & ~(unsigned)_MM_EXCEPT_MASK;
        dots->few_weights(n_rows, n, s, m[1], l[1], alpha[1]);
        must(mode == (_mm_getcsr() & ~(unsigned)_MM_EXCEPT_MASK), "the mode has changed");
        for (int r = 0; r < n_rows; r++) {
            check_state(r, scalar_weights(before + r * SA_FEW_STRIDE, n, 1, m[1][r]));
            for (int j = 0; j < n; j++)
                must(bits_of(s[r * SA_FEW_STRIDE + j]) == bits_of(before[r * SA_FEW_STRIDE + j]), "weight %d: %a", j,
                     (double)s[r * SA_FEW_STRIDE + j]);
        }
    }
}
END_TEST

/* In place, as the engine has it, and with NaN behind the last. In parts whole squares of 32. */
START_TEST(of_few_rows_become_pairs) {
    const struct sa_kernels *kernels = kernels_of(_i);
    struct dice dice = {8};
    for (int round = 0; kernels && round < 200; round++) {
        const struct sa_dots *dots = dots_of(kernels, _i);
        const int n_rows = (int)roll_between(&dice, 1, SA_FEW_ROWS), parts = dots->parts, step = 16 * parts;
        const int begin = step * (int)roll_between(&dice, 0, 256 / step - 1);
        const int n = step * (int)roll_between(&dice, 1, (256 - begin) / step);
        for (int i = 0; i < FEW; i++)
            before[i] = roll_one_in(&dice, 16) ? 0.0f : scalar_exp2(-fabsf(roll_unit(&dice)) * 126.0f);
        before[begin] = float_of(0x3f7e8000); /* between two bf16, of which the lesser one is even */
        before[begin + 1] =
            0x1p-119f + 0x1.ffp-127f; /* the second part would be normal, rounded before it is flushed */
        memcpy(s, before, FEW * sizeof *s);
        for (int r = 0; r < n_rows; r++)
            s[r * SA_FEW_STRIDE + begin + n] = NAN;
        const unsigned mode = _mm_getcsr() & ~(unsigned)_MM_EXCEPT_MASK;
        dots->few_pair(n_rows, n, s + begin, s + begin * parts / 2);
        must(mode == (_mm_getcsr() & ~(unsigned)_MM_EXCEPT_MASK), "the mode has changed");
        for (int r = 0; r < n_rows; r++)
            for (int j = 0; j < n; j += 2) {
                const float *two = before + r * SA_FEW_STRIDE + begin + j;
                check_pair(s + r * SA_FEW_STRIDE + begin * parts / 2, 1, parts, j / 2, two[0], two[1]);
            }
    }
}
END_TEST

static void check_exp2(float x, float y) {
    must(same_float(y, scalar_exp2(x)), "2^%a is %a, expected %a", (double)x, (double)y, (double)scalar_exp2(x));
    if (x < -126.0f)
        must(bits_of(y) == 0, "2^%a is %a", (double)x, (double)y);
    else if (x == x)
        must(fabs((double)y / exp2((double)x) - 1) <= 3.07 * 0x1p-24, "2^%a is %a", (double)x, (double)y);
    if (x == 0.0f)
        must(y == 1.0f, "2^0 is %a", (double)y);
}

/* Weights of a row whose maximum is 0. */
static void check_all_exp2(const struct sa_dots *dots, const float *x) {
    memcpy(s, x, MAX_KEYS * sizeof *s);
    m[0][0] = 0.0f;
    dots->few_weights(1, MAX_KEYS, s, m[0], l[0], alpha[0]);
    for (int j = 0; j < MAX_KEYS; j++)
        check_exp2(flushed(x[j]), s[j]);
}

/* Evenly over all floats from -0 to beyond the point where 2^x is 0, then around every multiple of 1/32. */
START_TEST(powers_are_near) {
    const struct sa_kernels *kernels = kernels_of(_i);
    const uint32_t last = bits_of(-200.0f), step = 523;
    float x[MAX_KEYS];
    for (uint32_t at = bits_of(-0.0f); kernels && at < last;) {
        for (int i = 0; i < MAX_KEYS; i++, at += step)
            x[i] = float_of(at < last ? at : last);
        check_all_exp2(dots_of(kernels, _i), x);
    }
    for (int k = 1; kernels && k < 32 * 130; k += 16) {
        for (int i = 0; i < MAX_KEYS; i++)
            x[i] = float_of(bits_of((float)-(k + i / 16) / 32) + (uint32_t)(i % 16) - 8);
        check_all_exp2(dots_of(kernels, _i), x);
    }
}
END_TEST

START_TEST(special_powers) {
    static const float special[] = {0.0f,       -0.0f,   -126.0f,  -0x1.f80002p+6f,   -0x1.f7fffep+6f,
                                    -INFINITY,  NAN,     -1e38f,   -0x1.fffffep+127f, -0x1p-126f,
                                    -0x1p-149f, -1.0f,   -125.5f,  -8388608.0f,       -2e9f,
                                    -127.0f,    -150.0f, -0x1p17f, -0x1p18f,          -393216.0f};
    enum { N_SPECIAL = sizeof special / sizeof special[0] };
    const struct sa_kernels *kernels = kernels_of(_i);
    float x[MAX_KEYS];
    for (int i = 0; i < MAX_KEYS; i++)
        x[i] = special[i % N_SPECIAL];
    if (kernels)
        check_all_exp2(dots_of(kernels, _i), x);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernel weights");
    TCase *tcase = add_case(suite, "weights");
    tcase_add_loop_test(tcase, of_many_rows, 0, N_KINDS);
    tcase_add_loop_test(tcase, of_few_rows, 0, N_KINDS);
    tcase_add_loop_test(tcase, of_few_rows_become_pairs, 0, N_KINDS);
    tcase_add_loop_test(tcase, powers_are_near, 0, N_KINDS);
    tcase_add_loop_test(tcase, special_powers, 0, N_KINDS);
    return run_suite(suite);
}
