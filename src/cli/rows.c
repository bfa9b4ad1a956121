/* SPDX-License-Identifier: MIT */
#include "rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "reference.h"

enum { SAMPLED_ROWS = 64 };

static int64_t rows_of(const sa_batch *b, int64_t i) { return reference_sequence(b, i)->n_q * b->n_query_heads; }

static int64_t count_rows(const sa_batch *b) {
    int64_t n = 0;
    for (int64_t i = 0; i < b->n_sequences; i++)
        n += rows_of(b, i);
    return n;
}

static void judge(double value, double exact, double bound, struct rows_check *check) {
    double error = fabs(value - exact);
    if (value == exact || (isnan(value) && isnan(exact)))
        error = 0;
    check->good = check->good && error <= bound;
    check->worst_error = error <= check->worst_error ? check->worst_error : error;
    if (error > 0 && !(error / bound <= check->worst_ratio))
        check->worst_ratio = error / bound;
}

/* Row number `row` of the batch, counted through sequences, tokens and heads. */
static bool check_row(const sa_batch *b, int64_t row, struct reference_row *exact, struct rows_check *check) {
    int64_t i = 0;
    for (; row >= rows_of(b, i); i++)
        row -= rows_of(b, i);
    const sa_sequence *seq = reference_sequence(b, i);
    int64_t token = row / b->n_query_heads;
    int head = (int)(row % b->n_query_heads);
    if (!reference_row(b, i, token, head, exact))
        return complain("no memory for the reference");
    for (int c = 0; c < b->d_v; c++)
        judge(reference_output(b, seq, token, head, c), exact->o[c], exact->bound[c], check);
    if (seq->lse.data)
        judge((double)*reference_lse(b, seq, token, head), exact->lse, exact->lse_bound, check);
    return true;
}

/* Spread over all rows, the first and the last among them; the stride is odd so that it meets different heads. */
bool rows_compare(const sa_batch *batch, struct rows_check *check) {
    int64_t n = count_rows(batch), picked = n < SAMPLED_ROWS ? n : SAMPLED_ROWS;
    double *values = malloc(2 * (size_t)batch->d_v * sizeof *values);
    struct reference_row exact = {.o = values, .bound = values ? values + batch->d_v : NULL};
    *check = (struct rows_check){.good = true};
    bool enough = values || complain("no memory for the reference");
    for (; enough && check->n_rows < picked; check->n_rows++) {
        int64_t row = picked > 1 ? (int64_t)((double)check->n_rows / (double)(picked - 1) * (double)(n - 1)) : 0;
        enough = check_row(batch, row, &exact, check);
    }
    free(values);
    return enough;
}

void rows_print(const struct rows_check *check) {
    printf("%d rows against float64: largest error %.2g, at most %.2g of the bound: %s", check->n_rows,
           check->worst_error, check->worst_ratio, check->good ? "good" : "WRONG");
}

json_t *rows_json(const struct rows_check *check) {
    return json_pack("{s:i, s:f, s:f, s:b}", "rows", check->n_rows, "worst_error", check->worst_error, "worst_of_bound",
                     check->worst_ratio, "good", check->good);
}
