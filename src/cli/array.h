/* SPDX-License-Identifier: MIT */
/* What both file formats hold: an array in C order. */
#ifndef SA_CLI_ARRAY_H
#define SA_CLI_ARRAY_H

#include <stdint.h>

enum { ARRAY_MAX_RANK = 8 };

struct array {
    const char *file; /* NULL, or the file that has it among others */
    const char *name; /* in that file, or the path of a file of its own */
    int rank;
    int64_t shape[ARRAY_MAX_RANK];
    int type; /* SA_F32, SA_BF16, SA_F16, or one of types.h */
    const void *data;
};

#endif
