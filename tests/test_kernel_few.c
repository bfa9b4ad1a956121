/* SPDX-License-Identifier: MIT */
/* Scores and values of tiles of few rows, bit for bit as the contract says, of several places in turn, with the same
 * queries or each with its own; neither a row nor the list of their addresses is read beyond its end, whatever is
 * fetched ahead. What is kept of rows, as in lanes. */
#include <math.h>
#include <stdlib.h>

#include <sa/sa.h>

#include "abreast.h"
#include "each_kernel.h"
#include "fenced.h"

enum { MAX_D = 576 };

static const int dims[] = {1, 7, 8, 16, 17, 31, 40, 64, 80, 128, 576};
static const int types[] = {SA_F32, SA_BF16, SA_F16, SA_I8};
enum { N_DIMS = sizeof dims / sizeof dims[0], N_TYPES = sizeof types / sizeof types[0] };

/* Rows that end at a fence, and the list of their addresses, which does so too. */
struct few {
    struct fenced memory, list;
    struct sa_pointed rows;
    float near[SA_RUN_KEYS][MAX_D]; /* the same as floats */
};

enum { MAX_PLACES = 4, PLACE_SCORES = SA_FEW_ROWS * SA_FEW_STRIDE };

static _Alignas(64) float qt[MAX_D * SA_TILE_ROWS], s[MAX_PLACES * PLACE_SCORES],
    sums[MAX_PLACES * SA_FEW_ROWS * (MAX_D + 2 * SA_LINE_FLOATS)];

/* n rows of each place, `turn` in turn. */
static void make_few(struct few *few, struct dice *dice, const struct sa_kernels *kernel, int places, int n, int turn,
                     int d, int type) {
    const int bytes = d * (type == SA_F32 ? 4 : type == SA_I8 ? 1 : 2), all = places * n;
    char *first = (char *)few->memory.end - all * bytes;
    const bool goes_on = roll_between(dice, 0, 1);
    const char **row = (const char **)(void *)few->list.end - all - goes_on;
    for (int i = 0; i < all * bytes; i++)
        first[i] = (char)roll(dice);
    for (int i = 0; i < all * d && type == SA_F32; i++) { /* sums of any bits would be inf */
        const float x = roll_unit(dice);
        memcpy(first + 4 * i, &x, sizeof x);
    }
    for (int j = 0; j < all; j++)
        row[j] = first + j * bytes;
    if (goes_on)
        row[all] = first;
    few->rows =
        (struct sa_pointed){row, places, n, n, turn, d, type, bytes, 0, {{row, row, row, row}, n, bytes}, goes_on, 0};
    kernel->widen((struct sa_stored){first, bytes, all, d, type}, few->near[0], MAX_D);
}

/* Dimension c of row first + r, of a place whose rows begin with the first. */
static float query_of(const struct sa_kernels *kernel, const struct few *few, int n_rows, int first, int r, int c) {
    const int width = kernel->pass_groups * SA_GROUP_ROWS, pass = first / width * width, d = few->rows.d;
    if (kernel->few_queries)
        return qt[first * d + c * sa_rows_abreast(n_rows) + r];
    return qt[pass * d + c * width + first % width + r];
}

static void check_scores(const struct few *few, const struct sa_kernels *kernel, int n_rows) {
    const int n = few->rows.n;
    kernel->floats.few_scores(qt, n_rows, few->rows, s);
    for (int r = 0; r < n_rows; r++)
        for (int j = 0; j < few->rows.places * n; j++) {
            float sum = 0.0f;
            const int first = j / n * few->rows.q_rows;
            for (int c = 0; c < few->rows.d; c++)
                sum = fmaf(query_of(kernel, few, n_rows, first, r, c), few->near[j][c], sum);
            must(same_float(s[j / n * PLACE_SCORES + r * SA_FEW_STRIDE + j % n], sum),
                 "%s, type %d, %d rows, %d x %d keys of %d: score %d of row %d", kernel->name, few->rows.type, n_rows,
                 few->rows.places, n, few->rows.d, j, r);
        }
}

static void check_values(const struct few *few, const struct sa_kernels *kernel, struct dice *dice, int n_rows) {
    const int width = sa_near_stride(few->rows.d), n = few->rows.n;
    for (int i = 0; i < MAX_PLACES * PLACE_SCORES; i++)
        s[i] = roll_unit(dice);
    memset(sums, 0, sizeof sums);
    for (int i = 0; i < few->rows.places; i++)
        sums[i * SA_FEW_ROWS * width] = 1.0f; /* they go on from what is there */
    kernel->floats.few_values(s, n_rows, few->rows, sums);
    for (int i = 0; i < few->rows.places * n_rows * few->rows.d; i++) {
        const int c = i % few->rows.d, r = i / few->rows.d % n_rows, p = i / few->rows.d / n_rows;
        float sum = c == 0 && r == 0;
        for (int j = 0; j < n; j++)
            sum = fmaf(s[p * PLACE_SCORES + r * SA_FEW_STRIDE + j], few->near[p * n + j][c], sum);
        must(same_float(sums[(p * SA_FEW_ROWS + r) * width + c], sum),
             "%s, type %d, %d rows, %d x %d keys of %d: dimension %d of row %d", kernel->name, few->rows.type, n_rows,
             few->rows.places, n, few->rows.d, c, r);
    }
}

/* As many as there is memory for. */
static int few_places(int n) { return SA_RUN_KEYS / n < MAX_PLACES ? SA_RUN_KEYS / n : MAX_PLACES; }

START_TEST(scores_and_values) {
    static struct few few;
    const struct sa_kernels *kernel;
    struct dice dice = {1};
    few.memory = fenced_map(SA_RUN_KEYS * MAX_D);
    few.list = fenced_map((SA_RUN_KEYS + 1) * sizeof(char *) / sizeof(float));
    for (int i = 0; i < MAX_D * SA_TILE_ROWS; i++)
        qt[i] = roll_unit(&dice);
    for (EACH_KERNEL(kernel))
        for (int i = 0; i < N_DIMS; i++)
            for (int n_rows = 1; n_rows <= SA_FEW_ROWS; n_rows++) {
                const int tile = sa_few_tile(kernel->lanes, types[_i] == SA_F32 ? 4 : 1),
                          step = kernel->floats.few_step;
                const int n_steps = n_rows == 1 ? SA_RUN_KEYS / step : (int)roll_between(&dice, 1, SA_RUN_KEYS / step);
                const int n = n_rows == 1 ? SA_RUN_KEYS : (int)roll_between(&dice, 1, SA_RUN_KEYS);
                make_few(&few, &dice, kernel, few_places(n_steps * step), n_steps * step,
                         (int)roll_between(&dice, 1, SA_RUN_KEYS / tile) * tile, dims[i], types[_i]);
                check_scores(&few, kernel, n_rows);
                few.rows.q_rows = sa_rows_abreast(n_rows);
                check_scores(&few, kernel, n_rows);
                make_few(&few, &dice, kernel, few_places(n), n, (int)roll_between(&dice, 1, n), dims[i], types[_i]);
                check_values(&few, kernel, &dice, n_rows);
                few.rows.at_once = (int)roll_between(&dice, 1, n);
                check_values(&few, kernel, &dice, n_rows);
            }
    fenced_unmap(&few.memory);
    fenced_unmap(&few.list);
}
END_TEST

START_TEST(queries_side_by_side) {
    static float dense[MAX_D * SA_FEW_ROWS];
    const struct sa_kernels *kernel;
    struct dice dice = {2};
    for (int i = 0; i < MAX_D * SA_TILE_ROWS; i++)
        qt[i] = roll_unit(&dice);
    for (EACH_KERNEL(kernel))
        for (int i = 0; i < N_DIMS && kernel->few_queries; i++)
            for (int n = 1; n <= SA_FEW_ROWS; n *= 2) {
                const int width = kernel->pass_groups * SA_GROUP_ROWS;
                kernel->few_queries(qt + n, n, dims[i], dense);
                for (int j = 0; j < dims[i] * n; j++)
                    must(same_float(dense[j], qt[j / n * width + n + j % n]), "%s, %d rows of %d: element %d",
                         kernel->name, n, dims[i], j);
            }
}
END_TEST

/* ---------------------------------------------------------------- what is kept of rows */

enum { N_STATE = SA_FEW_ROWS * (MAX_D + 2 * SA_LINE_FLOATS) };

static struct kept {
    _Alignas(64) float m[SA_TILE_ROWS], l[SA_TILE_ROWS], few[N_STATE], lanes[MAX_D * SA_TILE_ROWS];
} kept[2];

/* Now and then nothing, infinite, or a zero of either sign. */
static float roll_kept(struct dice *dice, float nothing) {
    const int64_t n = roll_between(dice, 0, 19);
    return n == 0 ? nothing : n == 1 ? INFINITY : n == 2 ? -0.0f : roll_unit(dice);
}

static void make_kept(struct kept *k, struct dice *dice, int width, int d) {
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        k->m[r] = roll_kept(dice, -INFINITY);
        k->l[r] = fabsf(roll_kept(dice, 0.0f));
    }
    for (int i = 0; i < N_STATE; i++)
        k->few[i] = roll_kept(dice, 0.0f);
    for (int r = 0; r < SA_FEW_ROWS; r++)
        for (int c = 0; c < d; c++)
            k->lanes[c * width + r] = k->few[r * sa_near_stride(d) + c];
}

static struct sa_state few_of(struct kept *k) { return (struct sa_state){k->m, k->l, k->few}; }

static void check_kept(const struct sa_kernels *kernel, const struct kept *k, const float *wanted, int n_rows, int d,
                       const char *what) {
    for (int i = 0; i < n_rows * d; i++)
        must(same_float(k->few[i / d * sa_near_stride(d) + i % d], wanted[i]), "%s, %d rows of %d: %s, float %d",
             kernel->name, n_rows, d, what, i);
}

/* As if each row had stood in a lane. */
static void check_merge(const struct sa_kernels *kernel, int n_rows, int d) {
    static float wanted[SA_FEW_ROWS * MAX_D];
    const int width = kernel->pass_groups * SA_GROUP_ROWS;
    struct kept a = kept[0];
    kernel->merge(1, d, &(struct sa_state){a.m, a.l, a.lanes}, &(struct sa_state){kept[1].m, kept[1].l, kept[1].lanes});
    for (int i = 0; i < n_rows * d; i++)
        wanted[i] = a.lanes[i % d * width + i / d];
    const struct sa_state first = few_of(&kept[0]), second = few_of(&kept[1]);
    kernel->few_merge(n_rows, d, &first, &second);
    check_kept(kernel, &kept[0], wanted, n_rows, d, "merged");
    for (int r = 0; r < n_rows; r++)
        must(same_float(kept[0].m[r], a.m[r]) && same_float(kept[0].l[r], a.l[r]), "%s: m, l of row %d", kernel->name,
             r);
}

static void check_add(const struct sa_kernels *kernel, int n_rows, int d) {
    static float wanted[SA_FEW_ROWS * MAX_D];
    const int stride = sa_near_stride(d);
    for (int i = 0; i < n_rows * d; i++) {
        const int at = i / d * stride + i % d;
        wanted[i] = fmaf(kept[0].few[at], kept[1].l[i / d], kept[1].few[at]);
    }
    kernel->few_add(n_rows, d, kept[1].few, kept[1].l, kept[0].few);
    check_kept(kernel, &kept[0], wanted, n_rows, d, "added");
}

/* Into rows that end at a fence. */
static void check_finish(const struct sa_kernels *kernel, const struct fenced *fenced, int n_rows, int d) {
    static float in_lanes[SA_FEW_ROWS][MAX_D];
    float *rows[SA_TILE_ROWS], *wanted[SA_TILE_ROWS];
    for (int r = 0; r < n_rows; r++) {
        rows[r] = (float *)fenced->end - (n_rows - r) * d;
        wanted[r] = in_lanes[r];
    }
    const struct sa_state state = few_of(&kept[1]);
    kernel->finish(&(struct sa_state){kept[1].m, kept[1].l, kept[1].lanes}, n_rows, d, wanted);
    kernel->few_finish(&state, n_rows, d, rows);
    for (int i = 0; i < n_rows * d; i++)
        must(same_float(rows[i / d][i % d], wanted[i / d][i % d]), "%s, %d rows of %d: finished, float %d",
             kernel->name, n_rows, d, i);
}

START_TEST(rows_are_kept_as_lanes_would_be) {
    const struct sa_kernels *kernel;
    struct fenced fenced = fenced_map(SA_FEW_ROWS * MAX_D);
    struct dice dice = {2};
    for (EACH_KERNEL(kernel))
        for (int i = 0; i < N_DIMS * SA_FEW_ROWS; i++) {
            const int d = dims[i / SA_FEW_ROWS], n_rows = i % SA_FEW_ROWS + 1;
            for (int k = 0; k < 2; k++)
                make_kept(&kept[k], &dice, kernel->pass_groups * SA_GROUP_ROWS, d);
            check_finish(kernel, &fenced, n_rows, d);
            check_merge(kernel, n_rows, d);
            check_add(kernel, n_rows, d);
        }
    fenced_unmap(&fenced);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernel few");
    tcase_add_loop_test(add_case(suite, "few"), scores_and_values, 0, N_TYPES);
    tcase_add_test(add_case(suite, "queries"), queries_side_by_side);
    tcase_add_test(add_case(suite, "rows"), rows_are_kept_as_lanes_would_be);
    return run_suite(suite);
}
