/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"

#include <sa/sa.h>

#include "kernels/vec_generic.h"

#define PASSES_SEVERAL_GROUPS 0
#include "kernels/lanes.h"

LANES_TABLE(sa_kernels_generic, "generic", SA_ISA_GENERIC);
