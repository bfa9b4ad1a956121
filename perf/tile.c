/* SPDX-License-Identifier: MIT */
#include "tile.h"

#include <sa/sa.h>

/* Keys that a loop goes through, of so many dimensions: 12 KiB beside at most 8 of queries. */
enum { KEYS = 48, DIMS = 64, MOST_LANES = 32 };

struct tile_data {
    float keys[KEYS][DIMS], queries[DIMS][MOST_LANES], sums[KEYS][MOST_LANES];
} __attribute__((aligned(64)));

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* `rows` keys against two vectors of queries. */
#define TILE_FUNCTION(name, isa, vector, lanes, rows, load, store, set1, fma)                                          \
    __attribute__((target(isa))) static void name(struct tile_data *data, int key) {                                   \
        vector sums[rows][2];                                                                                          \
        UNROLL                                                                                                         \
        for (int i = 0; i < (rows); i++)                                                                               \
            sums[i][0] = sums[i][1] = set1(0);                                                                         \
        for (int d = 0; d < DIMS; d++) {                                                                               \
            const vector a = load(data->queries[d]), b = load(data->queries[d] + (lanes));                             \
            UNROLL                                                                                                     \
            for (int i = 0; i < (rows); i++) {                                                                         \
                const vector k = set1(data->keys[key + i][d]);                                                         \
                sums[i][0] = fma(k, a, sums[i][0]);                                                                    \
                sums[i][1] = fma(k, b, sums[i][1]);                                                                    \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL                                                                                                         \
        for (int i = 0; i < (rows); i++) {                                                                             \
            store(data->sums[key + i], sums[i][0]);                                                                    \
            store(data->sums[key + i] + (lanes), sums[i][1]);                                                          \
        }                                                                                                              \
    }

TILE_FUNCTION(tile_avx512, "avx512f", __m512, 16, 12, _mm512_load_ps, _mm512_store_ps, _mm512_set1_ps, _mm512_fmadd_ps)
TILE_FUNCTION(tile_avx2, "avx2,fma", __m256, 8, 6, _mm256_load_ps, _mm256_store_ps, _mm256_set1_ps, _mm256_fmadd_ps)
#endif

struct tiling {
    void (*run)(struct tile_data *data, int key); /* NULL: there is none */
    int rows, lanes;
};

static struct tiling widest(int isa) {
#if defined(__x86_64__)
    if (isa >= SA_ISA_AVX512 && __builtin_cpu_supports("avx512f"))
        return (struct tiling){tile_avx512, 12, 32};
    if (isa >= SA_ISA_AVX2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct tiling){tile_avx2, 6, 16};
#endif
    (void)isa;
    return (struct tiling){0};
}

double tile_flops(int isa) {
    const struct tiling tiling = widest(isa);
    return 2.0 * KEYS * DIMS * tiling.lanes;
}

float tile_loop(int isa, int64_t n_times) {
    const struct tiling tiling = widest(isa);
    struct tile_data data = {0};
    for (int i = 0; i < KEYS * DIMS; i++)
        (&data.keys[0][0])[i] = 1;
    for (int i = 0; i < DIMS * MOST_LANES; i++)
        (&data.queries[0][0])[i] = 1;
    for (int64_t i = 0; tiling.run && i < n_times; i++)
        for (int key = 0; key < KEYS; key += tiling.rows)
            tiling.run(&data, key);
    return data.sums[KEYS - 1][0];
}
