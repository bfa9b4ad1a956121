/* SPDX-License-Identifier: MIT */
#include "encode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static bool read_all(FILE *file, const char *name, struct encode_text *text) {
    enum { STEP = 1 << 16 };
    size_t room = 0;
    for (size_t n = 1; n > 0; text->size += n) {
        if (room - text->size < STEP) {
            room += room / 2 + STEP;
            char *more = realloc(text->bytes, room);
            if (!more)
                return complain("%s: no memory for a text of more than %zu bytes", name, text->size);
            text->bytes = more;
        }
        n = fread(text->bytes + text->size, 1, room - text->size, file);
    }
    return !ferror(file) || complain("%s: %s", name, strerror(errno));
}

/* A newline ends a line; the last one need not have any. */
static bool find_lines(struct encode_text *text) {
    const char *end = text->bytes + text->size;
    int64_t n = 1;
    for (const char *at = text->bytes; at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
        n++;
    text->lines = malloc((size_t)n * sizeof *text->lines);
    if (!text->lines)
        return complain("no memory for %lld lines", (long long)n);
    for (const char *at = text->bytes, *next; at < end; at = next + 1) {
        next = memchr(at, '\n', (size_t)(end - at));
        next = next ? next : end;
        text->lines[text->n++] = (struct encode_line){at, (size_t)(next - at)};
    }
    return true;
}

bool encode_read_text(const char *path, struct encode_text *text) {
    *text = (struct encode_text){0};
    const char *name = path ? path : "standard input";
    FILE *file = path ? fopen(path, "rb") : stdin;
    if (!file)
        return complain("%s: %s", name, strerror(errno));
    const bool good = read_all(file, name, text);
    if (path)
        fclose(file);
    return good && find_lines(text);
}

void encode_free_text(struct encode_text *text) {
    free(text->bytes);
    free(text->lines);
}
