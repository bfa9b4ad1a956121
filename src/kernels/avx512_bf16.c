/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"

#include <sa/sa.h>

#include "kernels/vec_avx512_bf16.h"

#include "kernels/lanes_dots.h"

const struct sa_dots sa_dots_avx512_bf16 = {.parts = 1,
                                            .pack = dots_pack,
                                            .weights = dots_weights,
                                            .pair_rows = dots_pair_rows,
                                            .few_weights = lanes_few_weights,
                                            .few_pair = dots_few_pair,
                                            .pairs = {.scores = lanes_scores,
                                                      .values = lanes_values,
                                                      .finite = dots_finite,
                                                      .values_masked = dots_values_masked,
                                                      .few_step = SA_SUM_KEYS,
                                                      .few_scores = lanes_few_scores,
                                                      .few_values = dots_few_values}};
