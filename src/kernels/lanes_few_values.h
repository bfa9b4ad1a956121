/* SPDX-License-Identifier: MIT */
/* Values of tiles of few rows: dimensions in the lanes. Included by lanes.h. */
#ifndef SA_LANES_FEW_VALUES_H
#define SA_LANES_FEW_VALUES_H

struct few_job {
    const float *p;
    struct sa_pointed v;
    float *sums;
    int width; /* floats from a row of sums to the next */
};

/* One vector of v after the other is widened and used, the registers being full of sums. */
INLINE void few_value_step(const int type, const int n_rows, const int n_vectors, const float *p, const char *v,
                           vf *sum) {
    UNROLL
    for (int i = 0; i < n_vectors; i++) {
        const vf value = v_of(type, v + i * LANES * type_bytes(type));
        UNROLL
        for (int r = 0; r < n_rows; r++)
            sum[r * n_vectors + i] = v_fma_few(v_set1(p[r * FEW_STRIDE]), value, sum[r * n_vectors + i]);
    }
}

/* A register tile: all keys of the run, from dimension c on. */
INLINE void few_value_tile(const int type, const int n_rows, const int n_vectors, const struct few_job *job, int c,
                           struct near *near, struct cursor *cursor) {
    enum { KEYS = 4 };
    const int bytes = n_vectors * LANES * type_bytes(type);
    const char *const *row = job->v.row;
    float *sums = job->sums + c;
    vf sum[FEW_SUMS];
    int j = 0;
    UNROLL
    for (int i = 0; i < n_rows * n_vectors; i++)
        sum[i] = v_load(sums + i / n_vectors * job->width + i % n_vectors * LANES);
    for (; j + KEYS <= job->v.n; j += KEYS) {
        if (near)
            fetch_near(KEYS * n_vectors * LANES, near);
        fetch_lines(sa_few_reads(type_bytes(type), n_rows), (KEYS * bytes + SA_LINE_BYTES - 1) / SA_LINE_BYTES, cursor);
        UNROLL
        for (int i = j; i < j + KEYS; i++)
            few_value_step(type, n_rows, n_vectors, job->p + i, row[i] + c * type_bytes(type), sum);
    }
    for (; j < job->v.n; j++)
        few_value_step(type, n_rows, n_vectors, job->p + j, row[j] + c * type_bytes(type), sum);
    UNROLL
    for (int i = 0; i < n_rows * n_vectors; i++)
        v_store(sums + i / n_vectors * job->width + i % n_vectors * LANES, sum[i]);
}

/* Dimensions that fill no vector, as floats on a copy. */
INLINE void few_value_rest(const int n_rows, const struct few_job *job, int c) {
    _Alignas(64) float rest[SA_RUN_KEYS][LANES];
    const char *row[SA_RUN_KEYS];
    const int bytes = type_bytes(job->v.type);
    for (int j = 0; j < job->v.n; j++) {
        const struct sa_stored from = {job->v.row[j] + c * bytes, 0, 1, job->v.d - c, job->v.type};
        memset(rest[j], 0, sizeof rest[j]);
        lanes_widen(from, rest[j], 0);
        row[j] = (const char *)rest[j];
    }
    const struct sa_fetched nothing = {row, 0, 0, 0};
    const struct few_job floats = {job->p, {row, job->v.n, 0, LANES, SA_F32, nothing}, job->sums + c, job->width};
    struct cursor cursor = cursor_of(nothing);
    few_value_tile(SA_F32, n_rows, 1, &floats, 0, NULL, &cursor);
}

#define REST_FEW(name, type, n)                                                                                        \
    static void few_rest_##n(const struct few_job *job, int c) { few_value_rest(n, job, c); }
EACH_FEW_SIZE(REST_FEW, any, SA_F32)
#undef REST_FEW

/* Tiles as large as the registers allow, then single vectors. */
INLINE int few_value_tiles(const int type, const int n_rows, const struct few_job *job, struct near *near,
                           struct cursor *cursor) {
    const int n_vectors = FEW_SUMS / n_rows < 8 ? FEW_SUMS / n_rows : 8;
    int c = 0;
    for (; c + n_vectors * LANES <= job->v.d; c += n_vectors * LANES)
        few_value_tile(type, n_rows, n_vectors, job, c, near, cursor);
    for (; n_vectors > 1 && c + LANES <= job->v.d; c += LANES)
        few_value_tile(type, n_rows, 1, job, c, near, cursor);
    return c;
}

/* Where a row takes several tiles, few keys at a time, so that they stay near from one tile to the next. */
INLINE int few_value_run(const int type, const int n_rows, const struct few_job *job) {
    enum { NEAR_KEYS = 16 };
    struct cursor cursor = cursor_of(job->v.ahead);
    struct near near = near_of(&job->v, NEAR_KEYS);
    struct few_job part = *job;
    int c = 0;
    if (n_rows == 1 || !sa_few_reads(type_bytes(type), n_rows))
        return few_value_tiles(type, n_rows, job, NULL, &cursor);
    for (int j = 0; j < job->v.n; j += NEAR_KEYS) {
        part.p = job->p + j;
        part.v.row = job->v.row + j;
        part.v.n = job->v.n - j < NEAR_KEYS ? job->v.n - j : NEAR_KEYS;
        c = few_value_tiles(type, n_rows, &part, &near, &cursor);
    }
    return c;
}

#define VALUE_FEW(name, type, n)                                                                                       \
    static void few_values_##name##x##n(const struct few_job *job) {                                                   \
        const int c = few_value_run(type, n, job);                                                                     \
        if (c < job->v.d)                                                                                              \
            few_rest_##n(job, c);                                                                                      \
    }
EACH_FEW(VALUE_FEW)
#undef VALUE_FEW

static void lanes_few_values(const float *p, int n_rows, struct sa_pointed v, float *sums) {
    const struct few_job job = {p, v, sums, sa_near_stride(v.d)};
#define VALUE_FEW(name, type, n)                                                                                       \
    case FEW_CASE(type, n): few_values_##name##x##n(&job); break;
    switch (FEW_CASE(v.type, few_size(n_rows))) { EACH_FEW(VALUE_FEW) }
#undef VALUE_FEW
}

/* Four dimensions of o: rows of sums to lanes, eight of them whatever the tile has. */
INLINE void few_add_strip(const float *sums, int width, const float *alpha, float *o) {
    _Alignas(64) float column[STRIP_COLUMNS][SA_GROUP_ROWS] = {{0}};
    strip r[4];
    UNROLL
    for (int i = 0; i < 4; i++)
        strip_of_rows(&r[i], sums + i * width, sums + (i + 4) * width);
    strip_transpose(r);
    UNROLL
    for (int i = 0; i < 4; i++) {
        memcpy(column[i], &r[i], sizeof r[i]);
        for (int lane = 0; lane < SA_FEW_ROWS; lane += LANES)
            v_store(o + i * W + lane,
                    v_fma_few(v_load(o + i * W + lane), v_load(alpha + lane), v_load(column[i] + lane)));
    }
}

static void lanes_few_add(int d, const float *sums, const float *alpha, float *o) {
    const int width = sa_near_stride(d);
    int c = 0;
    for (; c + STRIP_COLUMNS <= d; c += STRIP_COLUMNS)
        few_add_strip(sums + c, width, alpha, o + c * W);
    for (; c < d; c++) {
        _Alignas(64) float column[SA_GROUP_ROWS] = {0};
        for (int r = 0; r < SA_FEW_ROWS; r++)
            column[r] = sums[r * width + c];
        for (int lane = 0; lane < SA_FEW_ROWS; lane += LANES)
            v_store(o + c * W + lane, v_fma_few(v_load(o + c * W + lane), v_load(alpha + lane), v_load(column + lane)));
    }
}

#endif
