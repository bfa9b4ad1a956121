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

/* Exact values of a row (a query token and query head of a sequence), and how far float32 may be from them, see
 * bound.h. The caller provides the arrays; o, or weights, may be NULL with their bounds. */
struct reference_row {
    double *o;     /* [d_v] */
    double *bound; /* [d_v] */
    double lse, lse_bound;
    double m, m_bound;     /* the largest score; -inf: no key is seen */
    double *weights;       /* [n_k]: exp(s - lse), 0 of keys that are not seen */
    double *weight_bounds; /* [n_k] */
    int64_t n_visible;     /* keys the row sees */
    bool pairs;            /* given: pairs of bf16 are multiplied as such, where reference_in_pairs() */
    bool bytes;            /* int8 may be multiplied as such: reference_in_bytes() */
};

/* Does query head `head` of query token i see key j? reference_visible(): does any query head? */
bool reference_sees(const sa_batch *batch, const sa_sequence *seq, int64_t i, int head, int64_t j);
bool reference_visible(const sa_batch *batch, const sa_sequence *seq, int64_t i, int64_t j);

/* Where they stand, for windows, causality and ALiBi. */
int64_t reference_q_position(const sa_sequence *seq, int64_t i);
int64_t reference_k_position(const sa_sequence *seq, int64_t j);

/* What is added to the score; 0 if nothing is. */
double reference_bias(const sa_batch *batch, const sa_sequence *seq, int64_t i, int head, int64_t j);

/* An element of a grid of elements of that sa_type; masks are of SA_I8. */
const void *reference_in_grid(const sa_grid *grid, int type, int64_t i, int head, int64_t j);

/* Can the batch be computed with products of pairs of bf16, and does the engine have them? See sa_batch_forward().
 */
bool reference_in_pairs(const sa_batch *batch);
static inline bool reference_has_pairs(sa_engine *engine) {
    sa_engine_info info = {.struct_size = sizeof info};
    return sa_engine_get_info(engine, &info) == SA_OK && info.isa >= SA_ISA_AVX512_BF16;
}

/* Can its keys and values of int8 be multiplied as they are, where there are kernels for it? */
bool reference_in_bytes(const sa_batch *batch, const sa_sequence *seq);

/* Computes a row into `row`. False: no memory. */
bool reference_row(const sa_batch *batch, int64_t sequence, int64_t token, int head, struct reference_row *row);

/* The mass that each key of kv head `kv_head`, or of all if it is -1, received: mass[n_k], bounds[n_k]. False: no
 * memory. reference_mass_counts(): does this row count? */
bool reference_key_mass(const sa_batch *batch, int64_t sequence, int kv_head, double *mass, double *bounds);
bool reference_mass_counts(const sa_sequence *seq, int64_t token, int head);

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
