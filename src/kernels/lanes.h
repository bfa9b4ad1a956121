/* SPDX-License-Identifier: MIT */
/*
 * The one source of all micro-kernels; the contract is kernels.h. A file per instruction set includes its vec_<isa>.h,
 * this file, and names the table; lanes_dots.h stands in its place for products of pairs. The parts: lanes_base.h (what
 * all share), lanes_exp2.h, lanes_fetch.h, lanes_strips.h and lanes_rows.h (pack and finish), lanes_scores.h,
 * lanes_values.h, lanes_weights.h (and merge), lanes_sees.h and lanes_masks.h (who sees a key), lanes_terms.h (softcap,
 * ALiBi, bias), lanes_types.h (elements of any type), lanes_convert.h (widen, narrow, quantise), lanes_few.h,
 * lanes_few_values.h and lanes_few_weights.h (tiles of few rows). The wrappers they rely on:
 *
 *     LANES                         floats in a vector `vf`; `vi` as many int32, `vmask` one bit or word a lane
 *     PASS_GROUPS                   groups that a pass takes side by side in registers
 *     EACH_TILE(X)                  X(n, v) for every register tile of n keys (scores) or dimensions (values) x
 *                                   v vectors
 *     TILE_SIZE(v)                  the largest of these n
 *     SCORE_STEPS                   dimensions a turn of the score loop takes
 *     HALF_GROUPS                   defined if there are register tiles for half of a group
 *     v_load v_store v_set1 v_fma   aligned memory, broadcast, fused multiply-add
 *     v_fma_few                     the same, or a function that does it
 *     v_fma_onto                    the same, c being a sum that stays in its register
 *     v_load_any v_store_any        memory of any alignment
 *     v_max v_min                   a > b ? a : b, a < b ? a : b: the second operand if either is NaN
 *     v_div
 *     v_max_abs(a, b)               the larger of |a| and b, which has no sign: inf above all numbers, NaN above inf
 *     v_keep(a)                     a, in a register of its own
 *     v_power_of_2(a)               2^(k/8) for the k / 8 that was added to a, see lanes_exp2.h
 *     v_beyond(a, eighths)          a - eighths, those being a rounded to the nearest 1/8, ties to even
 *     v_load_i v_set1_i v_less_i v_equal m_and m_or m_not m_any v_select(mask, a, b)
 *     v_fma_where(mask, a, b, c)    fma where mask, c elsewhere
 *     v_of_bf16 v_of_f16 v_of_i8    LANES elements of that type from memory of any alignment
 *     v_to_bf16 v_to_f16 v_to_i8    LANES elements of that type to memory of any alignment, rounded to nearest, ties to
 *                                   even; to int8 only what lies within -127 .. 127
 *     v_of_quarters(row, at)        16 bytes from `at` on of the rows 0, 4, ..., LANES - 4
 *     v_turn(r)                     four of these, of the rows from 0, 1, 2, 3 on, to the 4-byte words 0, 1, 2, 3 of
 *                                   all rows
 *     v_turn_halves(row, at, to)    16 elements of 2 bytes from `at` on of LANES rows: element c of row i goes to
 *                                   number (c % 8 * 2 + c / 8) * LANES + i
 *     v_turn_bytes(row, at, to)     32 bytes from `at` on of LANES rows: byte c of row i goes to
 *                                   ((c % 16 / 2 * 2 + c / 16) * 2 + c % 2) * LANES + i
 *     v_of_first v_of_second        the first, the second of each pair of bf16 that a 4-byte word holds
 *     v_part(a, b) v_join(a, b)     two vectors that follow each other to their even and their odd elements, and back
 *     v_fetch v_fetch_near          the line at an address and an offset, into the second-level, the first-level cache
 *     f16_of(float) of_f16(bits)    one element
 */
#ifndef SA_LANES_H
#define SA_LANES_H

#include "kernels/lanes_base.h"

#include "kernels/lanes_exp2.h"
#include "kernels/lanes_fetch.h"
#include "kernels/lanes_rows.h"
#include "kernels/lanes_scores.h"
#include "kernels/lanes_types.h"
#include "kernels/lanes_values.h"
#include "kernels/lanes_weights.h"

/* After what they are made of. */
#include "kernels/lanes_convert.h"
#include "kernels/lanes_few.h"
#include "kernels/lanes_sees.h"

#include "kernels/lanes_few_rows.h"
#include "kernels/lanes_few_values.h"
#include "kernels/lanes_few_weights.h"
#include "kernels/lanes_masks.h"
#include "kernels/lanes_terms.h"

#ifdef HALF_GROUPS
#define LANES_HALF(function) function
#else
#define LANES_HALF(function) NULL
#endif

#ifdef FEW_SIZES_1_8
#define LANES_QUERIES NULL
#else
#define LANES_QUERIES lanes_few_queries
#endif

#define LANES_TABLE(table, its_name, its_isa, its_dots, its_dots_f16, its_bytes)                                       \
    const struct sa_kernels table = {.name = its_name,                                                                 \
                                     .isa = its_isa,                                                                   \
                                     .lanes = LANES,                                                                   \
                                     .pass_groups = PASS_GROUPS,                                                       \
                                     .widen = lanes_widen,                                                             \
                                     .narrow = lanes_narrow,                                                           \
                                     .largest = lanes_largest,                                                         \
                                     .quantise = lanes_quantise,                                                       \
                                     .pack = lanes_pack,                                                               \
                                     .mask = lanes_mask,                                                               \
                                     .scores_none = lanes_scores_none,                                                 \
                                     .weights = lanes_weights,                                                         \
                                     .scale = lanes_scale,                                                             \
                                     .terms = lanes_terms,                                                             \
                                     .values_biased = lanes_values_biased,                                             \
                                     .merge = lanes_merge,                                                             \
                                     .few_queries = LANES_QUERIES,                                                     \
                                     .few_scale = lanes_few_scale,                                                     \
                                     .few_terms = lanes_few_terms,                                                     \
                                     .few_weights = lanes_few_weights,                                                 \
                                     .few_add = lanes_few_add,                                                         \
                                     .few_merge = lanes_few_merge,                                                     \
                                     .few_finish = lanes_few_finish,                                                   \
                                     .finish = lanes_finish,                                                           \
                                     .floats = {.scores = lanes_scores,                                                \
                                                .values = lanes_values,                                                \
                                                .half_scores = LANES_HALF(lanes_half_scores),                          \
                                                .half_values = LANES_HALF(lanes_half_values),                          \
                                                .finite = lanes_finite,                                                \
                                                .values_masked = lanes_values_masked,                                  \
                                                .few_step = SA_SUM_KEYS,                                               \
                                                .few_scores = lanes_few_scores,                                        \
                                                .few_values = lanes_few_values},                                       \
                                     .dots = its_dots,                                                                 \
                                     .dots_f16 = its_dots_f16,                                                         \
                                     .bytes = its_bytes}

#endif
