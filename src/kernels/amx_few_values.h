/* SPDX-License-Identifier: MIT */
/* Values of few rows by AMX. Included by amx_dots.h. */
#ifndef SA_AMX_FEW_VALUES_H
#define SA_AMX_FEW_VALUES_H

enum { FEW_SQUARES = 4 }; /* of 16 dimensions, at a time */

/* Registers of so many rows: sums, and weights. */
#define EACH_FEW_SUM(X) X(0, 1) X(1, 2) X(2, 3) X(3, 6)

static void enter_few(int n_rows) {
    struct shapes shapes = all_square;
#define SHAPE(i, sum) shapes.rows[sum] = (uint8_t)n_rows;
    EACH_FEW_SUM(SHAPE)
#undef SHAPE
    shapes.rows[FEW_LEFT] = (uint8_t)n_rows;
    if (PARTS == 2)
        shapes.rows[FEW_LEFT_2] = (uint8_t)n_rows;
    keep_memory(&shapes); /* gcc 12 takes it for eight bytes */
    _tile_loadconfig(&shapes);
}

/* Up to 32 keys of a place, dimensions from c on. */
struct few_woven {
    int n_squares; /* 0: nothing is woven */
    int n;         /* keys */
    const float *p;
    float *sums;
    _Alignas(64) parted squares[FEW_SQUARES];
};

/* Elements of two rows to words. */
INLINE void weave_rows(const char *first, const char *second, parted woven, int i) {
    if (PARTS == 1) {
        v_store(woven[0][i], v_pair_of_rows(first, second));
        return;
    }
    const vf a = v_of_f16(first), b = v_of_f16(second), rest = b - upper_of(b);
    v_store(woven[0][i], join_upper(a, b));
    v_store(woven[SECOND][i], join_upper(a - upper_of(a), rest));
}

/* 16 dimensions from c on of 32 rows, of which there may be fewer. */
INLINE void weave(const char *const *row, int n, int d, int c, parted woven) {
    if (n == 2 * SIDE && c + SIDE <= d) {
        UNROLL
        for (int i = 0; i < SIDE; i++)
            weave_rows(row[2 * i] + 2 * c, row[2 * i + 1] + 2 * c, woven, i);
        return;
    }
    for (int i = 0; i < SIDE; i++)
        put_words(2 * i >= n ? v_set1(0.0f)
                             : dots_rest(row[2 * i] + 2 * c, row[2 * i + 1] + 2 * c, smaller(d - c, SIDE)),
                  woven, i);
}

/* Weights of up to 32 keys, their parts side by side. */
#define LOAD_WEIGHTS(to, p, n_rows, n)                                                                                 \
    do {                                                                                                               \
        _Alignas(64) square copy;                                                                                      \
        if ((n) == 2 * SIDE) {                                                                                         \
            load(to, p, SA_FEW_STRIDE *WORD);                                                                          \
            break;                                                                                                     \
        }                                                                                                              \
        copy_square(p, SA_FEW_STRIDE, n_rows, first_words((n) / 2), copy);                                             \
        load(to, copy, ROW_BYTES);                                                                                     \
    } while (0)

INLINE void load_weights_of(const struct few_woven *woven, int n_rows) {
    LOAD_WEIGHTS(FEW_LEFT, woven->p, n_rows, woven->n);
    if (PARTS == 2)
        LOAD_WEIGHTS(FEW_LEFT_2, woven->p + SIDE, n_rows, woven->n);
}

/* Square i. */
INLINE void multiply_square(struct few_woven *woven, const int i, ptrdiff_t width) {
#define BEGIN(number, sum)                                                                                             \
    if (i == number)                                                                                                   \
        load(sum, woven->sums + i * SIDE, width * WORD);
#define MULTIPLY(of_value, of_weight)                                                                                  \
    {                                                                                                                  \
        enum { weight = of_weight };                                                                                   \
        load(RIGHT, woven->squares[i][of_value], ROW_BYTES);                                                           \
        EACH_FEW_SUM(ADD)                                                                                              \
    }
#define ADD(number, sum)                                                                                               \
    if (i == number && weight == 0)                                                                                    \
        _tile_dpbf16ps(sum, FEW_LEFT, RIGHT);                                                                          \
    else if (i == number)                                                                                              \
        _tile_dpbf16ps(sum, FEW_LEFT_2, RIGHT);
    if (i >= woven->n_squares)
        return;
    EACH_FEW_SUM(BEGIN)
    EACH_VALUE_PRODUCT(MULTIPLY)
#undef BEGIN
#undef MULTIPLY
#undef ADD
}

static void store_woven(struct few_woven *woven, ptrdiff_t width) {
#define STORE(i, sum)                                                                                                  \
    if (i < woven->n_squares)                                                                                          \
        store(sum, woven->sums + i * SIDE, width * WORD);
    EACH_FEW_SUM(STORE)
#undef STORE
    woven->n_squares = 0;
}

static void multiply_woven(struct few_woven *woven, int n_rows, ptrdiff_t width) {
    if (woven->n_squares == 0)
        return;
    load_weights_of(woven, n_rows);
    UNROLL
    for (int i = 0; i < FEW_SQUARES; i++)
        multiply_square(woven, i, width);
    store_woven(woven, width);
}

/* Squares are woven while those before are multiplied. */
static void weave_squares(const char *const *row, int d, int c, struct few_woven *woven, struct few_woven *before,
                          int n_rows, ptrdiff_t width, struct cursor *cursor) {
    woven->n_squares = smaller((d - c + SIDE - 1) / SIDE, FEW_SQUARES);
    if (before->n_squares)
        load_weights_of(before, n_rows);
    UNROLL
    for (int i = 0; i < FEW_SQUARES; i++) {
        if (i < woven->n_squares) {
            weave(row, woven->n, d, c + i * SIDE, woven->squares[i]);
            fetch_bytes(2 * SIDE * SIDE * 2, cursor);
        }
        multiply_square(before, i, width);
    }
    store_woven(before, width);
}

/* What is woven is multiplied when the next rows are woven. */
static void amx_few_values(const float *p, int n_rows, struct sa_pointed v, float *sums) {
    struct cursor cursor = cursor_of(&v);
    struct few_woven woven[2];
    const int width = sa_near_stride(v.d);
    int now = 0;
    woven[0].n_squares = woven[1].n_squares = 0;
    enter_few(n_rows);
    for (int at = 0; at < v.n; at += v.turn) {
        const int end = v.n - at < v.turn ? v.n : at + v.turn;
        for (int i = 0; i < v.places; i++)
            for (int j = at; j < end; j += 2 * SIDE) {
                const int n = smaller(end - j, 2 * SIDE);
                set_near(&v, i, at, j, n, &cursor);
                for (int c = 0; c < v.d; c += FEW_SQUARES * SIDE, now = !now) {
                    woven[now].n = n;
                    woven[now].p = p + i * SA_FEW_ROWS * SA_FEW_STRIDE + j * PARTS / 2;
                    woven[now].sums = sums + i * SA_FEW_ROWS * width + c;
                    weave_squares(v.row + i * v.apart + j, v.d, c, &woven[now], &woven[!now], n_rows, width, &cursor);
                }
            }
    }
    multiply_woven(&woven[!now], n_rows, width);
}

#endif
