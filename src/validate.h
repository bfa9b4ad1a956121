/* SPDX-License-Identifier: MIT */
/* Every check of a batch, each with its reason. Pure: tensors are not touched. */
#ifndef SA_VALIDATE_H
#define SA_VALIDATE_H

#include <sa/sa.h>

#include "problem.h"

/* Copies the batch struct in and checks what does not need its sequences: counts, heads, dimensions, types, flags. */
sa_status sa_validate_batch(const sa_batch *batch, sa_batch *own);

/* Checks the sequences of `own` (from sa_validate_batch()) and fills the problem; problem->seqs has room for
 * own->n_sequences. */
sa_status sa_validate_sequences(const sa_batch *own, struct sa_problem *problem);

#endif
