/* SPDX-License-Identifier: MIT */
/* A batch after validation: every default resolved, every number checked. Everything below works on this. */
#ifndef SA_PROBLEM_H
#define SA_PROBLEM_H

#include <stddef.h>
#include <stdint.h>

#include "visibility.h"

struct sa_strided {
    const float *data;
    ptrdiff_t token, head; /* strides in elements */
};

struct sa_strided_out {
    float *data;
    ptrdiff_t token, head;
};

struct sa_seq {
    int64_t n_q, n_k, q_offset;
    struct sa_strided q, k, v;
    struct sa_strided_out o, lse; /* lse.data NULL: not wanted */
};

struct sa_problem {
    int64_t n_seqs;
    struct sa_seq *seqs;
    int n_kv_heads, group; /* group: query heads a kv head */
    int d_qk, d_v;
    float factor; /* scale * log2(e): scores are kept in units of log2 */
    struct sa_rule rule;
    int64_t n_rows, n_pairs; /* all heads */
    int64_t *progress;       /* NULL, or the caller's counter of finished pairs */
};

/* Rows of a (sequence, kv head) are ordered by token, then query head: row r is token r / group, head r % group, so
 * that the query heads that share a kv head stand side by side in the lanes. */
static inline int64_t sa_seq_rows(const struct sa_problem *problem, const struct sa_seq *seq) {
    return seq->n_q * problem->group;
}

#endif
