/* SPDX-License-Identifier: MIT */
/* Scores and values of tiles of few rows, bit for bit as the contract says; neither a row nor the list of their
 * addresses is read beyond its end, whatever is fetched ahead. */
#include <math.h>
#include <stdlib.h>

#include <sa/sa.h>

#include "each_kernel.h"
#include "fenced.h"

enum { MAX_D = 576 };

static const int dims[] = {1, 7, 8, 16, 17, 31, 40, 64, 80, 128, 576};
static const int types[] = {SA_F32, SA_BF16, SA_F16, SA_I8};
enum { N_DIMS = sizeof dims / sizeof dims[0], N_TYPES = sizeof types / sizeof types[0] };

/* n rows that end at a fence, and the list of their addresses, which does so too. */
struct few {
    struct fenced memory, list;
    struct sa_pointed rows;
    float near[SA_RUN_KEYS][MAX_D]; /* the same as floats */
};

static _Alignas(64) float qt[MAX_D * SA_TILE_ROWS], s[SA_FEW_ROWS * SA_FEW_STRIDE + SA_RUN_KEYS],
    sums[SA_FEW_ROWS * (MAX_D + 2 * SA_LINE_FLOATS)];

static void make_few(struct few *few, struct dice *dice, const struct sa_kernels *kernel, int n, int d, int type) {
    const int bytes = d * (type == SA_F32 ? 4 : type == SA_I8 ? 1 : 2);
    char *first = (char *)few->memory.end - n * bytes;
    const char **row = (const char **)(void *)few->list.end - n;
    for (int i = 0; i < n * bytes; i++)
        first[i] = (char)roll(dice);
    for (int i = 0; i < n * d && type == SA_F32; i++) { /* sums of any bits would be inf */
        const float x = roll_unit(dice);
        memcpy(first + 4 * i, &x, sizeof x);
    }
    for (int j = 0; j < n; j++)
        row[j] = first + j * bytes;
    few->rows = (struct sa_pointed){row, n, 0, d, type, {row, n / SA_FETCH_PLACES, n / SA_FETCH_PLACES, bytes}};
    kernel->widen((struct sa_stored){first, bytes, n, d, type}, few->near[0], MAX_D);
}

static void check_scores(const struct few *few, const struct sa_kernels *kernel, int n_rows) {
    const int width = kernel->pass_groups * SA_GROUP_ROWS;
    kernel->few_scores(qt, n_rows, few->rows, s);
    for (int r = 0; r < n_rows; r++)
        for (int j = 0; j < few->rows.n; j++) {
            float sum = 0.0f;
            for (int c = 0; c < few->rows.d; c++)
                sum = fmaf(qt[c * width + r], few->near[j][c], sum);
            must(same_float(s[r * SA_FEW_STRIDE + j], sum), "%s, type %d, %d rows, %d keys of %d: score %d of row %d",
                 kernel->name, few->rows.type, n_rows, few->rows.n, few->rows.d, j, r);
        }
}

static void check_values(const struct few *few, const struct sa_kernels *kernel, struct dice *dice, int n_rows) {
    const int width = sa_near_stride(few->rows.d);
    for (int i = 0; i < SA_FEW_ROWS * SA_FEW_STRIDE; i++)
        s[i] = roll_unit(dice);
    memset(sums, 0, sizeof sums);
    for (int r = 0; r < n_rows; r++)
        sums[r * width] = 1.0f; /* they go on from what is there */
    kernel->few_values(s, n_rows, few->rows, sums);
    for (int r = 0; r < n_rows; r++)
        for (int c = 0; c < few->rows.d; c++) {
            float sum = c == 0;
            for (int j = 0; j < few->rows.n; j++)
                sum = fmaf(s[r * SA_FEW_STRIDE + j], few->near[j][c], sum);
            must(same_float(sums[r * width + c], sum), "%s, type %d, %d rows, %d keys of %d: dimension %d of row %d",
                 kernel->name, few->rows.type, n_rows, few->rows.n, few->rows.d, c, r);
        }
}

START_TEST(scores_and_values) {
    static struct few few;
    const struct sa_kernels *kernel;
    struct dice dice = {1};
    few.memory = fenced_map(SA_RUN_KEYS * MAX_D);
    few.list = fenced_map(SA_RUN_KEYS * sizeof(char *) / sizeof(float));
    for (int i = 0; i < MAX_D * SA_TILE_ROWS; i++)
        qt[i] = roll_unit(&dice);
    for (EACH_KERNEL(kernel))
        for (int i = 0; i < N_DIMS; i++)
            for (int n_rows = 1; n_rows <= SA_FEW_ROWS; n_rows++) {
                const int n = n_rows == 1 ? SA_RUN_KEYS : (int)roll_between(&dice, 1, SA_RUN_KEYS);
                make_few(&few, &dice, kernel, n, dims[i], types[_i]);
                check_scores(&few, kernel, n_rows);
                check_values(&few, kernel, &dice, n_rows);
            }
    fenced_unmap(&few.memory);
    fenced_unmap(&few.list);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernel few");
    tcase_add_loop_test(add_case(suite, "few"), scores_and_values, 0, N_TYPES);
    return run_suite(suite);
}
