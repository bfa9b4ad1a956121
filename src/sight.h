/* SPDX-License-Identifier: MIT */
/* What the rows of a tile see of a block of keys where positions alone do not say it: documents, trees, lists of
 * blocks, masks. Pure but for reading the arrays of struct sa_sight. */
#ifndef SA_SIGHT_H
#define SA_SIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "problem.h"

enum { SA_KEY_WORDS = SA_BLOCK_KEYS / 64 };

/* Keys of a block: bit j % 64 of word j / 64. */
struct sa_key_set {
    uint64_t words[SA_KEY_WORDS];
};

/* Adds the keys begin .. end - 1, as far as the block has them. */
void sa_key_set_add(struct sa_key_set *set, int64_t begin, int64_t end);

static inline bool sa_key_set_is_empty(const struct sa_key_set *set) {
    uint64_t any = 0;
    for (int w = 0; w < SA_KEY_WORDS; w++)
        any |= set->words[w];
    return any == 0;
}

/* Rows of a tile, and what is known of all their queries. */
struct sa_viewer {
    const struct sa_problem *problem;
    const struct sa_seq *seq;
    int64_t token; /* query token of the first row */
    int n_rows;
    uint8_t later[SA_TILE_ROWS];           /* row r is of query token `token` + later[r], */
    int32_t head[SA_TILE_ROWS];            /* and of this query head */
    struct sa_extent documents;            /* of the rows, if the keys have any */
    int64_t first_position, last_position; /* the least and the largest of the rows */
    int64_t document_begin, document_end;  /* keys beside these are of no document of the rows */
};

/* Rows row .. row + n_rows - 1 of a kv head of a sequence with any struct sa_sight. */
struct sa_viewer sa_viewer_of(const struct sa_problem *problem, const struct sa_seq *seq, int kv_head, int64_t row,
                              int n_rows);

/* May a row see any of the keys begin .. end - 1? False is certain. Takes little time. */
bool sa_viewer_may_see(const struct sa_viewer *viewer, int64_t begin, int64_t end);

/* The first block from key `at` on that may be seen, if it is one of so many; otherwise the end of the keys. */
int64_t sa_viewer_next(const struct sa_viewer *viewer, int64_t at, int n_blocks);

/* seen[r] = keys that row r sees of the n_keys keys from `at` on, a multiple of 256. Every rule is in it: this is the
 * one place where they come together. False: no row sees any, and `seen` may hold anything. */
bool sa_viewer_look(const struct sa_viewer *viewer, int64_t at, int n_keys, struct sa_key_set seen[SA_TILE_ROWS]);

/* Extents of the documents and positions of blocks of keys, so that blocks are passed by without a look at each key:
 * how many a batch has, and their making. */
int64_t sa_sight_count_extents(const struct sa_problem *problem);
void sa_sight_find_extents(const struct sa_problem *problem, struct sa_extent *extents);

#endif
