/* SPDX-License-Identifier: MIT */
/* The kernels this processor runs, one after the other. */
#ifndef SA_TESTS_EACH_KERNEL_H
#define SA_TESTS_EACH_KERNEL_H

#include <stddef.h>

#include "cpu.h"
#include "kernels/kernels.h"

/* The i-th of the kernels this processor runs, NULL behind the last. Those that are others' with dots are left out. */
static inline const struct sa_kernels *kernel_at(int i) {
    int n;
    const struct sa_kernels *const *table = sa_kernels_table(&n);
    for (int k = 0; k < n; k++)
        if (sa_cpu_runs(table[k]->isa) && !table[k]->dots && i-- == 0)
            return table[k];
    return NULL;
}

#define EACH_KERNEL(kernel)                                                                                            \
    int kernel##_i = 0;                                                                                                \
    (kernel = kernel_at(kernel##_i)) != NULL;                                                                          \
    kernel##_i++

#endif
