/* SPDX-License-Identifier: MIT */
#include "bench_lengths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_dice.h"

enum { MAX_LENGTHS = 1 << 20 };

static bool add(struct bench_lengths *lengths, long long length, long long count) {
    if (length < 0 || length > INT32_MAX || count < 1 || count > MAX_LENGTHS - lengths->n)
        return false;
    int64_t *grown = realloc(lengths->at, (size_t)(lengths->n + count) * sizeof *grown);
    if (!grown)
        return false;
    lengths->at = grown;
    while (count-- > 0)
        lengths->at[lengths->n++] = length;
    return true;
}

static bool add_uniform(struct bench_lengths *lengths, const char *item) {
    long long low, high, count;
    unsigned long long seed;
    int end = 0;
    if (sscanf(item, "uniform:%lld:%lld:%lld:%llu%n", &low, &high, &count, &seed, &end) != 4 || item[end])
        return false;
    if (low < 0 || high < low || count < 1 || count > MAX_LENGTHS)
        return false;
    struct bench_dice dice = {seed};
    for (long long i = 0; i < count; i++)
        if (!add(lengths, low + (long long)(bench_roll(&dice) % (uint64_t)(high - low + 1)), 1))
            return false;
    return true;
}

static bool add_item(struct bench_lengths *lengths, const char *item) {
    if (strncmp(item, "uniform:", 8) == 0)
        return add_uniform(lengths, item);
    char *end;
    long long length = strtoll(item, &end, 10), count = 1;
    if (end == item)
        return false;
    if (*end == 'x')
        count = strtoll(end + 1, &end, 10);
    return *end == 0 && add(lengths, length, count);
}

bool bench_lengths_parse(struct bench_lengths *lengths, const char *text) {
    char *copy = strdup(text), *rest;
    bool good = copy != NULL;
    for (char *item = copy ? strtok_r(copy, ",", &rest) : NULL; item && good; item = strtok_r(NULL, ",", &rest))
        good = add_item(lengths, item);
    free(copy);
    return good && lengths->n > 0;
}

void bench_lengths_free(struct bench_lengths *lengths) {
    free(lengths->at);
    *lengths = (struct bench_lengths){0};
}
