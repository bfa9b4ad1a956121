/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "columns.h"
#include "look.h"

enum { BAR = 36, NARROW_WORDS = 14, WIDE_WORDS = 25 };

/* Columns for the words of the keys that are printed. */
static int widest_word(const struct look_file *file, const struct look_row *row, double least) {
    int widest = NARROW_WORDS;
    for (int64_t j = 0; j < row->n; j++) {
        const int n = row->weights[j] >= least ? columns_of(look_word(file, j)) : 0;
        widest = n > widest ? n : widest;
    }
    return widest < WIDE_WORDS ? widest : WIDE_WORDS;
}

static void print_key(const struct look_file *file, const struct look_row *row, int64_t j, int64_t query,
                      double largest, int words) {
    char bar[BAR + 1] = "", moves[24] = "no row";
    const int filled = largest > 0 ? (int)(row->weights[j] / largest * BAR + 0.5) : 0;
    memset(bar, '#', (size_t)filled);
    bar[filled] = 0;
    if (row->moves[j] != LOOK_NO_ROW)
        snprintf(moves, sizeof moves, "%.4f", row->moves[j]);
    printf("%c %5lld  ", j == query ? '>' : ' ', (long long)j);
    columns_print(look_word(file, j), words);
    printf("  %6.4f  %8.4f  %8s  %s\n", row->weights[j], row->lengths[j], moves, bar);
}

/* The smallest weight that is still among the `top` largest. */
static double threshold(const double *weights, int64_t n, int64_t top) {
    double limit = 2;
    for (int64_t found = 0; found < top;) {
        double next = -1;
        for (int64_t j = 0; j < n; j++)
            next = weights[j] < limit && weights[j] > next ? weights[j] : next;
        if (next < 0)
            return limit;
        for (int64_t j = 0; j < n; j++)
            found += weights[j] == next;
        limit = next;
    }
    return limit;
}

/* The largest weight need not be what counts most. */
static void print_largest(const struct look_file *file, const struct look_row *row) {
    const int64_t heaviest = look_heaviest(row), most = look_most_influential(row);
    if (most < 0)
        return;
    if (row->moves[most] == LOOK_NO_ROW)
        printf("  without %s there is no row: nothing else has weight\n", look_word(file, most));
    else if (most == heaviest)
        printf("  the largest weight, on %s, is also the one without which the output moves most: by %.4g\n",
               look_word(file, most), row->moves[most]);
    else
        printf("  without %s (weight %.4f) the output moves most, by %.4g; without %s (%.4f) by %.4g\n",
               look_word(file, most), row->weights[most], row->moves[most], look_word(file, heaviest),
               row->weights[heaviest], row->moves[heaviest]);
}

void look_print_row(const struct look_file *file, const struct look_row *row, int64_t query, int64_t top) {
    const double least = top < row->n ? threshold(row->weights, row->n, top) : 0;
    const int64_t heaviest = look_heaviest(row);
    const double largest = heaviest < 0 ? 0 : row->weights[heaviest];
    double rest = 0, sum = 0;
    int64_t n_rest = 0;
    const int words = widest_word(file, row, least);
    printf("  %5s  %-*s  %6s  %8s  %8s\n", "", words, "", "weight", "|a v|", "moves o");
    for (int64_t j = 0; j < row->n; j++) {
        sum += row->weights[j];
        if (row->weights[j] >= least) {
            print_key(file, row, j, query, largest, words);
            continue;
        }
        rest += row->weights[j];
        n_rest++;
    }
    if (n_rest)
        printf("         %lld other tokens together %6.4f\n", (long long)n_rest, rest);
    /* A sink's share is no token's, and a row may see nothing. */
    printf("  the weights add up to %.4g; a full bar is the largest of them\n", sum);
    printf("  |a v|: length of the weighted value; moves o: how far o (length %.4g) moves without the key\n",
           row->length);
    print_largest(file, row);
}
