/* SPDX-License-Identifier: MIT */
/* Values of tiles of few rows: dimensions in the lanes. Included by lanes.h. */
#ifndef SA_LANES_FEW_VALUES_H
#define SA_LANES_FEW_VALUES_H

/* What is used once or twice may be read by the multiply-add itself. */
INLINE void few_value_add(const int n_rows, vf weight, vf value, vf *sum) {
    *sum = n_rows > 2 ? v_fma_onto(weight, value, *sum) : v_fma_few(weight, value, *sum);
}

/* One vector of v after the other is widened and used, the registers being full of sums. */
INLINE void few_value_step(const int type, const int n_rows, const int n_vectors, const float *p, const char *v,
                           vf *sum) {
    UNROLL
    for (int i = 0; i < n_vectors; i++) {
        const vf value = v_of(type, v + i * LANES * type_bytes(type));
        UNROLL
        for (int r = 0; r < n_rows; r++)
            few_value_add(n_rows, v_set1(p[r * FEW_STRIDE]), value, &sum[r * n_vectors + i]);
    }
}

/* Pairs of bf16, each the upper half of a float: sums of the even and of the odd dimensions. */
INLINE void few_value_pairs(const int n_rows, const int n_vectors, const float *p, const char *v, vf *sum) {
    UNROLL
    for (int i = 0; i < n_vectors; i += 2) {
        const vf pairs = v_load_any((const float *)(const void *)(v + i * LANES * 2));
        const vf even = v_of_first(pairs), odd = v_of_second(pairs);
        UNROLL
        for (int r = 0; r < n_rows; r++) {
            const vf weight = v_set1(p[r * FEW_STRIDE]);
            sum[r * n_vectors + i] = v_fma_few(weight, even, sum[r * n_vectors + i]);
            sum[r * n_vectors + i + 1] = v_fma_few(weight, odd, sum[r * n_vectors + i + 1]);
        }
    }
}

INLINE bool in_pairs(const int type, const int n_vectors) { return type == SA_BF16 && n_vectors % 2 == 0; }

/* A key. */
INLINE void few_value_key(const int type, const int n_rows, const int n_vectors, const float *p, const char *v,
                          vf *sum) {
    if (n_vectors > 2)
        keep_address(v);
    if (in_pairs(type, n_vectors))
        few_value_pairs(n_rows, n_vectors, p, v, sum);
    else
        few_value_step(type, n_rows, n_vectors, p, v, sum);
}

/* A register tile: all keys of the job, from dimension c on; of the tiles that read a row one fetches. */
INLINE void few_value_tile(const int type, const int n_rows, const int n_vectors, const bool fetches,
                           const struct few_job *job, int c, struct cursor *cursor) {
    enum { KEYS = 4 };
    const bool pairs = in_pairs(type, n_vectors);
    const bool near = n_rows > 1 || job->d > n_vectors * LANES; /* else a row is read at once */
    const int bytes = n_vectors * LANES * type_bytes(type), n = job->n;
    const char *const *row = job->row;
    const float *p = job->p;
    float *sums = job->sums + c;
    vf sum[FEW_SUMS];
    int j = 0;
    c *= type_bytes(type);
    UNROLL
    for (int i = 0; i < n_rows * n_vectors; i++)
        sum[i] = v_load(sums + i / n_vectors * job->width + i % n_vectors * LANES);
    UNROLL
    for (int i = 0; i < n_rows * n_vectors; i += 2)
        if (pairs)
            v_part(&sum[i], &sum[i + 1]);
    for (; j + KEYS <= n; j += KEYS) {
        if (fetches && KEYS * bytes < FETCH_BYTES && j % (FETCH_BYTES / bytes) == 0)
            fetch_each(near, cursor);
        UNROLL
        for (int i = 0; i < KEYS; i++) {
            if (fetches)
                fetch(near, i * bytes, bytes, cursor);
            few_value_key(type, n_rows, n_vectors, p + j + i, row[j + i] + c, sum);
        }
    }
    for (; j < n; j++)
        few_value_key(type, n_rows, n_vectors, p + j, row[j] + c, sum);
    UNROLL
    for (int i = 0; i < n_rows * n_vectors; i += 2)
        if (pairs)
            v_join(&sum[i], &sum[i + 1]);
    UNROLL
    for (int i = 0; i < n_rows * n_vectors; i++)
        v_store(sums + i / n_vectors * job->width + i % n_vectors * LANES, sum[i]);
}

/* Dimensions that fill no vector, as floats on a copy. */
INLINE void few_value_rest(const int type, const int n_rows, const struct few_job *job, int c) {
    _Alignas(64) float rest[SA_RUN_KEYS][LANES];
    const char *row[SA_RUN_KEYS];
    for (int j = 0; j < job->n; j++) {
        const struct sa_stored from = {job->row[j] + c * type_bytes(type), 0, 1, job->d - c, type};
        memset(rest[j], 0, sizeof rest[j]);
        lanes_widen(from, rest[j], 0);
        row[j] = (const char *)rest[j];
    }
    const struct few_job floats = {job->p, row, job->n, LANES, job->sums + c, job->width};
    const struct sa_pointed nothing = {.row = row,
                                       .places = 1,
                                       .n = 1,
                                       .turn = 1,
                                       .d = LANES,
                                       .type = SA_F32,
                                       .ahead = {{row, row, row, row}, 1, SA_LINE_BYTES}};
    struct cursor cursor = cursor_of(&nothing);
    set_near(&nothing, 0, 0, 0, 1, &cursor);
    few_value_tile(SA_F32, n_rows, 1, true, &floats, 0, &cursor);
}

#define REST_FEW(name, any, n)                                                                                         \
    static void few_rest_##n(int type, const struct few_job *job, int c) { few_value_rest(type, n, job, c); }
EACH_FEW_SIZE(REST_FEW, any, SA_F32)
#undef REST_FEW

/* A whole vector of sums a row would read a weight for each multiply-add: half of the rows at a time, two vectors wide.
 */
INLINE int few_value_halves(const int type, const int n_rows, const struct few_job *job, struct cursor *cursor) {
    const int half = n_rows / 2;
    const struct few_job other = {job->p + half * FEW_STRIDE,    job->row,  job->n, job->d,
                                  job->sums + half * job->width, job->width};
    int c = 0;
    for (; c + 2 * LANES <= job->d; c += 2 * LANES) {
        few_value_tile(type, half, 2, true, job, c, cursor);
        few_value_tile(type, half, 2, false, &other, c, cursor);
    }
    return c;
}

/* Tiles as large as the registers allow, then single vectors. */
INLINE int few_value_tiles(const int type, const int n_rows, const struct few_job *job, struct cursor *cursor) {
    const int n_vectors = FEW_SUMS / n_rows < 8 ? FEW_SUMS / n_rows : 8;
    int c = n_vectors == 1 ? few_value_halves(type, n_rows, job, cursor) : 0;
    for (; c + n_vectors * LANES <= job->d; c += n_vectors * LANES)
        few_value_tile(type, n_rows, n_vectors, true, job, c, cursor);
    for (; n_vectors > 1 && c + LANES <= job->d; c += LANES)
        few_value_tile(type, n_rows, 1, true, job, c, cursor);
    return c;
}

INLINE void few_value_places(const int type, const int n_rows, void (*rest)(int, const struct few_job *, int),
                             const float *p, const struct sa_pointed *v, float *sums) {
    const int width = sa_near_stride(v->d), most = v->at_once ? v->at_once : v->turn;
    struct cursor cursor = cursor_of(v);
    for (int at = 0; at < v->n; at += v->turn) {
        const int end = v->n - at < v->turn ? v->n : at + v->turn;
        for (int i = 0; i < v->places; i++)
            for (int j = at, n; j < end; j += n) {
                n = end - j < most ? end - j : most;
                const struct few_job job = {p + i * SA_FEW_ROWS * FEW_STRIDE + j,
                                            v->row + i * v->apart + j,
                                            n,
                                            v->d,
                                            sums + i * SA_FEW_ROWS * width,
                                            width};
                set_near(v, i, at, j, n, &cursor);
                const int c = few_value_tiles(type, n_rows, &job, &cursor);
                if (c < v->d)
                    rest(type, &job, c);
            }
    }
}

#define VALUE_FEW(name, type, n)                                                                                       \
    static void few_values_##name##x##n(const float *p, const struct sa_pointed *v, float *sums) {                     \
        few_value_places(type, n, few_rest_##n, p, v, sums);                                                           \
    }
EACH_FEW(VALUE_FEW)
#undef VALUE_FEW

static void lanes_few_values(const float *p, int n_rows, struct sa_pointed v, float *sums) {
#define VALUE_FEW(name, type, n)                                                                                       \
    case FEW_CASE(type, n): few_values_##name##x##n(p, &v, sums); break;
    switch (FEW_CASE(v.type, few_size(n_rows))) { EACH_FEW(VALUE_FEW) }
#undef VALUE_FEW
}

#endif
