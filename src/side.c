/* SPDX-License-Identifier: MIT */
#include "side.h"

#include "abreast.h"
#include "near.h"

/* ---------------------------------------------------------------- lists */

int sa_side_stretch(const struct sa_few_block *b, int begin, int64_t *token) {
    const int strip = begin / SA_SUM_KEYS;
    *token = b->at + begin;
    if (!b->view)
        return b->end - begin;
    const int next = (strip + sa_view_run(b->view, strip)) * SA_SUM_KEYS;
    *token += (b->view->strip[strip] - strip) * SA_SUM_KEYS;
    return (next < b->end ? next : b->end) - begin;
}

static void find_rows(const struct sa_few_block *b, const struct sa_cache *cache, const char **row) {
    int64_t token;
    for (int i = b->begin, n; i < b->end; i += n, row += n) {
        n = sa_side_stretch(b, i, &token);
        sa_point_rows(cache, token, token + n, row);
    }
}

static void find_both(const struct sa_side *side, const struct sa_few_block *b) {
    find_rows(b, &b->tile->k, b->row);
    find_rows(b, &b->tile->v, b->row + side->n_keys);
}

/* The first keys of a block that will follow. Returns how many. */
static int find_next(const struct sa_tile *t, int64_t at, int most, const char **row) {
    const int64_t end = at + most < t->seq->n_k ? at + most : t->seq->n_k;
    if (at >= end || !sa_tile_sees_any(t, at, end))
        return 0;
    sa_point_rows(&t->k, at, end, row);
    return (int)(end - at);
}

/* The same of what the next item begins with: head i's keys, or those of block i. */
static int find_first(const struct sa_tile *t, int i, int most, const char **row) {
    const struct sa_first_keys *next = &t->next_keys;
    const bool heads = next->n_heads > 1;
    const int64_t at = i && !heads ? next->begin - next->begin % SA_BLOCK_KEYS + i * SA_BLOCK_KEYS : next->begin,
                  end = at + most < next->end ? at + most : next->end;
    if (at >= end || (heads && i >= next->n_heads))
        return 0;
    const struct sa_cache k = sa_cache_of_head(&next->k, heads ? i : 0);
    sa_point_rows(&k, at, end, row);
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

/* Behind the lists of blocks and the next keys: where what is fetched stands. */
enum { FIRST_FETCHED = 2 * SA_BLOCK_KEYS + SA_RUN_KEYS, MOST_FETCHED = SA_LIST_ROWS - FIRST_FETCHED };
_Static_assert((int)SA_MOST_WINDOW <= (int)SA_RUN_KEYS, "the next keys have room before it");

static const char **fetched_of(const struct sa_side *side, int place) {
    return side->tile->space->rows + place * SA_LIST_ROWS + FIRST_FETCHED;
}

/* Where token `at` of the window w + 1 of some rows stands, or of the first window of the n_then rows that follow
 * these; the first row if there is none. */
static const char *token_ahead(const struct sa_side *side, const char *const *row, int n_then, int w, int at) {
    const int next = (w + 1) * side->turn;
    if (next < side->n_keys)
        return row[next + at < side->n_keys ? next + at : 0];
    return row[at < n_then ? side->n_keys + at : 0];
}

enum { WINDOW_ROWS = SA_BLOCK_KEYS / SA_FETCH_PLACES };
_Static_assert(2 * WINDOW_ROWS <= MOST_FETCHED, "windows have room");

/* Where the rows of all heads of a token stand side by side: while keys or values are read, those a window later, then
 * the n_then rows behind. Each place has a quarter of the tokens of a window. */
static struct sa_fetched find_tokens(const struct sa_side *side, bool values, int n_then) {
    const struct sa_cache *cache = values ? &side->tile->seq->v : &side->tile->seq->k;
    const char *const *row = side->blocks[0].row + (values ? side->n_keys : 0);
    const int share = side->turn / SA_FETCH_PLACES, n = (side->n_keys + side->turn - 1) / side->turn * share;
    struct sa_fetched ahead = {.n = n, .bytes = sa_heads_run_of(cache, side->n).bytes};
    for (int p = 0; p < SA_FETCH_PLACES; p++) {
        const char **fetched = fetched_of(side, p) + values * WINDOW_ROWS;
        ahead.row[p] = fetched;
        for (int j = 0; j < n; j++)
            fetched[j] = token_ahead(side, row, n_then, j / share, p * share + j % share);
    }
    return ahead;
}

/* Of small pages a window has four strips of tokens, each in one page, where a head's rows follow each other. */
enum { STRIP_TOKENS = SA_MOST_WINDOW / SA_FETCH_PLACES, MOST_TURNS = SA_BLOCK_KEYS / SA_MOST_WINDOW * SA_MOST_ABREAST };
_Static_assert(SA_SUM_KEYS % STRIP_TOKENS == 0, "a strip is in one page");
_Static_assert(2 * MOST_TURNS + 1 <= MOST_FETCHED, "strips have room");

/* Row `first` of the lists on, of a turn: a window of a head. */
static const char *strip_of(const struct sa_side *side, int first, int turn, int place) {
    const int at = turn / side->n * side->turn + place * STRIP_TOKENS;
    return side->blocks[turn % side->n].row[first + (at < side->n_keys ? at : 0)];
}

/* There each place has a strip of each head in turn, keys, then values, then the first head's next keys: while a head's
 * strips are read those of the next one are fetched. */
static void find_strips(struct sa_side *side, const char *const *next) {
    const struct sa_tile *t = side->tile;
    const int n = (side->n_keys + side->turn - 1) / side->turn * side->n;
    side->ahead[0] = (struct sa_fetched){.n = n, .bytes = STRIP_TOKENS * (int)t->k.token};
    side->ahead[1] = (struct sa_fetched){.n = n, .bytes = STRIP_TOKENS * (int)t->v.token};
    for (int p = 0; p < SA_FETCH_PLACES; p++) {
        const char **strip = fetched_of(side, p);
        for (int i = 0; i < n; i++) {
            strip[i] = strip_of(side, 0, i, p);
            strip[n + i] = strip_of(side, side->n_keys, i, p);
        }
        strip[2 * n] = p * STRIP_TOKENS < side->n_next ? next[p * STRIP_TOKENS] : strip[0];
        side->ahead[0].row[p] = strip + 1;
        side->ahead[1].row[p] = strip + n + 1;
    }
}

/* Does the item end with this side? Then what stands behind it is fetched. */
static bool is_last(const struct sa_side *side, int64_t next) {
    const struct sa_tile *t = side->tile;
    const int64_t at = sa_tile_next(t, next);
    if (at < t->seq->n_k && sa_tile_sees_any(t, at, t->seq->n_k))
        return false;
    if (t->after)
        sa_ahead_fetch(t->after);
    return true;
}

/* Keys, values, and the first window of the next keys. */
static void find_lists_in_windows(struct sa_side *side, int64_t next) {
    const struct sa_tile *t = side->tile;
    const int tile = key_tile(t), window = sa_window_of(t->seq, side->n_keys);
    side->turn = tile > window ? tile : window;
    for (int i = 0; i < side->n; i++)
        find_both(side, &side->blocks[i]);
    const char **end = side->blocks[0].row + 2 * side->n_keys;
    side->n_next =
        is_last(side, next) ? find_first(t, 0, side->turn, end) : find_next(t, sa_tile_next(t, next), side->turn, end);
    if (sa_in_pages(t->seq))
        find_strips(side, end);
    else {
        side->ahead[0] = find_tokens(side, false, side->n_keys);
        side->ahead[1] = find_tokens(side, true, side->n_next);
    }
}

/* Keys, values, and what is fetched while the last values are added: see ahead_of(). The last row stands in for those
 * that other places go on to. */
static void find_lists_of_blocks(struct sa_side *side, int64_t next) {
    const struct sa_tile *t = side->tile;
    side->turn = turn_keys(t);
    side->lead = lead_rows(t);
    side->n_next = 0;
    const int beyond = (SA_FETCH_PLACES - 1) * side->lead;
    const int most = side->n == SA_FETCH_PLACES ? side->turn + beyond : SA_BLOCK_KEYS;
    const bool last = is_last(side, next);
    for (int i = 0; i < side->n; i++) {
        const struct sa_few_block *b = &side->blocks[i];
        const char **end = b->row + 2 * side->n_keys;
        const int64_t at = side->abreast ? next : next + i * SA_BLOCK_KEYS;
        find_both(side, b);
        const int n = last ? find_first(t, i, most, end) : find_next(b->tile, sa_tile_next(t, at), most, end);
        for (int j = n; j < most + beyond; j++)
            end[j] = end[n - 1];
        side->n_next = n > side->n_next ? n : side->n_next;
    }
}

/* They are few, but stand apart from what they scale. */
static void fetch_scales(const struct sa_few_block *b) {
    sa_fetch_scales(&b->tile->k, b->at + b->begin, b->at + b->end);
    sa_fetch_scales(&b->tile->v, b->at + b->begin, b->at + b->end);
}

void sa_side_find_lists(struct sa_side *side, int64_t next) {
    for (int i = 0; i < side->n; i++)
        fetch_scales(&side->blocks[i]);
    if (side->windows)
        find_lists_in_windows(side, next);
    else
        find_lists_of_blocks(side, next);
}

/* ---------------------------------------------------------------- what is fetched */

/* Four blocks: each goes on with its own list, a turn later; every place leads the one before it a little. */
static struct sa_fetched ahead_of_four(const struct sa_side *side, int at) {
    const int next = at + side->turn, left = 2 * side->n_keys + side->n_next - next;
    struct sa_fetched ahead = {.n = left > 1 ? left : 1};
    for (int p = 0; p < SA_FETCH_PLACES; p++)
        ahead.row[p] = side->blocks[p].row + (left > 0 ? next + p * side->lead : 0);
    return ahead;
}

/* One block or two: what follows on the rows that are read, values on keys, the next keys on values, in four parts. */
static struct sa_fetched ahead_of_few(const struct sa_side *side, int at) {
    const int next = at + side->n_keys, left = at ? side->n_next : side->n_keys;
    const int parts = SA_FETCH_PLACES / side->n,
              part = ((left < side->n_keys ? left : side->n_keys) + parts - 1) / parts;
    struct sa_fetched ahead = {.n = part > 1 ? part : 1};
    for (int p = 0; p < SA_FETCH_PLACES; p++)
        ahead.row[p] = side->blocks[p / parts].row + (part > 0 ? next + p % parts * part : 0);
    return ahead;
}

/* What is fetched while the rows from `at` of the lists on are read: keys if that is 0, values if it is n_keys. */
static struct sa_fetched ahead_of(const struct sa_side *side, int at) {
    const bool four = side->n == SA_FETCH_PLACES, keys = at == 0;
    if (side->windows)
        return side->ahead[!keys];
    struct sa_fetched ahead = four ? ahead_of_four(side, at) : ahead_of_few(side, at);
    ahead.bytes = keys == four ? side->tile->k.d_bytes : side->tile->v.d_bytes;
    return ahead;
}

struct sa_pointed sa_side_rows(const struct sa_side *side, const struct sa_cache *cache, const char *const *row,
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

struct sa_pointed sa_side_rows_of_all(const struct sa_side *side, const struct sa_cache *cache, const char *const *row,
                                      int n) {
    struct sa_pointed rows = sa_side_rows(side, cache, row, side->n, n);
    rows.goes_on = !side->windows && n == side->n_keys;
    rows.at_once = side->windows ? turn_keys(side->tile) : 0;
    return rows;
}

struct sa_fetched sa_side_rest(struct sa_fetched ahead, int at, int n) {
    const int done = (int)((int64_t)(ahead.n - 1) * at / n);
    for (int p = 0; p < SA_FETCH_PLACES; p++)
        ahead.row[p] += done;
    ahead.n -= done;
    return ahead;
}
