/* SPDX-License-Identifier: MIT */
#include "kinds_output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "elements.h"
#include "reference.h"

#define FORGOTTEN 0x7fc0beefu

/* ---------------------------------------------------------------- where things stand */

float *kinds_row_max(const sa_batch *b, const sa_sequence *s, int64_t token, int head) {
    sa_sequence as_lse = *s;
    as_lse.lse = s->row_max;
    return reference_lse(b, &as_lse, token, head);
}

static int64_t weights_stride(const sa_sequence *s) { return s->weights.row_stride ? s->weights.row_stride : s->n_k; }

float *kinds_weights(const sa_sequence *s, int64_t r) { return s->weights.data + r * weights_stride(s); }

/* Rows of n_k numbers, a stride apart. */
struct table {
    float *data;
    int64_t n_rows, stride;
};

static struct table weights_of(const sa_sequence *s) {
    return (struct table){s->weights.data, s->weights.data ? s->weights.n_rows : 0, weights_stride(s)};
}

static struct table mass_of(const sa_batch *b, const sa_sequence *s) {
    const sa_key_mass *mass = &s->key_mass;
    const int64_t n = !mass->data ? 0 : mass->head_stride ? b->n_kv_heads : 1;
    return (struct table){mass->data, n, mass->head_stride};
}

/* ---------------------------------------------------------------- forgetting */

static void forget_table(const struct table *table, int64_t n_k) {
    for (int64_t i = 0; table->n_rows > 0 && i < (table->n_rows - 1) * table->stride + n_k; i++)
        table->data[i] = float_of(FORGOTTEN);
}

static bool gap_left(const struct table *table, int64_t n_k) {
    for (int64_t r = 0; r + 1 < table->n_rows; r++)
        for (int64_t j = n_k; j < table->stride; j++)
            if (bits_of(table->data[r * table->stride + j]) != FORGOTTEN)
                return false;
    return true;
}

static void forget_row(const sa_batch *b, const sa_sequence *s, int64_t token, int head) {
    char *o = reference_o_row(b, s, token, head);
    for (int c = 0; c < b->d_v; c++)
        element_store(b->o_type, (double)NAN, o + c * element_bytes(b->o_type));
    if (s->lse.data)
        *reference_lse(b, s, token, head) = float_of(FORGOTTEN);
    if (s->row_max.data)
        *kinds_row_max(b, s, token, head) = float_of(FORGOTTEN);
}

void kinds_forget(const sa_batch *b, const sa_sequence *s) {
    const struct table weights = weights_of(s), mass = mass_of(b, s);
    for (int64_t token = 0; token < s->n_q; token++)
        for (int head = 0; head < b->n_query_heads; head++)
            forget_row(b, s, token, head);
    forget_table(&weights, s->n_k);
    forget_table(&mass, s->n_k);
}

bool kinds_gaps_left(const sa_batch *b, const sa_sequence *s) {
    const struct table weights = weights_of(s), mass = mass_of(b, s);
    return gap_left(&weights, s->n_k) && gap_left(&mass, s->n_k);
}

/* ---------------------------------------------------------------- collecting */

static float *collect_row(const sa_batch *b, const sa_sequence *s, int64_t token, int head, float *to) {
    for (int c = 0; c < b->d_v; c++)
        *to++ = (float)reference_output(b, s, token, head, c);
    *to++ = s->lse.data ? *reference_lse(b, s, token, head) : 0;
    *to++ = s->row_max.data ? *kinds_row_max(b, s, token, head) : 0;
    return to;
}

static float *collect_table(const struct table *table, int64_t n_k, float *to) {
    for (int64_t r = 0; r < table->n_rows; r++)
        for (int64_t j = 0; j < n_k; j++)
            *to++ = table->data[r * table->stride + j];
    return to;
}

struct kinds_output kinds_collect(const sa_batch *b, const sa_sequence *s) {
    const struct table weights = weights_of(s), mass = mass_of(b, s);
    struct kinds_output out = {.n_rows = (size_t)(s->n_q * b->n_query_heads)};
    out.n = out.n_rows * (size_t)(b->d_v + 2) + (size_t)((weights.n_rows + mass.n_rows) * s->n_k);
    float *to = out.values = malloc((out.n + 1) * sizeof *out.values);
    must(to, "no memory");
    for (int64_t token = 0; token < s->n_q; token++)
        for (int head = 0; head < b->n_query_heads; head++)
            to = collect_row(b, s, token, head, to);
    collect_table(&mass, s->n_k, collect_table(&weights, s->n_k, to));
    return out;
}

void kinds_drop(struct kinds_output *output) { free(output->values); }

/* ---------------------------------------------------------------- comparing */

static bool counts(const struct kinds_part *part, int64_t row) {
    return !(part->one_row && row != part->row) && !(part->but_row && row == part->row);
}

static bool same_row(const sa_batch *b, const float *got, const float *wanted, int64_t row, char where[120]) {
    for (int c = 0; c < b->d_v + 2; c++)
        if (!same_float(got[c], wanted[c])) {
            snprintf(where, 120, "row %lld head %lld, %s %d: %.9g, not %.9g", (long long)(row / b->n_query_heads),
                     (long long)(row % b->n_query_heads),
                     c < b->d_v    ? "o"
                     : c == b->d_v ? "lse"
                                   : "row_max",
                     c, (double)got[c], (double)wanted[c]);
            return false;
        }
    return true;
}

bool kinds_same(const sa_batch *b, const struct kinds_output *got, const struct kinds_output *wanted,
                const struct kinds_part *part, char where[120]) {
    static const struct kinds_part all = {.first_token = 0};
    part = part ? part : &all;
    const int64_t size = b->d_v + 2, first = part->first_token * b->n_query_heads;
    for (int64_t r = 0; r < (int64_t)got->n_rows; r++)
        if (counts(part, r + first) &&
            !same_row(b, got->values + r * size, wanted->values + (r + first) * size, r + first, where))
            return false;
    for (size_t i = got->n_rows * (size_t)size; !part->rows_only && i < got->n; i++)
        if (!same_float(got->values[i], wanted->values[i])) {
            snprintf(where, 120, "weight or mass %zu: %.9g, not %.9g", i - got->n_rows * (size_t)size,
                     (double)got->values[i], (double)wanted->values[i]);
            return false;
        }
    return true;
}
