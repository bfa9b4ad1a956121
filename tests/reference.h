/* SPDX-License-Identifier: MIT */
/*
 * The float64 reference: naive, one row at a time, straight from the formula, sharing no code with the library. Tests,
 * benchmarks and `sa run --check` compare with it; it is never linked into the library.
 *
 * The batch is one the library has accepted: nothing is checked here again.
 */
#ifndef SA_REFERENCE_H
#define SA_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

/* Exact values of a row (a query token and query head of a sequence), and how far float32 may be from them. */
struct reference_row {
    double *o;     /* [d_v] */
    double *bound; /* [d_v], see bound.h */
    double lse, lse_bound;
    int64_t n_visible; /* keys the row sees */
};

/* Does query token i of the sequence see key j? */
bool reference_visible(const sa_batch *batch, const sa_sequence *seq, int64_t i, int64_t j);

/* Computes a row into `row`, whose arrays the caller provides. False: no memory. */
bool reference_row(const sa_batch *batch, int64_t sequence, int64_t token, int head, struct reference_row *row);

/* Sequence i of a batch, and where rows of its tensors stand, with the defaults of sa.h filled in and page tables
 * looked up. */
const sa_sequence *reference_sequence(const sa_batch *batch, int64_t i);
const void *reference_q(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head);
const void *reference_k(const sa_batch *batch, const sa_sequence *seq, int64_t token, int kv_head);
const void *reference_v(const sa_batch *batch, const sa_sequence *seq, int64_t token, int kv_head);
float *reference_lse(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head);

/* The scale of a key or value of SA_I8. */
const void *reference_k_scale(const sa_batch *batch, const sa_sequence *seq, int64_t token, int kv_head);
const void *reference_v_scale(const sa_batch *batch, const sa_sequence *seq, int64_t token, int kv_head);

/* A row of o; as floats, it must be of SA_F32. */
void *reference_o_row(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head);
float *reference_o(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head);

/* Element c of a row of o, of any type. */
double reference_output(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head, int c);

#endif
