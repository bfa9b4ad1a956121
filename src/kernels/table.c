/* SPDX-License-Identifier: MIT */
#include "kernels/kernels.h"

static const struct sa_kernels *const table[] = {
    &sa_kernels_generic,
#if defined(__x86_64__)
    &sa_kernels_avx2,    &sa_kernels_avx512, &sa_kernels_avx512_bf16, &sa_kernels_amx_bf16,
#endif
};

const struct sa_kernels *const *sa_kernels_table(int *n) {
    *n = (int)(sizeof table / sizeof table[0]);
    return table;
}
