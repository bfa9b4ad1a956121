/* SPDX-License-Identifier: MIT */
#include "vocabulary.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_PIECES = 1 << 24, LONGEST_PIECE = 1 << 16 };

/* FNV-1a */
static uint32_t hash(const char *bytes, int32_t length) {
    uint32_t h = 2166136261u;
    for (int32_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)bytes[i]) * 16777619u;
    return h ^ h >> 15;
}

/* The slot where the piece is, or would be. */
static uint32_t slot_of(const struct vocabulary *v, const char *bytes, int32_t length) {
    uint32_t slot = hash(bytes, length) & v->mask;
    for (; v->slots[slot] >= 0; slot = (slot + 1) & v->mask) {
        const struct piece *p = &v->pieces[v->slots[slot]];
        if (p->length == length && memcmp(p->bytes, bytes, (size_t)length) == 0)
            break;
    }
    return slot;
}

static const char *line_end(const char *at, const char *end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return newline ? newline : end;
}

static bool make_room(struct vocabulary *v, struct fault *fault) {
    const char *at = (const char *)v->file.bytes, *end = at + v->file.size;
    int64_t n = 0;
    for (; at < end; at = line_end(at, end) + 1)
        n++;
    if (n == 0 || n > MOST_PIECES)
        return fault_set(fault, "%s: %lld lines, expected 1 to %d", v->file.path, (long long)n, (int)MOST_PIECES);
    for (v->mask = 1; v->mask < 2 * n; v->mask *= 2)
        ;
    v->pieces = calloc((size_t)n, sizeof *v->pieces);
    v->slots = malloc(v->mask * sizeof *v->slots);
    if (!v->pieces || !v->slots)
        return fault_no_memory(fault);
    memset(v->slots, 0xff, v->mask * sizeof *v->slots);
    v->mask--;
    return true;
}

/* Where a piece stands twice its last number counts, as in Python's dict of them. */
static bool read_pieces(struct vocabulary *v, struct fault *fault) {
    const char *at = (const char *)v->file.bytes, *end = at + v->file.size;
    for (const char *next; at < end; at = next + 1) {
        next = line_end(at, end);
        if (next - at > LONGEST_PIECE)
            return fault_set(fault, "%s: line %d has more than %d bytes", v->file.path, v->n + 1, (int)LONGEST_PIECE);
        const int32_t length = (int32_t)(next - at) - (next > at && next[-1] == '\r');
        v->pieces[v->n] = (struct piece){at, length};
        v->slots[slot_of(v, at, length)] = v->n++;
        v->longest = length > v->longest ? length : v->longest;
    }
    return true;
}

bool vocabulary_open(struct vocabulary *vocabulary, const char *path, struct fault *fault) {
    *vocabulary = (struct vocabulary){0};
    if (mapping_open(&vocabulary->file, path, fault) && make_room(vocabulary, fault) && read_pieces(vocabulary, fault))
        return true;
    vocabulary_close(vocabulary);
    return false;
}

void vocabulary_close(struct vocabulary *vocabulary) {
    free(vocabulary->pieces);
    free(vocabulary->slots);
    mapping_close(&vocabulary->file);
    *vocabulary = (struct vocabulary){0};
}

int32_t vocabulary_find(const struct vocabulary *vocabulary, const char *bytes, int32_t length) {
    return vocabulary->slots[slot_of(vocabulary, bytes, length)];
}
