/* SPDX-License-Identifier: MIT */
/*
 * A block goes through the tile in three steps, each of them for all passes before the next one begins, so that first k
 * and then v are read from afar once and found in a near cache by the other passes.
 */
#include "block_steps.h"

#include <math.h>
#include <string.h>

#include "copies.h"
#include "near.h"
#include "terms.h"
#include "turned.h"

/* Fewer common keys than this are left to the groups one by one. */
enum { MIN_COMMON_KEYS = 16 };

/* ---------------------------------------------------------------- who sees what */

/* The groups that see any of the block are neighbours where spans say it, since these move with the position. */
static void open_pass(struct sa_block *b, int index) {
    struct sa_pass *p = &b->passes[index];
    const int n_groups = sa_pass_groups(b->tile, index);
    *p = (struct sa_pass){.index = index, .row = sa_pass_row(b->tile, index), .g0 = n_groups, .common_end = b->n_keys};
    p->zones = b->zones + p->row / SA_GROUP_ROWS;
    for (int g = 0; g < n_groups; g++) {
        const struct sa_zones *z = &p->zones[g];
        if (sa_is_empty(z))
            continue;
        p->g0 = g < p->g0 ? g : p->g0;
        p->g1 = g + 1;
        p->common_begin = z->full_begin > p->common_begin ? z->full_begin : p->common_begin;
        p->common_end = z->full_end < p->common_end ? z->full_end : p->common_end;
    }
    if (p->g0 >= p->g1 || b->view || p->common_end - p->common_begin < MIN_COMMON_KEYS)
        p->common_begin = p->common_end = 0;
}

/* A block with so many strips to leave out is copied, which costs about as much as one of them. */
enum { LEAST_GAPS = 2 };

/* False: nobody sees any of it. What everybody sees all of needs no view. */
static bool open_view(struct sa_block *b) {
    struct sa_view *view = b->tile->space->view;
    if (!b->tile->seq->sight.any)
        return true;
    if (!sa_view_open(view, &b->tile->viewer, b->at, b->n_keys, sa_gaps_of(b->tile, LEAST_GAPS)))
        return false;
    sa_view_group(view, b->tile->n_rows);
    b->full = sa_view_is_full(view, b->tile->n_rows);
    b->view = b->full ? NULL : view;
    b->n_keys = view->n_keys;
    return true;
}

static struct sa_zones zones_of(const struct sa_block *b, int g) {
    const struct sa_tile *t = b->tile;
    if (b->full)
        return (struct sa_zones){0, 0, 0, SA_BLOCK_KEYS, SA_BLOCK_KEYS, SA_BLOCK_KEYS};
    return b->view ? sa_view_zones(b->view, g) : sa_zones_of(t->group_first[g], t->group_last[g], b->at, b->n_keys);
}

static bool open_block(struct sa_block *b, const struct sa_tile *t, int64_t at) {
    b->tile = t;
    b->at = at;
    b->hides = false;
    b->view = NULL;
    b->full = false;
    b->n_keys = t->seq->n_k - at < SA_BLOCK_KEYS ? (int)(t->seq->n_k - at) : SA_BLOCK_KEYS;
    if (!open_view(b))
        return false;
    b->n_passes = sa_tile_passes(t);
    b->seen_begin = b->n_keys;
    b->seen_end = 0;
    for (int g = 0; g < t->n_groups; g++) {
        const struct sa_zones z = b->zones[g] = zones_of(b, g);
        if (sa_is_empty(&z))
            continue;
        b->seen_begin = z.seen_begin < b->seen_begin ? z.seen_begin : b->seen_begin;
        b->seen_end = z.seen_end > b->seen_end ? z.seen_end : b->seen_end;
    }
    for (int i = 0; i < b->n_passes; i++)
        open_pass(b, i);
    return true;
}

static struct sa_rows rows_of(const struct sa_block *b, const struct sa_cache *cache) {
    const struct sa_tile *t = b->tile;
    if (b->view && b->view->gaps)
        return sa_strip_rows_of(t->kernels, t->space, cache, b->at, b->view->strip, b->n_keys);
    return sa_copied_rows_of(t, cache, b->at, b->seen_begin, b->seen_end);
}

/* Values for the tile's dots. */
static struct sa_rows pairs_of(const struct sa_block *b) {
    const struct sa_tile *t = b->tile;
    if (b->view)
        return sa_pairs_of_view(t->dots, t->space, &t->v, b->at, b->view);
    return sa_pairs_of(t->dots, t->space, &t->v, b->at, b->seen_begin, b->seen_end);
}

/* ---------------------------------------------------------------- what is fetched meanwhile */

static void add_after(const struct sa_block *b) {
    const struct sa_tile *t = b->tile;
    for (int i = 0; i < t->after->n_sets; i++)
        sa_ahead_add(b->ahead, t->after->sets[i]);
    t->space->fetched_end = t->after_end;
}

/* Were the block's values fetched by the tile before? That has fetched one block, maybe for a tile that another thread
 * has taken: then this is wrong for one block, not for all before it. */
static bool is_fetched(const struct sa_block *b) {
    const int64_t end = b->tile->fetched_end;
    return b->at < end && end <= b->at + SA_BLOCK_KEYS;
}

/* The block's values, then the keys of the next one; from the last block on what comes after the tile. Of tiles that go
 * through the block one after the other the first fetches those, the last one these. */
static void open_ahead(const struct sa_block *b, int turn) {
    const struct sa_tile *t = b->tile;
    const int64_t n_k = t->seq->n_k, at = sa_tile_next(t, b->at + SA_BLOCK_KEYS);
    const int64_t end = at + SA_BLOCK_KEYS < n_k ? at + SA_BLOCK_KEYS : n_k;
    sa_ahead_open(b->ahead);
    if (turn & SA_FIRST_TURN && !is_fetched(b) && !sa_turned_are_kept(t, b->at, sa_whole_squares(b)) &&
        !(b->view && b->view->gaps) && !sa_are_copied(t, &t->v, b->at, b->seen_begin, b->seen_end))
        sa_ahead_add_tokens(b->ahead, &t->v, b->at + b->seen_begin, b->at + b->seen_end);
    if (!(turn & SA_LAST_TURN))
        return;
    if (at < n_k && sa_tile_sees_any(t, at, end)) {
        if (!sa_are_copied(t, &t->k, at, 0, (int)(end - at)))
            sa_ahead_add_tokens(b->ahead, &t->k, at, end);
    } else
        add_after(b);
}

/* ---------------------------------------------------------------- values */

/* The rows of v, and of weights, that have the keys begin .. end - 1: those, or pairs of them. */
static int first_value(const struct sa_block *b, int begin) { return b->tile->dots ? begin / 2 : begin; }
static int end_of_values(const struct sa_block *b, int end) { return b->tile->dots ? (end + 1) / 2 : end; }

static bool are_finite(const struct sa_block *b, int begin, int end) {
    const int first = first_value(b, begin), last = end_of_values(b, end);
    return first >= last || b->tile->products->finite(sa_part_of(&b->v, first, last));
}

/* Strips of a view among those that a group goes through of which some row does not see some key. */
static unsigned strips_to_mask(const struct sa_block *b, int group) {
    const struct sa_zones *z = &b->zones[group];
    const unsigned within = (1u << z->end / SA_SUM_KEYS) - (1u << z->begin / SA_SUM_KEYS);
    return within & ~(unsigned)b->view->all[group];
}

static bool strips_are_finite(const struct sa_block *b, int begin, int end) {
    return are_finite(b, begin, end < b->seen_end ? end : b->seen_end);
}

/* All at once, one by one only if something is wrong. */
static void find_doubtful(struct sa_block *b) {
    unsigned strips = 0;
    b->doubtful = 0;
    for (int g = 0; g < b->tile->n_groups && b->view; g++)
        strips |= strips_to_mask(b, g);
    if (!strips)
        return;
    const int first = __builtin_ctz(strips), last = 31 - __builtin_clz(strips);
    if (strips_are_finite(b, first * SA_SUM_KEYS, (last + 1) * SA_SUM_KEYS))
        return;
    for (int i = first; i <= last; i++)
        b->doubtful |= (unsigned)!strips_are_finite(b, i * SA_SUM_KEYS, (i + 1) * SA_SUM_KEYS) << i;
}

/* Values that some rows do not see are harmless, with a weight of 0, if they are finite. Bias hides keys anywhere. */
static bool edges_are_finite(const struct sa_block *b, const struct sa_pass *p, int g) {
    const struct sa_zones *z = &p->zones[g];
    if (b->view)
        return !(b->doubtful & strips_to_mask(b, p->row / SA_GROUP_ROWS + g));
    if (b->hides)
        return b->finite;
    return are_finite(b, z->seen_begin, z->full_begin) && are_finite(b, z->full_end, z->seen_end);
}

/* Which keys each row is left with: there is room for it, since the block has no view. */
static const struct sa_view *look_again(const struct sa_block *b) {
    static const struct sa_gaps none = {SA_STRIPS, true};
    struct sa_view *view = b->tile->space->view;
    if (sa_view_open(view, &b->tile->viewer, b->at, b->n_keys, none))
        sa_view_group(view, b->tile->n_rows);
    else
        memset(view->lanes, 0, sizeof view->lanes);
    return view;
}

/* False if the groups cannot go side by side: their keys do not form stairs, or values at an edge are not finite. */
static bool form_stairs(const struct sa_block *b, const struct sa_pass *p, struct sa_stairs *keys) {
    bool fit = true;
    for (int g = p->g0; g < p->g1; g++) {
        const struct sa_zones *z = &p->zones[g];
        keys->begin[g] = first_value(b, z->seen_begin);
        keys->end[g] = end_of_values(b, z->seen_end);
        fit = fit && !sa_is_empty(z) && edges_are_finite(b, p, g) && keys->begin[g] <= keys->end[p->g0];
        if (g > p->g0)
            fit = fit && keys->begin[g - 1] <= keys->begin[g] && keys->end[g - 1] <= keys->end[g];
    }
    return fit;
}

static void add_values(const struct sa_block *b, const struct sa_pass *p, int g0, int g1, const struct sa_stairs *keys,
                       const float *alpha, float *o) {
    const struct sa_products *products = b->tile->products;
    if (sa_is_half(b, p, g0, g1))
        products->half_values(sa_s_of(b, p, 0), g0, keys, b->v, alpha, o, b->ahead);
    else
        products->values(sa_s_of(b, p, 0), g0, g1, keys, b->v, alpha, o, b->ahead);
}

static void add_group(const struct sa_block *b, const struct sa_pass *p, int g, const struct sa_stairs *keys,
                      float *o) {
    const struct sa_tile *t = b->tile;
    const float *alpha = t->space->alpha + p->row;
    const int begin = keys->begin[g], end = keys->end[g];
    const int first = sa_key_name(b, t->dots ? 2 * begin : begin);
    if (sa_is_empty(&p->zones[g]))
        return;
    if (edges_are_finite(b, p, g))
        add_values(b, p, g, g + 1, keys, alpha, o);
    else if (b->shown)
        t->products->values_masked(sa_s_of(b, p, begin), g, sa_part_of(&b->v, begin, end), 2 * begin,
                                   sa_keys_by(b->shown, b, p, g), alpha, o);
    else if (b->hides) {
        sa_find_bias(t, b->at + begin, end - begin, p->row + g * SA_GROUP_ROWS);
        t->kernels->values_biased(sa_s_of(b, p, begin), g, sa_part_of(&b->v, begin, end), first, sa_keys_seen(b, p, g),
                                  t->space->terms.bias_row + p->row, alpha, o);
    } else
        t->products->values_masked(sa_s_of(b, p, begin), g, sa_part_of(&b->v, begin, end), first, sa_keys_seen(b, p, g),
                                   alpha, o);
}

static void clear_pass(const struct sa_tile *t, float *o) {
    memset(o, 0, (size_t)(t->problem->d_v * t->kernels->pass_groups * SA_GROUP_ROWS) * sizeof *o);
}

static void add_pass(const struct sa_block *b, const struct sa_pass *p, float *o) {
    const struct sa_tile *t = b->tile;
    struct sa_stairs keys;
    const bool stairs = form_stairs(b, p, &keys);
    const bool begins = b->fresh && stairs && p->g0 == 0 && p->g1 == sa_pass_groups(t, p->index);
    if (b->fresh && !begins)
        clear_pass(t, o);
    if (stairs)
        add_values(b, p, p->g0, p->g1, &keys, begins ? NULL : t->space->alpha + p->row, o);
    else
        for (int g = p->g0; g < p->g1; g++)
            add_group(b, p, g, &keys, o);
}

static void scale_weights(const struct sa_block *b) {
    for (int i = 0; i < b->n_passes; i++)
        for (int g = b->passes[i].g0; g < b->passes[i].g1; g++) {
            const struct sa_zones *z = &b->passes[i].zones[g];
            b->tile->kernels->scale(g, z->seen_end - z->seen_begin, b->v.scale + z->seen_begin,
                                    sa_s_of(b, &b->passes[i], z->seen_begin), NULL);
        }
}

static void add_block(const struct sa_block *b, const struct sa_state *state) {
    b->ahead->calls = b->n_passes;
    for (int i = 0; i < b->n_passes; i++) {
        float *o = sa_state_of_pass(b->tile, state, i).o;
        if (b->passes[i].g0 < b->passes[i].g1)
            add_pass(b, &b->passes[i], o);
        else if (b->fresh)
            clear_pass(b->tile, o);
    }
}

/* ---------------------------------------------------------------- the block */

static void clear_sums(const struct sa_state *state) {
    float *m = state->m, *l = state->l;
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        m[r] = -INFINITY;
        l[r] = 0.0f;
    }
}

void sa_clear_state(const struct sa_tile *t, const struct sa_state *state) {
    clear_sums(state);
    const int d_v = t->problem->d_v;
    const int n = sa_is_few(t) ? t->n_rows * sa_near_stride(d_v) : d_v * sa_pass_row(t, sa_tile_passes(t));
    memset(state->o, 0, (size_t)n * sizeof(float));
}

/* Do keys come from memory, whole lines one after the other, and hardly slower than so few rows can be computed? Those
 * of a smaller cache may be near. */
static bool come_from_afar(const struct sa_block *b) {
    enum { LEAST_BYTES = 4 << 20 };
    const struct sa_tile *t = b->tile;
    const int64_t floats = t->seq->n_k * t->problem->n_kv_heads * (t->k.d + t->v.d);
    return t->n_rows <= SA_GROUP_ROWS && !t->dots && !t->bytes && b->k.data != t->space->near &&
           b->k.stride == b->k.d && b->k.d % SA_LINE_FLOATS == 0 && floats * (int64_t)sizeof(float) >= LEAST_BYTES;
}

/* k is done with when v needs its place. */
bool sa_attend_block(const struct sa_tile *tile, int64_t at, const struct sa_state *state, bool fresh, int turn) {
    struct sa_block b;
    struct sa_ahead ahead;
    if (!open_block(&b, tile, at))
        return false;
    b.ahead = &ahead;
    open_ahead(&b, turn);
    if (fresh)
        clear_sums(state);
    b.fresh = fresh;
    if (sa_block_squares(&b, state))
        return true;
    b.k = rows_of(&b, &tile->k);
    ahead.afar = come_from_afar(&b);
    sa_block_score(&b);
    sa_block_weigh(&b, state, tile->dots != NULL);
    b.v = tile->dots ? pairs_of(&b) : rows_of(&b, &tile->v);
    find_doubtful(&b);
    b.finite = b.hides && are_finite(&b, b.seen_begin, b.seen_end);
    b.shown = b.hides && !b.finite && tile->dots ? look_again(&b) : NULL;
    if (b.v.scale && !tile->bytes)
        scale_weights(&b);
    add_block(&b, state);
    return true;
}

/* ---------------------------------------------------------------- to maxima that are known */

static struct sa_scored scored_of(const struct sa_block *b) {
    const int pass_rows = b->tile->kernels->pass_groups * SA_GROUP_ROWS;
    struct sa_scored scored = {b->tile->space->s, pass_rows, 1, pass_rows, pass_rows * SA_BLOCK_KEYS, {0}, {0}};
    for (int g = 0; g < b->tile->n_groups; g++) {
        scored.begin[g] = b->zones[g].seen_begin;
        scored.end[g] = b->zones[g].seen_end;
    }
    return scored;
}

static void break_row(const struct sa_tile *t, const struct sa_scored *scored, int r) {
    float *s = sa_scored_row(scored, r);
    for (int j = scored->begin[r / SA_GROUP_ROWS]; j < scored->end[r / SA_GROUP_ROWS]; j++)
        s[j * scored->key_step] = s[j * scored->key_step] == -INFINITY ? -INFINITY : NAN;
    t->space->mb[r] = -INFINITY;
}

bool sa_weigh_block(const struct sa_tile *tile, int64_t at, const float m[SA_TILE_ROWS],
                    const bool broken[SA_TILE_ROWS], struct sa_scored *scored) {
    struct sa_block b;
    struct sa_ahead nothing;
    if (!open_block(&b, tile, at) || b.seen_begin >= b.seen_end)
        return false;
    sa_ahead_open(&nothing);
    b.ahead = &nothing;
    b.k = rows_of(&b, &tile->k);
    sa_block_score(&b);
    *scored = scored_of(&b);
    for (int r = 0; r < tile->n_rows; r++)
        if (broken[r])
            break_row(tile, scored, r);
    const struct sa_state *scratch = &tile->space->result;
    memcpy(scratch->m, m, SA_TILE_ROWS * sizeof *m);
    memset(scratch->l, 0, SA_TILE_ROWS * sizeof *scratch->l);
    sa_block_weigh(&b, scratch, false);
    return true;
}
