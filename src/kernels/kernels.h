/* SPDX-License-Identifier: MIT */
/*
 * The contract of the micro-kernels. Every instruction set fills one `struct sa_kernels`; table.c lists them.
 *
 * Queries stand in lanes. A tile is up to 64 rows (query token x query head), in 4 groups of 16 rows; row r of the tile
 * is lane r of every tile array:
 *
 *     qt  [d_qk][64]  packed queries, transposed, times scale * log2(e)      s  [256][64]  scores, then weights p =
 * 2^(s - m) o   [d_v][64]   running output, not yet divided by l                   sum [d_v][64] sum of p v of the
 * block at hand m l alpha mb    [64] running maximum, running sum, factor 2^(m_old - m_new), maximum of the block at
 * hand
 *
 * All tile arrays are 64-byte aligned floats with a row stride of 64, whatever the width of a vector, and private to
 * the calling thread. Scores and maxima are in units of log2. k and v are read in place: element (j, c) of the run
 * handed over is k[j * stride + c]; exactly n_keys rows of d elements are read, nothing beside them, at any alignment
 * of 4.
 *
 * Bits. Each row's result is defined by this sequence of IEEE single operations, so every kernel gives the same bits:
 *     score       s = fma chain over c = 0 .. d_qk - 1, starting from 0
 *     weight      p = exp2(s - m) with the polynomial of lanes.h; exactly 1 at 0, exactly 0 below -126
 *     row sum     keys j .. j + 15 (j a multiple of 16): the tree t8[i] = p[i] + p[i + 8], t4[i] = t8[i] + t8[i + 4],
 *                 t2[i] = t4[i] + t4[i + 2], t1 = t2[0] + t2[1]; then a chain over the 16-key groups of the block
 *     output      sum = fma chain over the visible keys of a block in key order, from 0; o = fma(o, alpha, sum)
 * A key that a row does not see leaves all of that row's arrays as they are, whatever k and v hold there.
 *
 * "Groups g0 .. g1 - 1" restricts a call to lanes 16 g0 .. 16 g1 - 1; other lanes are neither read nor written.
 * Kernels allocate nothing, know no threads, report no errors, and rely on round-to-nearest with subnormals (fpmode.h).
 */
#ifndef SA_KERNELS_H
#define SA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    SA_GROUP_ROWS = 16,
    SA_TILE_GROUPS = 4,
    SA_TILE_ROWS = 64,
    SA_BLOCK_KEYS = 256, /* keys between two updates of m; positions are multiples of it */
    SA_SUM_KEYS = 16     /* keys of one row-sum tree */
};

/* Which keys each row of a tile sees: key j (absolute) if (j < sink[r] or lo[r] <= j) and j < hi[r]. */
struct sa_lane_keys {
    int32_t lo[SA_TILE_ROWS];
    int32_t hi[SA_TILE_ROWS];
    int32_t sink[SA_TILE_ROWS];
};

/* A run of rows of k or v in place. */
struct sa_rows {
    const float *data; /* first row */
    ptrdiff_t stride;  /* elements from one row to the next */
    int n;             /* number of rows */
    int d;             /* elements of a row */
};

/* Running result of a tile. */
struct sa_state {
    float *m, *l; /* [64] */
    float *o;     /* [d_v][64] */
};

struct sa_kernels {
    const char *name; /* "avx512", ... */
    int isa;          /* sa_isa */
    int lanes;        /* floats in a vector */

    /* qt[c][r] = rows[r][c] * factor for r < n_rows, 0 for the rows up to the next multiple of 16. */
    void (*pack)(const float *const rows[SA_TILE_ROWS], int n_rows, int d, float factor, float *qt);

    /* s[j][r] = dot(qt[.][r], k[j]) for the keys of the run; mb[r] = max(mb[r], s[j][r]). `s` points at the first key.
     * `ahead`: as many rows that will be read next (the values of these keys), to be fetched into the second-level
     * cache meanwhile; none if its d is 0. */
    void (*scores)(const float *qt, int g0, int g1, struct sa_rows k, struct sa_rows ahead, float *s, float *mb);

    /* The same for one group, with s = -inf where row r does not see key first_key + j. */
    void (*scores_masked)(const float *qt, int g, struct sa_rows k, int first_key, const struct sa_lane_keys *keys,
                          float *s, float *mb);

    /* s = -inf for n_keys keys of one group: keys that none of its rows sees. */
    void (*scores_none)(int g, int n_keys, float *s);

    /* For one group, n_keys a multiple of 16: m' = max(m, mb), alpha = 2^(m - m'), s = 2^(s - m'),
     * l = l alpha + sum of the new s. A row with m' = -inf gets weights 0. */
    void (*weights)(int g, int n_keys, float *s, const float *mb, float *m, float *l, float *alpha);

    /* o = o alpha + sum over the run of p v: a block whose keys every row of the groups sees. */
    void (*values)(const float *p, int g0, int g1, struct sa_rows v, const float *alpha, float *o);

    /* The same in parts, for blocks that rows see differently: sum continues over the run ... */
    void (*values_part)(const float *p, int g0, int g1, struct sa_rows v, float *sum);
    /* ... leaving out, for each row of one group, the keys it does not see ... */
    void (*values_masked)(const float *p, int g, struct sa_rows v, int first_key, const struct sa_lane_keys *keys,
                          float *sum);
    /* ... and o = o alpha + sum. */
    void (*values_apply)(int g0, int g1, int d, const float *sum, const float *alpha, float *o);

    /* a = a and b in one, a's keys before b's; a row with nothing in it is neutral. Groups 0 .. n_groups - 1. */
    void (*merge)(int n_groups, int d, struct sa_state *a, const struct sa_state *b);

    /* rows[r][c] = o[c][r] / l[r] for r < n_rows; 0 where l is 0. */
    void (*finish)(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]);
};

extern const struct sa_kernels sa_kernels_generic;
#if defined(__x86_64__)
extern const struct sa_kernels sa_kernels_avx2;
extern const struct sa_kernels sa_kernels_avx512;
#endif

/* All kernels this library was built with, slowest first; *n is their number. */
const struct sa_kernels *const *sa_kernels_table(int *n);

#endif
