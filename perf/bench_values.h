/* SPDX-License-Identifier: MIT */
/* Values of options, from text. False: that is none. */
#ifndef BENCH_VALUES_H
#define BENCH_VALUES_H

#include <stdbool.h>
#include <stddef.h>

enum { BENCH_MAX_LIST = 16 };

struct bench_list {
    int at[BENCH_MAX_LIST];
    int n;
};

bool bench_parse_int(const char *text, int low, int high, int *value);
bool bench_parse_double(const char *text, double low, double high, double *value);
bool bench_parse_name(const char *const *names, const char *text, int *index); /* NULL behind the last name */

/* Items with commas between them: numbers from low to high or, unless it is NULL, some of `names`. */
bool bench_parse_list(const char *text, int low, int high, const char *const *names, struct bench_list *list);

/* "512M", "4G". */
bool bench_parse_bytes(const char *text, size_t *bytes);

#endif
