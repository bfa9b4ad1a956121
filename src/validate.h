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

/* Copies the append struct in and checks all but its tokens. */
sa_status sa_validate_append(const sa_append *append, int64_t n_sequences, sa_append *own);

/* Checks sequence i of `batch` and its tokens in `append`, both copied in, and says where they come from and go. */
sa_status sa_validate_incoming(const sa_batch *batch, const sa_append *append, int64_t i, struct sa_incoming *incoming);

/* What can be checked of a merge without its tensors. */
sa_status sa_validate_merge(const sa_merge_request *request, sa_merge_request *own);

#endif
