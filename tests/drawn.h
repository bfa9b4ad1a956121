/* SPDX-License-Identifier: MIT */
/* Random batches: every tensor in a layout of its own between two pages that nobody may touch, directly beside one, at
 * any alignment of its elements. paged.h brings keys and values into pages. */
#ifndef SA_TESTS_DRAWN_H
#define SA_TESTS_DRAWN_H

#include <sa/sa.h>

#include "inside.h"

enum { DRAWN_SEQS = 5, DRAWN_MAPS = 16 * DRAWN_SEQS };

enum layout {
    PACKED,      /* strides 0 */
    TOKENS_GAPS, /* [token][head][d] with unused room behind heads and tokens */
    HEADS_FIRST, /* [head][token][d] */
    BACKWARDS,   /* [token][head][d], the last token first */
    N_LAYOUTS
};

struct drawn {
    struct dice dice;
    sa_batch batch;
    sa_sequence seqs[DRAWN_SEQS];
    void *maps[DRAWN_MAPS];
    size_t map_bytes[DRAWN_MAPS];
    int n_maps;
};

/* An empty batch of so many heads and dimensions, random rules not included. */
struct drawn drawn_batch(uint64_t seed, int n_query_heads, int n_kv_heads, int d_qk, int d_v);

/* Sets the types of q, k, v and o, of scales, and whether there is a scale a token or a head. Otherwise all is SA_F32.
 * Ahead of drawn_add(). */
void drawn_types(struct drawn *drawn);

/* What an instruction set has kernels of its own for: bf16 throughout from SA_ISA_AVX512_BF16 on. Ahead of drawn_add().
 */
void drawn_own(struct drawn *drawn, int isa);

/* Multiplies each value of a sequence by a power of two of its own, so that sums tell in which order they were formed.
 */
void drawn_widen(struct drawn *drawn, const sa_sequence *s);

/* Adds a sequence with random tensors of the batch's types; layout -1: a random one for each tensor. Values are uniform
 * in -1 .. 1, times `size` for q. lse is wanted. */
sa_sequence *drawn_add(struct drawn *drawn, int64_t n_q, int64_t n_k, int layout, float size);

/* A random causality, window, sink and, for each sequence, offset. */
void drawn_rules(struct drawn *drawn);

/* Sets every element of o and lse to NaN. */
void drawn_forget(struct drawn *drawn);

/* Sets the keys and values that no query of the sequence's heads sees, if `of_row` < 0, or that row `of_row` does not
 * see, to `value`; of SA_I8 the scales, unless they are a head's. */
void drawn_poison(struct drawn *drawn, int sequence, int64_t of_row, float value);

/* The same for one key and value. */
void drawn_poison_key(struct drawn *drawn, const sa_sequence *s, int64_t j, int kv_head, float value);

/* Runs the batch and compares every row (or about `most` of them) with the reference. */
void drawn_check(struct drawn *drawn, sa_engine *engine, int64_t most);

/* Copies o, as floats, and lse, row by row and dense, into one array; *n floats. To be freed. */
float *drawn_outputs(const struct drawn *drawn, size_t *n);

/* Runs the batch and copies what comes out of it, as drawn_outputs() does. */
float *drawn_compute(struct drawn *drawn, sa_engine *engine, size_t *n);

/* Are the outputs the same, bit for bit? */
void drawn_must_equal(const float *a, const float *b, size_t n, const char *what);

/* Both sides of the edges of lanes, groups, tiles, blocks and chunks, none larger than `most`. */
int64_t drawn_edge(struct dice *dice, int64_t most);

void drawn_free(struct drawn *drawn);

/* Zeroed bytes of the batch's that end, or begin, where the page nobody may touch begins or ends. */
void *drawn_map(struct drawn *drawn, size_t bytes);

#endif
