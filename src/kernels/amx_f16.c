/* SPDX-License-Identifier: MIT */
/* An element of f16 has 11 binary digits, one of bf16 has 8: each of the former is the sum of two of the latter. */
#include "kernels/kernels.h"

#include <sa/sa.h>

#include "kernels/vec_avx512_bf16.h"

enum { PARTS = 2 };

#include "kernels/amx_dots.h"

#include "kernels/amx_few_parts.h"

#include "kernels/lanes_strips.h"

/* Words where the first parts stand in the end, then parted in place: the second ones stand behind. */
static void parts_pack(const char *const *rows, int n_rows, int d, float factor, float *qt) {
    const int n = d / 2;
    pack_strips(rows, n_rows, n, NULL, qt);
    for (int lane = 0; lane < n_rows; lane += LANES) {
        for (int c = 0; c < n; c++)
            part_words(v_load(qt + c * W + lane), qt + c * W + lane, qt + (n + c) * W + lane);
        v_store(qt + 2 * n * W + lane, v_set1(factor));
    }
}

static __attribute__((noinline)) void weigh_squares(int begin, int end, float *s, struct weighing *weighing) {
    struct weighing now = *weighing;
    const unsigned mode = v_begin_flushing();
    for (int j = begin / SA_DOT_KEYS * SA_DOT_KEYS; j < end; j += SA_DOT_KEYS)
        weigh_parts(&now, s + j * W, W, NULL, begin > j ? SIDE : 0, end - j < SA_DOT_KEYS ? SIDE : SA_DOT_KEYS);
    weighing->sum = now.sum;
    v_end_flushing(mode);
}

static void parts_weights(int g, int begin, int end, float *s, const float *mb, float *m, float *l, float *alpha) {
    const int lane = g * SA_GROUP_ROWS;
    struct weighing weighing = begin_weights(mb + lane, m + lane);
    weigh_squares(begin, end, s + lane, &weighing);
    end_weights(&weighing, m + lane, l + lane, alpha + lane);
}

/* A square of 32 keys in place. */
static void parts_few_pair(int n_rows, int n_keys, const float *s, float *pairs) {
    const unsigned mode = v_begin_flushing();
    for (int r = 0; r < n_rows; r++, s += SA_FEW_STRIDE, pairs += SA_FEW_STRIDE)
        for (int j = 0; j < n_keys; j += SA_DOT_KEYS) {
            const vf lower = v_load(s + j), upper = v_load(s + j + SIDE);
            v_store(pairs + j, v_upper_halves(lower, upper));
            v_store(pairs + j + SIDE, v_upper_halves(rest_of(lower), rest_of(upper)));
        }
    v_end_flushing(mode);
}

const struct sa_dots sa_dots_amx_f16 = AMX_DOTS(parts_pack, parts_weights, parts_few_pair);
