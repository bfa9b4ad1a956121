/* SPDX-License-Identifier: MIT */
/* Every kernel's multiply-add rounds once. On processors without the instruction the generic kernels emulate it in
 * double: where that could go wrong (double rounding, subnormals, cancellation, overflow) it is looked at hardest. */
#include <math.h>

#include "each_kernel.h"
#include "inside.h"
#include "kernel_tile.h"

/* values() of a single key with v = 1 is o = fma(o, alpha, p). */
enum { DIMS = 64, PER_CALL = DIMS * SA_TILE_ROWS };

static _Alignas(64) float a[DIMS][SA_TILE_ROWS];
static _Alignas(64) float b[SA_TILE_ROWS];
static _Alignas(64) float c[DIMS][SA_TILE_ROWS];

static void fma_each(const struct sa_kernels *kernel, float o[DIMS][SA_TILE_ROWS]) {
    static const float one = 1.0f;
    const struct sa_stairs one_key = {{0, 0, 0, 0}, {1, 1, 1, 1}};
    struct sa_ahead nothing;
    sa_ahead_open(&nothing);
    for (int d = 0; d < DIMS; d++)
        tile_values(kernel, c[d], 0, SA_TILE_GROUPS, &one_key, (struct sa_rows){&one, 0, 1, 1, NULL}, b, o[d],
                    &nothing);
}

static void check_call(void) {
    static _Alignas(64) float o[DIMS + 1][SA_TILE_ROWS];
    static float exact[DIMS][SA_TILE_ROWS];
    const struct sa_kernels *kernel;
    for (int i = 0; i < PER_CALL; i++) /* the sum of one key starts from +0, which takes the sign from a zero */
        exact[i / 64][i % 64] = fmaf(a[i / 64][i % 64], b[i % 64], c[i / 64][i % 64] + 0.0f);
    for (EACH_KERNEL(kernel)) {
        memcpy(o, a, sizeof a);
        fma_each(kernel, o);
        for (int d = 0; d < DIMS; d++)
            for (int r = 0; r < SA_TILE_ROWS; r++)
                must(same_float(o[d][r], exact[d][r]), "%s: fma(%a, %a, %a) is %a, expected %a", kernel->name,
                     (double)a[d][r], (double)b[r], (double)c[d][r], (double)o[d][r], (double)exact[d][r]);
    }
}

/* ---------------------------------------------------------------- operands */

typedef float operand(struct dice *dice);

static float any_bits(struct dice *dice) { return float_of((uint32_t)roll(dice)); }

static float sign_of(struct dice *dice) { return roll_one_in(dice, 2) ? 1.0f : -1.0f; }

/* 1 .. 2 with few bits set, so that products often need exactly one bit more than there are. */
static float sparse(struct dice *dice) {
    uint32_t bits = 1u << roll_between(dice, 0, 22) | 1u << roll_between(dice, 0, 22);
    return sign_of(dice) * float_of(0x3f800000u | (roll_one_in(dice, 4) ? bits - 1 : bits));
}

static float full(struct dice *dice) { return sign_of(dice) * float_of(0x3f800000u | (uint32_t)(roll(dice) >> 41)); }

static float special(struct dice *dice) {
    static const float values[] = {
        0.0f,      -0.0f,           INFINITY,         -INFINITY, NAN,  0x1p-149f, 0x1.fffffcp-127f,
        0x1p-126f, 0x1.fffffep127f, -0x1.fffffep127f, 1.0f,      -1.0f};
    return values[roll(dice) % (sizeof values / sizeof values[0])];
}

static float mixed(struct dice *dice) {
    operand *const kinds[] = {any_bits, sparse, full, special};
    return kinds[roll(dice) % 4](dice);
}

/* An addend that meets the product where rounding is decided. */
static float close_addend(struct dice *dice, float x, float y) {
    float product = x * y;
    int apart = (int)roll_between(dice, -60, 60) + (isnormal(product) ? ilogbf(product) : product == 0 ? -149 : 127);
    switch (roll(dice) % 4) {
    case 0: /* nearly cancels */ return float_of(bits_of(-product) + (uint32_t)roll_between(dice, -2, 2));
    case 1: /* the product, or its tail, falls half way between two floats near the addend */
        return ldexpf(sparse(dice), apart);
    case 2: return ldexpf(full(dice), apart);
    default: return special(dice);
    }
}

/* ---------------------------------------------------------------- tests */

START_TEST(any_operands) {
    struct dice dice = {1};
    for (int call = 0; call < 400; call++) {
        for (int r = 0; r < SA_TILE_ROWS; r++)
            b[r] = mixed(&dice);
        for (int i = 0; i < PER_CALL; i++) {
            a[i / 64][i % 64] = mixed(&dice);
            c[i / 64][i % 64] = mixed(&dice);
        }
        check_call();
    }
}
END_TEST

/* Products of size 2^scale: among ordinary numbers, where results are subnormal or vanish, where they overflow. */
static void check_close(struct dice *dice, int low, int high) {
    for (int call = 0; call < 300; call++) {
        int scale_b = (low + high) / 4 + (int)roll_between(dice, -20, 20);
        for (int r = 0; r < SA_TILE_ROWS; r++)
            b[r] = ldexpf(roll_one_in(dice, 2) ? sparse(dice) : full(dice), scale_b);
        for (int i = 0; i < PER_CALL; i++) {
            int d = i / 64, r = i % 64, scale = (int)roll_between(dice, low, high) - scale_b;
            a[d][r] = ldexpf(roll_one_in(dice, 2) ? sparse(dice) : full(dice), scale);
            c[d][r] = close_addend(dice, a[d][r], b[r]);
        }
        check_call();
    }
}

START_TEST(close_addends) {
    struct dice dice = {2};
    check_close(&dice, -20, 20);
}
END_TEST

START_TEST(subnormal_results) {
    struct dice dice = {3};
    check_close(&dice, -155, -120);
}
END_TEST

START_TEST(products_below_every_float) {
    struct dice dice = {4};
    check_close(&dice, -200, -145);
}
END_TEST

START_TEST(overflow) {
    struct dice dice = {5};
    check_close(&dice, 120, 129);
}
END_TEST

/* One that two roundings get wrong: the product's last bit decides a tie that rounding to double first makes. */
START_TEST(the_classic_double_rounding) {
    for (int i = 0; i < PER_CALL; i++) {
        float sign = i % 2 ? 1.0f : -1.0f;
        b[i % 64] = 1 + 0x1p-23f;
        a[i / 64][i % 64] = sign * (0x1p-24f + 0x1p-47f); /* the product is 2^-24 and a little: 2^-46 and 2^-70 */
        c[i / 64][i % 64] = sign * (i % 3 ? 1.0f : 1 + 0x1p-23f);
    }
    check_call();
    for (int i = 0; i < PER_CALL; i++) {
        b[i % 64] = 1 - 0x1p-24f;
        a[i / 64][i % 64] = 1 + 0x1p-23f; /* just above, then just below the half way between 2^60 and the next */
        c[i / 64][i % 64] = i % 2 ? 0x1p24f : 0x1p24f + 2;
    }
    check_call();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("fma");
    TCase *tcase = add_case(suite, "fma");
    tcase_add_test(tcase, any_operands);
    tcase_add_test(tcase, close_addends);
    tcase_add_test(tcase, subnormal_results);
    tcase_add_test(tcase, products_below_every_float);
    tcase_add_test(tcase, overflow);
    tcase_add_test(tcase, the_classic_double_rounding);
    return run_suite(suite);
}
