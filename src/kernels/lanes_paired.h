/* SPDX-License-Identifier: MIT */
/* Queries and weights as pairs of bf16, each a word. Included by lanes_dots.h and amx_bf16.c, after lanes_pairs.h. */
#ifndef SA_LANES_PAIRED_H
#define SA_LANES_PAIRED_H

#include "kernels/lanes_strips.h"

_Static_assert((int)PASS_GROUPS == (int)SA_TILE_GROUPS, "dots_pack() takes a tile for a pass");

static void dots_pack(const char *const *rows, int n_rows, int d, float factor, float *qt) {
    pack_strips(rows, n_rows, d / 2, NULL, qt);
    for (int lane = 0; lane < n_rows; lane += LANES)
        v_store(qt + d / 2 * W + lane, v_set1(factor));
}

static __attribute__((noinline)) void weigh_strips(int begin, int end, float *s, struct weighing *weighing) {
    struct weighing now = *weighing;
    const unsigned mode = v_begin_flushing();
    for (int j = begin; j < end; j += SA_SUM_KEYS)
        weigh_strip(&now, s, W, NULL, j, s, W);
    weighing->sum = now.sum;
    v_end_flushing(mode);
}

static void dots_weights(int g, int begin, int end, float *s, const float *mb, float *m, float *l, float *alpha) {
    for (int lane = g * SA_GROUP_ROWS; lane < (g + 1) * SA_GROUP_ROWS; lane += LANES) {
        struct weighing weighing = begin_weights(mb + lane, m + lane);
        weigh_strips(begin, end, s + lane, &weighing);
        end_weights(&weighing, m + lane, l + lane, alpha + lane);
    }
}

/* What follows the last sixteen is not looked at; a pair is written where weights were that are done with. */
static void dots_few_pair(int n_rows, int n_keys, const float *s, float *pairs) {
    for (int r = 0; r < n_rows; r++, s += SA_FEW_STRIDE, pairs += SA_FEW_STRIDE)
        for (int j = 0; j < n_keys; j += 2 * LANES) {
            const vf upper = j + LANES < n_keys ? v_load(s + j + LANES) : v_set1(0.0f);
            v_store_any(pairs + j / 2, v_pair_neighbours(v_load(s + j), upper));
        }
}

#endif
