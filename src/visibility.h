/* SPDX-License-Identifier: MIT */
/* Which keys a query sees, for one row, for a tile of rows, and counted. Pure. */
#ifndef SA_VISIBILITY_H
#define SA_VISIBILITY_H

#include <stdbool.h>
#include <stdint.h>

/* The rule of a batch: a query at position p sees key j if (p - left <= j or j < sink) and j <= p + right. */
struct sa_rule {
    int64_t left, right; /* SA_UNLIMITED: no limit */
    int64_t sink;
};

#define SA_UNLIMITED (INT64_C(1) << 40)

/* Keys 0 .. sink - 1 and lo .. hi - 1, with 0 <= sink < lo <= hi <= n_k, or sink = 0: one stretch is never told as two.
 */
struct sa_span {
    int64_t sink, lo, hi;
};

static inline int64_t sa_clamp(int64_t x, int64_t low, int64_t high) {
    x = x > low ? x : low;
    return x < high ? x : high;
}

/* What the query at `position` sees of n_k keys. Here, since every row of every tile asks. */
static inline struct sa_span sa_visible(const struct sa_rule *rule, int64_t position, int64_t n_k) {
    struct sa_span span;
    span.hi = sa_clamp(position + rule->right + 1, 0, n_k);
    span.lo = sa_clamp(position - rule->left, 0, span.hi);
    span.lo = rule->sink < span.lo ? span.lo : 0;
    span.sink = rule->sink < span.lo ? rule->sink : span.lo;
    return span;
}

/* Number of (query, key) pairs of the queries at positions first .. last. Closed form. */
int64_t sa_visible_pairs(const struct sa_rule *rule, int64_t first, int64_t last, int64_t n_k);

/* Does a query at first .. last see any of the keys begin .. end - 1? */
bool sa_visible_any(const struct sa_rule *rule, int64_t first, int64_t last, int64_t n_k, int64_t begin, int64_t end);

/* Keys that some query at first .. last sees: what a tile of them has to go through. */
int64_t sa_visible_union(const struct sa_rule *rule, int64_t first, int64_t last, int64_t n_k);

/* The keys of one block as the rows of one group see them, all relative to the start of the block:
 *     begin .. seen_begin - 1     none, filled up to whole row-sum trees
 *     seen_begin .. full_begin-1  some rows
 *     full_begin .. full_end - 1  every row
 *     full_end .. seen_end - 1    some rows
 *     seen_end .. end - 1         none, filled up
 * A group that sees nothing of the block has seen_begin == seen_end. */
struct sa_zones {
    int begin, seen_begin, full_begin, full_end, seen_end, end;
};

/* Zones of the block block .. block + n_block - 1 for a group whose first and last row see `first` and `last`. */
struct sa_zones sa_zones_of(struct sa_span first, struct sa_span last, int64_t block, int n_block);

#endif
