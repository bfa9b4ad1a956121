/* SPDX-License-Identifier: MIT */
#include "sighted.h"

#include <stdlib.h>

static unsigned below(struct dice *dice, unsigned n) { return (unsigned)(roll(dice) % n); }

unsigned roll_sight(struct dice *dice) {
    const unsigned one = 1u << below(dice, SIGHT_KINDS), other = 1u << below(dice, SIGHT_KINDS);
    switch (roll(dice) % 4) {
    case 0: return below(dice, 1u << SIGHT_KINDS);
    case 1: return one | other;
    default: return one;
    }
}

/* ---------------------------------------------------------------- numbers */

static int32_t *numbers(struct drawn *drawn, int64_t n) { return drawn_map(drawn, (size_t)n * sizeof(int32_t)); }

/* In order with steps of 0 to 2, in order one by one, or anyhow. */
static const int32_t *roll_positions(struct drawn *drawn, int64_t n, int64_t first, int64_t reach) {
    struct dice *dice = &drawn->dice;
    int32_t *at = numbers(drawn, n);
    const unsigned how = below(dice, 3);
    int64_t next = first + roll_between(dice, -3, 3);
    for (int64_t i = 0; i < n; i++) {
        at[i] = (int32_t)(how < 2 ? next : roll_between(dice, -5, reach + 5));
        next += how == 0 ? roll_between(dice, 0, 2) : 1;
    }
    return at;
}

/* Runs of one document, which may or may not come back. */
static const int32_t *roll_documents(struct drawn *drawn, int64_t n, int n_documents, int64_t run) {
    struct dice *dice = &drawn->dice;
    const bool in_order = roll_one_in(dice, 2);
    int32_t *at = numbers(drawn, n), document = -2;
    for (int64_t i = 0; i < n; i++) {
        if (roll_one_in(dice, (unsigned)run))
            document = in_order ? document + 1 : (int32_t)roll_between(dice, -2, n_documents - 3);
        at[i] = document;
    }
    return at;
}

static void add_documents(struct drawn *drawn, sa_sequence *s) {
    const int64_t run = roll_one_in(&drawn->dice, 3) ? 1 : roll_between(&drawn->dice, 1, 150);
    const int n_documents = (int)roll_between(&drawn->dice, 1, 6);
    s->k_documents = roll_documents(drawn, s->n_k, n_documents, run);
    if (s->n_q > s->n_k || roll_one_in(&drawn->dice, 2))
        s->q_documents = roll_documents(drawn, s->n_q, n_documents, run);
}

/* ---------------------------------------------------------------- trees */

static void add_tree(struct drawn *drawn, sa_sequence *s) {
    struct dice *dice = &drawn->dice;
    if (s->n_q > s->n_k || s->n_k == 0)
        return;
    s->n_tree_keys = roll_one_in(dice, 2) ? s->n_q : roll_between(dice, s->n_q, s->n_k);
    if (s->n_tree_keys == 0)
        return;
    int32_t *parents = numbers(drawn, s->n_tree_keys);
    const unsigned branches = 1 + below(dice, 4);
    for (int64_t t = 0; t < s->n_tree_keys; t++)
        parents[t] = (int32_t)(roll_one_in(dice, 20)         ? -1
                               : roll_one_in(dice, branches) ? t - 1
                                                             : roll_between(dice, -1, t - 1));
    s->tree_parents = parents;
}

/* ---------------------------------------------------------------- lists of blocks */

static void roll_list(struct drawn *drawn, const sa_sequence *s, unsigned one_in, sa_block_list *list) {
    struct dice *dice = &drawn->dice;
    const int64_t n_lists = (s->n_q + s->blocks.q_block - 1) / s->blocks.q_block;
    const int64_t n_blocks = (s->n_k + s->blocks.k_block - 1) / s->blocks.k_block;
    const int n_heads = roll_one_in(dice, 2) ? drawn->batch.n_query_heads : 1;
    const int64_t n_all = n_lists * n_heads;
    int64_t *begin = drawn_map(drawn, (size_t)(n_all + 1) * sizeof *begin), n = 0;
    int32_t *blocks = numbers(drawn, n_all * n_blocks);
    for (int64_t x = 0; x < n_all; x++) {
        begin[x] = n;
        for (int64_t c = 0; c < n_blocks; c++)
            if (roll_one_in(dice, one_in))
                blocks[n++] = (int32_t)c;
    }
    begin[n_all] = n;
    *list = (sa_block_list){begin, blocks, n_heads > 1 ? n_lists : 0};
}

static void add_blocks(struct drawn *drawn, sa_sequence *s) {
    static const int sizes[] = {1, 3, 16, 17, 48, 64, 100, 128, 256, 400};
    struct dice *dice = &drawn->dice;
    const unsigned which = 1 + below(dice, 3), one_in = 1 + below(dice, 6);
    s->blocks.q_block = sizes[below(dice, 10)];
    s->blocks.k_block = sizes[below(dice, 10)];
    if (which & 1)
        roll_list(drawn, s, one_in, &s->blocks.partial);
    if (which & 2)
        roll_list(drawn, s, one_in + 1, &s->blocks.full);
}

/* ---------------------------------------------------------------- masks */

/* Single keys, or runs of them, out of all that there are. */
static void fill_mask(struct dice *dice, unsigned char *mask, int64_t n) {
    const unsigned run = roll_one_in(dice, 2) ? 1 : 1 + below(dice, 100), seen = 1 + below(dice, 15);
    unsigned char now = 0;
    for (int64_t i = 0; i < n; i++) {
        if (roll_one_in(dice, run))
            now = (unsigned char)(roll(dice) % 16 < seen ? 1 + roll(dice) % 255 : 0);
        mask[i] = now;
    }
}

/* Any axis may be shared, keys may stand apart or backwards. */
static void add_mask(struct drawn *drawn, sa_sequence *s) {
    struct dice *dice = &drawn->dice;
    const int64_t step = roll_one_in(dice, 8) ? 0 : roll_one_in(dice, 4) ? roll_between(dice, 2, 3) : 1;
    const int64_t line = step ? step * (s->n_k > 0 ? s->n_k : 1) : 1;
    const int64_t n_queries = roll_one_in(dice, 4) ? 1 : s->n_q,
                  n_heads = roll_one_in(dice, 2) ? 1 : drawn->batch.n_query_heads;
    const int64_t n = line * (n_queries > 0 ? n_queries : 1) * n_heads;
    unsigned char *mask = drawn_map(drawn, (size_t)n);
    fill_mask(dice, mask, n);
    s->mask = (sa_grid){mask, n_heads > 1 ? line * n_queries : 0, n_queries > 1 ? line : 0, step};
    if (step == 1 && roll_one_in(dice, 4)) {
        s->mask.data = mask + (s->n_k > 0 ? s->n_k - 1 : 0);
        s->mask.key_stride = -1;
    }
}

/* ---------------------------------------------------------------- all of them */

void drawn_sight(struct drawn *drawn, sa_sequence *s, unsigned kinds) {
    if (kinds & SIGHT_Q_POSITIONS)
        s->q_positions = roll_positions(drawn, s->n_q, s->n_k - s->n_q, s->n_k);
    if (kinds & SIGHT_K_POSITIONS)
        s->k_positions = roll_positions(drawn, s->n_k, 0, s->n_k);
    if (kinds & SIGHT_PREFIX)
        s->n_prefix_keys = roll_between(&drawn->dice, 0, s->n_k + 3);
    if (kinds & SIGHT_DOCUMENTS)
        add_documents(drawn, s);
    if (kinds & SIGHT_TREE)
        add_tree(drawn, s);
    if (kinds & SIGHT_BLOCKS)
        add_blocks(drawn, s);
    if (kinds & SIGHT_MASK)
        add_mask(drawn, s);
}
