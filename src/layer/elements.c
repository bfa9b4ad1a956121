/* SPDX-License-Identifier: MIT */
#include "elements.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- 16 bits */

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float from_bf16(uint16_t h) { return float_of((uint32_t)h << 16); }

/* Exponents are moved by a product, which also makes normal numbers of subnormal ones. */
static float from_f16(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    const float x = float_of(rest) * 0x1p112f;
    return float_of((rest >= 0x7c00u << 13 ? rest | 0x7f800000u : bits_of(x)) | sign);
}

static uint16_t to_bf16(float x) {
    const uint32_t bits = bits_of(x);
    const uint32_t nan = (bits >> 16) | 0x40, rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

/* Subnormal results come from a sum whose last bit is worth 2^-24. */
static uint16_t to_f16(float x) {
    const uint32_t bits = bits_of(x), sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffff;
    uint32_t h;
    if (size > 0x7f800000)
        h = 0x7e00 | ((size >> 13) & 0x1ff);
    else if (size >= 0x477ff000) /* 65520 */
        h = 0x7c00;
    else if (size < 0x38800000) /* 2^-14 */
        h = bits_of(float_of(size) + 0.5f) - bits_of(0.5f);
    else
        h = (size - 0x38000000 + 0xfff + ((size >> 13) & 1)) >> 13;
    return (uint16_t)(h | sign);
}

/* ---------------------------------------------------------------- rows of them */

void sa_elements_read(float *to, const void *from, int type, int64_t n) {
    const uint16_t *halves = from;
    if (type == SA_F32)
        memmove(to, from, (size_t)n * sizeof *to);
    else if (type == SA_BF16)
        for (int64_t i = 0; i < n; i++)
            to[i] = from_bf16(halves[i]);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = from_f16(halves[i]);
}

void sa_elements_write(void *to, const float *from, int type, int64_t n) {
    uint16_t *halves = to;
    if (type == SA_F32)
        memmove(to, from, (size_t)n * sizeof *from);
    else if (type == SA_BF16)
        for (int64_t i = 0; i < n; i++)
            halves[i] = to_bf16(from[i]);
    else
        for (int64_t i = 0; i < n; i++)
            halves[i] = to_f16(from[i]);
}

int64_t sa_elements_not_finite(const void *from, int type, int64_t n) {
    const uint32_t *words = from;
    const uint16_t *halves = from;
    const uint32_t exponent = type == SA_F32 ? 0x7f800000 : type == SA_BF16 ? 0x7f80 : 0x7c00;
    for (int64_t i = 0; i < n; i++)
        if (((type == SA_F32 ? words[i] : halves[i]) & exponent) == exponent)
            return i;
    return -1;
}

/* ---------------------------------------------------------------- what callers hand over */

sa_status sa_refuse(sa_status status, const char *format, ...) {
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return sa_set_reason(status, reason);
}

sa_status sa_check_type(int type, const char *name) {
    if (sa_bytes_of(type))
        return SA_OK;
    if (type == SA_F64 || type == SA_I8)
        return sa_refuse(SA_UNSUPPORTED, "%s is %s: SA_F32, SA_BF16 and SA_F16 are served", name,
                         type == SA_F64 ? "SA_F64" : "SA_I8");
    return sa_refuse(SA_INVALID, "%s is %d, no sa_type", name, type);
}

bool sa_is_zero(const void *bytes, size_t n) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++)
        if (at[i] != 0)
            return false;
    return true;
}

sa_status sa_take_in(void *to, size_t bytes, const void *from, const char *name) {
    size_t given;
    if (!from)
        return sa_refuse(SA_INVALID, "%s is NULL", name);
    memcpy(&given, from, sizeof given);
    if (given < bytes || given > 1 << 16)
        return sa_refuse(SA_INVALID, "%s: struct_size is %zu, expected %zu", name, given, bytes);
    if (!sa_is_zero((const char *)from + bytes, given - bytes))
        return sa_refuse(SA_UNSUPPORTED, "%s: a field that version %s does not know is not zero", name,
                         SA_VERSION_STRING);
    memcpy(to, from, bytes);
    return SA_OK;
}
