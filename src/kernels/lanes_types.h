/* SPDX-License-Identifier: MIT */
/* Elements of any type as floats. Included by lanes.h and lanes_dots.h. */
#ifndef SA_LANES_TYPES_H
#define SA_LANES_TYPES_H

INLINE int type_bytes(const int type) { return type == SA_F32 ? 4 : type == SA_I8 ? 1 : 2; }

/* LANES elements. */
INLINE vf v_of(const int type, const char *p) {
    switch (type) {
    case SA_BF16: return v_of_bf16(p);
    case SA_F16: return v_of_f16(p);
    case SA_I8: return v_of_i8(p);
    default: return v_load_any((const float *)(const void *)p);
    }
}

INLINE float of_bf16(uint16_t bits) {
    const uint32_t upper = (uint32_t)bits << 16;
    float a;
    memcpy(&a, &upper, sizeof a);
    return a;
}

INLINE float one_of(const int type, const char *p) {
    uint16_t bits;
    float a;
    if (type == SA_I8)
        return (float)*(const signed char *)p;
    if (type == SA_F32) {
        memcpy(&a, p, sizeof a);
        return a;
    }
    memcpy(&bits, p, sizeof bits);
    return type == SA_BF16 ? of_bf16(bits) : of_f16(bits);
}

#endif
