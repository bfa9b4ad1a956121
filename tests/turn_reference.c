/* SPDX-License-Identifier: MIT */
#include "turn_reference.h"

#include <math.h>

#define PI 3.14159265358979323846264338327950288L

static long double or_default(double x, long double value) { return x == 0 ? value : (long double)x; }

static int rotary(const sa_rope *rope, int d) { return rope->d_rotary ? rope->d_rotary : d; }

int turn_pairs(const sa_rope *rope, int d) { return rotary(rope, d) / 2; }

void turn_pair_of(const sa_rope *rope, int d, int i, int *a, int *b) {
    const int n = turn_pairs(rope, d);
    *a = rope->layout == SA_ROPE_INTERLEAVED ? 2 * i : i;
    *b = rope->layout == SA_ROPE_INTERLEAVED ? 2 * i + 1 : i + n;
}

/* As in the paper's section 3.2 and the code of its authors. */
static long double yarn(const sa_rope *rope, int d, int i, long double base, long double factor) {
    const long double extrapolated = 1 / powl(base, (long double)(2 * i) / d), interpolated = extrapolated / factor;
    const long double length = (long double)rope->original_length;
    const long double fast = or_default(rope->beta_fast, 32), slow = or_default(rope->beta_slow, 1);
    long double low = floorl(d * logl(length / (fast * 2 * PI)) / (2 * logl(base)));
    long double high = ceill(d * logl(length / (slow * 2 * PI)) / (2 * logl(base)));
    low = fminl(fmaxl(low, 0), d - 1);
    high = fminl(fmaxl(high, 0), d - 1);
    if (low == high)
        high += 0.001L;
    const long double mask = 1 - fminl(fmaxl((i - low) / (high - low), 0), 1);
    return interpolated * (1 - mask) + extrapolated * mask;
}

/* As in Llama 3.1's own code. */
static long double llama3(const sa_rope *rope, long double frequency, long double factor) {
    const long double length = (long double)rope->original_length;
    const long double low = or_default(rope->low_factor, 1), high = or_default(rope->high_factor, 4);
    const long double wavelength = 2 * PI / frequency;
    if (wavelength < length / high)
        return frequency;
    if (wavelength > length / low)
        return frequency / factor;
    const long double smooth = (length / wavelength - low) / (high - low);
    return (1 - smooth) * frequency / factor + smooth * frequency;
}

static long double frequency(const sa_rope *rope, int d, int i) {
    const int n = rotary(rope, d);
    const long double base = or_default(rope->base, 10000), factor = or_default(rope->factor, 1);
    const long double plain = 1 / powl(base, (long double)(2 * i) / n);
    switch (rope->scaling) {
    case SA_ROPE_LINEAR: return plain / factor;
    case SA_ROPE_NTK: return 1 / powl(base * powl(factor, (long double)n / (n - 2)), (long double)(2 * i) / n);
    case SA_ROPE_YARN: return yarn(rope, n, i, base, factor);
    case SA_ROPE_LLAMA3: return llama3(rope, plain, factor);
    default: return plain;
    }
}

static long double magnitude(const sa_rope *rope) {
    const long double factor = or_default(rope->factor, 1);
    if (rope->scaling != SA_ROPE_YARN)
        return 1;
    return or_default(rope->magnitude, factor > 1 ? 0.1L * logl(factor) + 1 : 1);
}

struct turn_exact turn_exact(const sa_rope *rope, int d, int i, int64_t position) {
    const long double angle = position * frequency(rope, d, i), size = magnitude(rope);
    const long double unscaled = 1 / powl(or_default(rope->base, 10000), (long double)(2 * i) / rotary(rope, d));
    return (struct turn_exact){size * cosl(angle), size * sinl(angle),
                               (double)(size * (0x1p-25L + fabsl((long double)position) * unscaled * 0x1p-47L))};
}

void turn_reference(const sa_rope *rope, int d, int64_t position, double *head, double *errors) {
    for (int i = 0; i < turn_pairs(rope, d); i++) {
        int a, b;
        turn_pair_of(rope, d, i, &a, &b);
        const struct turn_exact at = turn_exact(rope, d, i, position);
        const double x = head[a], y = head[b], c = (double)at.cosine, s = (double)at.sine;
        const double of_angle = (fabs(x) + fabs(y)) * at.bound, ex = errors[a], ey = errors[b];
        head[a] = (double)((long double)x * at.cosine - (long double)y * at.sine);
        head[b] = (double)((long double)x * at.sine + (long double)y * at.cosine);
        errors[a] = fabs(c) * ex + fabs(s) * ey + of_angle + 0x1p-23 * (fabs(x * c) + fabs(y * s)) + 0x1p-148;
        errors[b] = fabs(s) * ex + fabs(c) * ey + of_angle + 0x1p-23 * (fabs(x * s) + fabs(y * c)) + 0x1p-148;
    }
}
