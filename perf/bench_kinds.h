/* SPDX-License-Identifier: MIT */
/* What a shape asks for beside windows: masks, documents, lists of blocks, bias and so on, made of random numbers. */
#ifndef BENCH_KINDS_H
#define BENCH_KINDS_H

#include <sa/sa.h>
#include <stdbool.h>
#include <stdint.h>

/* 0: not asked for. */
struct bench_kinds {
    double softcap;
    bool alibi, sinks, positions; /* positions: the usual ones, given */
    int bias;                     /* 1 + sa_type; one for all heads */
    double mask;                  /* share of the keys that are seen, at random; one for all heads */
    int64_t docs;                 /* tokens of a document */
    int64_t prefix;
    int64_t block;      /* tokens of a block of queries and of one of keys */
    double block_share; /* of the blocks that are in the lists, beside the diagonal */
};

/* A word of a shape: is its key one of these, and its value a good one? */
bool bench_kinds_parse(const char *key, const char *value, struct bench_kinds *kinds, bool *known);

/* Does it change which keys are seen, so that the library's count, which is of windows, is another? */
bool bench_kinds_hide(const struct bench_kinds *kinds);

/* Gives the sequences of a batch what the kinds ask for; *memory is to be freed with bench_kinds_free(). False: no
 * memory. */
bool bench_kinds_open(const struct bench_kinds *kinds, sa_batch *batch, sa_sequence *seqs, void ***memory);
void bench_kinds_free(void **memory);

/* Does query i of a sequence of so many tokens see key j, as far as the kinds say? `beside`: what windows say. */
bool bench_kinds_see(const struct bench_kinds *kinds, const sa_sequence *seq, int64_t i, int64_t j, bool beside);

#endif
