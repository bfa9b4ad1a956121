/* SPDX-License-Identifier: MIT */
/*
 * A tile's keys are walked in blocks of 256 within chunks of 1024 within a tree of chunks, all at fixed absolute
 * positions. Each chunk starts a sum of its own; partial results merge in key order, up to 8 at each level. That keeps
 * the error flat in n_k, and since the order of a row's operations follows from key positions alone, a chunk or subtree
 * may be left out where a row sees nothing, or computed elsewhere, without changing a bit.
 */
#include "tree.h"

#include <math.h>
#include <string.h>

static void clear_state(const struct sa_tile *t, const struct sa_state *state) {
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        state->m[r] = -INFINITY;
        state->l[r] = 0.0f;
    }
    memset(state->o, 0, (size_t)(t->problem->d_v * sa_pass_row(t, sa_tile_passes(t))) * sizeof(float));
}

static void attend_chunk(const struct sa_tile *t, int64_t begin, const struct sa_state *state) {
    clear_state(t, state);
    for (int64_t at = begin; at < begin + SA_CHUNK_KEYS && at < t->seq->n_k; at += SA_BLOCK_KEYS)
        if (sa_tile_sees_any(t, at, at + SA_BLOCK_KEYS))
            sa_attend_block(t, at, state);
}

static void merge_states(const struct sa_tile *t, const struct sa_state *a, const struct sa_state *b) {
    for (int pass = 0; pass < sa_tile_passes(t); pass++) {
        const struct sa_state pass_a = sa_state_of_pass(t, a, pass), pass_b = sa_state_of_pass(t, b, pass);
        t->kernels->merge(sa_pass_groups(t, pass), t->problem->d_v, &pass_a, &pass_b);
    }
}

/* The node of `keys` = 1024 * 8^level keys from `begin` on. False, and nothing written, if no row sees any of them. */
static bool attend_node(const struct sa_tile *t, int level, int64_t keys, int64_t begin, const struct sa_state *state) {
    if (begin >= t->seq->n_k || !sa_tile_sees_any(t, begin, begin + keys))
        return false;
    if (level == 0) {
        attend_chunk(t, begin, state);
        return true;
    }
    int64_t child_keys = keys / SA_TREE_FANOUT;
    const struct sa_state *child = &t->space->child[level - 1];
    bool any = false;
    for (int i = 0; i < SA_TREE_FANOUT; i++) {
        bool more = attend_node(t, level - 1, child_keys, begin + i * child_keys, any ? child : state);
        if (any && more)
            merge_states(t, state, child);
        any = any || more;
    }
    return any;
}

void sa_tree_attend(const struct sa_tile *tile, const struct sa_state *state) {
    int level = 0;
    int64_t keys = SA_CHUNK_KEYS;
    for (; keys < tile->seq->n_k; keys *= SA_TREE_FANOUT)
        level++;
    if (!attend_node(tile, level, keys, 0, state))
        clear_state(tile, state);
}
