/* SPDX-License-Identifier: MIT */
/* Scratch memory of one thread: booked from the dimensions when a call is planned, granted when a thread first needs
 * it. Its size depends on its struct sa_room only. And that of a call which splits tiles: results of parts. */
#ifndef SA_WORKSPACE_H
#define SA_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>

#include "interlude.h"
#include "kernels/kernels.h"
#include "memory.h"
#include "parts.h"
#include "problem.h"
#include "view.h"

/* What terms.c keeps: an element a row of the tile, or a key of the block. */
struct sa_term_space {
    float *slopes;
    int32_t *q_at, *k_at;
    int64_t *q_position;
    const char **bias;      /* where that of key 0 stands */
    const float **bias_row; /* that of the block's keys at hand */
    float *near;            /* rows of bias that cannot be used in place */
};

/* Blocks that are worked on side by side by tiles of few rows, those of a chunk or one of several heads, and the list
 * of rows that each of them has there: its keys, its values, and keys that come next. */
enum {
    SA_CHUNK_BLOCKS = SA_CHUNK_KEYS / SA_BLOCK_KEYS,
    SA_SIDE_BLOCKS = SA_MOST_ABREAST > SA_CHUNK_BLOCKS ? SA_MOST_ABREAST : SA_CHUNK_BLOCKS,
    SA_MOST_LEAD = 16, /* rows by which one of them may be fetched further ahead than the one before it */
    SA_LIST_ROWS = 3 * SA_BLOCK_KEYS + (SA_CHUNK_BLOCKS - 1) * SA_MOST_LEAD
};

/* Floats from one of these rows to the next: an odd number of cache lines. */
enum { SA_BIAS_STRIDE = SA_BLOCK_KEYS + SA_LINE_FLOATS };

/* Of a struct sa_tile, which block.h has. */
enum { SA_TILE_BYTES = 1152 };

enum sa_finiteness { SA_NOT_KNOWN, SA_FINITE, SA_NOT_FINITE };

/* The values of the first n keys of a block, turned; see turned.h. */
struct sa_turned_slot {
    struct sa_cache v; /* whose */
    int64_t at;        /* the block's first key; -1: nothing is there */
    int n;
    enum sa_finiteness finite;
    void *values;
};

/* The rows begin .. end - 1 of k or v of a block; see copies.h. */
struct sa_copy {
    struct sa_cache cache; /* whose */
    int64_t at;            /* the block's first key; -1: nothing is there */
    int begin, end;
    bool as_bytes; /* int8, values turned; else floats */
    void *rows;    /* where row 0 of the block is, or would be */
};

enum { SA_COPY_K, SA_COPY_V };

struct sa_copies {
    struct sa_copy of[2];
};

/* What a workspace is laid out for. */
struct sa_room {
    int d_qk, d_v, n_abreast, n_turned, n_copies;
    size_t turned_bytes, copy_bytes[2]; /* of each, and of k and v of each */
};

struct sa_workspace {
    struct sa_buffer buffer;
    struct sa_buffer offered;             /* a larger one that the owner has not taken up yet */
    const struct sa_interlude *interlude; /* of the thread that works here; NULL: none */
    int64_t fetched_end;     /* of those that the next item begins with: values of keys below have been fetched */
    struct sa_room room;     /* what the pointers below are laid out for */
    struct sa_tile *tiles;   /* [room.n_abreast], under way: too large for a small stack */
    int32_t *lo, *hi, *sink; /* which keys each row sees, see sa_lane_keys */
    float *qt, *s, *mb, *alpha;
    float *units;         /* of weights of few rows as whole numbers, see sa_bytes: [SA_SIDE_BLOCKS][2][rows] */
    float *near;          /* rows of k or v of a block that cannot be used in place, or of q or o */
    float *scale;         /* factors of the rows of k or v of a block */
    struct sa_view *view; /* of a block, where spans do not say all */
    const char **rows;    /* [SA_SIDE_BLOCKS][SA_LIST_ROWS] */
    struct sa_turned_slot *turned; /* [room.n_turned] */
    struct sa_copies *copies;      /* [room.n_copies] */
    struct sa_term_space terms;
    struct sa_state result;                /* of the whole tile */
    struct sa_state child[SA_TREE_LEVELS]; /* child[level]: a later child of a node one level above */
    struct sa_workspace *beside; /* [n_abreast - 1], of the other tiles abreast: with lo, hi, sink, slopes, result and
                                    child of their own, and a qt within this one */
};

static inline struct sa_room sa_room_of(const struct sa_problem *problem) {
    return (struct sa_room){problem->d_qk,
                            problem->d_v,
                            problem->together && problem->most_abreast < 2 ? 2 : problem->most_abreast,
                            problem->n_turned,
                            problem->n_copies,
                            problem->turned_bytes,
                            {problem->copy_bytes[SA_COPY_K], problem->copy_bytes[SA_COPY_V]}};
}

/* Those of the qt of a tile: with a row of factors. Kernels that know fewer sizes of few rows read as many as these
 * have, behind the last rows abreast for nothing; others read a register's. */
static inline size_t sa_queries_floats(int d_qk) { return ((size_t)d_qk + 1) * SA_TILE_ROWS + SA_GROUP_ROWS; }

size_t sa_workspace_bytes(struct sa_room room);

static inline size_t sa_problem_workspace_bytes(const struct sa_problem *problem) {
    return sa_workspace_bytes(sa_room_of(problem));
}

/* Lays the workspace out for a thread that begins with items of a call, growing it if needed. False: no memory. */
bool sa_workspace_grant(struct sa_workspace *space, struct sa_room room);

/* Memory for a thread's workspace comes from the call that needs it, so that a lack of it shows before any work is
 * done, and is taken up by the thread, so that it is first touched there. Both under one lock. False: no memory. */
bool sa_workspace_offer(struct sa_workspace *space, size_t bytes);

/* Returns what it replaced, to be freed when the lock is given back. */
struct sa_buffer sa_workspace_take_up(struct sa_workspace *space);

/* Has the workspace laid out anew at the next grant, after a fork() that may have happened in the middle of one. */
void sa_workspace_forget_layout(struct sa_workspace *space);

void sa_workspace_free(struct sa_workspace *space);

/* ---------------------------------------------------------------- results of parts */

/* What the parts of a call's tiles leave for each other. A slot is written by one thread at a time: who finishes the
 * last part of a node, as its count tells, merges the node's slots. */
struct sa_partials {
    struct sa_buffer state_buffer, count_buffer;
    size_t slot_bytes;
    int64_t n_slots;
    int32_t *counts; /* [n_slots][SA_TREE_LEVELS], parts done: see tree.c */
};

/* Bytes of all slots and their counts, whose tiles have up to n_rows rows of a kernel with so many in a pass. */
size_t sa_partials_bytes(int64_t n_slots, int n_rows, int pass_rows, int d_v);

/* Lays them out, growing the buffers if needed. False: no memory. */
bool sa_partials_grant(struct sa_partials *partials, int64_t n_slots, int n_rows, int pass_rows, int d_v);

/* No part is done. */
void sa_partials_clear(struct sa_partials *partials);

struct sa_state sa_partials_state(const struct sa_partials *partials, int64_t slot);

void sa_partials_free(struct sa_partials *partials);

#endif
