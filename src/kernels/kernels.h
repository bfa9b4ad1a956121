/* SPDX-License-Identifier: MIT */
/*
 * The contract of the micro-kernels. Every instruction set fills one `struct sa_kernels`; table.c lists them.
 *
 * Queries stand in lanes. A tile is up to 64 rows (query token x query head), in 4 groups of 16 rows. A kernel works on
 * a pass: as many groups as the registers hold side by side, 4 of them or 1. Row r of a pass is lane r of its arrays,
 * which have W = 16 x groups of a pass floats from one index to the next:
 *
 *     qt  [d_qk][W]  packed queries, transposed, times scale * log2(e)
 *     s   [256][W]   scores, then weights p = 2^(s - m)
 *     o   [d_v][W]   running output, not yet divided by l
 *     m l alpha mb   [W] running maximum, running sum, factor 2^(m_old - m_new), maximum of the block at hand
 *
 * qt, o, m and l of a tile follow pass after pass. All of them are 64-byte aligned and private to the calling thread.
 * Scores and maxima are in units of log2. k and v are read in place: element (j, c) of the run handed over is
 * k[j * stride + c]; exactly n rows of d elements are read, nothing beside them, at any alignment of 4.
 *
 * Bits. Each row's result is defined by this sequence of IEEE single operations, so every kernel gives the same bits:
 *     score       s = fma chain over c = 0 .. d_qk - 1, starting from 0
 *     softcap     c = max(-9 cap, min(9 cap, s)); with e the power of two for which 1 <= e cap < 2, or the normal one
 *                 that comes nearest, i = 1 / (e cap), z = e c i, x = fma(fma(-z, e cap, e c), i, z), which is c / cap;
 *                 y = x x, s = c (N(y) / D(y)), both polynomials of degree 4 as fma chains, see lanes_one_term.h
 *     ALiBi       s = fma(slope, float |q_at - k_at|, s), the distance rounded once
 *     bias        s = fma(max(bias, SA_LOWEST_BIAS), SA_LOG2_E, s); -inf where the bias is
 *     weight      p = exp2(s - m) as in lanes_exp2.h; exactly 1 at 0, below 2^-126 below -126, exactly 0 below -127
 *     row sum     keys j .. j + 15 (j a multiple of 16): the tree t8[i] = p[i] + p[i + 8], t4[i] = t8[i] + t8[i + 4],
 *                 t2[i] = t4[i] + t4[i + 2], t1 = t2[0] + t2[1]; then a chain over the 16-key groups of the block
 *     output      sum = fma chain over the visible keys of a block in key order, from 0; o = fma(o, alpha, sum)
 * A key that a row does not see has weight 0 in it; where its v is finite, the chain may pass it all the same, since
 * that leaves everything but the sign of a zero as it is, and finish() has no negative zeros.
 *
 * "Groups g0 .. g1 - 1" of a pass are its lanes 16 g0 .. 16 g1 - 1; other lanes are neither read nor written.
 * Kernels allocate nothing, know no threads, report no errors, and rely on round-to-nearest with subnormals (fpmode.h).
 */
#ifndef SA_KERNELS_H
#define SA_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SA_GROUP_ROWS = 16,
    SA_TILE_GROUPS = 4,
    SA_TILE_ROWS = 64,
    SA_BLOCK_KEYS = 256, /* keys between two updates of m; positions are multiples of it */
    SA_SUM_KEYS = 16,    /* keys of one row-sum tree */
    SA_DOT_KEYS = 32,    /* keys whose products with weights may be added up first, see sa_dots */
    SA_LINE_FLOATS = 16, /* of a cache line */
    SA_LINE_BYTES = 64,
    SA_MAX_D = 576,                             /* largest d_qk and d_v */
    SA_FEW_ROWS = 8,                            /* rows of a tile for which there are other kernels, see few_scores() */
    SA_RUN_KEYS = 64,                           /* most keys that those take in turn */
    SA_FEW_STRIDE = SA_BLOCK_KEYS + SA_RUN_KEYS /* floats from a row of their scores to the next */
};

/* The bits of 2^(i/8) for i = 0 .. 7, less i << 20, see lanes_exp2.h. */
#define SA_POWERS_OF_2 0x3f800000, 0x3f7b95c2, 0x3f7837f0, 0x3f75fed7, 0x3f7504f3, 0x3f75672a, 0x3f7744fd, 0x3f7ac0c7

/* The bits of 2^(i/32) for i = 0 .. 31. */
#define SA_POWERS_OF_2_BY_32                                                                                           \
    0x3f800000, 0x3f82cd87, 0x3f85aac3, 0x3f88980f, 0x3f8b95c2, 0x3f8ea43a, 0x3f91c3d3, 0x3f94f4f0, 0x3f9837f0,        \
        0x3f9b8d3a, 0x3f9ef532, 0x3fa27043, 0x3fa5fed7, 0x3fa9a15b, 0x3fad583f, 0x3fb123f6, 0x3fb504f3, 0x3fb8fbaf,    \
        0x3fbd08a4, 0x3fc12c4d, 0x3fc5672a, 0x3fc9b9be, 0x3fce248c, 0x3fd2a81e, 0x3fd744fd, 0x3fdbfbb8, 0x3fe0ccdf,    \
        0x3fe5b907, 0x3feac0c7, 0x3fefe4ba, 0x3ff5257d, 0x3ffa83b3

#define SA_LOG2_E      0x1.715476p0f /* log2(e), rounded */
#define SA_LOWEST_BIAS (-0x1p127f)   /* as which lower numbers count */

/* Which keys each row of a pass sees, [W] each: key j (absolute) if (j < sink[r] or lo[r] <= j) and j < hi[r]. Or, if
 * there are bits, those of the one group at hand: its row r sees key j (of the block) if bit j % 32 of
 * bits[j / 32 * 16 + r] is set. */
struct sa_lane_keys {
    const int32_t *lo, *hi, *sink;
    const uint32_t *bits; /* NULL, or [8][16], aligned to 64 bytes */
};

/* What happens to the scores of a run of keys, in this order; arrays of rows are those of a pass, or of a tile of few
 * rows. */
struct sa_score_terms {
    float softcap;              /* in units of log2; 0: none */
    const float *slopes;        /* minus those of ALiBi, in units of log2; NULL: none */
    const int32_t *q_at, *k_at; /* positions of rows and keys, at most 2^31 apart */
    const float *const *bias;   /* a row of n_keys floats each; NULL: none */
};

/* A run of rows of k or v as floats, in place or widened. */
struct sa_rows {
    const float *data;  /* first row */
    ptrdiff_t stride;   /* elements from one row to the next */
    int n;              /* number of rows */
    int d;              /* elements of a row */
    const float *scale; /* NULL, or a factor a row, see sa_scales in sa.h */
};

/* A run of rows in memory, of any sa_type, at any alignment of an element. */
struct sa_stored {
    const char *data;
    ptrdiff_t stride; /* bytes */
    int n, d, type;
};

/* Rows to be fetched meanwhile, a line from each of several places in turns: n of each place p, row[p][i]. A processor
 * fetches on by itself where it is asked for neighbouring lines, further ahead in all if that is so in several places.
 */
enum { SA_FETCH_PLACES = 4 };
struct sa_fetched {
    const char *const *row[SA_FETCH_PLACES];
    int n, bytes; /* n at least 1; bytes: of a row */
};

/* Rows of k or v in memory, of any sa_type, at any alignment of an element: of several places, `turn` rows of each in
 * turn. */
struct sa_pointed {
    const char *const *row; /* where each row of the first place stands */
    int places, apart;      /* row j of place p is row[p * apart + j] */
    int n, turn;            /* rows of each place */
    int d, type;
    ptrdiff_t stride; /* of keys: bytes from a row to the next in each sixteen of them, from row 0 on */
    int q_rows;       /* of keys: rows of qt from the first of a place to that of the next; 0: all have the same */
    struct sa_fetched ahead;
    bool goes_on; /* behind its n rows the list of each place goes on with what is read later */
    int at_once;  /* of values in vectors: rows of a turn whose lines are near at the same time; 0: all of them */
};

/* Keys of a register tile of few_scores(), of a kernel with so many lanes. */
static inline int sa_few_tile(int lanes, int type_bytes) { return lanes * (type_bytes == 4 ? 2 : 4); }

/* Floats from one row brought near to the next: an odd number of cache lines, so that rows share no sets of a cache. */
static inline int sa_near_stride(int d) { return ((d + SA_LINE_FLOATS - 1) / SA_LINE_FLOATS | 1) * SA_LINE_FLOATS; }

/* Rows of pairs that are a list of where both rows of each pair stand. */
static inline struct sa_rows sa_listed_rows(const char *const *row, int n_pairs, int d) {
    return (struct sa_rows){(const float *)(const void *)row, 2 * sizeof *row / sizeof(float), n_pairs, d, NULL};
}

static inline const char *const *sa_list_of(struct sa_rows rows) {
    return (const char *const *)(const void *)rows.data;
}

/* The keys of a run that each group of a pass goes through. Both ends grow with the group, and begin of the last group
 * handed over is at most end of the first. */
struct sa_stairs {
    int begin[SA_TILE_GROUPS], end[SA_TILE_GROUPS];
};

/* Rows that will be needed next: columns of cache lines, line i of a column at data + i * stride. Rows that follow each
 * other are a single column of neighbouring lines, where the processor's own prefetchers join in. */
struct sa_lines {
    const char *data;
    ptrdiff_t stride; /* bytes */
    int n, columns;
};

/* What scores() and values() fetch into the second-level cache meanwhile, each from where the one before has come to.
 * Sets: a block's pages of 16 tokens, for its values and for keys and values of another; rows of q and of o, 8 at most.
 */
enum { SA_AHEAD_SETS = 3 * 16 + 2 * 8 };
struct sa_ahead {
    struct sa_lines sets[SA_AHEAD_SETS];
    int n_sets;
    int set, column, line; /* what is fetched next */
    int left;              /* lines */
    int calls;             /* of values(), which share what is left */
    bool afar;             /* scores() fetches its own keys besides, which come from memory for one group */
};

/* Nothing. */
static inline void sa_ahead_open(struct sa_ahead *ahead) {
    ahead->n_sets = ahead->set = ahead->column = ahead->line = ahead->left = ahead->calls = 0;
    ahead->afar = false;
}

/* As long as there is room. */
static inline void sa_ahead_add(struct sa_ahead *ahead, struct sa_lines lines) {
    if (lines.n == 0 || ahead->n_sets == SA_AHEAD_SETS)
        return;
    ahead->sets[ahead->n_sets++] = lines;
    ahead->left += lines.n * lines.columns;
}

/* Running result of a pass, or of a tile from its first pass on. */
struct sa_state {
    float *m, *l; /* [W] */
    float *o;     /* [d_v][W]; of few rows another way, see below */
};

/* What multiplies elements of q and k, and weights and elements of v. */
struct sa_products {
    /* s[j][r] = dot(qt[.][r], k[j]) for the keys of the run; mb[r] = max(mb[r], s[j][r]). `s` points at the first key.
     */
    void (*scores)(const float *qt, int g0, int g1, struct sa_rows k, float *s, float *mb, struct sa_ahead *ahead);

    /* o = o alpha + sum of p v over keys->begin[g] .. keys->end[g] - 1, for each group g; without alpha o = sum. */
    void (*values)(const float *p, int g0, int g1, const struct sa_stairs *keys, struct sa_rows v, const float *alpha,
                   float *o, struct sa_ahead *ahead);

    /* The same of a group without rows from SA_GROUP_ROWS / 2 on: scores of those are -inf, their mb and o stay as they
     * are. NULL where it would save nothing. */
    void (*half_scores)(const float *qt, int g, struct sa_rows k, float *s, float *mb, struct sa_ahead *ahead);
    void (*half_values)(const float *p, int g, const struct sa_stairs *keys, struct sa_rows v, const float *alpha,
                        float *o, struct sa_ahead *ahead);

    /* Is every element and scale finite, so that values() may pass keys that a row does not see? */
    bool (*finite)(struct sa_rows rows);

    /* As values(), for one group and all keys of the run, leaving out for each row the keys it does not see. */
    void (*values_masked)(const float *p, int g, struct sa_rows v, int first_key, struct sa_lane_keys keys,
                          const float *alpha, float *o);

    /* Tiles of few rows, see sa_kernels. */

    /* Scores of k.n keys of each place, a multiple of few_step, and k.turn one of sa_few_tile(); the rows of scores of
     * a place follow those of the one before. */
    int few_step;
    void (*few_scores)(const float *qt, int n_rows, struct sa_pointed k, float *s);

    /* sums[r][c] = sums[r][c] + p[r][j] v[j][c] over the v.n keys of each place; sa_near_stride(d_v) floats a row,
     * SA_FEW_ROWS rows a place, which follow each other as those of p do. Of n_rows = 1 no other row is touched, of
     * several those behind may be. */
    void (*few_values)(const float *p, int n_rows, struct sa_pointed v, float *sums);
};

/* Of a block, the keys that some row and that every row of a group sees: begin <= all_begin and all_end <= end. */
struct sa_seen {
    int begin, end, all_begin, all_end;
};

/* What block() computes with, see there. */
struct sa_dots_block {
    const float *qt;
    struct sa_rows k;
    void *turned;              /* values as the kernel has them, kept for other tiles; NULL: they need not be */
    const char *const *v_rows; /* NULL, or they are not there yet: where the rows of the first n_values keys stand */
    int n_values, d_v;
    void *scratch;              /* of sa_turned_bytes(32, 2), where k may stand: it is done with when v is turned */
    int first_key;              /* what key 0 of the block is called in `keys` */
    struct sa_lane_keys keys;   /* its bits, if any, are those of all groups, one group behind the other */
    const struct sa_seen *seen; /* [SA_TILE_GROUPS] */
    const struct sa_score_terms *terms; /* NULL: none; keys have their numbers in the block */
    float *s, *mb, *alpha;              /* scratch: as of scores(), weights() and values() */
    struct sa_state state;
    bool fresh; /* state->o has nothing in it yet, whatever stands there */
    struct sa_ahead *ahead;
};

/* Bytes of the values of a block as block() keeps them, aligned to 64 bytes. */
static inline size_t sa_turned_bytes(int d, int parts) {
    return (size_t)SA_BLOCK_KEYS * 2 * (size_t)((d + 31) / 32 * 32) * (size_t)parts;
}

/*
 * Where an instruction multiplies pairs of bf16 and adds both products to a float, q, k and v of 16 bits need not
 * become floats. A word of two elements then stands where a float stands in the arrays and kernels above:
 *
 *     qt  [d_qk / 2][W]  dimensions 2 c and 2 c + 1 of a query, d_qk being even; behind them a row of factors [W]
 *     k   rows of d_qk / 2 words, in place
 *     p   [128][W]       weights of the keys 2 j and 2 j + 1, rounded to bf16, to nearest, ties away from 0
 *     v   rows of d_v words, element c of the keys 2 j and 2 j + 1: a copy, with 0 for keys beside those handed over
 *
 * Then, in place of what is said above, subnormal operands and results count as 0, and
 *     score       s = sum over c = 0 .. d_qk / 2 - 1, starting from 0; times scale * log2(e), rounded
 *     output      sum = sum over the pairs of keys of a block, from 0, 0 for what a row does not see; o as above
 * where a sum is, with VDPBF16PS, a chain of steps of two fused multiply-adds, the second elements of a pair first.
 * With AMX every 16 pairs, from an index that is a multiple of 16 on, have two chains of fused multiply-adds from 0, of
 * their first and of their second elements; the sum of both is added to what there is. That is how the instructions are
 * described; where a processor differs, so do the bits. Scores that are subnormal when they are scaled are 0 then, too.
 * Row sums are those of the weights before they are rounded. Weights are not those of floats, see lanes_exp2_flushed.h:
 * they are 0 below 2^-126.
 *
 * Elements of f16 have two parts, each a bf16: the first 8 binary digits, and what is left, exactly (NaN, of inf);
 * weights the first 8 as well, and the next 8, rounded to nearest, ties away from 0, or 0 if what the first ones leave
 * is subnormal. Words are of parts then:
 *
 *     qt  [2][d_qk / 2][W]  first the first parts; behind all of them the row of factors
 *     p   [8][2][16][W]     of each 32 keys first the first parts of their 16 pairs
 *
 * and where 16 pairs are added up above, there are several such sums, added one after the other: for a score those of
 * the second parts of both, of the second of k and the first of q, of the first of k and the second of q, and of the
 * first of both; for an output those of the first of v and the second of p, of the second of v and the first of p, and
 * of the first of both. k and v are words of elements.
 */
struct sa_dots {
    int parts; /* of an element: 1 of bf16, 2 of f16 */

    /* Around all calls of what multiplies, in a thread: registers are made ready and given back. Kernels for few rows
     * make them ready for themselves only. NULL: nothing has to be done. */
    void (*enter)(void);
    void (*leave)(void);

    /* As pack(), from rows of elements where they stand, with the factor that scores will be multiplied by. */
    void (*pack)(const char *const *rows, int n_rows, int d, float factor, float *qt);

    /* As weights(), for the keys begin .. end - 1 of one group, both multiples of 16, from s[0] on; the new s as pairs,
     * those of keys j and j + 1 in s[j / 2]. */
    void (*weights)(int g, int begin, int end, float *s, const float *mb, float *m, float *l, float *alpha);

    /* As that of sa_kernels, these weights. */
    void (*few_weights)(int n_rows, int n_keys, float *s, float *m, float *l, float *alpha);

    /* Rows 2 j and 2 j + 1, of d elements of bf16 each, to row j of words, for n of these. NULL: v is what
     * sa_listed_rows() makes, not such a copy. */
    void (*pair_rows)(const char *const *rows, int n, int d, float *to, ptrdiff_t to_stride);

    /* The weights s[r][j] to pairs[r][j / 2], with SA_FEW_STRIDE floats a row; n_keys a multiple of 16. The pairs may
     * begin where the weights do, or before. In parts n_keys is a multiple of SA_DOT_KEYS, each 32 weights become 16
     * first parts and 16 second ones, and the pairs begin where the weights do. */
    void (*few_pair)(int n_rows, int n_keys, const float *s, float *pairs);

    /* scores(), weights() and values() of a tile with a block of which rows may see some keys only: the same bits. It
     * has all keys of each SA_DOT_KEYS of which some row sees any, and their values are finite where some row does not
     * see them. Factors are positive; groups that see nothing may be written over if they stand beside one that does.
     * NULL: there is nothing to be gained by it. */
    void (*block)(const struct sa_dots_block *block);

    /* Of words: k.d counts those, k of few rows is SA_F32, which stands for them (in parts k.n and k.turn are multiples
     * of 64); keys of v are pairs, as are begins and ends of stairs, and p stands as far from the block's first weights
     * as if there were one part. But first_key of values_masked() is a key, an even one, and v.n and v.turn of
     * few_values() are keys, even ones, as it weaves v itself; the first one is a multiple of SA_DOT_KEYS, and so is
     * v.turn, or each place has one turn. What a row does not see counts as 0 in values_masked(). */
    struct sa_products pairs;
};

/* Largest and smallest d_qk of int8 that sa_bytes are for: more would not fit into an int32, less not be worth it. */
enum { SA_BYTES_MAX_D = 256, SA_BYTES_MIN_D = 16, SA_BYTES_DIGITS = 4 };

/* Words from a row of sums of few_values() to the next, see sa_bytes. */
static inline int sa_bytes_stride(int d) { return ((d + 63) / 64 * 4 | 1) * SA_LINE_FLOATS; }

/*
 * Where an instruction multiplies int8 and adds the products to an int32, k and v of int8 need not become floats: q and
 * weights become whole numbers, whose digits are bytes, and their sums of products are exact. In place of what is said
 * above,
 *
 *     query       x[c] = q[c] 2^e, rounded to nearest, ties to even; e, one a row, so that the largest |x| lies in
 *                 2^21 127/64 .. 2^22 127/64
 *     score       s = fma(H, 256, L), H and L the sums of k h and k l, exact until they are rounded to floats, with
 *                 x = 256 h + l, -128 <= l < 128; times 2^-e scale log2(e), times the key's scale
 *     weight      w = p times the value's scale; y = w 2^e, rounded as above; e, one a row and block, so that the
 *                 largest |y| lies in 2^29 .. 2^30
 *     output      sum = fma(H, 65536, L), those of v h and v l with y = 65536 h + l, l of two digits from -128 to 127;
 *                 times 2^-e; o = fma(o, alpha, sum)
 *
 * A row of q with a NaN or inf has NaN for its scores, a row and block with a scale of a value that is NaN or inf and
 * seen has NaN for its sum. The arrays:
 *
 *     qt  [3][ceil(d_qk / 4)][W]  words of four bytes of a query, the lowest digit first, then -128 .. 127 all of them;
 *                 behind them a row of factors [W]; d_qk from SA_BYTES_MIN_D to SA_BYTES_MAX_D
 *     k   a list of rows: row j stands at ((const char *const *)k.data)[j], k.stride being that of such a list
 *     v   what turn() makes, of all keys of the block, with a stride of 0, so that parts of it begin at the same place
 *
 * Scores and weights are floats, as above: k and v have their scales, which scores() and values() apply.
 */
struct sa_bytes {
    /* As of sa_dots. */
    void (*enter)(void);
    void (*leave)(void);

    /* As pack(). */
    void (*pack)(const float *const rows[SA_TILE_ROWS], int n_rows, int d, float factor, float *qt);

    /* Values of the keys begin .. end - 1 of a block, which rows[begin] .. rows[end - 1] list, to 256 x d bytes, d
     * rounded up to a multiple of 64, at a multiple of 64. Those of other keys than in the same 64 are left as they
     * are; in these 64 rows[] below begin point somewhere harmless. */
    void (*turn)(const char *const *rows, int begin, int end, int d, void *turned);

    /* Tiles of few rows. Weights times their values' scales, n_keys a multiple of 16, to numbers that y is rounded
     * from, all of a block, with 0 where a key is not seen; 2^-e of row r is units[r] units[SA_FEW_ROWS + r]. */
    void (*few_level)(int n_rows, int n_keys, float *s, float *units);

    /* From sums, as few_values() leaves them, of all of a block to floats, as few_add() wants them, in the same place.
     */
    void (*few_join)(int n_rows, int d, const float *units, float *sums);

    /* few_values() adds int32 to rows of sums [SA_FEW_ROWS][4][sa_bytes_stride(d_v)] a place: of the digits, dimension
     * 16 a + 4 i + b of each 64 as number 16 i + 4 a + b. v.turn is 64, or each place has one turn. */
    struct sa_products products;
};

/* Keys of int8 that are a list of where they stand, and their scales. */
static inline struct sa_rows sa_listed_bytes(const char *const *row, int n, int d, const float *scale) {
    return (struct sa_rows){(const float *)(const void *)row, sizeof *row / sizeof(float), n, d, scale};
}

struct sa_kernels {
    const char *name; /* "avx512", ... */
    int isa;          /* sa_isa */
    int lanes;        /* floats in a vector */
    int pass_groups;  /* groups in a pass, 1 or 4 */

    /* to[j * to_stride + c] = element (j, c) of the rows, exactly. */
    void (*widen)(struct sa_stored rows, float *to, ptrdiff_t to_stride);

    /* to[c] = row[c] rounded to SA_F32, SA_BF16 or SA_F16, to nearest, ties to even; a NaN stays one. */
    void (*narrow)(const float *row, int d, int type, void *to);

    /* The largest |row[c]|, NaN if there is one, 0 if d is 0. */
    float (*largest)(const float *row, int d);

    /* to[c] = row[c] / scale, kept within -127 .. 127, rounded to nearest, ties to even; 0 where that is NaN. */
    void (*quantise)(const float *row, int d, float scale, signed char *to);

    /* qt[c][r] = rows[r][c] * factor for r < n_rows, 0 * factor for the rows up to the next multiple of 16. The whole
     * tile. */
    void (*pack)(const float *const rows[SA_TILE_ROWS], int n_rows, int d, float factor, float *qt);

    /* For the n_keys scores of one group from key first_key on: s = -inf where the row does not see the key,
     * mb[r] = max(mb[r], s[j][r]). */
    void (*mask)(int g, int n_keys, int first_key, struct sa_lane_keys keys, float *s, float *mb);

    /* s = -inf for n_keys keys of one group: keys that none of its rows sees. */
    void (*scores_none)(int g, int n_keys, float *s);

    /* For one group, n_keys a multiple of 16, not 0: m' = max(m, mb), alpha = 2^(m - m'), s = 2^(s - m'),
     * l = l alpha + sum of the new s. A row with m' = -inf gets weights 0. */
    void (*weights)(int g, int n_keys, float *s, const float *mb, float *m, float *l, float *alpha);

    /* s[j][r] = s[j][r] * scale[j] for n_keys keys of one group: scores of keys, or weights of values, with scales; of
     * scores mb[r] = max(mb[r], s[j][r]) besides, mb is NULL of weights. */
    void (*scale)(int g, int n_keys, const float *scale, float *s, float *mb);

    /* What the terms say, for n_keys keys of one group; mb[r] = max(mb[r], s[j][r]) of the new scores. True: some bias
     * is -inf. */
    bool (*terms)(int g, int n_keys, const struct sa_score_terms *terms, float *s, float *mb);

    /* As values_masked(), leaving out as well the keys where the row's bias, as in sa_score_terms, is -inf. */
    void (*values_biased)(const float *p, int g, struct sa_rows v, int first_key, struct sa_lane_keys keys,
                          const float *const *bias, const float *alpha, float *o);

    /* a = a and b in one, a's keys before b's; a row with nothing in it is neutral. Groups 0 .. n_groups - 1. */
    void (*merge)(int n_groups, int d, const struct sa_state *a, const struct sa_state *b);

    /* Tiles of 1 .. SA_FEW_ROWS rows have kernels that read rows of k and v of any type where they stand, in the order
     * of memory, while others are fetched. m, l and bits are the same, but scores are s[r][j] with SA_FEW_STRIDE
     * floats a row, and a state's o is o[r][c] with sa_near_stride(d_v); rows beyond n_rows may hold anything. */

    /* q of few rows of floats side by side, so that it takes little of the first-level cache: to[c][r] = qt[c][r] for
     * r < n_rows = 1, 2, 4 or 8, at least those of the tile, which is what few_scores() of floats wants for qt then, a
     * place behind the other. NULL: it wants qt as it is. */
    void (*few_queries)(const float *qt, int n_rows, int d, float *to);

    /* s[r][j] = s[r][j] * scale[j], n_keys a multiple of 16. */
    void (*few_scale)(int n_rows, int n_keys, const float *scale, float *s);

    /* As terms(), without mb; up to 15 scores behind the last are overwritten, and as many k_at are read. */
    bool (*few_terms)(int n_rows, int n_keys, const struct sa_score_terms *terms, float *s);

    /* As weights(), with mb the maximum of the scores. */
    void (*few_weights)(int n_rows, int n_keys, float *s, float *m, float *l, float *alpha);

    /* o[r][c] = o[r][c] alpha[r] + sums[r][c], sums as few_values() leaves them. */
    void (*few_add)(int n_rows, int d, const float *sums, const float *alpha, float *o);

    /* As merge(). */
    void (*few_merge)(int n_rows, int d, const struct sa_state *a, const struct sa_state *b);

    /* As finish(). */
    void (*few_finish)(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]);

    /* rows[r][c] = o[c][r] / l[r] for r < n_rows; 0 where l is 0; never -0. The whole tile. */
    void (*finish)(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]);

    struct sa_products floats;
    const struct sa_dots *dots, *dots_f16; /* of bf16, of f16; NULL: there are none */
    const struct sa_bytes *bytes;          /* NULL: there are none */
};

extern const struct sa_kernels sa_kernels_generic;
#if defined(__x86_64__)
extern const struct sa_kernels sa_kernels_avx2;
extern const struct sa_kernels sa_kernels_avx512;
extern const struct sa_dots sa_dots_avx512_bf16;
extern const struct sa_dots sa_dots_amx_bf16;
extern const struct sa_dots sa_dots_amx_f16;
extern const struct sa_bytes sa_bytes_amx_int8;
extern const struct sa_kernels sa_kernels_avx512_bf16; /* those of AVX-512 with these dots */
extern const struct sa_kernels sa_kernels_amx_bf16;    /* the same with all of AMX */
#endif

/* All kernels this library was built with, slowest first; *n is their number. */
const struct sa_kernels *const *sa_kernels_table(int *n);

#endif
