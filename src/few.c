/* SPDX-License-Identifier: MIT */
/*
 * A block with few rows costs what it takes to read its keys and values. They are read once, row after row, a run of
 * them at a time. While its keys are scored its values are fetched, and while these are added the keys of the next
 * block. Of a block that is looked at key by key only the strips are read of which some row sees a key.
 */
#include "few.h"

#include <math.h>
#include <string.h>

#include "near.h"
#include "terms.h"

/* Keys of a block that a row sees: 0 .. sink - 1 and lo .. hi - 1. */
struct seen {
    int sink, lo, hi;
};

/* Where rows stand. */
struct list {
    int n, d, type, bytes;                            /* bytes: of a row */
    const char *row[SA_BLOCK_KEYS + SA_FETCH_PLACES]; /* the last one stands in for those that lack to whole places */
};

struct block {
    const struct sa_tile *tile;
    int64_t at;                 /* its first key */
    const struct sa_view *view; /* NULL: spans say what is seen; otherwise its keys are those of the block */
    struct seen rows[SA_FEW_ROWS];
    bool alike;     /* all rows see the same keys */
    bool hides;     /* some bias is -inf; a view has it in its bits */
    int begin, end; /* of the keys that any row sees; begin a multiple of 16 */
    struct list k, v, next_k;
};

/* ---------------------------------------------------------------- who sees what */

static int within(int64_t key, int64_t at) { return (int)sa_clamp(key - at, 0, SA_BLOCK_KEYS); }

static struct seen seen_by(const struct sa_tile *t, int r, int64_t at) {
    const struct sa_workspace *space = t->space;
    struct seen seen = {within(space->sink[r], at), within(space->lo[r], at), within(space->hi[r], at)};
    seen.sink = seen.sink < seen.hi ? seen.sink : seen.hi;
    seen.lo = seen.lo > seen.sink ? seen.lo : seen.sink;
    return seen;
}

static void find_seen(struct block *b) {
    b->alike = true;
    b->begin = SA_BLOCK_KEYS;
    b->end = 0;
    for (int r = 0; r < b->tile->n_rows; r++) {
        const struct seen seen = b->rows[r] = seen_by(b->tile, r, b->at), first = b->rows[0];
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
static bool find_view(struct block *b) {
    const struct sa_tile *t = b->tile;
    struct sa_view *view = t->space->view;
    const int64_t left = t->seq->n_k - b->at;
    if (!sa_view_open(view, &t->viewer, b->at, left < SA_BLOCK_KEYS ? (int)left : SA_BLOCK_KEYS, sa_least_gaps(t, 0)))
        return false;
    b->view = view;
    b->begin = 0;
    b->end = view->n_keys;
    b->alike = true;
    for (int r = 1; r < t->n_rows; r++)
        b->alike = b->alike && memcmp(&view->seen[r], &view->seen[0], sizeof view->seen[0]) == 0;
    return true;
}

static bool open_block(struct block *b, const struct sa_tile *t, int64_t at) {
    b->tile = t;
    b->at = at;
    b->view = NULL;
    if (t->seq->sight.any)
        return find_view(b);
    find_seen(b);
    return b->begin < b->end;
}

/* Scores of row r of the block, key 0 on. */
static float *s_of(const struct block *b, int r) { return b->tile->space->s + r * SA_FEW_STRIDE; }

static int rounded_up(int n) { return (n + SA_SUM_KEYS - 1) / SA_SUM_KEYS * SA_SUM_KEYS; }

/* ---------------------------------------------------------------- where the rows are */

/* Of the block's keys from `begin` on those that follow each other: how many, and the first one's token. */
static int stretch_of(const struct block *b, int begin, int64_t *token) {
    const int strip = begin / SA_SUM_KEYS;
    *token = b->at + begin;
    if (!b->view)
        return b->end - begin;
    const int next = (strip + sa_view_run(b->view, strip)) * SA_SUM_KEYS;
    *token += (b->view->strip[strip] - strip) * SA_SUM_KEYS;
    return (next < b->end ? next : b->end) - begin;
}

static void open_list(const struct sa_cache *cache, struct list *list) {
    list->n = 0;
    list->d = cache->d;
    list->type = cache->type;
    list->bytes = cache->d_bytes;
}

static void close_list(struct list *list) {
    for (int i = 0; i < SA_FETCH_PLACES && list->n > 0; i++)
        list->row[list->n + i] = list->row[list->n - 1];
}

static void add_rows(const struct sa_cache *cache, int64_t begin, int64_t end, struct list *list) {
    sa_point_rows(cache, begin, end, list->row + list->n);
    list->n += (int)(end - begin);
}

static void find_rows(const struct block *b, const struct sa_cache *cache, struct list *list) {
    int64_t token;
    open_list(cache, list);
    for (int i = b->begin, n; i < b->end; i += n) {
        n = stretch_of(b, i, &token);
        add_rows(cache, token, token + n, list);
    }
    close_list(list);
}

/* Of the next block's keys those that are fetched while values are added; behind the last block there are none. */
static void find_all(struct block *b) {
    const struct sa_tile *t = b->tile;
    const int64_t next = sa_tile_next(t, b->at + SA_BLOCK_KEYS);
    const int most = sa_few_reads(t->v.d_bytes / t->v.d, t->n_rows) ? SA_BLOCK_KEYS : SA_RUN_KEYS;
    const int64_t end = next + most < t->seq->n_k ? next + most : t->seq->n_k;
    find_rows(b, &t->k, &b->k);
    find_rows(b, &t->v, &b->v);
    open_list(&t->k, &b->next_k);
    if (next < end && sa_tile_sees_any(t, next, end))
        add_rows(&t->k, next, end, &b->next_k);
    close_list(&b->next_k);
}

/* What is fetched during the run of n rows from row i on of `list`, when `then` comes next. If reading takes the time,
 * that much of all of `then`, else the run that follows. */
static struct sa_fetched ahead_of(const struct block *b, const struct list *list, int i, int n,
                                  const struct list *then) {
    if (sa_few_reads(list->bytes / list->d, b->tile->n_rows)) {
        const int apart = (then->n + SA_FETCH_PLACES - 1) / SA_FETCH_PLACES;
        const int begin = apart * i / list->n, end = apart * (i + n) / list->n;
        return (struct sa_fetched){then->row + begin, apart, end - begin, then->bytes};
    }
    const struct list *next = i + n < list->n ? list : then;
    const int begin = next == list ? i + n : 0, left = next->n - begin;
    return (struct sa_fetched){next->row + begin, 0, left < SA_RUN_KEYS ? left : SA_RUN_KEYS, next->bytes};
}

static struct sa_pointed run_of(const struct block *b, const struct list *list, int i, int n, const struct list *then) {
    return (struct sa_pointed){list->row + i, n, list->n - i - n, list->d, list->type, ahead_of(b, list, i, n, then)};
}

/* ---------------------------------------------------------------- scores */

static void hide(float *s, int begin, int end) {
    for (int j = begin; j < end; j++)
        s[j] = -INFINITY;
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

static void hide_from(const struct block *b, int r, int n_padded) {
    const struct seen *seen = &b->rows[r];
    if (b->view) {
        hide_unseen(&b->view->seen[r], n_padded, s_of(b, r));
        return;
    }
    hide(s_of(b, r), seen->sink > b->begin ? seen->sink : b->begin, seen->lo);
    hide(s_of(b, r), seen->hi, b->begin + n_padded);
}

/* Scores or weights times the scales of their keys or values. */
static void scale(const struct block *b, const struct sa_cache *cache) {
    const struct sa_tile *t = b->tile;
    int64_t token;
    for (int i = b->begin, n; i < b->end; i += n) {
        n = stretch_of(b, i, &token);
        sa_bring_scales(t->kernels, cache, token, token + n, t->space->scale + i - b->begin);
    }
    t->kernels->few_scale(t->n_rows, rounded_up(b->end) - b->begin, t->space->scale, s_of(b, 0) + b->begin);
}

/* All stretches but the last are whole strips: none writes to scores of the next. */
static bool apply_terms(const struct block *b) {
    bool hides = false;
    int64_t token;
    for (int i = b->begin, n; i < b->end && sa_has_terms(b->tile); i += n) {
        n = stretch_of(b, i, &token);
        hides |= sa_apply_few_terms(b->tile, token, n, s_of(b, 0) + i);
    }
    return hides;
}

static void score_block(struct block *b) {
    const struct sa_tile *t = b->tile;
    const int n_padded = rounded_up(b->end) - b->begin;
    for (int i = 0, n; i < b->k.n; i += n) {
        n = b->k.n - i < SA_RUN_KEYS ? b->k.n - i : SA_RUN_KEYS;
        t->kernels->few_scores(t->space->qt, t->n_rows, run_of(b, &b->k, i, n, &b->v), s_of(b, 0) + b->begin + i);
    }
    if (t->k.scales)
        scale(b, &t->k);
    b->hides = apply_terms(b) && !b->view;
    for (int r = 0; r < t->n_rows; r++)
        hide_from(b, r, n_padded);
}

/* ---------------------------------------------------------------- values */

/* Rows r .. r + n_rows - 1, all of which see the keys begin .. end - 1, whose values are those of `v`. */
static void add_run(const struct block *b, const struct list *v, int r, int n_rows, int begin, int end) {
    const struct sa_tile *t = b->tile;
    float *sums = t->space->near + r * sa_near_stride(t->v.d);
    for (int j = begin, n; j < end; j += n) {
        n = end - j < SA_RUN_KEYS ? end - j : SA_RUN_KEYS;
        t->kernels->few_values(s_of(b, r) + j, n_rows, run_of(b, v, j - b->begin, n, &b->next_k), sums);
    }
}

/* The keys that these rows see, put side by side, weights and all. Bit j of the set is key begin + j of the block. */
static void add_picked(const struct block *b, const struct sa_key_set *set, int r, int n_rows) {
    const struct sa_tile *t = b->tile;
    struct list picked;
    open_list(&t->v, &picked);
    for (int w = 0; w < SA_KEY_WORDS; w++)
        for (uint64_t seen = set->words[w]; seen; seen &= seen - 1, picked.n++) {
            const int j = w * 64 + __builtin_ctzll(seen);
            picked.row[picked.n] = b->v.row[j];
            for (int i = r; i < r + n_rows; i++)
                s_of(b, i)[b->begin + picked.n] = s_of(b, i)[b->begin + j];
        }
    close_list(&picked);
    add_run(b, &picked, r, n_rows, b->begin, b->begin + picked.n);
}

static void add_seen(const struct block *b, int r, int n_rows) {
    const struct seen *seen = &b->rows[r];
    if (b->view) {
        add_picked(b, &b->view->seen[r], r, n_rows);
        return;
    }
    add_run(b, &b->v, r, n_rows, b->begin, seen->sink);
    add_run(b, &b->v, r, n_rows, seen->lo, seen->hi);
}

/* What spans leave to row r and bias does not hide. */
static struct sa_key_set shown_to(const struct block *b, int r) {
    const struct seen *seen = &b->rows[r];
    const float *bias = b->tile->space->terms.bias_row[r];
    struct sa_key_set set = {{0}};
    sa_key_set_add(&set, 0, seen->sink - b->begin);
    sa_key_set_add(&set, seen->lo - b->begin, seen->hi - b->begin);
    for (int j = 0; j < b->end - b->begin; j++)
        set.words[j / 64] &= ~((uint64_t)(bias[j] == -INFINITY) << j % 64);
    return set;
}

static void add_shown(const struct block *b) {
    struct sa_key_set set[SA_FEW_ROWS];
    bool alike = true;
    for (int r = 0; r < b->tile->n_rows; r++) {
        set[r] = shown_to(b, r);
        alike = alike && memcmp(&set[r], &set[0], sizeof set[0]) == 0;
    }
    for (int r = 0; r < (alike ? 1 : b->tile->n_rows); r++)
        add_picked(b, &set[r], r, alike ? b->tile->n_rows : 1);
}

static void add_block(const struct block *b, const struct sa_state *state) {
    const struct sa_tile *t = b->tile;
    memset(t->space->near, 0, (size_t)(SA_FEW_ROWS * sa_near_stride(t->v.d)) * sizeof(float));
    if (t->v.scales)
        scale(b, &t->v);
    if (b->hides)
        add_shown(b);
    else if (b->alike)
        add_seen(b, 0, t->n_rows);
    else
        for (int r = 0; r < t->n_rows; r++)
            add_seen(b, r, 1);
    t->kernels->few_add(t->v.d, t->space->near, t->space->alpha, state->o);
}

bool sa_attend_few(const struct sa_tile *tile, int64_t at, const struct sa_state *state, bool fresh) {
    struct block b;
    if (!open_block(&b, tile, at))
        return false;
    if (fresh)
        sa_clear_state(tile, state);
    find_all(&b);
    score_block(&b);
    tile->kernels->few_weights(tile->n_rows, rounded_up(b.end) - b.begin, s_of(&b, 0) + b.begin, state->m, state->l,
                               tile->space->alpha);
    add_block(&b, state);
    return true;
}

/* ---------------------------------------------------------------- to maxima that are known */

static void break_row(const struct block *b, int r) {
    float *s = s_of(b, r);
    for (int j = b->begin; j < b->end; j++)
        s[j] = s[j] == -INFINITY ? 0.0f : NAN;
}

/* Row by row, so that broken ones can be left out. */
static void weigh_rows(const struct block *b, const float *m, const bool *broken) {
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
    struct block b;
    if (!open_block(&b, tile, at))
        return false;
    find_rows(&b, &tile->k, &b.k);
    open_list(&tile->k, &b.v); /* nothing is fetched meanwhile */
    score_block(&b);
    weigh_rows(&b, m, broken);
    *scored = (struct sa_scored){s_of(&b, 0), 1, SA_FEW_STRIDE, SA_FEW_ROWS, 0, {b.begin}, {b.end}};
    return true;
}
