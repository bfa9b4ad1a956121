/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "elements.h"
#include "fault.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* All that the program itself says of what is wrong goes through here. */
__attribute__((format(printf, 3, 0))) static void say(const char *before, const char *behind, const char *format,
                                                      va_list arguments) {
    char text[8192]; /* a line may name a path or two */
    vsnprintf(text, sizeof text, format, arguments);
    fault_plain(text);
    fprintf(stderr, "sa%s: %s%s\n", before, text, behind);
}

bool complain(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say("", "", format, arguments);
    va_end(arguments);
    return false;
}

int misuse(const char *command, const char *format, ...) {
    char before[32], behind[32];
    va_list arguments;
    va_start(arguments, format);
    snprintf(before, sizeof before, " %s", command);
    snprintf(behind, sizeof behind, " (sa %s --help)", command);
    say(before, behind, format, arguments);
    va_end(arguments);
    return WRONG_USAGE;
}

/* The number at *text, which must be followed by `end` or the end of the text; moves *text behind it. */
static bool take_integer(const char **text, char end, int64_t low, int64_t high, int64_t *value) {
    char *rest;
    errno = 0;
    long long n = strtoll(*text, &rest, 10);
    if (rest == *text || errno || n < low || n > high || (*rest != end && *rest != 0))
        return false;
    *value = n;
    *text = *rest ? rest + 1 : rest;
    return *rest == 0 || **text != 0;
}

bool parse_integer(const char *text, int64_t low, int64_t high, int64_t *value) {
    return take_integer(&text, 0, low, high, value);
}

int parse_integers(const char *text, int64_t low, int64_t high, int64_t *values, int room) {
    int n = 0;
    do {
        if (n == room || !take_integer(&text, ',', low, high, &values[n]))
            return 0;
        n++;
    } while (*text);
    return n;
}

/* The number or range at *text; moves *text behind it. */
static bool take_range(const char **text, int64_t *first, int64_t *last) {
    char *rest;
    if (!isdigit((unsigned char)**text))
        return false;
    errno = 0;
    *first = *last = strtoll(*text, &rest, 10);
    if (*rest == '-') {
        if (!isdigit((unsigned char)rest[1]))
            return false;
        *last = strtoll(rest + 1, &rest, 10);
    }
    *text = rest;
    return errno == 0 && *first <= *last;
}

int parse_ranges(const char *text, int64_t high, int64_t *values, int room) {
    for (int n = 0;; text++) {
        int64_t first, last;
        if (!take_range(&text, &first, &last) || last > high || last - first >= room - n || (*text && *text != ','))
            return 0;
        while (first <= last)
            values[n++] = first++;
        if (!*text)
            return n;
    }
}

double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *bytes_text(double bytes) {
    static char texts[8][32];
    static int next;
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    char *text = texts[next++ % 8];
    int unit = 0;
    for (; bytes >= 1024 && unit < 5; unit++)
        bytes /= 1024;
    snprintf(text, sizeof texts[0], unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

bool json_print(json_t *json) {
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    bool good = text || complain("no memory for the report");
    if (good)
        puts(text);
    free(text);
    json_decref(json);
    return good;
}

int64_t array_elements(const struct array *array) {
    int64_t n = 1;
    for (int i = 0; i < array->rank; i++)
        n *= array->shape[i];
    return n;
}

double array_element(const struct array *array, int64_t i) {
    return element_value(array->type, (const char *)array->data + i * element_bytes(array->type));
}

const char *shape_text(const struct array *array) {
    static char texts[4][128];
    static int next;
    char *text = texts[next++ % 4];
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < array->rank && used < sizeof texts[0]; i++)
        used +=
            (size_t)snprintf(text + used, sizeof texts[0] - used, "%s%lld", i ? " x " : "", (long long)array->shape[i]);
    return text;
}
