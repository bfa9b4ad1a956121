/* SPDX-License-Identifier: MIT */
/*
 * The tree of chunks over a tile's keys, and tiles whose keys are split into parts. Pure.
 *
 * Node i of level l is the keys i n .. (i + 1) n - 1 with n = 1024 * 8^l. A chunk is a node of level 0; a node above
 * has up to 8 children, whose results merge in key order; those that no row of the tile sees are left out. The root is
 * the first node 0 that holds all keys. Positions are absolute: the tree follows from n_k alone.
 *
 * A part is 1, 2 or 4 nodes that follow each other below one node, 1024 * 2^i keys from a multiple of that on. Each of
 * its nodes has a slot for its result. What is computed apart are the results which a walk over the whole tile would
 * have at the same nodes, and they merge in the same order: the bits are the same. Parts that no row sees do not exist.
 */
#ifndef SA_PARTS_H
#define SA_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "cost.h"
#include "memory.h"
#include "problem.h"

enum {
    SA_CHUNK_LOG2 = 10,
    SA_CHUNK_KEYS = 1 << SA_CHUNK_LOG2, /* keys whose sum starts afresh; positions are multiples of it */
    SA_TREE_FANOUT = 8,                 /* partial results merged in key order at each level of the tree of chunks */
    SA_TREE_LEVELS = 7                  /* 1024 * 8^7 = 2^31 keys */
};

/* Keys of a node of a level. */
static inline int64_t sa_node_keys(int level) { return (int64_t)SA_CHUNK_KEYS << 3 * level; }

/* The level of the largest node that begins at `at`, where a chunk does, and ends by `end`; of a chunk if none does. */
static inline int sa_node_level(int64_t at, int64_t end) {
    int level = 0;
    while (level < SA_TREE_LEVELS && at % sa_node_keys(level + 1) == 0 && at + sa_node_keys(level + 1) <= end)
        level++;
    return level;
}

/* A tile whose keys are split, of every kv head of a sequence. */
struct sa_split {
    int64_t tile, n_k;
    struct sa_span span;          /* what its rows see together */
    int64_t sink_parts, first;    /* a part's number is its first key over its keys; there are 0 .. sink_parts - 1, and
                                     the others from `first` on */
    int64_t full_begin, full_end; /* keys that all of them see; a part of only these costs full_cost */
    double full_cost;
    int64_t first_slot;   /* of kv head 0; those of the other kv heads follow */
    int64_t parts_before; /* parts beyond one a tile that the sequence's tiles before it have, of one kv head */
    int32_t seq, n_parts;
    int32_t log2_chunks; /* a part is 1024 * 2^log2_chunks keys */
};

/* Those of a batch, by sequence and tile. */
struct sa_splits {
    struct sa_buffer buffer;
    struct sa_split *at;
    int64_t n, n_parts, n_slots; /* parts: items that have one; slots of all kv heads */
    int most_rows;               /* of a tile among them */
};

/* A tile that costs less than so many parts stays whole. */
#define SA_LEAST_PARTS 1.5

/* Splits every other tile into parts of about the cost `part_cost`; 0: none. False: no memory. */
bool sa_splits_make(struct sa_splits *splits, const struct sa_problem *problem, const struct sa_cost_model *model,
                    double part_cost);

void sa_splits_free(struct sa_splits *splits);

/* How a tile is split, NULL: it is not. */
const struct sa_split *sa_splits_look_up(const struct sa_splits *splits, int32_t seq, int64_t tile);
static inline const struct sa_split *sa_splits_find(const struct sa_splits *splits, int32_t seq, int64_t tile) {
    return splits->n ? sa_splits_look_up(splits, seq, tile) : NULL;
}

/* Parts beyond one a tile of a kv head that the sequence's tiles below `tile` have. */
int64_t sa_splits_parts_before(const struct sa_splits *splits, int32_t seq, int64_t tile);

/* ---------------------------------------------------------------- a split tile */

struct sa_range {
    int64_t begin, end;
};

/* Keys of a part, but the last one's. */
static inline int64_t sa_split_keys(const struct sa_split *split) {
    return INT64_C(1) << (SA_CHUNK_LOG2 + split->log2_chunks);
}

/* The keys of part 0 .. n_parts - 1, which come in key order. */
static inline struct sa_range sa_part_keys(const struct sa_split *split, int part) {
    const int64_t number = part < split->sink_parts ? part : split->first + part - split->sink_parts;
    const int64_t begin = number * sa_split_keys(split), end = begin + sa_split_keys(split);
    return (struct sa_range){begin, end < split->n_k ? end : split->n_k};
}

/* What it costs. */
static inline double sa_split_part_cost(const struct sa_split *split, const struct sa_problem *problem,
                                        const struct sa_cost_model *model, int part) {
    const struct sa_range keys = sa_part_keys(split, part);
    if (keys.begin >= split->full_begin && keys.begin + sa_split_keys(split) <= split->full_end)
        return split->full_cost;
    return sa_part_cost(model, problem, &problem->seqs[split->seq], split->tile, keys.begin, keys.end);
}

/* Of the nodes of a part. */
static inline int sa_split_level(const struct sa_split *split) { return split->log2_chunks / 3; }

/* Nodes, and slots, of a part. */
static inline int sa_part_nodes(const struct sa_split *split) { return 1 << split->log2_chunks % 3; }

/* Does any row of the tile see any of the keys begin .. end - 1? As sa_visible_any() has it. */
static inline bool sa_split_sees(const struct sa_split *split, int64_t begin, int64_t end) {
    const struct sa_span *s = &split->span;
    return begin < s->sink || (begin > s->lo ? begin : s->lo) < (end < s->hi ? end : s->hi);
}

/* Parts that lie below the one that has `key`. */
int sa_parts_below(const struct sa_split *split, int64_t key);

/* Where the result of a node stands that begins at `begin` and of which some row sees a key: in the slot of its first
 * node of the parts' level that has any. */
int64_t sa_split_slot(const struct sa_split *split, int kv_head, int64_t begin);

#endif
