/* SPDX-License-Identifier: MIT */
/* The first two steps of a block: scores and weights. */
#include <math.h>
#include <string.h>

#include "block_steps.h"
#include "terms.h"

/* ---------------------------------------------------------------- scores */

/* Several passes take turns over runs of keys that stay in the first-level cache; of the same size as the common
 * register tiles, 6 and 4 keys. */
enum { RUN_KEYS = 48 };

static const float *qt_of(const struct sa_block *b, const struct sa_pass *p) {
    return b->tile->space->qt + p->row * b->tile->problem->d_qk;
}

/* Of the keys begin .. end - 1, for the groups g0 .. g1 - 1. */
static void score(const struct sa_block *b, const struct sa_pass *p, int g0, int g1, int begin, int end, float *mb) {
    const struct sa_products *products = b->tile->products;
    const struct sa_rows k = sa_part_of(&b->k, begin, end);
    if (sa_is_half(b, p, g0, g1))
        products->half_scores(qt_of(b, p), g0, k, sa_s_of(b, p, begin), mb, b->ahead);
    else
        products->scores(qt_of(b, p), g0, g1, k, sa_s_of(b, p, begin), mb, b->ahead);
}

static void score_common(const struct sa_block *b, const struct sa_pass *p, int begin, int end) {
    begin = begin > p->common_begin ? begin : p->common_begin;
    end = end < p->common_end ? end : p->common_end;
    if (begin < end)
        score(b, p, p->g0, p->g1, begin, end, b->tile->space->mb + p->row);
}

/* Keys that some rows of a group see. */
static void score_edge(const struct sa_block *b, const struct sa_pass *p, int g, int begin, int end) {
    _Alignas(64) float unmasked[SA_TILE_ROWS] = {0}; /* a maximum over more than each row sees: of no use */
    const struct sa_tile *t = b->tile;
    score(b, p, g, g + 1, begin, end, unmasked);
    t->kernels->mask(g, end - begin, sa_key_name(b, begin), sa_keys_seen(b, p, g), sa_s_of(b, p, begin),
                     t->space->mb + p->row);
}

/* The keys begin .. end - 1 of one group, from where some row sees them to where none does. */
static void score_keys(const struct sa_block *b, const struct sa_pass *p, int g, int begin, int end) {
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
static bool has_stairs(const struct sa_block *b, const struct sa_pass *p) {
    bool stairs = p->g1 - p->g0 > 1 && !b->view && !b->tile->dots && !b->tile->bytes;
    for (int g = p->g0; stairs && g < p->g1; g++) {
        const struct sa_zones *z = &p->zones[g];
        stairs = !sa_is_empty(z) && z->full_begin <= p->common_end && z->full_begin <= z->full_end &&
                 (g == p->g0 || p->zones[g - 1].seen_end <= z->seen_end);
    }
    return stairs;
}

/* Those, a strip after the other, of all groups that see some of it side by side. */
static void score_stairs(const struct sa_block *b, const struct sa_pass *p) {
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
                t->kernels->mask(i, n, sa_key_name(b, at), sa_keys_seen(b, p, i), sa_s_of(b, p, at), mb);
    }
}

/* What a group has beside the common keys, and beside stairs. */
static void score_group(const struct sa_block *b, const struct sa_pass *p, int g, bool stairs) {
    const struct sa_zones *z = &p->zones[g];
    const int after = p->common_end > z->seen_begin ? p->common_end : z->seen_begin;
    b->tile->kernels->scores_none(g, z->seen_begin - z->begin, sa_s_of(b, p, z->begin));
    score_keys(b, p, g, z->seen_begin, p->common_begin);
    if (!stairs)
        score_keys(b, p, g, after, z->seen_end);
    b->tile->kernels->scores_none(g, z->end - z->seen_end, sa_s_of(b, p, z->seen_end));
}

/* Who of some groups sees the keys of a strip. */
enum who { NOBODY, SOMEBODY, EVERYBODY, APART }; /* APART: not all groups do */

static enum who who_sees(const struct sa_block *b, const struct sa_pass *p, int g0, int g1, int strip) {
    int n_some = 0, n_all = 0;
    for (int g = p->row / SA_GROUP_ROWS + g0; g < p->row / SA_GROUP_ROWS + g1; g++) {
        n_some += b->view->some[g] >> strip & 1;
        n_all += b->view->all[g] >> strip & 1;
    }
    return n_all == g1 - g0 ? EVERYBODY : n_some == g1 - g0 ? SOMEBODY : n_some ? APART : NOBODY;
}

/* Keys that all of the groups g0 .. g1 - 1 see in the same way. */
static void score_alike(const struct sa_block *b, const struct sa_pass *p, int g0, int g1, enum who who, int begin,
                        int end) {
    _Alignas(64) float unmasked[SA_TILE_ROWS] = {0};
    const struct sa_kernels *kernels = b->tile->kernels;
    float *s = sa_s_of(b, p, begin), *mb = b->tile->space->mb + p->row;
    if (who != NOBODY)
        score(b, p, g0, g1, begin, end, who == EVERYBODY ? mb : unmasked);
    for (int g = g0; g < g1; g++)
        if (who == NOBODY)
            kernels->scores_none(g, end - begin, s);
        else if (who == SOMEBODY)
            kernels->mask(g, end - begin, begin, sa_keys_seen(b, p, g), s, mb);
}

/* As far as strips from `begin` on are seen in the same way. */
static int end_of_run(const struct sa_block *b, const struct sa_pass *p, int g0, int g1, enum who who, int begin,
                      int end) {
    int at = begin + SA_SUM_KEYS;
    while (at < end && who_sees(b, p, g0, g1, at / SA_SUM_KEYS) == who)
        at += SA_SUM_KEYS;
    return at < end ? at : end;
}

static void score_strips_of(const struct sa_block *b, const struct sa_pass *p, int g, int begin, int end) {
    for (int at = begin, next; at < end; at = next) {
        const enum who who = who_sees(b, p, g, g + 1, at / SA_SUM_KEYS);
        next = end_of_run(b, p, g, g + 1, who, at, end);
        score_alike(b, p, g, g + 1, who, at, next);
    }
}

/* The strips of a view from `begin` to `end`, groups side by side where all see them. */
static void score_strips(const struct sa_block *b, const struct sa_pass *p, int begin, int end) {
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
static void fill_up(const struct sa_block *b, const struct sa_pass *p, int g) {
    const struct sa_zones *z = &p->zones[g];
    b->tile->kernels->scores_none(g, z->end - z->seen_end, sa_s_of(b, p, z->seen_end));
}

/* A part of what a group sees, from products to scores; its edges are seen by some rows only. True: some bias hides
 * some key. */
static bool finish_part(const struct sa_block *b, const struct sa_pass *p, int g, int begin, int end, bool edge) {
    _Alignas(64) float unmasked[SA_TILE_ROWS] = {0};
    const struct sa_tile *t = b->tile;
    const bool terms = sa_has_terms(t);
    float *mb = t->space->mb + p->row, *best = edge ? unmasked : mb;
    bool hides = false;
    int64_t token;
    if (begin >= end)
        return false;
    if (b->k.scale && !t->bytes)
        t->kernels->scale(g, end - begin, b->k.scale + begin, sa_s_of(b, p, begin), terms ? unmasked : best);
    for (int at = begin, n; terms && at < end; at += n) {
        n = sa_stretch_of(b, at, end, &token);
        hides |= sa_apply_terms(t, token, n, p->row, g, sa_s_of(b, p, at), best);
    }
    if (edge)
        t->kernels->mask(g, end - begin, sa_key_name(b, begin), sa_keys_seen(b, p, g), sa_s_of(b, p, begin), mb);
    return hides;
}

/* A row's maximum is one of scores, not of products: it is looked for again. */
static void finish_scores(struct sa_block *b, const struct sa_pass *p, int g) {
    const struct sa_zones *z = &p->zones[g];
    float *mb = b->tile->space->mb + p->row;
    for (int r = g * SA_GROUP_ROWS; r < (g + 1) * SA_GROUP_ROWS; r++)
        mb[r] = -INFINITY;
    const bool hides[3] = {finish_part(b, p, g, z->seen_begin, z->full_begin, true),
                           finish_part(b, p, g, z->full_begin, z->full_end, false),
                           finish_part(b, p, g, z->full_end, z->seen_end, true)};
    b->hides = !b->view && (b->hides || hides[0] || hides[1] || hides[2]);
}

void sa_block_score(struct sa_block *b) {
    const bool finished = (!b->k.scale || b->tile->bytes) && !sa_has_terms(b->tile);
    const int step = b->n_passes > 1 ? RUN_KEYS : SA_BLOCK_KEYS;
    float *mb = b->tile->space->mb;
    for (int r = 0; r < SA_TILE_ROWS; r++)
        mb[r] = -INFINITY;
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

void sa_block_weigh(const struct sa_block *b, const struct sa_state *state, bool pairs) {
    const struct sa_tile *t = b->tile;
    for (int i = 0; i < b->n_passes; i++) {
        const struct sa_pass *p = &b->passes[i];
        const struct sa_state own = sa_state_of_pass(t, state, i);
        for (int g = p->g0; g < p->g1; g++) {
            const struct sa_zones *z = &p->zones[g];
            if (sa_is_empty(z))
                continue;
            if (pairs)
                t->dots->weights(g, z->begin, z->end, sa_s_of(b, p, 0), t->space->mb + p->row, own.m, own.l,
                                 t->space->alpha + p->row);
            else
                t->kernels->weights(g, z->end - z->begin, sa_s_of(b, p, z->begin), t->space->mb + p->row, own.m, own.l,
                                    t->space->alpha + p->row);
        }
    }
}
