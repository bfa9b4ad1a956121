/* SPDX-License-Identifier: MIT */
/*
 * Products of pairs by AMX: registers of 16 rows of 16 words, and an instruction that adds, to each word of one, the
 * products of a row of pairs of bf16 of a second and a column of pairs of a third. The arrays are those of the other
 * dots; see sa_dots in kernels.h for what is added up first. The instruction takes as many cycles as its first operand
 * has rows, 1/16 of what as many multiply-adds of 512 bits take, so everything around it counts: what it reads is in
 * place wherever it can be, and is put together while it works.
 *
 *     scores            sum: 16 keys x 16 queries      left: keys                 right: qt, in place
 *     values            16 dimensions x 16 queries     v, turned (see below)      weights, in place
 *     few rows, scores  16 keys x 16 queries           keys                       qt
 *     few rows, values  1 .. 8 queries x 16 dimensions weights, in place          v, woven
 *
 * Elements are bf16, and keys in place, or f16, of which each is parted into two bf16: PARTS. Included by amx_bf16.c
 * and amx_f16.c, which say so, after vec_avx512_bf16.h.
 *
 * What is stored, from registers or to be loaded into them, takes a while to get there: others are worked on meanwhile.
 */
#ifndef SA_AMX_DOTS_H
#define SA_AMX_DOTS_H

#include "kernels/lanes_base.h"

#include "kernels/lanes_fetch.h"
#include "kernels/lanes_few_weights.h"
#include "kernels/lanes_one_term.h"
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
#define FEW_LEFT_2  4
#define EACH_SUM(X) X(0) X(1) X(2) X(3)

/* ---------------------------------------------------------------- parts */

enum { SECOND = PARTS - 1 }; /* the last part */

/* The products of parts that are added up, the larger ones last: X(part of a key, of a query), and X(part of a value,
 * of its weight), where the smallest are left out. */
#define EACH_SCORE_PRODUCT(X)                                                                                          \
    if (PARTS == 2) {                                                                                                  \
        X(SECOND, SECOND)                                                                                              \
        X(SECOND, 0)                                                                                                   \
        X(0, SECOND)                                                                                                   \
    }                                                                                                                  \
    X(0, 0)
#define EACH_VALUE_PRODUCT(X)                                                                                          \
    if (PARTS == 2) {                                                                                                  \
        X(0, SECOND)                                                                                                   \
        X(SECOND, 0)                                                                                                   \
    }                                                                                                                  \
    X(0, 0)

/* A square of words of elements, or of each of their parts. */
typedef square parted[PARTS];

/* The upper halves of floats, which are bf16, and what they leave. */
INLINE vf upper_of(vf a) { return v_of_second(a); }

/* Upper halves of two floats as a pair. */
INLINE vf join_upper(vf first, vf second) {
    const __m512i lower = _mm512_srli_epi32(_mm512_castps_si512(first), 16);
    return _mm512_castsi512_ps(_mm512_or_si512(lower, _mm512_castps_si512(upper_of(second))));
}

/* A bf16 of the first digits of each of 32 elements, and one of the others. Of inf the latter is NaN. */
INLINE void part_floats(vf a, vf b, float *first, float *second) {
    v_store(first, v_upper_halves(a, b));
    v_store(second, v_upper_halves(a - upper_of(a), b - upper_of(b)));
}

/* Of words of two f16. */
INLINE void part_words(vf words, float *first, float *second) {
    const __m512i halves = _mm512_castps_si512(words);
    part_floats(_mm512_cvtph_ps(_mm512_castsi512_si256(halves)), _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1)),
                first, second);
}

/* Words, as they are to be multiplied, to where each part of theirs shall stand. */
INLINE void put_words(vf words, parted to, int row) {
    if (PARTS == 1)
        v_store(to[0][row], words);
    else
        part_words(words, to[0][row], to[SECOND][row]);
}

/* n rows of words, and zeros. */
static void part_square(const float *from, ptrdiff_t stride, int n, __mmask16 words, parted to) {
    for (int i = 0; i < SIDE; i++)
        put_words(i < n ? load_words(words, from + i * stride) : v_set1(0.0f), to, i);
}

/* What a weight's upper half leaves, so that its own upper half is rounded to nearest. */
INLINE vf rest_of(vf p) { return v_rounded(p - upper_of(p)); }

/* Sixteen scores of each lane to weights, as pair_strip() has them, in words of two keys, of which it writes eight rows
 * of each part. */
INLINE vf part_strip(const float *s, const int step, const vf *scale, vf m, float *first, float *second) {
    vf sum[4], word[8];
    UNROLL
    for (int i = 0; i < 4; i += 2) {
        vf p[2][4];
        UNROLL
        for (int k = 0; k < 2; k++)
            sum[i + k] = weights_of_four(s + (i + k) * step, step, scale, m, p[k]);
        UNROLL
        for (int x = 0; x < 4; x++) {
            const int row = i / 2 + (x == 1 ? 4 : x == 2 ? 2 : x == 3 ? 6 : 0);
            word[row] = join_upper(p[0][x], p[1][x]);
            v_store(second + row * SIDE, join_upper(rest_of(p[0][x]), rest_of(p[1][x])));
        }
    }
    UNROLL
    for (int j = 0; j < 8; j++)
        v_store(first + j * step, word[j]);
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* The keys begin .. end - 1 of a square of 32, of which either half may be missing, in place: its pairs' first parts,
 * then their second ones, 16 rows each. */
INLINE void weigh_parts(struct weighing *weighing, float *s, const int step, const vf *scale, int begin, int end) {
    _Alignas(64) square second; /* where they belong scores stand that have yet to be read */
    for (int j = begin; j < end; j += SIDE)
        weighing->sum =
            weighing->sum + part_strip(s + j * step, step, scale, weighing->shift, s + j / 2 * step, second[j / 2]);
    for (int i = begin / 2; i < end / 2; i++)
        v_store(s + (SIDE + i) * step, v_load(second[i]));
}

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
    int d, n_groups, steps, rest; /* d, rest: words */
    _Alignas(64) square qt_rest[PARTS][SA_TILE_GROUPS];
};

static void open_job(struct score_job *job, const float *qt, int n_groups, int d) {
    job->qt = qt;
    job->d = d;
    job->n_groups = n_groups;
    job->steps = d / SIDE;
    job->rest = d % SIDE;
    for (int part = 0; part < PARTS; part++)
        for (int g = 0; g < n_groups && job->rest; g++)
            copy_square(qt + (part * d + job->steps * SIDE) * W + g * SIDE, W, job->rest, 0xffff,
                        job->qt_rest[part][g]);
}

/* The factors of all rows, behind the queries. */
INLINE const float *factors_of(const float *qt, int d) { return qt + PARTS * d * W; }

/* Sixteen keys, or n and zeros. */
static void score_keys(const struct score_job *job, const float *key, ptrdiff_t stride, int n, square *sums) {
    _Alignas(64) parted left;
    clear_sums(job->n_groups);
    for (int step = 0; step < job->steps; step++, key += SIDE) {
        const float *qt = job->qt + step * SIDE * W;
        if (PARTS == 1 && n == SIDE) {
            load(LEFT, key, stride * WORD);
            multiply(job->n_groups, qt, SIDE, W);
            continue;
        }
        part_square(key, stride, n, 0xffff, left);
#define MULTIPLY(of_key, of_query)                                                                                     \
    load(LEFT, left[of_key], ROW_BYTES);                                                                               \
    multiply(job->n_groups, qt + (of_query)*job->d * W, SIDE, W);
        EACH_SCORE_PRODUCT(MULTIPLY)
#undef MULTIPLY
    }
    if (job->rest) {
        part_square(key, stride, n, first_words(job->rest), left);
#define MULTIPLY(of_key, of_query)                                                                                     \
    load(LEFT, left[of_key], ROW_BYTES);                                                                               \
    multiply(job->n_groups, job->qt_rest[of_query][0][0], SIDE *SIDE, SIDE);
        EACH_SCORE_PRODUCT(MULTIPLY)
#undef MULTIPLY
    }
    store_sums(job->n_groups, sums);
}

/* Scaled, and the largest, of n keys of the groups g0 .. g1 - 1. Scores that are subnormal are 0. */
static __attribute__((noinline)) void finish_scores(square *sums, int n, int g0, int g1, const float *factors, float *s,
                                                    float *mb) {
    const unsigned mode = v_begin_flushing();
    for (int g = g0; g < g1; g++) {
        const vf factor = v_load(factors + g * SIDE);
        vf best = v_load(mb + g * SIDE);
        for (int j = 0; j < n; j++) {
            const vf score = v_load(sums[g - g0][j]) * factor;
            v_store(s + j * W + g * SIDE, score);
            best = v_max(best, score);
        }
        v_store(mb + g * SIDE, best);
    }
    v_end_flushing(mode);
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
        if (done >= 0)
            finish_scores(sums[done / SIDE % 2], n, g0, g1, factors_of(qt, k.d), s + done * W, mb);
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
static void turn_words(const char *const *row, int c, int d, square to) {
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

/* In parts; `words` may be the first of them. */
INLINE void part_turned(square words, parted to) {
    for (int i = 0; i < SIDE && PARTS == 2; i++)
        put_words(v_load(words[i]), to, i);
}

static void turn_values(const char *const *row, int c, int d, parted to) {
    turn_words(row, c, d, to[0]);
    part_turned(to[0], to);
}

/* Sums i and 2 + i: dimensions from c on of group i of two, with what the squares have of the first and the next 16.
 * The parts of weights follow each other as squares of 16 rows. */
INLINE void multiply_values(parted *turned, bool both_squares, const float *p, ptrdiff_t stride, ptrdiff_t apart,
                            bool both_groups) {
#define MULTIPLY(of_value, of_weight)                                                                                  \
    load_once(LEFT, turned[0][of_value], ROW_BYTES);                                                                   \
    load(RIGHT, p + (of_weight)*SIDE * stride, stride * WORD);                                                         \
    _tile_dpbf16ps(0, LEFT, RIGHT);                                                                                    \
    if (both_groups) {                                                                                                 \
        load(RIGHT_2, p + apart + (of_weight)*SIDE * stride, stride * WORD);                                           \
        _tile_dpbf16ps(1, LEFT, RIGHT_2);                                                                              \
    }                                                                                                                  \
    if (both_squares) {                                                                                                \
        load_once(LEFT_2, turned[1][of_value], ROW_BYTES);                                                             \
        _tile_dpbf16ps(2, LEFT_2, RIGHT);                                                                              \
        if (both_groups)                                                                                               \
            _tile_dpbf16ps(3, LEFT_2, RIGHT_2);                                                                        \
    }
    EACH_VALUE_PRODUCT(MULTIPLY)
#undef MULTIPLY
}

/* Row of the array of weights that has those of a pair of keys, the first parts of them. */
INLINE int weights_row(int pair) { return pair / SIDE * SIDE * PARTS + pair % SIDE; }

struct value_job {
    const float *p;
    const char *const *row;
    int d, c;
    const struct sa_stairs *keys;
};

/* Of the pairs at .. at + 15 group g, the i-th of two, has only some: zeros stand for the others, and for what the
 * other group has. */
static void add_edge(const struct value_job *job, int g, int i, int at) {
    _Alignas(64) parted weights, turned[2];
    const char *row[2 * SIDE];
    const int begin = job->keys->begin[g], end = job->keys->end[g];
    if (begin >= at + SIDE || end <= at || begin >= end)
        return;
    for (int j = 0; j < SIDE; j++) {
        const bool has = begin <= at + j && at + j < end;
        for (int part = 0; part < PARTS; part++)
            v_store(weights[part][j],
                    has ? v_load(job->p + (weights_row(at + j) + part * SIDE) * W + g * SIDE) : v_set1(0.0f));
        for (int k = 0; k < 2; k++)
            row[2 * j + k] = has ? job->row[2 * (at + j) + k] : no_row;
    }
    const bool both = job->c + SIDE < job->d;
    for (int k = 0; k <= both; k++)
        turn_values(row, job->c + k * SIDE, job->d, turned[k]);
#define MULTIPLY(of_value, of_weight)                                                                                  \
    load(LEFT, turned[0][of_value], ROW_BYTES);                                                                        \
    load(RIGHT, weights[of_weight], ROW_BYTES);                                                                        \
    load(LEFT_2, turned[both][of_value], ROW_BYTES);                                                                   \
    if (i == 0) {                                                                                                      \
        _tile_dpbf16ps(0, LEFT, RIGHT);                                                                                \
        _tile_dpbf16ps(2, LEFT_2, RIGHT);                                                                              \
    } else {                                                                                                           \
        _tile_dpbf16ps(1, LEFT, RIGHT);                                                                                \
        _tile_dpbf16ps(3, LEFT_2, RIGHT);                                                                              \
    }
    EACH_VALUE_PRODUCT(MULTIPLY)
#undef MULTIPLY
}

static void add_sums(square sums, int n, const float *alpha, float *o) {
    for (int c = 0; c < n; c++, o += W)
        v_store(o, alpha ? v_fma(v_load(o), v_load(alpha), v_load(sums[c])) : v_load(sums[c]));
}

static void amx_values(const float *p, int g0, int g1, const struct sa_stairs *keys, struct sa_rows v,
                       const float *alpha, float *o, struct sa_ahead *ahead) {
    _Alignas(64) square sums[4], turned[MOST_SQUARES][2]; /* parted when they are used: stacks may be small */
    _Alignas(64) parted used[2];
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
                    turn_words(job.row + 2 * at, job.c + k * SIDE, v.d, here[k]);
                for (int k = 0; k <= both_squares && PARTS == 2; k++)
                    part_turned(here[k], used[k]);
                multiply_values(PARTS == 2 ? used : (parted *)here, both_squares, p + weights_row(at) * W + g * SIDE, W,
                                SIDE, both);
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

/* Is no element of these words inf or NaN? */
INLINE bool are_finite(vf words) {
    const __m512i bits = _mm512_castps_si512(words), most = _mm512_set1_epi16(0x7c00);
    return PARTS == 1 ? v_pairs_finite(words) : _mm512_cmpeq_epi16_mask(_mm512_and_si512(bits, most), most) == 0;
}

static bool amx_finite(struct sa_rows rows) {
    const char *const *row = sa_list_of(rows);
    bool finite = true;
    for (int j = 0; finite && j < rows.n; j++, row += 2) {
        int c = 0;
        for (; c + LANES <= rows.d; c += LANES)
            finite = finite && are_finite(v_pair_of_rows(row[0] + 2 * c, row[1] + 2 * c));
        finite = finite && (c == rows.d || are_finite(dots_rest(row[0] + 2 * c, row[1] + 2 * c, rows.d - c)));
    }
    return finite;
}

/* ---------------------------------------------------------------- values that some rows do not see
 * As the instruction works, by multiply-adds. Blocks with NaN or inf at the edge of what is seen come here.
 */

/* The instruction takes subnormal elements and sums for 0, and what it rounds to is one before it has been rounded to
 * be one: as with flush-to-zero and denormals-are-zero. */
enum { FLUSHES = 0x8040 };

static float word_of(const char *const row[2], int c) {
    uint16_t half[2];
    float word;
    memcpy(&half[0], row[0] + 2 * c, sizeof half[0]);
    memcpy(&half[1], row[1] + 2 * c, sizeof half[1]);
    memcpy(&word, half, sizeof word);
    return word;
}

/* Dimension c of 16 lanes of the pairs j .. end - 1 of a square: products of these parts. */
static vf sum_masked(const float *p, struct sa_rows v, int c, int lane, int j, int end, int first_key,
                     struct sa_lane_keys keys, int of_value, int of_weight) {
    vf first = v_set1(0.0f), second = first;
    for (; j < end; j++) {
        const int key = first_key + 2 * j;
        const vf weights = v_load(p + (weights_row(key % SA_BLOCK_KEYS / 2) + of_weight * SIDE) * W + lane);
        const vf words = v_pair_where(visible(keys, lane, key), visible(keys, lane, key + 1),
                                      v_set1(word_of(sa_list_of(v) + 2 * j, c)));
        _Alignas(64) parted pairs;
        put_words(words, pairs, 0);
        first = v_fma(v_of_first(weights), v_of_first(v_load(pairs[of_value][0])), first);
        second = v_fma(v_of_second(weights), v_of_second(v_load(pairs[of_value][0])), second);
    }
    return first + second;
}

/* Of all squares. Not inlined: compilers move arithmetic across what sets its mode. */
static __attribute__((noinline)) void add_masked(const float *p, struct sa_rows v, int c, int lane, int first_key,
                                                 struct sa_lane_keys keys, float *to) {
    const int beside = first_key / 2 % SIDE; /* pairs of the first square that others have */
    vf sum = v_set1(0.0f);
    p -= first_key % SA_BLOCK_KEYS / 2 * W; /* those of the block's first key */
    for (int j = 0, end; j < v.n; j = end) {
        end = j + SIDE - (beside + j) % SIDE;
        end = end < v.n ? end : v.n;
#define ADD(of_value, of_weight) sum = sum + sum_masked(p, v, c, lane, j, end, first_key, keys, of_value, of_weight);
        EACH_VALUE_PRODUCT(ADD)
#undef ADD
    }
    v_store(to, sum);
}

static void amx_values_masked(const float *p, int g, struct sa_rows v, int first_key, struct sa_lane_keys keys,
                              const float *alpha, float *o) {
    const int lane = g * SIDE;
    const unsigned mode = _mm_getcsr();
    for (int c = 0; c < v.d; c++) {
        _Alignas(64) float sum[SIDE];
        float *at = o + c * W + lane;
        _mm_setcsr(mode | FLUSHES);
        add_masked(p, v, c, lane, first_key, keys, sum);
        _mm_setcsr(mode);
        v_store(at, v_fma(v_load(at), v_load(alpha + lane), v_load(sum)));
    }
}

/* After what they are made of. */
#include "kernels/amx_block.h"
#include "kernels/amx_few_values.h"

#define AMX_DOTS(its_pack, its_weights, its_few_pair)                                                                  \
    {                                                                                                                  \
        .parts = PARTS, .enter = amx_enter, .leave = amx_leave, .pack = its_pack, .weights = its_weights,              \
        .few_weights = lanes_few_weights, .few_pair = its_few_pair, .block = amx_block, .pairs = {                     \
            .scores = amx_scores,                                                                                      \
            .values = amx_values,                                                                                      \
            .finite = amx_finite,                                                                                      \
            .values_masked = amx_values_masked,                                                                        \
            .few_step = PARTS == 1 ? SIDE : 4 * SIDE,                                                                  \
            .few_scores = amx_few_scores,                                                                              \
            .few_values = amx_few_values                                                                               \
        }                                                                                                              \
    }

#endif
