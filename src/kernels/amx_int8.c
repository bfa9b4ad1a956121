/* SPDX-License-Identifier: MIT */
/*
 * Products of int8 by AMX, see sa_bytes in kernels.h for what is computed. A word is four int8: registers are 16 rows
 * of 16 words, and an instruction adds, to each int32 of one, the products of a row of bytes of a second and a column
 * of bytes of a third. As sums of whole numbers are exact, they may be formed in any order: a register for each digit.
 *
 *     scores            sums: 16 keys x 16 queries      left: keys, in place       right: qt, in place
 *     values            16 dimensions x 16 queries      v, turned (see below)      digits of weights
 *     few rows, scores  16 keys x 16 digits of queries  keys, in place             a copy of qt
 *     few rows, values  16 digits of rows x 16 dims     digits of weights          v, woven
 *
 * One row has instructions of its own, see vnni_one.h.
 */
#include "kernels/kernels.h"

#include <sa/sa.h>

#include "kernels/vec_avx512.h"

#include "kernels/lanes_base.h"

#include "kernels/lanes_fetch.h"
#include "kernels/lanes_strips.h"
#include "kernels/lanes_types.h"

/* After what they are made of. */
#include "kernels/amx.h"
#include "kernels/lanes_cursor.h"
#include "kernels/lanes_sees.h"

enum {
    DIGITS = 3, /* of queries */
    WEIGHT_DIGITS = SA_BYTES_DIGITS,
    MOST_STEPS = SA_BYTES_MAX_D / ROW_BYTES, /* registers side by side in a row of k */
    MOST_SQUARES = SA_BLOCK_KEYS / ROW_BYTES /* of 64 keys */
};

/* Names of registers, which are parts of instructions. Besides six sums. */
#define LEFT        6
#define RIGHT       7
#define RIGHT_2     5
#define EACH_SUM(X) X(0) X(1) X(2) X(3) X(4) X(5)

typedef int32_t words[SIDE][SIDE];

static bool amx_finite(struct sa_rows rows) {
    bool finite = true;
    for (int j = 0; finite && j < rows.n; j++)
        finite = isfinite(rows.scale[j]);
    return finite;
}

/* ---------------------------------------------------------------- numbers of three digits, and of four */

INLINE vi v_of_words(const int32_t *p) { return _mm512_load_si512(p); }
INLINE vi v_bits(vf a) { return _mm512_castps_si512(a); }
INLINE vf v_of_bits(vi a) { return _mm512_castsi512_ps(a); }

/* The same in all lanes: the largest of numbers without a sign, NaN above inf. */
static vf largest_of(vf a) {
    _Alignas(64) float lane[LANES];
    v_store(lane, a);
    vf largest = v_set1(lane[0]);
    for (int i = 1; i < LANES; i++)
        largest = v_max_abs(v_set1(lane[i]), largest);
    return largest;
}

INLINE float first_lane(vf a) {
    _Alignas(64) float lane[LANES];
    v_store(lane, a);
    return lane[0];
}

/* 2^e such that the largest number, raised by `margin` units in its last place, has `bits` bits before the point, as
 * far as e is at most 120, and 2^-e: NaN if the largest is NaN or inf. */
struct unit {
    vf up, down;
};

INLINE struct unit unit_of(vf largest, const int bits, const int margin) {
    const vi raised = _mm512_add_epi32(v_bits(largest), v_set1_i(margin));
    const vi exponent = _mm512_max_epi32(_mm512_srli_epi32(raised, 23), v_set1_i(bits + 6));
    const vmask number = v_less_i(v_bits(largest), v_set1_i(0x7f800000));
    const vf up = v_of_bits(_mm512_slli_epi32(_mm512_sub_epi32(v_set1_i(253 + bits), exponent), 23));
    const vf down = v_of_bits(_mm512_slli_epi32(_mm512_sub_epi32(exponent, v_set1_i(bits - 1)), 23));
    return (struct unit){up, v_select(number, down, v_set1(NAN))};
}

/* Below 2^-62 numbers are lifted first, so that what is subnormal counts in full: by this factor, or 1. */
INLINE vf lift_of(vf largest) {
    return v_select(v_less_i(v_bits(largest), v_bits(v_set1(0x1p-62f))), v_set1(0x1p64f), v_set1(1.0f));
}

/* Four numbers of which each digit has 128 added to it: words of digits. */
enum { AT_0 = (int)0x80808080 };

INLINE void part_digits(const vi four[4], vi digit[4]) {
    const vi odd = v_set1_i(0x00ff00ff), half = v_set1_i(0xffff), at_0 = v_set1_i(AT_0);
    enum { SELECT = 0xca };
    vi even[2], others[2];
    UNROLL
    for (int i = 0; i < 2; i++) {
        const vi a = four[2 * i], b = four[2 * i + 1];
        even[i] = _mm512_ternarylogic_epi32(odd, a, _mm512_slli_epi32(b, 8), SELECT);
        others[i] = _mm512_ternarylogic_epi32(odd, _mm512_srli_epi32(a, 8), b, SELECT);
    }
    digit[0] = _mm512_ternarylogic_epi32(half, even[0], _mm512_slli_epi32(even[1], 16), SELECT);
    digit[1] = _mm512_ternarylogic_epi32(half, others[0], _mm512_slli_epi32(others[1], 16), SELECT);
    digit[2] = _mm512_ternarylogic_epi32(half, _mm512_srli_epi32(even[0], 16), even[1], SELECT);
    digit[3] = _mm512_ternarylogic_epi32(half, _mm512_srli_epi32(others[0], 16), others[1], SELECT);
    UNROLL
    for (int i = 0; i < 4; i++)
        digit[i] = _mm512_xor_si512(digit[i], at_0);
}

/* Sums of products of the digits of a query, of the digits of a weight, the lowest first. */
INLINE vf v_joined(vi low, vi middle, vi top) {
    const vi upper = _mm512_add_epi32(_mm512_slli_epi32(top, 8), middle);
    return v_fma(_mm512_cvtepi32_ps(upper), v_set1(256.0f), _mm512_cvtepi32_ps(low));
}
INLINE vf v_joined_four(const vi sum[WEIGHT_DIGITS]) {
    const vi lower = _mm512_add_epi32(_mm512_slli_epi32(sum[1], 8), sum[0]);
    const vi upper = _mm512_add_epi32(_mm512_slli_epi32(sum[3], 8), sum[2]);
    return v_fma(_mm512_cvtepi32_ps(upper), v_set1(65536.0f), _mm512_cvtepi32_ps(lower));
}

/* The same of words that stand `apart` words apart. */
INLINE vf v_joined_at(const int32_t *sums, ptrdiff_t apart) {
    vi sum[WEIGHT_DIGITS];
    UNROLL
    for (int k = 0; k < WEIGHT_DIGITS; k++)
        sum[k] = v_of_words(sums + k * apart);
    return v_joined_four(sum);
}

/* ---------------------------------------------------------------- queries */

INLINE int digit_words(int d) { return (d + 3) / 4; }

/* From 127/128 of a power of 2 on the top digit would be 128. */
enum { BELOW_128 = 1 << 17 };

/* One group, from the floats in its lanes to words, and the factor of its scores. */
static void pack_group(int d, float factor, float *qt) {
    _Alignas(64) int32_t packed[DIGITS][SA_BYTES_MAX_D / 4][SIDE];
    const int n = digit_words(d);
    vf largest = v_set1(0.0f);
    for (int c = 0; c < d; c++)
        largest = v_max_abs(v_load(qt + c * W), largest);
    const vf lift = lift_of(largest);
    const struct unit unit = unit_of(largest * lift, 23, BELOW_128);
    for (int c = 0; c < d; c += 4) {
        vi four[4], digit[4];
        UNROLL
        for (int i = 0; i < 4; i++) {
            const vi x = c + i < d ? _mm512_cvtps_epi32(v_load(qt + (c + i) * W) * lift * unit.up) : v_set1_i(0);
            four[i] = _mm512_add_epi32(x, v_set1_i(AT_0));
        }
        part_digits(four, digit);
        UNROLL
        for (int k = 0; k < DIGITS; k++)
            _mm512_store_si512(packed[k][c / 4], digit[k]);
    }
    for (int k = 0; k < DIGITS; k++)
        for (int c = 0; c < n; c++)
            _mm512_store_si512(qt + (k * n + c) * W, v_of_words(packed[k][c]));
    v_store(qt + DIGITS * n * W, v_div(v_set1(factor), lift) * unit.down);
}

static void amx_pack(const float *const *rows, int n_rows, int d, float factor, float *qt) {
    pack_strips((const char *const *)rows, n_rows, d, NULL, qt);
    for (int r = 0; r < n_rows; r += SA_GROUP_ROWS)
        pack_group(d, factor, qt + r);
}

/* ---------------------------------------------------------------- scores
 * Of two groups at a time, for which keys are loaded twice.
 */

enum { LINES_OF_KEYS = 16 }; /* fetched while 16 keys are scored, at most */

struct score_job {
    const float *qt; /* of the first of two groups */
    bool both;
    int words, steps, rest; /* words: of a digit; rest: bytes that do not fill a register, which are copied */
    _Alignas(64) square qt_rest[2][DIGITS];
};

static void open_job(struct score_job *job, const float *qt, bool both, int d) {
    job->qt = qt;
    job->both = both;
    job->words = digit_words(d);
    job->steps = d / ROW_BYTES;
    job->rest = d % ROW_BYTES;
    for (int i = 0; i <= both && job->rest; i++)
        for (int k = 0; k < DIGITS; k++)
            copy_square(qt + (k * job->words + job->steps * SIDE) * W + i * SIDE, W, job->words - job->steps * SIDE,
                        0xffff, job->qt_rest[i][k]);
}

INLINE __mmask64 first_bytes(int n) { return n < ROW_BYTES ? ((__mmask64)1 << n) - 1 : ~(__mmask64)0; }

/* n bytes of so many rows, and zeros. */
INLINE void copy_bytes(const char *const *row, int n_rows, ptrdiff_t at, int n, square to) {
    const __mmask64 bytes = first_bytes(n);
    for (int i = 0; i < SIDE; i++)
        v_store(to[i], i < n_rows ? v_of_bits(_mm512_maskz_loadu_epi8(bytes, row[i] + at)) : v_set1(0.0f));
}

static bool are_even(const char *const *row, int n) {
    const ptrdiff_t step = row[1] - row[0];
    bool even = n == SIDE;
    for (int i = 2; even && i < SIDE; i++)
        even = row[i] - row[i - 1] == step;
    return even;
}

/* Each group's sums of each digit += left times its right. */
INLINE void multiply_digits(const float *right, ptrdiff_t apart, ptrdiff_t digit_apart, ptrdiff_t stride, bool both) {
#define MULTIPLY(i)                                                                                                    \
    if ((i) < DIGITS || both) {                                                                                        \
        load(RIGHT, right + (i) / DIGITS * apart + (i) % DIGITS * digit_apart, stride * WORD);                         \
        _tile_dpbssd(i, LEFT, RIGHT);                                                                                  \
    }
    EACH_SUM(MULTIPLY)
#undef MULTIPLY
}

INLINE void clear_sums(bool both) {
#define CLEAR(i)                                                                                                       \
    if ((i) < DIGITS || both)                                                                                          \
        _tile_zero(i);
    EACH_SUM(CLEAR)
#undef CLEAR
}

INLINE void store_sums(words *to, bool both) {
#define STORE(i)                                                                                                       \
    if ((i) < DIGITS || both)                                                                                          \
        store(i, to[i], ROW_BYTES);
    EACH_SUM(STORE)
#undef STORE
}

/* Sixteen keys, or n and zeros. */
static void score_keys(const struct score_job *job, const char *const *row, int n, words *sums) {
    _Alignas(64) square copy;
    const bool even = n > 1 && are_even(row, n);
    clear_sums(job->both);
    for (int step = 0; step < job->steps; step++) {
        if (even)
            load(LEFT, row[0] + step * ROW_BYTES, row[1] - row[0]);
        else {
            copy_bytes(row, n, step * ROW_BYTES, ROW_BYTES, copy);
            load(LEFT, copy, ROW_BYTES);
        }
        multiply_digits(job->qt + step * SIDE * W, SIDE, (ptrdiff_t)job->words * W, W, job->both);
    }
    if (job->rest) {
        copy_bytes(row, n, job->steps * ROW_BYTES, job->rest, copy);
        load(LEFT, copy, ROW_BYTES);
        multiply_digits(job->qt_rest[0][0][0], DIGITS * SIDE * SIDE, SIDE * SIDE, SIDE, job->both);
    }
    store_sums(sums, job->both);
}

/* Scores of a group, and the largest. */
INLINE void finish_scores(words *sums, int n, vf factor, const float *scale, float *s, float *mb) {
    vf best = v_load(mb);
    for (int j = 0; j < n; j++) {
        const vf sum = v_joined(v_of_words(sums[0][j]), v_of_words(sums[1][j]), v_of_words(sums[2][j]));
        const vf score = sum * factor * v_set1(scale[j]);
        v_store(s + j * W, score);
        best = v_max(best, score);
    }
    v_store(mb, best);
}

/* While the registers work on sixteen keys, the ones before are finished. */
static void score_two(const struct score_job *job, vf factor[2], struct sa_rows k, float *s, float *mb,
                      struct sa_ahead *ahead) {
    _Alignas(64) words sums[2][2 * DIGITS];
    const char *const *row = sa_list_of(k);
    for (int j = 0; j < k.n + SIDE; j += SIDE) {
        if (j < k.n) {
            score_keys(job, row + j, smaller(k.n - j, SIDE), sums[j / SIDE % 2]);
            fetch_run(next_run(ahead, LINES_OF_KEYS));
        }
        const int done = j - SIDE;
        for (int i = 0; i <= job->both && done >= 0; i++)
            finish_scores(sums[done / SIDE % 2] + i * DIGITS, smaller(k.n - done, SIDE), factor[i], k.scale + done,
                          s + done * W + i * SIDE, mb + i * SIDE);
    }
}

static void amx_scores(const float *qt, int g0, int g1, struct sa_rows k, float *s, float *mb, struct sa_ahead *ahead) {
    struct score_job job;
    for (int g = g0; g < g1; g += 2) {
        open_job(&job, qt + g * SIDE, g + 1 < g1, k.d);
        const float *factors = job.qt + DIGITS * job.words * W;
        vf factor[2] = {v_load(factors), v_load(job.both ? factors + SIDE : factors)};
        score_two(&job, factor, k, s + g * SIDE, mb + g * SIDE, ahead);
    }
}

/* ---------------------------------------------------------------- values
 * 64 dimensions of 64 keys are turned into four squares, rows of 64 keys: row 4 a + b of square i is dimension
 * 16 a + 4 i + b.
 */

/* 64 bytes of four rows: word 4 a + b of vector i has bytes 16 a + 4 i + b. */
INLINE void weave_four(const __m512i row[4], __m512i to[4]) {
    const __m512i a = _mm512_unpacklo_epi8(row[0], row[1]), b = _mm512_unpackhi_epi8(row[0], row[1]);
    const __m512i c = _mm512_unpacklo_epi8(row[2], row[3]), d = _mm512_unpackhi_epi8(row[2], row[3]);
    to[0] = _mm512_unpacklo_epi16(a, c);
    to[1] = _mm512_unpackhi_epi16(a, c);
    to[2] = _mm512_unpacklo_epi16(b, d);
    to[3] = _mm512_unpackhi_epi16(b, d);
}

/* Bytes from c on of four rows, of which there are n, of d bytes. */
INLINE void weave_rows(const char *const *row, int n, int c, __mmask64 bytes, __m512i woven[4]) {
    __m512i four[4];
    UNROLL
    for (int i = 0; i < 4; i++)
        four[i] = i < n ? _mm512_maskz_loadu_epi8(bytes, row[i] + c) : _mm512_setzero_si512();
    weave_four(four, woven);
}

/* Row j of square i has word i, see above, of rows 4 j .. 4 j + 3 of n, up to 64. */
INLINE void weave_row(const char *const *row, int n, int j, int c, __mmask64 bytes, words squares[4]) {
    __m512i woven[4];
    weave_rows(row + 4 * j, n - 4 * j, c, bytes, woven);
    UNROLL
    for (int i = 0; i < 4; i++)
        _mm512_store_si512(squares[i][j], woven[i]);
}

static void turn_square(words from, words to) {
    const char *rows[SIDE];
    for (int i = 0; i < SIDE; i++)
        rows[i] = (const char *)from[i];
    for (int c = 0; c < SIDE; c += 4) {
        vf r[4];
        UNROLL
        for (int i = 0; i < 4; i++)
            r[i] = v_of_quarters(rows + i, c * WORD);
        v_turn(r);
        UNROLL
        for (int i = 0; i < 4; i++)
            v_store((float *)(void *)to[c + i], r[i]);
    }
}

/* to[c / 64][j / 64][i]: squares. */
static void amx_turn(const char *const *rows, int begin, int end, int d, void *turned) {
    words *to = turned;
    for (int c = 0; c < d; c += ROW_BYTES)
        for (int j = 0; j < SA_BLOCK_KEYS; j += ROW_BYTES, to += 4) {
            _Alignas(64) words woven[4];
            if (j + ROW_BYTES <= begin || end <= j)
                continue;
            for (int i = 0; i < SIDE; i++)
                weave_row(rows + j, end - j, i, c, first_bytes(d - c), woven);
            for (int i = 0; i < 4; i++)
                turn_square(woven[i], to[i]);
        }
}

/* The weights of sixteen rows, times the scales of values. */
struct weights {
    const float *p, *scale; /* of key 0 */
    int begin, end;         /* keys */
    int first_key, lane;    /* whose keys some rows do not see: what `keys` call key 0; other lanes than those of p */
    const struct sa_lane_keys *keys; /* NULL: weights of what is not seen are 0 */
};

INLINE vf weight_at(const struct weights *weights, int j) {
    const vf w = v_load(weights->p + j * W) * v_set1(weights->scale[j]);
    if (!weights->keys)
        return w;
    return v_select(visible(*weights->keys, weights->lane, weights->first_key + j), w, v_set1(0.0f));
}

/* What weights are in units of: 1 / up, times 1 / lift. */
struct units {
    vf down, drop;
};

/* Four weights of which some may be beside those that there are. */
INLINE void weigh_four(const struct weights *weights, int j, const vf *lift, vf up, const bool inside, vi four[4]) {
    UNROLL
    for (int x = 0; x < 4; x++) {
        vf w = v_set1(0.0f);
        if (inside || (weights->begin <= j + x && j + x < weights->end))
            w = weight_at(weights, j + x);
        if (lift)
            w = w * *lift;
        four[x] = _mm512_add_epi32(_mm512_cvtps_epi32(w * up), v_set1_i(AT_0));
    }
}

INLINE void write_weights(const struct weights *weights, const vf *lift, vf up, words (*to)[WEIGHT_DIGITS]) {
    const int begin = weights->begin / ROW_BYTES * ROW_BYTES;
    const int end = (weights->end + ROW_BYTES - 1) / ROW_BYTES * ROW_BYTES;
    for (int j = begin; j < end; j += 4) {
        vi four[4], digit[WEIGHT_DIGITS];
        if (weights->begin <= j && j + 4 <= weights->end)
            weigh_four(weights, j, lift, up, true, four);
        else
            weigh_four(weights, j, lift, up, false, four);
        part_digits(four, digit);
        UNROLL
        for (int k = 0; k < WEIGHT_DIGITS; k++)
            _mm512_store_si512(to[j / ROW_BYTES][k][j % ROW_BYTES / 4], digit[k]);
    }
}

/* Digits of the squares of keys that have any. */
static struct units digits_of(const struct weights *weights, words (*to)[WEIGHT_DIGITS]) {
    vf largest = v_set1(0.0f);
    for (int j = weights->begin; j < weights->end; j++)
        largest = v_max_abs(weight_at(weights, j), largest);
    const vf lift = lift_of(largest);
    const struct unit unit = unit_of(largest * lift, 30, 0);
    if (m_any(m_not(v_equal(lift, v_set1(1.0f)))))
        write_weights(weights, &lift, unit.up, to);
    else
        write_weights(weights, NULL, unit.up, to);
    return (struct units){unit.down, v_div(v_set1(1.0f), lift)};
}

#define EACH_DIGIT(X) X(0) X(1) X(2) X(3)

/* A square of dimensions, for each digit. */
INLINE void multiply_square(words turned, words *digits) {
    load(LEFT, turned, ROW_BYTES);
#define MULTIPLY(i)                                                                                                    \
    load(RIGHT, digits[i], ROW_BYTES);                                                                                 \
    _tile_dpbssd(i, LEFT, RIGHT);
    EACH_DIGIT(MULTIPLY)
#undef MULTIPLY
}

/* Dimension of row r of square i, from the first of 64 on. */
INLINE int dimension_of(int i, int r) { return r / 4 * 16 + 4 * i + r % 4; }

/* Square i of the dimensions from o on, of which there are n. */
static void add_sums(words *sums, int i, int n, struct units units, const float *alpha, float *o) {
    for (int r = 0; r < SIDE; r++) {
        float *to = o + dimension_of(i, r) * W;
        if (dimension_of(i, r) >= n)
            continue;
        const vf sum = v_joined_at(sums[0][r], SIDE * SIDE) * units.down * units.drop;
        v_store(to, alpha ? v_fma(v_load(to), v_load(alpha), sum) : sum);
    }
}

/* One group. */
static void add_values(const struct weights *weights, struct sa_rows v, const float *alpha, float *o,
                       struct sa_ahead *ahead, int lines) {
    _Alignas(64) words digits[MOST_SQUARES][WEIGHT_DIGITS], sums[WEIGHT_DIGITS];
    const struct units units = digits_of(weights, digits);
    const int first = weights->begin / ROW_BYTES, end = (weights->end + ROW_BYTES - 1) / ROW_BYTES;
    for (int c = 0; c < v.d; c += ROW_BYTES) {
        words(*turned)[4] = (words(*)[4])(uintptr_t)v.data + c / ROW_BYTES * MOST_SQUARES;
        for (int i = 0; i < 4 && c + 4 * i < v.d; i++) {
#define CLEAR(k) _tile_zero(k);
#define STORE(k) store(k, sums[k], ROW_BYTES);
            EACH_DIGIT(CLEAR)
            fetch_run(next_run(ahead, lines));
            for (int j = first; j < end; j++)
                multiply_square(turned[j][i], digits[j]);
            EACH_DIGIT(STORE)
#undef CLEAR
#undef STORE
            add_sums(sums, i, v.d - c, units, alpha, o + c * W);
        }
    }
}

static void amx_values(const float *p, int g0, int g1, const struct sa_stairs *keys, struct sa_rows v,
                       const float *alpha, float *o, struct sa_ahead *ahead) {
    const int squares = v.d / ROW_BYTES * 4 + smaller((v.d % ROW_BYTES + 3) / 4, 4);
    const int turns = squares * (g1 - g0) * (ahead->calls > 0 ? ahead->calls : 1);
    const int lines = (ahead->left + turns - 1) / turns;
    for (int g = g0; g < g1; g++) {
        const int lane = g * SIDE;
        const struct weights weights = {.p = p + lane, .scale = v.scale, .begin = keys->begin[g], .end = keys->end[g]};
        add_values(&weights, v, alpha ? alpha + lane : NULL, o + lane, ahead, lines);
    }
    ahead->calls--;
}

/* The keys of the run stand where first_key does in its block. */
static void amx_values_masked(const float *p, int g, struct sa_rows v, int first_key, struct sa_lane_keys keys,
                              const float *alpha, float *o) {
    const int lane = g * SIDE, begin = first_key % SA_BLOCK_KEYS;
    const struct weights weights = {.p = p + lane - begin * W,
                                    .scale = v.scale - begin,
                                    .begin = begin,
                                    .end = begin + v.n,
                                    .first_key = first_key - begin,
                                    .lane = lane,
                                    .keys = &keys};
    struct sa_ahead nothing;
    sa_ahead_open(&nothing);
    add_values(&weights, v, alpha + lane, o + lane, &nothing, 0);
}

/* ---------------------------------------------------------------- few rows, and one */

/* After what they are made of. */
#include "kernels/amx_int8_few.h"
#include "kernels/vnni_one.h"

static void few_scores(const float *qt, int n_rows, struct sa_pointed k, float *s) {
    if (n_rows == 1)
        vnni_scores(qt, &k, s);
    else
        amx_few_scores(qt, n_rows, k, s);
}

static void few_values(const float *p, int n_rows, struct sa_pointed v, float *sums) {
    if (n_rows == 1)
        vnni_values(p, &v, sums);
    else
        amx_few_values(p, n_rows, v, sums);
}

const struct sa_bytes sa_bytes_amx_int8 = {.enter = amx_enter,
                                           .leave = amx_leave,
                                           .pack = amx_pack,
                                           .turn = amx_turn,
                                           .few_level = amx_few_level,
                                           .few_join = amx_few_join,
                                           .products = {.scores = amx_scores,
                                                        .values = amx_values,
                                                        .finite = amx_finite,
                                                        .values_masked = amx_values_masked,
                                                        .few_step = 2 * SIDE,
                                                        .few_scores = few_scores,
                                                        .few_values = few_values}};
