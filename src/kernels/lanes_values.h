/* SPDX-License-Identifier: MIT */
/* Values: weights times the rows of v, summed over the keys of a block. Included by lanes.h and lanes_dots.h. */
#ifndef SA_LANES_VALUES_H
#define SA_LANES_VALUES_H

/* p, alpha and o point at the first lane; the stairs of the first group are the first. */
struct value_job {
    const float *p, *alpha;
    float *o;
    struct sa_rows v;
    const int *begin, *end; /* keys of each group */
    struct sa_ahead *ahead;
    int n_fetched; /* lines a tile fetches at most */
};

/* Key j of a register tile, for the vectors lo .. hi - 1 of it. */
INLINE void value_step(const int n_dims, const int n_vectors, const int lo, const int hi, const float *p,
                       const float *v, vf *sum) {
    vf w[MAX_VECTORS];
    UNROLL
    for (int i = lo; i < hi; i++)
        w[i] = v_load(p + i * LANES);
    UNROLL
    for (int c = 0; c < n_dims; c++) {
        vf value = v_set1(v[c]);
        UNROLL
        for (int i = lo; i < hi; i++)
            sum[c * n_vectors + i] = v_term(w[i], value, sum[c * n_vectors + i]);
    }
}

/* Keys j .. end - 1 for the vectors lo .. hi - 1 of a tile that begins at dimension c. */
INLINE int value_keys(const int n_dims, const int n_vectors, const int lo, const int hi, const bool fetches,
                      const struct value_job *job, int c, int j, int end, struct run ahead, vf *sum) {
    const float *p = job->p + j * W, *v = job->v.data + j * job->v.stride + c;
    const char *fetch = fetches ? ahead.at : (const char *)p;
    const ptrdiff_t fetch_step = fetches ? ahead.step : 0; /* else there may be nothing, or not so many rows */
    UNROLL_4
    for (; j < end; j++, p += W, v += job->v.stride, fetch += fetch_step) {
        value_step(n_dims, n_vectors, lo, hi, p, v, sum);
        if (fetches)
            __builtin_prefetch(fetch, 0, 2);
    }
    return j;
}

/* Stairs of several groups, vector 0 first: keys of the vectors 0 .. n - 1 before all are there, and of n .. after the
 * first ones have ended. Nothing where a vector is no whole group. */
INLINE int value_up(const int n, const int n_dims, const int n_vectors, const struct value_job *job, int c, int j,
                    vf *sum) {
    const struct run none = {NULL, 0, 0};
    return GROUP_VECTORS == 1 && n < n_vectors
               ? value_keys(n_dims, n_vectors, 0, n, false, job, c, j, job->begin[n], none, sum)
               : j;
}

INLINE int value_down(const int n, const int n_dims, const int n_vectors, const struct value_job *job, int c, int j,
                      vf *sum) {
    const struct run none = {NULL, 0, 0};
    return GROUP_VECTORS == 1 && n < n_vectors
               ? value_keys(n_dims, n_vectors, n, n_vectors, false, job, c, j, job->end[n], none, sum)
               : j;
}

/* A register tile: dimensions c .. c + n_dims - 1 x n_vectors vectors, over all keys. The keys of several groups form
 * stairs, up at the left edge of a window, down at the right one; the sums stay in registers all the way (not so with
 * clang, if the steps were a loop). */
INLINE void value_tile(const int n_dims, const int n_vectors, const struct value_job *job, int c, struct run ahead) {
    vf sum[MAX_SUMS];
    UNROLL
    for (int i = 0; i < n_dims * n_vectors; i++)
        sum[i] = v_set1(0.0f);
    int j = job->begin[0];
    j = value_up(1, n_dims, n_vectors, job, c, j, sum);
    j = value_up(2, n_dims, n_vectors, job, c, j, sum);
    j = value_up(3, n_dims, n_vectors, job, c, j, sum);
    if (ahead.n > 0)
        j = value_keys(n_dims, n_vectors, 0, n_vectors, true, job, c, j, j + ahead.n, ahead, sum);
    j = value_keys(n_dims, n_vectors, 0, n_vectors, false, job, c, j, job->end[0], ahead, sum);
    j = value_down(1, n_dims, n_vectors, job, c, j, sum);
    j = value_down(2, n_dims, n_vectors, job, c, j, sum);
    value_down(3, n_dims, n_vectors, job, c, j, sum);
    float *o = job->o + c * W;
    const float *alpha = job->alpha;
    UNROLL
    for (int i = 0; i < n_dims * n_vectors; i++) {
        float *at = o + i / n_vectors * W + i % n_vectors * LANES;
        v_store(at, alpha ? v_fma(v_load(at), v_load(alpha + i % n_vectors * LANES), sum[i]) : sum[i]);
    }
}

/* Dimensions begin .. end - 1 in tiles of one size. */
#define VALUE_FUNCTION(n_dims, n_vectors)                                                                              \
    static                                                                                                             \
        __attribute__((noinline)) void value_##n_dims##x##n_vectors(const struct value_job *job, int begin, int end) { \
        for (int c = begin; c < end; c += n_dims)                                                                      \
            value_tile(n_dims, n_vectors, job, c, next_run(job->ahead, job->n_fetched));                               \
    }
EACH_TILE(VALUE_FUNCTION)
#undef VALUE_FUNCTION

INLINE void value_tiles(const struct value_job *job, int n_vectors, int n_dims, int begin, int end) {
    if (begin < end)
        switch (n_dims * 8 + n_vectors) {
#define VALUE_CASE(n, v)                                                                                               \
    case n * 8 + v: value_##n##x##v(job, begin, end); break;
            EACH_TILE(VALUE_CASE)
#undef VALUE_CASE
        }
}

/* Spread evenly over the tiles of all calls, at most one for each key that all groups have. */
INLINE int lines_a_tile(const struct sa_ahead *ahead, int n_keys, int n_tiles) {
    const int tiles = n_tiles * (ahead->calls > 0 ? ahead->calls : 1), n = (ahead->left + tiles - 1) / tiles;
    return n < n_keys ? n : n_keys;
}

static void value_vectors(const float *p, int g0, int g1, int n_vectors, const struct sa_stairs *keys, struct sa_rows v,
                          const float *alpha, float *o, struct sa_ahead *ahead) {
    const int lane = g0 * SA_GROUP_ROWS;
    const struct tiling tiling = tiling_of(v.d, TILE_SIZE(n_vectors));
    const int middle = tiling.n_large * tiling.size;
    const int n_keys = keys->end[g0] - keys->begin[g1 - 1];
    const struct value_job job = {.p = p + lane,
                                  .alpha = alpha ? alpha + lane : NULL,
                                  .o = o + lane,
                                  .v = v,
                                  .begin = keys->begin + g0,
                                  .end = keys->end + g0,
                                  .ahead = ahead,
                                  .n_fetched = lines_a_tile(ahead, n_keys, tiling.n_tiles)};
    value_tiles(&job, n_vectors, tiling.size, 0, middle);
    value_tiles(&job, n_vectors, tiling.size - 1, middle, v.d);
    ahead->calls--;
}

static void lanes_values(const float *p, int g0, int g1, const struct sa_stairs *keys, struct sa_rows v,
                         const float *alpha, float *o, struct sa_ahead *ahead) {
    value_vectors(p, g0, g1, (g1 - g0) * GROUP_VECTORS, keys, v, alpha, o, ahead);
}

#ifdef HALF_GROUPS
static void lanes_half_values(const float *p, int g, const struct sa_stairs *keys, struct sa_rows v, const float *alpha,
                              float *o, struct sa_ahead *ahead) {
    value_vectors(p, g, g + 1, GROUP_VECTORS / 2, keys, v, alpha, o, ahead);
}
#endif

#endif
