/* SPDX-License-Identifier: MIT */
#include "attend.h"

#include <sa/sa.h>

#include "abreast.h"
#include "ahead.h"
#include "kept.h"
#include "lse.h"
#include "near.h"
#include "terms.h"
#include "tree.h"

/* ---------------------------------------------------------------- the tile */

/* A row of the tile: its token and its query head among those of the kv head. */
struct row {
    int64_t token;
    int head;
};

static struct row first_row(const struct sa_tile *t) {
    return (struct row){t->first_row / t->problem->group, (int)(t->first_row % t->problem->group)};
}

static struct row next_row(const struct sa_tile *t, struct row row) {
    return row.head + 1 < t->problem->group ? (struct row){row.token, row.head + 1} : (struct row){row.token + 1, 0};
}

static void set_lane(const struct sa_workspace *space, int r, struct sa_span span) {
    space->lo[r] = (int32_t)span.lo;
    space->hi[r] = (int32_t)span.hi;
    space->sink[r] = (int32_t)span.sink;
}

static void fill(int32_t *lanes, int n_groups, int64_t value) {
    for (int r = 0; r < n_groups * SA_GROUP_ROWS; r++)
        lanes[r] = (int32_t)value;
}

static void set_all_lanes(struct sa_tile *t, struct sa_span span) {
    fill(t->space->lo, t->n_groups, span.lo);
    fill(t->space->hi, t->n_groups, span.hi);
    fill(t->space->sink, t->n_groups, span.sink);
    for (int g = 0; g < t->n_groups; g++)
        t->group_first[g] = t->group_last[g] = span;
}

/* Lanes without a row repeat the last one, so that they do not make a block partly visible. */
static void set_each_lane(struct sa_tile *t, const struct sa_rule *rule) {
    struct row row = first_row(t);
    struct sa_span span = {0, 0, 0};
    for (int r = 0; r < t->n_groups * SA_GROUP_ROWS; r++, row = next_row(t, row)) {
        if (r < t->n_rows)
            span = sa_visible(rule, t->seq->q_offset + row.token, t->seq->n_k);
        set_lane(t->space, r, span);
        if (r % SA_GROUP_ROWS == 0)
            t->group_first[r / SA_GROUP_ROWS] = span;
        t->group_last[r / SA_GROUP_ROWS] = span;
    }
}

static bool is_same(struct sa_span a, struct sa_span b) { return a.lo == b.lo && a.hi == b.hi && a.sink == b.sink; }

/* What the first and the last row both see, the rows between them see as well. */
static void set_lane_keys(struct sa_tile *t) {
    const struct sa_rule *rule = sa_rule_of(t->problem, t->seq);
    const int64_t offset = t->seq->q_offset, last_row = t->first_row + t->n_rows - 1;
    t->first_position = offset + t->first_row / t->problem->group;
    t->last_position = offset + last_row / t->problem->group;
    const struct sa_span first = sa_visible(rule, t->first_position, t->seq->n_k);
    if (is_same(first, sa_visible(rule, t->last_position, t->seq->n_k)))
        set_all_lanes(t, first);
    else
        set_each_lane(t, rule);
}

/* Here, too, lanes without a row repeat the last one. */
static void set_terms(const struct sa_tile *t, int kv_head) {
    const int first_head = kv_head * t->problem->group;
    struct row row = first_row(t);
    for (int r = 0; sa_has_terms(t) && r < t->n_groups * SA_GROUP_ROWS; r++) {
        sa_set_row_terms(t, r, row.token, first_head + row.head);
        row = r + 1 < t->n_rows ? next_row(t, row) : row;
    }
}

/* To everything that only moves them, pairs of elements of k are floats. */
static void take_pairs(struct sa_tile *t, const struct sa_dots *dots) {
    t->dots = dots;
    t->products = &dots->pairs;
    t->k = sa_words_of(&t->k);
}

/* rows[r]: where row r stands in a tensor whose first head of the kv head is at `data`. Step by step, which takes half
 * the instructions of two products a row. */
static void find_rows(const struct sa_tile *t, const char *data, ptrdiff_t token, ptrdiff_t head, const char **rows) {
    const int group = t->problem->group, n_rows = t->n_rows;
    struct row row = first_row(t);
    const char *at = data + row.token * token + row.head * head;
    for (int r = 0; r < n_rows; r++, at += head) {
        if (row.head == group) {
            row.head = 0;
            at += token - group * head;
        }
        rows[r] = at;
        row.head++;
    }
}

/* rows[r] = row r: where it stands if it is used as it is, else brought near as floats, as row at + r there. */
static void find_queries(const struct sa_tile *t, int kv_head, int at, const char **rows) {
    const struct sa_problem *problem = t->problem;
    const int stride = sa_near_stride(problem->d_qk);
    const struct sa_strided *q = &t->seq->q;
    find_rows(t, q->data + kv_head * problem->group * q->head, q->token, q->head, rows);
    if (t->dots || problem->q_type == SA_F32)
        return;
    for (int r = 0; r < t->n_rows; r++) {
        float *near = t->space->near + (at + r) * stride;
        t->kernels->widen((struct sa_stored){rows[r], 0, 1, problem->d_qk, problem->q_type}, near, 0);
        rows[r] = (const char *)near;
    }
}

static void pack_rows(const struct sa_tile *t, const char *const *rows, int n_rows, float *qt) {
    const struct sa_problem *problem = t->problem;
    const float *floats[SA_TILE_ROWS];
    if (t->dots) {
        t->dots->pack(rows, n_rows, problem->d_qk, problem->factor, qt);
        return;
    }
    for (int r = 0; r < n_rows; r++)
        floats[r] = (const float *)(const void *)rows[r];
    (t->bytes ? t->bytes->pack : t->kernels->pack)(floats, n_rows, problem->d_qk, problem->factor, qt);
}

/* Does q stand side by side, without lanes that no row has? */
static bool is_dense(const struct sa_tile *t) {
    return sa_is_few(t) && !t->dots && !t->bytes && t->kernels->few_queries;
}

/* Where the rows of a tile would stand, `step` a tile, if all were packed into the lanes of qt. */
static ptrdiff_t lanes_of(const struct sa_tile *t, int i, int step) {
    const int pass_rows = t->kernels->pass_groups * SA_GROUP_ROWS;
    return i * step / pass_rows * pass_rows * t->problem->d_qk + i * step % pass_rows;
}

/* Of n tiles that go abreast, which share the first one's qt: dense or in its lanes. Rows brought near stand before
 * lanes that are packed there. */
static void pack_few(const struct sa_tile *tiles, int n, int kv_head) {
    const int step = sa_rows_abreast(tiles->n_rows), d = tiles->problem->d_qk;
    const bool dense = is_dense(tiles);
    float *lanes = dense ? tiles->space->near + SA_TILE_ROWS * sa_near_stride(d) : tiles->space->qt;
    const char *rows[SA_TILE_ROWS] = {NULL};
    for (int i = 0; i < n; i++) {
        find_queries(&tiles[i], kv_head + i, i * step, rows + i * step);
        for (int r = tiles->n_rows; r < step; r++)
            rows[i * step + r] = rows[i * step];
    }
    pack_rows(tiles, rows, n * step, lanes);
    for (int i = 0; i < n; i++) {
        tiles[i].space->qt = tiles->space->qt + (dense ? i * step * d : lanes_of(tiles, i, step));
        if (dense)
            tiles->kernels->few_queries(lanes + lanes_of(tiles, i, step), step, d, tiles[i].space->qt);
    }
}

static void pack_queries(const struct sa_tile *tiles, int n, int kv_head) {
    const char *rows[SA_TILE_ROWS];
    if (sa_is_few(tiles)) {
        pack_few(tiles, n, kv_head);
        return;
    }
    find_queries(tiles, kv_head, 0, rows);
    pack_rows(tiles, rows, tiles->n_rows, tiles->space->qt);
}

static void write_outputs(const struct sa_tile *t, struct sa_item item, const struct sa_state *state) {
    const struct sa_problem *problem = t->problem;
    const int stride = sa_near_stride(problem->d_v), n_rows = t->n_rows;
    const bool in_place = problem->o_type == SA_F32;
    const struct sa_strided_out *o = &t->seq->o;
    const char *to[SA_TILE_ROWS];
    float *rows[SA_TILE_ROWS];
    find_rows(t, o->data + item.kv_head * problem->group * o->head, o->token, o->head, to);
    for (int r = 0; r < n_rows; r++)
        rows[r] = in_place ? (float *)(uintptr_t)to[r] : t->space->near + r * stride;
    sa_finish(t, state, rows);
    for (int r = 0; r < n_rows && !in_place; r++)
        t->kernels->narrow(rows[r], problem->d_v, problem->o_type, (char *)(uintptr_t)to[r]);
}

/* One of them a row, laid out as `to` says. */
static void write_each(const struct sa_tile *t, struct sa_item item, const struct sa_state *state,
                       const struct sa_lse_out *to, float (*of)(float m, float l)) {
    float *data = to->data + item.kv_head * t->problem->group * to->head;
    struct row row = first_row(t);
    for (int r = 0; r < t->n_rows; r++, row = next_row(t, row))
        data[row.token * to->token + row.head * to->head] = of(state->m[r], state->l[r]);
}

/* To each lane its query head's logit, in units of log2; -inf: none. */
static void add_sinks(const struct sa_tile *t, struct sa_item item, const struct sa_state *state) {
    const float *logits = t->seq->sink_logits + item.kv_head * t->problem->group;
    float sinks[SA_TILE_ROWS];
    struct row row = first_row(t);
    for (int r = 0; r < SA_TILE_ROWS; r++, row = next_row(t, row))
        sinks[r] = (float)((double)logits[row.head] * LOG2_E);
    sa_tree_add_sinks(t, sinks, state);
}

/* As it is in the tile: divided by 1, which takes the sign of zeros, as the end would. */
static void keep_node(const struct sa_tile *t, struct sa_item item, int64_t node, const struct sa_state *state) {
    float ones[SA_TILE_ROWS], *rows[SA_TILE_ROWS];
    const int first_head = item.kv_head * t->problem->group;
    struct row row = first_row(t);
    for (int r = 0; r < t->n_rows; r++, row = next_row(t, row)) {
        const float *to = sa_kept_row(t->seq->kept, node, row.token, first_head + row.head);
        float *kept = (float *)(uintptr_t)to;
        kept[0] = state->m[r];
        kept[1] = state->l[r];
        rows[r] = kept + 2;
        ones[r] = 1.0f;
    }
    sa_finish(t, &(struct sa_state){state->m, ones, state->o}, rows);
}

static int64_t above_zero(int64_t x) { return x > 0 ? x : 0; }

/* Those of keys from `begin` on. */
static int64_t tile_pairs(const struct sa_tile *t, int64_t begin) {
    const struct sa_workspace *space = t->space;
    int64_t pairs = 0;
    for (int r = 0; r < t->n_rows; r++)
        pairs += above_zero(space->hi[r] - (space->lo[r] > begin ? space->lo[r] : begin)) +
                 above_zero(space->sink[r] - begin);
    return pairs;
}

/* ---------------------------------------------------------------- the item */

/* All but its queries. */
static void open_rows(struct sa_tile *t, int kv_head, int64_t first_row, int n_rows) {
    t->first_row = first_row;
    t->n_rows = n_rows;
    t->products = &t->kernels->floats;
    t->dots = NULL;
    t->bytes = NULL;
    t->n_groups = (t->n_rows + SA_GROUP_ROWS - 1) / SA_GROUP_ROWS;
    if (t->seq->n_k) {
        t->k = sa_cache_of_head(&t->seq->k, kv_head);
        t->v = sa_cache_of_head(&t->seq->v, kv_head);
        const struct sa_dots *dots = sa_dots_of(t->kernels, t->problem, t->seq);
        if (dots)
            take_pairs(t, dots);
        t->bytes = sa_bytes_of(t->kernels, t->problem, t->seq);
        if (t->bytes)
            t->products = &t->bytes->products;
    }
    set_lane_keys(t);
    if (t->seq->sight.any || (t->dots && t->seq->terms.bias.data))
        t->viewer = sa_viewer_of(t->problem, t->seq, kv_head, first_row, n_rows);
    set_terms(t, kv_head);
}

void sa_open_rows(struct sa_tile *t, int kv_head, int64_t first_row, int n_rows) {
    open_rows(t, kv_head, first_row, n_rows);
    pack_queries(t, 1, kv_head);
}

/* That of the tile i of those that go abreast: of another kv head each, or the next one of the same. */
static struct sa_item item_of(const struct sa_tile *tiles, struct sa_item item, int i) {
    if (sa_abreast(tiles->seq) > 1)
        item.kv_head += i;
    else
        item.tile += i;
    return item;
}

static void open_tiles(struct sa_tile *tiles, struct sa_item first) {
    const bool heads = sa_abreast(tiles->seq) > 1;
    for (int i = 0; i < tiles->n_abreast; i++) {
        const struct sa_item item = item_of(tiles, first, i);
        open_rows(&tiles[i], item.kv_head, item.tile * SA_TILE_ROWS,
                  sa_tile_rows(tiles->problem, tiles->seq, item.tile));
        if (!heads)
            pack_queries(&tiles[i], 1, item.kv_head);
    }
    if (heads)
        pack_queries(tiles, tiles->n_abreast, first.kv_head);
}

/* For what is reported afterwards. */
static void write_known(const struct sa_tile *t, struct sa_item item, const struct sa_state *state) {
    float *known = t->seq->reports.known + 2 * (item.kv_head * sa_seq_rows(t->problem, t->seq) + t->first_row);
    for (int r = 0; r < t->n_rows; r++) {
        known[2 * r] = state->m[r];
        known[2 * r + 1] = state->l[r];
    }
}

static void write_tile(const struct sa_tile *t, struct sa_item item, const struct sa_state *state) {
    if (t->seq->row_max.data)
        write_each(t, item, state, &t->seq->row_max, sa_row_max);
    if (t->seq->sink_logits)
        add_sinks(t, item, state);
    write_outputs(t, item, state);
    if (t->seq->lse.data)
        write_each(t, item, state, &t->seq->lse, sa_lse);
    if (t->seq->reports.known)
        write_known(t, item, state);
}

static void add_progress(const struct sa_tile *t, int64_t begin) {
    if (t->problem->progress)
        __atomic_fetch_add(t->problem->progress, tile_pairs(t, begin), __ATOMIC_RELAXED);
}

static void attend_kept(struct sa_tile *t, struct sa_item item) {
    int64_t node = 0;
    for (int64_t at = t->seq->first_key; at < t->seq->n_k; node++) {
        const int level = sa_node_level(at, t->seq->n_k);
        sa_tree_attend_node(t, level, at, &t->space->result);
        keep_node(t, item, node, &t->space->result);
        at += sa_node_keys(level);
    }
}

static void attend_all(const struct sa_tile *tiles, struct sa_item item) {
    struct sa_state result[SA_MOST_ABREAST];
    for (int i = 0; i < tiles->n_abreast; i++)
        result[i] = tiles[i].space->result;
    sa_tree_attend(tiles, result);
    for (int i = 0; i < tiles->n_abreast; i++)
        write_tile(&tiles[i], item_of(tiles, item, i), &result[i]);
}

static void add_progress_of_all(const struct sa_tile *tiles, int64_t begin) {
    for (int i = 0; i < tiles->n_abreast; i++)
        add_progress(&tiles[i], begin);
}

static void attend_whole(struct sa_tile *tiles, struct sa_item item) {
    open_tiles(tiles, item);
    if (tiles->seq->kept)
        attend_kept(tiles, item);
    else
        attend_all(tiles, item);
    add_progress_of_all(tiles, tiles->seq->first_key);
}

/* To a part its sequence ends where it ends, so that nothing behind is looked at or fetched. */
static void attend_part(struct sa_tile *tiles, struct sa_item item, const struct sa_split *split,
                        const struct sa_partials *partials) {
    const struct sa_range keys = sa_part_keys(split, item.part);
    struct sa_seq shortened = *tiles->seq;
    struct sa_state result;
    shortened.n_k = keys.end;
    for (int i = 0; i < tiles->n_abreast; i++)
        tiles[i].seq = &shortened;
    open_tiles(tiles, item);
    sa_tree_attend_part(tiles, split, item.kv_head, item.part, partials);
    for (int i = 0; i < tiles->n_abreast; i++)
        if (sa_tree_merge_part(&tiles[i], split, item.kv_head + i, item.part, partials, &result))
            write_tile(&tiles[i], item_of(tiles, item, i), &result);
    add_progress_of_all(tiles, keys.begin > tiles->seq->first_key ? keys.begin : tiles->seq->first_key);
}

bool sa_go_together(const struct sa_kernels *kernels, const struct sa_problem *problem, struct sa_item item,
                    struct sa_item behind) {
    const struct sa_seq *seq = &problem->seqs[item.seq];
    return seq->together && item.split == SA_WHOLE && behind.split == SA_WHOLE && behind.seq == item.seq &&
           behind.kv_head == item.kv_head && behind.tile + 1 == item.tile &&
           sa_tile_rows(problem, seq, item.tile) > SA_FEW_ROWS && !sa_dots_of(kernels, problem, seq) &&
           !sa_bytes_of(kernels, problem, seq);
}

/* Of two tiles of a head that go together the one that ends with more keys is the last, which fetches what follows. */
static void share_space(struct sa_tile *tiles) {
    tiles[1].space->qt = tiles[0].space->qt + sa_queries_floats(tiles->problem->d_qk);
    tiles[1].space->fetched_end = 0;
    tiles[1].after_end = tiles[0].after_end;
    tiles[1].fetched_end = tiles[0].fetched_end;
}

void sa_attend(const struct sa_kernels *kernels, const struct sa_problem *problem, const struct sa_splits *splits,
               const struct sa_partials *partials, struct sa_item item, int n_tiles, const struct sa_item *next,
               struct sa_workspace *space) {
    struct sa_ahead after;
    struct sa_tile *tiles = space->tiles;
    const struct sa_seq *seq = &problem->seqs[item.seq];
    const int n = n_tiles > 1 ? n_tiles : sa_abreast(seq);
    for (int i = 0; i < n; i++)
        tiles[i] = (struct sa_tile){.kernels = kernels,
                                    .problem = problem,
                                    .space = i ? &space->beside[i - 1] : space,
                                    .seq = seq,
                                    .n_abreast = i ? 1 : n,
                                    .after = &after};
    const struct sa_dots *dots = sa_dots_of(kernels, problem, seq);
    const struct sa_bytes *bytes = sa_bytes_of(kernels, problem, seq);
    sa_ahead_of_item(tiles, splits, item, next);
    if (n_tiles > 1)
        share_space(tiles);
    sa_enter_products(dots, bytes);
    if (item.split == SA_WHOLE)
        attend_whole(tiles, item);
    else
        attend_part(tiles, item, &splits->at[item.split], partials);
    sa_leave_products(dots, bytes);
    if (n_tiles > 1)
        space->fetched_end = tiles[1].space->fetched_end;
}
