/* SPDX-License-Identifier: MIT */
/* The steps of a block all at once, by squares of SA_DOT_KEYS keys, where the tile's dots can. */
#include <math.h>

#include "block_steps.h"
#include "copies.h"
#include "near.h"
#include "terms.h"
#include "turned.h"

/* The squares of keys that rows see some of. */
static int squares_begin(const struct sa_block *b) { return b->seen_begin / SA_DOT_KEYS * SA_DOT_KEYS; }
static int squares_end(const struct sa_block *b) { return (b->seen_end + SA_DOT_KEYS - 1) / SA_DOT_KEYS * SA_DOT_KEYS; }

/* Fewer groups wait for memory, not for each other, and are done with sooner one by one. */
enum { LEAST_GROUPS = 3 };

/* Are there all keys of these squares? Maxima may be found before scores are scaled there, by a positive factor. */
static bool fills_squares(const struct sa_block *b) {
    const struct sa_tile *t = b->tile;
    return t->dots && t->dots->block && t->n_groups >= LEAST_GROUPS && b->n_passes == 1 && t->problem->factor > 0.0f &&
           b->seen_begin < b->seen_end && squares_end(b) <= b->n_keys;
}

/* Makes ready what happens to scores. False: it cannot happen to those of all of them at once. */
static bool can_change_scores(const struct sa_block *b) {
    const int begin = squares_begin(b), end = squares_end(b);
    const bool biased = b->tile->seq->terms.bias.data;
    int64_t token;
    bool found = !biased || !b->view || !b->view->gaps;
    if (biased && found)
        sa_find_block_bias(b->tile, b->at + begin, begin, end - begin);
    for (int at = begin, n; at < end && found; at += n) {
        n = sa_stretch_of(b, at, end, &token);
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
static bool set_seen(const struct sa_block *b, struct sa_seen seen[SA_TILE_GROUPS]) {
    bool all = true;
    for (int g = 0; g < SA_TILE_GROUPS; g++) {
        const struct sa_zones *z = &b->zones[g];
        const bool any = g < b->tile->n_groups && !sa_is_empty(z);
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
static bool find_values(const struct sa_block *b, bool all, struct sa_turned *turned, int *n_values) {
    const struct sa_tile *t = b->tile;
    const bool gaps = b->view && b->view->gaps;
    *n_values = sa_whole_squares(b);
    if (!gaps && (all || sa_turned_are_finite(t, b->at, *n_values))) {
        *turned = sa_turned_of(t, b->at, *n_values, all ? SA_NOT_KNOWN : SA_FINITE);
        return true;
    }
    if (!b->view)
        return false;
    const struct sa_rows rows = sa_pairs_of_view(t->dots, t->space, &t->v, b->at, b->view);
    *turned = (struct sa_turned){NULL, t->space->rows};
    *n_values = b->n_keys / SA_DOT_KEYS * SA_DOT_KEYS;
    return all || t->products->finite(rows);
}

static struct sa_rows keys_of_squares(const struct sa_block *b) {
    const struct sa_tile *t = b->tile;
    if (b->view && b->view->gaps)
        return sa_strip_rows_of(t->kernels, t->space, &t->k, b->at, b->view->strip, b->n_keys);
    return sa_copied_rows_of(t, &t->k, b->at, squares_begin(b), squares_end(b));
}

bool sa_block_squares(struct sa_block *b, const struct sa_state *state) {
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
        .first_key = sa_key_name(b, 0),
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
