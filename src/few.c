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
 * side by side, a window of tokens after the other, so that what is fetched is all of their rows of the next window.
 */
#include "few.h"

#include <math.h>
#include <string.h>

#include "abreast.h"
#include "near.h"
#include "terms.h"

/* Keys of a block that a row sees: 0 .. sink - 1 and lo .. hi - 1. */
struct seen {
    int sink, lo, hi;
};

struct block {
    const struct sa_tile *tile;
    const struct sa_state *state;
    int64_t at;                 /* its first key */
    const struct sa_view *view; /* NULL: spans say what is seen; otherwise its keys are those of the block */
    struct seen rows[SA_FEW_ROWS];
    bool alike;       /* all rows see the same keys */
    bool hides;       /* some bias is -inf; a view has it in its bits */
    int begin, end;   /* of the keys that any row sees; begin a multiple of 16 */
    int place;        /* among those side by side */
    const char **row; /* where its keys stand, and its values, and the keys of what comes next: see struct side */
};

/* Blocks side by side: 1, 2 or 4 of a tile, several only if all their keys are seen by all rows, or the same one of
 * each tile that goes abreast. A block's list has n_keys rows of keys, as many of values and n_next of keys that come
 * next. */
struct side {
    const struct sa_tile *tile; /* of the first block */
    struct block blocks[SA_SIDE_BLOCKS];
    int n, n_keys, n_next;
    int turn; /* keys of a block that are taken in turn */
    int lead; /* rows by which a place is fetched further ahead than the one before it */
    bool abreast;
    struct sa_fetched ahead[2]; /* abreast: what is fetched while keys, while values are read */
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

static bool open_block(struct block *b, const struct sa_tile *t, int64_t at) {
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
static bool is_full(const struct block *b) {
    return b->alike && !b->view && !b->tile->seq->terms.bias.data && b->rows[0].sink == b->rows[0].lo &&
           b->end == SA_BLOCK_KEYS;
}

static bool open_place(struct side *side, const struct sa_tile *t, const struct sa_state *state, int64_t at) {
    struct block *b = &side->blocks[side->n];
    b->place = side->n;
    b->row = t->space->rows + side->n * SA_LIST_ROWS;
    b->state = state;
    return open_block(b, t, at);
}

/* As many blocks from key `at` on, `most` at most, as can go side by side. False: no row sees any key of the first. A
 * view serves the one block that has it: a block that follows is opened only behind full ones, which have none. */
static bool open_side(struct side *side, const struct sa_tile *t, const struct sa_state *state, int64_t at, int most) {
    side->tile = t;
    side->abreast = false;
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
static bool open_abreast(struct side *side, const struct sa_tile *tiles, const struct sa_state *state, int64_t at) {
    side->tile = tiles;
    side->abreast = true;
    for (side->n = 0; side->n < sa_abreast(tiles->seq); side->n++)
        if (!open_place(side, &tiles[side->n], &state[side->n], at))
            return false;
    side->n_keys = side->blocks[0].end - side->blocks[0].begin;
    return true;
}

/* Scores of row r of the block, key 0 on. */
static float *s_of(const struct block *b, int r) {
    return b->tile->space->s + (b->place * SA_FEW_ROWS + r) * SA_FEW_STRIDE;
}

static float *alpha_of(const struct block *b) { return b->tile->space->alpha + b->place * SA_GROUP_ROWS; }
static float *units_of(const struct block *b) { return b->tile->space->units + b->place * 2 * SA_FEW_ROWS; }

/* Of a row: its values, or those of each digit. */
static int sum_floats(const struct sa_tile *t) {
    return t->bytes ? SA_BYTES_DIGITS * sa_bytes_stride(t->v.d) : sa_near_stride(t->v.d);
}

static float *sums_of(const struct block *b, int r) {
    return b->tile->space->near + (b->place * SA_FEW_ROWS + r) * sum_floats(b->tile);
}

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

static void find_rows(const struct block *b, const struct sa_cache *cache, const char **row) {
    int64_t token;
    for (int i = b->begin, n; i < b->end; i += n, row += n) {
        n = stretch_of(b, i, &token);
        sa_point_rows(cache, token, token + n, row);
    }
}

/* The first keys of a block that will follow. Returns how many. */
static int find_next(const struct sa_tile *t, int64_t at, int most, const char **row) {
    const int64_t end = at + most < t->seq->n_k ? at + most : t->seq->n_k;
    if (at >= end || !sa_tile_sees_any(t, at, end))
        return 0;
    sa_point_rows(&t->k, at, end, row);
    return (int)(end - at);
}

/* The same of block i of what the next item begins with. */
static int find_first(const struct sa_tile *t, int i, int most, const char **row) {
    const struct sa_first_keys *next = &t->next_keys;
    const int64_t at = i ? next->begin - next->begin % SA_BLOCK_KEYS + i * SA_BLOCK_KEYS : next->begin,
                  end = at + most < next->end ? at + most : next->end;
    if (at >= end)
        return 0;
    sa_point_rows(&next->k, at, end, row);
    return (int)(end - at);
}

/* Words of parts are those of elements of two bytes. */
static int key_tile(const struct sa_tile *t) {
    return sa_few_tile(t->kernels->lanes, t->dots && t->dots->parts > 1 ? 2 : t->k.d_bytes / t->k.d);
}

/* Keys that are some KiB, whole register tiles of them. */
static int turn_keys(const struct sa_tile *t) {
    enum { SOME_KIB = 4096 };
    const int least = key_tile(t), n = SOME_KIB / t->k.d_bytes / least * least;
    return n < least ? least : n > SA_RUN_KEYS ? SA_RUN_KEYS : n;
}

static int lead_rows(const struct sa_tile *t) {
    enum { LEAD_BYTES = 768 };
    const int n = LEAD_BYTES / t->k.d_bytes;
    return n < SA_MOST_LEAD ? n : SA_MOST_LEAD;
}

/* Where the run `number` of the window w + 1 of some rows begins, or of the first window of the n_then rows that follow
 * these; the first row if there is none. */
static const char *run_ahead(const struct side *side, const char *const *row, int n_then, int w, int number,
                             const struct sa_heads_run *run) {
    const int next = (w + 1) * side->turn, at = number * run->tokens;
    if (next < side->n_keys)
        return row[next + at < side->n_keys ? next + at : 0];
    return row[at < n_then ? side->n_keys + at : 0];
}

/* Behind the lists of blocks and the next keys: where what is fetched stands, while keys, while values are read. */
enum { WINDOW_ROWS = SA_BLOCK_KEYS / SA_FETCH_PLACES, FIRST_WINDOW = 2 * SA_BLOCK_KEYS + SA_RUN_KEYS };
_Static_assert(FIRST_WINDOW + 2 * WINDOW_ROWS <= SA_LIST_ROWS, "windows have room behind the lists");
_Static_assert((int)SA_MOST_WINDOW <= (int)SA_RUN_KEYS, "and the next keys between them");

/* While keys or values are read, those a window later, then the n_then rows behind: each place has a quarter of the
 * runs of a window, or where there are fewer than four of them a piece of one. */
static struct sa_fetched find_windows(const struct side *side, bool values, int n_then, struct sa_heads_run run) {
    const char *const *row = side->blocks[0].row + (values ? side->n_keys : 0);
    const int runs = side->turn / run.tokens, pieces = runs < SA_FETCH_PLACES ? SA_FETCH_PLACES / runs : 1;
    const int share = runs * pieces / SA_FETCH_PLACES, n = (side->n_keys + side->turn - 1) / side->turn * share;
    struct sa_fetched ahead = {.n = n, .bytes = run.bytes / pieces};
    for (int p = 0; p < SA_FETCH_PLACES; p++) {
        const char **window = side->tile->space->rows + p * SA_LIST_ROWS + FIRST_WINDOW + values * WINDOW_ROWS;
        ahead.row[p] = window;
        for (int j = 0; j < n; j++) {
            const int piece = p * share + j % share;
            window[j] = run_ahead(side, row, n_then, j / share, piece / pieces, &run) + piece % pieces * ahead.bytes;
        }
    }
    return ahead;
}

/* Of keys or values; at the edge of a query's window, within a page, one head's row. */
static struct sa_heads_run run_of(const struct side *side, const struct sa_cache *cache) {
    const struct sa_heads_run run = sa_heads_run_of(cache, side->n), line = {1, SA_LINE_BYTES};
    return side->blocks[0].begin % run.tokens ? line : run;
}

/* Does the item end with this side? Then what stands behind it is fetched. */
static bool is_last(const struct side *side, int64_t next) {
    const struct sa_tile *t = side->tile;
    const int64_t at = sa_tile_next(t, next);
    if (at < t->seq->n_k && sa_tile_sees_any(t, at, t->seq->n_k))
        return false;
    if (t->after)
        sa_ahead_fetch(t->after);
    return true;
}

/* Keys, values, and the first window of the next keys. */
static void find_lists_abreast(struct side *side, int64_t next) {
    const struct sa_tile *t = side->tile;
    const int tile = key_tile(t), window = sa_window_of(t->seq);
    side->turn = tile > window ? tile : window;
    for (int i = 0; i < side->n; i++) {
        const struct block *b = &side->blocks[i];
        find_rows(b, &b->tile->k, b->row);
        find_rows(b, &b->tile->v, b->row + side->n_keys);
    }
    const char **end = side->blocks[0].row + 2 * side->n_keys;
    side->n_next =
        is_last(side, next) ? find_first(t, 0, side->turn, end) : find_next(t, sa_tile_next(t, next), side->turn, end);
    side->ahead[0] = find_windows(side, false, side->n_keys, run_of(side, &t->seq->k));
    side->ahead[1] = find_windows(side, true, side->n_next, run_of(side, &t->seq->v));
}

/* Keys, values, and what is fetched while the last values are added: see ahead_of(). The last row stands in for those
 * that other places go on to. */
static void find_lists(struct side *side, int64_t next) {
    const struct sa_tile *t = side->tile;
    side->turn = turn_keys(t);
    side->lead = lead_rows(t);
    side->n_next = 0;
    const int beyond = (SA_FETCH_PLACES - 1) * side->lead;
    const int most = side->n == SA_FETCH_PLACES ? side->turn + beyond : SA_BLOCK_KEYS;
    const bool last = is_last(side, next);
    for (int i = 0; i < side->n; i++) {
        const char **row = side->blocks[i].row, **end = row + 2 * side->n_keys;
        find_rows(&side->blocks[i], &t->k, row);
        find_rows(&side->blocks[i], &t->v, row + side->n_keys);
        const int n =
            last ? find_first(t, i, most, end) : find_next(t, sa_tile_next(t, next + i * SA_BLOCK_KEYS), most, end);
        for (int j = n; j < most + beyond; j++)
            end[j] = end[n - 1];
        side->n_next = n > side->n_next ? n : side->n_next;
    }
}

/* Four blocks: each goes on with its own list, a turn later; every place leads the one before it a little. */
static struct sa_fetched ahead_of_four(const struct side *side, int at) {
    const int next = at + side->turn, left = 2 * side->n_keys + side->n_next - next;
    struct sa_fetched ahead = {.n = left > 1 ? left : 1};
    for (int p = 0; p < SA_FETCH_PLACES; p++)
        ahead.row[p] = side->blocks[p].row + (left > 0 ? next + p * side->lead : 0);
    return ahead;
}

/* One block or two: what follows on the rows that are read, values on keys, the next keys on values, in four parts. */
static struct sa_fetched ahead_of_few(const struct side *side, int at) {
    const int next = at + side->n_keys, left = at ? side->n_next : side->n_keys;
    const int parts = SA_FETCH_PLACES / side->n,
              part = ((left < side->n_keys ? left : side->n_keys) + parts - 1) / parts;
    struct sa_fetched ahead = {.n = part > 1 ? part : 1};
    for (int p = 0; p < SA_FETCH_PLACES; p++)
        ahead.row[p] = side->blocks[p / parts].row + (part > 0 ? next + p % parts * part : 0);
    return ahead;
}

/* What is fetched while the rows from `at` of the lists on are read: keys if that is 0, values if it is n_keys. */
static struct sa_fetched ahead_of(const struct side *side, int at) {
    const bool four = side->n == SA_FETCH_PLACES, keys = at == 0;
    if (side->abreast)
        return side->ahead[!keys];
    struct sa_fetched ahead = four ? ahead_of_four(side, at) : ahead_of_few(side, at);
    ahead.bytes = keys == four ? side->tile->k.d_bytes : side->tile->v.d_bytes;
    return ahead;
}

/* n rows of each place, those of the first one as `row` lists them. */
static struct sa_pointed rows_of(const struct side *side, const struct sa_cache *cache, const char *const *row,
                                 int places, int n) {
    return (struct sa_pointed){.row = row,
                               .places = places,
                               .apart = SA_LIST_ROWS,
                               .n = n,
                               .turn = side->turn,
                               .d = cache->d,
                               .type = cache->type,
                               .stride = cache->token,
                               .q_rows = side->abreast ? sa_rows_abreast(side->tile->n_rows) : 0,
                               .ahead = ahead_of(side, cache == &side->tile->k ? 0 : side->n_keys)};
}

/* n rows of all blocks, from their lists. */
static struct sa_pointed rows_of_all(const struct side *side, const struct sa_cache *cache, const char *const *row,
                                     int n) {
    struct sa_pointed rows = rows_of(side, cache, row, side->n, n);
    rows.goes_on = !side->abreast && n == side->n_keys;
    return rows;
}

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
static void fill_unseen(const struct block *b, int r, float with) {
    const struct seen *seen = &b->rows[r];
    fill(s_of(b, r), seen->sink > b->begin ? seen->sink : b->begin, seen->lo, with);
    fill(s_of(b, r), seen->hi, rounded_up(b->end), with);
}

static void hide_from(const struct block *b, int r) {
    if (b->view)
        hide_unseen(&b->view->seen[r], rounded_up(b->end), s_of(b, r));
    else
        fill_unseen(b, r, -INFINITY);
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

static void finish_scores(struct block *b) {
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

static bool side_is_even(const struct side *side) {
    bool even = true;
    for (int i = 0; even && i < side->n; i++)
        even = are_even(&side->tile->k, side->blocks[i].row, side->n_keys);
    return even;
}

/* What is left to fetch behind `at` of n keys. */
static struct sa_fetched rest_of(struct sa_fetched ahead, int at, int n) {
    const int done = (int)((int64_t)(ahead.n - 1) * at / n);
    for (int p = 0; p < SA_FETCH_PLACES; p++)
        ahead.row[p] += done;
    ahead.n -= done;
    return ahead;
}

/* n rows, at most SA_RUN_KEYS of them, by way of copies where sums will stand; the last one repeated as often as it
 * takes to fill register tiles. */
static void score_copies(const struct side *side, const struct block *b, int at, int n) {
    const struct sa_tile *t = b->tile;
    const int tile = key_tile(t), stride = sa_near_stride(t->k.d) * (int)sizeof(float);
    char *to = (char *)t->space->near;
    const char *row[SA_RUN_KEYS];
    for (int j = 0; j < (n + tile - 1) / tile * tile; j++, to += stride)
        row[j] = memcpy(to, b->row[at + (j < n ? j : n - 1)], (size_t)t->k.d_bytes);
    struct sa_pointed keys = rows_of(side, &side->tile->k, row, 1, (n + tile - 1) / tile * tile);
    keys.stride = stride;
    keys.ahead = rest_of(keys.ahead, at, side->n_keys);
    t->products->few_scores(t->space->qt, t->n_rows, keys, s_of(b, 0) + b->begin + at);
}

static void score(struct side *side) {
    const struct sa_tile *t = side->tile;
    const int whole = side_is_even(side) ? side->n_keys - side->n_keys % key_tile(t) : 0;
    if (whole)
        t->products->few_scores(t->space->qt, t->n_rows, rows_of_all(side, &t->k, side->blocks[0].row, whole),
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
static void level(const struct block *b) {
    const struct sa_tile *t = b->tile;
    for (int r = 0; r < t->n_rows; r++)
        fill_unseen(b, r, 0.0f);
    t->bytes->few_level(t->n_rows, rounded_up(b->end) - b->begin, s_of(b, 0) + b->begin, units_of(b));
}

static int up_to_dots(int n) { return (n + SA_DOT_KEYS - 1) / SA_DOT_KEYS * SA_DOT_KEYS; }

/* Where the weights of the keys from `key` on stand, of pairs those of a multiple of SA_DOT_KEYS. */
static int weights_at(const struct sa_tile *t, int key) { return t->dots ? key * t->dots->parts / 2 : key; }

/* Of whole runs of what may be added up first: zeros stand for weights beside those that there are. */
static void pair(const struct block *b) {
    const struct sa_tile *t = b->tile;
    const int begin = b->begin / SA_DOT_KEYS * SA_DOT_KEYS, end = up_to_dots(b->end);
    for (int r = 0; r < t->n_rows; r++) {
        fill(s_of(b, r), begin, b->begin, 0.0f);
        fill(s_of(b, r), rounded_up(b->end), end, 0.0f);
    }
    t->dots->few_pair(t->n_rows, end - begin, s_of(b, 0) + begin, s_of(b, 0) + weights_at(t, begin));
}

static void weigh(const struct side *side) {
    for (int i = 0; i < side->n; i++) {
        const struct block *b = &side->blocks[i];
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
static void add_run(const struct side *side, const struct block *b, const char *const *row, int r, int n_rows,
                    int begin, int end) {
    const struct sa_tile *t = side->tile;
    const float *p = s_of(b, r) + weights_at(t, begin);
    if (begin < end)
        t->products->few_values(p, n_rows, rows_of(side, &t->v, row, 1, end - begin), sums_of(b, r));
}

static const char *const *values_of(const struct side *side, const struct block *b, int key) {
    return b->row + side->n_keys + key - b->begin;
}

/* Does row r see key j of the block? */
static bool sees(const struct block *b, int r, int j) {
    const struct seen *seen = &b->rows[r];
    if (b->view)
        return b->view->seen[r].words[j / 64] >> j % 64 & 1;
    return j < seen->sink || (seen->lo <= j && j < seen->hi);
}

/* The keys that these rows see, put side by side, weights and all. Bit j of the set is key begin + j of the block. */
static void add_picked(const struct side *side, const struct block *b, const struct sa_key_set *set, int r,
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
 * set of them, as add_picked() has it. */
static void add_dots(const struct side *side, const struct block *b, const struct sa_key_set *set, int r, int n_rows) {
    const int begin = b->begin / SA_DOT_KEYS * SA_DOT_KEYS, end = up_to_dots(b->end);
    const char *row[SA_BLOCK_KEYS];
    for (int j = begin; j < end; j++) {
        const int at = j - b->begin; /* in the set */
        const bool seen = j >= b->begin && j < b->end && (set ? set->words[at / 64] >> at % 64 & 1 : sees(b, r, j));
        row[j - begin] = seen ? *values_of(side, b, j) : sa_zero_row();
    }
    add_run(side, b, row, r, n_rows, begin, end);
}

static void add_seen(const struct side *side, const struct block *b, int r, int n_rows) {
    const struct seen *seen = &b->rows[r];
    if (side->tile->dots) {
        add_dots(side, b, NULL, r, n_rows);
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

static void add_shown(const struct side *side, const struct block *b) {
    struct sa_key_set set[SA_FEW_ROWS];
    bool alike = true;
    for (int r = 0; r < b->tile->n_rows; r++) {
        set[r] = shown_to(b, r);
        alike = alike && memcmp(&set[r], &set[0], sizeof set[0]) == 0;
    }
    for (int r = 0; r < (alike ? 1 : b->tile->n_rows); r++)
        (b->tile->dots ? add_dots : add_picked)(side, b, &set[r], r, alike ? b->tile->n_rows : 1);
}

static void add_alone(const struct side *side, const struct block *b) {
    if (b->hides)
        add_shown(side, b);
    else if (b->alike)
        add_seen(side, b, 0, b->tile->n_rows);
    else
        for (int r = 0; r < b->tile->n_rows; r++)
            add_seen(side, b, r, 1);
}

static void add_all(const struct side *side) {
    const struct sa_tile *t = side->tile;
    const struct block *b = &side->blocks[0];
    const float *p = s_of(b, 0) + weights_at(t, b->begin);
    t->products->few_values(p, t->n_rows, rows_of_all(side, &t->v, values_of(side, b, b->begin), side->n_keys),
                            sums_of(b, 0));
}

/* Does each row of the blocks see all of the n_keys keys, and do these make whole runs of pairs? */
static bool can_add_all(const struct side *side) {
    const struct block *b = &side->blocks[0];
    const struct seen *seen = &b->rows[0];
    const bool one_run = seen->sink == seen->lo || (seen->sink == 0 && seen->lo == b->begin);
    return b->alike && one_run && !(b->tile->dots && (b->begin % SA_DOT_KEYS || side->n_keys % SA_DOT_KEYS));
}

static void add(const struct side *side) {
    const struct sa_tile *t = side->tile;
    for (int i = 0; i < side->n; i++)
        memset(sums_of(&side->blocks[i], 0), 0, (size_t)(t->n_rows * sum_floats(t)) * sizeof(float));
    if (side->n > 1 && can_add_all(side))
        add_all(side);
    else
        for (int i = 0; i < side->n; i++)
            add_alone(side, &side->blocks[i]);
    for (int i = 0; i < side->n; i++) {
        const struct block *b = &side->blocks[i];
        if (t->bytes)
            t->bytes->few_join(t->n_rows, t->v.d, units_of(b), sums_of(b, 0));
        t->kernels->few_add(t->n_rows, t->v.d, sums_of(b, 0), alpha_of(b), b->state->o);
    }
}

static void attend_side(struct side *side) {
    score(side);
    weigh(side);
    add(side);
}

static bool attend_abreast(const struct sa_tile *tiles, int64_t begin, const struct sa_state *state) {
    struct side side;
    bool any = false;
    for (int64_t at = begin; at < begin + SA_CHUNK_KEYS && at < tiles->seq->n_k; at += SA_BLOCK_KEYS) {
        if (!open_abreast(&side, tiles, state, at))
            continue;
        for (int i = 0; i < side.n && !any; i++)
            sa_clear_state(&tiles[i], &state[i]);
        any = true;
        find_lists_abreast(&side, at + SA_BLOCK_KEYS);
        attend_side(&side);
    }
    return any;
}

bool sa_attend_few(const struct sa_tile *tiles, int64_t begin, const struct sa_state *state) {
    const int64_t end = begin + SA_CHUNK_KEYS < tiles->seq->n_k ? begin + SA_CHUNK_KEYS : tiles->seq->n_k;
    struct side side;
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
        find_lists(&side, next);
        attend_side(&side);
    }
    return any;
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
    struct side side;
    if (!open_side(&side, tile, NULL, at, 1))
        return false;
    find_lists(&side, tile->seq->n_k);
    score(&side);
    const struct block *b = &side.blocks[0];
    weigh_rows(b, m, broken);
    *scored = (struct sa_scored){s_of(b, 0), 1, SA_FEW_STRIDE, SA_FEW_ROWS, 0, {b->begin}, {b->end}};
    return true;
}
