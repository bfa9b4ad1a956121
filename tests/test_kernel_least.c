/* SPDX-License-Identifier: MIT */
/* Sums of pairs near the least normal number, 2^-126: what is subnormal before it is rounded counts as 0, whether the
 * instruction forms them or, where rows do not see some keys, other arithmetic does. */
#include <stdio.h>
#include <string.h>

#include <sa/sa.h>

#include "cpu.h"
#include "inside.h"
#include "kernels/kernels.h"

enum { W = SA_TILE_ROWS, N = SA_DOT_KEYS, KEYS = 2 * N, D = 16, STRIDE = 3 * SA_LINE_FLOATS };

static const int kinds[] = {SA_ISA_AVX512_BF16, SA_ISA_AMX_BF16};

static _Alignas(64) float p[SA_BLOCK_KEYS * W], wanted[D * W], o[D * W], woven[N * STRIDE], alpha[W];
static _Alignas(64) int32_t lo[W], hi[W], sink[W];
static uint16_t v[KEYS][D];
static const char *rows[KEYS];

/* Two bf16, of which the second is 0. */
static float pair_of(uint32_t first) {
    float pair;
    memcpy(&pair, &first, sizeof pair);
    return pair;
}

/* Values from 2^-126 on, with either sign, weights of 1 and of 2^-27 to 2^-20. */
static void roll_all(struct dice *dice) {
    for (int j = 0; j < KEYS; j++)
        for (int c = 0; c < D; c++)
            v[j][c] = (uint16_t)(roll(dice) % 2 << 15 | (0x80 + roll(dice) % 0x100));
    for (int i = 0; i < N * W; i++)
        p[i] = pair_of(roll_one_in(dice, 3) ? 0x3f80 : (uint32_t)(127 - 20 - roll(dice) % 8) << 7);
}

static struct sa_rows values_of(const struct sa_dots *dots) {
    if (!dots->pair_rows)
        return sa_listed_rows(rows, N, D);
    dots->pair_rows(rows, N, D, woven, STRIDE);
    return (struct sa_rows){woven, STRIDE, N, D, NULL};
}

static void check(const struct sa_dots *dots, int round) {
    const struct sa_stairs all = {{0}, {N, N, N, N}};
    const struct sa_rows values = values_of(dots);
    struct sa_ahead ahead;
    sa_ahead_open(&ahead);
    memset(wanted, 0, sizeof wanted);
    memset(o, 0, sizeof o);
    dots->pairs.values(p, 0, SA_TILE_GROUPS, &all, values, alpha, wanted, &ahead);
    for (int g = 0; g < SA_TILE_GROUPS; g++)
        dots->pairs.values_masked(p, g, values, 0, (struct sa_lane_keys){lo, hi, sink, NULL}, alpha, o);
    for (int i = 0; i < D * W; i++)
        must(o[i] == wanted[i], "round %d: %a, by the instruction %a", round, (double)o[i], (double)wanted[i]);
}

START_TEST(sums_are_rounded_alike) {
    const struct sa_kernels *kernels = sa_cpu_choose(kinds[_i], 0, true).kernels;
    struct dice dice = {9};
    if (kernels->isa != kinds[_i]) {
        printf("skipped: this machine lacks %s\n", sa_isa_name(kinds[_i]));
        return;
    }
    if (kernels->dots->enter)
        kernels->dots->enter();
    for (int j = 0; j < KEYS; j++)
        rows[j] = (const char *)v[j];
    for (int r = 0; r < W; r++) {
        hi[r] = KEYS;
        alpha[r] = 1.0f;
    }
    for (int round = 0; round < 400; round++) {
        roll_all(&dice);
        check(kernels->dots, round);
    }
    if (kernels->dots->leave)
        kernels->dots->leave();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("least");
    tcase_add_loop_test(add_case(suite, "least"), sums_are_rounded_alike, 0, 2);
    return run_suite(suite);
}
