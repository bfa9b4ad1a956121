/* SPDX-License-Identifier: MIT */
/*
 * Where a token's rows of all kv heads stand side by side, as in [token][head][d], or those of some tokens do in a
 * small page [head][token][d], one head's rows are short pieces far apart, which memory hands over at a third of its
 * rate. So the items of few rows take several heads abreast: all go through the same keys, some tokens at a time, so
 * that their rows together are read in the order of memory. Heads have tiles of their own, whose bits know nothing of
 * each other.
 *
 * Elsewhere a head's blocks are read in turns, four of a chunk. Of short caches much is in chunks that have no four
 * whole ones: there the same block of four heads goes abreast, or of two.
 *
 * Of many rows two tiles of the same head may go abreast, each with its own rows and results.
 */
#ifndef SA_ABREAST_H
#define SA_ABREAST_H

#include <stdbool.h>

#include "problem.h"

/* The rows of several heads as they follow each other in memory: of so many tokens, so many bytes. */
struct sa_heads_run {
    int tokens; /* 0: they do not */
    int bytes;
};

/* That are read of each head in turn. */
enum { SA_LEAST_WINDOW = 16, SA_MOST_WINDOW = 64 };

/* Of the n kv heads from the one on that the cache stands for. */
struct sa_heads_run sa_heads_run_of(const struct sa_cache *cache, int n);

/* How many kv heads of the sequence go abreast: a divisor of their number, 1 if nothing would be gained, or if its rows
 * are more than a tile of few, or have anything to do that is done head by head. Everything else of it is resolved. */
int sa_choose_abreast(const struct sa_problem *problem, const struct sa_seq *seq);

/* May tiles of a head go through its keys two by two? Those of a long head, whose keys and values come from afar for
 * each of them. Not where a tile has anything of its own but rows. */
bool sa_choose_together(const struct sa_problem *problem, const struct sa_seq *seq);

/* Do those that go abreast read the rows of all heads in turn, a window of tokens after the other? */
bool sa_in_windows(const struct sa_seq *seq);

/* And do a head's rows follow each other there, in small pages? */
bool sa_in_pages(const struct sa_seq *seq);

/* Tokens of a window of those that go abreast, at an end of n_keys of them. */
int sa_window_of(const struct sa_seq *seq, int n_keys);

/* Lets fewer go abreast where there would be too few items for so many threads. */
void sa_limit_abreast(struct sa_problem *problem, int n_threads);

/* Rows of qt for each of these tiles, of n_rows: so many that none begins in one pass and ends in another. */
static inline int sa_rows_abreast(int n_rows) { return n_rows > 4 ? 8 : n_rows > 2 ? 4 : n_rows; }

#endif
