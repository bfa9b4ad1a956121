/* SPDX-License-Identifier: MIT */
/* Scores and values of every kernel this processor runs, bit for bit as the contract says, on runs of rows between
 * pages that may not be touched. */
#include <stdio.h>

#include "fenced.h"
#include "kernel_frame.h"
#include "rows_ahead.h"

static const int counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 255, 256};
static const int dims[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,   13,
                           14, 15, 16, 17, 18, 19, 20, 63, 64, 65, 66, MAX_D};
enum { N_COUNTS = sizeof counts / sizeof counts[0], N_DIMS = sizeof dims / sizeof dims[0] };

static struct fenced fenced;
static _Alignas(64) float qt[MAX_D][SA_TILE_ROWS];
static float scales[SA_BLOCK_KEYS];
static struct { int32_t lo[SA_TILE_ROWS], hi[SA_TILE_ROWS], sink[SA_TILE_ROWS]; } lane_keys;
static const struct sa_lane_keys seen = {lane_keys.lo, lane_keys.hi, lane_keys.sink, NULL};

static void fill(struct dice *dice) {
    fenced = fenced_map(SA_BLOCK_KEYS * (MAX_D + 32));
    roll_floats(dice, fenced.begin, (size_t)(fenced.end - fenced.begin));
    roll_floats(dice, qt[0], sizeof qt / sizeof(float));
    roll_floats(dice, scales, SA_BLOCK_KEYS);
    roll_floats(dice, (float *)&before, sizeof before / sizeof(float));
}

/* ---------------------------------------------------------------- where a run stands */

/* Directly behind the fence in front, or directly before the one behind, with rows that follow each other up or down,
 * further apart than they are long: sizes and strides together bring every misalignment about. */
static struct sa_rows roll_rows(struct dice *dice, int n, int d) {
    ptrdiff_t stride = d + roll_between(dice, 0, 20), extent = (n - 1) * stride + d;
    float *low = roll_one_in(dice, 2) ? fenced.begin : fenced.end - extent;
    if (roll_one_in(dice, 4))
        return (struct sa_rows){low + extent - d, -stride, n, d, NULL};
    return (struct sa_rows){low, stride, n, d, NULL};
}

/* Some lanes see all keys, some none, most have two stretches of them, that end within the run or far from it. */
static void roll_lane_keys(struct dice *dice, int first_key, int n) {
    int64_t low = first_key < 300 ? 0 : first_key - 300;
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        if (roll_one_in(dice, 2))
            low = first_key < 3 ? 0 : first_key - 3;
        int64_t hi = roll_between(dice, low, first_key + n + (roll_one_in(dice, 4) ? 300 : 3));
        int64_t lo = roll_one_in(dice, 3) ? 0 : roll_between(dice, low, hi);
        lane_keys.hi[r] = (int32_t)hi;
        lane_keys.lo[r] = (int32_t)lo;
        lane_keys.sink[r] = (int32_t)(lo == 0 || roll_one_in(dice, 2) ? 0 : roll_between(dice, low, lo));
    }
}

/* ---------------------------------------------------------------- what is done with it */

typedef void run_kernel(const struct sa_kernels *kernel, struct frame *frame, int g0, int g1, struct sa_rows rows,
                        int first_key);

static void run_scores(const struct sa_kernels *kernel, struct frame *frame, int g0, int g1, struct sa_rows rows,
                       int first_key) {
    struct sa_ahead ahead = ahead_of(rows);
    (void)first_key;
    tile_scores(kernel, qt[0], g0, g1, rows, frame->s[0], frame->mb, &ahead);
}

/* As the engine does it: scores of all, their maximum thrown away, then the mask. */
static void run_scores_masked(const struct sa_kernels *kernel, struct frame *frame, int g0, int g1, struct sa_rows rows,
                              int first_key) {
    float thrown_away[SA_TILE_ROWS] = {0};
    struct sa_ahead ahead = ahead_of(rows);
    tile_scores(kernel, qt[0], g0, g1, rows, frame->s[0], thrown_away, &ahead);
    tile_mask(kernel, g0, rows.n, first_key, seen, frame->s[0], frame->mb);
}

/* Stairs follow from the numbers at hand, the same for all kernels: all keys, or up and down in unequal steps. */
static struct sa_stairs stairs_for(struct sa_rows rows, int first_key) {
    struct sa_stairs keys;
    for (int g = 0; g < SA_TILE_GROUPS; g++) {
        keys.begin[g] = first_key % 2 ? 0 : g * rows.n / 11;
        keys.end[g] = first_key % 2 ? rows.n : rows.n - (SA_TILE_GROUPS - 1 - g) * rows.n / 9;
    }
    return keys;
}

static void run_values(const struct sa_kernels *kernel, struct frame *frame, int g0, int g1, struct sa_rows rows,
                       int first_key) {
    const struct sa_stairs keys = stairs_for(rows, first_key);
    struct sa_ahead ahead = ahead_of(rows);
    tile_values(kernel, frame->s[0], g0, g1, &keys, rows, frame->alpha, frame->o[0], &ahead);
}

static void run_first_values(const struct sa_kernels *kernel, struct frame *frame, int g0, int g1, struct sa_rows rows,
                             int first_key) {
    const struct sa_stairs keys = stairs_for(rows, first_key);
    struct sa_ahead ahead = ahead_of(rows);
    tile_values(kernel, frame->s[0], g0, g1, &keys, rows, NULL, frame->o[0], &ahead);
}

static void run_scale(const struct sa_kernels *kernel, struct frame *frame, int g0, int g1, struct sa_rows rows,
                      int first_key) {
    (void)first_key;
    tile_scale(kernel, g0, g1, rows.n, scales, frame->s[0], frame->mb);
}

static void run_scale_weights(const struct sa_kernels *kernel, struct frame *frame, int g0, int g1, struct sa_rows rows,
                              int first_key) {
    (void)first_key;
    tile_scale(kernel, g0, g1, rows.n, scales, frame->s[0], NULL);
}

static void run_values_masked(const struct sa_kernels *kernel, struct frame *frame, int g0, int g1, struct sa_rows rows,
                              int first_key) {
    (void)g1;
    tile_values_masked(kernel, frame->s[0], g0, rows, first_key, seen, frame->alpha, frame->o[0]);
}

/* Every kernel against the scalar one. */
static void compare(run_kernel *run, int g0, int g1, struct sa_rows rows, int first_key) {
    const struct sa_kernels *kernel;
    frame_copy(&wanted, &before, rows.n, rows.d);
    run(&kernel_scalar, &wanted, g0, g1, rows, first_key);
    for (EACH_KERNEL(kernel)) {
        frame_copy(&got, &before, rows.n, rows.d);
        run(kernel, &got, g0, g1, rows, first_key);
        frame_check(kernel->name, rows.n, rows.d);
    }
}

/* Every number of keys, dimension and range of groups. */
static void compare_all(run_kernel *run, uint64_t seed) {
    struct dice dice = {seed};
    fill(&dice);
    for (int n = 0; n < N_COUNTS; n++)
        for (int d = 0; d < N_DIMS; d++)
            for (int g0 = 0; g0 < SA_TILE_GROUPS; g0++)
                for (int g1 = g0 + 1; g1 <= SA_TILE_GROUPS; g1++)
                    compare(run, g0, g1, roll_rows(&dice, counts[n], dims[d]), (int)roll_between(&dice, 0, 1));
    fenced_unmap(&fenced);
}

/* Every number of keys, dimension and group, with lanes that see different keys; keys far out as well. */
static void compare_all_masked(run_kernel *run, uint64_t seed) {
    static const int first_keys[] = {0, 5, 256, 1000, INT32_MAX - 1000};
    struct dice dice = {seed};
    fill(&dice);
    for (int n = 0; n < N_COUNTS; n++)
        for (int d = 0; d < N_DIMS; d++)
            for (int g = 0; g < SA_TILE_GROUPS; g++) {
                int first_key = first_keys[roll(&dice) % 5];
                roll_lane_keys(&dice, first_key, counts[n]);
                compare(run, g, g + 1, roll_rows(&dice, counts[n], dims[d]), first_key);
            }
    fenced_unmap(&fenced);
}

static const struct {
    const char *name;
    run_kernel *run;
    bool masked;
} kinds[] = {{"scores", run_scores, false},
             {"scores_masked", run_scores_masked, true},
             {"scale", run_scale, false},
             {"scale_weights", run_scale_weights, false},
             {"values", run_values, false},
             {"first_values", run_first_values, false},
             {"values_masked", run_values_masked, true}};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

START_TEST(every_size_has_the_contracts_bits) {
    if (kinds[_i].masked)
        compare_all_masked(kinds[_i].run, (uint64_t)_i);
    else
        compare_all(kinds[_i].run, (uint64_t)_i);
}
END_TEST

/* ---------------------------------------------------------------- alignment */

START_TEST(every_alignment_has_the_contracts_bits) {
    struct dice dice = {20};
    fill(&dice);
    for (int kind = 0; kind < N_KINDS; kind++)
        for (int n = 1; n <= 9; n++)
            for (int d = 1; d <= 9; d++)
                for (int shift = 0; shift < 16; shift++) {
                    struct sa_rows rows = {fenced.begin + shift, d + (n + d) % 3, n, d, NULL};
                    roll_lane_keys(&dice, 0, n);
                    int g0 = shift % 4, g1 = kinds[kind].masked ? g0 + 1 : 4;
                    compare(kinds[kind].run, g0, g1, rows, 0);
                }
    fenced_unmap(&fenced);
}
END_TEST

/* ---------------------------------------------------------------- half of a group */

static const struct sa_kernels *halved;

static void scores_of_halves(const float *lanes, int g0, int g1, struct sa_rows k, float *s, float *mb,
                             struct sa_ahead *ahead) {
    for (int g = g0; g < g1; g++)
        halved->floats.half_scores(lanes, g, k, s, mb, ahead);
}

static void values_of_halves(const float *p, int g0, int g1, const struct sa_stairs *keys, struct sa_rows v,
                             const float *alpha, float *o, struct sa_ahead *ahead) {
    for (int g = g0; g < g1; g++)
        halved->floats.half_values(p, g, keys, v, alpha, o, ahead);
}

/* What becomes of the rows that there are not. */
static void expect_halves(bool scores, int g0, int g1, struct sa_rows rows) {
    for (int r = g0 * SA_GROUP_ROWS; r < g1 * SA_GROUP_ROWS; r++) {
        if (r % SA_GROUP_ROWS < SA_GROUP_ROWS / 2)
            continue;
        for (int j = 0; scores && j < rows.n; j++)
            wanted.s[j][r] = -INFINITY;
        wanted.mb[r] = before.mb[r];
        for (int c = 0; c < rows.d; c++)
            wanted.o[c][r] = before.o[c][r];
    }
}

static void compare_halves(int kind, int g0, int g1, struct sa_rows rows, int first_key) {
    struct sa_kernels kernel = *halved;
    kernel.floats.scores = scores_of_halves;
    kernel.floats.values = values_of_halves;
    frame_copy(&wanted, &before, rows.n, rows.d);
    kinds[kind].run(&kernel_scalar, &wanted, g0, g1, rows, first_key);
    expect_halves(kinds[kind].run == run_scores, g0, g1, rows);
    frame_copy(&got, &before, rows.n, rows.d);
    kinds[kind].run(&kernel, &got, g0, g1, rows, first_key);
    frame_check(kernel.name, rows.n, rows.d);
}

static bool has_halves(run_kernel *run) { return run == run_scores || run == run_values || run == run_first_values; }

/* Nothing to be seen where no kernel has it. */
START_TEST(half_of_a_group_has_the_same_bits) {
    struct dice dice = {25};
    fill(&dice);
    for (EACH_KERNEL(halved))
        for (int kind = 0; halved->floats.half_scores && kind < N_KINDS; kind++)
            for (int n = 0; n < N_COUNTS && has_halves(kinds[kind].run); n++)
                for (int d = 0; d < N_DIMS; d++)
                    for (int g = 0; g < SA_TILE_GROUPS; g++)
                        compare_halves(kind, g, g + 1, roll_rows(&dice, counts[n], dims[d]),
                                       (int)roll_between(&dice, 0, 1));
    fenced_unmap(&fenced);
}
END_TEST

/* ---------------------------------------------------------------- values that spread */

/* Puts NaNs and infinities into some rows: whoever sees them is lost, and nobody else. */
static void poison(struct dice *dice, struct sa_rows rows, float *row) {
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < rows.n; i++)
        if (roll_one_in(dice, 4))
            row[i * rows.stride + roll_between(dice, 0, rows.d - 1)] = bad[roll(dice) % 3];
}

START_TEST(bad_values_reach_those_who_see_them) {
    struct dice dice = {30};
    fill(&dice);
    for (int i = 0; i < 3000; i++) {
        int kind = (int)(roll(&dice) % N_KINDS), n = (int)roll_between(&dice, 1, 20);
        struct sa_rows rows = {fenced.begin, 8, n, (int)roll_between(&dice, 1, 8), NULL};
        roll_floats(&dice, fenced.begin, 20 * 8);
        poison(&dice, rows, fenced.begin);
        roll_lane_keys(&dice, 0, n);
        int g0 = (int)roll_between(&dice, 0, 3), g1 = kinds[kind].masked ? g0 + 1 : (int)roll_between(&dice, g0 + 1, 4);
        compare(kinds[kind].run, g0, g1, rows, 0);
    }
    fenced_unmap(&fenced);
}
END_TEST

/* The same said without the scalar kernel: bad rows change no bit of a lane that does not see them. */
START_TEST(a_lane_is_its_own) {
    const struct sa_kernels *kernel;
    struct dice dice = {31};
    fill(&dice);
    for (int i = 0; i < 2000; i++)
        for (EACH_KERNEL(kernel)) {
            struct sa_rows rows = {fenced.begin, 9, (int)roll_between(&dice, 1, 20), 9, NULL};
            run_kernel *run = roll_one_in(&dice, 2) ? run_scores_masked : run_values_masked;
            roll_lane_keys(&dice, 0, rows.n);
            int bad = (int)roll_between(&dice, 0, rows.n - 1), g = (int)roll_between(&dice, 0, 3);
            roll_floats(&dice, fenced.begin, 20 * 9);
            frame_copy(&wanted, &before, rows.n, rows.d);
            run(kernel, &wanted, g, g + 1, rows, 0);
            for (int c = 0; c < rows.d; c++)
                fenced.begin[bad * 9 + c] = NAN;
            frame_copy(&got, &before, rows.n, rows.d);
            run(kernel, &got, g, g + 1, rows, 0);
            for (int r = 0; r < SA_TILE_ROWS; r++) /* lanes that do see it need not be compared */
                if ((bad < lane_keys.sink[r] || lane_keys.lo[r] <= bad) && bad < lane_keys.hi[r]) {
                    for (int j = 0; j < rows.n; j++)
                        got.s[j][r] = wanted.s[j][r];
                    for (int c = 0; c < rows.d; c++)
                        got.o[c][r] = wanted.o[c][r];
                    got.mb[r] = wanted.mb[r];
                }
            frame_check(kernel->name, rows.n, rows.d);
        }
    fenced_unmap(&fenced);
}
END_TEST

/* ---------------------------------------------------------------- the smaller ones */

START_TEST(keys_nobody_sees_score_minus_infinity) {
    const struct sa_kernels *kernel;
    struct dice dice = {40};
    fill(&dice);
    for (int n = 0; n <= SA_BLOCK_KEYS; n += n < 20 ? 1 : 59)
        for (int g = 0; g < SA_TILE_GROUPS; g++) {
            frame_copy(&wanted, &before, SA_BLOCK_KEYS, 0);
            tile_scores_none(&kernel_scalar, g, n, wanted.s[0]);
            for (EACH_KERNEL(kernel)) {
                frame_copy(&got, &before, SA_BLOCK_KEYS, 0);
                tile_scores_none(kernel, g, n, got.s[0]);
                frame_check(kernel->name, SA_BLOCK_KEYS, 0);
            }
        }
    fenced_unmap(&fenced);
}
END_TEST

/* Something not finite at every place, in rows of every length. */
START_TEST(what_is_not_finite_is_found) {
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    const struct sa_kernels *kernel;
    struct dice dice = {50};
    fill(&dice);
    for (int d = 1; d <= 70; d++) {
        struct sa_rows rows = roll_rows(&dice, 1 + d % 4, d);
        for (EACH_KERNEL(kernel)) {
            must(kernel->floats.finite(rows), "%s: %d finite elements are not", kernel->name, d);
            for (int i = 0; i < rows.n * d; i++) {
                float *at = (float *)(uintptr_t)(rows.data + i / d * rows.stride + i % d), kept = *at;
                *at = bad[i % 3];
                must(!kernel->floats.finite(rows), "%s: %g at %d of %d was not found", kernel->name, (double)bad[i % 3],
                     i, rows.n * d);
                *at = kept;
            }
        }
    }
    scales[3] = NAN;
    for (EACH_KERNEL(kernel))
        must(kernel->floats.finite((struct sa_rows){NULL, 0, 3, 5, scales}) &&
                 !kernel->floats.finite((struct sa_rows){NULL, 0, 4, 5, scales}),
             "%s: scales are not looked at", kernel->name);
    must(kernel_scalar.floats.finite((struct sa_rows){NULL, 0, 0, 5, NULL}), "no rows are not finite");
    fenced_unmap(&fenced);
}
END_TEST

START_TEST(the_table_names_every_kernel_once) {
    int n;
    const struct sa_kernels *const *table = sa_kernels_table(&n);
    ck_assert_int_ge(n, 1);
    for (int i = 0; i < n; i++) {
        ck_assert_str_eq(table[i]->name, sa_isa_name(table[i]->isa));
        ck_assert(i == 0 || table[i - 1]->isa < table[i]->isa);
        ck_assert(SA_GROUP_ROWS % table[i]->lanes == 0);
        if (!sa_cpu_runs(table[i]->isa))
            printf("  %s: not tested, this processor does not run it\n", table[i]->name);
    }
    ck_assert_ptr_nonnull(kernel_at(0));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels");
    tcase_add_test(add_case(suite, "table"), the_table_names_every_kernel_once);
    tcase_add_loop_test(add_case(suite, "sizes"), every_size_has_the_contracts_bits, 0, N_KINDS);
    tcase_add_test(add_case(suite, "alignment"), every_alignment_has_the_contracts_bits);
    tcase_add_test(add_case(suite, "half"), half_of_a_group_has_the_same_bits);
    TCase *bad = add_case(suite, "bad values");
    tcase_add_test(bad, bad_values_reach_those_who_see_them);
    tcase_add_test(bad, a_lane_is_its_own);
    tcase_add_test(bad, what_is_not_finite_is_found);
    tcase_add_test(add_case(suite, "none"), keys_nobody_sees_score_minus_infinity);
    return run_suite(suite);
}
