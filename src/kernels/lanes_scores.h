/* SPDX-License-Identifier: MIT */
/* Scores: dot products of a run of keys with the rows of a pass. Included by lanes.h and lanes_dots.h. */
#ifndef SA_LANES_SCORES_H
#define SA_LANES_SCORES_H

/* qt, s and mb point at the first lane. */
struct score_job {
    const float *qt;
    struct sa_rows k;
    float *s, *mb;
    struct sa_ahead *ahead;
    int n_beside; /* lines fetched before each tile, besides those that it fetches itself */
};

/* One dimension of a register tile. row: bytes from its first key to each. */
INLINE void score_step(const int n_keys, const int n_vectors, const float *qt, const char *k, const ptrdiff_t *row,
                       vf *sum) {
    vf q[MAX_VECTORS];
    UNROLL
    for (int v = 0; v < n_vectors; v++)
        q[v] = v_load(qt + v * LANES);
    UNROLL
    for (int i = 0; i < n_keys; i++) {
        vf key = v_set1(*(const float *)(const void *)(k + row[i]));
        UNROLL
        for (int v = 0; v < n_vectors; v++)
            v_add_term(&sum[i * n_vectors + v], q[v], key);
    }
    /* Loads of the next step stay behind: clang would hoist all of a turn's and spill them. */
    __asm__ volatile("" ::: "memory");
}

/* A register tile: n_keys keys from k on x n_vectors vectors, `steps` dimensions a turn. Several: the processor
 * foresees the end of a loop of 32 turns, not always of one of 64. */
INLINE void score_tile(const int n_keys, const int n_vectors, const int steps, const float *qt, const char *k,
                       const ptrdiff_t *row, int d, float *s, float *mb, struct sa_ahead *ahead) {
    const bool fetches = steps > 1; /* a line a dimension is too much */
    const struct run run = fetches ? next_turns(ahead, d / steps, qt) : (struct run){(const char *)qt, 0, 0};
    const char *fetch = run.at;
    vf sum[MAX_SUMS], best[MAX_VECTORS];
    UNROLL
    for (int i = 0; i < n_keys * n_vectors; i++)
        sum[i] = v_set1(0.0f);
    for (int turns = d / steps; turns; turns--, k += steps * sizeof(float), qt += steps * W, fetch += run.step) {
        UNROLL
        for (int step = 0; step < steps; step++)
            score_step(n_keys, n_vectors, qt + step * W, k + step * sizeof(float), row, sum);
        if (fetches)
            __builtin_prefetch(fetch, 0, 2);
    }
    UNROLL
    for (int v = 0; v < n_vectors; v++)
        best[v] = v_load(mb + v * LANES);
    UNROLL
    for (int i = 0; i < n_keys * n_vectors; i++) {
        if (OF_PAIRS)
            sum[i] = sum[i] * v_load(qt + i % n_vectors * LANES);
        v_store(s + i / n_vectors * W + i % n_vectors * LANES, sum[i]);
        best[i % n_vectors] = v_max(best[i % n_vectors], sum[i]);
        keep_memory(s); /* one by one: stores in a row keep the next tile's sums from being begun */
    }
    UNROLL
    for (int v = 0; v < n_vectors; v++)
        v_store(mb + v * LANES, best[v]);
}

/* With a line a turn the tiles of one pass over a block would come too late with its values: what is left are those,
 * and as many keys, which have the time of the values. */
INLINE int lines_beside(const struct sa_ahead *ahead, int n_turns, int n_tiles) {
    const int rest = ahead->left / 2 - n_turns * n_tiles;
    return ahead->afar && n_tiles > 0 && rest > 0 ? (rest + n_tiles - 1) / n_tiles : 0;
}

/* The keys of the next tile, in the order of memory: it reads some bytes of each in turn, and what it misses so comes
 * slowly. */
static __attribute__((noinline)) void fetch_beside(const struct score_job *job, const char *next, ptrdiff_t stride,
                                                   int n_keys) {
    const int bytes = job->k.d * (int)sizeof(float);
    for (int i = 0; i < n_keys; i++, next += stride)
        for (int at = 0; at < bytes; at += SA_LINE_BYTES)
            v_fetch_near(next, at);
    fetch_run(next_run(job->ahead, job->n_beside));
}

/* Tiles of one size over keys j .. end - 1. One function for each shape of tile: gcc allocates registers well for one
 * such loop in a function, badly for several. It would also add what each step adds to an address to every key's place,
 * for as many registers, if it knew where these come from. All dimensions in whole turns or one by one: what is between
 * the loop and the stores costs a twentieth. */
#define SCORE_FUNCTION(n_keys, n_vectors)                                                                              \
    static __attribute__((noinline)) void score_##n_keys##x##n_vectors(const struct score_job *job, int j, int end) {  \
        const struct score_job own = *job; /* not loaded again for each tile */                                        \
        const ptrdiff_t stride = own.k.stride * (ptrdiff_t)sizeof(float);                                              \
        const char *k = (const char *)own.k.data + j * stride;                                                         \
        float *s = own.s + j * W;                                                                                      \
        ptrdiff_t row[n_keys];                                                                                         \
        UNROLL                                                                                                         \
        for (int i = 0; i < n_keys; i++) {                                                                             \
            row[i] = i * stride;                                                                                       \
            if (i)                                                                                                     \
                keep_address(row[i]);                                                                                  \
        }                                                                                                              \
        if (own.k.d % SCORE_STEPS == 0)                                                                                \
            for (; j < end; j += n_keys, k += n_keys * stride, s += n_keys * W) {                                      \
                if (own.ahead->afar)                                                                                   \
                    fetch_beside(job, k + n_keys * stride, stride, n_keys);                                            \
                score_tile(n_keys, n_vectors, SCORE_STEPS, own.qt, k, row, own.k.d, s, own.mb, own.ahead);             \
            }                                                                                                          \
        else                                                                                                           \
            for (; j < end; j += n_keys, k += n_keys * stride, s += n_keys * W)                                        \
                score_tile(n_keys, n_vectors, 1, own.qt, k, row, own.k.d, s, own.mb, own.ahead);                       \
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

static void score_vectors(const float *qt, int lane, int n_vectors, struct sa_rows k, float *s, float *mb,
                          struct sa_ahead *ahead) {
    const struct tiling tiling = tiling_of(k.n, TILE_SIZE(n_vectors));
    const struct score_job job = {.qt = qt + lane,
                                  .k = k,
                                  .s = s + lane,
                                  .mb = mb + lane,
                                  .ahead = ahead,
                                  .n_beside = lines_beside(ahead, k.d / SCORE_STEPS, tiling.n_tiles)};
    const int middle = tiling.n_large * tiling.size;
    score_tiles(&job, n_vectors, tiling.size, 0, middle);
    score_tiles(&job, n_vectors, tiling.size - 1, middle, k.n);
}

static void lanes_scores(const float *qt, int g0, int g1, struct sa_rows k, float *s, float *mb,
                         struct sa_ahead *ahead) {
    score_vectors(qt, g0 * SA_GROUP_ROWS, (g1 - g0) * GROUP_VECTORS, k, s, mb, ahead);
}

#ifdef HALF_GROUPS
static void lanes_half_scores(const float *qt, int g, struct sa_rows k, float *s, float *mb, struct sa_ahead *ahead) {
    enum { HALF = GROUP_VECTORS / 2 };
    const int lane = g * SA_GROUP_ROWS;
    score_vectors(qt, lane, HALF, k, s, mb, ahead);
    for (int j = 0; j < k.n; j++)
        for (int v = HALF; v < GROUP_VECTORS; v++)
            v_store(s + j * W + lane + v * LANES, v_set1(-INFINITY));
}
#endif

#endif
