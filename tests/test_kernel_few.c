/* SPDX-License-Identifier: MIT */
/* Scores and values of tiles of few rows, bit for bit as the contract says, of several places in turn, with the same
 * queries or each with its own; neither a row nor the list of their addresses is read beyond its end, whatever is
 * fetched ahead. */
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
    const char **row = (const char **)(void *)few->list.end - all;
    for (int i = 0; i < all * bytes; i++)
        first[i] = (char)roll(dice);
    for (int i = 0; i < all * d && type == SA_F32; i++) { /* sums of any bits would be inf */
        const float x = roll_unit(dice);
        memcpy(first + 4 * i, &x, sizeof x);
    }
    for (int j = 0; j < all; j++)
        row[j] = first + j * bytes;
    few->rows = (struct sa_pointed){row, places, n, n, turn, d, type, bytes, 0, {{row, row, row, row}, n, bytes}};
    kernel->widen((struct sa_stored){first, bytes, all, d, type}, few->near[0], MAX_D);
}

static void check_scores(const struct few *few, const struct sa_kernels *kernel, int n_rows) {
    const int width = kernel->pass_groups * SA_GROUP_ROWS, n = few->rows.n;
    kernel->floats.few_scores(qt, n_rows, few->rows, s);
    for (int r = 0; r < n_rows; r++)
        for (int j = 0; j < few->rows.places * n; j++) {
            float sum = 0.0f;
            const int first = j / n * few->rows.q_rows, pass = first / width * width, lane = first % width + r;
            for (int c = 0; c < few->rows.d; c++)
                sum = fmaf(qt[pass * few->rows.d + c * width + lane], few->near[j][c], sum);
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
    few.list = fenced_map(SA_RUN_KEYS * sizeof(char *) / sizeof(float));
    for (int i = 0; i < MAX_D * SA_TILE_ROWS; i++)
        qt[i] = roll_unit(&dice);
    for (EACH_KERNEL(kernel))
        for (int i = 0; i < N_DIMS; i++)
            for (int n_rows = 1; n_rows <= SA_FEW_ROWS; n_rows++) {
                const int tile = sa_few_tile(kernel->lanes, types[_i] == SA_F32 ? 4 : 1);
                const int n_tiles = n_rows == 1 ? SA_RUN_KEYS / tile : (int)roll_between(&dice, 1, SA_RUN_KEYS / tile);
                const int n = n_rows == 1 ? SA_RUN_KEYS : (int)roll_between(&dice, 1, SA_RUN_KEYS);
                make_few(&few, &dice, kernel, few_places(n_tiles * tile), n_tiles * tile,
                         (int)roll_between(&dice, 1, n_tiles) * tile, dims[i], types[_i]);
                check_scores(&few, kernel, n_rows);
                few.rows.q_rows = sa_rows_abreast(n_rows);
                check_scores(&few, kernel, n_rows);
                make_few(&few, &dice, kernel, few_places(n), n, (int)roll_between(&dice, 1, n), dims[i], types[_i]);
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
