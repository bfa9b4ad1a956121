/* SPDX-License-Identifier: MIT */
/* Gives drawn sequences what queries may see or not see beside the batch's rule, at random, in arrays between pages
 * that nobody may touch. */
#ifndef SA_TESTS_SIGHTED_H
#define SA_TESTS_SIGHTED_H

#include "drawn.h"

enum {
    SIGHT_Q_POSITIONS = 1,
    SIGHT_K_POSITIONS = 2,
    SIGHT_PREFIX = 4,
    SIGHT_DOCUMENTS = 8,
    SIGHT_TREE = 16,
    SIGHT_BLOCKS = 32,
    SIGHT_MASK = 64,
    SIGHT_KINDS = 7 /* numbers of them */
};

/* A set of kinds: often one alone, sometimes any of them. */
unsigned roll_sight(struct dice *dice);

/* Those that suit the sequence's n_q and n_k. */
void drawn_sight(struct drawn *drawn, sa_sequence *seq, unsigned kinds);

#endif
