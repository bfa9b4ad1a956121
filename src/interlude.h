/* SPDX-License-Identifier: MIT */
/* What a thread turns to in the middle of a long job's item, between two blocks of keys: brief jobs, see team.c. */
#ifndef SA_INTERLUDE_H
#define SA_INTERLUDE_H

#include <stdbool.h>

struct sa_interlude {
    bool (*is_due)(void *argument); /* asked before each block, chunk of few rows, or tile of a report */
    void (*play)(void *argument);   /* with a workspace of its own */
    void *argument;
};

#endif
