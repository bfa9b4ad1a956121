/* SPDX-License-Identifier: MIT */
/*
 * A tile's keys are walked in blocks of 256 within chunks of 1024 within a tree of chunks, all at fixed absolute
 * positions. Each chunk starts a sum of its own; partial results merge in key order, up to 8 at each level. That keeps
 * the error flat in n_k, and since the order of a row's operations follows from key positions alone, a chunk or subtree
 * may be left out where a row sees nothing, or computed elsewhere, without changing a bit.
 */
#include "attend.h"

#include <math.h>
#include <string.h>

#include "lse.h"

struct tile {
    const struct sa_kernels *kernels;
    const struct sa_problem *problem;
    struct sa_workspace *space;
    const struct sa_seq *seq;
    const float *k, *v; /* of the kv head, token 0 */
    int n_rows, n_groups;
    int64_t first_position, last_position;
    struct sa_span group_first[SA_TILE_GROUPS],
        group_last[SA_TILE_GROUPS]; /* what the first and last row of a group see */
};

/* ---------------------------------------------------------------- one block */

struct block {
    struct tile *tile;
    int64_t at; /* its first key */
    int g0, g1; /* groups that see any of it */
    struct sa_zones zones[SA_TILE_GROUPS];
    int common_begin, common_end; /* keys that every row of g0 .. g1 - 1 sees */
};

/* Fewer common keys than this are left to the groups one by one. */
enum { MIN_COMMON_KEYS = 16 };

static struct sa_rows k_rows(const struct block *b, int begin, int end) {
    const struct tile *t = b->tile;
    return (struct sa_rows){t->k + (b->at + begin) * t->seq->k.token, t->seq->k.token, end - begin, t->problem->d_qk};
}

static struct sa_rows v_rows(const struct block *b, int begin, int end) {
    const struct tile *t = b->tile;
    return (struct sa_rows){t->v + (b->at + begin) * t->seq->v.token, t->seq->v.token, end - begin, t->problem->d_v};
}

static float *s_row(const struct block *b, int j) { return b->tile->space->s + j * SA_TILE_ROWS; }

/* The groups of a tile that see any of the block are neighbours, since spans move with the position. */
static void open_block(struct block *b) {
    struct tile *t = b->tile;
    int n_block = t->seq->n_k - b->at < SA_BLOCK_KEYS ? (int)(t->seq->n_k - b->at) : SA_BLOCK_KEYS;
    b->g0 = t->n_groups;
    b->g1 = 0;
    b->common_begin = 0;
    b->common_end = n_block;
    for (int g = 0; g < t->n_groups; g++) {
        struct sa_zones z = b->zones[g] = sa_zones_of(t->group_first[g], t->group_last[g], b->at, n_block);
        if (z.seen_begin == z.seen_end)
            continue;
        b->g0 = g < b->g0 ? g : b->g0;
        b->g1 = g + 1;
        b->common_begin = z.full_begin > b->common_begin ? z.full_begin : b->common_begin;
        b->common_end = z.full_end < b->common_end ? z.full_end : b->common_end;
    }
    if (b->common_end - b->common_begin < MIN_COMMON_KEYS)
        b->common_begin = b->common_end = 0;
}

/* Is the block all common, so that the groups can be handled side by side to the end? */
static bool is_uniform(const struct block *b) {
    for (int g = b->g0; g < b->g1; g++)
        if (b->zones[g].seen_begin != b->common_begin || b->zones[g].seen_end != b->common_end)
            return false;
    return b->common_begin < b->common_end;
}

/* The keys begin .. end - 1 of one group, from where some row sees them to where none does. */
static void score_keys(const struct block *b, int g, int begin, int end) {
    const struct tile *t = b->tile;
    const struct sa_kernels *kernels = t->kernels;
    const struct sa_zones *z = &b->zones[g];
    const int cut[4] = {begin, z->full_begin, z->full_end, end};
    for (int part = 0; part < 3; part++) {
        int from = cut[part] > begin ? cut[part] : begin, to = cut[part + 1] < end ? cut[part + 1] : end;
        if (from >= to)
            continue;
        struct sa_rows k = k_rows(b, from, to);
        if (part == 1)
            kernels->scores(t->space->qt, g, g + 1, k, k, s_row(b, from), t->space->mb);
        else
            kernels->scores_masked(t->space->qt, g, k, (int)b->at + from, t->space->lane_keys, s_row(b, from),
                                   t->space->mb);
    }
}

static void score_block(const struct block *b) {
    const struct tile *t = b->tile;
    for (int r = 0; r < SA_TILE_ROWS; r++)
        t->space->mb[r] = -INFINITY;
    if (b->common_begin < b->common_end)
        t->kernels->scores(t->space->qt, b->g0, b->g1, k_rows(b, b->common_begin, b->common_end),
                           v_rows(b, b->common_begin, b->common_end), s_row(b, b->common_begin), t->space->mb);
    for (int g = b->g0; g < b->g1; g++) {
        const struct sa_zones *z = &b->zones[g];
        score_keys(b, g, z->begin, b->common_begin);
        score_keys(b, g, b->common_end > z->begin ? b->common_end : z->begin, z->seen_end);
        t->kernels->scores_none(g, z->end - z->seen_end, s_row(b, z->seen_end));
    }
}

static void add_values(const struct block *b, int g, int begin, int end) {
    const struct tile *t = b->tile;
    const struct sa_zones *z = &b->zones[g];
    const int cut[4] = {begin, z->full_begin, z->full_end, end};
    for (int part = 0; part < 3; part++) {
        int from = cut[part] > begin ? cut[part] : begin, to = cut[part + 1] < end ? cut[part + 1] : end;
        if (from >= to)
            continue;
        struct sa_rows v = v_rows(b, from, to);
        if (part == 1)
            t->kernels->values_part(s_row(b, from), g, g + 1, v, t->space->sum);
        else
            t->kernels->values_masked(s_row(b, from), g, v, (int)b->at + from, t->space->lane_keys, t->space->sum);
    }
}

/* Keys left of the common ones, the common ones, keys right of them: the order of the keys, for every row. */
static void weigh_values(const struct block *b, struct sa_state *state) {
    const struct tile *t = b->tile;
    struct sa_workspace *space = t->space;
    const int d = t->problem->d_v;
    memset(space->sum, 0, (size_t)d * SA_TILE_ROWS * sizeof(float));
    for (int g = b->g0; g < b->g1; g++)
        add_values(b, g, b->zones[g].seen_begin, b->common_begin);
    if (b->common_begin < b->common_end)
        t->kernels->values_part(s_row(b, b->common_begin), b->g0, b->g1, v_rows(b, b->common_begin, b->common_end),
                                space->sum);
    for (int g = b->g0; g < b->g1; g++) {
        int begin = b->zones[g].seen_begin;
        add_values(b, g, b->common_end > begin ? b->common_end : begin, b->zones[g].seen_end);
    }
    t->kernels->values_apply(b->g0, b->g1, d, space->sum, space->alpha, state->o);
}

static void attend_block(struct tile *t, int64_t at, struct sa_state *state) {
    struct block b = {.tile = t, .at = at};
    struct sa_workspace *space = t->space;
    open_block(&b);
    if (b.g0 >= b.g1)
        return;
    score_block(&b);
    for (int g = b.g0; g < b.g1; g++)
        t->kernels->weights(g, b.zones[g].end - b.zones[g].begin, s_row(&b, b.zones[g].begin), space->mb, state->m,
                            state->l, space->alpha);
    if (is_uniform(&b))
        t->kernels->values(s_row(&b, b.common_begin), b.g0, b.g1, v_rows(&b, b.common_begin, b.common_end),
                           space->alpha, state->o);
    else
        weigh_values(&b, state);
}

/* ---------------------------------------------------------------- chunks and their tree */

static bool sees_any(const struct tile *t, int64_t begin, int64_t end) {
    return sa_visible_any(&t->problem->rule, t->first_position, t->last_position, t->seq->n_k, begin, end);
}

static void clear_state(const struct tile *t, struct sa_state *state) {
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        state->m[r] = -INFINITY;
        state->l[r] = 0.0f;
    }
    memset(state->o, 0, (size_t)t->problem->d_v * SA_TILE_ROWS * sizeof(float));
}

static void attend_chunk(struct tile *t, int64_t begin, struct sa_state *state) {
    clear_state(t, state);
    for (int64_t at = begin; at < begin + SA_CHUNK_KEYS && at < t->seq->n_k; at += SA_BLOCK_KEYS)
        if (sees_any(t, at, at + SA_BLOCK_KEYS))
            attend_block(t, at, state);
}

/* The node of `keys` = 1024 * 8^level keys from `begin` on. False, and nothing written, if no row sees any of them. */
static bool attend_node(struct tile *t, int level, int64_t keys, int64_t begin, struct sa_state *state) {
    if (begin >= t->seq->n_k || !sees_any(t, begin, begin + keys))
        return false;
    if (level == 0) {
        attend_chunk(t, begin, state);
        return true;
    }
    int64_t child_keys = keys / SA_TREE_FANOUT;
    struct sa_state *child = &t->space->child[level - 1];
    bool any = false;
    for (int i = 0; i < SA_TREE_FANOUT; i++) {
        bool more = attend_node(t, level - 1, child_keys, begin + i * child_keys, any ? child : state);
        if (any && more)
            t->kernels->merge(t->n_groups, t->problem->d_v, state, child);
        any = any || more;
    }
    return any;
}

static void attend_keys(struct tile *t, struct sa_state *state) {
    int level = 0;
    int64_t keys = SA_CHUNK_KEYS;
    for (; keys < t->seq->n_k; keys *= SA_TREE_FANOUT)
        level++;
    if (!attend_node(t, level, keys, 0, state))
        clear_state(t, state);
}

/* ---------------------------------------------------------------- the tile */

/* A row of the tile: its token and its query head among those of the kv head. */
struct row {
    int64_t token;
    int head;
};

static struct row first_row(const struct tile *t, struct sa_item item) {
    int64_t row = item.tile * SA_TILE_ROWS;
    return (struct row){row / t->problem->group, (int)(row % t->problem->group)};
}

static struct row next_row(const struct tile *t, struct row row) {
    return row.head + 1 < t->problem->group ? (struct row){row.token, row.head + 1} : (struct row){row.token + 1, 0};
}

static void set_lane(struct sa_lane_keys *keys, int r, struct sa_span span) {
    keys->lo[r] = (int32_t)span.lo;
    keys->hi[r] = (int32_t)span.hi;
    keys->sink[r] = (int32_t)span.sink;
}

/* Lanes without a row repeat the last one, so that they do not make a block partly visible. */
static void set_lane_keys(struct tile *t, struct sa_item item) {
    struct row row = first_row(t, item);
    t->first_position = t->last_position = t->seq->q_offset + row.token;
    struct sa_span span = sa_visible(&t->problem->rule, t->first_position, t->seq->n_k);
    for (int r = 0; r < t->n_groups * SA_GROUP_ROWS; r++) {
        int64_t position = t->seq->q_offset + row.token;
        if (position != t->last_position && r < t->n_rows)
            span = sa_visible(&t->problem->rule, t->last_position = position, t->seq->n_k);
        set_lane(t->space->lane_keys, r, span);
        if (r % SA_GROUP_ROWS == 0)
            t->group_first[r / SA_GROUP_ROWS] = span;
        t->group_last[r / SA_GROUP_ROWS] = span;
        row = next_row(t, row);
    }
}

static void pack_queries(const struct tile *t, struct sa_item item) {
    const float *rows[SA_TILE_ROWS];
    const struct sa_strided *q = &t->seq->q;
    const float *data = q->data + item.kv_head * t->problem->group * q->head;
    struct row row = first_row(t, item);
    for (int r = 0; r < t->n_rows; r++, row = next_row(t, row))
        rows[r] = data + row.token * q->token + row.head * q->head;
    t->kernels->pack(rows, t->n_rows, t->problem->d_qk, t->problem->factor, t->space->qt);
}

static void write_outputs(const struct tile *t, struct sa_item item, const struct sa_state *state) {
    float *rows[SA_TILE_ROWS];
    const struct sa_strided_out *o = &t->seq->o;
    float *data = o->data + item.kv_head * t->problem->group * o->head;
    struct row row = first_row(t, item);
    for (int r = 0; r < t->n_rows; r++, row = next_row(t, row))
        rows[r] = data + row.token * o->token + row.head * o->head;
    t->kernels->finish(state, t->n_rows, t->problem->d_v, rows);
}

static void write_lse(const struct tile *t, struct sa_item item, const struct sa_state *state) {
    const struct sa_strided_out *lse = &t->seq->lse;
    float *data = lse->data + item.kv_head * t->problem->group * lse->head;
    struct row row = first_row(t, item);
    for (int r = 0; r < t->n_rows; r++, row = next_row(t, row))
        data[row.token * lse->token + row.head * lse->head] = sa_lse(state->m[r], state->l[r]);
}

static int64_t tile_pairs(const struct tile *t) {
    const struct sa_lane_keys *keys = t->space->lane_keys;
    int64_t pairs = 0;
    for (int r = 0; r < t->n_rows; r++)
        pairs += keys->hi[r] - keys->lo[r] + keys->sink[r];
    return pairs;
}

void sa_attend(const struct sa_kernels *kernels, const struct sa_problem *problem, struct sa_item item,
               struct sa_workspace *space) {
    const struct sa_seq *seq = &problem->seqs[item.seq];
    struct tile t = {.kernels = kernels, .problem = problem, .space = space, .seq = seq};
    int64_t rows_left = sa_seq_rows(problem, seq) - item.tile * SA_TILE_ROWS;
    t.n_rows = rows_left < SA_TILE_ROWS ? (int)rows_left : SA_TILE_ROWS;
    t.n_groups = (t.n_rows + SA_GROUP_ROWS - 1) / SA_GROUP_ROWS;
    t.k = seq->n_k ? seq->k.data + item.kv_head * seq->k.head : NULL;
    t.v = seq->n_k ? seq->v.data + item.kv_head * seq->v.head : NULL;
    set_lane_keys(&t, item);
    pack_queries(&t, item);
    attend_keys(&t, &space->result);
    write_outputs(&t, item, &space->result);
    if (seq->lse.data)
        write_lse(&t, item, &space->result);
    if (problem->progress)
        __atomic_fetch_add(problem->progress, tile_pairs(&t), __ATOMIC_RELAXED);
}
