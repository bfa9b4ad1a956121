/* SPDX-License-Identifier: MIT */
/*
 * How far a float32 result may be from the exact one: the bound stated at sa_batch_forward() in sa.h.
 *
 * With u = 2^-24 and gamma_n ~ n u for a chain of n operations (Higham, Accuracy and Stability of Numerical Algorithms,
 * 2nd ed., section 3.1), p[j] the exact weights and z[j] = |scale| sum_c |q[c] k[j][c]|:
 *
 *     score     q is scaled and rounded (2 u), the chain over d adds d u z[j]; subtracting the maximum u |s[j] - m|,
 *               also in steps, since the maxima a weight is rescaled by only grow; exp2 1.88 u, or 3.07 u where pairs
 *               are multiplied. Rounded up, a weight is off by the factor 1 + t[j], t[j] = u ((d + 4) z[j] + |s[j] - m|
 *               + 6)
 *     o         a chain of at most 256 keys, 3 rescalings in the chunk of (exp2 and fma) 3 u each, and on each level
 *               of the tree 7 of 4 u: (min(n, 256) + 9 + 28 L) u sum p |v|
 *     l         4 levels of a tree, a chain of 16, the same rescalings: (20 + 9 + 28 L) u, which moves all of o
 *     end       1 / l and the product: 2 u
 *     terms     softcap: 6.2 u and the cap in units of log2, u; ALiBi: a slope in units of log2 and a distance, u each;
 *               bias: log2(e), u; and u of the sums that ALiBi and bias make. None makes an error of the score larger,
 *               so 9 u of each term's size, that of a capped score included, and 2 u z[j] more, are enough
 *     sink      exp(sink - m): 3 u (|sink| + |sink - m|) + 6 u of its own weight, a part of l; it is merged when all
 *               keys are, 4 u more of every other weight
 *     flushed   weights below 2^-126 are anything below it: n 2^-126 of |v| and of |o|
 *
 * A weight that is reported, exp(s - lse), is off as it is in o, and by what lse is off, and by 4 u (|s| + |lse| + 4).
 *
 * L is 0 up to 1024 keys and grows by one for every factor of 8. Subnormals add their 2^-149 where they may arise.
 *
 * Elements of 16 bits become floats exactly: they add nothing. Int8 elements do as well, their scales are factors of
 * sums and weights:
 *
 *     keys      the chain over the elements times the scale of its key, rounded: u z[j] more in t[j], and what is
 *               subnormal in the chain counts |scale| times
 *     values    a weight times the scale of its value, rounded: u sum p |v| more. Where this product is subnormal it is
 *               off by 2^-150 times an element of at most 128: 2^-143 a key
 *
 * Pairs of bf16, multiplied as such (from SA_ISA_AVX512_BF16 on): the same chains, with the scale at the end of that of
 * a score, and
 *
 *     weights   rounded to bf16 where they meet v: 2^-8 of each, in o only
 *     flushed   subnormal elements, sums and weights count as 0: 2^-126 of each element's partner and of each sum
 *
 * Pairs of f16 (from SA_ISA_AMX_BF16 on, if the batch has SA_F16_PAIRS): elements are sums of two parts, the lesser
 * below 2^-7 of them and of the same sign, so that products of parts add up to those of elements, also in magnitude.
 * Of 32 dimensions there are four such sums, of 32 keys three, each of 16 roundings and added in one more: no more
 * roundings on the way of a term than chains have. In place of the weights' 2^-8
 *
 *     weights   the lesser part is rounded to 8 bits: 2^-16 of each; times the lesser part of v it is left out: 2^-14;
 *               both are within 2^-13
 *
 * Int8 multiplied as such, wherever kernels may do it (from SA_ISA_AMX_BF16 on): q and weights are whole numbers, the
 * largest of which is 2^21 127/64 at least in a row, and 2^29 in a row and block; half of a unit is
 *
 *     keys      2.02 u of the largest |q|, a product; u is for two roundings more: 3 u |scale| max |q| sum |k[j]| in
 *               t[j]. Where what a unit stands for is subnormal, 2^-127 sum |k[j]|
 *     values    u / 64 of the block's largest weight times scale, a key: 2^-30 of it times sum |v| of the block, where
 * v is int8, in o
 *
 *     o         rounded from the float to SA_BF16, half a unit in the last of 8 bits: 2^-8 |o|, or of subnormal numbers
 *               2^-134; to SA_F16, of 11 bits, 2^-11 |o| and 2^-25. |o| is that of the float
 */
#ifndef SA_BOUND_H
#define SA_BOUND_H

#include <stdbool.h>
#include <stdint.h>

#define BOUND_U     0x1p-24
#define BOUND_MERGE 4 /* u: what a merge adds to a weight */

/* Levels L of the tree of chunks over n_k keys. */
int bound_levels(int64_t n_k);

/* A key the row sees. */
struct bound_key {
    double z;        /* as above */
    double distance; /* m - s[j], and what else adds so many u */
    double k_sum;    /* sum_c |k[j][c]| */
    double scale;    /* of int8 elements */
    double flushed;  /* of pairs of bf16: |scale| (sum_c |q[c]| + sum_c |k[c]| + d), else 0 */
    double digits;   /* of int8 multiplied as such: |scale| max_c |q[c]| sum_c |k[j][c]|, else 0 */
    double terms;    /* |softcap * tanh(s / softcap)| + |ALiBi| + |bias|, of those that there are */
};

/* t[j]: relative error of a weight. k_type: sa_type. */
double bound_weight(int d_qk, int k_type, const struct bound_key *key);

/* How far off a score may be, before the maximum is subtracted. */
double bound_score(int d_qk, int k_type, const struct bound_key *key, double s);

/* The relative error of the sink's weight; most: the largest score, or the sink if that is larger. */
double bound_sink(double sink, double most);

/* What an element of o consists of: p_v = sum p[j] |v[j]|, p_t_v = sum p[j] t[j] |v[j]|, p_t = sum p[j] t[j]. */
struct bound_sums {
    double p_v, p_t_v, p_t, o, v_max;
    double digits; /* of int8 multiplied as such: over blocks, max p |scale of v| times sum of |elements of v| */
    int pairs;     /* their type, SA_BF16 or SA_F16; -1: there are none */
};

/* Bound of an element of o. v_type, o_type: sa_type. */
double bound_o(int64_t n_k, int v_type, int o_type, const struct bound_sums *sums);

/* Bound of a log-sum-exp. */
double bound_lse(int64_t n_k, double p_t, double lse);

/* Bound of a weight p that is reported; t: bound_weight() of it. */
double bound_reported(int64_t n_k, double p, double t, double p_t, double s, double lse);

/* What summing n numbers that are not negative adds. */
double bound_sum(int64_t n, double sum);

#endif
