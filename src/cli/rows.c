/* SPDX-License-Identifier: MIT */
#include "rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "reference.h"

enum { SAMPLED_ROWS = 64, SAMPLED_WEIGHTS = 16 };

/* Products of elements of q and k in all rows, up to which the key mass is compared. */
#define MOST_PRODUCTS 1e9

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
    check->good = check->good && (error == 0 || error <= bound); /* that of NaN is NaN */
    check->worst_error = error <= check->worst_error ? check->worst_error : error;
    if (error > 0 && !(error / bound <= check->worst_ratio))
        check->worst_ratio = error / bound;
}

static const float *row_max(const sa_sequence *seq, int64_t token, int head) {
    return (const float *)seq->row_max.data + token * seq->row_max.token_stride + head * seq->row_max.head_stride;
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
    if (seq->row_max.data)
        judge((double)*row_max(seq, token, head), exact->m, exact->m_bound, check);
    return true;
}

/* Spread over all rows, the first and the last among them; the stride is odd so that it meets different heads. */
static bool compare_rows(const sa_batch *batch, int isa, struct rows_check *check) {
    int64_t n = count_rows(batch), picked = n < SAMPLED_ROWS ? n : SAMPLED_ROWS;
    double *values = malloc(2 * (size_t)batch->d_v * sizeof *values);
    struct reference_row exact = {
        .o = values, .bound = values ? values + batch->d_v : NULL, .pairs = isa >= SA_ISA_AVX512_BF16};
    bool enough = values || complain("no memory for the reference");
    for (; enough && check->n_rows < picked; check->n_rows++) {
        int64_t row = picked > 1 ? (int64_t)((double)check->n_rows / (double)(picked - 1) * (double)(n - 1)) : 0;
        enough = check_row(batch, row, &exact, check);
    }
    free(values);
    return enough;
}

/* ---------------------------------------------------------------- rows of weights */

static int64_t count_weights(const sa_batch *b) {
    int64_t n = 0;
    for (int64_t i = 0; i < b->n_sequences; i++)
        n += reference_sequence(b, i)->weights.n_rows;
    return n;
}

/* Row number `row` of those with weights. */
static bool check_weights(const sa_batch *b, int64_t row, struct rows_check *check) {
    int64_t i = 0;
    for (; row >= reference_sequence(b, i)->weights.n_rows; i++)
        row -= reference_sequence(b, i)->weights.n_rows;
    const sa_sequence *seq = reference_sequence(b, i);
    const sa_row_weights *w = &seq->weights;
    double *values = malloc(2 * (size_t)(seq->n_k + 1) * sizeof *values);
    struct reference_row exact = {.weights = values, .weight_bounds = values ? values + seq->n_k : NULL};
    bool good = values && reference_row(b, i, w->rows[row].query, w->rows[row].head, &exact);
    for (int64_t j = 0; good && j < seq->n_k; j++)
        judge((double)w->data[row * w->row_stride + j], exact.weights[j], exact.weight_bounds[j], check);
    free(values);
    return good || complain("no memory for the reference");
}

static bool compare_weights(const sa_batch *batch, struct rows_check *check) {
    const int64_t n = count_weights(batch), picked = n < SAMPLED_WEIGHTS ? n : SAMPLED_WEIGHTS;
    for (; check->n_weights < picked; check->n_weights++)
        if (!check_weights(batch, picked > 1 ? check->n_weights * (n - 1) / (picked - 1) : 0, check))
            return false;
    return true;
}

/* ---------------------------------------------------------------- key mass */

static double products(const sa_batch *b) {
    double n = 0;
    for (int64_t i = 0; i < b->n_sequences; i++)
        n += (double)rows_of(b, i) * (double)reference_sequence(b, i)->n_k * b->d_qk;
    return n;
}

static bool check_mass(const sa_batch *b, int64_t i, int kv_head, struct rows_check *check) {
    const sa_sequence *seq = reference_sequence(b, i);
    double *values = malloc(2 * (size_t)(seq->n_k + 1) * sizeof *values);
    bool good = values && reference_key_mass(b, i, kv_head, values, values + seq->n_k);
    for (int64_t j = 0; good && j < seq->n_k; j++)
        judge((double)seq->key_mass.data[kv_head * seq->key_mass.head_stride + j], values[j], values[seq->n_k + j],
              check);
    free(values);
    return good || complain("no memory for the reference");
}

static bool compare_mass(const sa_batch *b, struct rows_check *check) {
    if (b->n_sequences == 0 || !reference_sequence(b, 0)->key_mass.data || products(b) > MOST_PRODUCTS)
        return true;
    check->has_mass = true;
    for (int64_t i = 0; i < b->n_sequences; i++)
        for (int g = 0; g < b->n_kv_heads; g++)
            if (!check_mass(b, i, g, check))
                return false;
    return true;
}

bool rows_compare(const sa_batch *batch, int isa, struct rows_check *check) {
    *check = (struct rows_check){.good = true};
    return compare_rows(batch, isa, check) && compare_weights(batch, check) && compare_mass(batch, check);
}

/* ---------------------------------------------------------------- what is said about it */

void rows_print(const struct rows_check *check) {
    printf("%d rows", check->n_rows);
    if (check->n_weights)
        printf(", %d of weights", check->n_weights);
    printf("%s against float64: largest error %.2g, at most %.2g of the bound: %s",
           check->has_mass ? ", the key mass" : "", check->worst_error, check->worst_ratio,
           check->good ? "good" : "WRONG");
}

json_t *rows_json(const struct rows_check *check) {
    return json_pack("{s:i, s:i, s:b, s:f, s:f, s:b}", "rows", check->n_rows, "weights", check->n_weights, "key_mass",
                     check->has_mass, "worst_error", check->worst_error, "worst_of_bound", check->worst_ratio, "good",
                     check->good);
}
