/* SPDX-License-Identifier: MIT */
/* Softcap, ALiBi and bias of every kernel this processor runs: bit for bit as the contract says in both layouts, and
 * tanh() as near as it says. No element of bias is read beyond the run's. */
#include <stdio.h>

#include "fenced.h"
#include "kernel_frame.h"

enum { WITH_SOFTCAP = 1, WITH_ALIBI = 2, WITH_BIAS = 4, N_COMBINATIONS = 8 };

/* ---------------------------------------------------------------- how near tanh() is */

/* Scores as a quarter of a block, run through softcap alone. */
static void check_softcap(const struct sa_kernels *kernel, float cap, const float *s, double *worst) {
    const struct sa_score_terms terms = {.softcap = cap};
    static _Alignas(64) float capped[SA_FEW_STRIDE];
    memcpy(capped, s, SA_BLOCK_KEYS * sizeof *capped);
    kernel->few_terms(1, SA_BLOCK_KEYS, &terms, capped);
    for (int j = 0; j < SA_BLOCK_KEYS; j++) {
        const double exact = (double)cap * tanh((double)s[j] / (double)cap);
        const double off = fabs((double)capped[j] - exact) / fabs(exact);
        must(same_float(capped[j], scalar_softcap(s[j], cap)), "%s: softcap %a of %a is %a", kernel->name, (double)cap,
             (double)s[j], (double)capped[j]);
        if (exact != 0 && off > *worst)
            *worst = off;
    }
}

/* Every number of whole mantissas far apart from zero to beyond the end, and the edges of it. What is subnormal is only
 * the same everywhere. */
START_TEST(softcap_is_near_tanh) {
    static const float caps[] = {1.0f, 30.0f * SA_LOG2_E, 0x1p-60f,  3.3e38f,
                                 0.7f, 0x1.12437ap+0f,    0x1p-149f, 0x1.8p-127f};
    const struct sa_kernels *kernel;
    const int step = _i == 0 ? 97 : 1201;
    for (EACH_KERNEL(kernel)) {
        double worst = 0;
        float s[SA_BLOCK_KEYS];
        int n = 0;
        for (uint32_t bits = 0x30000000u; bits < 0x41800000u; bits += (uint32_t)step * (kernel->lanes > 4 ? 1 : 16)) {
            s[n] = caps[_i] * float_of(bits) * (n % 2 ? 1.0f : -1.0f);
            if (++n == SA_BLOCK_KEYS)
                check_softcap(kernel, caps[_i], s, &worst);
            n %= SA_BLOCK_KEYS;
        }
        printf("  %s, softcap %g: at most %.3f u off\n", kernel->name, (double)caps[_i], worst * 0x1p24);
        must(caps[_i] < 0x1p-100f || worst < 6.2 * 0x1p-24, "%s: softcap %g is %.3f u off", kernel->name,
             (double)caps[_i], worst * 0x1p24);
    }
}
END_TEST

START_TEST(softcap_of_what_is_no_number) {
    const struct sa_kernels *kernel;
    const float cap = 20.0f;
    for (EACH_KERNEL(kernel)) {
        _Alignas(64) float s[SA_GROUP_ROWS] = {NAN, INFINITY, -INFINITY, 0.0f, 0x1p-149f, 3e38f, -3e38f, 1e-30f};
        kernel->few_terms(1, SA_GROUP_ROWS, &(struct sa_score_terms){.softcap = cap}, s);
        must(s[0] != s[0] && fabsf(s[1] - cap) < 1e-5f && s[2] == -s[1] && s[3] == 0 && s[4] == 0x1p-149f &&
                 s[5] == s[1] && s[6] == s[2] && s[7] == 1e-30f,
             "%s: %g %g %g %g %g %g %g %g", kernel->name, (double)s[0], (double)s[1], (double)s[2], (double)s[3],
             (double)s[4], (double)s[5], (double)s[6], (double)s[7]);
    }
}
END_TEST

/* ---------------------------------------------------------------- terms at random */

static struct {
    _Alignas(64) float slopes[SA_TILE_ROWS];
    _Alignas(64) int32_t q_at[SA_TILE_ROWS], k_at[SA_BLOCK_KEYS + SA_SUM_KEYS];
    const float *rows[SA_TILE_ROWS];
    struct fenced bias;
} drawn;

static int32_t roll_position(struct dice *dice) {
    static const int32_t ends[] = {-(1 << 30), 1 << 30, 0, 255};
    return roll_one_in(dice, 8) ? ends[roll(dice) % 4] : (int32_t)roll_between(dice, -3000, 1 << roll(dice) % 30);
}

/* Numbers beside which scores still count, and what is not one: -inf, NaN, +inf. */
static float roll_bias(struct dice *dice) {
    static const float others[] = {-INFINITY, NAN, INFINITY, -3e38f, 0.0f, -0.0f};
    return roll_one_in(dice, 12) ? others[roll(dice) % 6] : 3 * roll_value(dice);
}

/* Rows of bias end at a fence; some share one. */
static struct sa_score_terms roll_terms(struct dice *dice, int n_keys, int combination) {
    float *end = drawn.bias.end;
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        drawn.slopes[r] = roll_one_in(dice, 6) ? 0.0f : -roll_value(dice);
        drawn.q_at[r] = roll_position(dice);
        drawn.rows[r] = end - (1 + (r ? roll(dice) % 9 : 0)) * (size_t)n_keys;
    }
    for (int j = 0; j < SA_BLOCK_KEYS; j++)
        drawn.k_at[j] = roll_position(dice);
    for (float *at = end - 9 * n_keys; at < end; at++)
        *at = roll_bias(dice);
    return (struct sa_score_terms){.softcap = combination & WITH_SOFTCAP ? 1.5f : 0.0f,
                                   .slopes = combination & WITH_ALIBI ? drawn.slopes : NULL,
                                   .q_at = drawn.q_at,
                                   .k_at = drawn.k_at,
                                   .bias = combination & WITH_BIAS ? drawn.rows : NULL};
}

static void roll_scores(struct dice *dice) {
    static const float others[] = {INFINITY, -INFINITY, NAN, 3e38f};
    roll_floats(dice, (float *)&before, sizeof before / sizeof(float));
    for (int i = 0; i < 200; i++)
        before.s[roll(dice) % SA_BLOCK_KEYS][roll(dice) % SA_TILE_ROWS] = others[roll(dice) % 4];
}

static const int counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48, 255, 256};
enum { N_COUNTS = sizeof counts / sizeof counts[0] };

START_TEST(queries_in_the_lanes) {
    const struct sa_kernels *kernel;
    struct dice dice = {(uint64_t)_i};
    drawn.bias = fenced_map(9 * SA_BLOCK_KEYS);
    for (int i = 0; i < N_COUNTS; i++)
        for (int g = 0; g < SA_TILE_GROUPS; g++) {
            const struct sa_score_terms terms = roll_terms(&dice, counts[i], _i);
            roll_scores(&dice);
            frame_copy(&wanted, &before, SA_BLOCK_KEYS, 0);
            const bool hides = tile_terms(&kernel_scalar, g, counts[i], &terms, wanted.s[0], wanted.mb);
            for (EACH_KERNEL(kernel)) {
                frame_copy(&got, &before, SA_BLOCK_KEYS, 0);
                const bool says = tile_terms(kernel, g, counts[i], &terms, got.s[0], got.mb);
                must(says == hides, "%s: -inf of bias was %sseen", kernel->name, says ? "" : "not ");
                frame_check(kernel->name, SA_BLOCK_KEYS, 0);
            }
        }
    fenced_unmap(&drawn.bias);
}
END_TEST

static float one_term_after_the_other(const struct sa_score_terms *terms, int r, int j, float s) {
    s = terms->softcap > 0 ? scalar_softcap(s, terms->softcap) : s;
    s = terms->slopes ? scalar_alibi(s, terms->slopes[r], terms->q_at[r], terms->k_at[j]) : s;
    return terms->bias ? scalar_bias(s, terms->bias[r][j]) : s;
}

static void check_few(const struct sa_kernels *kernel, const struct sa_score_terms *terms, int n_rows, int n_keys) {
    static _Alignas(64) float s[SA_FEW_ROWS][SA_FEW_STRIDE];
    bool hides = false;
    for (int r = 0; r < SA_FEW_ROWS; r++)
        for (int j = 0; j < SA_FEW_STRIDE; j++)
            s[r][j] = before.s[j % SA_BLOCK_KEYS][r];
    const bool says = kernel->few_terms(n_rows, n_keys, terms, s[0]);
    for (int r = 0; r < SA_FEW_ROWS; r++)
        for (int j = 0; j < SA_FEW_STRIDE; j++) {
            const float old = before.s[j % SA_BLOCK_KEYS][r];
            const bool is_one = r < n_rows && j < n_keys, is_rest = r < n_rows && j >= n_keys && j < n_keys + 15;
            const float right = is_one ? one_term_after_the_other(terms, r, j, old) : old;
            hides = hides || (is_one && terms->bias && terms->bias[r][j] == -INFINITY);
            must(is_rest || same_float(s[r][j], right), "%s, %d rows, %d keys: score %d of row %d is %a, expected %a",
                 kernel->name, n_rows, n_keys, j, r, (double)s[r][j], (double)right);
        }
    must(says == hides, "%s: -inf of bias was %sseen", kernel->name, says ? "" : "not ");
}

START_TEST(keys_in_the_lanes) {
    const struct sa_kernels *kernel;
    struct dice dice = {(uint64_t)_i};
    drawn.bias = fenced_map(9 * SA_BLOCK_KEYS);
    for (int i = 0; i < N_COUNTS; i++)
        for (int n_rows = 1; n_rows <= SA_FEW_ROWS; n_rows++) {
            const struct sa_score_terms terms = roll_terms(&dice, counts[i], _i);
            roll_scores(&dice);
            for (EACH_KERNEL(kernel))
                check_few(kernel, &terms, n_rows, counts[i]);
        }
    fenced_unmap(&drawn.bias);
}
END_TEST

/* ---------------------------------------------------------------- values that bias hides */

enum { DIMS = 11 };

/* Rows see the keys from a place of their own on. Some values are no numbers. */
static struct sa_lane_keys roll_seen(struct dice *dice, int n_keys, float v[SA_BLOCK_KEYS][DIMS]) {
    static _Alignas(64) int32_t lo[SA_TILE_ROWS], hi[SA_TILE_ROWS], sink[SA_TILE_ROWS];
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        lo[r] = 1000 + (int32_t)roll_between(dice, 0, n_keys / 4);
        hi[r] = 1000 + n_keys;
        sink[r] = 0;
    }
    for (int j = 0; j < n_keys; j++)
        for (int c = 0; c < DIMS; c++)
            v[j][c] = roll_one_in(dice, 4 * DIMS) ? NAN : roll_value(dice);
    return (struct sa_lane_keys){lo, hi, sink, NULL};
}

START_TEST(hidden_values_are_left_out) {
    static float v[SA_BLOCK_KEYS][DIMS];
    const struct sa_kernels *kernel;
    struct dice dice = {77};
    drawn.bias = fenced_map(9 * SA_BLOCK_KEYS);
    for (int i = 0; i < N_COUNTS; i++)
        for (int g = 0; g < SA_TILE_GROUPS; g++) {
            const struct sa_rows rows = {v[0], DIMS, counts[i], DIMS, NULL};
            const struct sa_lane_keys keys = roll_seen(&dice, counts[i], v);
            const struct sa_score_terms terms = roll_terms(&dice, counts[i], WITH_BIAS);
            roll_floats(&dice, (float *)&before, sizeof before / sizeof(float));
            frame_copy(&wanted, &before, SA_BLOCK_KEYS, DIMS);
            tile_values_biased(&kernel_scalar, wanted.s[0], g, rows, 1000, keys, terms.bias, wanted.alpha, wanted.o[0]);
            for (EACH_KERNEL(kernel)) {
                frame_copy(&got, &before, SA_BLOCK_KEYS, DIMS);
                tile_values_biased(kernel, got.s[0], g, rows, 1000, keys, terms.bias, got.alpha, got.o[0]);
                frame_check(kernel->name, SA_BLOCK_KEYS, DIMS);
            }
        }
    fenced_unmap(&drawn.bias);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernel terms");
    tcase_add_loop_test(add_case(suite, "tanh"), softcap_is_near_tanh, 0, 8);
    tcase_add_test(add_case(suite, "no numbers"), softcap_of_what_is_no_number);
    tcase_add_loop_test(add_case(suite, "lanes"), queries_in_the_lanes, 1, N_COMBINATIONS);
    tcase_add_loop_test(add_case(suite, "few"), keys_in_the_lanes, 1, N_COMBINATIONS);
    tcase_add_test(add_case(suite, "hidden"), hidden_values_are_left_out);
    return run_suite(suite);
}
