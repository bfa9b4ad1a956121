/* SPDX-License-Identifier: MIT */
#include "visibility.h"

#include "kernels/kernels.h"

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* Sum over t <= x of clamp(t, 0, n), modulo 2^64: only differences are used, and they fit. */
static uint64_t ramp(int64_t x, int64_t n) {
    if (x <= 0)
        return 0;
    uint64_t rising = (uint64_t)min64(x, n);
    return rising * (rising + 1) / 2 + ((uint64_t)x - rising) * (uint64_t)n;
}

/* Sum over p = first .. last of clamp(p + shift, 0, n). */
static int64_t ramp_between(int64_t first, int64_t last, int64_t shift, int64_t n) {
    return (int64_t)(ramp(last + shift, n) - ramp(first - 1 + shift, n));
}

/* hi and lo are clamped ramps of the position, and sink is one of min(sink, n_k): their sums add up. An unlimited side
 * is a constant, which also keeps its huge limit out of the products. */
int64_t sa_visible_pairs(const struct sa_rule *rule, int64_t first, int64_t last, int64_t n_k) {
    if (last < first)
        return 0;
    bool right_limited = rule->right < SA_UNLIMITED, left_limited = rule->left < SA_UNLIMITED;
    int64_t below_hi = right_limited ? ramp_between(first, last, rule->right + 1, n_k) : (last - first + 1) * n_k;
    if (!left_limited)
        return below_hi;
    int64_t below_lo = ramp_between(first, last, -rule->left, n_k);
    int64_t in_sink = ramp_between(first, last, -rule->left, min64(rule->sink, n_k));
    return below_hi - below_lo + in_sink;
}

bool sa_visible_any(const struct sa_rule *rule, int64_t first, int64_t last, int64_t n_k, int64_t begin, int64_t end) {
    struct sa_span a = sa_visible(rule, first, n_k), b = sa_visible(rule, last, n_k);
    return begin < b.sink || (max64(begin, a.lo) < min64(end, b.hi));
}

int64_t sa_visible_union(const struct sa_rule *rule, int64_t first, int64_t last, int64_t n_k) {
    struct sa_span a = sa_visible(rule, first, n_k), b = sa_visible(rule, last, n_k);
    return b.hi - a.lo + min64(b.sink, a.lo);
}

static int to_block(int64_t key, int64_t block, int n_block) {
    return (int)(sa_clamp(key, block, block + n_block) - block);
}

/* Both ends of a row's keys move right with its position, so the first and the last row bound those between. */
struct sa_zones sa_zones_of(struct sa_span first, struct sa_span last, int64_t block, int n_block) {
    struct sa_zones z;
    z.seen_begin = to_block(first.lo, block, n_block);
    z.seen_end = to_block(last.hi, block, n_block);
    z.full_begin = to_block(last.lo, block, n_block);
    z.full_end = to_block(first.hi, block, n_block);
    int sink_end = to_block(last.sink, block, n_block);
    if (sink_end > 0) { /* two stretches of keys: leave the sorting out to the masks */
        z.seen_begin = z.full_begin = 0;
        z.full_end = 0;
        z.seen_end = first.lo < block + n_block && z.seen_end > sink_end ? z.seen_end : sink_end;
    }
    if (z.seen_end <= z.seen_begin)
        z.seen_end = z.seen_begin;
    if (z.full_end <= z.full_begin) /* no key is seen by every row: all are handled with masks */
        z.full_begin = z.full_end = z.seen_end;
    z.begin = z.seen_begin / SA_SUM_KEYS * SA_SUM_KEYS;
    z.end = (z.seen_end + SA_SUM_KEYS - 1) / SA_SUM_KEYS * SA_SUM_KEYS;
    return z;
}
