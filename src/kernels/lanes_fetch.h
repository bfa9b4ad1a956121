/* SPDX-License-Identifier: MIT */
/* Which lines a register tile fetches. Included by lanes.h and lanes_dots.h. */
#ifndef SA_LANES_FETCH_H
#define SA_LANES_FETCH_H

/* n lines, line i at `at` + i * step. */
struct run {
    const char *at;
    ptrdiff_t step;
    int n;
};

INLINE void move_on(struct sa_ahead *ahead, const struct sa_lines *lines, int n) {
    ahead->left -= n;
    ahead->line += n;
    if (ahead->line < lines->n)
        return;
    ahead->line = 0;
    if (++ahead->column < lines->columns)
        return;
    ahead->column = 0;
    ahead->set++;
}

/* The next n lines, or as many as are left of a column. */
INLINE struct run next_run(struct sa_ahead *ahead, int n) {
    if (ahead->set == ahead->n_sets)
        return (struct run){NULL, 0, 0};
    const struct sa_lines *lines = &ahead->sets[ahead->set];
    const int left = lines->n - ahead->line;
    const struct run run = {lines->data + ahead->column * SA_LINE_BYTES + ahead->line * lines->stride, lines->stride,
                            n < left ? n : left};
    move_on(ahead, lines, run.n);
    return run;
}

INLINE void fetch_run(struct run run) {
    for (int i = 0; i < run.n; i++, run.at += run.step)
        __builtin_prefetch(run.at, 0, 2);
}

/* For a loop of so many turns, each of which fetches a line: n lines that end with the last of a column if there are no
 * more of it. Where a column is shorter than that, one that is near all the time. */
INLINE struct run next_turns(struct sa_ahead *ahead, int n, const void *near) {
    if (ahead->set == ahead->n_sets || ahead->sets[ahead->set].n < n)
        return (struct run){near, 0, n};
    const struct sa_lines *lines = &ahead->sets[ahead->set];
    const int left = lines->n - ahead->line, again = n > left ? n - left : 0;
    const char *at = lines->data + ahead->column * SA_LINE_BYTES + (ahead->line - again) * lines->stride;
    move_on(ahead, lines, n - again);
    return (struct run){at, lines->stride, n};
}

#endif
