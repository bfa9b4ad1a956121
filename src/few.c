/* SPDX-License-Identifier: MIT */
/*
 * A block with few rows costs what it takes to read its keys and values. They are read once, row after row, a run of
 * them at a time. While its keys are scored its values are fetched, and while these are added the keys of the next
 * block.
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
    int64_t at; /* its first key */
    struct seen rows[SA_FEW_ROWS];
    bool alike;     /* all rows see the same keys */
    bool hides;     /* some bias is -inf */
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

static int rounded_up(int n) { return (n + SA_SUM_KEYS - 1) / SA_SUM_KEYS * SA_SUM_KEYS; }

/* ---------------------------------------------------------------- where the rows are */

static void find_rows(const struct sa_cache *cache, int64_t begin, int64_t end, struct list *list) {
    list->n = (int)(end - begin);
    list->d = cache->d;
    list->type = cache->type;
    list->bytes = cache->d_bytes;
    sa_point_rows(cache, begin, end, list->row);
    for (int i = 0; i < SA_FETCH_PLACES && list->n > 0; i++)
        list->row[list->n + i] = list->row[list->n - 1];
}

/* Of the next block's keys those that are fetched while values are added; behind the last block there are none. */
static void find_all(struct block *b) {
    const struct sa_tile *t = b->tile;
    const int64_t next = b->at + SA_BLOCK_KEYS;
    const int most = sa_few_reads(t->v.d_bytes / t->v.d, t->n_rows) ? SA_BLOCK_KEYS : SA_RUN_KEYS;
    const int64_t end = next + most < t->seq->n_k ? next + most : t->seq->n_k;
    find_rows(&t->k, b->at + b->begin, b->at + b->end, &b->k);
    find_rows(&t->v, b->at + b->begin, b->at + b->end, &b->v);
    find_rows(&t->k, next, next < end && sa_tile_sees_any(t, next, end) ? end : next, &b->next_k);
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

/* Scores of row r of the block, key 0 on. */
static float *s_of(const struct block *b, int r) { return b->tile->space->s + r * SA_FEW_STRIDE; }

static void score_block(struct block *b) {
    const struct sa_tile *t = b->tile;
    const int n_padded = rounded_up(b->end) - b->begin;
    for (int i = 0, n; i < b->k.n; i += n) {
        n = b->k.n - i < SA_RUN_KEYS ? b->k.n - i : SA_RUN_KEYS;
        t->kernels->few_scores(t->space->qt, t->n_rows, run_of(b, &b->k, i, n, &b->v), s_of(b, 0) + b->begin + i);
    }
    if (t->k.scales) {
        sa_bring_scales(t->kernels, &t->k, b->at + b->begin, b->at + b->end, t->space->scale);
        t->kernels->few_scale(t->n_rows, n_padded, t->space->scale, s_of(b, 0) + b->begin);
    }
    b->hides = sa_has_terms(t) && sa_apply_few_terms(t, b->at + b->begin, b->k.n, s_of(b, 0) + b->begin);
    for (int r = 0; r < t->n_rows; r++) {
        const struct seen *seen = &b->rows[r];
        hide(s_of(b, r), seen->sink > b->begin ? seen->sink : b->begin, seen->lo);
        hide(s_of(b, r), seen->hi, b->begin + n_padded);
    }
}

/* ---------------------------------------------------------------- values */

/* Rows r .. r + n_rows - 1, all of which see the keys begin .. end - 1. */
static void add_run(const struct block *b, int r, int n_rows, int begin, int end) {
    const struct sa_tile *t = b->tile;
    float *sums = t->space->near + r * sa_near_stride(t->v.d);
    for (int j = begin, n; j < end; j += n) {
        n = end - j < SA_RUN_KEYS ? end - j : SA_RUN_KEYS;
        t->kernels->few_values(s_of(b, r) + j, n_rows, run_of(b, &b->v, j - b->begin, n, &b->next_k), sums);
    }
}

static void add_seen(const struct block *b, int r, int n_rows) {
    const struct seen *seen = &b->rows[r];
    add_run(b, r, n_rows, b->begin, seen->sink);
    add_run(b, r, n_rows, seen->lo, seen->hi);
}

static bool is_hidden(const struct block *b, int r, int j) {
    return b->tile->space->terms.bias_row[r][j - b->begin] == -INFINITY;
}

/* Is all that bias hides from some row finite, so that a weight of 0 is enough? */
static bool hidden_are_finite(const struct block *b) {
    const struct sa_tile *t = b->tile;
    float *near = t->space->terms.near + SA_FEW_ROWS * SA_BIAS_STRIDE; /* behind the rows of bias */
    bool finite = true;
    for (int j = b->begin; j < b->end; j++) {
        bool hidden = false;
        for (int r = 0; r < t->n_rows; r++)
            hidden = hidden || is_hidden(b, r, j);
        if (!hidden)
            continue;
        t->kernels->widen((struct sa_stored){b->v.row[j - b->begin], 0, 1, b->v.d, b->v.type}, near, 0);
        finite = finite && isfinite(t->kernels->largest(near, b->v.d)) &&
                 (!t->v.scales || isfinite(t->space->scale[j - b->begin]));
    }
    return finite;
}

/* Of the keys begin .. end - 1 of row r those that bias does not hide. */
static void add_shown(const struct block *b, int r, int begin, int end) {
    for (int j = begin, next; j < end; j = next) {
        next = j + 1;
        while (next < end && is_hidden(b, r, next) == is_hidden(b, r, j))
            next++;
        if (!is_hidden(b, r, j))
            add_run(b, r, 1, j, next);
    }
}

static void add_all_shown(const struct block *b) {
    for (int r = 0; r < b->tile->n_rows; r++) {
        add_shown(b, r, b->begin, b->rows[r].sink);
        add_shown(b, r, b->rows[r].lo, b->rows[r].hi);
    }
}

static void add_block(const struct block *b, const struct sa_state *state) {
    const struct sa_tile *t = b->tile;
    memset(t->space->near, 0, (size_t)(SA_FEW_ROWS * sa_near_stride(t->v.d)) * sizeof(float));
    if (t->v.scales) {
        sa_bring_scales(t->kernels, &t->v, b->at + b->begin, b->at + b->end, t->space->scale);
        t->kernels->few_scale(t->n_rows, rounded_up(b->end) - b->begin, t->space->scale, s_of(b, 0) + b->begin);
    }
    if (b->hides && !hidden_are_finite(b))
        add_all_shown(b);
    else if (b->alike)
        add_seen(b, 0, t->n_rows);
    else
        for (int r = 0; r < t->n_rows; r++)
            add_seen(b, r, 1);
    t->kernels->few_add(t->v.d, t->space->near, t->space->alpha, state->o);
}

void sa_attend_few(const struct sa_tile *tile, int64_t at, const struct sa_state *state) {
    struct block b;
    b.tile = tile;
    b.at = at;
    find_seen(&b);
    if (b.begin >= b.end)
        return;
    find_all(&b);
    score_block(&b);
    tile->kernels->few_weights(tile->n_rows, rounded_up(b.end) - b.begin, s_of(&b, 0) + b.begin, state->m, state->l,
                               tile->space->alpha);
    add_block(&b, state);
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
    b.tile = tile;
    b.at = at;
    find_seen(&b);
    if (b.begin >= b.end)
        return false;
    find_rows(&tile->k, at + b.begin, at + b.end, &b.k);
    find_rows(&tile->k, at, at, &b.v); /* nothing is fetched meanwhile */
    score_block(&b);
    weigh_rows(&b, m, broken);
    *scored = (struct sa_scored){s_of(&b, 0), 1, SA_FEW_STRIDE, SA_FEW_ROWS, 0, {b.begin}, {b.end}};
    return true;
}
