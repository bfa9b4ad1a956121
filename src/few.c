/* SPDX-License-Identifier: MIT */
/*
 * A tile of few rows costs what it takes to read its keys and values, and memory is read fastest from several places in
 * turns. So the blocks of a chunk are worked on side by side: some keys of each are scored, then the next ones of each;
 * then their weights are found, one block after the other, since each maximum goes on from the one before; then values
 * are added, again in turns. Meanwhile what comes a turn later is fetched, a line from each block in turn. Each block's
 * sums are its own, so that its bits are those of a block alone. Of a block that is looked at key by key only the
 * strips are read of which some row sees a key.
 *
 * Where the rows of several heads stand side by side, it is the same block of each of these heads that are worked on
 * side by side, a window of tokens after the other, so that what is fetched is all of their rows of the next window, or
 * in small pages the next head's of four pages. So it is, but without windows, with four heads, or two, where a chunk
 * has no four blocks.
 */
#include "few.h"

#include <math.h>
#include <string.h>

#include "abreast.h"
#include "near.h"
#include "side.h"
#include "terms.h"

/* ---------------------------------------------------------------- who sees what */

static int within(int64_t key, int64_t at) { return (int)sa_clamp(key - at, 0, SA_BLOCK_KEYS); }

static struct sa_few_seen seen_by(const struct sa_tile *t, int r, int64_t at) {
    const struct sa_workspace *space = t->space;
    struct sa_few_seen seen = {within(space->sink[r], at), within(space->lo[r], at), within(space->hi[r], at)};
    seen.sink = seen.sink < seen.hi ? seen.sink : seen.hi;
    seen.lo = seen.lo > seen.sink ? seen.lo : seen.sink;
    return seen;
}

static void find_seen(struct sa_few_block *b) {
    b->alike = true;
    b->begin = SA_BLOCK_KEYS;
    b->end = 0;
    for (int r = 0; r < b->tile->n_rows; r++) {
        const struct sa_few_seen seen = b->rows[r] = seen_by(b->tile, r, b->at), first = b->rows[0];
        b->alike = b->alike && seen.sink == first.sink && seen.lo == first.lo && seen.hi == first.hi;
        const int begin = seen.sink ? 0 : seen.lo, end = seen.lo < seen.hi ? seen.hi : seen.sink;
        if (begin >= end)
            continue;
        b->begin = begin < b->begin ? begin : b->begin;
        b->end = end > b->end ? end : b->end;
    }
    b->begin -= b->begin % SA_SUM_KEYS;
}

/* False: no row sees any key. */
static bool find_view(struct sa_few_block *b) {
    const struct sa_tile *t = b->tile;
    struct sa_view *view = t->space->view;
    const int64_t left = t->seq->n_k - b->at;
    if (!sa_view_open(view, &t->viewer, b->at, left < SA_BLOCK_KEYS ? (int)left : SA_BLOCK_KEYS, sa_gaps_of(t, 0)))
        return false;
    b->view = view;
    b->begin = 0;
    b->end = view->n_keys;
    b->alike = true;
    for (int r = 1; r < t->n_rows; r++)
        b->alike = b->alike && memcmp(&view->seen[r], &view->seen[0], sizeof view->seen[0]) == 0;
    return true;
}

static bool open_block(struct sa_few_block *b, const struct sa_tile *t, int64_t at) {
    b->tile = t;
    b->at = at;
    b->view = NULL;
    if (!sa_tile_sees_any(t, at, at + SA_BLOCK_KEYS))
        return false;
    if (t->seq->sight.any)
        return find_view(b);
    find_seen(b);
    return b->begin < b->end;
}

/* Do all rows see all of its keys, and is nothing else to be looked up? */
static bool is_full(const struct sa_few_block *b) {
    return b->alike && !b->view && !b->tile->seq->terms.bias.data && b->rows[0].sink == b->rows[0].lo &&
           b->end == SA_BLOCK_KEYS;
}

static bool open_place(struct sa_side *side, const struct sa_tile *t, const struct sa_state *state, int64_t at) {
    struct sa_few_block *b = &side->blocks[side->n];
    b->place = side->n;
    b->row = t->space->rows + side->n * SA_LIST_ROWS;
    b->state = state;
    return open_block(b, t, at);
}

/* As many blocks from key `at` on, `most` at most, as can go side by side. False: no row sees any key of the first. A
 * view serves the one block that has it: a block that follows is opened only behind full ones, which have none. */
static bool open_side(struct sa_side *side, const struct sa_tile *t, const struct sa_state *state, int64_t at,
                      int most) {
    side->tile = t;
    side->abreast = side->windows = false;
    side->n = 0;
    if (!open_place(side, t, state, at))
        return false;
    side->n = 1;
    while (side->n < most && is_full(&side->blocks[side->n - 1]) &&
           open_place(side, t, state, at + side->n * SA_BLOCK_KEYS) && is_full(&side->blocks[side->n]))
        side->n++;
    if (side->n == 3)
        side->n = 2; /* so that four places are shared out evenly */
    side->n_keys = side->blocks[0].end - side->blocks[0].begin;
    return true;
}

/* The block of each tile abreast: what the rows of one see, those of all see. */
static bool open_abreast(struct sa_side *side, const struct sa_tile *tiles, const struct sa_state *state, int64_t at) {
    side->tile = tiles;
    side->abreast = true;
    side->windows = sa_in_windows(tiles->seq);
    for (side->n = 0; side->n < sa_abreast(tiles->seq); side->n++)
        if (!open_place(side, &tiles[side->n], &state[side->n], at))
            return false;
    side->n_keys = side->blocks[0].end - side->blocks[0].begin;
    return true;
}

/* Scores of row r of the block, key 0 on. */
static float *s_of(const struct sa_few_block *b, int r) {
    return b->tile->space->s + (b->place * SA_FEW_ROWS + r) * SA_FEW_STRIDE;
}

static float *alpha_of(const struct sa_few_block *b) { return b->tile->space->alpha + b->place * SA_GROUP_ROWS; }
static float *units_of(const struct sa_few_block *b) { return b->tile->space->units + b->place * 2 * SA_FEW_ROWS; }

/* Of a row: its values, or those of each digit. */
static int sum_floats(const struct sa_tile *t) {
    return t->bytes ? SA_BYTES_DIGITS * sa_bytes_stride(t->v.d) : sa_near_stride(t->v.d);
}

static float *sums_of(const struct sa_few_block *b, int r) {
    return b->tile->space->near + (b->place * SA_FEW_ROWS + r) * sum_floats(b->tile);
}

static int rounded_up(int n) { return (n + SA_SUM_KEYS - 1) / SA_SUM_KEYS * SA_SUM_KEYS; }

/* ---------------------------------------------------------------- scores */

static void fill(float *s, int begin, int end, float with) {
    for (int j = begin; j < end; j++)
        s[j] = with;
}

/* Keys of a view that a row does not see, and those behind the last one. */
static void hide_unseen(const struct sa_key_set *seen, int n_padded, float *s) {
    for (int w = 0; w * 64 < n_padded; w++) {
        const int n = n_padded - w * 64;
        uint64_t hidden = ~seen->words[w] & (n < 64 ? (UINT64_C(1) << n) - 1 : ~UINT64_C(0));
        for (; hidden; hidden &= hidden - 1)
            s[w * 64 + __builtin_ctzll(hidden)] = -INFINITY;
    }
}

/* What spans leave out. */
static void fill_unseen(const struct sa_few_block *b, int r, float with) {
    const struct sa_few_seen *seen = &b->rows[r];
    fill(s_of(b, r), seen->sink > b->begin ? seen->sink : b->begin, seen->lo, with);
    fill(s_of(b, r), seen->hi, rounded_up(b->end), with);
}

static void hide_from(const struct sa_few_block *b, int r) {
    if (b->view)
        hide_unseen(&b->view->seen[r], rounded_up(b->end), s_of(b, r));
    else
        fill_unseen(b, r, -INFINITY);
}

/* Scores or weights times the scales of their keys or values. */
static void scale(const struct sa_few_block *b, const struct sa_cache *cache) {
    const struct sa_tile *t = b->tile;
    int64_t token;
    for (int i = b->begin, n; i < b->end; i += n) {
        n = sa_side_stretch(b, i, &token);
        sa_bring_scales(t->kernels, cache, token, token + n, t->space->scale + i - b->begin);
    }
    t->kernels->few_scale(t->n_rows, rounded_up(b->end) - b->begin, t->space->scale, s_of(b, 0) + b->begin);
}

/* All stretches but the last are whole strips: none writes to scores of the next. */
static bool apply_terms(const struct sa_few_block *b) {
    bool hides = false;
    int64_t token;
    for (int i = b->begin, n; i < b->end && sa_has_terms(b->tile); i += n) {
        n = sa_side_stretch(b, i, &token);
        hides |= sa_apply_few_terms(b->tile, token, n, s_of(b, 0) + i);
    }
    return hides;
}

static void finish_scores(struct sa_few_block *b) {
    const struct sa_tile *t = b->tile;
    if (t->k.scales)
        scale(b, &t->k);
    b->hides = apply_terms(b) && !b->view;
    for (int r = 0; r < t->n_rows; r++)
        hide_from(b, r);
}

/* Do n rows stand evenly apart, as kernels want keys: sixteen by sixteen? */
static bool are_even(const struct sa_cache *cache, const char *const *row, int n) {
    bool even = !cache->table || cache->page_tokens % SA_SUM_KEYS == 0;
    for (int j = 0; even && cache->table && j < n; j += SA_SUM_KEYS) {
        const int last = n - j < SA_SUM_KEYS ? n - j - 1 : SA_SUM_KEYS - 1;
        even = row[j + last] - row[j] == last * cache->token;
    }
    return even;
}

static bool side_is_even(const struct sa_side *side) {
    bool even = true;
    for (int i = 0; even && i < side->n; i++)
        even = are_even(&side->tile->k, side->blocks[i].row, side->n_keys);
    return even;
}

/* n rows, at most SA_RUN_KEYS of them, by way of copies where sums will stand; the last one repeated as often as it
 * takes. */
static void score_copies(const struct sa_side *side, const struct sa_few_block *b, int at, int n) {
    const struct sa_tile *t = b->tile;
    const int step = t->products->few_step, n_copies = (n + step - 1) / step * step,
              stride = sa_near_stride(t->k.d) * (int)sizeof(float);
    char *to = (char *)t->space->near;
    const char *row[SA_RUN_KEYS];
    for (int j = 0; j < n_copies; j++, to += stride)
        row[j] = memcpy(to, b->row[at + (j < n ? j : n - 1)], (size_t)t->k.d_bytes);
    struct sa_pointed keys = sa_side_rows(side, &side->tile->k, row, 1, n_copies);
    keys.stride = stride;
    keys.ahead = sa_side_rest(keys.ahead, at, side->n_keys);
    t->products->few_scores(t->space->qt, t->n_rows, keys, s_of(b, 0) + b->begin + at);
}

static void score(struct sa_side *side) {
    const struct sa_tile *t = side->tile;
    const int whole = side_is_even(side) ? side->n_keys - side->n_keys % t->products->few_step : 0;
    if (whole)
        t->products->few_scores(t->space->qt, t->n_rows, sa_side_rows_of_all(side, &t->k, side->blocks[0].row, whole),
                                s_of(&side->blocks[0], 0) + side->blocks[0].begin);
    for (int i = 0; i < side->n; i++) {
        for (int at = whole, n; at < side->n_keys; at += n) {
            n = side->n_keys - at < SA_RUN_KEYS ? side->n_keys - at : SA_RUN_KEYS;
            score_copies(side, &side->blocks[i], at, n);
        }
        finish_scores(&side->blocks[i]);
    }
}

/* Weights that scales which are not finite have made NaN where keys are not seen, too. */
static void level(const struct sa_few_block *b) {
    const struct sa_tile *t = b->tile;
    for (int r = 0; r < t->n_rows; r++)
        fill_unseen(b, r, 0.0f);
    t->bytes->few_level(t->n_rows, rounded_up(b->end) - b->begin, s_of(b, 0) + b->begin, units_of(b));
}

static int down_to_dots(int n) { return n / SA_DOT_KEYS * SA_DOT_KEYS; }

static int up_to_dots(int n) { return down_to_dots(n + SA_DOT_KEYS - 1); }

/* Where the weights of the keys from `key` on stand, of pairs those of a multiple of SA_DOT_KEYS. */
static int weights_at(const struct sa_tile *t, int key) { return t->dots ? key * t->dots->parts / 2 : key; }

/* Of whole runs of what may be added up first: zeros stand for weights beside those that there are. */
static void pair(const struct sa_few_block *b) {
    const struct sa_tile *t = b->tile;
    const int begin = down_to_dots(b->begin), end = up_to_dots(b->end);
    for (int r = 0; r < t->n_rows; r++) {
        fill(s_of(b, r), begin, b->begin, 0.0f);
        fill(s_of(b, r), rounded_up(b->end), end, 0.0f);
    }
    t->dots->few_pair(t->n_rows, end - begin, s_of(b, 0) + begin, s_of(b, 0) + weights_at(t, begin));
}

static void weigh(const struct sa_side *side) {
    for (int i = 0; i < side->n; i++) {
        const struct sa_few_block *b = &side->blocks[i];
        const struct sa_tile *t = b->tile;
        (t->dots ? t->dots->few_weights : t->kernels->few_weights)(
            t->n_rows, rounded_up(b->end) - b->begin, s_of(b, 0) + b->begin, b->state->m, b->state->l, alpha_of(b));
        if (t->v.scales)
            scale(b, &t->v);
        if (t->dots)
            pair(b);
        if (t->bytes)
            level(b);
    }
}

/* ---------------------------------------------------------------- values */

/* Rows r .. r + n_rows - 1 of a block, all of which see the keys begin .. end - 1, whose values `row` lists. */
static void add_run(const struct sa_side *side, const struct sa_few_block *b, const char *const *row, int r, int n_rows,
                    int begin, int end) {
    const struct sa_tile *t = side->tile;
    if (begin >= end)
        return;
    struct sa_pointed values = sa_side_rows(side, &t->v, row, 1, end - begin);
    values.ahead = sa_side_rest(values.ahead, begin > b->begin ? begin - b->begin : 0, side->n_keys);
    t->products->few_values(s_of(b, r) + weights_at(t, begin), n_rows, values, sums_of(b, r));
}

static const char *const *values_of(const struct sa_side *side, const struct sa_few_block *b, int key) {
    return b->row + side->n_keys + key - b->begin;
}

/* Does row r see key j of the block? */
static bool sees(const struct sa_few_block *b, int r, int j) {
    const struct sa_few_seen *seen = &b->rows[r];
    if (b->view)
        return b->view->seen[r].words[j / 64] >> j % 64 & 1;
    return j < seen->sink || (seen->lo <= j && j < seen->hi);
}

/* The keys that these rows see, put side by side, weights and all. Bit j of the set is key begin + j of the block. */
static void add_picked(const struct sa_side *side, const struct sa_few_block *b, const struct sa_key_set *set, int r,
                       int n_rows) {
    const char *picked[SA_BLOCK_KEYS];
    int n = 0;
    for (int w = 0; w < SA_KEY_WORDS; w++)
        for (uint64_t seen = set->words[w]; seen; seen &= seen - 1, n++) {
            const int j = w * 64 + __builtin_ctzll(seen);
            picked[n] = *values_of(side, b, b->begin + j);
            for (int i = r; i < r + n_rows; i++)
                s_of(b, i)[b->begin + n] = s_of(b, i)[b->begin + j];
        }
    add_run(side, b, picked, r, n_rows, b->begin, b->begin + n);
}

/* Where keys are paired, whole runs of what may be added up first: zeros stand where keys are not seen, or are not of a
 * set of them, as add_picked() has it. From key `begin` on, with which a run begins. */
static void add_dots(const struct sa_side *side, const struct sa_few_block *b, const struct sa_key_set *set, int r,
                     int n_rows, int begin) {
    const int end = up_to_dots(b->end);
    const char *row[SA_BLOCK_KEYS];
    for (int j = begin; j < end; j++) {
        const int at = j - b->begin; /* in the set */
        const bool seen = j >= b->begin && j < b->end && (set ? set->words[at / 64] >> at % 64 & 1 : sees(b, r, j));
        row[j - begin] = seen ? *values_of(side, b, j) : sa_zero_row();
    }
    add_run(side, b, row, r, n_rows, begin, end);
}

static void add_seen(const struct sa_side *side, const struct sa_few_block *b, int r, int n_rows) {
    const struct sa_few_seen *seen = &b->rows[r];
    if (side->tile->dots) {
        add_dots(side, b, NULL, r, n_rows, down_to_dots(b->begin));
        return;
    }
    if (b->view) {
        add_picked(side, b, &b->view->seen[r], r, n_rows);
        return;
    }
    add_run(side, b, values_of(side, b, b->begin), r, n_rows, b->begin, seen->sink);
    add_run(side, b, values_of(side, b, seen->lo), r, n_rows, seen->lo, seen->hi);
}

/* What spans leave to row r and bias does not hide. */
static struct sa_key_set shown_to(const struct sa_few_block *b, int r) {
    const struct sa_few_seen *seen = &b->rows[r];
    const float *bias = b->tile->space->terms.bias_row[r];
    struct sa_key_set set = {{0}};
    sa_key_set_add(&set, 0, seen->sink - b->begin);
    sa_key_set_add(&set, seen->lo - b->begin, seen->hi - b->begin);
    for (int j = 0; j < b->end - b->begin; j++)
        set.words[j / 64] &= ~((uint64_t)(bias[j] == -INFINITY) << j % 64);
    return set;
}

static void add_shown(const struct sa_side *side, const struct sa_few_block *b) {
    struct sa_key_set set[SA_FEW_ROWS];
    bool alike = true;
    for (int r = 0; r < b->tile->n_rows; r++) {
        set[r] = shown_to(b, r);
        alike = alike && memcmp(&set[r], &set[0], sizeof set[0]) == 0;
    }
    for (int r = 0; r < (alike ? 1 : b->tile->n_rows); r++)
        if (b->tile->dots)
            add_dots(side, b, &set[r], r, alike ? b->tile->n_rows : 1, down_to_dots(b->begin));
        else
            add_picked(side, b, &set[r], r, alike ? b->tile->n_rows : 1);
}

static void add_alone(const struct sa_side *side, const struct sa_few_block *b) {
    if (b->hides)
        add_shown(side, b);
    else if (b->alike)
        add_seen(side, b, 0, b->tile->n_rows);
    else
        for (int r = 0; r < b->tile->n_rows; r++)
            add_seen(side, b, r, 1);
}

/* Of the n_keys keys of each block those, from the first one on, that can be added for all blocks at once: all rows see
 * them, and they make whole runs of pairs. */
static int count_common(const struct sa_side *side) {
    const struct sa_few_block *b = &side->blocks[0];
    const struct sa_few_seen *seen = &b->rows[0];
    const bool one_run = seen->sink == seen->lo || (seen->sink == 0 && seen->lo == b->begin);
    if (side->n == 1 || !b->alike || !one_run || (b->tile->dots && b->begin % SA_DOT_KEYS))
        return 0;
    return b->tile->dots ? down_to_dots(side->n_keys) : side->n_keys;
}

static void add_common(const struct sa_side *side, int n) {
    const struct sa_tile *t = side->tile;
    const struct sa_few_block *b = &side->blocks[0];
    const float *p = s_of(b, 0) + weights_at(t, b->begin);
    t->products->few_values(p, t->n_rows, sa_side_rows_of_all(side, &t->v, values_of(side, b, b->begin), n),
                            sums_of(b, 0));
}

static void add_values(const struct sa_side *side) {
    const int n = count_common(side);
    if (n)
        add_common(side, n);
    for (int i = 0; i < side->n && n < side->n_keys; i++) {
        const struct sa_few_block *b = &side->blocks[i];
        if (n)
            add_dots(side, b, NULL, 0, b->tile->n_rows, b->begin + n);
        else
            add_alone(side, b);
    }
}

static void add(const struct sa_side *side) {
    const struct sa_tile *t = side->tile;
    for (int i = 0; i < side->n; i++)
        memset(sums_of(&side->blocks[i], 0), 0, (size_t)(t->n_rows * sum_floats(t)) * sizeof(float));
    add_values(side);
    for (int i = 0; i < side->n; i++) {
        const struct sa_few_block *b = &side->blocks[i];
        if (t->bytes)
            t->bytes->few_join(t->n_rows, t->v.d, units_of(b), sums_of(b, 0));
        t->kernels->few_add(t->n_rows, t->v.d, sums_of(b, 0), alpha_of(b), b->state->o);
    }
}

static void attend_side(struct sa_side *side) {
    score(side);
    weigh(side);
    add(side);
}

static bool attend_abreast(const struct sa_tile *tiles, int64_t begin, const struct sa_state *state) {
    struct sa_side side;
    bool any = false;
    for (int64_t at = begin; at < begin + SA_CHUNK_KEYS && at < tiles->seq->n_k; at += SA_BLOCK_KEYS) {
        if (!open_abreast(&side, tiles, state, at))
            continue;
        for (int i = 0; i < side.n && !any; i++)
            sa_clear_state(&tiles[i], &state[i]);
        any = true;
        sa_side_find_lists(&side, at + SA_BLOCK_KEYS);
        attend_side(&side);
    }
    return any;
}

bool sa_attend_few(const struct sa_tile *tiles, int64_t begin, const struct sa_state *state) {
    const int64_t end = begin + SA_CHUNK_KEYS < tiles->seq->n_k ? begin + SA_CHUNK_KEYS : tiles->seq->n_k;
    struct sa_side side;
    bool any = false;
    if (sa_abreast(tiles->seq) > 1)
        return attend_abreast(tiles, begin, state);
    for (int64_t at = begin, next; at < end; at = next) {
        const bool seen = open_side(&side, tiles, state, at, (int)((end - at) / SA_BLOCK_KEYS));
        next = at + (seen ? side.n : 1) * SA_BLOCK_KEYS;
        if (!seen)
            continue;
        if (!any)
            sa_clear_state(tiles, state);
        any = true;
        sa_side_find_lists(&side, next);
        attend_side(&side);
    }
    return any;
}

/* ---------------------------------------------------------------- to maxima that are known */

static void break_row(const struct sa_few_block *b, int r) {
    float *s = s_of(b, r);
    for (int j = b->begin; j < b->end; j++)
        s[j] = s[j] == -INFINITY ? 0.0f : NAN;
}

/* Row by row, so that broken ones can be left out. */
static void weigh_rows(const struct sa_few_block *b, const float *m, const bool *broken) {
    const struct sa_tile *t = b->tile;
    const struct sa_state *scratch = &t->space->result;
    for (int r = 0; r < t->n_rows; r++) {
        if (broken[r]) {
            break_row(b, r);
            continue;
        }
        scratch->m[0] = m[r];
        scratch->l[0] = 0.0f;
        t->kernels->few_weights(1, rounded_up(b->end) - b->begin, s_of(b, r) + b->begin, scratch->m, scratch->l,
                                t->space->alpha);
    }
}

bool sa_weigh_few(const struct sa_tile *tile, int64_t at, const float m[SA_TILE_ROWS], const bool broken[SA_TILE_ROWS],
                  struct sa_scored *scored) {
    struct sa_side side;
    if (!open_side(&side, tile, NULL, at, 1))
        return false;
    sa_side_find_lists(&side, tile->seq->n_k);
    score(&side);
    const struct sa_few_block *b = &side.blocks[0];
    weigh_rows(b, m, broken);
    *scored = (struct sa_scored){s_of(b, 0), 1, SA_FEW_STRIDE, SA_FEW_ROWS, 0, {b->begin}, {b->end}};
    return true;
}
