/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"

#include <sa/sa.h>

#include "kernels/vec_avx2.h"

#include "kernels/lanes.h"

LANES_TABLE(sa_kernels_avx2, "avx2", SA_ISA_AVX2, NULL, NULL, NULL);
