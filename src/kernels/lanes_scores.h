/* SPDX-License-Identifier: MIT */
/* Scores: dot products of a run of keys with the rows of a pass. Included by lanes.h. */
#ifndef SA_LANES_SCORES_H
#define SA_LANES_SCORES_H

/* qt, s and mb point at the first lane. */
struct score_job {
    const float *qt;
    struct sa_rows k;
    float *s, *mb;
};

/* One dimension of a register tile. */
INLINE void score_step(const int n_keys, const int n_vectors, const float *qt, const float *k, ptrdiff_t stride,
                       vf *sum) {
    vf q[MAX_VECTORS];
    UNROLL
    for (int v = 0; v < n_vectors; v++)
        q[v] = v_load(qt + v * LANES);
    UNROLL
    for (int i = 0; i < n_keys; i++) {
        vf key = v_set1(k[i * stride]);
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            sum[i * n_vectors + v] = v_term(q[v], key, sum[i * n_vectors + v]);
    }
    /* Loads of the next step stay behind: clang would hoist all of a turn's and spill them. */
    __asm__ volatile("" ::: "memory");
}

/* A register tile: keys j .. j + n_keys - 1 x n_vectors vectors. Several dimensions a turn: the processor foresees the
 * end of a loop of 32 turns, not always of one of 64. */
INLINE void score_tile(const int n_keys, const int n_vectors, const struct score_job *job, int j, vf *best) {
    const ptrdiff_t stride = job->k.stride;
    const float *k = job->k.data + j * stride, *qt = job->qt;
    const int d = job->k.d;
    vf sum[MAX_SUMS];
    UNROLL
    for (int i = 0; i < n_keys * n_vectors; i++)
        sum[i] = v_set1(0.0f);
    int c = 0;
    for (; c + SCORE_STEPS <= d; c += SCORE_STEPS)
        UNROLL
    for (int step = 0; step < SCORE_STEPS; step++)
        score_step(n_keys, n_vectors, qt + (c + step) * W, k + c + step, stride, sum);
    for (; c < d; c++)
        score_step(n_keys, n_vectors, qt + c * W, k + c, stride, sum);
    float *s = job->s + j * W;
    UNROLL
    for (int i = 0; i < n_keys * n_vectors; i++) {
        if (OF_PAIRS)
            sum[i] = sum[i] * v_load(qt + d * W + i % n_vectors * LANES);
        v_store(s + i / n_vectors * W + i % n_vectors * LANES, sum[i]);
        best[i % n_vectors] = v_max(best[i % n_vectors], sum[i]);
    }
}

/* Tiles of one size over keys j .. end - 1. One function for each shape of tile: gcc allocates registers well for one
 * such loop in a function, badly for several. */
#define SCORE_FUNCTION(n_keys, n_vectors)                                                                              \
    static __attribute__((noinline)) void score_##n_keys##x##n_vectors(const struct score_job *job, int j, int end) {  \
        vf best[n_vectors];                                                                                            \
        UNROLL                                                                                                         \
        for (int v = 0; v < n_vectors; v++)                                                                            \
            best[v] = v_load(job->mb + v * LANES);                                                                     \
        for (; j < end; j += n_keys)                                                                                   \
            score_tile(n_keys, n_vectors, job, j, best);                                                               \
        UNROLL                                                                                                         \
        for (int v = 0; v < n_vectors; v++)                                                                            \
            v_store(job->mb + v * LANES, best[v]);                                                                     \
    }
EACH_TILE(SCORE_FUNCTION)
#undef SCORE_FUNCTION

INLINE void score_tiles(const struct score_job *job, int n_vectors, int n_keys, int begin, int end) {
    if (begin < end)
        switch (n_keys * 8 + n_vectors) {
#define SCORE_CASE(n, v)                                                                                               \
    case n * 8 + v: score_##n##x##v(job, begin, end); break;
            EACH_TILE(SCORE_CASE)
#undef SCORE_CASE
        }
}

static void lanes_scores(const float *qt, int g0, int g1, struct sa_rows k, float *s, float *mb) {
    const int lane = g0 * SA_GROUP_ROWS, n_vectors = (g1 - g0) * GROUP_VECTORS;
    const struct score_job job = {qt + lane, k, s + lane, mb + lane};
    const struct tiling tiling = tiling_of(k.n, TILE_SIZE(n_vectors));
    const int middle = tiling.n_large * tiling.size;
    score_tiles(&job, n_vectors, tiling.size, 0, middle);
    score_tiles(&job, n_vectors, tiling.size - 1, middle, k.n);
}

#endif
