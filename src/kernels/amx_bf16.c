/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"

#include <sa/sa.h>

#include "kernels/vec_avx512_bf16.h"

enum { PARTS = 1 };

#include "kernels/amx_dots.h"

#include "kernels/amx_few_keys.h"

#include "kernels/lanes_paired.h"

const struct sa_dots sa_dots_amx_bf16 = AMX_DOTS(dots_pack, dots_weights, dots_few_pair);
