/* SPDX-License-Identifier: MIT */
/* The batch of a case, every tensor and list between guard pages. */
#ifndef SA_TESTS_KINDS_BATCH_H
#define SA_TESTS_KINDS_BATCH_H

#include "drawn.h"
#include "kinds_case.h"

/* The case's sequence is drawn.seqs[at]. */
struct kinds_batch {
    struct drawn drawn;
    int at;
};

/* To be given to drawn_free(). */
void kinds_build(const struct kinds_case *c, struct kinds_batch *batch);

#endif
