/* SPDX-License-Identifier: MIT */
/* Which lanes see a key. Included by lanes.h, lanes_dots.h and AMX's files. */
#ifndef SA_LANES_SEES_H
#define SA_LANES_SEES_H

/* Lanes of a vector of which key j has its bit set: it becomes the sign. */
INLINE vmask visible_bits(const uint32_t *bits, int lane, int j) {
    typedef uint32_t lane_words __attribute__((vector_size(4 * LANES)));
    const int32_t *at = (const int32_t *)bits + j / 32 * SA_GROUP_ROWS + lane % SA_GROUP_ROWS;
    return v_less_i((vi)((lane_words)v_load_i(at) << (31 - j % 32)), v_set1_i(0));
}

/* Lanes of a vector that see key j. */
INLINE vmask visible(struct sa_lane_keys keys, int lane, int j) {
    if (keys.bits)
        return visible_bits(keys.bits, lane, j);
    vi key = v_set1_i(j);
    vmask in_window = m_not(v_less_i(key, v_load_i(keys.lo + lane)));
    vmask in_sink = v_less_i(key, v_load_i(keys.sink + lane));
    return m_and(m_or(in_window, in_sink), v_less_i(key, v_load_i(keys.hi + lane)));
}

#endif
