/* SPDX-License-Identifier: MIT */
/* Products of int8, bit for bit as the contract says (sa_bytes in kernels.h), in tiles of many rows and of few. Neither
 * a row nor the list of their addresses is read beyond its end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <sa/sa.h>

#include "cpu.h"
#include "fenced.h"
#include "kernels/kernels.h"
#include "rows_ahead.h"

enum { MAX_D = SA_BYTES_MAX_D, MAX_V = SA_MAX_D, KEYS = SA_BLOCK_KEYS, W = SA_TILE_ROWS, MAX_PLACES = 4 };

static const int dims[] = {16, 17, 19, 31, 32, 48, 63, 64, 65, 80, 128, 130, 192, 255, 256};
static const int value_dims[] = {1, 3, 4, 5, 15, 16, 17, 33, 60, 61, 64, 65, 80, 128, 200, 576};
static const int counts[] = {1, 2, 3, 15, 16, 17, 31, 48, 63, 64, 65, 100, 255, 256};
enum {
    N_DIMS = sizeof dims / sizeof dims[0],
    N_VALUE_DIMS = sizeof value_dims / sizeof value_dims[0],
    N_COUNTS = sizeof counts / sizeof counts[0]
};

/* NULL, said aloud: this machine lacks it. */
static const struct sa_kernels *kernels_with_bytes(void) {
    const struct sa_cpu_choice choice = sa_cpu_choose(SA_ISA_AMX_BF16, 0, true);
    if (choice.kernels->bytes) {
        choice.kernels->bytes->enter();
        return choice.kernels;
    }
    printf("skipped: this machine lacks %s\n", sa_isa_name(SA_ISA_AMX_BF16));
    return NULL;
}

/* ---------------------------------------------------------------- the contract */

/* e such that the largest |x| 2^e lies in top / 2 .. top. */
static int exponent_of(float largest, double top) {
    int e = 400;
    while (e > -400 && !(ldexp((double)largest, e) < top))
        e--;
    return largest > 0 ? e : 0;
}

static float largest_of(const float *x, int n, ptrdiff_t step) {
    float largest = 0;
    for (int i = 0; i < n; i++)
        largest = isnan(largest) || fabsf(x[i * step]) <= largest ? largest : fabsf(x[i * step]);
    return largest;
}

/* A sum of products of whole numbers, in two parts: of their last digit, or last two, and of the others. */
struct sum {
    int64_t low, high;
};

static void add_product(struct sum *sum, double x, int64_t base, int64_t at_0, int factor) {
    const int64_t whole = (int64_t)nearbyint(x), high = (int64_t)floor((double)(whole + at_0) / (double)base);
    sum->high += high * factor;
    sum->low += (whole - base * high) * factor;
}

static float joined(struct sum sum, float base) {
    must(llabs(sum.high) <= INT32_MAX && llabs(sum.low) <= INT32_MAX, "a sum is too large: %lld %lld",
         (long long)sum.high, (long long)sum.low);
    return fmaf((float)sum.high, base, (float)sum.low);
}

static float score_of(const float *q, const signed char *k, int d, float factor, float scale) {
    const float largest = largest_of(q, d, 1);
    const int e = isfinite(largest) ? exponent_of(largest, 0x1p22 * 127 / 64) : 0;
    struct sum sum = {0, 0};
    for (int c = 0; c < d && isfinite(largest); c++)
        add_product(&sum, ldexp((double)q[c], e), 256, 128, k[c]);
    return joined(sum, 256) * (isfinite(largest) ? (float)ldexp((double)factor, -e) : NAN) * scale;
}

/* The keys begin .. end - 1 of a block, of which the row sees some. Key j of dimension c is v[j * d + c]. */
static float value_sum(const float *w, const signed char *v, int d, int c, int begin, int end) {
    const float largest = largest_of(w + begin, end - begin, 1);
    const int e = isfinite(largest) ? exponent_of(largest, 0x1p30) : 0;
    struct sum sum = {0, 0};
    for (int j = begin; j < end && isfinite(largest); j++)
        add_product(&sum, ldexp((double)w[j], e), 65536, 0x8080, v[j * d + c]);
    return isfinite(largest) ? (float)ldexp((double)joined(sum, 65536), -e) : NAN;
}

/* ---------------------------------------------------------------- numbers */

/* Rows of very different sizes; zeros, subnormal numbers; a row in twenty with what is not finite. */
static void roll_row(struct dice *dice, float *row, int d) {
    static const float sizes[] = {1, 1, 1, 0x1p-40f, 0x1p-97f, 0x1p-140f, 0x1p126f, 0};
    const float size = sizes[roll(dice) % 8];
    for (int c = 0; c < d; c++)
        row[c] = roll_one_in(dice, 9) ? size * 0x1p-20f * roll_unit(dice) : size * roll_unit(dice);
    if (roll_one_in(dice, 6)) /* at the edges of what digits can hold */
        row[roll(dice) % (uint64_t)d] = size * (roll_one_in(dice, 2) ? 0x1.fbfffep0f : -0x1.fcp0f);
    if (roll_one_in(dice, 20))
        row[roll(dice) % (uint64_t)d] = roll_one_in(dice, 2) ? NAN : -INFINITY;
}

static void roll_bytes(struct dice *dice, signed char *to, size_t n) {
    const bool extreme = roll_one_in(dice, 4);
    for (size_t i = 0; i < n; i++)
        to[i] = (signed char)(extreme ? -128 : (int)(roll(dice) % 256) - 128);
}

static _Alignas(64) float qt[(MAX_D + 1) * W], s[KEYS * W], before[KEYS * W], o[MAX_V * W], o_before[MAX_V * W], mb[W],
    alpha[W], q[W][MAX_D], scale[KEYS];
static _Alignas(64) char turned[KEYS * (MAX_V + 63)];
static signed char dense[KEYS * MAX_V];

/* Rows that end at a fence, evenly apart or not, and their list, which ends at another one. */
struct keys {
    struct fenced memory, list;
    const char **row;
};

static struct keys keys_map(void) {
    return (struct keys){fenced_map(KEYS * (MAX_V + 64) / 4), fenced_map(KEYS * sizeof(char *) / sizeof(float)), NULL};
}

static void keys_unmap(struct keys *keys) {
    fenced_unmap(&keys->memory);
    fenced_unmap(&keys->list);
}

/* The last row, wherever it is in the list, ends at the fence. */
static struct sa_rows place_rows(struct dice *dice, struct keys *keys, int n, int d, bool even) {
    const int stride = d + (int)roll_between(dice, 0, 63), turn = even ? 0 : (int)roll_between(dice, 0, n - 1);
    keys->row = (const char **)(void *)keys->list.end - n;
    for (int j = 0; j < n; j++) {
        char *row = (char *)keys->memory.end - d - ((j + turn) % n) * stride;
        keys->row[j] = memcpy(row, dense + j * d, (size_t)d);
    }
    return (struct sa_rows){(const float *)(const void *)keys->row, sizeof(char *) / sizeof(float), n, d, scale};
}

/* ---------------------------------------------------------------- queries in the lanes */

static int pack_rows(struct dice *dice, const struct sa_bytes *bytes, int n_rows, int d, float factor) {
    const float *rows[W];
    for (int r = 0; r < n_rows; r++) {
        roll_row(dice, q[r], d);
        rows[r] = q[r];
    }
    for (int i = 0; i < (MAX_D + 1) * W; i++)
        qt[i] = NAN;
    bytes->pack(rows, n_rows, d, factor, qt);
    return (n_rows + 15) / 16;
}

START_TEST(scores) {
    const struct sa_kernels *kernels = kernels_with_bytes();
    struct dice dice = {1};
    struct keys keys = keys_map();
    for (int round = 0; kernels && round < 400; round++) {
        const int d = dims[round % N_DIMS], n = counts[round * 7 % N_COUNTS];
        const int n_rows = (int)roll_between(&dice, 1, W), n_groups = pack_rows(&dice, kernels->bytes, n_rows, d, 0.3f);
        const int g0 = (int)roll_between(&dice, 0, n_groups - 1), g1 = (int)roll_between(&dice, g0 + 1, n_groups);
        roll_bytes(&dice, dense, (size_t)(n * d));
        for (int j = 0; j < n; j++)
            scale[j] = roll_one_in(&dice, 20) ? INFINITY : roll_unit(&dice);
        const struct sa_rows rows = place_rows(&dice, &keys, n, d, round % 3);
        struct sa_ahead ahead = {.n_sets = 0};
        sa_ahead_open(&ahead);
        for (int i = 0; i < KEYS * W; i++)
            s[i] = 7;
        for (int r = 0; r < W; r++)
            mb[r] = -INFINITY;
        kernels->bytes->products.scores(qt, g0, g1, rows, s, mb, &ahead);
        for (int r = 0; r < W; r++) {
            float most = -INFINITY;
            for (int j = 0; j < KEYS; j++) {
                const bool scored = 16 * g0 <= r && r < 16 * g1 && j < n;
                if (scored && r >= n_rows)
                    continue; /* nobody looks at it */
                const float wanted = scored ? score_of(q[r], dense + j * d, d, 0.3f, scale[j]) : 7;
                must(same_float(s[j * W + r], wanted), "round %d, %d of %d keys, %d dimensions, row %d: %a, not %a",
                     round, j, n, d, r, (double)s[j * W + r], (double)wanted);
                most = scored && wanted > most ? wanted : most;
            }
            must(r >= n_rows || mb[r] == most || isnan(mb[r]), "the largest score of row %d", r);
        }
    }
    keys_unmap(&keys);
}
END_TEST

static bool sees(const struct sa_lane_keys *keys, int r, int j) {
    return (j < keys->sink[r] || keys->lo[r] <= j) && j < keys->hi[r];
}

/* What a row has for weights times scales; of keys that it does not see nothing. */
static void weights_of(int r, const struct sa_lane_keys *keys, int first, int n, float *w) {
    for (int j = 0; j < n; j++)
        w[j] = !keys || sees(keys, r, first + j) ? before[j * W + r] * scale[j] : 0;
}

static void roll_weights(struct dice *dice) {
    static const float sizes[] = {1, 1, 1, 0x1p-30f, 0x1p-100f, 0x1p-126f};
    for (int r = 0; r < W; r++) {
        const float size = sizes[roll(dice) % 6];
        for (int j = 0; j < KEYS; j++)
            before[j * W + r] = roll_one_in(dice, 9) ? 0 : size * fabsf(roll_unit(dice));
    }
    const float size = roll_one_in(dice, 3) ? 0x1p-30f : 1;
    for (int j = 0; j < KEYS; j++)
        scale[j] = size * roll_unit(dice);
    for (int i = 0; i < MAX_V * W; i++)
        o_before[i] = roll_unit(dice);
    for (int r = 0; r < W; r++)
        alpha[r] = fabsf(roll_unit(dice));
}

static void check_values(int round, int g0, int g1, int d, const int *begin, const int *end, bool fresh,
                         const struct sa_lane_keys *keys, int first) {
    for (int r = 0; r < W; r++) {
        float w[KEYS];
        weights_of(r, keys, first, KEYS, w);
        for (int c = 0; c < d; c++) {
            const bool added = 16 * g0 <= r && r < 16 * g1;
            float wanted = o_before[c * W + r];
            if (added) {
                const float sum = value_sum(w, dense, d, c, begin[r / 16], end[r / 16]);
                wanted = fresh ? sum : fmaf(wanted, alpha[r], sum);
            }
            must(same_float(o[c * W + r], wanted), "round %d, dimension %d of %d of row %d: %a, not %a", round, c, d, r,
                 (double)o[c * W + r], (double)wanted);
        }
    }
}

START_TEST(values) {
    const struct sa_kernels *kernels = kernels_with_bytes();
    struct dice dice = {2};
    struct keys keys = keys_map();
    for (int round = 0; kernels && round < 160; round++) {
        const int d = value_dims[round % N_VALUE_DIMS], n = counts[round * 5 % N_COUNTS];
        const int g0 = (int)roll_between(&dice, 0, 3), g1 = (int)roll_between(&dice, g0 + 1, 4);
        struct sa_stairs stairs = {{0}, {0}};
        struct sa_ahead ahead = {.n_sets = 0};
        sa_ahead_open(&ahead);
        for (int g = 0; g < 4; g++) {
            stairs.begin[g] = n < 9 ? 0 : g * n / 11;
            stairs.end[g] = n - (n < 9 ? 0 : (3 - g) * n / 9);
        }
        roll_bytes(&dice, dense, (size_t)(n * d));
        roll_weights(&dice);
        place_rows(&dice, &keys, n, d, true);
        kernels->bytes->turn(keys.row, 0, n, d, turned);
        memcpy(s, before, sizeof s);
        memcpy(o, o_before, sizeof o);
        const struct sa_rows rows = {(const float *)(const void *)turned, 0, n, d, scale};
        kernels->bytes->products.values(s, g0, g1, &stairs, rows, round % 4 ? alpha : NULL, o, &ahead);
        check_values(round, g0, g1, d, stairs.begin, stairs.end, round % 4 == 0, NULL, 0);
    }
    keys_unmap(&keys);
}
END_TEST

/* Scales that are not finite where a row does not look, and at times where it does. */
START_TEST(values_that_some_rows_do_not_see) {
    const struct sa_kernels *kernels = kernels_with_bytes();
    struct dice dice = {3};
    static _Alignas(64) int32_t lo[W], hi[W], sink[W];
    const struct sa_lane_keys lanes = {lo, hi, sink, NULL};
    struct keys keys = keys_map();
    for (int round = 0; kernels && round < 100; round++) {
        const int d = value_dims[round % N_VALUE_DIMS], at = KEYS * (int)roll_between(&dice, 0, 3);
        const int begin = (int)roll_between(&dice, 0, KEYS - 1), end = (int)roll_between(&dice, begin + 1, KEYS);
        const int g = (int)roll_between(&dice, 0, 3), begins[4] = {begin, begin, begin, begin},
                  ends[4] = {end, end, end, end};
        roll_bytes(&dice, dense, sizeof dense);
        roll_weights(&dice);
        for (int r = 0; r < W; r++) {
            sink[r] = (int32_t)roll_between(&dice, 0, at + 20);
            lo[r] = (int32_t)roll_between(&dice, sink[r], at + KEYS);
            hi[r] = (int32_t)roll_between(&dice, lo[r], at + KEYS);
        }
        scale[roll_between(&dice, begin, end - 1)] = roll_one_in(&dice, 2) ? NAN : INFINITY;
        const struct sa_rows all = {NULL, 0, end, d, scale};
        must(!kernels->bytes->products.finite(all), "a scale is not finite");
        place_rows(&dice, &keys, end, d, false);
        for (int j = 0; j < begin; j++)
            keys.row[j] = keys.row[end - 1];
        kernels->bytes->turn(keys.row, begin, end, d, turned);
        memcpy(s, before, sizeof s);
        memcpy(o, o_before, sizeof o);
        const struct sa_rows rows = {(const float *)(const void *)turned, 0, end - begin, d, scale + begin};
        kernels->bytes->products.values_masked(s + begin * W, g, rows, at + begin, lanes, alpha, o);
        check_values(round, g, g + 1, d, begins, ends, false, &lanes, at);
        for (int j = 0; j < KEYS; j++)
            scale[j] = -1e30f;
        must(kernels->bytes->products.finite(all), "all scales are finite");
    }
    keys_unmap(&keys);
}
END_TEST

/* ---------------------------------------------------------------- few rows */

/* Rows of several places, of which every other one may have its own queries. */
struct few {
    const char *row[MAX_PLACES * KEYS];
    struct sa_pointed pointed;
};

static void place_few(struct dice *dice, struct few *few, struct keys *keys, int places, int n, int turn, int d) {
    const int stride = d + (int)roll_between(dice, 0, 63);
    for (int i = 0; i < places * n; i++)
        few->row[i] = (char *)keys->memory.end - d - (places * n - 1 - i) * stride;
    for (int i = 0; i < places * n; i++)
        roll_bytes(dice, (signed char *)(uintptr_t)few->row[i], (size_t)d);
    few->pointed =
        (struct sa_pointed){few->row, places, n, n, turn, d, SA_I8, stride, 0, {{NULL}, places * n, d}, false, 0};
    for (int p = 0; p < SA_FETCH_PLACES; p++)
        few->pointed.ahead.row[p] = few->row;
}

START_TEST(scores_of_few_rows) {
    const struct sa_kernels *kernels = kernels_with_bytes();
    struct dice dice = {4};
    struct keys keys = {fenced_map(MAX_PLACES * KEYS * (MAX_D + 64) / 4), fenced_map(1), NULL};
    static struct few few;
    for (int round = 0; kernels && round < 200; round++) {
        const int d = dims[round % N_DIMS], n_rows = 1 + round % SA_FEW_ROWS, places = (int)roll_between(&dice, 1, 4);
        const int step = kernels->bytes->products.few_step, n = step * (int)roll_between(&dice, 1, KEYS / step);
        place_few(&dice, &few, &keys, places, n, 64, d);
        few.pointed.q_rows = round % 3 ? SA_FEW_ROWS : 0;
        pack_rows(&dice, kernels->bytes, W, d, 0.2f);
        kernels->bytes->products.few_scores(qt, n_rows, few.pointed, s);
        for (int i = 0; i < places; i++)
            for (int r = 0; r < n_rows; r++)
                for (int j = 0; j < n; j++) {
                    const float *own = q[i * few.pointed.q_rows + r];
                    const float got = s[(i * SA_FEW_ROWS + r) * SA_FEW_STRIDE + j],
                                wanted = score_of(own, (const signed char *)few.row[i * n + j], d, 0.2f, 1.0f);
                    must(same_float(got, wanted), "round %d, place %d, row %d of %d, key %d, %d dimensions: %a, not %a",
                         round, i, r, n_rows, j, d, (double)got, (double)wanted);
                }
    }
    keys_unmap(&keys);
}
END_TEST

/* Of all keys that a row has weights for in a block, in one run or in several. */
START_TEST(values_of_few_rows) {
    const struct sa_kernels *kernels = kernels_with_bytes();
    struct dice dice = {5};
    struct keys keys = {fenced_map(MAX_PLACES * KEYS * (MAX_V + 64) / 4), fenced_map(1), NULL};
    static struct few few;
    static _Alignas(64) float sums[MAX_PLACES * SA_FEW_ROWS * SA_BYTES_DIGITS * 640],
        units[MAX_PLACES][2 * SA_FEW_ROWS];
    static float w[MAX_PLACES][SA_FEW_ROWS][KEYS];
    for (int round = 0; kernels && round < 160; round++) {
        const int d = value_dims[round % N_VALUE_DIMS], n_rows = 1 + round % SA_FEW_ROWS,
                  places = (int)roll_between(&dice, 1, 4), n = round % 2 ? counts[round * 5 % N_COUNTS] : KEYS;
        const int width = sa_bytes_stride(d), place_floats = SA_FEW_ROWS * SA_BYTES_DIGITS * width,
                  cut = round % 3 ? 0 : (int)roll_between(&dice, 0, n);
        place_few(&dice, &few, &keys, places, n, places > 1 && n > 64 && n % 64 == 0 ? 64 : KEYS, d);
        for (int i = 0; i < places; i++) {
            float *own = s + i * SA_FEW_ROWS * SA_FEW_STRIDE;
            roll_weights(&dice);
            for (int r = 0; r < n_rows; r++) {
                weights_of(r, NULL, 0, KEYS, w[i][r]);
                w[i][r][0] = roll_one_in(&dice, 20) ? NAN : w[i][r][0];
                for (int j = 0; j < SA_FEW_STRIDE; j++)
                    own[r * SA_FEW_STRIDE + j] = j < n ? w[i][r][j] : j < (n + 15) / 16 * 16 ? 0 : NAN;
            }
            kernels->bytes->few_level(n_rows, (n + 15) / 16 * 16, own, units[i]);
            memset(sums + i * place_floats, 0, (size_t)(n_rows * SA_BYTES_DIGITS * width) * sizeof *sums);
        }
        if (cut && places == 1) { /* the engine adds runs at any key */
            struct sa_pointed part = few.pointed;
            part.n = cut;
            kernels->bytes->products.few_values(s, n_rows, part, sums);
            part.n = n - cut;
            part.row = few.row + cut;
            if (part.n)
                kernels->bytes->products.few_values(s + cut, n_rows, part, sums);
        } else
            kernels->bytes->products.few_values(s, n_rows, few.pointed, sums);
        for (int i = 0; i < places; i++) {
            float *own = sums + i * place_floats;
            for (int j = 0; j < n; j++)
                memcpy(dense + j * d, few.row[i * n + j], (size_t)d);
            kernels->bytes->few_join(n_rows, d, units[i], own);
            for (int r = 0; r < n_rows; r++)
                for (int c = 0; c < d; c++) {
                    const float got = own[r * sa_near_stride(d) + c], wanted = value_sum(w[i][r], dense, d, c, 0, n);
                    must(same_float(got, wanted),
                         "round %d, place %d of %d, row %d of %d, %d of %d, %d keys: %a, not %a", round, i, places, r,
                         n_rows, c, d, n, (double)got, (double)wanted);
                }
        }
    }
    keys_unmap(&keys);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernel_bytes");
    TCase *tcase = add_case(suite, "kernel_bytes");
    tcase_add_test(tcase, scores);
    tcase_add_test(tcase, values);
    tcase_add_test(tcase, values_that_some_rows_do_not_see);
    tcase_add_test(tcase, scores_of_few_rows);
    tcase_add_test(tcase, values_of_few_rows);
    return run_suite(suite);
}
