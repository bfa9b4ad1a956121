/* SPDX-License-Identifier: MIT */
/*
 * A tile's keys are walked in blocks of 256 within chunks of 1024 within a tree of chunks, all at fixed absolute
 * positions. Each chunk starts a sum of its own; partial results merge in key order, up to 8 at each level. That keeps
 * the error flat in n_k, and since the order of a row's operations follows from key positions alone, a chunk or subtree
 * may be left out where a row sees nothing, or computed elsewhere, without changing a bit.
 */
#include "tree.h"

#include "few.h"

/* ---------------------------------------------------------------- the tree */

/* Tiles that go abreast see the same keys: what the first one sees, all do. */
static int abreast(const struct sa_tile *tiles) { return sa_abreast(tiles->seq); }

static void merge_each(const struct sa_tile *t, const struct sa_state *a, const struct sa_state *b) {
    for (int i = 0; i < abreast(t); i++)
        sa_tree_merge(&t[i], &a[i], &b[i]);
}

static void clear_each(const struct sa_tile *t, const struct sa_state *state) {
    for (int i = 0; i < abreast(t); i++)
        sa_clear_state(&t[i], &state[i]);
}

/* As attend_node(). Blocks that no row sees would leave all as it is. */
static bool attend_chunk(const struct sa_tile *t, int64_t begin, const struct sa_state *state) {
    bool any = false;
    if (sa_is_few(t))
        return sa_attend_few(t, begin, state);
    for (int64_t at = begin; at < begin + SA_CHUNK_KEYS && at < t->seq->n_k; at += SA_BLOCK_KEYS)
        if (sa_tile_sees_any(t, at, at + SA_BLOCK_KEYS))
            any = sa_attend_block(t, at, state, !any) || any;
    return any;
}

void sa_tree_merge(const struct sa_tile *t, const struct sa_state *a, const struct sa_state *b) {
    if (sa_is_few(t)) {
        t->kernels->few_merge(t->n_rows, t->problem->d_v, a, b);
        return;
    }
    for (int pass = 0; pass < sa_tile_passes(t); pass++) {
        const struct sa_state pass_a = sa_state_of_pass(t, a, pass), pass_b = sa_state_of_pass(t, b, pass);
        t->kernels->merge(sa_pass_groups(t, pass), t->problem->d_v, &pass_a, &pass_b);
    }
}

/* The node of a level that begins at key `begin`. False, and nothing written, if no row sees any of them. */
static bool attend_node(const struct sa_tile *t, int level, int64_t begin, const struct sa_state *state) {
    const int64_t keys = sa_node_keys(level);
    if (begin >= t->seq->n_k || begin + keys <= t->seq->first_key || !sa_tile_sees_any(t, begin, begin + keys))
        return false;
    if (level == 0)
        return attend_chunk(t, begin, state);
    struct sa_state child[SA_MOST_ABREAST];
    bool any = false;
    for (int i = 0; i < abreast(t); i++)
        child[i] = t[i].space->child[level - 1];
    for (int i = 0; i < SA_TREE_FANOUT; i++) {
        bool more = attend_node(t, level - 1, begin + i * (keys / SA_TREE_FANOUT), any ? child : state);
        if (any && more)
            merge_each(t, state, child);
        any = any || more;
    }
    return any;
}

void sa_tree_attend_node(const struct sa_tile *tiles, int level, int64_t begin, const struct sa_state *state) {
    if (!attend_node(tiles, level, begin, state))
        clear_each(tiles, state);
}

void sa_tree_attend(const struct sa_tile *tiles, const struct sa_state *state) {
    int level = 0;
    while (sa_node_keys(level) < tiles->seq->n_k)
        level++;
    sa_tree_attend_node(tiles, level, 0, state);
}

/* What merges two results does all that is needed, once a tile. The place of a child is free again. */
void sa_tree_add_sinks(const struct sa_tile *tile, const float sinks[SA_TILE_ROWS], const struct sa_state *state) {
    const struct sa_state *sink = &tile->space->child[0];
    sa_clear_state(tile, sink);
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        sink->m[r] = sinks[r];
        sink->l[r] = 1.0f;
    }
    sa_tree_merge(tile, state, sink);
}

/* ---------------------------------------------------------------- parts */

/* A part under way. Its slots are filled wherever spans leave something to see. */
struct part {
    const struct sa_tile *tile;
    const struct sa_split *split;
    const struct sa_partials *partials;
    int kv_head;
};

static struct sa_state slot_state(const struct part *p, int64_t begin) {
    return sa_partials_state(p->partials, sa_split_slot(p->split, p->kv_head, begin));
}

void sa_tree_attend_part(const struct sa_tile *tiles, const struct sa_split *split, int kv_head, int part,
                         const struct sa_partials *partials) {
    const struct sa_range keys = sa_part_keys(split, part);
    const int level = sa_split_level(split);
    struct sa_state state[SA_MOST_ABREAST];
    for (int64_t begin = keys.begin; begin < keys.end; begin += sa_node_keys(level)) {
        if (!sa_split_sees(split, begin, begin + sa_node_keys(level)))
            continue;
        for (int i = 0; i < abreast(tiles); i++)
            state[i] = sa_partials_state(partials, sa_split_slot(split, kv_head + i, begin));
        sa_tree_attend_node(tiles, level, begin, state);
    }
}

/* Merges a node's children as attend_node() does, into the first of them. */
static void merge_children(const struct part *p, int level, int64_t begin) {
    const int64_t keys = sa_node_keys(level - 1);
    const struct sa_state state = slot_state(p, begin);
    bool any = false;
    for (int i = 0; i < SA_TREE_FANOUT && begin < p->split->n_k; i++, begin += keys) {
        if (!sa_split_sees(p->split, begin, begin + keys))
            continue;
        const struct sa_state child = slot_state(p, begin);
        if (any)
            sa_tree_merge(p->tile, &state, &child);
        any = true;
    }
}

/* Counts `done` parts of a node of a level above the parts'. True: those were the last of its n. Their results are seen
 * by whoever counts the last ones. */
static bool is_complete(const struct part *p, int level, int64_t begin, int done, int n) {
    const int64_t at = sa_split_slot(p->split, p->kv_head, begin) * SA_TREE_LEVELS + level - 1;
    return done == n || __atomic_add_fetch(&p->partials->counts[at], done, __ATOMIC_ACQ_REL) == n;
}

/* From the part up as far as nodes are complete. True: the root is. */
static bool merge_upwards(const struct part *p, int64_t at) {
    int level = sa_split_level(p->split), done = 1;
    while (sa_node_keys(level) < p->split->n_k) {
        const int64_t keys = sa_node_keys(++level), begin = at - at % keys;
        const int n = sa_parts_below(p->split, begin + keys) - sa_parts_below(p->split, begin);
        if (!is_complete(p, level, begin, done, n))
            return false;
        merge_children(p, level, begin);
        done = n;
    }
    return true;
}

bool sa_tree_merge_part(const struct sa_tile *tile, const struct sa_split *split, int kv_head, int part,
                        const struct sa_partials *partials, struct sa_state *result) {
    const struct part p = {tile, split, partials, kv_head};
    if (!merge_upwards(&p, sa_part_keys(split, part).begin))
        return false;
    *result = slot_state(&p, 0);
    return true;
}
