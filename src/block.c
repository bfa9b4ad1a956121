/* SPDX-License-Identifier: MIT */
/*
 * A block goes through the tile in three steps, each of them for all passes before the next one begins, so that first k
 * and then v are read from afar once and found in a near cache by the other passes.
 */
#include "block.h"

#include <math.h>
#include <string.h>

#include "copies.h"
#include "near.h"
#include "terms.h"
#include "turned.h"

struct pass {
    int index, row;
    int g0, g1;                   /* groups of the pass that see any of the block */
    const struct sa_zones *zones; /* of its groups */
    int common_begin, common_end; /* keys that every row of g0 .. g1 - 1 sees */
};

struct block {
    const struct sa_tile *tile;
    int64_t at;                  /* its first key */
    const struct sa_view *view;  /* NULL: spans say what is seen */
    bool full;                   /* a view would say that every row sees every key */
    int n_keys;                  /* of the view, if there is one */
    int seen_begin, seen_end;    /* keys that any row of the tile sees */
    struct sa_rows k, v;         /* all keys of the block */
    unsigned doubtful;           /* strips of the view with values that are not finite */
    bool hides;                  /* some bias is -inf; a view has it in its bits */
    bool finite;                 /* if so: all values are finite */
    const struct sa_view *shown; /* if they are not, and multiplied in pairs: what spans and bias leave; else NULL */
    struct sa_zones zones[SA_TILE_GROUPS];
    struct pass passes[SA_TILE_GROUPS];
    int n_passes;
    struct sa_ahead *ahead;
    bool fresh; /* nothing stands in o yet */
};

/* Fewer common keys than this are left to the groups one by one. */
enum { MIN_COMMON_KEYS = 16 };

/* ---------------------------------------------------------------- where things are */

static struct sa_rows part_of(const struct sa_rows *rows, int begin, int end) {
    return (struct sa_rows){rows->data + begin * rows->stride, rows->stride, end - begin, rows->d,
                            rows->scale ? rows->scale + begin : NULL};
}

/* The rows of v, and of weights, that have the keys begin .. end - 1: those, or pairs of them. */
static int first_value(const struct block *b, int begin) { return b->tile->dots ? begin / 2 : begin; }
static int end_of_values(const struct block *b, int end) { return b->tile->dots ? (end + 1) / 2 : end; }

static bool are_finite(const struct block *b, int begin, int end) {
    return b->tile->products->finite(part_of(&b->v, first_value(b, begin), end_of_values(b, end)));
}

static float *s_of(const struct block *b, const struct pass *p, int key) {
    return b->tile->space->s + p->row * SA_BLOCK_KEYS + key * b->tile->kernels->pass_groups * SA_GROUP_ROWS;
}

static const float *qt_of(const struct block *b, const struct pass *p) {
    return b->tile->space->qt + p->row * b->tile->problem->d_qk;
}

static struct sa_lane_keys keys_by(const struct sa_view *view, const struct block *b, const struct pass *p, int g) {
    const struct sa_workspace *space = b->tile->space;
    return (struct sa_lane_keys){space->lo + p->row, space->hi + p->row, space->sink + p->row,
                                 view ? view->lanes[p->row / SA_GROUP_ROWS + g][0] : NULL};
}

/* What a group sees, and what the key is called there that is `key` of the block. */
static struct sa_lane_keys keys_of(const struct block *b, const struct pass *p, int g) {
    return keys_by(b->view, b, p, g);
}

static int name_of(const struct block *b, int key) { return b->view ? key : (int)b->at + key; }

/* Of the keys begin .. end - 1 those that follow the first without a gap: how many, and where the first stands. */
static int stretch_of(const struct block *b, int begin, int end, int64_t *token) {
    const int strip = begin / SA_SUM_KEYS;
    *token = b->at + begin;
    if (!b->view || !b->view->gaps)
        return end - begin;
    const int next = (strip + sa_view_run(b->view, strip)) * SA_SUM_KEYS;
    *token += (b->view->strip[strip] - strip) * SA_SUM_KEYS;
    return (next < end ? next : end) - begin;
}

static bool is_empty(const struct sa_zones *z) { return z->seen_begin == z->seen_end; }

/* ---------------------------------------------------------------- who sees what */

/* The groups that see any of the block are neighbours where spans say it, since these move with the position. */
static void open_pass(struct block *b, int index) {
    struct pass *p = &b->passes[index];
    const int n_groups = sa_pass_groups(b->tile, index);
    *p = (struct pass){.index = index, .row = sa_pass_row(b->tile, index), .g0 = n_groups, .common_end = b->n_keys};
    p->zones = b->zones + p->row / SA_GROUP_ROWS;
    for (int g = 0; g < n_groups; g++) {
        const struct sa_zones *z = &p->zones[g];
        if (is_empty(z))
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
static bool open_view(struct block *b) {
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

static struct sa_zones zones_of(const struct block *b, int g) {
    const struct sa_tile *t = b->tile;
    if (b->full)
        return (struct sa_zones){0, 0, 0, SA_BLOCK_KEYS, SA_BLOCK_KEYS, SA_BLOCK_KEYS};
    return b->view ? sa_view_zones(b->view, g) : sa_zones_of(t->group_first[g], t->group_last[g], b->at, b->n_keys);
}

static bool open_block(struct block *b, const struct sa_tile *t, int64_t at) {
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
        if (is_empty(&z))
            continue;
        b->seen_begin = z.seen_begin < b->seen_begin ? z.seen_begin : b->seen_begin;
        b->seen_end = z.seen_end > b->seen_end ? z.seen_end : b->seen_end;
    }
    for (int i = 0; i < b->n_passes; i++)
        open_pass(b, i);
    return true;
}

static struct sa_rows rows_of(const struct block *b, const struct sa_cache *cache) {
    const struct sa_tile *t = b->tile;
    if (b->view && b->view->gaps)
        return sa_strip_rows_of(t->kernels, t->space, cache, b->at, b->view->strip, b->n_keys);
    return sa_copied_rows_of(t, cache, b->at, b->seen_begin, b->seen_end);
}

/* Values for the tile's dots. */
static struct sa_rows pairs_of(const struct block *b) {
    const struct sa_tile *t = b->tile;
    if (b->view)
        return sa_pairs_of_view(t->dots, t->space, &t->v, b->at, b->view);
    return sa_pairs_of(t->dots, t->space, &t->v, b->at, b->seen_begin, b->seen_end);
}

/* ---------------------------------------------------------------- what is fetched meanwhile */

static void add_after(const struct block *b) {
    const struct sa_tile *t = b->tile;
    for (int i = 0; i < t->after->n_sets; i++)
        sa_ahead_add(b->ahead, t->after->sets[i]);
    t->space->fetched_end = t->after_end;
}

/* Were the block's values fetched by the tile before? That has fetched one block, maybe for a tile that another thread
 * has taken: then this is wrong for one block, not for all before it. */
static bool is_fetched(const struct block *b) {
    const int64_t end = b->tile->fetched_end;
    return b->at < end && end <= b->at + SA_BLOCK_KEYS;
}

/* Its keys, as far as they fill squares, whatever is seen of them if they stand as they are. */
static int whole_squares(const struct block *b) {
    const int64_t left = b->tile->seq->n_k - b->at;
    const int n_keys = b->view && b->view->gaps ? b->n_keys : left < SA_BLOCK_KEYS ? (int)left : SA_BLOCK_KEYS;
    return n_keys / SA_DOT_KEYS * SA_DOT_KEYS;
}

/* The block's values, then the keys of the next one; from the last block on what comes after the tile. */
static void open_ahead(const struct block *b) {
    const struct sa_tile *t = b->tile;
    const int64_t n_k = t->seq->n_k, at = sa_tile_next(t, b->at + SA_BLOCK_KEYS);
    const int64_t end = at + SA_BLOCK_KEYS < n_k ? at + SA_BLOCK_KEYS : n_k;
    sa_ahead_open(b->ahead);
    if (!is_fetched(b) && !sa_turned_are_kept(t, b->at, whole_squares(b)) && !(b->view && b->view->gaps) &&
        !sa_are_copied(t, &t->v, b->at, b->seen_begin, b->seen_end))
        sa_ahead_add_tokens(b->ahead, &t->v, b->at + b->seen_begin, b->at + b->seen_end);
    if (at < n_k && sa_tile_sees_any(t, at, end)) {
        if (!sa_are_copied(t, &t->k, at, 0, (int)(end - at)))
            sa_ahead_add_tokens(b->ahead, &t->k, at, end);
    } else
        add_after(b);
}

/* ---------------------------------------------------------------- scores */

/* Several passes take turns over runs of keys that stay in the first-level cache; of the same size as the common
 * register tiles, 6 and 4 keys. */
enum { RUN_KEYS = 48 };

/* Has a group, which is the only one of g0 .. g1 - 1, no rows in its second half? */
static bool is_half(const struct block *b, const struct pass *p, int g0, int g1) {
    return g1 - g0 == 1 && b->tile->products->half_scores &&
           b->tile->n_rows - p->row - g0 * SA_GROUP_ROWS <= SA_GROUP_ROWS / 2;
}

/* Of the keys begin .. end - 1, for the groups g0 .. g1 - 1. */
static void score(const struct block *b, const struct pass *p, int g0, int g1, int begin, int end, float *mb) {
    const struct sa_products *products = b->tile->products;
    const struct sa_rows k = part_of(&b->k, begin, end);
    if (is_half(b, p, g0, g1))
        products->half_scores(qt_of(b, p), g0, k, s_of(b, p, begin), mb, b->ahead);
    else
        products->scores(qt_of(b, p), g0, g1, k, s_of(b, p, begin), mb, b->ahead);
}

static void score_common(const struct block *b, const struct pass *p, int begin, int end) {
    begin = begin > p->common_begin ? begin : p->common_begin;
    end = end < p->common_end ? end : p->common_end;
    if (begin < end)
        score(b, p, p->g0, p->g1, begin, end, b->tile->space->mb + p->row);
}

/* Keys that some rows of a group see. */
static void score_edge(const struct block *b, const struct pass *p, int g, int begin, int end) {
    _Alignas(64) float unmasked[SA_TILE_ROWS] = {0}; /* a maximum over more than each row sees: of no use */
    const struct sa_tile *t = b->tile;
    score(b, p, g, g + 1, begin, end, unmasked);
    t->kernels->mask(g, end - begin, name_of(b, begin), keys_of(b, p, g), s_of(b, p, begin), t->space->mb + p->row);
}

/* The keys begin .. end - 1 of one group, from where some row sees them to where none does. */
static void score_keys(const struct block *b, const struct pass *p, int g, int begin, int end) {
    const struct sa_zones *z = &p->zones[g];
    const int cut[4] = {begin, z->full_begin, z->full_end, end};
    for (int part = 0; part < 3; part++) {
        int from = cut[part] > begin ? cut[part] : begin, to = cut[part + 1] < end ? cut[part + 1] : end;
        if (from >= to)
            continue;
        if (part == 1)
            score(b, p, g, g + 1, from, to, b->tile->space->mb + p->row);
        else
            score_edge(b, p, g, from, to);
    }
}

/* Do the groups see keys behind the common ones up to an end that grows with the group, as under a causal limit? (Dots
 * and bytes gain nothing by going side by side there.) */
static bool has_stairs(const struct block *b, const struct pass *p) {
    bool stairs = p->g1 - p->g0 > 1 && !b->view && !b->tile->dots && !b->tile->bytes;
    for (int g = p->g0; stairs && g < p->g1; g++) {
        const struct sa_zones *z = &p->zones[g];
        stairs = !is_empty(z) && z->full_begin <= p->common_end && z->full_begin <= z->full_end &&
                 (g == p->g0 || p->zones[g - 1].seen_end <= z->seen_end);
    }
    return stairs;
}

/* Those, a strip after the other, of all groups that see some of it side by side. */
static void score_stairs(const struct block *b, const struct pass *p) {
    const struct sa_tile *t = b->tile;
    float *mb = t->space->mb + p->row;
    for (int at = p->common_end, n, g = p->g0; at < p->zones[p->g1 - 1].seen_end; at += n) {
        _Alignas(64) float best[SA_TILE_ROWS];
        const int left = p->zones[p->g1 - 1].seen_end - at;
        n = SA_SUM_KEYS - at % SA_SUM_KEYS < left ? SA_SUM_KEYS - at % SA_SUM_KEYS : left;
        while (p->zones[g].seen_end <= at)
            g++;
        memcpy(best + g * SA_GROUP_ROWS, mb + g * SA_GROUP_ROWS, (size_t)(p->g1 - g) * SA_GROUP_ROWS * sizeof *mb);
        score(b, p, g, p->g1, at, at + n, best);
        for (int i = g; i < p->g1; i++)
            if (at + n <= p->zones[i].full_end)
                memcpy(mb + i * SA_GROUP_ROWS, best + i * SA_GROUP_ROWS, SA_GROUP_ROWS * sizeof *mb);
            else
                t->kernels->mask(i, n, name_of(b, at), keys_of(b, p, i), s_of(b, p, at), mb);
    }
}

/* What a group has beside the common keys, and beside stairs. */
static void score_group(const struct block *b, const struct pass *p, int g, bool stairs) {
    const struct sa_zones *z = &p->zones[g];
    const int after = p->common_end > z->seen_begin ? p->common_end : z->seen_begin;
    b->tile->kernels->scores_none(g, z->seen_begin - z->begin, s_of(b, p, z->begin));
    score_keys(b, p, g, z->seen_begin, p->common_begin);
    if (!stairs)
        score_keys(b, p, g, after, z->seen_end);
    b->tile->kernels->scores_none(g, z->end - z->seen_end, s_of(b, p, z->seen_end));
}

/* Who of some groups sees the keys of a strip. */
enum who { NOBODY, SOMEBODY, EVERYBODY, APART }; /* APART: not all groups do */

static enum who who_sees(const struct block *b, const struct pass *p, int g0, int g1, int strip) {
    int n_some = 0, n_all = 0;
    for (int g = p->row / SA_GROUP_ROWS + g0; g < p->row / SA_GROUP_ROWS + g1; g++) {
        n_some += b->view->some[g] >> strip & 1;
        n_all += b->view->all[g] >> strip & 1;
    }
    return n_all == g1 - g0 ? EVERYBODY : n_some == g1 - g0 ? SOMEBODY : n_some ? APART : NOBODY;
}

/* Keys that all of the groups g0 .. g1 - 1 see in the same way. */
static void score_alike(const struct block *b, const struct pass *p, int g0, int g1, enum who who, int begin, int end) {
    _Alignas(64) float unmasked[SA_TILE_ROWS] = {0};
    const struct sa_kernels *kernels = b->tile->kernels;
    float *s = s_of(b, p, begin), *mb = b->tile->space->mb + p->row;
    if (who != NOBODY)
        score(b, p, g0, g1, begin, end, who == EVERYBODY ? mb : unmasked);
    for (int g = g0; g < g1; g++)
        if (who == NOBODY)
            kernels->scores_none(g, end - begin, s);
        else if (who == SOMEBODY)
            kernels->mask(g, end - begin, begin, keys_of(b, p, g), s, mb);
}

/* As far as strips from `begin` on are seen in the same way. */
static int end_of_run(const struct block *b, const struct pass *p, int g0, int g1, enum who who, int begin, int end) {
    int at = begin + SA_SUM_KEYS;
    while (at < end && who_sees(b, p, g0, g1, at / SA_SUM_KEYS) == who)
        at += SA_SUM_KEYS;
    return at < end ? at : end;
}

static void score_strips_of(const struct block *b, const struct pass *p, int g, int begin, int end) {
    for (int at = begin, next; at < end; at = next) {
        const enum who who = who_sees(b, p, g, g + 1, at / SA_SUM_KEYS);
        next = end_of_run(b, p, g, g + 1, who, at, end);
        score_alike(b, p, g, g + 1, who, at, next);
    }
}

/* The strips of a view from `begin` to `end`, groups side by side where all see them. */
static void score_strips(const struct block *b, const struct pass *p, int begin, int end) {
    begin = begin > b->seen_begin ? begin : b->seen_begin;
    end = end < b->seen_end ? end : b->seen_end;
    for (int at = begin, next; at < end && p->g0 < p->g1; at = next) {
        const enum who who = who_sees(b, p, p->g0, p->g1, at / SA_SUM_KEYS);
        next = end_of_run(b, p, p->g0, p->g1, who, at, end);
        if (who != APART)
            score_alike(b, p, p->g0, p->g1, who, at, next);
        for (int g = p->g0; g < p->g1 && who == APART; g++)
            score_strips_of(b, p, g, at, next);
    }
}

/* Behind the last key, to a whole strip. */
static void fill_up(const struct block *b, const struct pass *p, int g) {
    const struct sa_zones *z = &p->zones[g];
    b->tile->kernels->scores_none(g, z->end - z->seen_end, s_of(b, p, z->seen_end));
}

/* A part of what a group sees, from products to scores; its edges are seen by some rows only. True: some bias hides
 * some key. */
static bool finish_part(const struct block *b, const struct pass *p, int g, int begin, int end, bool edge) {
    _Alignas(64) float unmasked[SA_TILE_ROWS] = {0};
    const struct sa_tile *t = b->tile;
    const bool terms = sa_has_terms(t);
    float *mb = t->space->mb + p->row, *best = edge ? unmasked : mb;
    bool hides = false;
    int64_t token;
    if (begin >= end)
        return false;
    if (b->k.scale && !t->bytes)
        t->kernels->scale(g, end - begin, b->k.scale + begin, s_of(b, p, begin), terms ? unmasked : best);
    for (int at = begin, n; terms && at < end; at += n) {
        n = stretch_of(b, at, end, &token);
        hides |= sa_apply_terms(t, token, n, p->row, g, s_of(b, p, at), best);
    }
    if (edge)
        t->kernels->mask(g, end - begin, name_of(b, begin), keys_of(b, p, g), s_of(b, p, begin), mb);
    return hides;
}

/* A row's maximum is one of scores, not of products: it is looked for again. */
static void finish_scores(struct block *b, const struct pass *p, int g) {
    const struct sa_zones *z = &p->zones[g];
    float *mb = b->tile->space->mb + p->row;
    for (int r = g * SA_GROUP_ROWS; r < (g + 1) * SA_GROUP_ROWS; r++)
        mb[r] = -INFINITY;
    const bool hides[3] = {finish_part(b, p, g, z->seen_begin, z->full_begin, true),
                           finish_part(b, p, g, z->full_begin, z->full_end, false),
                           finish_part(b, p, g, z->full_end, z->seen_end, true)};
    b->hides = !b->view && (b->hides || hides[0] || hides[1] || hides[2]);
}

static void score_block(struct block *b) {
    const bool finished = (!b->k.scale || b->tile->bytes) && !sa_has_terms(b->tile);
    const int step = b->n_passes > 1 ? RUN_KEYS : SA_BLOCK_KEYS;
    for (int r = 0; r < SA_TILE_ROWS; r++)
        b->tile->space->mb[r] = -INFINITY;
    for (int begin = 0; begin < b->n_keys; begin += step)
        for (int i = 0; i < b->n_passes; i++)
            if (b->view)
                score_strips(b, &b->passes[i], begin, begin + step);
            else
                score_common(b, &b->passes[i], begin, begin + step);
    for (int i = 0; i < b->n_passes; i++) {
        const bool stairs = has_stairs(b, &b->passes[i]);
        if (stairs)
            score_stairs(b, &b->passes[i]);
        for (int g = b->passes[i].g0; g < b->passes[i].g1; g++) {
            if (b->view)
                fill_up(b, &b->passes[i], g);
            else
                score_group(b, &b->passes[i], g, stairs);
            if (!finished)
                finish_scores(b, &b->passes[i], g);
        }
    }
}

/* ---------------------------------------------------------------- weights */

static void weigh_block(const struct block *b, const struct sa_state *state, bool pairs) {
    const struct sa_tile *t = b->tile;
    for (int i = 0; i < b->n_passes; i++) {
        const struct pass *p = &b->passes[i];
        const struct sa_state own = sa_state_of_pass(t, state, i);
        for (int g = p->g0; g < p->g1; g++) {
            const struct sa_zones *z = &p->zones[g];
            if (is_empty(z))
                continue;
            if (pairs)
                t->dots->weights(g, z->begin, z->end, s_of(b, p, 0), t->space->mb + p->row, own.m, own.l,
                                 t->space->alpha + p->row);
            else
                t->kernels->weights(g, z->end - z->begin, s_of(b, p, z->begin), t->space->mb + p->row, own.m, own.l,
                                    t->space->alpha + p->row);
        }
    }
}

/* ---------------------------------------------------------------- values */

/* Strips of a view among those that a group goes through of which some row does not see some key. */
static unsigned strips_to_mask(const struct block *b, int group) {
    const struct sa_zones *z = &b->zones[group];
    const unsigned within = (1u << z->end / SA_SUM_KEYS) - (1u << z->begin / SA_SUM_KEYS);
    return within & ~(unsigned)b->view->all[group];
}

static bool strips_are_finite(const struct block *b, int begin, int end) {
    return are_finite(b, begin, end < b->seen_end ? end : b->seen_end);
}

/* All at once, one by one only if something is wrong. */
static void find_doubtful(struct block *b) {
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
static bool edges_are_finite(const struct block *b, const struct pass *p, int g) {
    const struct sa_zones *z = &p->zones[g];
    if (b->view)
        return !(b->doubtful & strips_to_mask(b, p->row / SA_GROUP_ROWS + g));
    if (b->hides)
        return b->finite;
    return are_finite(b, z->seen_begin, z->full_begin) && are_finite(b, z->full_end, z->seen_end);
}

/* Which keys each row is left with: there is room for it, since the block has no view. */
static const struct sa_view *look_again(const struct block *b) {
    static const struct sa_gaps none = {SA_STRIPS, true};
    struct sa_view *view = b->tile->space->view;
    if (sa_view_open(view, &b->tile->viewer, b->at, b->n_keys, none))
        sa_view_group(view, b->tile->n_rows);
    else
        memset(view->lanes, 0, sizeof view->lanes);
    return view;
}

/* False if the groups cannot go side by side: their keys do not form stairs, or values at an edge are not finite. */
static bool form_stairs(const struct block *b, const struct pass *p, struct sa_stairs *keys) {
    bool fit = true;
    for (int g = p->g0; g < p->g1; g++) {
        const struct sa_zones *z = &p->zones[g];
        keys->begin[g] = first_value(b, z->seen_begin);
        keys->end[g] = end_of_values(b, z->seen_end);
        fit = fit && !is_empty(z) && edges_are_finite(b, p, g) && keys->begin[g] <= keys->end[p->g0];
        if (g > p->g0)
            fit = fit && keys->begin[g - 1] <= keys->begin[g] && keys->end[g - 1] <= keys->end[g];
    }
    return fit;
}

static void add_values(const struct block *b, const struct pass *p, int g0, int g1, const struct sa_stairs *keys,
                       const float *alpha, float *o) {
    const struct sa_products *products = b->tile->products;
    if (is_half(b, p, g0, g1))
        products->half_values(s_of(b, p, 0), g0, keys, b->v, alpha, o, b->ahead);
    else
        products->values(s_of(b, p, 0), g0, g1, keys, b->v, alpha, o, b->ahead);
}

static void add_group(const struct block *b, const struct pass *p, int g, const struct sa_stairs *keys, float *o) {
    const struct sa_tile *t = b->tile;
    const float *alpha = t->space->alpha + p->row;
    const int begin = keys->begin[g], end = keys->end[g];
    const int first = name_of(b, t->dots ? 2 * begin : begin);
    if (is_empty(&p->zones[g]))
        return;
    if (edges_are_finite(b, p, g))
        add_values(b, p, g, g + 1, keys, alpha, o);
    else if (b->shown)
        t->products->values_masked(s_of(b, p, begin), g, part_of(&b->v, begin, end), 2 * begin,
                                   keys_by(b->shown, b, p, g), alpha, o);
    else if (b->hides) {
        sa_find_bias(t, b->at + begin, end - begin, p->row + g * SA_GROUP_ROWS);
        t->kernels->values_biased(s_of(b, p, begin), g, part_of(&b->v, begin, end), first, keys_of(b, p, g),
                                  t->space->terms.bias_row + p->row, alpha, o);
    } else
        t->products->values_masked(s_of(b, p, begin), g, part_of(&b->v, begin, end), first, keys_of(b, p, g), alpha, o);
}

static void clear_pass(const struct sa_tile *t, float *o) {
    memset(o, 0, (size_t)(t->problem->d_v * t->kernels->pass_groups * SA_GROUP_ROWS) * sizeof *o);
}

static void add_pass(const struct block *b, const struct pass *p, float *o) {
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

static void scale_weights(const struct block *b) {
    for (int i = 0; i < b->n_passes; i++)
        for (int g = b->passes[i].g0; g < b->passes[i].g1; g++) {
            const struct sa_zones *z = &b->passes[i].zones[g];
            b->tile->kernels->scale(g, z->seen_end - z->seen_begin, b->v.scale + z->seen_begin,
                                    s_of(b, &b->passes[i], z->seen_begin), NULL);
        }
}

static void add_block(const struct block *b, const struct sa_state *state) {
    b->ahead->calls = b->n_passes;
    for (int i = 0; i < b->n_passes; i++) {
        float *o = sa_state_of_pass(b->tile, state, i).o;
        if (b->passes[i].g0 < b->passes[i].g1)
            add_pass(b, &b->passes[i], o);
        else if (b->fresh)
            clear_pass(b->tile, o);
    }
}

static void clear_sums(const struct sa_state *state) {
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        state->m[r] = -INFINITY;
        state->l[r] = 0.0f;
    }
}

void sa_clear_state(const struct sa_tile *t, const struct sa_state *state) {
    clear_sums(state);
    const int d_v = t->problem->d_v;
    const int n = sa_is_few(t) ? t->n_rows * sa_near_stride(d_v) : d_v * sa_pass_row(t, sa_tile_passes(t));
    memset(state->o, 0, (size_t)n * sizeof(float));
}

/* ---------------------------------------------------------------- all at once */

/* The squares of keys that rows see some of. */
static int squares_begin(const struct block *b) { return b->seen_begin / SA_DOT_KEYS * SA_DOT_KEYS; }
static int squares_end(const struct block *b) { return (b->seen_end + SA_DOT_KEYS - 1) / SA_DOT_KEYS * SA_DOT_KEYS; }

/* Fewer groups wait for memory, not for each other, and are done with sooner one by one. */
enum { LEAST_GROUPS = 3 };

/* Are there all keys of these squares? Maxima may be found before scores are scaled there, by a positive factor. */
static bool fills_squares(const struct block *b) {
    const struct sa_tile *t = b->tile;
    return t->dots && t->dots->block && t->n_groups >= LEAST_GROUPS && b->n_passes == 1 && t->problem->factor > 0.0f &&
           b->seen_begin < b->seen_end && squares_end(b) <= b->n_keys;
}

/* Makes ready what happens to scores. False: it cannot happen to those of all of them at once. */
static bool can_change_scores(const struct block *b) {
    const int begin = squares_begin(b), end = squares_end(b);
    const bool biased = b->tile->seq->terms.bias.data;
    int64_t token;
    bool found = !biased || !b->view || !b->view->gaps;
    if (biased && found)
        sa_find_block_bias(b->tile, b->at + begin, begin, end - begin);
    for (int at = begin, n; at < end && found; at += n) {
        n = stretch_of(b, at, end, &token);
        found = sa_set_keys(b->tile, token, at, n);
    }
    return found;
}

/* The longest run of these strips. */
static void find_run(unsigned strips, struct sa_seen *seen) {
    seen->all_begin = SA_BLOCK_KEYS;
    seen->all_end = 0;
    for (int i = 0, n, longest = 0; i < SA_STRIPS; i += n + 1) {
        for (n = 0; i + n < SA_STRIPS && strips >> (i + n) & 1; n++)
            ;
        if (n > longest) {
            longest = n;
            seen->all_begin = i * SA_SUM_KEYS;
            seen->all_end = (i + n) * SA_SUM_KEYS;
        }
    }
}

/* False: some row does not see all of the squares. Groups that the tile does not have see nothing. */
static bool set_seen(const struct block *b, struct sa_seen seen[SA_TILE_GROUPS]) {
    bool all = true;
    for (int g = 0; g < SA_TILE_GROUPS; g++) {
        const struct sa_zones *z = &b->zones[g];
        const bool any = g < b->tile->n_groups && !is_empty(z);
        seen[g] = any ? (struct sa_seen){z->seen_begin, z->seen_end, z->full_begin, z->full_end}
                      : (struct sa_seen){0, 0, SA_BLOCK_KEYS, 0};
        if (any && b->view)
            find_run(b->view->all[g], &seen[g]);
        all = all && any && seen[g].all_begin <= squares_begin(b) && squares_end(b) <= seen[g].all_end;
    }
    return all;
}

/* Values for them: kept ones, or of a view those that some row sees. False: some row does not see all, and they are not
 * finite. */
static bool find_values(const struct block *b, bool all, struct sa_turned *turned, int *n_values) {
    const struct sa_tile *t = b->tile;
    const bool gaps = b->view && b->view->gaps;
    *n_values = whole_squares(b);
    if (!gaps && (all || sa_turned_are_finite(t, b->at, *n_values))) {
        *turned = sa_turned_of(t, b->at, *n_values, all ? SA_NOT_KNOWN : SA_FINITE);
        return true;
    }
    if (!b->view)
        return false;
    const struct sa_rows rows = pairs_of(b);
    *turned = (struct sa_turned){NULL, t->space->rows};
    *n_values = b->n_keys / SA_DOT_KEYS * SA_DOT_KEYS;
    return all || t->products->finite(rows);
}

static struct sa_rows keys_of_squares(const struct block *b) {
    if (b->view && b->view->gaps)
        return rows_of(b, &b->tile->k);
    return sa_copied_rows_of(b->tile, &b->tile->k, b->at, squares_begin(b), squares_end(b));
}

/* False: not possible. */
static bool attend_squares(struct block *b, const struct sa_state *state) {
    const struct sa_tile *t = b->tile;
    const struct sa_workspace *space = t->space;
    struct sa_seen seen[SA_TILE_GROUPS];
    struct sa_turned turned;
    int n_values;
    if (!fills_squares(b) || !can_change_scores(b) ||
        !find_values(b, set_seen(b, seen) && !t->seq->terms.bias.data, &turned, &n_values))
        return false;
    for (int r = 0; r < SA_TILE_ROWS; r++)
        space->mb[r] = -INFINITY;
    const struct sa_score_terms terms = sa_block_terms(t);
    const struct sa_dots_block squares = {
        .qt = space->qt,
        .k = keys_of_squares(b),
        .turned = turned.values,
        .v_rows = turned.rows,
        .n_values = n_values,
        .d_v = t->problem->d_v,
        .scratch = space->near,
        .first_key = name_of(b, 0),
        .keys = {space->lo, space->hi, space->sink, b->view ? b->view->lanes[0][0] : NULL},
        .seen = seen,
        .terms = sa_has_terms(t) ? &terms : NULL,
        .s = space->s,
        .mb = space->mb,
        .alpha = space->alpha,
        .state = *state,
        .fresh = b->fresh,
        .ahead = b->ahead};
    t->dots->block(&squares);
    return true;
}

/* Do keys come from memory, whole lines one after the other, and hardly slower than so few rows can be computed? Those
 * of a smaller cache may be near. */
static bool come_from_afar(const struct block *b) {
    enum { LEAST_BYTES = 4 << 20 };
    const struct sa_tile *t = b->tile;
    const int64_t floats = t->seq->n_k * t->problem->n_kv_heads * (t->k.d + t->v.d);
    return t->n_rows <= SA_GROUP_ROWS && !t->dots && !t->bytes && b->k.data != t->space->near &&
           b->k.stride == b->k.d && b->k.d % SA_LINE_FLOATS == 0 && floats * (int64_t)sizeof(float) >= LEAST_BYTES;
}

/* k is done with when v needs its place. */
bool sa_attend_block(const struct sa_tile *tile, int64_t at, const struct sa_state *state, bool fresh) {
    struct block b;
    struct sa_ahead ahead;
    if (!open_block(&b, tile, at))
        return false;
    b.ahead = &ahead;
    open_ahead(&b);
    if (fresh)
        clear_sums(state);
    b.fresh = fresh;
    if (attend_squares(&b, state))
        return true;
    b.k = rows_of(&b, &tile->k);
    ahead.afar = come_from_afar(&b);
    score_block(&b);
    weigh_block(&b, state, tile->dots != NULL);
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

static struct sa_scored scored_of(const struct block *b) {
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
    struct block b;
    struct sa_ahead nothing;
    if (!open_block(&b, tile, at) || b.seen_begin >= b.seen_end)
        return false;
    sa_ahead_open(&nothing);
    b.ahead = &nothing;
    b.k = rows_of(&b, &tile->k);
    score_block(&b);
    *scored = scored_of(&b);
    for (int r = 0; r < tile->n_rows; r++)
        if (broken[r])
            break_row(tile, scored, r);
    const struct sa_state *scratch = &tile->space->result;
    memcpy(scratch->m, m, SA_TILE_ROWS * sizeof *m);
    memset(scratch->l, 0, SA_TILE_ROWS * sizeof *scratch->l);
    weigh_block(&b, scratch, false);
    return true;
}
