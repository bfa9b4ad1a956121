/* SPDX-License-Identifier: MIT */
/*
 * A block with few rows costs what it takes to read its keys and values. They are read once, row after row, a run of
 * them at a time; while a run is computed, rows some way ahead are fetched: keys, then values, then the keys of the
 * next block.
 */
#include "few.h"

#include <math.h>
#include <string.h>

#include "near.h"

enum {
    FETCH_BYTES = 16384, /* how far ahead: a long way for the memory, still a small part of the second-level cache */
    MIN_AHEAD = 32,
    MAX_AHEAD = 128
};

/* Keys of a block that a row sees: 0 .. sink - 1 and lo .. hi - 1. */
struct seen {
    int sink, lo, hi;
};

struct block {
    const struct sa_tile *tile;
    int64_t at; /* its first key */
    struct seen rows[SA_FEW_ROWS];
    bool alike;                                     /* all rows see the same keys */
    int begin, end;                                 /* of the keys that any row sees; begin a multiple of 16 */
    int n;                                          /* keys from begin to end */
    const char *row[2 * SA_BLOCK_KEYS + MAX_AHEAD]; /* n of k, n of v, then some of the next block's k */
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
    b->n = b->end - b->begin;
}

static int rounded_up(int n) { return (n + SA_SUM_KEYS - 1) / SA_SUM_KEYS * SA_SUM_KEYS; }

/* ---------------------------------------------------------------- where the rows are */

static int rows_ahead(const struct sa_cache *cache) {
    return (int)sa_clamp(FETCH_BYTES / cache->d_bytes, MIN_AHEAD, MAX_AHEAD);
}

/* Behind the last block there is nothing to fetch but what is there already. */
static void find_rows(struct block *b) {
    const struct sa_tile *t = b->tile;
    const int k_ahead = rows_ahead(&t->k), v_ahead = rows_ahead(&t->v), most = k_ahead > v_ahead ? k_ahead : v_ahead;
    const int64_t next = b->at + SA_BLOCK_KEYS, end = next + most < t->seq->n_k ? next + most : t->seq->n_k;
    int i = 2 * b->n;
    sa_point_rows(&t->k, b->at + b->begin, b->at + b->end, b->row);
    sa_point_rows(&t->v, b->at + b->begin, b->at + b->end, b->row + b->n);
    if (next < end && sa_tile_sees_any(t, next, end)) {
        sa_point_rows(&t->k, next, end, b->row + i);
        i += (int)(end - next);
    }
    for (; i < 2 * b->n + most; i++)
        b->row[i] = b->row[i - 1];
}

/* n rows from row i on. */
static struct sa_pointed run_of(const struct block *b, const struct sa_cache *cache, int i, int n) {
    return (struct sa_pointed){b->row + i, b->row + i + rows_ahead(cache), n, cache->d, cache->type};
}

/* ---------------------------------------------------------------- scores */

static void hide(float *s, int begin, int end) {
    for (int j = begin; j < end; j++)
        s[j] = -INFINITY;
}

/* Scores of row r of the block, key 0 on. */
static float *s_of(const struct block *b, int r) { return b->tile->space->s + r * SA_FEW_STRIDE; }

static void score_block(const struct block *b) {
    const struct sa_tile *t = b->tile;
    const int n_padded = rounded_up(b->end) - b->begin;
    for (int i = 0, n; i < b->n; i += n) {
        n = b->n - i < SA_RUN_KEYS ? b->n - i : SA_RUN_KEYS;
        t->kernels->few_scores(t->space->qt, t->n_rows, run_of(b, &t->k, i, n), s_of(b, 0) + b->begin + i);
    }
    if (t->k.scales) {
        sa_bring_scales(t->kernels, &t->k, b->at + b->begin, b->at + b->end, t->space->scale);
        t->kernels->few_scale(t->n_rows, n_padded, t->space->scale, s_of(b, 0) + b->begin);
    }
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
        t->kernels->few_values(s_of(b, r) + j, n_rows, run_of(b, &t->v, b->n + j - b->begin, n), sums);
    }
}

static void add_seen(const struct block *b, int r, int n_rows) {
    const struct seen *seen = &b->rows[r];
    add_run(b, r, n_rows, b->begin, seen->sink);
    add_run(b, r, n_rows, seen->lo, seen->hi);
}

static void add_block(const struct block *b, const struct sa_state *state) {
    const struct sa_tile *t = b->tile;
    memset(t->space->near, 0, (size_t)(SA_FEW_ROWS * sa_near_stride(t->v.d)) * sizeof(float));
    if (t->v.scales) {
        sa_bring_scales(t->kernels, &t->v, b->at + b->begin, b->at + b->end, t->space->scale);
        t->kernels->few_scale(t->n_rows, rounded_up(b->end) - b->begin, t->space->scale, s_of(b, 0) + b->begin);
    }
    if (b->alike)
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
    if (b.n <= 0)
        return;
    find_rows(&b);
    score_block(&b);
    tile->kernels->few_weights(tile->n_rows, rounded_up(b.end) - b.begin, s_of(&b, 0) + b.begin, state->m, state->l,
                               tile->space->alpha);
    add_block(&b, state);
}
