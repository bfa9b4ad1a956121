/* SPDX-License-Identifier: MIT */
/* What tiles of few rows keep: q side by side, o row by row, as few_values() leaves its sums. Included by lanes.h. */
#ifndef SA_LANES_FEW_ROWS_H
#define SA_LANES_FEW_ROWS_H

#ifndef FEW_SIZES_1_8
INLINE void few_queries_of(const int n_rows, const float *qt, int d, float *to) {
    UNROLL_4
    for (int c = 0; c < d; c++)
        memcpy(to + c * n_rows, qt + c * W, (size_t)n_rows * sizeof *to);
}

static void lanes_few_queries(const float *qt, int n_rows, int d, float *to) {
    switch (n_rows) {
    case 1: few_queries_of(1, qt, d, to); break;
    case 2: few_queries_of(2, qt, d, to); break;
    case 4: few_queries_of(4, qt, d, to); break;
    default: few_queries_of(8, qt, d, to);
    }
}
#endif

/* Rows have room for whole vectors. */
static void lanes_few_add(int n_rows, int d, const float *sums, const float *alpha, float *o) {
    const int stride = sa_near_stride(d);
    for (int r = 0; r < n_rows; r++, sums += stride, o += stride) {
        const vf factor = v_set1(alpha[r]);
        for (int c = 0; c < d; c += LANES)
            v_store(o + c, v_fma_few(v_load(o + c), factor, v_load(sums + c)));
    }
}

static void lanes_few_merge(int n_rows, int d, const struct sa_state *a, const struct sa_state *b) {
    _Alignas(64) float fa[SA_GROUP_ROWS], fb[SA_GROUP_ROWS];
    const int stride = sa_near_stride(d);
    for (int lane = 0; lane < SA_GROUP_ROWS; lane += LANES) {
        vf of_a, of_b;
        merge_sums(a, b, lane, &of_a, &of_b);
        v_store(fa + lane, of_a);
        v_store(fb + lane, of_b);
    }
    for (int r = 0; r < n_rows; r++) {
        float *to = a->o + r * stride;
        const float *from = b->o + r * stride;
        for (int c = 0; c < d; c += LANES)
            v_store(to + c, v_fma_few(v_load(from + c), v_set1(fb[r]), v_load(to + c) * v_set1(fa[r])));
    }
}

static void lanes_few_finish(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]) {
    const int stride = sa_near_stride(d);
    for (int r = 0; r < n_rows; r++) {
        const float inverse = inverse_sum(state->l[r]), *o = state->o + r * stride;
        int c = 0;
        for (; c + LANES <= d; c += LANES)
            v_store_any(rows[r] + c, v_load(o + c) * v_set1(inverse) + v_set1(0.0f));
        for (; c < d; c++)
            rows[r][c] = o[c] * inverse + 0.0f;
    }
}

#endif
