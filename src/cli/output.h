/* SPDX-License-Identifier: MIT */
/*
 * An output file that is there whole or not at all: it is written under a temporary name beside its target and renamed
 * when everything has succeeded. Until then a failure, a signal or output_discard() removes it.
 */
#ifndef SA_CLI_OUTPUT_H
#define SA_CLI_OUTPUT_H

#include <stddef.h>

#include "fault.h"

struct output {
    const char *path; /* the caller's */
    char *target;     /* the file it leads to */
    char *temporary;  /* NULL once there is no such file any more */
    int fd;           /* of the temporary file */
    unsigned char *bytes;
    size_t size;
};

/* Removes the unfinished outputs when a signal ends the program. Call it once, before the first output. */
void output_catch_signals(void);

bool output_create(struct output *output, const char *path, struct fault *fault);

/* Makes the file `size` bytes long, all zero, and maps it for writing. The space is reserved: a full disk is an error
 * here and not a signal later. */
bool output_map(struct output *output, size_t size, struct fault *fault);

/* Appends to a file that is not mapped. */
bool output_write(struct output *output, const void *bytes, size_t size, struct fault *fault);

/* Puts the file into place. */
bool output_commit(struct output *output, struct fault *fault);

/* Forgets the file: removes it unless it was committed. Twice does no harm, nor does a zeroed struct. */
void output_discard(struct output *output);

/* Would both be the same file? */
bool output_same_target(const struct output *a, const struct output *b);

#endif
