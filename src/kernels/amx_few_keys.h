/* SPDX-License-Identifier: MIT */
/* Scores of few rows by AMX, from keys of bf16 in place. Included by amx_bf16.c. */
#ifndef SA_AMX_FEW_KEYS_H
#define SA_AMX_FEW_KEYS_H

/* The queries of a place: lanes from the first one's on, as many as there are. */
static void copy_queries(const float *qt, int n_lanes, int d, square *to) {
    const __mmask16 lanes = first_words(n_lanes);
    for (int step = 0; step * SIDE < d; step++)
        copy_square(qt + step * SIDE * W, W, d - step * SIDE, lanes, to[step]);
}

/* Sixteen keys, evenly apart. */
static void score_few_keys(const char *key, ptrdiff_t stride, int d, square *queries, square sums,
                           struct cursor *cursor) {
    _Alignas(64) square copy;
    _tile_zero(0);
    for (int step = 0; step < d / SIDE; step++) {
        load(LEFT, key + step * ROW_BYTES, stride);
        load(RIGHT, queries[step], ROW_BYTES);
        _tile_dpbf16ps(0, LEFT, RIGHT);
        fetch_bytes(SIDE * ROW_BYTES, cursor);
    }
    fetch_bytes(SIDE * (d % SIDE) * WORD, cursor);
    if (d % SIDE) {
        const __mmask16 words = first_words(d % SIDE);
        for (int i = 0; i < SIDE; i++)
            v_store(copy[i], load_words(words, (const float *)(const void *)(key + i * stride) + d / SIDE * SIDE));
        load(LEFT, copy, ROW_BYTES);
        load(RIGHT, queries[d / SIDE], ROW_BYTES);
        _tile_dpbf16ps(0, LEFT, RIGHT);
    }
    store(0, sums, ROW_BYTES);
}

/* Scores that have yet to be written: to[r][0 .. 15]. */
struct few_scored {
    float *to; /* NULL: there are none */
    const float *factor;
    _Alignas(64) square sums;
};

static void write_scored(struct few_scored *scored, int n_rows) {
    for (int r = 0; r < n_rows && scored->to; r++)
        for (int x = 0; x < SIDE; x++)
            scored->to[r * SA_FEW_STRIDE + x] = scored->sums[x][r] * scored->factor[r];
    scored->to = NULL;
}

/* Scores are written when the next keys are under way. */
static void amx_few_scores(const float *qt, int n_rows, struct sa_pointed k, float *s) {
    _Alignas(64) square queries[MOST_STEPS];
    struct few_scored scored[2] = {{.to = NULL}, {.to = NULL}};
    struct cursor cursor = cursor_of(&k);
    int now = 0;
    amx_enter();
    const unsigned mode = v_begin_flushing(); /* of scores */
    for (int at = 0; at < k.n; at += k.turn) {
        const int n = k.n - at < k.turn ? k.n - at : k.turn;
        for (int i = 0; i < k.places; i++) {
            const float *own = qt + i * k.q_rows;
            if (at + i == 0 || k.q_rows)
                copy_queries(own, n_rows, k.d, queries);
            for (int j = at; j < at + n; j += SIDE, now = !now) {
                set_near(&k, i, at, j, SIDE, &cursor);
                score_few_keys(k.row[i * k.apart + j], k.stride, k.d, queries, scored[now].sums, &cursor);
                scored[now].to = s + i * SA_FEW_ROWS * SA_FEW_STRIDE + j;
                scored[now].factor = factors_of(own, k.d);
                write_scored(&scored[!now], n_rows);
            }
        }
    }
    write_scored(&scored[!now], n_rows);
    v_end_flushing(mode);
}

#endif
