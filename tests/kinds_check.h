/* SPDX-License-Identifier: MIT */
/* What must hold for a case: see kinds_check(). */
#ifndef SA_TESTS_KINDS_CHECK_H
#define SA_TESTS_KINDS_CHECK_H

#include <sa/sa.h>

#include "engines.h"
#include "kinds_case.h"

/* Engines for every instruction set there is, of 1 and of 3 threads; NULL where there is none. */
struct kinds_engines {
    sa_engine *of[ISA_END][2];
    int first, last; /* the slowest and the fastest there is */
};

struct kinds_engines kinds_engines(void);
void kinds_stop(struct kinds_engines *engines);

enum kinds_verdict { KINDS_RIGHT, KINDS_WRONG, KINDS_UNSUPPORTED };

struct kinds_result {
    enum kinds_verdict verdict;
    int64_t n_rows, n_keys; /* compared with the reference, and seen by them */
    char reason[400];       /* unless it is right */
};

/* Every output of the batch is within its bound of the reference. The bits of the case's sequence are the same with
 * one thread and three, alone and beside another sequence, on every instruction set, and for its last queries without
 * the first ones; and with poison in keys, values and biases that no row sees, in keys and values that one row does
 * not see (its own bits), and in another query. Cut along its keys and merged it is near the
 * reference as well, or, where the parts are calls for one sequence, the same bits. */
void kinds_check(const struct kinds_case *c, const struct kinds_engines *engines, struct kinds_result *result);

#endif
