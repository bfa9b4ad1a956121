/* SPDX-License-Identifier: MIT */
/* Blocks of tiles of few rows that are worked on side by side: where their keys and values stand, and what is fetched
 * while these are read. */
#ifndef SA_SIDE_H
#define SA_SIDE_H

#include "block.h"

/* Keys of a block that a row sees: 0 .. sink - 1 and lo .. hi - 1. */
struct sa_few_seen {
    int sink, lo, hi;
};

/* A block under way. */
struct sa_few_block {
    const struct sa_tile *tile;
    const struct sa_state *state;
    int64_t at;                 /* its first key */
    const struct sa_view *view; /* NULL: spans say what is seen; otherwise its keys are those of the block */
    struct sa_few_seen rows[SA_FEW_ROWS];
    bool alike;       /* all rows see the same keys */
    bool hides;       /* some bias is -inf; a view has it in its bits */
    int begin, end;   /* of the keys that any row sees; begin a multiple of 16 */
    int place;        /* among those side by side */
    const char **row; /* where its keys stand, and its values, and the keys of what comes next: see struct sa_side */
};

/* Blocks side by side: 1, 2 or 4 of a tile, several only if all their keys are seen by all rows, or the same one of
 * each tile that goes abreast. A block's list has n_keys rows of keys, as many of values and n_next of keys that come
 * next. */
struct sa_side {
    const struct sa_tile *tile; /* of the first block */
    struct sa_few_block blocks[SA_SIDE_BLOCKS];
    int n, n_keys, n_next;
    int turn; /* keys of a block that are taken in turn */
    int lead; /* rows by which a place is fetched further ahead than the one before it */
    bool abreast;
    bool windows;               /* abreast: sa_in_windows() */
    struct sa_fetched ahead[2]; /* in windows: what is fetched while keys, while values are read */
};

/* Of the block's keys from `begin` on those that follow each other: how many, and the first one's token. */
int sa_side_stretch(const struct sa_few_block *b, int begin, int64_t *token);

/* Sets the lists of all blocks, and what they say of them; `next` is the key that follows the last block. Behind an
 * item's last keys its rows of o are fetched, and what the next item begins with stands in the lists. */
void sa_side_find_lists(struct sa_side *side, int64_t next);

/* n rows of each place, those of the first one as `row` lists them. */
struct sa_pointed sa_side_rows(const struct sa_side *side, const struct sa_cache *cache, const char *const *row,
                               int places, int n);

/* n rows of all blocks, from their lists. */
struct sa_pointed sa_side_rows_of_all(const struct sa_side *side, const struct sa_cache *cache, const char *const *row,
                                      int n);

/* What is left to fetch behind `at` of n keys. */
struct sa_fetched sa_side_rest(struct sa_fetched ahead, int at, int n);

#endif
