/* SPDX-License-Identifier: MIT */
/* Rotary embeddings once their options are checked. */
#ifndef SA_LAYER_TURN_H
#define SA_LAYER_TURN_H

#include "elements.h"

enum { SA_MAX_ROTARY = 1024 };

/* What pairs of a head are turned by. */
struct sa_turn {
    int n_pairs, layout;
    double magnitude;
    double frequencies[SA_MAX_ROTARY / 2];
};

/* Checks the options (NULL: defaults) for heads of d dimensions. */
sa_status sa_turn_make(struct sa_turn *turn, const sa_rope *rope, int d);

/* The cosines and sines at a position. */
struct sa_turn_at {
    float cosine[SA_MAX_ROTARY / 2], sine[SA_MAX_ROTARY / 2];
};
void sa_turn_to(const struct sa_turn *turn, int64_t position, struct sa_turn_at *at);

/* Turns a head there. */
void sa_turn_head(const struct sa_turn *turn, const struct sa_turn_at *at, float *head);

#endif
