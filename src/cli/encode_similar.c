/* SPDX-License-Identifier: MIT */
#include "encode.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli.h"

struct find {
    double cosine;
    int64_t line;
};

/* The nearest first; of equals the one that comes first in the text. */
static int by_cosine(const void *a, const void *b) {
    const struct find *x = a, *y = b;
    if (x->cosine != y->cosine)
        return x->cosine > y->cosine ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static double dot(const float *a, const float *b, int64_t d) {
    double sum = 0;
    for (int64_t c = 0; c < d; c++)
        sum += (double)a[c] * (double)b[c];
    return sum;
}

/* What a text does to a terminal is not left to it. */
static void print_line(const struct encode_line *line) {
    for (size_t i = 0; i < line->length; i++) {
        const unsigned char c = (unsigned char)line->text[i];
        putchar(c == '\t' || c == '\r' ? ' ' : c < ' ' || c == 0x7f ? '?' : c);
    }
    putchar('\n');
}

bool encode_print_similar(const struct encode_text *text, const float *vectors, const float *query, int64_t d,
                          int64_t top) {
    struct find *finds = malloc((size_t)text->n * sizeof *finds + 1);
    if (!finds)
        return complain("no memory for %lld lines", (long long)text->n);
    for (int64_t i = 0; i < text->n; i++)
        finds[i] = (struct find){dot(vectors + i * d, query, d), i};
    qsort(finds, (size_t)text->n, sizeof *finds, by_cosine);
    for (int64_t i = 0; i < top && i < text->n; i++) {
        printf("%7.4f  %6lld  ", finds[i].cosine, (long long)finds[i].line + 1);
        print_line(&text->lines[finds[i].line]);
    }
    free(finds);
    return true;
}
