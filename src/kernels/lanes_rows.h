/* SPDX-License-Identifier: MIT */
/* Rows of q into lanes, lanes into rows of o: transposing 4 x 4 floats. Included by lanes.h. */
#ifndef SA_LANES_ROWS_H
#define SA_LANES_ROWS_H

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
            quad_store(qt + (c + i) * W, r[i] * factor);
    }
    for (; c < d; c++)
        for (int i = 0; i < 4; i++)
            qt[c * W + i] = rows[i][c] * factor[0];
}

static void pack_column(const float *row, int d, float factor, float *qt) {
    for (int c = 0; c < d; c++)
        qt[c * W] = row ? row[c] * factor : 0.0f;
}

static void lanes_pack(const float *const rows[SA_TILE_ROWS], int n_rows, int d, float factor, float *qt) {
    const quad factors = {factor, factor, factor, factor};
    int r = 0;
    for (; r + 4 <= n_rows; r += 4)
        pack_quad(rows + r, d, factors, qt + of_row(r, d));
    for (; r % SA_GROUP_ROWS != 0 || r < n_rows; r++)
        pack_column(r < n_rows ? rows[r] : NULL, d, factor, qt + of_row(r, d));
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
            r[i] = quad_load(o + (c + i) * W) * inverse + zero;
        quad_transpose(r);
        UNROLL
        for (int i = 0; i < 4; i++)
            quad_store(rows[i] + c, r[i]);
    }
    for (; c < d; c++)
        for (int i = 0; i < 4; i++)
            rows[i][c] = o[c * W + i] * inverse[i] + 0.0f;
}

INLINE float inverse_sum(float l) { return l == 0.0f ? 0.0f : 1.0f / l; }

static void lanes_finish(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]) {
    const float *l = state->l;
    int r = 0;
    for (; r + 4 <= n_rows; r += 4) {
        quad inverse = {inverse_sum(l[r]), inverse_sum(l[r + 1]), inverse_sum(l[r + 2]), inverse_sum(l[r + 3])};
        finish_quad(state->o + of_row(r, d), d, inverse, rows + r);
    }
    for (; r < n_rows; r++)
        for (int c = 0; c < d; c++)
            rows[r][c] = state->o[of_row(r, d) + c * W] * inverse_sum(l[r]) + 0.0f;
}

#endif
