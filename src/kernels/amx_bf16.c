/* SPDX-License-Identifier: MIT */
/*
 * Products of pairs of bf16 by AMX: registers of 16 rows of 16 words, and an instruction that adds, to each word of
 * one, the products of a row of pairs of a second and a column of pairs of a third. The arrays are those of the other
 * dots; see sa_dots in kernels.h for what is added up first. The instruction takes as many cycles as its first operand
 * has rows, 1/16 of what as many multiply-adds of 512 bits take, so everything around it counts: what it reads is in
 * place wherever it can be, and is put together while it works.
 *
 *     scores            sum: 16 keys x 16 queries      left: keys, in place       right: qt, in place
 *     values            16 dimensions x 16 queries     v, turned (see below)      weights, in place
 *     few rows, scores  16 keys x 16 queries           keys, in place             a copy of qt
 *     few rows, values  1 .. 8 queries x 16 dimensions weights, in place          v, woven
 *
 * What is stored, from registers or to be loaded into them, takes a while to get there: others are worked on meanwhile.
 */
#include "kernels/kernels.h"

#include <sa/sa.h>

#include "kernels/vec_avx512_bf16.h"

#include "kernels/lanes_base.h"

#include "kernels/lanes_fetch.h"
#include "kernels/lanes_pairs.h"
#include "kernels/lanes_types.h"

/* After what they are made of. */
#include "kernels/amx.h"
#include "kernels/lanes_cursor.h"
#include "kernels/lanes_sees.h"

enum { MOST_STEPS = (SA_MAX_D / 2 + SIDE - 1) / SIDE }; /* registers side by side in a row of k */

/* Names of registers, which are parts of instructions. Besides four sums: of many rows, of few. */
#define LEFT        4
#define RIGHT       5
#define LEFT_2      6
#define RIGHT_2     7
#define FEW_LEFT    7
#define EACH_SUM(X) X(0) X(1) X(2) X(3)

/* ---------------------------------------------------------------- sums of several groups */

static void clear_sums(int n_groups) {
#define CLEAR(i)                                                                                                       \
    if (i < n_groups)                                                                                                  \
        _tile_zero(i);
    EACH_SUM(CLEAR)
#undef CLEAR
}

/* Each group's sums += left times its right: from one to the next `apart` floats, from a row to the next `stride`. */
INLINE void multiply(int n_groups, const float *right, ptrdiff_t apart, ptrdiff_t stride) {
#define MULTIPLY(i)                                                                                                    \
    if (i < n_groups) {                                                                                                \
        load(RIGHT, right + i * apart, stride * WORD);                                                                 \
        _tile_dpbf16ps(i, LEFT, RIGHT);                                                                                \
    }
    EACH_SUM(MULTIPLY)
#undef MULTIPLY
}

static void store_sums(int n_groups, square *to) {
#define STORE(i)                                                                                                       \
    if (i < n_groups)                                                                                                  \
        store(i, to[i], ROW_BYTES);
    EACH_SUM(STORE)
#undef STORE
}

/* ---------------------------------------------------------------- scores */

enum { LINES_OF_KEYS = 32 }; /* fetched while 16 keys are scored, at most */

/* What does not fill a register is multiplied as copies, with zeros around: words of rows, and rows of keys. */
struct score_job {
    const float *qt;
    int n_groups, steps, rest; /* rest: words */
    _Alignas(64) square qt_rest[SA_TILE_GROUPS];
};

static void open_job(struct score_job *job, const float *qt, int n_groups, int d) {
    job->qt = qt;
    job->n_groups = n_groups;
    job->steps = d / SIDE;
    job->rest = d % SIDE;
    for (int g = 0; g < n_groups && job->rest; g++)
        copy_square(qt + job->steps * SIDE * W + g * SIDE, W, job->rest, 0xffff, job->qt_rest[g]);
}

/* Sixteen keys, or n and zeros. */
static void score_keys(const struct score_job *job, const float *key, ptrdiff_t stride, int n, square *sums) {
    _Alignas(64) square copy;
    clear_sums(job->n_groups);
    for (int step = 0; step < job->steps; step++, key += SIDE) {
        if (n == SIDE)
            load(LEFT, key, stride * WORD);
        else {
            copy_square(key, stride, n, 0xffff, copy);
            load(LEFT, copy, ROW_BYTES);
        }
        multiply(job->n_groups, job->qt + step * SIDE * W, SIDE, W);
    }
    if (job->rest) {
        copy_square(key, stride, n, first_words(job->rest), copy);
        load(LEFT, copy, ROW_BYTES);
        multiply(job->n_groups, job->qt_rest[0][0], SIDE * SIDE, SIDE);
    }
    store_sums(job->n_groups, sums);
}

/* Scaled, and the largest. */
INLINE void finish_scores(square sums, int n, vf factor, float *s, const int step, float *mb) {
    vf best = v_load(mb);
    for (int j = 0; j < n; j++) {
        const vf score = v_load(sums[j]) * factor;
        v_store(s + j * step, score);
        best = v_max(best, score);
    }
    v_store(mb, best);
}

/* While the registers work on sixteen keys, the ones before are finished. */
static void amx_scores(const float *qt, int g0, int g1, struct sa_rows k, float *s, float *mb, struct sa_ahead *ahead) {
    struct score_job job;
    _Alignas(64) square sums[2][SA_TILE_GROUPS];
    open_job(&job, qt + g0 * SIDE, g1 - g0, k.d);
    for (int j = 0; j < k.n + SIDE; j += SIDE) {
        if (j < k.n) {
            score_keys(&job, k.data + j * k.stride, k.stride, k.n - j < SIDE ? k.n - j : SIDE, sums[j / SIDE % 2]);
            fetch_run(next_run(ahead, LINES_OF_KEYS));
        }
        const int done = j - SIDE, n = k.n - done < SIDE ? k.n - done : SIDE;
        for (int g = g0; g < g1 && done >= 0; g++)
            finish_scores(sums[done / SIDE % 2][g - g0], n, v_load(qt + k.d * W + g * SIDE), s + done * W + g * SIDE, W,
                          mb + g * SIDE);
    }
}

/* ---------------------------------------------------------------- values
 * Two times 16 dimensions of two groups at a time, for the pairs of a block 16 by 16. v is a list of rows: 16
 * dimensions of 32 keys become 16 rows of 32 keys, for all groups in turn.
 */

enum { MOST_SQUARES = SA_BLOCK_KEYS / SA_DOT_KEYS };

static const char no_row[SA_MAX_D * 2];

/* Sixteen rows in pairs, fours, eights, within each quarter of a vector; the upper half has the last eight. */
INLINE void turn_sixteen(const char *const *row, ptrdiff_t at, __m512i eight[8]) {
    __m512i two[8], four[8];
    UNROLL
    for (int i = 0; i < 8; i += 2) {
        const __m512i a = v_of_halves(row + i, at), b = v_of_halves(row + i + 1, at);
        two[i] = _mm512_unpacklo_epi16(a, b);
        two[i + 1] = _mm512_unpackhi_epi16(a, b);
    }
    UNROLL
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            four[i + 2 * k] = _mm512_unpacklo_epi32(two[i + k], two[i + 2 + k]);
            four[i + 2 * k + 1] = _mm512_unpackhi_epi32(two[i + k], two[i + 2 + k]);
        }
    UNROLL
    for (int k = 0; k < 4; k++) {
        eight[2 * k] = _mm512_unpacklo_epi64(four[k], four[4 + k]);
        eight[2 * k + 1] = _mm512_unpackhi_epi64(four[k], four[4 + k]);
    }
}

/* 16 elements, from `at` bytes on, of 32 rows: row c gets element c of each. */
static void turn_rows(const char *const *row, ptrdiff_t at, square to) {
    const __m512i lower = _mm512_setr_epi64(0, 1, 4, 5, 8, 9, 12, 13),
                  upper = _mm512_setr_epi64(2, 3, 6, 7, 10, 11, 14, 15);
    __m512i first[8], last[8];
    turn_sixteen(row, at, first);
    turn_sixteen(row + SIDE, at, last);
    UNROLL
    for (int c = 0; c < 8; c++) {
        _mm512_store_si512(to[c], _mm512_permutex2var_epi64(first[c], lower, last[c]));
        _mm512_store_si512(to[c + 8], _mm512_permutex2var_epi64(first[c], upper, last[c]));
    }
}

/* The same of dimensions from c on, of which there may be fewer. */
static void turn_values(const char *const *row, int c, int d, square to) {
    _Alignas(64) char copy[2 * SIDE][2 * SIDE];
    const char *copies[2 * SIDE];
    if (c + SIDE <= d) {
        turn_rows(row, 2 * c, to);
        return;
    }
    memset(copy, 0, sizeof copy);
    for (int j = 0; j < 2 * SIDE; j++)
        copies[j] = memcpy(copy[j], row[j] + 2 * c, (size_t)(d - c) * 2);
    turn_rows(copies, 0, to);
}

/* Sums i and 2 + i: dimensions from c on of group i of two, with what the squares have of the first and the next 16. */
INLINE void multiply_values(square *turned, bool both_squares, const float *p, ptrdiff_t stride, ptrdiff_t apart,
                            bool both_groups) {
    load(LEFT, turned[0], ROW_BYTES);
    load(RIGHT, p, stride * WORD);
    _tile_dpbf16ps(0, LEFT, RIGHT);
    if (both_groups) {
        load(RIGHT_2, p + apart, stride * WORD);
        _tile_dpbf16ps(1, LEFT, RIGHT_2);
    }
    if (!both_squares)
        return;
    load(LEFT_2, turned[1], ROW_BYTES);
    _tile_dpbf16ps(2, LEFT_2, RIGHT);
    if (both_groups)
        _tile_dpbf16ps(3, LEFT_2, RIGHT_2);
}

struct value_job {
    const float *p;
    const char *const *row;
    int d, c;
    const struct sa_stairs *keys;
};

/* Of the pairs at .. at + 15 group g, the i-th of two, has only some: zeros stand for the others, and for what the
 * other group has. */
static void add_edge(const struct value_job *job, int g, int i, int at) {
    _Alignas(64) square weights, turned[2];
    const char *row[2 * SIDE];
    const int begin = job->keys->begin[g], end = job->keys->end[g];
    if (begin >= at + SIDE || end <= at || begin >= end)
        return;
    for (int j = 0; j < SIDE; j++) {
        const bool has = begin <= at + j && at + j < end;
        v_store(weights[j], has ? v_load(job->p + (at + j) * W + g * SIDE) : v_set1(0.0f));
        for (int k = 0; k < 2; k++)
            row[2 * j + k] = has ? job->row[2 * (at + j) + k] : no_row;
    }
    const bool both = job->c + SIDE < job->d;
    for (int k = 0; k <= both; k++)
        turn_values(row, job->c + k * SIDE, job->d, turned[k]);
    load(LEFT, turned[0], ROW_BYTES);
    load(RIGHT, weights, ROW_BYTES);
    load(LEFT_2, turned[both], ROW_BYTES);
    if (i == 0) {
        _tile_dpbf16ps(0, LEFT, RIGHT);
        _tile_dpbf16ps(2, LEFT_2, RIGHT);
    } else {
        _tile_dpbf16ps(1, LEFT, RIGHT);
        _tile_dpbf16ps(3, LEFT_2, RIGHT);
    }
}

static void add_sums(square sums, int n, const float *alpha, float *o) {
    for (int c = 0; c < n; c++, o += W)
        v_store(o, alpha ? v_fma(v_load(o), v_load(alpha), v_load(sums[c])) : v_load(sums[c]));
}

static void amx_values(const float *p, int g0, int g1, const struct sa_stairs *keys, struct sa_rows v,
                       const float *alpha, float *o, struct sa_ahead *ahead) {
    _Alignas(64) square sums[4], turned[MOST_SQUARES][2];
    struct value_job job = {p, sa_list_of(v), v.d, 0, keys};
    const int first = keys->begin[g0] / SIDE * SIDE, end = keys->end[g1 - 1], common = keys->begin[g1 - 1],
              common_end = keys->end[g0];
    const int turns =
        (v.d + 2 * SIDE - 1) / (2 * SIDE) * ((end - first + SIDE - 1) / SIDE) * (ahead->calls > 0 ? ahead->calls : 1);
    const int lines = turns ? (ahead->left + turns - 1) / turns : 0;
    for (; job.c < v.d; job.c += 2 * SIDE)
        for (int g = g0; g < g1; g += 2) {
            const bool both = g + 1 < g1, both_squares = job.c + SIDE < v.d;
            clear_sums(4);
            for (int at = first; at < end; at += SIDE) {
                square *here = turned[(at - first) / SIDE];
                if (g == g0)
                    fetch_run(next_run(ahead, lines));
                if (at < common || common_end < at + SIDE) {
                    for (int i = 0; i <= both; i++)
                        add_edge(&job, g + i, i, at);
                    continue;
                }
                for (int k = 0; k <= both_squares && g == g0; k++)
                    turn_values(job.row + 2 * at, job.c + k * SIDE, v.d, here[k]);
                multiply_values(here, both_squares, p + at * W + g * SIDE, W, SIDE, both);
            }
            store_sums(4, sums);
            for (int i = 0; i < 4; i++)
                if (i % 2 <= both && i / 2 <= both_squares)
                    add_sums(sums[i], smaller(v.d - job.c - i / 2 * SIDE, SIDE),
                             alpha ? alpha + (g + i % 2) * SIDE : NULL,
                             o + (job.c + i / 2 * SIDE) * W + (g + i % 2) * SIDE);
        }
    ahead->calls--;
}

static bool amx_finite(struct sa_rows rows) {
    const char *const *row = sa_list_of(rows);
    bool finite = true;
    for (int j = 0; finite && j < rows.n; j++, row += 2) {
        int c = 0;
        for (; c + LANES <= rows.d; c += LANES)
            finite = finite && v_pairs_finite(v_pair_of_rows(row[0] + 2 * c, row[1] + 2 * c));
        finite = finite && (c == rows.d || v_pairs_finite(dots_rest(row[0] + 2 * c, row[1] + 2 * c, rows.d - c)));
    }
    return finite;
}

/* ---------------------------------------------------------------- values that some rows do not see
 * As the instruction works, by multiply-adds. Blocks with NaN or inf at the edge of what is seen come here.
 */

static vf flushed(vf a) {
    const __m512i bits = _mm512_castps_si512(a), size = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
    const vf zero = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32((int)0x80000000)));
    return v_select(v_less_i(size, v_set1_i(0x00800000)), zero, a);
}

static void add_term(vf *sum, vf a, vf b) { *sum = flushed(v_fma(flushed(a), flushed(b), *sum)); }

static float word_of(const char *const row[2], int c) {
    uint16_t half[2];
    float word;
    memcpy(&half[0], row[0] + 2 * c, sizeof half[0]);
    memcpy(&half[1], row[1] + 2 * c, sizeof half[1]);
    memcpy(&word, half, sizeof word);
    return word;
}

/* Dimension c of 16 lanes of the pairs j .. end - 1 of a square. */
static vf sum_masked(const float *p, struct sa_rows v, int c, int lane, int j, int end, int first_key,
                     struct sa_lane_keys keys) {
    vf first = v_set1(0.0f), second = first;
    for (; j < end; j++) {
        const int key = first_key + 2 * j;
        const vf weights = v_load(p + j * W + lane);
        const vf pair = v_pair_where(visible(keys, lane, key), visible(keys, lane, key + 1),
                                     v_set1(word_of(sa_list_of(v) + 2 * j, c)));
        add_term(&first, v_of_first(weights), v_of_first(pair));
        add_term(&second, v_of_second(weights), v_of_second(pair));
    }
    return flushed(first + second);
}

static void amx_values_masked(const float *p, int g, struct sa_rows v, int first_key, struct sa_lane_keys keys,
                              const float *alpha, float *o) {
    const int lane = g * SIDE, beside = first_key / 2 % SIDE; /* pairs of the first square that others have */
    for (int c = 0; c < v.d; c++) {
        vf sum = v_set1(0.0f);
        for (int j = 0, end; j < v.n; j = end) {
            end = j + SIDE - (beside + j) % SIDE;
            end = end < v.n ? end : v.n;
            sum = flushed(sum + sum_masked(p, v, c, lane, j, end, first_key, keys));
        }
        float *at = o + c * W + lane;
        v_store(at, v_fma(v_load(at), v_load(alpha + lane), sum));
    }
}

/* ---------------------------------------------------------------- few rows: scores */

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
                scored[now].factor = own + k.d * W;
                write_scored(&scored[!now], n_rows);
            }
        }
    }
    write_scored(&scored[!now], n_rows);
}

/* ---------------------------------------------------------------- few rows: values */

enum { FEW_SQUARES = 4 }; /* of 16 dimensions, at a time */

/* Registers of so many rows: sums, and weights. */
#define EACH_FEW_SUM(X) X(0, 1) X(1, 2) X(2, 3) X(3, 6)

static void enter_few(int n_rows) {
    struct shapes shapes = all_square;
#define SHAPE(i, sum) shapes.rows[sum] = (uint8_t)n_rows;
    EACH_FEW_SUM(SHAPE)
#undef SHAPE
    shapes.rows[FEW_LEFT] = (uint8_t)n_rows;
    keep_memory(&shapes); /* gcc 12 takes it for eight bytes */
    _tile_loadconfig(&shapes);
}

/* Up to 32 keys of a place, dimensions from c on. */
struct few_woven {
    int n_squares; /* 0: nothing is woven */
    int n;         /* keys */
    const float *p;
    float *sums;
    _Alignas(64) square squares[FEW_SQUARES];
};

/* 16 dimensions from c on of 32 rows, of which there may be fewer. */
INLINE void weave(const char *const *row, int n, int d, int c, square woven) {
    if (n == 2 * SIDE && c + SIDE <= d) {
        UNROLL
        for (int i = 0; i < SIDE; i++)
            v_store(woven[i], v_pair_of_rows(row[2 * i] + 2 * c, row[2 * i + 1] + 2 * c));
        return;
    }
    for (int i = 0; i < SIDE; i++)
        v_store(woven[i], 2 * i >= n ? v_set1(0.0f)
                                     : dots_rest(row[2 * i] + 2 * c, row[2 * i + 1] + 2 * c, smaller(d - c, SIDE)));
}

static void weave_squares(const char *const *row, int d, int c, struct few_woven *woven, struct cursor *cursor) {
    woven->n_squares = smaller((d - c + SIDE - 1) / SIDE, FEW_SQUARES);
    for (int i = 0; i < woven->n_squares; i++) {
        weave(row, woven->n, d, c + i * SIDE, woven->squares[i]);
        fetch_bytes(2 * SIDE * SIDE * 2, cursor);
    }
}

/* Weights of up to 32 keys. */
INLINE void load_weights(const float *p, int n_rows, int n) {
    _Alignas(64) square copy;
    if (n == 2 * SIDE) {
        load(FEW_LEFT, p, SA_FEW_STRIDE * WORD);
        return;
    }
    copy_square(p, SA_FEW_STRIDE, n_rows, first_words(n / 2), copy);
    load(FEW_LEFT, copy, ROW_BYTES);
}

static void multiply_woven(struct few_woven *woven, int n_rows, ptrdiff_t width) {
    if (woven->n_squares == 0)
        return;
    load_weights(woven->p, n_rows, woven->n);
#define MULTIPLY(i, sum)                                                                                               \
    if (i < woven->n_squares) {                                                                                        \
        load(sum, woven->sums + i * SIDE, width * WORD);                                                               \
        load(RIGHT, woven->squares[i], ROW_BYTES);                                                                     \
        _tile_dpbf16ps(sum, FEW_LEFT, RIGHT);                                                                          \
    }
#define STORE(i, sum)                                                                                                  \
    if (i < woven->n_squares)                                                                                          \
        store(sum, woven->sums + i * SIDE, width * WORD);
    EACH_FEW_SUM(MULTIPLY)
    EACH_FEW_SUM(STORE)
#undef MULTIPLY
#undef STORE
    woven->n_squares = 0;
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
                    woven[now].p = p + i * SA_FEW_ROWS * SA_FEW_STRIDE + j / 2;
                    woven[now].sums = sums + i * SA_FEW_ROWS * width + c;
                    weave_squares(v.row + i * v.apart + j, v.d, c, &woven[now], &cursor);
                    multiply_woven(&woven[!now], n_rows, width);
                }
            }
    }
    multiply_woven(&woven[!now], n_rows, width);
}

/* After what it is made of. */
#include "kernels/amx_block.h"

const struct sa_dots sa_dots_amx_bf16 = {.enter = amx_enter,
                                         .leave = amx_leave,
                                         .pack = dots_pack,
                                         .weights = dots_weights,
                                         .few_pair = dots_few_pair,
                                         .block = amx_block,
                                         .pairs = {.scores = amx_scores,
                                                   .values = amx_values,
                                                   .finite = amx_finite,
                                                   .values_masked = amx_values_masked,
                                                   .few_scores = amx_few_scores,
                                                   .few_values = amx_few_values}};
