/* SPDX-License-Identifier: MIT */
/* The word pieces of a vocab.txt, one a line, numbered from 0. */
#ifndef SA_CLI_VOCABULARY_H
#define SA_CLI_VOCABULARY_H

#include <stdint.h>

#include "mapping.h"

struct piece {
    const char *bytes; /* in the file, without an end mark */
    int32_t length;
};

struct vocabulary {
    struct mapping file;
    struct piece *pieces;
    int32_t n, longest; /* pieces, bytes of the longest */
    int32_t *slots;     /* a hash table of their numbers, -1: empty */
    uint32_t mask;
};

/* False leaves nothing behind. */
bool vocabulary_open(struct vocabulary *vocabulary, const char *path, struct fault *fault);
void vocabulary_close(struct vocabulary *vocabulary);

/* The number of a piece, or -1. */
int32_t vocabulary_find(const struct vocabulary *vocabulary, const char *bytes, int32_t length);

#endif
