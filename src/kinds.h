/* SPDX-License-Identifier: MIT */
/* The kinds of attention that a sequence may ask for beside the rule of its batch: what else it sees, what is added to
 * its scores, what else comes out. Defaults, and all that is checked of them; the arrays are read. */
#ifndef SA_KINDS_H
#define SA_KINDS_H

#include <sa/sa.h>

#include "problem.h"

/* What of it stands in the batch. */
sa_status sa_check_kinds(const sa_batch *batch);

/* Sequence i of the batch, whose counts, offset and tensors are resolved: fills the rest of `seq`. */
sa_status sa_resolve_kinds(const sa_batch *batch, int64_t i, const sa_sequence *sequence,
                           const struct sa_problem *problem, struct sa_seq *seq);

/* Are these numbers, times log2(e), scores? */
bool sa_may_be_score(float x);

/* Sinks that no sequence has: those of rows that are merged. */
sa_status sa_check_sinks(const float *logits, int n);

#endif
