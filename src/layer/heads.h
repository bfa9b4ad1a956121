/* SPDX-License-Identifier: MIT */
/* Keys and values brought from rows of all heads to heads of their own, one row behind the other: attention that reads
 * them many times takes up to a tenth less. */
#ifndef SA_LAYER_HEADS_H
#define SA_LAYER_HEADS_H

#include "call.h"

/* Does it pay for this call, and is there room for it where the heads' outputs will stand? */
bool sa_heads_pay(const struct sa_layer_call *call);

/* Brings those of all sequences from `rows` to `heads`, n_heads of d dimensions. */
sa_status sa_heads_bring(const struct sa_layer_call *call, const float *rows, int64_t stride, float *heads, int n_heads,
                         int d);

/* What the engine is told of them: those of one sequence. */
sa_tensor sa_heads_of(const struct sa_piece *piece, const float *heads, int n_heads, int d);

#endif
