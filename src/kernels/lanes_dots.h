/* SPDX-License-Identifier: MIT */
/* Products of pairs of bf16, see sa_dots in kernels.h: scores and values by the source of those of floats, with words
 * in place of floats. In place of lanes.h, after the vec_<isa>.h of an instruction set that has what lanes_pairs.h
 * wants, and
 *
 *     v_dot(a, b, sum)            sum + a's second elements times b's, then + the first ones
 */
#ifndef SA_LANES_DOTS_H
#define SA_LANES_DOTS_H

#include "kernels/lanes_base.h"

#include "kernels/lanes_fetch.h"
#include "kernels/lanes_few_weights.h"
#include "kernels/lanes_pairs.h"
#include "kernels/lanes_scores.h"
#include "kernels/lanes_types.h"
#include "kernels/lanes_values.h"

/* After what they are made of. */
#include "kernels/lanes_few.h"
#include "kernels/lanes_paired.h"
#include "kernels/lanes_sees.h"

#include "kernels/lanes_dots_few.h"

static void dots_pair_rows(const char *const *rows, int n, int d, float *to, ptrdiff_t to_stride) {
    for (int j = 0; j < n; j++, to += to_stride) {
        const char *first = rows[2 * j], *second = rows[2 * j + 1];
        int c = 0;
        for (; c + LANES <= d; c += LANES)
            v_store_any(to + c, v_pair_of_rows(first + 2 * c, second + 2 * c));
        if (c < d) {
            float rest[LANES];
            v_store_any(rest, dots_rest(first + 2 * c, second + 2 * c, d - c));
            memcpy(to + c, rest, (size_t)(d - c) * sizeof *rest);
        }
    }
}

static bool dots_finite(struct sa_rows rows) {
    bool finite = true;
    for (int j = 0; finite && j < rows.n; j++) {
        const float *row = rows.data + j * rows.stride;
        int c = 0;
        for (; c + LANES <= rows.d; c += LANES)
            finite = finite && v_pairs_finite(v_load_any(row + c));
        if (c < rows.d) {
            float rest[LANES] = {0};
            memcpy(rest, row + c, (size_t)(rows.d - c) * sizeof *rest);
            finite = finite && v_pairs_finite(v_load_any(rest));
        }
    }
    return finite;
}

/* One dimension after the other: only blocks with NaN or inf at the edge of what is seen come here. */
static void dots_values_masked(const float *p, int g, struct sa_rows v, int first_key, struct sa_lane_keys keys,
                               const float *alpha, float *o) {
    for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES)
        for (int c = 0; c < v.d; c++) {
            float *at = o + c * W + lane;
            vf sum = v_set1(0.0f);
            for (int j = 0; j < v.n; j++) {
                const int key = first_key + 2 * j;
                const vf pair = v_set1(v.data[j * v.stride + c]);
                sum = v_dot(v_load(p + j * W + lane),
                            v_pair_where(visible(keys, lane, key), visible(keys, lane, key + 1), pair), sum);
            }
            v_store(at, v_fma(v_load(at), v_load(alpha + lane), sum));
        }
}

#endif
