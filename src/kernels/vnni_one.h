/* SPDX-License-Identifier: MIT */
/*
 * One row and int8, by VPDPBUSD, which adds the products of four bytes without a sign and four with one to an int32;
 * included by amx_int8.c. Sums are exact, so bits are those of AMX. For a single row that has little to do while memory
 * is read: it has to be woken, its results to be turned, and the clock falls. Two rows are faster by AMX already.
 */
#ifndef SA_VNNI_ONE_H
#define SA_VNNI_ONE_H

enum { PIECE = 16 };

/* ---------------------------------------------------------------- scores
 * Sixteen bytes of a key, four times, meet those of three digits of a query, 128 added to each, and sixteen ones.
 */

typedef int32_t piece[LANES];

INLINE int n_pieces(int d) { return (d + PIECE - 1) / PIECE; }

static void copy_pieces(const float *qt, int d, piece *to) {
    const int n_words = digit_words(d);
    for (int c = 0; c < n_pieces(d) * (PIECE / 4); c++)
        for (int k = 0; k <= DIGITS; k++) {
            int32_t word = 0x01010101;
            if (k < DIGITS && c < n_words)
                memcpy(&word, qt + (k * n_words + c) * W, WORD);
            to[c / 4][k * 4 + c % 4] = k < DIGITS ? word ^ (int32_t)0x80808080 : word;
        }
}

/* n bytes, or sixteen, and zeros. */
INLINE vi four_times(const char *key, int n) {
    const __m128i sixteen = n >= PIECE ? _mm_loadu_si128((const __m128i *)(const void *)key)
                                       : _mm_maskz_loadu_epi8((__mmask16)((1 << n) - 1), key);
    return _mm512_broadcast_i32x4(sixteen);
}

/* Four vectors, added up four by four lanes: quarter q of word i is the sum of quarter q of vector i. */
INLINE vi add_quarters(const vi a[4]) {
    const vi first = _mm512_add_epi32(_mm512_unpacklo_epi32(a[0], a[1]), _mm512_unpackhi_epi32(a[0], a[1]));
    const vi last = _mm512_add_epi32(_mm512_unpacklo_epi32(a[2], a[3]), _mm512_unpackhi_epi32(a[2], a[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(first, last), _mm512_unpackhi_epi64(first, last));
}

/* Four vectors of four quarters: vector q gets the quarters q. */
INLINE void turn_quarters(vi a[4]) {
    const vi low = _mm512_shuffle_i32x4(a[0], a[1], 0x44), high = _mm512_shuffle_i32x4(a[0], a[1], 0xee);
    const vi low_2 = _mm512_shuffle_i32x4(a[2], a[3], 0x44), high_2 = _mm512_shuffle_i32x4(a[2], a[3], 0xee);
    a[0] = _mm512_shuffle_i32x4(low, low_2, 0x88);
    a[1] = _mm512_shuffle_i32x4(low, low_2, 0xdd);
    a[2] = _mm512_shuffle_i32x4(high, high_2, 0x88);
    a[3] = _mm512_shuffle_i32x4(high, high_2, 0xdd);
}

/* Four keys: quarters of the digits and of the ones. */
INLINE vi score_four(const char *key, ptrdiff_t stride, int d, const piece *query) {
    vi sums[4];
    UNROLL
    for (int j = 0; j < 4; j++)
        sums[j] = _mm512_setzero_si512();
    for (int c = 0; c < d; c += PIECE)
        UNROLL
    for (int j = 0; j < 4; j++)
        sums[j] = _mm512_dpbusd_epi32(sums[j], v_of_words(query[c / PIECE]), four_times(key + j * stride + c, d - c));
    return add_quarters(sums);
}

/* Sixteen keys, evenly apart. */
INLINE void score_sixteen(const char *key, ptrdiff_t stride, int d, const piece *query, float factor, float *s,
                          struct cursor *cursor) {
    vi digit[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        digit[i] = score_four(key + 4 * i * stride, stride, d, query);
        fetch_bytes(4 * d, cursor);
    }
    turn_quarters(digit);
    const vi added = _mm512_slli_epi32(digit[DIGITS], 7);
    const vf sum = v_joined(_mm512_sub_epi32(digit[0], added), _mm512_sub_epi32(digit[1], added),
                            _mm512_sub_epi32(digit[2], added));
    v_store_any(s, sum * v_set1(factor));
}

/* Queries of all places, if there is room for them. */
enum { ROOM_PIECES = 128 };

static void vnni_scores(const float *qt, const struct sa_pointed *k, float *s) {
    _Alignas(64) piece room[ROOM_PIECES];
    struct cursor cursor = cursor_of(k);
    const int apart = n_pieces(k->d), own = k->q_rows ? k->places : 1;
    const bool fit = own * apart <= ROOM_PIECES;
    for (int i = 0; i < own && fit; i++)
        copy_pieces(qt + i * k->q_rows, k->d, room + i * apart);
    for (int at = 0; at < k->n; at += k->turn) {
        const int n = smaller(k->n - at, k->turn);
        for (int i = 0; i < k->places; i++) {
            const float *factor = qt + i * k->q_rows + DIGITS * digit_words(k->d) * W;
            if (!fit)
                copy_pieces(qt + i * k->q_rows, k->d, room);
            const piece *query = (const piece *)room + (fit && k->q_rows ? i * apart : 0);
            for (int j = at; j < at + n; j += SIDE) {
                set_near(k, i, at, j, SIDE, &cursor);
                score_sixteen(k->row[i * k->apart + j], k->stride, k->d, query, *factor,
                              s + i * SA_FEW_ROWS * SA_FEW_STRIDE + j, &cursor);
            }
        }
    }
}

/* ---------------------------------------------------------------- values
 * 128 is added to those, and taken off the sums again, as often as the digits add up to.
 */

/* 64 dimensions from c on of up to 64 keys, to the sums of each digit. */
INLINE void add_run(const char *const *row, int n, int d, int c, few_digits digits, const int32_t added[WEIGHT_DIGITS],
                    ptrdiff_t width, int32_t *sums, struct cursor *cursor) {
    const __mmask64 bytes = first_bytes(d - c);
    vi sum[WEIGHT_DIGITS][4];
    UNROLL
    for (int x = 0; x < WEIGHT_DIGITS * 4; x++)
        sum[x / 4][x % 4] = _mm512_sub_epi32(v_of_words(sums + x / 4 * width + x % 4 * SIDE), v_set1_i(added[x / 4]));
    for (int j = 0; j < n; j += 4) {
        __m512i woven[4];
        weave_rows(row + j, n - j, c, bytes, woven);
        UNROLL
        for (int i = 0; i < 4; i++)
            woven[i] = _mm512_xor_si512(woven[i], _mm512_set1_epi8(-128));
        UNROLL
        for (int k = 0; k < WEIGHT_DIGITS; k++) {
            int32_t four;
            memcpy(&four, digits[0][k] + j, sizeof four);
            UNROLL
            for (int i = 0; i < 4; i++)
                sum[k][i] = _mm512_dpbusd_epi32(sum[k][i], woven[i], v_set1_i(four));
        }
        fetch_each(true, cursor);
    }
    UNROLL
    for (int x = 0; x < WEIGHT_DIGITS * 4; x++)
        _mm512_store_si512(sums + x / 4 * width + x % 4 * SIDE, sum[x / 4][x % 4]);
}

/* 128 times what each digit of the first n keys adds up to; those behind become 0. */
static void add_up_digits(few_digits digits, int n, int32_t added[WEIGHT_DIGITS]) {
    for (int k = 0; k < WEIGHT_DIGITS; k++) {
        const vi own = _mm512_maskz_loadu_epi8(first_bytes(n), digits[0][k]);
        _mm512_store_si512(digits[0][k], own);
        added[k] = 128 * _mm512_reduce_add_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), own));
    }
}

static void vnni_values(const float *p, const struct sa_pointed *v, float *sums) {
    _Alignas(64) few_digits digits;
    struct cursor cursor = cursor_of(v);
    const int width = sa_bytes_stride(v->d);
    for (int at = 0; at < v->n; at += v->turn) {
        const int end = smaller(v->n, at + v->turn);
        for (int i = 0; i < v->places; i++)
            for (int j = at; j < end; j += ROW_BYTES) {
                const int n = smaller(end - j, ROW_BYTES);
                int32_t added[WEIGHT_DIGITS];
                set_near(v, i, at, j, n, &cursor);
                write_few_digits(p + i * SA_FEW_ROWS * SA_FEW_STRIDE + j, 1, digits);
                add_up_digits(digits, n, added);
                for (int c = 0; c < v->d; c += ROW_BYTES)
                    add_run(v->row + i * v->apart + j, n, v->d, c, digits, added, width,
                            (int32_t *)(void *)sums + i * SA_FEW_ROWS * WEIGHT_DIGITS * width + c, &cursor);
            }
    }
}

#endif
