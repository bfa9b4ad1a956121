/* SPDX-License-Identifier: MIT */
#include "elements.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Bits of an IEEE format: a sign, then these. */
struct format {
    int bytes, exponent_bits, fraction_bits;
};

static const struct format formats[] = {
    [SA_F32] = {4, 8, 23}, [SA_BF16] = {2, 8, 7}, [SA_F16] = {2, 5, 10}, [SA_F64] = {8, 11, 52}};
static const struct format *const f64 = &formats[SA_F64];

static uint64_t ones(int bits) { return (UINT64_C(1) << bits) - 1; }
static int bias(const struct format *f) { return (int)ones(f->exponent_bits - 1); }

int element_bytes(int type) { return type == SA_I8 ? 1 : formats[type].bytes; }

static double value_of(const struct format *f, uint64_t bits) {
    const uint64_t sign = bits >> (f->exponent_bits + f->fraction_bits), fraction = bits & ones(f->fraction_bits);
    const int exponent = (int)(bits >> f->fraction_bits & ones(f->exponent_bits));
    if (exponent == 0) {
        const double magnitude = ldexp((double)fraction, 1 - bias(f) - f->fraction_bits);
        return sign ? -magnitude : magnitude;
    }
    const uint64_t as_f64 =
        exponent == (int)ones(f->exponent_bits) ? ones(f64->exponent_bits) : (uint64_t)(exponent - bias(f) + bias(f64));
    bits = sign << 63 | as_f64 << f64->fraction_bits | fraction << (f64->fraction_bits - f->fraction_bits);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* whole / 2^shift to nearest, ties to even. */
static uint64_t shift_down(uint64_t whole, int shift) {
    if (shift > 62)
        return 0;
    const uint64_t kept = whole >> shift, lost = whole & ones(shift), half = UINT64_C(1) << (shift - 1);
    return kept + (lost > half || (lost == half && (kept & 1)));
}

/* A significand that is rounded up to the next power of two carries into the exponent, the largest one into inf. */
static uint64_t bits_of_magnitude(const struct format *f, uint64_t bits) {
    const uint64_t inf = ones(f->exponent_bits) << f->fraction_bits, fraction = bits & ones(f64->fraction_bits);
    const int dropped = f64->fraction_bits - f->fraction_bits;
    const int exponent = (int)(bits >> f64->fraction_bits), least = bias(f64) + 1 - bias(f);
    if (exponent == (int)ones(f64->exponent_bits))
        return fraction ? inf | fraction >> dropped | UINT64_C(1) << (f->fraction_bits - 1) : inf;
    if (exponent > bias(f64) + bias(f))
        return inf;
    const uint64_t significand = fraction | (uint64_t)(exponent > 0) << f64->fraction_bits;
    if (exponent < least)
        return shift_down(significand, dropped + least - exponent);
    return ((uint64_t)(exponent - least) << f->fraction_bits) + shift_down(significand, dropped);
}

double element_value(int type, const void *at) {
    uint32_t bits = 0;
    float plain;
    switch (type) {
    case SA_I8: return *(const int8_t *)at;
    case SA_F32: return memcpy(&plain, at, sizeof plain), (double)plain;
    default: memcpy(&bits, at, 2); return value_of(&formats[type], bits);
    }
}

void element_store(int type, double value, void *at) {
    if (type == SA_I8) {
        *(int8_t *)at = isnan(value) ? INT8_MIN : (int8_t)value;
        return;
    }
    const struct format *f = &formats[type];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t stored = (uint32_t)(bits_of_magnitude(f, bits & ones(63)) | (bits >> 63) << (8 * f->bytes - 1));
    const uint16_t half = (uint16_t)stored;
    memcpy(at, f->bytes == 2 ? (const void *)&half : &stored, (size_t)f->bytes);
}

struct element_rounding element_rounding(int type) {
    if (type != SA_BF16 && type != SA_F16)
        return (struct element_rounding){0, 0};
    const struct format *f = &formats[type];
    return (struct element_rounding){ldexp(1, -1 - f->fraction_bits), ldexp(1, -bias(f) - f->fraction_bits)};
}
