/* SPDX-License-Identifier: MIT */
#include "bound.h"

#include <math.h>

#include "elements.h"

/* Terms of second order in u, and the rounding of the bound itself. */
#define SLACK 1.01

int bound_levels(int64_t n_k) {
    int levels = 0;
    for (int64_t keys = 1024; keys < n_k; keys *= 8)
        levels++;
    return levels;
}

/* What a score is off by the chain and the terms; subnormals apart. */
static double score_roundings(int d_qk, int k_type, const struct bound_key *key) {
    const double of_terms = key->terms > 0 ? 9 * key->terms + 2 * key->z : 0;
    return (d_qk + 4 + (k_type == SA_I8)) * key->z + of_terms + 3 * key->digits;
}

static double score_subnormals(int d_qk, int k_type, const struct bound_key *key) {
    return 0x1p-148 * (key->k_sum + (k_type == SA_I8 ? d_qk * (1 + fabs(key->scale)) : d_qk)) +
           0x1p-125 * key->flushed + (key->digits > 0 ? 0x1p-127 * key->k_sum : 0);
}

/* expm1: scores so large that t is not small still get a true bound. */
double bound_weight(int d_qk, int k_type, const struct bound_key *key) {
    return expm1(BOUND_U * (score_roundings(d_qk, k_type, key) + key->distance + 6) +
                 score_subnormals(d_qk, k_type, key));
}

/* Back from units of log2: two roundings more. */
double bound_score(int d_qk, int k_type, const struct bound_key *key, double s) {
    return SLACK * (BOUND_U * (score_roundings(d_qk, k_type, key) + 2 * fabs(s)) + score_subnormals(d_qk, k_type, key) +
                    0x1p-149);
}

double bound_sink(double sink, double most) { return expm1(BOUND_U * (3 * (fabs(sink) + most - sink) + 6) + 0x1p-148); }

static double l_roundings(int64_t n_k) { return 29 + 28 * bound_levels(n_k); }

double bound_o(int64_t n_k, int v_type, int o_type, const struct bound_sums *sums) {
    const bool scaled = v_type == SA_I8;
    const double chain = n_k < 256 ? (double)n_k : 256;
    const double roundings = chain + 11 + scaled + 28 * bound_levels(n_k) + l_roundings(n_k);
    const double flushed = (double)n_k * (0x1p-125 * sums->v_max + (scaled ? 0x1p-142 : 0x1p-148));
    const double pairs = sums->pairs >= 0 ? (sums->pairs == SA_BF16 ? 0x1p-8 : 0x1p-13) * (sums->p_v + sums->p_t_v) +
                                                (double)n_k * 0x1p-125
                                          : 0;
    const double digits = 0x1p-30 * sums->digits;
    const double of_float =
        SLACK * (sums->p_t_v + sums->p_t * fabs(sums->o) + roundings * BOUND_U * sums->p_v + flushed + pairs + digits);
    const struct element_rounding last = element_rounding(o_type);
    return of_float + last.relative * (fabs(sums->o) + of_float) + last.absolute;
}

double bound_lse(int64_t n_k, double p_t, double lse) {
    return SLACK * (p_t + (l_roundings(n_k) + fabs(lse)) * BOUND_U + (double)n_k * 0x1p-125 + 0x1p-149);
}

double bound_reported(int64_t n_k, double p, double t, double p_t, double s, double lse) {
    const double roundings = l_roundings(n_k) + 4 * (fabs(s) + fabs(lse) + 4);
    return SLACK * p * expm1(t + p_t + roundings * BOUND_U + (double)n_k * 0x1p-125) + 0x1p-125;
}

double bound_sum(int64_t n, double sum) { return SLACK * (double)n * (BOUND_U * sum + 0x1p-149); }
