/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"

#include <sa/sa.h>

#include "kernels/vec_avx512.h"

#include "kernels/lanes.h"

LANES_TABLE(sa_kernels_avx512, "avx512", SA_ISA_AVX512, NULL, NULL, NULL);
LANES_TABLE(sa_kernels_avx512_bf16, "avx512_bf16", SA_ISA_AVX512_BF16, &sa_dots_avx512_bf16, NULL, NULL);
LANES_TABLE(sa_kernels_amx_bf16, "amx_bf16", SA_ISA_AMX_BF16, &sa_dots_amx_bf16, &sa_dots_amx_f16, &sa_bytes_amx_int8);
