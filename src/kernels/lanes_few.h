/* SPDX-License-Identifier: MIT */
/* Tiles of few rows, as in decoding: each row of k and v serves so few queries that reading it is what costs. So the
 * keys stand in the lanes for the scores, the dimensions for the values, and rows are read in the order of memory while
 * the next ones are fetched. The bits are those of the other kernels. Included by lanes.h; values in
 * lanes_few_values.h. */
#ifndef SA_LANES_FEW_H
#define SA_LANES_FEW_H

enum {
    FEW_STRIDE = SA_FEW_STRIDE,
    FEW_SUMS = PASS_GROUPS > 1 ? 16 : 8, /* accumulators, half of the registers */
    FEW_UNITS = 4,                       /* most vectors of keys side by side */
    FEW_TURNED = 32 * LANES              /* bytes of the keys of a unit, a step */
};

/* X(name, type, n) for every type and number of rows; other numbers take the next larger one. Where there are no
 * vector instructions worth the name, few functions: it is the compiler's time. */
#ifdef FEW_SIZES_1_8
#define EACH_FEW_SIZE(X, name, type) X(name, type, 1) X(name, type, 8)
#else
#define EACH_FEW_SIZE(X, name, type) X(name, type, 1) X(name, type, 2) X(name, type, 4) X(name, type, 8)
#endif
#define EACH_FEW(X)                                                                                                    \
    EACH_FEW_SIZE(X, f32, SA_F32)                                                                                      \
    EACH_FEW_SIZE(X, bf16, SA_BF16) EACH_FEW_SIZE(X, f16, SA_F16) EACH_FEW_SIZE(X, i8, SA_I8)
#define FEW_CASE(type, n) ((type)*16 + (n))

INLINE int few_size(int n_rows) {
#ifdef FEW_SIZES_1_8
    return n_rows > 1 ? 8 : 1;
#else
    return n_rows > 4 ? 8 : n_rows > 2 ? 4 : n_rows;
#endif
}

/* ---------------------------------------------------------------- fetching */

/* Where fetching has come to. */
struct cursor {
    const char *const *row, *const *end; /* of the first place */
    ptrdiff_t apart, at, bytes;          /* at: in the row */
    int side;                            /* which two of four places are next, where fewer are fetched at a time */
};

INLINE struct cursor cursor_of(struct sa_fetched rows) {
    return (struct cursor){rows.row, rows.row + rows.n, rows.apart, 0, rows.bytes, 0};
}

INLINE void next_column(struct cursor *cursor) {
    cursor->at += SA_LINE_BYTES;
    if (cursor->at >= cursor->bytes) {
        cursor->row++;
        cursor->at = 0;
    }
}

INLINE void fetch_in_turns(const int n, struct cursor *cursor) {
    const char *const *row = cursor->row + cursor->side * cursor->apart;
    UNROLL
    for (int p = 0; p < n; p++)
        __builtin_prefetch(row[p * cursor->apart] + cursor->at, 0, 2);
    cursor->side = (cursor->side + n) % SA_FETCH_PLACES;
    if (!cursor->side)
        next_column(cursor);
}

/* n lines, as long as there are any. */
INLINE void fetch_lines(const bool in_turns, const int n, struct cursor *cursor) {
    const int step = in_turns ? SA_FETCH_PLACES : 1;
    UNROLL
    for (int i = 0; i < n; i += step)
        if (cursor->row >= cursor->end)
            return;
        else if (in_turns)
            fetch_in_turns(n - i < SA_FETCH_PLACES ? 2 : SA_FETCH_PLACES, cursor);
        else {
            __builtin_prefetch(*cursor->row + cursor->at, 0, 2);
            next_column(cursor);
        }
}

/* Rows of the run in the order of memory, a register tile ahead, into the first-level cache: a tile reads some bytes of
 * each of its rows in turn, and what it misses so the processor fetches slowly, and nothing beside it. */
struct near {
    const char *const *row, *const *end;
    ptrdiff_t bytes;
    int d, due; /* row elements that the rows fetched lag behind */
};

INLINE struct near near_of(const struct sa_pointed *rows, int from) {
    const int n = rows->n + rows->n_next;
    return (struct near){rows->row + (from < n ? from : n), rows->row + n, (ptrdiff_t)rows->d * type_bytes(rows->type),
                         rows->d, 0};
}

/* As many as have n elements. */
INLINE void fetch_near(const int n, struct near *near) {
    near->due += n;
    for (; near->due >= near->d; near->due -= near->d) {
        if (near->row == near->end)
            return;
        for (ptrdiff_t at = 0; at < near->bytes; at += SA_LINE_BYTES)
            __builtin_prefetch(*near->row + at, 0, 3);
        near->row++;
    }
}

/* ---------------------------------------------------------------- scores */

/* A dimension of LANES keys. */
INLINE void few_score_add(const int n_rows, const float *qt, vf x, vf *sum) {
    UNROLL
    for (int r = 0; r < n_rows; r++)
        sum[r] = v_fma_few(v_set1(qt[r]), x, sum[r]);
}

/* Dimensions that a step takes. */
INLINE int few_step(const int type) { return type == SA_F32 ? 4 : 32 / type_bytes(type); }

/* Those of the keys of a unit, turned, so that each dimension of all of them stands together. */
INLINE void few_turn(const int type, const char *const *row, ptrdiff_t at, char *turned) {
    vf word[4];
    if (type == SA_I8)
        v_turn_bytes(row, at, turned);
    else if (type != SA_F32)
        v_turn_halves(row, at, turned);
    else {
        UNROLL
        for (int i = 0; i < 4; i++)
            word[i] = v_of_quarters(row + i, at);
        v_turn(word);
        UNROLL
        for (int i = 0; i < 4; i++)
            v_store((float *)(void *)turned + i * LANES, word[i]);
    }
}

/* Where dimension c went. */
INLINE const char *few_turned(const int type, const char *turned, int c) {
    const int number = type == SA_F32 ? c : type == SA_I8 ? (c % 16 / 2 * 2 + c / 16) * 2 + c % 2 : c % 8 * 2 + c / 8;
    return turned + number * LANES * type_bytes(type);
}

/* Turned keys go through memory: the registers are for the sums. */
INLINE void few_turn_all(const int type, const int n_units, const char *const *row, ptrdiff_t at, char *turned) {
    UNROLL
    for (int u = 0; u < n_units; u++)
        few_turn(type, row + u * LANES, at, turned + u * FEW_TURNED);
    keep_memory(turned);
}

/* Dimension c of those turned, for all keys, so that enough sums are under way. */
INLINE void few_score_dimension(const int type, const int n_rows, const int n_units, const char *turned, int c,
                                const float *qt, vf *sum) {
    UNROLL
    for (int u = 0; u < n_units; u++)
        few_score_add(n_rows, qt + c * W, v_of(type, few_turned(type, turned + u * FEW_TURNED, c)), sum + u * n_rows);
}

INLINE void few_score_step(const int type, const int n_rows, const int n_units, const char *const *row, ptrdiff_t at,
                           const float *qt, char *turned, vf *sum) {
    few_turn_all(type, n_units, row, at, turned);
    UNROLL_32
    for (int c = 0; c < few_step(type); c++)
        few_score_dimension(type, n_rows, n_units, turned, c, qt, sum);
}

/* A dimension of rows that are shorter than a step. */
INLINE void few_score_one(const int type, const int n_rows, const char *const *row, ptrdiff_t at, const float *qt,
                          vf *sum) {
    _Alignas(64) float x[LANES];
    for (int i = 0; i < LANES; i++)
        x[i] = one_of(type, row[i] + at);
    few_score_add(n_rows, qt, v_load(x), sum);
}

/* Dimensions from c on that are part of no whole step: those of the last step that fits. */
INLINE void few_score_rest(const int type, const int n_rows, const int n_units, const char *const *row, int c, int d,
                           const float *qt, char *turned, vf *sum) {
    const int bytes = type_bytes(type), from = d - few_step(type);
    if (c < d && from >= 0) {
        few_turn_all(type, n_units, row, from * bytes, turned);
        ROLLED
        for (; c < d; c++)
            few_score_dimension(type, n_rows, n_units, turned, c - from, qt + from * W, sum);
    }
    ROLLED
    for (; c < d; c++)
        UNROLL
    for (int u = 0; u < n_units; u++)
        few_score_one(type, n_rows, row + u * LANES, c * bytes, qt + c * W, sum + u * n_rows);
}

/* Register tile: n_units vectors of keys. */
INLINE void few_score_tile(const int type, const int n_rows, const int n_units, const float *qt, const char *const *row,
                           int d, float *s, struct near *near, struct cursor *cursor) {
    const int bytes = type_bytes(type), step = few_step(type), n_lines = n_units * LANES * step * bytes / SA_LINE_BYTES;
    _Alignas(64) char turned[FEW_UNITS * FEW_TURNED];
    vf sum[FEW_SUMS];
    UNROLL
    for (int i = 0; i < n_units * n_rows; i++)
        sum[i] = v_set1(0.0f);
    int c = 0;
    for (; c + step <= d; c += step) {
        if (sa_few_reads(bytes, n_rows))
            fetch_near(n_units * LANES * step, near);
        fetch_lines(sa_few_reads(bytes, n_rows), n_lines, cursor);
        few_score_step(type, n_rows, n_units, row, c * bytes, qt + c * W, turned, sum);
    }
    few_score_rest(type, n_rows, n_units, row, c, d, qt, turned, sum);
    UNROLL
    for (int i = 0; i < n_units * n_rows; i++)
        v_store(s + i % n_rows * FEW_STRIDE + i / n_rows * LANES, sum[i]);
}

/* Where the run ends within a tile, its last row stands in for those that lack. */
INLINE void few_score_run(const int type, const int n_rows, const float *qt, struct sa_pointed k, float *s) {
    const int most = type == SA_F32 ? 2 : FEW_UNITS;
    const int n_units = FEW_SUMS / n_rows < most ? FEW_SUMS / n_rows : most, step = n_units * LANES;
    struct cursor cursor = cursor_of(k.ahead);
    struct near near = near_of(&k, step);
    const char *last[FEW_UNITS * LANES];
    for (int j = 0; j < k.n; j += step) {
        const char *const *row = k.row + j;
        if (j + step > k.n) {
            for (int i = 0; i < step; i++)
                last[i] = k.row[j + i < k.n ? j + i : k.n - 1];
            row = last;
        }
        few_score_tile(type, n_rows, n_units, qt, row, k.d, s + j, &near, &cursor);
    }
}

#define SCORE_FEW(name, type, n)                                                                                       \
    static void few_scores_##name##x##n(const float *qt, struct sa_pointed k, float *s) {                              \
        few_score_run(type, n, qt, k, s);                                                                              \
    }
EACH_FEW(SCORE_FEW)
#undef SCORE_FEW

static void lanes_few_scores(const float *qt, int n_rows, struct sa_pointed k, float *s) {
#define SCORE_FEW(name, type, n)                                                                                       \
    case FEW_CASE(type, n): few_scores_##name##x##n(qt, k, s); break;
    switch (FEW_CASE(k.type, few_size(n_rows))) { EACH_FEW(SCORE_FEW) }
#undef SCORE_FEW
}

static void lanes_few_scale(int n_rows, int n_keys, const float *scale, float *s) {
    for (int r = 0; r < n_rows; r++, s += FEW_STRIDE)
        for (int j = 0; j < n_keys; j += LANES)
            v_store(s + j, v_load(s + j) * v_load(scale + j));
}

/* ---------------------------------------------------------------- weights */

INLINE float few_maximum(int n_keys, const float *s) {
    _Alignas(64) float each[LANES];
    vf max = v_load(s);
    for (int j = LANES; j < n_keys; j += LANES)
        max = v_max(v_load(s + j), max);
    v_store(each, max);
    for (int i = 1; i < LANES; i++)
        each[0] = each[i] > each[0] ? each[i] : each[0];
    return each[0];
}

/* The tree of kernels.h with its keys side by side. */
INLINE float few_sum16(const float *p) {
    strip a, b;
    memcpy(&a, p, sizeof a);
    memcpy(&b, p + STRIP_ROWS, sizeof b);
    a = a + b;
    const half t4 = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
    return (t4[0] + t4[2]) + (t4[1] + t4[3]);
}

INLINE float few_weights_row(int n_keys, float *s, float shift) {
    enum { AT_ONCE = SA_SUM_KEYS / LANES };
    const vf m = v_set1(shift);
    float sum = 0.0f;
    for (int j = 0; j < n_keys; j += SA_SUM_KEYS) {
        vf p[AT_ONCE];
        UNROLL
        for (int i = 0; i < AT_ONCE; i++)
            p[i] = v_load(s + j + i * LANES) - m;
        exp2_each(AT_ONCE, p);
        UNROLL
        for (int i = 0; i < AT_ONCE; i++)
            v_store(s + j + i * LANES, p[i]);
        sum = sum + few_sum16(s + j);
    }
    return sum;
}

/* Rows of the group that the tile does not have keep what they have. */
static void lanes_few_weights(int n_rows, int n_keys, float *s, float *m, float *l, float *alpha) {
    _Alignas(64) float mb[SA_GROUP_ROWS], shift[SA_GROUP_ROWS], sum[SA_GROUP_ROWS];
    for (int r = 0; r < SA_GROUP_ROWS; r++) {
        mb[r] = r < n_rows ? few_maximum(n_keys, s + r * FEW_STRIDE) : -INFINITY;
        sum[r] = 0.0f;
    }
    for (int lane = 0; lane < SA_GROUP_ROWS; lane += LANES) {
        vf m_new = v_max(v_load(m + lane), v_load(mb + lane)), to = finite_max(m_new);
        v_store(shift + lane, to);
        v_store(alpha + lane, exp2_nonpositive(v_load(m + lane) - to));
        v_store(m + lane, m_new);
    }
    for (int r = 0; r < n_rows; r++)
        sum[r] = few_weights_row(n_keys, s + r * FEW_STRIDE, shift[r]);
    for (int lane = 0; lane < SA_GROUP_ROWS; lane += LANES)
        v_store(l + lane, v_fma_few(v_load(l + lane), v_load(alpha + lane), v_load(sum + lane)));
}

#endif
