/* SPDX-License-Identifier: MIT */
/* Rotary embeddings from the published formulas, in long double, sharing no code with the library. */
#ifndef SA_TESTS_TURN_REFERENCE_H
#define SA_TESTS_TURN_REFERENCE_H

#include <stdint.h>

#include <sa/layer.h>

/* Pairs that are turned of a head of d dimensions. */
int turn_pairs(const sa_rope *rope, int d);

/* The two dimensions of pair i. */
void turn_pair_of(const sa_rope *rope, int d, int i, int *a, int *b);

/* Cosine and sine of pair i at a position, and how far off the library's may be. */
struct turn_exact {
    long double cosine, sine;
    double bound;
};
struct turn_exact turn_exact(const sa_rope *rope, int d, int i, int64_t position);

/* Turns a head; errors[c] of it, how far off its elements may be, grow by what the library's arithmetic may add. */
void turn_reference(const sa_rope *rope, int d, int64_t position, double *head, double *errors);

#endif
