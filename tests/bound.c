/* SPDX-License-Identifier: MIT */
#include "bound.h"

#include <math.h>

/* Terms of second order in u, and the rounding of the bound itself. */
#define SLACK 1.01

int bound_levels(int64_t n_k) {
    int levels = 0;
    for (int64_t keys = 1024; keys < n_k; keys *= 8)
        levels++;
    return levels;
}

/* expm1: scores so large that t is not small still get a true bound. */
double bound_weight(int d_qk, double z, double distance, double k_sum) {
    return expm1(BOUND_U * ((d_qk + 4) * z + distance + 6) + 0x1p-148 * (k_sum + d_qk));
}

static double l_roundings(int64_t n_k) { return 29 + 28 * bound_levels(n_k); }

double bound_o(int64_t n_k, double p_v, double p_t_v, double p_t, double o, double v_max) {
    double chain = n_k < 256 ? (double)n_k : 256;
    double roundings = chain + 11 + 28 * bound_levels(n_k) + l_roundings(n_k);
    double flushed = (double)n_k * (0x1p-125 * v_max + 0x1p-148);
    return SLACK * (p_t_v + p_t * fabs(o) + roundings * BOUND_U * p_v + flushed);
}

double bound_lse(int64_t n_k, double p_t, double lse) {
    return SLACK * (p_t + (l_roundings(n_k) + fabs(lse)) * BOUND_U + (double)n_k * 0x1p-125 + 0x1p-149);
}
