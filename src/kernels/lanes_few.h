/* SPDX-License-Identifier: MIT */
/* Tiles of few rows, as in decoding: each row of k and v serves so few queries that reading it is what costs. So the
 * keys stand in the lanes for the scores, the dimensions for the values, and rows are read in the order of memory while
 * the next ones are fetched. The bits are those of the other kernels. Included by lanes.h and lanes_dots.h; values in
 * lanes_few_values.h. */
#ifndef SA_LANES_FEW_H
#define SA_LANES_FEW_H

#include "kernels/lanes_cursor.h"

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
#ifndef EACH_FEW
#define EACH_FEW(X)                                                                                                    \
    EACH_FEW_SIZE(X, f32, SA_F32)                                                                                      \
    EACH_FEW_SIZE(X, bf16, SA_BF16) EACH_FEW_SIZE(X, f16, SA_F16) EACH_FEW_SIZE(X, i8, SA_I8)
#endif
#define FEW_CASE(type, n) ((type)*16 + (n))

INLINE int few_size(int n_rows) {
#ifdef FEW_SIZES_1_8
    return n_rows > 1 ? 8 : 1;
#else
    return n_rows > 4 ? 8 : n_rows > 2 ? 4 : n_rows;
#endif
}

/* Does q of few rows stand in the lanes of qt as that of other tiles does, not side by side? See few_queries(). */
#ifdef FEW_SIZES_1_8
enum { FEW_IN_LANES = 1 };
#else
enum { FEW_IN_LANES = OF_PAIRS };
#endif

/* Floats from a dimension of its rows to the next. */
INLINE int few_q_step(int n_rows) { return FEW_IN_LANES ? W : n_rows; }

/* The values of some keys of a place, or of pairs of keys, and what they are added to. */
struct few_job {
    const float *p;
    const char *const *row;
    int n, d; /* n: keys or pairs */
    float *sums;
    int width; /* floats from a row of sums to the next */
};

/* ---------------------------------------------------------------- scores */

/* LANES rows that stand evenly apart: the first of each four, and how far it is to the next one and the third one. */
struct unit {
    const char *four[LANES / 4];
    ptrdiff_t stride, stride_3;
};

INLINE struct unit unit_of(const char *row, ptrdiff_t stride) {
    struct unit unit = {.stride = stride, .stride_3 = 3 * stride};
    UNROLL
    for (int i = 0; i < LANES / 4; i++)
        unit.four[i] = row + 4 * i * stride;
    return unit;
}

INLINE void move_unit(int bytes, struct unit *unit) {
    UNROLL
    for (int i = 0; i < LANES / 4; i++)
        unit->four[i] += bytes;
}

INLINE const char *row_of_unit(const struct unit *unit, const int i) {
    return unit->four[i / 4] + (i % 4 == 3 ? unit->stride_3 : i % 4 * unit->stride);
}

/* A dimension of LANES keys. */
INLINE void few_score_add(const int n_rows, const float *qt, vf x, vf *sum) {
    UNROLL
    for (int r = 0; r < n_rows; r++)
        sum[r] = v_term_few(v_set1(qt[r]), x, sum[r]);
}

/* Are elements, or pairs of which each is the upper half of a float, turned in registers, as words of 4 bytes? For many
 * rows what is turned is better kept in memory: then each element of q serves several units. */
INLINE bool few_in_words(const int type, const int n_rows) {
    return type == SA_F32 || (type == SA_BF16 && n_rows <= 2);
}

/* 16 bytes of each row. Elements of many rows of q, kept for the next unit, would drive sums out of the registers. */
INLINE void few_score_words(const int type, const int n_rows, struct unit *unit, const float *qt, vf *sum) {
    const int step = few_q_step(n_rows);
    const char *row[LANES];
    vf word[4];
    if (n_rows > 2)
        keep_address(qt);
    UNROLL
    for (int i = 0; i < LANES; i++)
        row[i] = row_of_unit(unit, i);
    UNROLL
    for (int i = 0; i < 4; i++)
        word[i] = v_of_quarters(row + i, 0);
    v_turn(word);
    UNROLL
    for (int i = 0; i < 4; i++)
        if (type == SA_F32)
            few_score_add(n_rows, qt + i * step, word[i], sum);
        else {
            few_score_add(n_rows, qt + 2 * i * step, v_of_first(word[i]), sum);
            few_score_add(n_rows, qt + (2 * i + 1) * step, v_of_second(word[i]), sum);
        }
    move_unit(16, unit);
}

/* 16 bytes of each row at a time, n_bytes of each unit at once. */
INLINE void few_score_in_words(const int type, const int n_rows, const int n_units, const int n_bytes,
                               struct unit *unit, const float *qt, vf *sum, struct cursor *cursor) {
    UNROLL
    for (int u = 0; u < n_units; u++) {
        UNROLL
        for (int at = 0; at < n_bytes; at += 16) {
            fetch(true, (u * n_bytes + at) * LANES, 16 * LANES, cursor);
            few_score_words(type, n_rows, &unit[u], qt + at / type_bytes(type) * few_q_step(n_rows), sum + u * n_rows);
        }
    }
}

/* 32 bytes of smaller ones are turned as such, through memory, so that each dimension of all keys stands together; they
 * are widened when they are used. */
INLINE void few_turn(const int type, struct unit *unit, char *turned) {
    const char *row[LANES];
    UNROLL
    for (int i = 0; i < LANES; i++)
        row[i] = row_of_unit(unit, i);
    if (type == SA_I8)
        v_turn_bytes(row, 0, turned);
    else
        v_turn_halves(row, 0, turned);
    move_unit(32, unit);
}

/* Where dimension c went. */
INLINE const char *few_turned(const int type, const char *turned, int c) {
    const int number = type == SA_I8 ? (c % 16 / 2 * 2 + c / 16) * 2 + c % 2 : c % 8 * 2 + c / 8;
    return turned + number * LANES * type_bytes(type);
}

INLINE void few_turn_each(const int type, const int n_units, struct unit *unit, char *turned) {
    UNROLL
    for (int u = 0; u < n_units; u++)
        few_turn(type, &unit[u], turned + u * FEW_TURNED);
    keep_memory(turned);
}

/* Each dimension for all keys, so that enough sums are under way. If there is more it is turned meanwhile, unit by
 * unit. */
INLINE void few_score_turned(const int type, const int n_rows, const int n_units, struct unit *unit, const float *qt,
                             const char *turned, const bool more, char *next, vf *sum, struct cursor *cursor) {
    const int n = 32 / type_bytes(type), share = n / n_units;
    UNROLL_32
    for (int c = 0; c < n; c++) {
        if (c % share == 0)
            fetch(true, c / share * LANES * 32, LANES * 32, cursor);
        if (more && c % share == 0)
            few_turn(type, &unit[c / share], next + c / share * FEW_TURNED);
        UNROLL
        for (int u = 0; u < n_units; u++)
            few_score_add(n_rows, qt + c * few_q_step(n_rows), v_of(type, few_turned(type, turned + u * FEW_TURNED, c)),
                          sum + u * n_rows);
    }
    if (more)
        keep_memory(next);
}

/* 32 bytes of each row at a time, n_steps times. Chains of multiply-adds that wait for themselves leave time to turn
 * what comes next; those of many rows do not, and fill the registers. */
INLINE void few_score_in_turns(const int type, const int n_rows, const int n_units, int n_steps, struct unit *unit,
                               const float *qt, vf *sum, struct cursor *cursor) {
    const bool ahead = n_rows <= 2;
    _Alignas(64) char both[2][FEW_UNITS * FEW_TURNED];
    char *turned = both[0], *next = both[1];
    if (ahead && n_steps)
        few_turn_each(type, n_units, unit, turned);
    for (; n_steps; n_steps--, qt += 32 / type_bytes(type) * few_q_step(n_rows)) {
        if (!ahead)
            few_turn_each(type, n_units, unit, turned);
        few_score_turned(type, n_rows, n_units, unit, qt, turned, ahead && n_steps > 1, next, sum, cursor);
        if (ahead) {
            char *const done = turned;
            turned = next;
            next = done;
        }
    }
}

/* Whole steps of the rows. Returns the bytes that are left of each. Units take turns as soon as they can, so that
 * chains do not wait for themselves; those of f32 take a line at a time, since memory is what they wait for. */
INLINE int few_score_steps(const int type, const int n_rows, const int n_units, int n_bytes, struct unit *unit,
                           const float *qt, vf *sum, struct cursor *cursor) {
    const int bytes = type_bytes(type), step = few_q_step(n_rows);
    int left = n_bytes;
    if (!few_in_words(type, n_rows)) {
        few_score_in_turns(type, n_rows, n_units, left / 32, unit, qt, sum, cursor);
        return left % 32;
    }
    for (; type == SA_F32 && left >= SA_LINE_BYTES; left -= SA_LINE_BYTES, qt += SA_LINE_FLOATS * step)
        few_score_in_words(type, n_rows, n_units, SA_LINE_BYTES, unit, qt, sum, cursor);
    for (; left >= 16; left -= 16, qt += 16 / bytes * step)
        few_score_in_words(type, n_rows, n_units, 16, unit, qt, sum, cursor);
    return left;
}

/* A dimension of rows that are shorter than a step, or what is left of them. */
INLINE void few_score_one(const int type, const int n_rows, const struct unit *unit, const float *qt, vf *sum) {
    _Alignas(64) float x[LANES];
    for (int i = 0; i < LANES; i++)
        x[i] = one_of(type, row_of_unit(unit, i));
    few_score_add(n_rows, qt, v_load(x), sum);
}

/* Register tile: n_units vectors of keys. */
INLINE void few_score_tile(const int type, const int n_rows, const int n_units, const float *qt,
                           const struct sa_pointed *k, const char *const *row, float *s, struct cursor *cursor) {
    const int bytes = type_bytes(type);
    struct unit unit[FEW_UNITS];
    vf sum[FEW_SUMS];
    UNROLL
    for (int i = 0; i < n_units * n_rows; i++)
        sum[i] = v_set1(0.0f);
    UNROLL
    for (int u = 0; u < n_units; u++)
        unit[u] = unit_of(row[u * LANES], k->stride);
    int left = few_score_steps(type, n_rows, n_units, k->d * bytes, unit, qt, sum, cursor);
    qt += (k->d - left / bytes) * few_q_step(n_rows);
    ROLLED
    for (; left; left -= bytes, qt += few_q_step(n_rows))
        UNROLL
    for (int u = 0; u < n_units; u++) {
        few_score_one(type, n_rows, &unit[u], qt, sum + u * n_rows);
        move_unit(bytes, &unit[u]);
    }
    UNROLL
    for (int i = 0; i < n_units * n_rows; i++) {
        if (OF_PAIRS)
            sum[i] = sum[i] * v_set1(qt[i % n_rows]);
        v_store(s + i % n_rows * FEW_STRIDE + i / n_rows * LANES, sum[i]);
    }
}

INLINE void few_score_places(const int type, const int n_rows, const float *qt, const struct sa_pointed *k, float *s) {
    const int most = sa_few_tile(LANES, type_bytes(type)) / LANES;
    const int n_units = FEW_SUMS / n_rows < most ? FEW_SUMS / n_rows : most;
    const int n = n_units * LANES;
    struct cursor cursor = cursor_of(k);
    for (int at = 0; at < k->n; at += k->turn) {
        const int end = at + k->turn < k->n ? at + k->turn : k->n;
        for (int p = 0; p < k->places; p++)
            for (int j = at, step; j < end; j += step) {
                const float *own = qt + (FEW_IN_LANES ? of_row(p * k->q_rows, k->d) : p * k->q_rows * k->d);
                const char *const *row = k->row + p * k->apart + j;
                float *to = s + p * SA_FEW_ROWS * FEW_STRIDE + j;
                step = end - j < n ? LANES : n; /* what is left: one vector of keys after the other */
                set_near(k, p, at, j, step, &cursor);
                if (n_units > 1 && step < n)
                    few_score_tile(type, n_rows, 1, own, k, row, to, &cursor);
                else
                    few_score_tile(type, n_rows, n_units, own, k, row, to, &cursor);
            }
    }
}

#define SCORE_FEW(name, type, n)                                                                                       \
    static void few_scores_##name##x##n(const float *qt, const struct sa_pointed *k, float *s) {                       \
        few_score_places(type, n, qt, k, s);                                                                           \
    }
EACH_FEW(SCORE_FEW)
#undef SCORE_FEW

static void lanes_few_scores(const float *qt, int n_rows, struct sa_pointed k, float *s) {
#define SCORE_FEW(name, type, n)                                                                                       \
    case FEW_CASE(type, n): few_scores_##name##x##n(qt, &k, s); break;
    switch (FEW_CASE(k.type, few_size(n_rows))) { EACH_FEW(SCORE_FEW) }
#undef SCORE_FEW
}

#endif
