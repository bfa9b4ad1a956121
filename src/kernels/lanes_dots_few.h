/* SPDX-License-Identifier: MIT */
/* Values of tiles of few rows as pairs of keys: dimensions in the lanes. Included by lanes_dots.h. */
#ifndef SA_LANES_DOTS_FEW_H
#define SA_LANES_DOTS_FEW_H

INLINE void dots_few_step(const int n_rows, const int n_vectors, const float *p, const char *first, const char *second,
                          vf *sum) {
    UNROLL
    for (int i = 0; i < n_vectors; i++) {
        const vf value = v_pair_of_rows(first + i * LANES * 2, second + i * LANES * 2);
        UNROLL
        for (int r = 0; r < n_rows; r++)
            sum[r * n_vectors + i] = v_dot(v_set1(p[r * FEW_STRIDE]), value, sum[r * n_vectors + i]);
    }
}

/* A register tile: all pairs of the job, from dimension c on. */
INLINE void dots_few_tile(const int n_rows, const int n_vectors, const struct few_job *job, int c,
                          struct cursor *cursor) {
    enum { PAIRS = 2 };
    const bool near = n_rows > 1 || job->d > n_vectors * LANES; /* else a row is read at once */
    const int bytes = 2 * n_vectors * LANES * 2, n = job->n;
    const char *const *row = job->row;
    const float *p = job->p;
    float *sums = job->sums + c;
    vf sum[FEW_SUMS];
    int j = 0;
    c *= 2;
    UNROLL
    for (int i = 0; i < n_rows * n_vectors; i++)
        sum[i] = v_load(sums + i / n_vectors * job->width + i % n_vectors * LANES);
    for (; j + PAIRS <= n; j += PAIRS) {
        if (PAIRS * bytes < FETCH_BYTES && j % (FETCH_BYTES / bytes) == 0)
            fetch_each(near, cursor);
        UNROLL
        for (int i = 0; i < PAIRS; i++) {
            fetch(near, i * bytes, bytes, cursor);
            dots_few_step(n_rows, n_vectors, p + j + i, row[2 * (j + i)] + c, row[2 * (j + i) + 1] + c, sum);
        }
    }
    for (; j < n; j++)
        dots_few_step(n_rows, n_vectors, p + j, row[2 * j] + c, row[2 * j + 1] + c, sum);
    UNROLL
    for (int i = 0; i < n_rows * n_vectors; i++)
        v_store(sums + i / n_vectors * job->width + i % n_vectors * LANES, sum[i]);
}

/* Dimensions that fill no vector, as a copy. */
INLINE void dots_few_rest(const int n_rows, const struct few_job *job, int c, struct cursor *cursor) {
    const size_t bytes = (size_t)(job->d - c) * 2;
    char rest[SA_RUN_KEYS][2 * LANES];
    const char *row[SA_RUN_KEYS];
    for (int j = 0; j < 2 * job->n; j++) {
        memset(rest[j], 0, sizeof rest[j]);
        row[j] = memcpy(rest[j], job->row[j] + 2 * c, bytes);
    }
    const struct few_job copies = {job->p, row, job->n, LANES, job->sums + c, job->width};
    dots_few_tile(n_rows, 1, &copies, 0, cursor);
}

INLINE void dots_few_places(const int n_rows, const float *p, const struct sa_pointed *v, float *sums) {
    const int width = sa_near_stride(v->d), n_vectors = FEW_SUMS / n_rows < 8 ? FEW_SUMS / n_rows : 8;
    struct cursor cursor = cursor_of(v);
    for (int at = 0; at < v->n; at += v->turn) {
        const int n = v->n - at < v->turn ? v->n - at : v->turn;
        for (int i = 0; i < v->places; i++) {
            const struct few_job job = {p + i * SA_FEW_ROWS * FEW_STRIDE + at / 2,
                                        v->row + i * v->apart + at,
                                        n / 2,
                                        v->d,
                                        sums + i * SA_FEW_ROWS * width,
                                        width};
            int c = 0;
            set_near(v, i, at, at, n, &cursor);
            for (; c + n_vectors * LANES <= v->d; c += n_vectors * LANES)
                dots_few_tile(n_rows, n_vectors, &job, c, &cursor);
            for (; n_vectors > 1 && c + LANES <= v->d; c += LANES)
                dots_few_tile(n_rows, 1, &job, c, &cursor);
            if (c < v->d)
                dots_few_rest(n_rows, &job, c, &cursor);
        }
    }
}

#define VALUE_FEW(name, type, n)                                                                                       \
    static __attribute__((noinline)) void dots_few_##name##x##n(const float *p, const struct sa_pointed *v,            \
                                                                float *sums) {                                         \
        dots_few_places(n, p, v, sums);                                                                                \
    }
EACH_FEW(VALUE_FEW)
#undef VALUE_FEW

static void dots_few_values(const float *p, int n_rows, struct sa_pointed v, float *sums) {
#define VALUE_FEW(name, type, n)                                                                                       \
    case n: dots_few_##name##x##n(p, &v, sums); break;
    switch (few_size(n_rows)) { EACH_FEW(VALUE_FEW) }
#undef VALUE_FEW
}

#endif
