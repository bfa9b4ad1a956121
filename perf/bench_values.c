/* SPDX-License-Identifier: MIT */
#include "bench_values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool bench_parse_int(const char *text, int low, int high, int *value) {
    char *end;
    const long x = strtol(text, &end, 10);
    *value = (int)x;
    return end != text && *end == 0 && x >= low && x <= high;
}

bool bench_parse_double(const char *text, double low, double high, double *value) {
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == 0 && *value >= low && *value <= high;
}

bool bench_parse_name(const char *const *names, const char *text, int *index) {
    for (*index = 0; names[*index]; (*index)++)
        if (strcmp(names[*index], text) == 0)
            return true;
    return false;
}

bool bench_parse_list(const char *text, int low, int high, const char *const *names, struct bench_list *list) {
    char *copy = strdup(text), *rest;
    bool good = copy != NULL;
    list->n = 0;
    for (char *item = copy ? strtok_r(copy, ",", &rest) : NULL; item && good; item = strtok_r(NULL, ",", &rest)) {
        good = list->n < BENCH_MAX_LIST;
        int *value = &list->at[good ? list->n++ : 0];
        good = good && (names ? bench_parse_name(names, item, value) : bench_parse_int(item, low, high, value));
    }
    free(copy);
    return good && list->n > 0;
}

bool bench_parse_bytes(const char *text, size_t *bytes) {
    static const char units[] = "KMGT";
    char *end;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (unit)
        value *= exp2(10.0 * (double)(unit - units + 1));
    *bytes = value >= 0 && value < 0x1p60 ? (size_t)value : 0;
    return end != text && end[unit != NULL] == 0 && *bytes > 0;
}
