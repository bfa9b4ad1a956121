/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "look.h"

enum { BAR = 40, WORD_COLUMNS = 14 };

/* Columns a text of UTF-8 takes, one for each character. */
static int columns(const char *text) {
    int n = 0;
    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

static void print_key(const struct look_file *file, const double *weights, int64_t j, int64_t query, double largest) {
    char bar[BAR + 1] = "";
    int filled = largest > 0 ? (int)(weights[j] / largest * BAR + 0.5) : 0;
    memset(bar, '#', (size_t)filled);
    bar[filled] = 0;
    const char *word = look_word(file, j);
    int padding = WORD_COLUMNS - columns(word);
    printf("%c %5lld  %s%*s  %6.4f  %s\n", j == query ? '>' : ' ', (long long)j, word, padding > 0 ? padding : 0, "",
           weights[j], bar);
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

void look_print_row(const struct look_file *file, const double *weights, int64_t n, int64_t query, int64_t top) {
    double least = top < n ? threshold(weights, n, top) : 0, rest = 0, sum = 0, largest = 0;
    int64_t n_rest = 0;
    for (int64_t j = 0; j < n; j++) {
        largest = weights[j] > largest ? weights[j] : largest;
        sum += weights[j];
    }
    for (int64_t j = 0; j < n; j++) {
        if (weights[j] >= least) {
            print_key(file, weights, j, query, largest);
            continue;
        }
        rest += weights[j];
        n_rest++;
    }
    if (n_rest)
        printf("         %lld other tokens together %6.4f\n", (long long)n_rest, rest);
    /* A sink's share is no token's, and a row may see nothing. */
    printf("  the weights add up to %.4g; a full bar is the largest of them\n", sum);
}
