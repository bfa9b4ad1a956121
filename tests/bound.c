/* SPDX-License-Identifier: MIT */
#include "bound.h"

#include <math.h>
#include <stdbool.h>

#include "elements.h"

/* Terms of second order in u, and the rounding of the bound itself. */
#define SLACK 1.01

int bound_levels(int64_t n_k) {
    int levels = 0;
    for (int64_t keys = 1024; keys < n_k; keys *= 8)
        levels++;
    return levels;
}

/* expm1: scores so large that t is not small still get a true bound. */
double bound_weight(int d_qk, int k_type, const struct bound_key *key) {
    const bool scaled = k_type == SA_I8;
    const double roundings = d_qk + 4 + scaled, subnormal = scaled ? d_qk * (1 + fabs(key->scale)) : d_qk;
    return expm1(BOUND_U * (roundings * key->z + key->distance + 6) + 0x1p-148 * (key->k_sum + subnormal));
}

static double l_roundings(int64_t n_k) { return 29 + 28 * bound_levels(n_k); }

double bound_o(int64_t n_k, int v_type, int o_type, const struct bound_sums *sums) {
    const bool scaled = v_type == SA_I8;
    const double chain = n_k < 256 ? (double)n_k : 256;
    const double roundings = chain + 11 + scaled + 28 * bound_levels(n_k) + l_roundings(n_k);
    const double flushed = (double)n_k * (0x1p-125 * sums->v_max + (scaled ? 0x1p-142 : 0x1p-148));
    const double of_float =
        SLACK * (sums->p_t_v + sums->p_t * fabs(sums->o) + roundings * BOUND_U * sums->p_v + flushed);
    const struct element_rounding last = element_rounding(o_type);
    return of_float + last.relative * (fabs(sums->o) + of_float) + last.absolute;
}

double bound_lse(int64_t n_k, double p_t, double lse) {
    return SLACK * (p_t + (l_roundings(n_k) + fabs(lse)) * BOUND_U + (double)n_k * 0x1p-125 + 0x1p-149);
}
