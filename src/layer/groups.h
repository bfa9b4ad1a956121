/* SPDX-License-Identifier: MIT */
/* Sequences that follow each other, computed together: what is between x and y exists for one such group at a time. */
#ifndef SA_LAYER_GROUPS_H
#define SA_LAYER_GROUPS_H

#include "call.h"

/* Of a batch that is checked: of how many tokens its groups are. */
void sa_groups_choose(struct sa_layer_call *call);

/* To before the first; to the next one, if there is any. A batch without sequences is a group without any. */
void sa_groups_rewind(struct sa_layer_call *call);
bool sa_groups_next(struct sa_layer_call *call);

#endif
