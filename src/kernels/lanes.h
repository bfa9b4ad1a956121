/* SPDX-License-Identifier: MIT */
/*
 * The one source of all micro-kernels; the contract is kernels.h. A file per instruction set includes its vec_<isa>.h,
 * this file, and names the table. The wrappers it relies on:
 *
 *     LANES                         floats in a vector `vf`; `vi` as many int32, `vmask` one bit or word a lane
 *     PASS_GROUPS                   groups that one pass over the keys takes side by side in registers
 *     SCORE_STEPS                   dimensions a turn of the score loop takes; rows ahead are fetched if more than 1
 *     SCORE_KEYS_*, VALUE_DIMS_*    keys (scores) and dimensions (values) of a register tile: for a full pass, and for
 *                                   passes of one or two groups
 *     v_load v_store v_set1 v_fma   aligned memory, broadcast, fused multiply-add
 *     v_max                         a > b ? a : b: the second operand if either is NaN
 *     v_exponent(n)                 the float whose bits are those of n << 23
 *     v_load_i v_set1_i v_less_i v_not_less v_equal m_and m_or m_not v_select(mask, a, b)
 *     v_mul_where(mask, a, b)       a * b where mask, 0 elsewhere
 *     v_fma_where(mask, a, b, c)    fma where mask, c elsewhere
 */
#ifndef SA_LANES_H
#define SA_LANES_H

#include "kernels/kernels.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum {
    ROW = SA_TILE_ROWS,                    /* stride of every tile array */
    GROUP_VECTORS = SA_GROUP_ROWS / LANES, /* vectors in a group */
    MAX_VECTORS = PASS_GROUPS * GROUP_VECTORS,
    MAX_SUMS = 16 /* accumulators of a register tile */
};

/* ---------------------------------------------------------------- 2^x
 * x = n + f with n the nearest integer, 2^f by a degree-6 minimax polynomial (relative error 3e-9 before rounding, 1.1
 * u after it) with constant term 1, so that 2^0 is exactly 1. Adding 1.5 * 2^23 + 127 rounds x to an integer and leaves
 * n + 127 in the low bits, from where a shift makes it the exponent of 2^n. A NaN passes through the polynomial; below
 * -126, where f may be anything, the weight is 0. */

INLINE vf exp2_nonpositive(vf x) {
    const vf magic = v_set1(12582912.0f + 127.0f);
    vf shifted = x + magic;
    vf f = x - (shifted - magic);
    vf p = v_set1(0x1.416b52p-13f);
    p = v_fma(p, f, v_set1(0x1.5f082ep-10f));
    p = v_fma(p, f, v_set1(0x1.3b2de0p-7f));
    p = v_fma(p, f, v_set1(0x1.c6af7cp-5f));
    p = v_fma(p, f, v_set1(0x1.ebfbdcp-3f));
    p = v_fma(p, f, v_set1(0x1.62e430p-1f));
    p = v_fma(p, f, v_set1(1.0f));
    return v_mul_where(v_not_less(x, v_set1(-126.0f)), p, v_exponent(shifted));
}

/* A maximum to subtract: -inf (no key seen yet) would give -inf - -inf. */
INLINE vf finite_max(vf m) { return v_select(v_equal(m, v_set1(-INFINITY)), v_set1(0.0f), m); }

/* ---------------------------------------------------------------- transposing 4 x 4 floats */

typedef float quad __attribute__((vector_size(16)));

INLINE quad quad_load(const float *p) {
    quad a;
    memcpy(&a, p, sizeof a);
    return a;
}

INLINE void quad_store(float *p, quad a) { memcpy(p, &a, sizeof a); }

INLINE void quad_transpose(quad r[4]) {
    quad a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    quad c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7), d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    r[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

static void pack_quad(const float *const four[4], int d, quad factor, float *qt) {
    const float *const rows[4] = {four[0], four[1], four[2], four[3]};
    int c = 0;
    for (; c + 4 <= d; c += 4) {
        quad r[4];
        UNROLL
        for (int i = 0; i < 4; i++)
            r[i] = quad_load(rows[i] + c);
        quad_transpose(r);
        UNROLL
        for (int i = 0; i < 4; i++)
            quad_store(qt + (c + i) * ROW, r[i] * factor);
    }
    for (; c < d; c++)
        for (int i = 0; i < 4; i++)
            qt[c * ROW + i] = rows[i][c] * factor[0];
}

static void pack_column(const float *row, int d, float factor, float *qt) {
    for (int c = 0; c < d; c++)
        qt[c * ROW] = row ? row[c] * factor : 0.0f;
}

static void lanes_pack(const float *const rows[SA_TILE_ROWS], int n_rows, int d, float factor, float *qt) {
    const quad factors = {factor, factor, factor, factor};
    int r = 0;
    for (; r + 4 <= n_rows; r += 4)
        pack_quad(rows + r, d, factors, qt + r);
    for (; r % SA_GROUP_ROWS != 0 || r < n_rows; r++)
        pack_column(r < n_rows ? rows[r] : NULL, d, factor, qt + r);
}

/* + 0 turns -0 into +0: whether a row met a block without visible keys must not show in the sign of a zero. */
static void finish_quad(const float *o, int d, quad inverse, float *const four[4]) {
    float *const rows[4] = {four[0], four[1], four[2], four[3]};
    const quad zero = {0};
    int c = 0;
    for (; c + 4 <= d; c += 4) {
        quad r[4];
        UNROLL
        for (int i = 0; i < 4; i++)
            r[i] = quad_load(o + (c + i) * ROW) * inverse + zero;
        quad_transpose(r);
        UNROLL
        for (int i = 0; i < 4; i++)
            quad_store(rows[i] + c, r[i]);
    }
    for (; c < d; c++)
        for (int i = 0; i < 4; i++)
            rows[i][c] = o[c * ROW + i] * inverse[i] + 0.0f;
}

INLINE float inverse_sum(float l) { return l == 0.0f ? 0.0f : 1.0f / l; }

static void lanes_finish(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]) {
    const float *l = state->l;
    int r = 0;
    for (; r + 4 <= n_rows; r += 4) {
        quad inverse = {inverse_sum(l[r]), inverse_sum(l[r + 1]), inverse_sum(l[r + 2]), inverse_sum(l[r + 3])};
        finish_quad(state->o + r, d, inverse, rows + r);
    }
    for (; r < n_rows; r++)
        for (int c = 0; c < d; c++)
            rows[r][c] = state->o[c * ROW + r] * inverse_sum(l[r]) + 0.0f;
}

/* ---------------------------------------------------------------- scores */

/* Lanes of vector v of group g that see key j. */
INLINE vmask visible(const struct sa_lane_keys *keys, int lane, int j) {
    vi key = v_set1_i(j);
    vmask in_window = m_not(v_less_i(key, v_load_i(keys->lo + lane)));
    vmask in_sink = v_less_i(key, v_load_i(keys->sink + lane));
    return m_and(m_or(in_window, in_sink), v_less_i(key, v_load_i(keys->hi + lane)));
}

/* A run of keys and the lanes they are scored for: qt, s and mb point at the first of them. */
struct score_job {
    const float *qt;
    struct sa_rows k, ahead;
    const struct sa_lane_keys *keys; /* for masked tiles: who sees which key; */
    int lane, first_key;             /* the first lane and the first key of the job in it */
    int n_passes;                    /* passes of n_vectors vectors each, side by side */
    float *s, *mb;
};

/* Dimension c of a register tile. Every fourth row of `ahead`, from row `fetch` on, is asked for at c. */
INLINE void score_step(const int n_keys, const int n_vectors, const int fetch, const float *qt, const float *k,
                       ptrdiff_t k_stride, const float *ahead, ptrdiff_t ahead_stride, vf *sum) {
    vf q[MAX_VECTORS];
    UNROLL
    for (int v = 0; v < n_vectors; v++)
        q[v] = v_load(qt + v * LANES);
    UNROLL
    for (int i = fetch; SCORE_STEPS > 1 && i < n_keys; i += SCORE_STEPS)
        __builtin_prefetch(ahead + i * ahead_stride, 0, 2);
    UNROLL
    for (int i = 0; i < n_keys; i++) {
        vf key = v_set1(k[i * k_stride]);
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            sum[i * n_vectors + v] = v_fma(q[v], key, sum[i * n_vectors + v]);
    }
    /* Loads of the next step stay behind: clang would hoist all of a turn's and spill them. */
    __asm__ volatile("" ::: "memory");
}

/* A register tile: keys j .. j + n_keys - 1 x n_vectors vectors from `lane` of the job on. Several dimensions a turn:
 * the processor foresees the end of a loop of 32 turns, not always of one of 64. */
INLINE void score_tile(const int n_keys, const int n_vectors, const bool masked, const struct score_job *job, int j,
                       int lane, vf *best) {
    const ptrdiff_t k_stride = job->k.stride, ahead_stride = job->ahead.stride;
    const float *k = job->k.data + j * k_stride, *ahead = job->ahead.data + j * ahead_stride, *qt = job->qt + lane;
    const int d = job->k.d;
    vf sum[MAX_SUMS];
    UNROLL
    for (int i = 0; i < n_keys * n_vectors; i++)
        sum[i] = v_set1(0.0f);
    int c = 0;
    for (; c + SCORE_STEPS <= d; c += SCORE_STEPS)
        UNROLL
    for (int step = 0; step < SCORE_STEPS; step++)
        score_step(n_keys, n_vectors, step, qt + (c + step) * ROW, k + c + step, k_stride, ahead + c, ahead_stride,
                   sum);
    for (; c < d; c++)
        score_step(n_keys, n_vectors, SCORE_STEPS, qt + c * ROW, k + c, k_stride, ahead, ahead_stride, sum);
    float *s = job->s + j * ROW + lane;
    UNROLL
    for (int i = 0; i < n_keys * n_vectors; i++) {
        int v = i % n_vectors, key = i / n_vectors;
        if (masked)
            sum[i] = v_select(visible(job->keys, job->lane + lane + v * LANES, job->first_key + j + key), sum[i],
                              v_set1(-INFINITY));
        v_store(s + key * ROW + v * LANES, sum[i]);
        best[v] = v_max(best[v], sum[i]);
    }
}

/* As many whole tiles as the run has from key j on; returns the first key left over. With several passes the keys are
 * outside, so that those of a tile are read from memory once. */
INLINE int score_tiles(const int n_keys, const int n_vectors, const bool masked, const int n_passes,
                       const struct score_job *job, int j) {
    vf best[MAX_VECTORS];
    UNROLL
    for (int v = 0; v < n_vectors; v++)
        best[v] = v_load(job->mb + v * LANES);
    for (; j + n_keys <= job->k.n; j += n_keys)
        for (int pass = 0; pass < n_passes; pass++) {
            float *mb = job->mb + pass * n_vectors * LANES;
            if (n_passes > 1)
                UNROLL
            for (int v = 0; v < n_vectors; v++)
                best[v] = v_load(mb + v * LANES);
            score_tile(n_keys, n_vectors, masked, job, j, pass * n_vectors * LANES, best);
            UNROLL
            for (int v = 0; v < n_vectors; v++)
                v_store(mb + v * LANES, best[v]);
        }
    return j;
}

/* One function for each shape of tile: gcc allocates registers well for one such loop in a function, badly for several.
 */
#define SCORE_FUNCTION(name, n_keys, n_vectors, masked, n_passes)                                                      \
    static __attribute__((noinline)) int name(const struct score_job *job, int j) {                                    \
        return score_tiles(n_keys, n_vectors, masked, n_passes, job, j);                                               \
    }

SCORE_FUNCTION(score_masked, SCORE_KEYS_NARROW, GROUP_VECTORS, true, 1)
SCORE_FUNCTION(score_masked_1, 1, GROUP_VECTORS, true, 1)

#if PASSES_SEVERAL_GROUPS
SCORE_FUNCTION(score_4, SCORE_KEYS_WIDE, 4, false, 1)
SCORE_FUNCTION(score_3, SCORE_KEYS_WIDE, 3, false, 1)
SCORE_FUNCTION(score_2, SCORE_KEYS_NARROW, 2, false, 1)
SCORE_FUNCTION(score_1, SCORE_KEYS_NARROW, 1, false, 1)
SCORE_FUNCTION(score_4_1, 1, 4, false, 1)
SCORE_FUNCTION(score_3_1, 1, 3, false, 1)
SCORE_FUNCTION(score_2_1, 1, 2, false, 1)
SCORE_FUNCTION(score_1_1, 1, 1, false, 1)

static void score_groups(const struct score_job *job) {
    switch (job->n_passes) {
    case 4: score_4_1(job, score_4(job, 0)); break;
    case 3: score_3_1(job, score_3(job, 0)); break;
    case 2: score_2_1(job, score_2(job, 0)); break;
    default: score_1_1(job, score_1(job, 0)); break;
    }
}
#else
SCORE_FUNCTION(score_several, SCORE_KEYS_WIDE, GROUP_VECTORS, false, job->n_passes)
SCORE_FUNCTION(score_several_1, 1, GROUP_VECTORS, false, job->n_passes)

static void score_groups(const struct score_job *job) { score_several_1(job, score_several(job, 0)); }
#endif

static void lanes_scores(const float *qt, int g0, int g1, struct sa_rows k, struct sa_rows ahead, float *s, float *mb) {
    const int lane = g0 * SA_GROUP_ROWS;
    const struct score_job job = {
        .qt = qt + lane, .k = k, .ahead = ahead, .n_passes = g1 - g0, .s = s + lane, .mb = mb + lane};
    score_groups(&job);
}

static void lanes_scores_masked(const float *qt, int g, struct sa_rows k, int first_key,
                                const struct sa_lane_keys *keys, float *s, float *mb) {
    const int lane = g * SA_GROUP_ROWS;
    const struct score_job job = {.qt = qt + lane,
                                  .k = k,
                                  .ahead = k,
                                  .keys = keys,
                                  .lane = lane,
                                  .first_key = first_key,
                                  .n_passes = 1,
                                  .s = s + lane,
                                  .mb = mb + lane};
    score_masked_1(&job, score_masked(&job, 0));
}

static void lanes_scores_none(int g, int n_keys, float *s) {
    for (int j = 0; j < n_keys; j++)
        for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES)
            v_store(s + j * ROW + lane, v_set1(-INFINITY));
}

/* ---------------------------------------------------------------- weights */

INLINE vf weight(float *s, vf m) {
    vf p = exp2_nonpositive(v_load(s) - m);
    v_store(s, p);
    return p;
}

/* The tree of kernels.h, in an order that keeps at most five partial sums alive. */
INLINE vf weights8(float *s, int i, vf m) { return weight(s + i * ROW, m) + weight(s + (i + 8) * ROW, m); }
INLINE vf weights4(float *s, int i, vf m) {
    vf first = weights8(s, i, m);
    return first + weights8(s, i + 4, m);
}
INLINE vf weights2(float *s, int i, vf m) {
    vf first = weights4(s, i, m);
    return first + weights4(s, i + 2, m);
}
INLINE vf weights1(float *s, vf m) {
    vf first = weights2(s, 0, m);
    return first + weights2(s, 1, m);
}

static void lanes_weights(int g, int n_keys, float *s, const float *mb, float *m, float *l, float *alpha) {
    for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES) {
        vf m_new = v_max(v_load(m + lane), v_load(mb + lane));
        vf shift = finite_max(m_new);
        vf factor = exp2_nonpositive(v_load(m + lane) - shift);
        vf sum = v_set1(0.0f);
        for (int j = 0; j < n_keys; j += SA_SUM_KEYS)
            sum = sum + weights1(s + j * ROW + lane, shift);
        v_store(m + lane, m_new);
        v_store(alpha + lane, factor);
        v_store(l + lane, v_fma(v_load(l + lane), factor, sum));
    }
}

/* ---------------------------------------------------------------- values */

/* What becomes of the sum of a register tile. */
enum sum_use { SUM_APPLY, /* from 0, then o = o alpha + sum */ SUM_CONTINUE /* from *o, back to *o */ };

/* A register tile: n_dims dimensions x n_vectors vectors, over all keys of the run. `masks`, if given, has one mask for
 * each key and vector. */
INLINE void value_tile(const int n_dims, const int n_vectors, const enum sum_use use, const float *p, struct sa_rows v,
                       const vmask *masks, const float *alpha, float *o) {
    vf sum[MAX_SUMS];
    UNROLL
    for (int i = 0; i < n_dims * n_vectors; i++)
        sum[i] = use == SUM_CONTINUE ? v_load(o + i / n_vectors * ROW + i % n_vectors * LANES) : v_set1(0.0f);
    for (int j = 0; j < v.n; j++) {
        vf w[MAX_VECTORS];
        UNROLL
        for (int i = 0; i < n_vectors; i++)
            w[i] = v_load(p + j * ROW + i * LANES);
        UNROLL
        for (int c = 0; c < n_dims; c++) {
            vf value = v_set1(v.data[j * v.stride + c]);
            UNROLL
            for (int i = 0; i < n_vectors; i++) {
                vf *x = &sum[c * n_vectors + i];
                *x = masks ? v_fma_where(masks[j * n_vectors + i], w[i], value, *x) : v_fma(w[i], value, *x);
            }
        }
    }
    UNROLL
    for (int i = 0; i < n_dims * n_vectors; i++) {
        float *to = o + i / n_vectors * ROW + i % n_vectors * LANES;
        v_store(to, use == SUM_CONTINUE ? sum[i] : v_fma(v_load(to), v_load(alpha + i % n_vectors * LANES), sum[i]));
    }
}

/* All dimensions of a run for n_vectors vectors; p, alpha and o point at the first of their lanes. */
INLINE void value_pass(const int n_dims, const int n_vectors, const enum sum_use use, const float *p, struct sa_rows v,
                       const vmask *masks, const float *alpha, float *o) {
    struct sa_rows at = v;
    int left = v.d;
    for (; left >= n_dims; left -= n_dims, at.data += n_dims, o += n_dims * ROW)
        value_tile(n_dims, n_vectors, use, p, at, masks, alpha, o);
    if (n_dims > 4)
        for (; left >= 4; left -= 4, at.data += 4, o += 4 * ROW)
            value_tile(4, n_vectors, use, p, at, masks, alpha, o);
    for (; left > 0; left--, at.data++, o += ROW)
        value_tile(1, n_vectors, use, p, at, masks, alpha, o);
}

INLINE void value_groups(const enum sum_use use, const float *p, int g0, int g1, struct sa_rows v, const float *alpha,
                         float *o) {
    const int lane = g0 * SA_GROUP_ROWS;
#if PASSES_SEVERAL_GROUPS
    switch (g1 - g0) {
    case 4: value_pass(VALUE_DIMS_WIDE, 4, use, p + lane, v, NULL, alpha + lane, o + lane); break;
    case 3: value_pass(VALUE_DIMS_WIDE, 3, use, p + lane, v, NULL, alpha + lane, o + lane); break;
    case 2: value_pass(VALUE_DIMS_NARROW, 2, use, p + lane, v, NULL, alpha + lane, o + lane); break;
    default: value_pass(VALUE_DIMS_NARROW, 1, use, p + lane, v, NULL, alpha + lane, o + lane); break;
    }
#else
    for (int r = lane; r < g1 * SA_GROUP_ROWS; r += SA_GROUP_ROWS)
        value_pass(VALUE_DIMS_WIDE, GROUP_VECTORS, use, p + r, v, NULL, alpha + r, o + r);
#endif
}

static void lanes_values(const float *p, int g0, int g1, struct sa_rows v, const float *alpha, float *o) {
    value_groups(SUM_APPLY, p, g0, g1, v, alpha, o);
}

static void lanes_values_part(const float *p, int g0, int g1, struct sa_rows v, float *sum) {
    value_groups(SUM_CONTINUE, p, g0, g1, v, sum, sum);
}

enum { MASKED_KEYS = 16 }; /* keys whose masks are worked out at once and then used for all dimensions */

static void lanes_values_masked(const float *p, int g, struct sa_rows v, int first_key, const struct sa_lane_keys *keys,
                                float *sum) {
    const int lane = g * SA_GROUP_ROWS;
    struct sa_rows some = v;
    for (int left = v.n, at = 0; left > 0;
         left -= MASKED_KEYS, at += MASKED_KEYS, some.data += MASKED_KEYS * v.stride) {
        vmask masks[MASKED_KEYS * GROUP_VECTORS];
        some.n = left < MASKED_KEYS ? left : MASKED_KEYS;
        for (int i = 0; i < MASKED_KEYS * GROUP_VECTORS; i++)
            masks[i] = visible(keys, lane + i % GROUP_VECTORS * LANES, first_key + at + i / GROUP_VECTORS);
        value_pass(VALUE_DIMS_NARROW, GROUP_VECTORS, SUM_CONTINUE, p + at * ROW + lane, some, masks, sum, sum + lane);
    }
}

static void lanes_values_apply(int g0, int g1, int d, const float *sum, const float *alpha, float *o) {
    for (int lane = g0 * SA_GROUP_ROWS; lane < g1 * SA_GROUP_ROWS; lane += LANES) {
        vf factor = v_load(alpha + lane);
        for (int c = 0; c < d; c++)
            v_store(o + c * ROW + lane, v_fma(v_load(o + c * ROW + lane), factor, v_load(sum + c * ROW + lane)));
    }
}

/* ---------------------------------------------------------------- merging two partial results */

static void lanes_merge(int n_groups, int d, struct sa_state *a, const struct sa_state *b) {
    for (int lane = 0; lane < n_groups * SA_GROUP_ROWS; lane += LANES) {
        vf ma = v_load(a->m + lane), mb = v_load(b->m + lane), m = v_max(ma, mb), shift = finite_max(m);
        vf fa = exp2_nonpositive(ma - shift), fb = exp2_nonpositive(mb - shift);
        v_store(a->m + lane, m);
        v_store(a->l + lane, v_fma(v_load(b->l + lane), fb, v_load(a->l + lane) * fa));
        for (int c = 0; c < d; c++) {
            float *o = a->o + c * ROW + lane;
            v_store(o, v_fma(v_load(b->o + c * ROW + lane), fb, v_load(o) * fa));
        }
    }
}

#define LANES_TABLE(table, its_name, its_isa)                                                                          \
    const struct sa_kernels table = {.name = its_name,                                                                 \
                                     .isa = its_isa,                                                                   \
                                     .lanes = LANES,                                                                   \
                                     .pack = lanes_pack,                                                               \
                                     .scores = lanes_scores,                                                           \
                                     .scores_masked = lanes_scores_masked,                                             \
                                     .scores_none = lanes_scores_none,                                                 \
                                     .weights = lanes_weights,                                                         \
                                     .values = lanes_values,                                                           \
                                     .values_part = lanes_values_part,                                                 \
                                     .values_masked = lanes_values_masked,                                             \
                                     .values_apply = lanes_values_apply,                                               \
                                     .merge = lanes_merge,                                                             \
                                     .finish = lanes_finish}

#endif
