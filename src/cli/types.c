/* SPDX-License-Identifier: MIT */
#include "types.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} types[] = {[SA_F32] = {"f32", 4}, [SA_BF16] = {"bf16", 2}, [SA_F16] = {"f16", 2}, [SA_I8] = {"i8", 1}};

size_t type_bytes(int type) { return types[type].bytes; }

const char *type_name(int type) { return types[type].name; }

bool type_named(const char *name, int *type) {
    for (*type = SA_F32; *type <= SA_F16; ++*type)
        if (strcmp(name, types[*type].name) == 0)
            return true;
    return false;
}

static float of_bf16(uint16_t bits) {
    const uint32_t upper = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &upper, sizeof value);
    return value;
}

static float of_f16(uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    float value = exponent ? ldexpf((float)(1024 + mantissa), exponent - 25) : ldexpf((float)mantissa, -24);
    if (exponent == 31)
        value = mantissa ? NAN : INFINITY;
    return bits & 0x8000 ? -value : value;
}

float type_element(int type, const void *data, int64_t i) {
    if (type == SA_F32)
        return ((const float *)data)[i];
    const uint16_t bits = ((const uint16_t *)data)[i];
    return type == SA_BF16 ? of_bf16(bits) : of_f16(bits);
}
