/* SPDX-License-Identifier: MIT */
/* What a call leaves of rows over some of their keys, to be merged by another: sa_sequence.partial. A header, then for
 * each node of the tree of chunks, in key order, each row, token by token: m, l and o, as they are in a tile. */
#ifndef SA_KEPT_H
#define SA_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SA_KEPT_MAGIC UINT64_C(0x0174706b2d6173)

struct sa_kept {
    uint64_t magic;
    int64_t n_q, first_key, end_key; /* keys first_key .. end_key - 1 */
    int32_t n_heads, d_v;
    uint64_t reserved[3]; /* 0 */
};

/* The nodes that it holds. */
int64_t sa_kept_nodes(int64_t first_key, int64_t end_key);

/* Bytes of all of it; 0: more than there can be. */
size_t sa_kept_bytes(const struct sa_kept *kept);

/* Where m, l and o of a row stand, in node `node`. */
static inline const float *sa_kept_row(const struct sa_kept *kept, int64_t node, int64_t token, int head) {
    const int64_t row = (node * kept->n_q + token) * kept->n_heads + head;
    return (const float *)(const void *)(kept + 1) + row * (kept->d_v + 2);
}

#endif
