/* SPDX-License-Identifier: MIT */
#include "lse.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "problem.h"

#define LN_2 0.69314718055994530942

/* ln x = 2 atanh((x - 1) / (x + 1)) for x in [sqrt(1/2), sqrt(2)): |t| <= 0.172, eight terms leave 4e-14. The C
 * library's log() is not used: its bits differ between versions and processors. */
static double log_near_one(double x) {
    double t = (x - 1) / (x + 1), t2 = t * t, sum = 0;
    for (int i = 15; i >= 1; i -= 2)
        sum = sum * t2 + 1.0 / i;
    return 2 * t * sum;
}

double sa_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffff) | (uint64_t)1023 << 52;
    memcpy(&x, &bits, sizeof x);
    if (x > 1.4142135623730951) {
        x /= 2;
        exponent++;
    }
    return exponent * LN_2 + log_near_one(x);
}

/* 2^n e^r with |r| <= ln(2) / 2, ln(2) in two parts of which the first is exact times n. 14 terms leave 4e-18. */
double sa_exp(double x) {
    if (x < -700)
        return 0;
    const double n = floor(x * LOG2_E + 0.5), r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    double sum = 1;
    for (int i = 13; i >= 1; i--)
        sum = 1 + sum * r / i;
    if (!(x <= 0))
        return (double)NAN;
    const uint64_t bits = (uint64_t)(1023 + (int)n) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

float sa_lse(float m, float l) {
    if (l == 0.0f)
        return -INFINITY;
    if (!(l > 0.0f && l < INFINITY))
        return NAN;
    return (float)((double)m * LN_2 + sa_log((double)l));
}

float sa_row_max(float m, float l) { return l == l ? (float)((double)m * LN_2) + 0.0f : NAN; }
