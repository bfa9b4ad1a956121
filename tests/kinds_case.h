/* SPDX-License-Identifier: MIT */
/* A case of test_kinds.c: what the sequence in question uses, how large it is, and a seed for everything else. It is
 * written as one line, and read from it. */
#ifndef SA_TESTS_KINDS_CASE_H
#define SA_TESTS_KINDS_CASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "inside.h"

/* What may be used. The first ones were there before the others, whose combinations are what this is about. */
enum kinds_feature {
    KIND_CAUSAL,
    KIND_WINDOW,
    KIND_SINK_KEYS,
    KIND_OFFSET,
    KIND_SCALE,
    KIND_LAYOUT, /* strides other than packed */
    KIND_TYPES,  /* of 16 bits, and int8 */
    KIND_PAGES,
    KIND_NO_LSE,
    KIND_POSITIONS,
    KIND_FIRST_NEW = KIND_POSITIONS,
    KIND_PREFIX,
    KIND_DOCUMENTS,
    KIND_TREE,
    KIND_BLOCKS,
    KIND_MASK,
    KIND_BIAS,
    KIND_SOFTCAP,
    KIND_ALIBI,
    KIND_SINK_LOGITS,
    KIND_ROW_MAX,
    KIND_WEIGHTS,
    KIND_MASS,
    KIND_FIRST_KEY, /* the keys are not the first ones of the whole */
    N_KINDS
};

struct kinds_case {
    uint64_t seed;
    uint32_t features; /* bit set of kinds_feature */
    int64_t n_q, n_k;
    int n_kv_heads, group; /* group: query heads a kv head */
    int d_qk, d_v;
    int company; /* 1: another sequence stands in the batch */
};

static inline bool kinds_has(const struct kinds_case *c, int feature) { return c->features >> feature & 1; }

struct kinds_case kinds_draw(uint64_t seed);

/* Dice for one purpose: they roll the same whatever else is drawn. */
struct dice kinds_dice(uint64_t seed, unsigned purpose);

/* Multiply-adds, roughly, of the reference. */
double kinds_cost(const struct kinds_case *c);

/* "seed=1 features=mask,bias n_q=3 ..." and back. False: the text is no case. */
enum { KINDS_TEXT = 512 };
void kinds_write(const struct kinds_case *c, char text[KINDS_TEXT]);
bool kinds_read(const char *text, struct kinds_case *c);

#endif
