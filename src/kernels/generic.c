/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"

#include <sa/sa.h>

#include "kernels/vec_generic.h"

#include "kernels/lanes.h"

LANES_TABLE(sa_kernels_generic, "generic", SA_ISA_GENERIC, NULL, NULL, NULL);
