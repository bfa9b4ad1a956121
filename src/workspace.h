/* SPDX-License-Identifier: MIT */
/* Scratch memory of one thread: booked from the dimensions when a call is planned, granted when a thread first needs
 * it. Its size depends on d_qk and d_v only. */
#ifndef SA_WORKSPACE_H
#define SA_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/kernels.h"
#include "memory.h"

enum {
    SA_CHUNK_KEYS = 1024, /* keys whose sum starts afresh; positions are multiples of it */
    SA_TREE_FANOUT = 8,   /* partial results merged in key order at each level of the tree of chunks */
    SA_TREE_LEVELS = 7    /* 1024 * 8^7 = 2^31 keys */
};

struct sa_workspace {
    struct sa_buffer buffer;
    int d_qk, d_v; /* what the pointers below are laid out for */
    struct sa_lane_keys *lane_keys;
    float *qt, *s, *sum, *mb, *alpha;
    struct sa_state result;                /* of the whole tile */
    struct sa_state child[SA_TREE_LEVELS]; /* child[level]: a later child of a node one level above */
};

/* Bytes one thread needs. */
size_t sa_workspace_bytes(int d_qk, int d_v);

/* Lays the workspace out for the dimensions, growing it if needed. False: no memory. */
bool sa_workspace_grant(struct sa_workspace *space, int d_qk, int d_v);

void sa_workspace_free(struct sa_workspace *space);

#endif
