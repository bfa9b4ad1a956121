/* SPDX-License-Identifier: MIT */
#include "turn.h"

#include <math.h>

#include "fpmode.h"

#define PI 3.14159265358979323846

/* ---------------------------------------------------------------- options */

static bool is_size(double x) { return x > 0 && isfinite(x); }

static sa_status check_numbers(const sa_rope *r, int d) {
    if (r->layout != SA_ROPE_HALF && r->layout != SA_ROPE_INTERLEAVED)
        return sa_refuse(SA_INVALID, "sa_rope.layout is %d, no sa_rope_layout", (int)r->layout);
    if (r->scaling < SA_ROPE_PLAIN || r->scaling > SA_ROPE_LLAMA3)
        return sa_refuse(SA_INVALID, "sa_rope.scaling is %d, no sa_rope_scaling", (int)r->scaling);
    if (r->reserved != 0)
        return sa_refuse(SA_INVALID, "sa_rope.reserved is %d, expected 0", (int)r->reserved);
    if (r->d_rotary < 2 || r->d_rotary % 2 || r->d_rotary > d || r->d_rotary > SA_MAX_ROTARY)
        return sa_refuse(SA_INVALID, "sa_rope.d_rotary is %d, expected an even number up to %d", (int)r->d_rotary,
                         d < SA_MAX_ROTARY ? d : SA_MAX_ROTARY);
    if (!(r->base > 1) || !isfinite(r->base))
        return sa_refuse(SA_INVALID, "sa_rope.base is %g, expected more than 1", r->base);
    if (!is_size(r->factor))
        return sa_refuse(SA_INVALID, "sa_rope.factor is %g, expected more than 0", r->factor);
    return SA_OK;
}

static sa_status check_scaling(const sa_rope *r) {
    const bool yarn = r->scaling == SA_ROPE_YARN, llama = r->scaling == SA_ROPE_LLAMA3;
    if (r->scaling == SA_ROPE_PLAIN && r->factor != 1)
        return sa_refuse(SA_INVALID, "sa_rope.factor is %g without a scaling", r->factor);
    if (r->scaling == SA_ROPE_NTK && r->d_rotary < 4)
        return sa_refuse(SA_INVALID, "sa_rope.d_rotary is %d, SA_ROPE_NTK needs 4", (int)r->d_rotary);
    if ((yarn || llama) && !is_size(r->original_length))
        return sa_refuse(SA_INVALID, "sa_rope.original_length is %g, expected more than 0", r->original_length);
    if (yarn && !(is_size(r->beta_fast) && is_size(r->beta_slow) && is_size(r->magnitude)))
        return sa_refuse(SA_INVALID, "sa_rope.beta_fast, beta_slow, magnitude are %g, %g, %g, expected more than 0",
                         r->beta_fast, r->beta_slow, r->magnitude);
    if (llama && !(is_size(r->low_factor) && is_size(r->high_factor) && r->low_factor < r->high_factor))
        return sa_refuse(SA_INVALID, "sa_rope.low_factor, high_factor are %g, %g, expected 0 < low < high",
                         r->low_factor, r->high_factor);
    return SA_OK;
}

static void set_default(double *x, double value) {
    if (*x == 0)
        *x = value;
}

static void fill_defaults(sa_rope *r, int d) {
    if (r->d_rotary == 0)
        r->d_rotary = d;
    set_default(&r->base, 10000);
    set_default(&r->factor, 1);
    set_default(&r->beta_fast, 32);
    set_default(&r->beta_slow, 1);
    set_default(&r->magnitude, r->factor > 1 ? 0.1 * log(r->factor) + 1 : 1);
    set_default(&r->low_factor, 1);
    set_default(&r->high_factor, 4);
}

/* ---------------------------------------------------------------- frequencies */

static double kept_within(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static double yarn_pair_of(const sa_rope *r, double beta) {
    return r->d_rotary * log(r->original_length / (2 * PI * beta)) / (2 * log(r->base));
}

static double yarn(const sa_rope *r, int i, double f) {
    double lo = kept_within(floor(yarn_pair_of(r, r->beta_fast)), 0, r->d_rotary - 1);
    double hi = kept_within(ceil(yarn_pair_of(r, r->beta_slow)), 0, r->d_rotary - 1);
    if (lo == hi)
        hi += 0.001;
    const double ramp = kept_within((i - lo) / (hi - lo), 0, 1);
    return f * (1 - ramp) + f / r->factor * ramp;
}

static double llama3(const sa_rope *r, double f) {
    const double turns = r->original_length * f / (2 * PI); /* original_length / wavelength */
    const double ramp = kept_within((turns - r->low_factor) / (r->high_factor - r->low_factor), 0, 1);
    return (1 - ramp) * f / r->factor + ramp * f;
}

static double frequency(const sa_rope *r, int i) {
    const int d = r->d_rotary;
    const double base = r->scaling == SA_ROPE_NTK ? r->base * pow(r->factor, d / (d - 2.0)) : r->base;
    const double f = pow(base, -2.0 * i / d);
    switch (r->scaling) {
    case SA_ROPE_LINEAR: return f / r->factor;
    case SA_ROPE_YARN: return yarn(r, i, f);
    case SA_ROPE_LLAMA3: return llama3(r, f);
    default: return f;
    }
}

sa_status sa_turn_make(struct sa_turn *turn, const sa_rope *rope, int d) {
    sa_rope own = {.struct_size = sizeof own};
    sa_status status = rope ? sa_take_in(&own, sizeof own, rope, "sa_rope") : SA_OK;
    if (status != SA_OK)
        return status;
    fill_defaults(&own, d);
    status = check_numbers(&own, d);
    if (status == SA_OK)
        status = check_scaling(&own);
    if (status != SA_OK)
        return status;
    turn->n_pairs = own.d_rotary / 2;
    turn->layout = own.layout;
    turn->magnitude = own.scaling == SA_ROPE_YARN ? own.magnitude : 1;
    for (int i = 0; i < turn->n_pairs; i++)
        turn->frequencies[i] = frequency(&own, i);
    return SA_OK;
}

/* ---------------------------------------------------------------- turning */

void sa_turn_to(const struct sa_turn *turn, int64_t position, struct sa_turn_at *at) {
    for (int i = 0; i < turn->n_pairs; i++) {
        const double angle = (double)position * turn->frequencies[i];
        at->cosine[i] = (float)(cos(angle) * turn->magnitude);
        at->sine[i] = (float)(sin(angle) * turn->magnitude);
    }
}

static void turn_pair(float *a, float *b, float cosine, float sine) {
    const float x = *a, y = *b;
    *a = x * cosine - y * sine;
    *b = x * sine + y * cosine;
}

void sa_turn_head(const struct sa_turn *turn, const struct sa_turn_at *at, float *head) {
    const int n = turn->n_pairs;
    if (turn->layout == SA_ROPE_HALF)
        for (int i = 0; i < n; i++)
            turn_pair(&head[i], &head[i + n], at->cosine[i], at->sine[i]);
    else
        for (int i = 0; i < n; i++)
            turn_pair(&head[2 * i], &head[2 * i + 1], at->cosine[i], at->sine[i]);
}

/* ---------------------------------------------------------------- public */

static sa_status give_frequencies(const sa_rope *rope, int d, double *frequencies, double *magnitude) {
    struct sa_turn turn;
    if (d < 1 || d > SA_MAX_WIDTH)
        return sa_refuse(SA_INVALID, "d is %d, expected 1 to %d", d, SA_MAX_WIDTH);
    if (!frequencies)
        return sa_refuse(SA_INVALID, "frequencies is NULL");
    sa_status status = sa_turn_make(&turn, rope, d);
    if (status != SA_OK)
        return status;
    for (int i = 0; i < turn.n_pairs; i++)
        frequencies[i] = turn.frequencies[i];
    if (magnitude)
        *magnitude = turn.magnitude;
    return SA_OK;
}

sa_status sa_rope_frequencies(const sa_rope *rope, int32_t d, double *frequencies, double *magnitude) {
    uint64_t mode = sa_fpmode_enter();
    sa_status status = give_frequencies(rope, d, frequencies, magnitude);
    sa_fpmode_leave(mode);
    return status;
}
