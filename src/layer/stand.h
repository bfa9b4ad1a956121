/* SPDX-License-Identifier: MIT */
/* Where the rows of a group's sequences stand, when they are the rows of one matrix. */
#ifndef SA_LAYER_STAND_H
#define SA_LAYER_STAND_H

#include "call.h"

enum sa_side { SA_SIDE_X, SA_SIDE_KV, SA_SIDE_Y };

/* How many rows they take, those that stay free ahead of and between them included. */
int64_t sa_stand_rows(const struct sa_layer_call *call, enum sa_side side);

/* Are they rows of floats of one matrix of the caller's, without a gap? *stride receives the floats from one to the
 * next. */
bool sa_stand_in_place(const struct sa_layer_call *call, enum sa_side side, int d, int64_t *stride);

/* Lists those that have rows, in the order of these. */
void sa_stand_list(const struct sa_layer_call *call, enum sa_side side, struct sa_strip *strip);

#endif
