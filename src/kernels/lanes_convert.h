/* SPDX-License-Identifier: MIT */
/* Rows of one element type to another. Included by lanes.h. */
#ifndef SA_LANES_CONVERT_H
#define SA_LANES_CONVERT_H

INLINE void widen_rows(const int type, struct sa_stored rows, float *to, ptrdiff_t to_stride) {
    for (int j = 0; j < rows.n; j++, to += to_stride) {
        const char *row = rows.data + j * rows.stride;
        int c = 0;
        for (; c + LANES <= rows.d; c += LANES)
            v_store_any(to + c, v_of(type, row + c * type_bytes(type)));
        for (; c < rows.d; c++)
            to[c] = one_of(type, row + c * type_bytes(type));
    }
}

static void lanes_widen(struct sa_stored rows, float *to, ptrdiff_t to_stride) {
    switch (rows.type) {
    case SA_BF16: widen_rows(SA_BF16, rows, to, to_stride); break;
    case SA_F16: widen_rows(SA_F16, rows, to, to_stride); break;
    case SA_I8: widen_rows(SA_I8, rows, to, to_stride); break;
    default: widen_rows(SA_F32, rows, to, to_stride);
    }
}

/* To nearest, ties to even; a carry may reach inf. A NaN whose upper half has no bit set would turn into inf. */
INLINE uint16_t bf16_of(float a) {
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

/* LANES elements. */
INLINE void v_to(const int type, char *p, vf a) {
    if (type == SA_BF16)
        v_to_bf16(p, a);
    else
        v_to_f16(p, a);
}

INLINE void narrow_row(const int type, const float *row, int d, char *to) {
    int c = 0;
    for (; c + LANES <= d; c += LANES)
        v_to(type, to + 2 * c, v_load_any(row + c));
    for (; c < d; c++) {
        const uint16_t bits = type == SA_BF16 ? bf16_of(row[c]) : f16_of(row[c]);
        memcpy(to + 2 * c, &bits, sizeof bits);
    }
}

static void lanes_narrow(const float *row, int d, int type, void *to) {
    switch (type) {
    case SA_BF16: narrow_row(SA_BF16, row, d, to); break;
    case SA_F16: narrow_row(SA_F16, row, d, to); break;
    default: memcpy(to, row, (size_t)d * sizeof *row);
    }
}

/* What is left of a row is filled up with zeros, which are neither larger than anything nor stored. */
INLINE vf v_load_rest(const float *row, int n) {
    float rest[LANES] = {0};
    memcpy(rest, row, (size_t)n * sizeof *row);
    return v_load_any(rest);
}

static float lanes_largest(const float *row, int d) {
    float each[LANES];
    vf most = v_set1(0.0f), more = most;
    int c = 0;
    for (; c + 2 * LANES <= d; c += 2 * LANES) {
        most = v_max_abs(v_load_any(row + c), most);
        more = v_max_abs(v_load_any(row + c + LANES), more);
    }
    for (; c < d; c += LANES)
        most = v_max_abs(d - c < LANES ? v_load_rest(row + c, d - c) : v_load_any(row + c), most);
    v_store_any(each, v_max_abs(most, more));
    float largest = each[0];
    for (int i = 1; i < LANES; i++)
        largest = each[i] > largest || each[i] != each[i] ? each[i] : largest;
    return largest;
}

INLINE vf quotient(vf x, vf scale) {
    const vf q = v_div(x, scale);
    return v_select(v_equal(q, q), v_min(v_set1(127.0f), v_max(v_set1(-127.0f), q)), v_set1(0.0f));
}

static void lanes_quantise(const float *row, int d, float scale, signed char *to) {
    const vf scales = v_set1(scale);
    signed char rest[LANES];
    int c = 0;
    for (; c + LANES <= d; c += LANES)
        v_to_i8(to + c, quotient(v_load_any(row + c), scales));
    if (c < d) {
        v_to_i8(rest, quotient(v_load_rest(row + c, d - c), scales));
        memcpy(to + c, rest, (size_t)(d - c));
    }
}

#endif
