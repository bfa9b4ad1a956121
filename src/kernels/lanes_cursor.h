/* SPDX-License-Identifier: MIT */
/* What tiles of few rows fetch while they read: a line of each of several places in turns, and the rows that are used
 * next. Included by lanes_few.h, amx_dots.h and amx_int8.c, after lanes_types.h. */
#ifndef SA_LANES_CURSOR_H
#define SA_LANES_CURSOR_H

enum { FETCH_BYTES = SA_FETCH_PLACES * SA_LINE_BYTES }; /* of one line of each place */

/* Where fetching has come to: from far rows of several places, and from near ones, that are used next. */
struct cursor {
    const char *const *row, *const *last; /* of the first place */
    ptrdiff_t apart[SA_FETCH_PLACES];     /* from the first place's to the others' */
    ptrdiff_t at, bytes;                  /* at: in the row */
    const char *const *near, *const *near_last;
    ptrdiff_t near_at, near_bytes;
};

INLINE struct cursor cursor_of(const struct sa_pointed *rows) {
    const struct sa_fetched *ahead = &rows->ahead;
    struct cursor cursor = {.row = ahead->row[0], .last = ahead->row[0] + ahead->n - 1, .bytes = ahead->bytes};
    UNROLL
    for (int p = 0; p < SA_FETCH_PLACES; p++)
        cursor.apart[p] = ahead->row[p] - ahead->row[0];
    cursor.near_bytes = (ptrdiff_t)rows->d * type_bytes(rows->type);
    return cursor;
}

/* Four lines of the near rows, or what there is of one row, into the first-level cache in the order of memory: a tile
 * reads some bytes of each of its rows in turn, and what it misses so the processor fetches slowly. */
INLINE void fetch_near(struct cursor *cursor) {
    const int n_rows = cursor->near_bytes > 2 * SA_LINE_BYTES ? 1 : cursor->near_bytes > SA_LINE_BYTES ? 2 : 4;
    if (n_rows == 1) {
        UNROLL
        for (int i = 0; i < 4; i++)
            v_fetch_near(*cursor->near + i * SA_LINE_BYTES, cursor->near_at);
        cursor->near_at += FETCH_BYTES;
        if (cursor->near_at < cursor->near_bytes)
            return;
        cursor->near_at = 0;
        cursor->near += cursor->near < cursor->near_last;
        return;
    }
    if (cursor->near_last - cursor->near < n_rows)
        return;
    UNROLL
    for (int i = 0; i < 4; i++)
        v_fetch_near(cursor->near[n_rows == 4 ? i : i / 2], n_rows == 4 ? 0 : i % 2 * SA_LINE_BYTES);
    cursor->near += n_rows;
}

/* A line of each place; of the last row once more if there are no others. */
INLINE void fetch_each(const bool near, struct cursor *cursor) {
    UNROLL
    for (int p = 0; p < SA_FETCH_PLACES; p++)
        v_fetch(cursor->row[cursor->apart[p]], cursor->at);
    cursor->at += SA_LINE_BYTES;
    if (cursor->at >= cursor->bytes) {
        cursor->row += cursor->row < cursor->last;
        cursor->at = 0;
    }
    if (near)
        fetch_near(cursor);
}

/* What is due when from `done` on so many bytes are read: a line for each line. */
INLINE void fetch(const bool near, const int done, const int bytes, struct cursor *cursor) {
    UNROLL
    for (int i = done / FETCH_BYTES; i < (done + bytes) / FETCH_BYTES; i++)
        fetch_each(near, cursor);
}

/* The same of near and far rows, rounded up: a line of each place at least. */
INLINE void fetch_bytes(int bytes, struct cursor *cursor) {
    for (int i = 0; i < bytes; i += FETCH_BYTES)
        fetch_each(true, cursor);
}

INLINE void near_rows(const char *const *row, int n, struct cursor *cursor) {
    cursor->near = row;
    cursor->near_last = row + n - 1;
    cursor->near_at = 0;
}

/* Where a place's list goes on elsewhere in memory, each first access waits for the address to be translated, and what
 * comes behind waits with it: a line is fetched some turns before the others. */
INLINE void scout(const struct sa_pointed *rows, int p, int at) {
    enum { TURNS = 4 };
    const int left = rows->n - at;
    if (rows->goes_on && left <= TURNS * rows->turn && left > (TURNS - 1) * rows->turn)
        v_fetch(rows->row[p * rows->apart + rows->n], 0);
}

/* Place p's rows j .. j + n - 1 are read, of a turn that began at row `at`: near are at most n of those that come next,
 * of the same place, of the next one, or of the next turn; after the last ones the first. */
INLINE void set_near(const struct sa_pointed *rows, int p, int at, int j, int n, struct cursor *cursor) {
    const int end = at + rows->turn < rows->n ? at + rows->turn : rows->n;
    if (j == at)
        scout(rows, p, at);
    if (j + n < end)
        near_rows(rows->row + p * rows->apart + j + n, end - j - n < n ? end - j - n : n, cursor);
    else if (p + 1 < rows->places)
        near_rows(rows->row + (p + 1) * rows->apart + at, n, cursor);
    else if (end < rows->n)
        near_rows(rows->row + end, rows->n - end < n ? rows->n - end : n, cursor);
    else
        near_rows(rows->row, n, cursor);
}

#endif
