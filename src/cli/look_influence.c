/* SPDX-License-Identifier: MIT */
/* What keys do for a row beyond their weight: how long the weighted value is, how far the output moves without it. */
#include <math.h>
#include <stdlib.h>

#include "elements.h"
#include "look.h"

/* The values of a kv head, and room for a mean of them. */
struct values {
    const struct array *v;
    int64_t kv_head, d;
    double *mean;
};

static double value(const struct values *of, int64_t j, int64_t c) {
    const int64_t at = (j * of->v->shape[1] + of->kv_head) * of->d + c;
    return element_value(of->v->type, (const char *)of->v->data + at * element_bytes(of->v->type));
}

/* The weighted mean of all values but that of key `left_out` (-1: of all). Returns how much weight went into it. What
 * has no weight is not looked at: it may be NaN behind a mask. */
static double mix(const struct values *of, const struct look_row *row, int64_t left_out) {
    double sum = row->sink;
    for (int64_t c = 0; c < of->d; c++)
        of->mean[c] = 0;
    for (int64_t i = 0; i < row->n; i++) {
        if (i == left_out || row->weights[i] == 0)
            continue;
        sum += row->weights[i];
        for (int64_t c = 0; c < of->d; c++)
            of->mean[c] += row->weights[i] * value(of, i, c);
    }
    for (int64_t c = 0; c < of->d && sum != 0; c++)
        of->mean[c] /= sum;
    return sum;
}

/* |v_j - mean|, or |v_j| for a mean of NULL. */
static double distance(const struct values *of, int64_t j, const double *mean) {
    double sum = 0;
    for (int64_t c = 0; c < of->d; c++) {
        const double x = value(of, j, c) - (mean ? mean[c] : 0);
        sum += x * x;
    }
    return sqrt(sum);
}

/* For a key with more than half of the weight 1 - a_j and v_j - o would be small differences of rounded numbers. The
 * mean of the others gives the same without them: o - o_without_j = a_j (v_j - o_without_j). */
static double without_the_heaviest(const struct values *of, const struct look_row *row, int64_t j) {
    return mix(of, row, j) != 0 ? row->weights[j] * distance(of, j, of->mean) : LOOK_NO_ROW;
}

static double length_of_mean(const struct values *of) {
    double sum = 0;
    for (int64_t c = 0; c < of->d; c++)
        sum += of->mean[c] * of->mean[c];
    return sqrt(sum);
}

bool look_influence(const struct array *v, int64_t kv_head, struct look_row *row) {
    struct values of = {v, kv_head, v->shape[2], malloc((size_t)v->shape[2] * sizeof(double))};
    int64_t heaviest = -1;
    if (!of.mean)
        return false;
    mix(&of, row, -1);
    row->length = length_of_mean(&of);
    for (int64_t j = 0; j < row->n; j++) {
        const double a = row->weights[j];
        row->lengths[j] = a != 0 ? a * distance(&of, j, NULL) : 0;
        row->moves[j] = a != 0 ? a * distance(&of, j, of.mean) / (1 - a) : 0;
        heaviest = a > 0.5 ? j : heaviest;
    }
    if (heaviest >= 0)
        row->moves[heaviest] = without_the_heaviest(&of, row, heaviest);
    free(of.mean);
    return true;
}

int64_t look_most_influential(const struct look_row *row) {
    int64_t most = -1;
    for (int64_t j = 0; j < row->n; j++) {
        if (row->moves[j] == LOOK_NO_ROW)
            return j;
        if (row->weights[j] > 0 && (most < 0 || row->moves[j] > row->moves[most]))
            most = j;
    }
    return most;
}

int64_t look_heaviest(const struct look_row *row) {
    int64_t most = -1;
    for (int64_t j = 0; j < row->n; j++)
        if (row->weights[j] > 0 && (most < 0 || row->weights[j] > row->weights[most]))
            most = j;
    return most;
}
