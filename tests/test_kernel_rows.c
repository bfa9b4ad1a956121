/* SPDX-License-Identifier: MIT */
/* The rest of every kernel, bit for bit as the contract says: packing, weights, merging, finishing. */
#include <float.h>

#include "fenced.h"
#include "kernel_frame.h"

static const int dims[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,   13,
                           14, 15, 16, 17, 18, 19, 20, 63, 64, 65, 66, MAX_D};
enum { N_DIMS = sizeof dims / sizeof dims[0] };

/* ---------------------------------------------------------------- pack */

/* The last of the rows ends at the fence, or the first begins behind the other one. */
static float *place(struct dice *dice, const struct fenced *fenced, int n_rows, int d, ptrdiff_t stride) {
    return roll_one_in(dice, 4) ? fenced->begin : fenced->end - ((n_rows - 1) * stride + d);
}

START_TEST(rows_are_packed) {
    const struct sa_kernels *kernel;
    struct dice dice = {1};
    struct fenced fenced = fenced_map(SA_TILE_ROWS * (MAX_D + 8));
    roll_floats(&dice, fenced.begin, (size_t)(fenced.end - fenced.begin));
    roll_floats(&dice, (float *)&before, sizeof before / sizeof(float));
    for (int n_rows = 1; n_rows <= SA_TILE_ROWS; n_rows++)
        for (int i = 0; i < N_DIMS; i++) {
            const float *rows[SA_TILE_ROWS];
            ptrdiff_t stride = dims[i] + roll_between(&dice, 0, 7);
            for (int r = 0; r < n_rows; r++)
                rows[r] = place(&dice, &fenced, n_rows, dims[i], stride) + r * stride;
            float factor = roll_value(&dice);
            frame_copy(&wanted, &before, 0, dims[i]);
            tile_pack(&kernel_scalar, rows, n_rows, dims[i], factor, wanted.o[0]);
            for (EACH_KERNEL(kernel)) {
                frame_copy(&got, &before, 0, dims[i]);
                tile_pack(kernel, rows, n_rows, dims[i], factor, got.o[0]);
                frame_check(kernel->name, 0, dims[i]);
            }
        }
    fenced_unmap(&fenced);
}
END_TEST

/* ---------------------------------------------------------------- finish */

/* A fenced output for each side, the same bits between the rows. */
struct outputs {
    struct fenced wanted, got;
};

static void check_outputs(const struct outputs *out, const char *kernel, int n_rows, int d) {
    size_t n = (size_t)(out->got.end - out->got.begin);
    if (memcmp(out->got.begin, out->wanted.begin, n * sizeof(float)) == 0)
        return;
    for (size_t i = 0; i < n; i++)
        must(same_float(out->got.begin[i], out->wanted.begin[i]), "%s, %d rows of %d: float %zu is %a, expected %a",
             kernel, n_rows, d, i, (double)out->got.begin[i], (double)out->wanted.begin[i]);
}

static void check_finish(struct dice *dice, const struct outputs *out, int n_rows, int d) {
    const struct sa_kernels *kernel;
    struct sa_state state = {before.m, before.l, before.o[0]};
    ptrdiff_t stride = d + roll_between(dice, 0, 7),
              at = place(dice, &out->wanted, n_rows, d, stride) - out->wanted.begin;
    size_t bytes = (size_t)(out->got.end - out->got.begin) * sizeof(float);
    float *rows[SA_TILE_ROWS];
    memset(out->wanted.begin, 0x77, bytes);
    for (int r = 0; r < n_rows; r++)
        rows[r] = out->wanted.begin + at + r * stride;
    tile_finish(&kernel_scalar, &state, n_rows, d, rows);
    for (EACH_KERNEL(kernel)) {
        memset(out->got.begin, 0x77, bytes);
        for (int r = 0; r < n_rows; r++)
            rows[r] = out->got.begin + at + r * stride;
        tile_finish(kernel, &state, n_rows, d, rows);
        check_outputs(out, kernel->name, n_rows, d);
    }
}

static void roll_sums(struct dice *dice, float *l) {
    static const float edges[] = {0.0f, 0.0f, 1.0f, NAN, INFINITY, 3.0f};
    for (int r = 0; r < SA_TILE_ROWS; r++)
        l[r] = roll_one_in(dice, 3) ? edges[roll(dice) % 6] : 1.0f + 1000.0f * fabsf(roll_unit(dice));
}

START_TEST(rows_are_finished) {
    struct dice dice = {2};
    for (int i = 0; i < N_DIMS; i++) {
        size_t room = (size_t)SA_TILE_ROWS * (size_t)(dims[i] + 8);
        struct outputs out = {fenced_map(room), fenced_map(room)};
        for (int n_rows = 1; n_rows <= SA_TILE_ROWS; n_rows++) {
            roll_floats(&dice, before.o[0], (size_t)dims[i] * SA_TILE_ROWS);
            for (int k = 0; k < 8; k++) /* zeros of both signs come out as +0 */
                before.o[roll(&dice) % (unsigned)dims[i]][roll(&dice) % SA_TILE_ROWS] = k % 2 ? 0.0f : -0.0f;
            roll_sums(&dice, before.l);
            check_finish(&dice, &out, n_rows, dims[i]);
        }
        fenced_unmap(&out.wanted);
        fenced_unmap(&out.got);
    }
}
END_TEST

/* ---------------------------------------------------------------- weights */

/* Scores and maxima as they come: equal, far apart, huge, nothing seen yet, not a number. */
static float roll_score(struct dice *dice) {
    switch (roll(dice) % 64) {
    case 0: return NAN;
    case 1: return INFINITY;
    case 2: return 0x1p126f * roll_unit(dice);
    case 3: return 0x1p-140f * roll_unit(dice);
    default: return roll_one_in(dice, 3) ? -INFINITY : 100 * roll_unit(dice);
    }
}

/* One lane: scores of a kind of their own, so that most lanes have no NaN in them. */
static void roll_lane(struct dice *dice, int r, int n_keys) {
    bool tame = !roll_one_in(dice, 4);
    float reach = roll_one_in(dice, 2) ? 4 : 200;
    before.mb[r] = -INFINITY;
    for (int j = 0; j < n_keys; j++) {
        before.s[j][r] = tame ? reach * roll_unit(dice) : roll_score(dice);
        before.mb[r] = before.mb[r] > before.s[j][r] ? before.mb[r] : before.s[j][r];
    }
    before.m[r] = roll_one_in(dice, 3) ? -INFINITY : tame ? reach * roll_unit(dice) : roll_score(dice);
    before.l[r] = before.m[r] == -INFINITY ? 0 : 1 + 100 * fabsf(roll_unit(dice));
}

/* A row with a NaN among its scores is lost whatever its maximum then is; its weights may be anything. */
static void forget_lost_rows(int n_keys) {
    for (int r = 0; r < SA_TILE_ROWS; r++)
        for (int j = 0; j < n_keys && wanted.l[r] != wanted.l[r]; j++)
            got.s[j][r] = wanted.s[j][r];
}

START_TEST(weights_are_taken) {
    const struct sa_kernels *kernel;
    struct dice dice = {3};
    for (int i = 0; i < 400; i++) {
        int n_keys = (int)roll_between(&dice, 0, 16) * SA_SUM_KEYS, g = (int)roll_between(&dice, 0, 3);
        for (int r = 0; r < SA_TILE_ROWS; r++)
            roll_lane(&dice, r, n_keys);
        if (roll_one_in(&dice, 8)) /* a group of which some rows see nothing at all */
            for (int j = 0; j < n_keys; j++)
                before.s[j][16 * g + 3] = before.mb[16 * g + 3] = before.m[16 * g + 3] = -INFINITY;
        frame_copy(&wanted, &before, n_keys, 0);
        tile_weights(&kernel_scalar, g, n_keys, wanted.s[0], wanted.mb, wanted.m, wanted.l, wanted.alpha);
        for (EACH_KERNEL(kernel)) {
            frame_copy(&got, &before, n_keys, 0);
            tile_weights(kernel, g, n_keys, got.s[0], got.mb, got.m, got.l, got.alpha);
            forget_lost_rows(n_keys);
            frame_check(kernel->name, n_keys, 0);
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- 2^x */

enum { PER_CALL = SA_BLOCK_KEYS * SA_GROUP_ROWS };

/* 2^x of PER_CALL numbers at once: weights of rows whose maximum is 0. */
static void exp2_of(const struct sa_kernels *kernel, const float *x, float *y) {
    for (int r = 0; r < SA_GROUP_ROWS; r++)
        got.m[r] = 0.0f, got.mb[r] = -INFINITY, got.l[r] = 0.0f;
    for (int i = 0; i < PER_CALL; i++)
        got.s[i / 16][i % 16] = x[i];
    tile_weights(kernel, 0, SA_BLOCK_KEYS, got.s[0], got.mb, got.m, got.l, got.alpha);
    for (int i = 0; i < PER_CALL; i++)
        y[i] = got.s[i / 16][i % 16];
}

static void check_exp2(const char *kernel, float x, float y) {
    must(same_float(y, scalar_exp2(x)), "%s: 2^%a is %a, expected %a", kernel, (double)x, (double)y,
         (double)scalar_exp2(x));
    if (x != x)
        return;
    if (x < -126.0f)
        must(y >= 0 && y < 0x1p-126f && (x > -127.0f || bits_of(y) == 0), "%s: 2^%a is %a", kernel, (double)x,
             (double)y);
    else
        must(fabs((double)y / exp2((double)x) - 1) <= 1.88 * 0x1p-24, "%s: 2^%a is %a", kernel, (double)x, (double)y);
    if (x == 0.0f)
        must(y == 1.0f, "%s: 2^0 is %a", kernel, (double)y);
}

static void check_all_exp2(const float *x) {
    static float y[PER_CALL];
    const struct sa_kernels *kernel;
    for (EACH_KERNEL(kernel)) {
        exp2_of(kernel, x, y);
        for (int i = 0; i < PER_CALL; i++)
            check_exp2(kernel->name, x[i], y[i]);
    }
}

/* Evenly over all floats from -0 to beyond the point where 2^x is 0, then around every half and whole number. */
START_TEST(exp2_is_near_and_the_same_everywhere) {
    static float x[PER_CALL];
    const uint32_t first = bits_of(-0.0f), last = bits_of(-200.0f), step = 523;
    for (uint32_t at = first; at < last;) {
        for (int i = 0; i < PER_CALL; i++, at += step)
            x[i] = float_of(at < last ? at : last);
        check_all_exp2(x);
    }
    for (int half = 0; half < 2 * 130; half += 64) {
        for (int i = 0; i < PER_CALL; i++)
            x[i] = float_of(bits_of(-0.5f * (float)(half + i / 64)) + (uint32_t)(i % 64) - 32);
        x[0] = x[1] = -0.0f; /* around 0 there is nothing negative before it */
        for (int i = 0; i < PER_CALL; i++)
            x[i] = x[i] > 0 || x[i] != x[i] ? 0.0f : x[i];
        check_all_exp2(x);
    }
}
END_TEST

START_TEST(exp2_of_special_values) {
    static float x[PER_CALL];
    static const float special[] = {0.0f,        -0.0f,        -126.0f, -0x1.f80002p+6f, -0x1.f7fffep+6f,
                                    -INFINITY,   NAN,          -1e38f,  -FLT_MAX,        -FLT_MIN,
                                    -0x1p-149f,  -1.0f,        -125.5f, -0.5f,           -1.5f,
                                    -8388608.0f, -16777216.0f, -2e9f,   -127.0f,         -150.0f};
    for (int i = 0; i < PER_CALL; i++)
        x[i] = special[(size_t)i % (sizeof special / sizeof special[0])];
    check_all_exp2(x);
}
END_TEST

/* ---------------------------------------------------------------- merge */

struct partial {
    _Alignas(64) float m[SA_TILE_ROWS];
    float l[SA_TILE_ROWS], o[MAX_D + 1][SA_TILE_ROWS];
};

static struct partial second;

static struct sa_state state_of(float *m, float *l, float *o) { return (struct sa_state){m, l, o}; }

/* Rows with nothing in them on either side, and a few with nothing but trouble. */
static void roll_partials(struct dice *dice, int d) {
    roll_floats(dice, before.o[0], (size_t)d * SA_TILE_ROWS);
    roll_floats(dice, second.o[0], (size_t)d * SA_TILE_ROWS);
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        bool tame = !roll_one_in(dice, 8);
        before.m[r] = tame ? 20 * roll_unit(dice) : roll_score(dice);
        second.m[r] = tame ? 20 * roll_unit(dice) : roll_score(dice);
        before.l[r] = 1 + fabsf(roll_unit(dice));
        second.l[r] = 1 + fabsf(roll_unit(dice));
        bool no_first = before.m[r] == -INFINITY || roll_one_in(dice, 4);
        bool no_second = second.m[r] == -INFINITY || roll_one_in(dice, 4);
        if (no_first)
            before.m[r] = -INFINITY, before.l[r] = 0;
        if (no_second)
            second.m[r] = -INFINITY, second.l[r] = 0;
        for (int c = 0; c < d; c++) {
            before.o[c][r] = no_first ? 0.0f : before.o[c][r];
            second.o[c][r] = no_second ? 0.0f : second.o[c][r];
        }
    }
}

/* A row with nothing in it is neutral: the other one's bits come out. */
static void check_neutral(const char *kernel, int n_groups, int d) {
    for (int r = 0; r < n_groups * SA_GROUP_ROWS; r++) {
        bool no_second = second.m[r] == -INFINITY && before.m[r] == before.m[r] && before.m[r] != INFINITY;
        bool no_first = before.m[r] == -INFINITY && second.m[r] == second.m[r] && second.m[r] != INFINITY;
        for (int c = 0; c < d && no_second; c++)
            must(got.o[c][r] == before.o[c][r] && got.l[r] == before.l[r], "%s: row %d, nothing second", kernel, r);
        for (int c = 0; c < d && no_first; c++)
            must(got.o[c][r] == second.o[c][r] && got.l[r] == second.l[r], "%s: row %d, nothing first", kernel, r);
    }
}

START_TEST(partial_results_are_merged) {
    const struct sa_kernels *kernel;
    struct dice dice = {5};
    const struct sa_state b = state_of(second.m, second.l, second.o[0]);
    for (int round = 0; round < 4; round++)
        for (int i = 0; i < N_DIMS; i++)
            for (int n_groups = 1; n_groups <= SA_TILE_GROUPS; n_groups++) {
                roll_partials(&dice, dims[i]);
                frame_copy(&wanted, &before, 0, dims[i]);
                struct sa_state a = state_of(wanted.m, wanted.l, wanted.o[0]);
                tile_merge(&kernel_scalar, n_groups, dims[i], &a, &b);
                for (EACH_KERNEL(kernel)) {
                    frame_copy(&got, &before, 0, dims[i]);
                    a = state_of(got.m, got.l, got.o[0]);
                    tile_merge(kernel, n_groups, dims[i], &a, &b);
                    frame_check(kernel->name, 0, dims[i]);
                    check_neutral(kernel->name, n_groups, dims[i]);
                }
            }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernel rows");
    tcase_add_test(add_case(suite, "pack"), rows_are_packed);
    tcase_add_test(add_case(suite, "finish"), rows_are_finished);
    tcase_add_test(add_case(suite, "weights"), weights_are_taken);
    TCase *exp2s = add_case(suite, "exp2");
    tcase_add_test(exp2s, exp2_is_near_and_the_same_everywhere);
    tcase_add_test(exp2s, exp2_of_special_values);
    tcase_add_test(add_case(suite, "merge"), partial_results_are_merged);
    return run_suite(suite);
}
