/* SPDX-License-Identifier: MIT */
/* Kernels on a whole tile in one layout, [n][64], whatever they take in a pass: the arrays are laid out for each pass
 * that the groups g0 .. g1 - 1 touch, all lanes of it, and brought back. */
#ifndef SA_TESTS_KERNEL_TILE_H
#define SA_TESTS_KERNEL_TILE_H

#include <string.h>

#include "kernel_scalar.h"

enum { TILE_MAX_D = 576, TILE_ARRAY = (TILE_MAX_D + 1) * SA_TILE_ROWS };

static _Alignas(64) float pass_qt[TILE_ARRAY], pass_s[TILE_ARRAY], pass_o[2][TILE_ARRAY], pass_vectors[6][SA_TILE_ROWS];
static _Alignas(64) int32_t pass_keys[3][SA_TILE_ROWS];

struct pass_of_tile {
    int width, row, g0, g1; /* lanes; its first row in the tile; groups within it */
};

static inline struct pass_of_tile tile_pass(const struct sa_kernels *kernel, int index, int g0, int g1) {
    const int groups = kernel->pass_groups, first = index * groups;
    struct pass_of_tile p = {groups * SA_GROUP_ROWS, first * SA_GROUP_ROWS, g0 - first, g1 - first};
    p.g0 = p.g0 < 0 ? 0 : p.g0;
    p.g1 = p.g1 > groups ? groups : p.g1;
    return p;
}

#define EACH_PASS(p, kernel, g0, g1)                                                                                   \
    int p##_i = (g0) / (kernel)->pass_groups;                                                                          \
    p = tile_pass(kernel, p##_i, g0, g1), p##_i * (kernel)->pass_groups < (g1);                                        \
    p##_i++

static inline float *into_pass(struct pass_of_tile p, float *to, const float *tile, int n) {
    for (int i = 0; i < n; i++)
        memcpy(to + i * p.width, tile + i * SA_TILE_ROWS + p.row, (size_t)p.width * sizeof *to);
    return to;
}

static inline void out_of_pass(struct pass_of_tile p, float *tile, const float *from, int n) {
    for (int i = 0; i < n; i++)
        memcpy(tile + i * SA_TILE_ROWS + p.row, from + i * p.width, (size_t)p.width * sizeof *from);
}

static inline struct sa_lane_keys keys_of_pass(struct pass_of_tile p, struct sa_lane_keys keys) {
    const size_t bytes = (size_t)p.width * sizeof(int32_t);
    memcpy(pass_keys[0], keys.lo + p.row, bytes);
    memcpy(pass_keys[1], keys.hi + p.row, bytes);
    memcpy(pass_keys[2], keys.sink + p.row, bytes);
    return (struct sa_lane_keys){pass_keys[0], pass_keys[1], pass_keys[2], NULL};
}

/* n + 1 rows are brought back, one more than a kernel may write. */

static inline void tile_pack(const struct sa_kernels *kernel, const float *const rows[SA_TILE_ROWS], int n_rows, int d,
                             float factor, float *qt) {
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, 0, SA_TILE_GROUPS))
        into_pass(p, pass_qt + p.row * d, qt, d);
    kernel->pack(rows, n_rows, d, factor, pass_qt);
    for (EACH_PASS(p, kernel, 0, SA_TILE_GROUPS))
        out_of_pass(p, qt, pass_qt + p.row * d, d);
}

static inline void tile_scores(const struct sa_kernels *kernel, const float *qt, int g0, int g1, struct sa_rows k,
                               float *s, float *mb, struct sa_ahead *ahead) {
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, g0, g1)) {
        into_pass(p, pass_s, s, k.n + 1);
        into_pass(p, pass_vectors[0], mb, 1);
        kernel->floats.scores(into_pass(p, pass_qt, qt, k.d), p.g0, p.g1, k, pass_s, pass_vectors[0], ahead);
        out_of_pass(p, s, pass_s, k.n + 1);
        out_of_pass(p, mb, pass_vectors[0], 1);
    }
}

static inline void tile_mask(const struct sa_kernels *kernel, int g, int n_keys, int first_key,
                             struct sa_lane_keys keys, float *s, float *mb) {
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, g, g + 1)) {
        into_pass(p, pass_s, s, n_keys + 1);
        into_pass(p, pass_vectors[0], mb, 1);
        kernel->mask(p.g0, n_keys, first_key, keys_of_pass(p, keys), pass_s, pass_vectors[0]);
        out_of_pass(p, s, pass_s, n_keys + 1);
        out_of_pass(p, mb, pass_vectors[0], 1);
    }
}

static inline void tile_scores_none(const struct sa_kernels *kernel, int g, int n_keys, float *s) {
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, g, g + 1)) {
        into_pass(p, pass_s, s, n_keys + 1);
        kernel->scores_none(p.g0, n_keys, pass_s);
        out_of_pass(p, s, pass_s, n_keys + 1);
    }
}

static inline void tile_weights(const struct sa_kernels *kernel, int g, int n_keys, float *s, const float *mb, float *m,
                                float *l, float *alpha) {
    float *const vectors[3] = {m, l, alpha};
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, g, g + 1)) {
        into_pass(p, pass_s, s, n_keys + 1);
        into_pass(p, pass_vectors[3], mb, 1);
        for (int i = 0; i < 3; i++)
            into_pass(p, pass_vectors[i], vectors[i], 1);
        kernel->weights(p.g0, n_keys, pass_s, pass_vectors[3], pass_vectors[0], pass_vectors[1], pass_vectors[2]);
        out_of_pass(p, s, pass_s, n_keys + 1);
        for (int i = 0; i < 3; i++)
            out_of_pass(p, vectors[i], pass_vectors[i], 1);
    }
}

static inline void tile_scale(const struct sa_kernels *kernel, int g0, int g1, int n_keys, const float *scale, float *s,
                              float *mb) {
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, g0, g1)) {
        into_pass(p, pass_s, s, n_keys + 1);
        if (mb)
            into_pass(p, pass_vectors[0], mb, 1);
        for (int g = p.g0; g < p.g1; g++)
            kernel->scale(g, n_keys, scale, pass_s, mb ? pass_vectors[0] : NULL);
        out_of_pass(p, s, pass_s, n_keys + 1);
        if (mb)
            out_of_pass(p, mb, pass_vectors[0], 1);
    }
}

static inline bool tile_terms(const struct sa_kernels *kernel, int g, int n_keys, const struct sa_score_terms *terms,
                              float *s, float *mb) {
    static _Alignas(64) float slopes[SA_TILE_ROWS];
    bool hides = false;
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, g, g + 1)) {
        struct sa_score_terms own = *terms;
        if (terms->slopes) {
            own.slopes = into_pass(p, slopes, terms->slopes, 1);
            own.q_at = memcpy(pass_keys[0], terms->q_at + p.row, (size_t)p.width * sizeof *own.q_at);
        }
        own.bias = terms->bias ? terms->bias + p.row : NULL;
        into_pass(p, pass_s, s, n_keys + 1);
        into_pass(p, pass_vectors[0], mb, 1);
        hides = kernel->terms(p.g0, n_keys, &own, pass_s, pass_vectors[0]) || hides;
        out_of_pass(p, s, pass_s, n_keys + 1);
        out_of_pass(p, mb, pass_vectors[0], 1);
    }
    return hides;
}

/* The stairs are those of the tile's groups. */
static inline void tile_values(const struct sa_kernels *kernel, const float *s, int g0, int g1,
                               const struct sa_stairs *keys, struct sa_rows v, const float *alpha, float *o,
                               struct sa_ahead *ahead) {
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, g0, g1)) {
        struct sa_stairs own = {{0}, {0}};
        for (int g = p.g0; g < p.g1; g++) {
            own.begin[g] = keys->begin[p.row / SA_GROUP_ROWS + g];
            own.end[g] = keys->end[p.row / SA_GROUP_ROWS + g];
        }
        into_pass(p, pass_o[0], o, v.d + 1);
        kernel->floats.values(into_pass(p, pass_s, s, v.n), p.g0, p.g1, &own, v,
                              alpha ? into_pass(p, pass_vectors[0], alpha, 1) : NULL, pass_o[0], ahead);
        out_of_pass(p, o, pass_o[0], v.d + 1);
    }
}

static inline void tile_values_masked(const struct sa_kernels *kernel, const float *s, int g, struct sa_rows v,
                                      int first_key, struct sa_lane_keys keys, const float *alpha, float *o) {
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, g, g + 1)) {
        into_pass(p, pass_o[0], o, v.d + 1);
        kernel->floats.values_masked(into_pass(p, pass_s, s, v.n), p.g0, v, first_key, keys_of_pass(p, keys),
                                     into_pass(p, pass_vectors[0], alpha, 1), pass_o[0]);
        out_of_pass(p, o, pass_o[0], v.d + 1);
    }
}

static inline void tile_values_biased(const struct sa_kernels *kernel, const float *s, int g, struct sa_rows v,
                                      int first_key, struct sa_lane_keys keys, const float *const *bias,
                                      const float *alpha, float *o) {
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, g, g + 1)) {
        into_pass(p, pass_o[0], o, v.d + 1);
        kernel->values_biased(into_pass(p, pass_s, s, v.n), p.g0, v, first_key, keys_of_pass(p, keys), bias + p.row,
                              into_pass(p, pass_vectors[0], alpha, 1), pass_o[0]);
        out_of_pass(p, o, pass_o[0], v.d + 1);
    }
}

static inline struct sa_state state_into_pass(struct pass_of_tile p, const struct sa_state *state, int which, int d) {
    return (struct sa_state){into_pass(p, pass_vectors[2 * which], state->m, 1),
                             into_pass(p, pass_vectors[2 * which + 1], state->l, 1),
                             into_pass(p, pass_o[which], state->o, d + 1)};
}

static inline void tile_merge(const struct sa_kernels *kernel, int n_groups, int d, const struct sa_state *a,
                              const struct sa_state *b) {
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, 0, n_groups)) {
        const struct sa_state own_a = state_into_pass(p, a, 0, d), own_b = state_into_pass(p, b, 1, d);
        kernel->merge(p.g1, d, &own_a, &own_b);
        out_of_pass(p, a->m, own_a.m, 1);
        out_of_pass(p, a->l, own_a.l, 1);
        out_of_pass(p, a->o, own_a.o, d + 1);
    }
}

static inline void tile_finish(const struct sa_kernels *kernel, const struct sa_state *state, int n_rows, int d,
                               float *const rows[SA_TILE_ROWS]) {
    struct pass_of_tile p;
    for (EACH_PASS(p, kernel, 0, SA_TILE_GROUPS))
        into_pass(p, pass_o[0] + p.row * d, state->o, d);
    kernel->finish(&(struct sa_state){state->m, state->l, pass_o[0]}, n_rows, d, rows);
}

#endif
