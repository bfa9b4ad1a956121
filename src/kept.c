/* SPDX-License-Identifier: MIT */
#include "kept.h"

#include "parts.h"

int64_t sa_kept_nodes(int64_t first_key, int64_t end_key) {
    int64_t n = 0;
    for (int64_t at = first_key; at < end_key; at += sa_node_keys(sa_node_level(at, end_key)))
        n++;
    return n;
}

size_t sa_kept_bytes(const struct sa_kept *kept) {
    size_t n;
    if (__builtin_mul_overflow((size_t)kept->n_q * (size_t)kept->n_heads,
                               (size_t)sa_kept_nodes(kept->first_key, kept->end_key), &n) ||
        __builtin_mul_overflow(n, ((size_t)kept->d_v + 2) * sizeof(float), &n) ||
        __builtin_add_overflow(n, sizeof *kept, &n))
        return 0;
    return n;
}
