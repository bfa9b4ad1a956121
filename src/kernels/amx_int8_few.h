/* SPDX-License-Identifier: MIT */
/* Few rows and int8 by AMX; included by amx_int8.c. What is multiplied is put together while what was before is. */
#ifndef SA_AMX_INT8_FEW_H
#define SA_AMX_INT8_FEW_H

/* ---------------------------------------------------------------- scores */

/* Column k step + r of two registers: digit k of row r. Rows of a digit stand in one of them. */
enum { FEW_TILES = 2 };

INLINE int few_step(int n_rows) { return DIGITS * n_rows <= SIDE ? n_rows : SA_FEW_ROWS; }

static void copy_queries(const float *qt, int n_rows, int d, words (*to)[FEW_TILES]) {
    const int n_words = digit_words(d), step = few_step(n_rows);
    const __mmask16 rows = first_words(n_rows);
    for (int k = 0; k < DIGITS; k++)
        for (int c = 0; c < n_words; c++) {
            int32_t *row = to[c / SIDE][k * step / SIDE][c % SIDE] + k * step % SIDE;
            _mm512_mask_storeu_epi32(row, rows, v_bits(load_words(rows, qt + (k * n_words + c) * W)));
        }
}

/* Sixteen keys from dimension c on, of which there may be fewer than 64. */
INLINE void load_few_keys(const char *key, ptrdiff_t stride, int d, int c) {
    _Alignas(64) square copy;
    const char *row[SIDE];
    if (c + ROW_BYTES <= d) {
        load(LEFT, key + c, stride);
        return;
    }
    for (int i = 0; i < SIDE; i++)
        row[i] = key + i * stride;
    copy_bytes(row, SIDE, c, d - c, copy);
    load(LEFT, copy, ROW_BYTES);
}

/* Scores that have yet to be written, of 32 keys: to[r][0 .. 31]. */
struct few_scored {
    float *to; /* NULL: there are none */
    const float *factor;
    _Alignas(64) words sums[2][FEW_TILES];
};

/* Two times sixteen keys, evenly apart each; what stands in `queries` behind the last word meets zeros. */
static void score_few_keys(const char *const *row, ptrdiff_t stride, int d, words (*queries)[FEW_TILES], bool both,
                           struct few_scored *scored, struct cursor *cursor) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int c = 0; c < d; c += ROW_BYTES) {
        words *right = queries[c / ROW_BYTES];
        load(RIGHT, right[0], ROW_BYTES);
        if (both)
            load(RIGHT_2, right[1], ROW_BYTES);
#define MULTIPLY(i, j, at)                                                                                             \
    load_few_keys(row[at], stride, d, c);                                                                              \
    _tile_dpbssd(i, LEFT, RIGHT);                                                                                      \
    if (both)                                                                                                          \
        _tile_dpbssd(j, LEFT, RIGHT_2);
        MULTIPLY(0, 1, 0)
        fetch_bytes(SIDE / 2 * smaller(d - c, ROW_BYTES), cursor);
        MULTIPLY(2, 3, SIDE)
#undef MULTIPLY
        fetch_bytes(SIDE / 2 * smaller(d - c, ROW_BYTES), cursor);
    }
    store(0, scored->sums[0][0], ROW_BYTES);
    store(2, scored->sums[1][0], ROW_BYTES);
    if (!both)
        return;
    store(1, scored->sums[0][1], ROW_BYTES);
    store(3, scored->sums[1][1], ROW_BYTES);
}

/* Sixteen keys. */
static void write_sixteen(words *sums, int n_rows, const float *factor, float *to) {
    vf column[FEW_TILES * SIDE];
    const char *rows[SIDE];
    const int step = few_step(n_rows);
    for (int at = 0; at < 2 * step + n_rows; at += 4) {
        for (int i = 0; i < SIDE; i++)
            rows[i] = (const char *)sums[at / SIDE][i];
        UNROLL
        for (int i = 0; i < 4; i++)
            column[at + i] = v_of_quarters(rows + i, at % SIDE * WORD);
        v_turn(column + at);
    }
    for (int r = 0; r < n_rows; r++) {
        const vf sum = v_joined(v_bits(column[r]), v_bits(column[step + r]), v_bits(column[2 * step + r]));
        v_store_any(to + r * SA_FEW_STRIDE, sum * v_set1(factor[r]));
    }
}

/* The other half of what is due while 32 keys are read is fetched meanwhile. */
static void write_scored(struct few_scored *scored, int n_rows, int d, struct cursor *cursor) {
    for (int i = 0; i < 2; i++) {
        fetch_bytes(SIDE / 2 * d, cursor);
        if (scored->to)
            write_sixteen(scored->sums[i], n_rows, scored->factor, scored->to + i * SIDE);
    }
    scored->to = NULL;
}

/* Scores are written when the next keys are under way. */
static void amx_few_scores(const float *qt, int n_rows, struct sa_pointed k, float *s) {
    _Alignas(64) words queries[MOST_STEPS][FEW_TILES];
    struct few_scored scored[2];
    struct cursor cursor = cursor_of(&k);
    int now = 0;
    scored[0].to = scored[1].to = NULL;
    memset(queries, 0, (size_t)((k.d + ROW_BYTES - 1) / ROW_BYTES) * sizeof *queries);
    amx_enter();
    for (int at = 0; at < k.n; at += k.turn) {
        const int n = k.n - at < k.turn ? k.n - at : k.turn;
        for (int i = 0; i < k.places; i++) {
            const float *own = qt + i * k.q_rows;
            if (at + i == 0 || k.q_rows)
                copy_queries(own, n_rows, k.d, queries);
            for (int j = at; j < at + n; j += 2 * SIDE, now = !now) {
                set_near(&k, i, at, j, 2 * SIDE, &cursor);
                score_few_keys(k.row + i * k.apart + j, k.stride, k.d, queries, DIGITS * n_rows > SIDE, &scored[now],
                               &cursor);
                scored[now].to = s + i * SA_FEW_ROWS * SA_FEW_STRIDE + j;
                scored[now].factor = own + DIGITS * digit_words(k.d) * W;
                write_scored(&scored[!now], n_rows, k.d, &cursor);
            }
        }
    }
    write_scored(&scored[!now], n_rows, 0, &cursor);
}

/* ---------------------------------------------------------------- values */

static void amx_few_level(int n_rows, int n_keys, float *s, float *units) {
    for (int r = 0; r < n_rows; r++, s += SA_FEW_STRIDE) {
        vf largest = v_set1(0.0f);
        for (int j = 0; j < n_keys; j += LANES)
            largest = v_max_abs(v_load(s + j), largest);
        const vf most = largest_of(largest), lift = lift_of(most);
        const struct unit unit = unit_of(most * lift, 30, 0);
        for (int j = 0; j < n_keys; j += LANES)
            v_store(s + j, v_load(s + j) * lift * unit.up);
        units[r] = first_lane(unit.down);
        units[SA_FEW_ROWS + r] = 1.0f / first_lane(lift);
    }
}

/* Four digits a row fill a register with four rows; the others have a second one. */
enum { FEW_FIRST = SIDE / WEIGHT_DIGITS };
#define FEW_LEFT   4
#define FEW_LEFT_2 5
#define FEW_RIGHT  6

/* Sums are those of four squares, or 0 and 1 those of the first rows of two, 2 and 3 those of the others. */
static void enter_few(int n_rows) {
    struct shapes shapes = all_square;
    const int first = smaller(n_rows, FEW_FIRST), others = n_rows > first ? n_rows - first : first;
    shapes.rows[0] = shapes.rows[1] = shapes.rows[FEW_LEFT] = (uint8_t)(WEIGHT_DIGITS * first);
    shapes.rows[2] = shapes.rows[3] = shapes.rows[FEW_LEFT_2] = (uint8_t)(WEIGHT_DIGITS * others);
    keep_memory(&shapes); /* gcc 12 takes it for eight bytes */
    _tile_loadconfig(&shapes);
}

typedef char few_digits[SA_FEW_ROWS][WEIGHT_DIGITS][ROW_BYTES];

/* Of 64 weights of each row. */
static void write_few_digits(const float *p, int n_rows, few_digits to) {
    for (int r = 0; r < n_rows; r++, p += SA_FEW_STRIDE)
        for (int j = 0; j < ROW_BYTES; j += LANES) {
            vi y = _mm512_add_epi32(_mm512_cvtps_epi32(v_load_any(p + j)), v_set1_i(AT_0));
            y = _mm512_xor_si512(y, v_set1_i(AT_0));
            UNROLL
            for (int k = 0; k < WEIGHT_DIGITS; k++, y = _mm512_srli_epi32(y, 8))
                _mm_store_si128((__m128i *)(void *)(to[r][k] + j), _mm512_cvtepi32_epi8(y));
        }
}

/* Up to 64 keys of a place, 64 dimensions from c on. */
struct few_woven {
    int n_squares; /* 0: nothing is woven */
    few_digits *digits;
    int32_t *sums;
    _Alignas(64) words squares[4];
};

#define ADD(i, left, square, sums)                                                                                     \
    load(i, sums, row_bytes);                                                                                          \
    load(FEW_RIGHT, square, ROW_BYTES);                                                                                \
    _tile_dpbssd(i, left, FEW_RIGHT);

/* Square i of what is woven, for more rows than a register has. */
static void add_both(const struct few_woven *woven, int i, ptrdiff_t width) {
    const ptrdiff_t row_bytes = width * WORD;
    int32_t *sums = woven->sums + i * SIDE, *others = sums + FEW_FIRST * WEIGHT_DIGITS * width;
    ADD(0, FEW_LEFT, woven->squares[i], sums)
    ADD(2, FEW_LEFT_2, woven->squares[i], others)
    store(0, sums, row_bytes);
    store(2, others, row_bytes);
}

/* What some keys and dimensions of a place are. */
struct few_run {
    const char *const *row;
    int n, d, c;
};

/* Sixteen of the 64 rows, with a line of each place fetched for every four. */
INLINE void weave_some(const struct few_run *run, int i, struct few_woven *woven, struct cursor *cursor) {
    const __mmask64 bytes = first_bytes(run->d - run->c);
    for (int j = 4 * i; j < 4 * i + 4; j++) {
        weave_row(run->row, run->n, j, run->c, bytes, woven->squares);
        if (4 * j < run->n)
            fetch_each(true, cursor);
    }
}

/* A quarter of the run is woven for each square that is multiplied of what was woven before. What that adds is stored
 * when the next one is under way: it is not ready sooner. Sums stand `width` words apart. */
static void weave_and_multiply(const struct few_run *run, struct few_woven *woven, struct few_woven *before, int n_rows,
                               ptrdiff_t width, struct cursor *cursor) {
    const bool few = n_rows <= FEW_FIRST;
    const ptrdiff_t row_bytes = width * WORD;
    const int n = before->n_squares;
    if (n > 0)
        load(FEW_LEFT, (*before->digits)[0][0], ROW_BYTES);
    if (n > 0 && !few)
        load(FEW_LEFT_2, (*before->digits)[FEW_FIRST][0], ROW_BYTES);
#define QUARTER(i)                                                                                                     \
    if (run)                                                                                                           \
        weave_some(run, i, woven, cursor);                                                                             \
    if (i < n && few) {                                                                                                \
        ADD(i, FEW_LEFT, before->squares[i], before->sums + SIDE * (i))                                                \
    } else if (i < n)                                                                                                  \
        add_both(before, i, width);
#define STORE(i)                                                                                                       \
    if (i < n && few)                                                                                                  \
        store(i, before->sums + SIDE * (i), row_bytes);
    QUARTER(0)
    QUARTER(1)
    STORE(0)
    QUARTER(2)
    STORE(1)
    QUARTER(3)
    STORE(2)
    STORE(3)
#undef QUARTER
#undef STORE
    before->n_squares = 0;
}

static void amx_few_values(const float *p, int n_rows, struct sa_pointed v, float *sums) {
    _Alignas(64) few_digits digits[2];
    struct cursor cursor = cursor_of(&v);
    struct few_woven woven[2];
    const int width = sa_bytes_stride(v.d);
    int now = 0, turn = 0;
    woven[0].n_squares = woven[1].n_squares = 0;
    enter_few(n_rows);
    for (int at = 0; at < v.n; at += v.turn) {
        const int end = v.n - at < v.turn ? v.n : at + v.turn;
        for (int i = 0; i < v.places; i++)
            for (int j = at; j < end; j += ROW_BYTES, turn = !turn) {
                struct few_run run = {v.row + i * v.apart + j, smaller(end - j, ROW_BYTES), v.d, 0};
                set_near(&v, i, at, j, run.n, &cursor);
                write_few_digits(p + i * SA_FEW_ROWS * SA_FEW_STRIDE + j, n_rows, digits[turn]);
                for (; run.c < v.d; run.c += ROW_BYTES, now = !now) {
                    weave_and_multiply(&run, &woven[now], &woven[!now], n_rows, width, &cursor);
                    woven[now].digits = &digits[turn];
                    woven[now].sums = (int32_t *)(void *)sums + i * SA_FEW_ROWS * WEIGHT_DIGITS * width + run.c;
                    woven[now].n_squares = smaller((v.d - run.c + 3) / 4, 4);
                }
            }
    }
    weave_and_multiply(NULL, NULL, &woven[!now], n_rows, width, &cursor);
}

/* 64 dimensions of a row, of which word 16 i + r is dimension_of(i, r). */
INLINE void join_dimensions(const int32_t *sums, ptrdiff_t digit, struct units units, float *to) {
    float joined[ROW_BYTES];
    for (int i = 0; i < 4; i++) {
        const vf sum = v_joined_at(sums + i * SIDE, digit) * units.down * units.drop;
        v_store_any(joined + i * SIDE, sum);
    }
    for (int a = 0; a < 4; a++)
        for (int i = 0; i < 4; i++)
            memcpy(to + 16 * a + 4 * i, joined + 16 * i + 4 * a, 4 * sizeof *to);
}

/* A row's floats go where its own words, or those of rows before, are done with. */
static void amx_few_join(int n_rows, int d, const float *units, float *sums) {
    const int digit = sa_bytes_stride(d), width = sa_near_stride(d);
    for (int r = 0; r < n_rows; r++) {
        const struct units own = {v_set1(units[r]), v_set1(units[SA_FEW_ROWS + r])};
        for (int c = 0; c < d; c += ROW_BYTES) {
            float joined[ROW_BYTES];
            join_dimensions((const int32_t *)(const void *)(sums + r * WEIGHT_DIGITS * digit + c), digit, own, joined);
            memcpy(sums + r * width + c, joined, (size_t)smaller(d - c, ROW_BYTES) * sizeof *sums);
        }
    }
}

#endif
