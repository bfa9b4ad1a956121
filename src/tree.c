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

/* Some of the tiles that go abreast, a bit each. */
typedef unsigned tile_set;

static bool has(tile_set set, int i) { return set >> i & 1; }

static tile_set all_of(const struct sa_tile *tiles) { return (1u << tiles->n_abreast) - 1; }

static tile_set that_see(const struct sa_tile *tiles, int64_t begin, int64_t end) {
    tile_set set = 0;
    for (int i = 0; i < tiles->n_abreast; i++)
        set |= (tile_set)sa_tile_sees_any(&tiles[i], begin, end) << i;
    return set;
}

/* A block of each tile that sees any of it, one after the other, so that it comes from afar once. */
static tile_set attend_blocks(const struct sa_tile *t, int64_t at, const struct sa_state *state, tile_set begun) {
    const tile_set seeing = that_see(t, at, at + SA_BLOCK_KEYS);
    tile_set any = 0;
    sa_play_interlude(t);
    for (int i = 0; i < t->n_abreast; i++) {
        const int turn = (seeing & ((1u << i) - 1) ? 0 : SA_FIRST_TURN) | (seeing >> i > 1 ? 0 : SA_LAST_TURN);
        if (has(seeing, i))
            any |= (tile_set)sa_attend_block(&t[i], at, &state[i], !has(begun, i), turn) << i;
    }
    return any;
}

/* As attend_node(). Blocks that no row sees would leave all as it is; tiles of few rows abreast see the same. */
static tile_set attend_chunk(const struct sa_tile *t, int64_t begin, const struct sa_state *state) {
    tile_set any = 0;
    if (sa_is_few(t)) {
        sa_play_interlude(t);
        return sa_attend_few(t, begin, state) ? all_of(t) : 0;
    }
    for (int64_t at = begin; at < begin + SA_CHUNK_KEYS && at < t->seq->n_k; at += SA_BLOCK_KEYS)
        any |= attend_blocks(t, at, state, any);
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

/* The node of a level that begins at key `begin`. Returns the tiles of which some row sees any of them; of others
 * nothing is written. */
static tile_set attend_node(const struct sa_tile *t, int level, int64_t begin, const struct sa_state *state) {
    const int64_t keys = sa_node_keys(level);
    if (begin >= t->seq->n_k || begin + keys <= t->seq->first_key || !that_see(t, begin, begin + keys))
        return 0;
    if (level == 0)
        return attend_chunk(t, begin, state);
    struct sa_state at[SA_MOST_ABREAST];
    tile_set any = 0;
    for (int i = 0; i < SA_TREE_FANOUT; i++) {
        for (int j = 0; j < t->n_abreast; j++)
            at[j] = has(any, j) ? t[j].space->child[level - 1] : state[j];
        const tile_set more = attend_node(t, level - 1, begin + i * (keys / SA_TREE_FANOUT), at);
        for (int j = 0; j < t->n_abreast; j++)
            if (has(any & more, j))
                sa_tree_merge(&t[j], &state[j], &at[j]);
        any |= more;
    }
    return any;
}

void sa_tree_attend_node(const struct sa_tile *tiles, int level, int64_t begin, const struct sa_state *state) {
    const tile_set any = attend_node(tiles, level, begin, state);
    for (int i = 0; i < tiles->n_abreast; i++)
        if (!has(any, i))
            sa_clear_state(&tiles[i], &state[i]);
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
        for (int i = 0; i < tiles->n_abreast; i++)
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
