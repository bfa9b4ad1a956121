/* SPDX-License-Identifier: MIT */
#include "cpu.h"

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <sa/sa.h>

#include "kernels/kernels.h"

static const char *const isa_names[] = {"default", "generic", "avx2", "avx512", "avx512_bf16"};
enum { N_ISAS = sizeof isa_names / sizeof isa_names[0] };

const char *sa_isa_name(int isa) { return isa >= 0 && isa < N_ISAS ? isa_names[isa] : NULL; }

int sa_isa_of_name(const char *name) {
    for (int isa = SA_ISA_GENERIC; isa < N_ISAS; isa++)
        if (strcmp(name, isa_names[isa]) == 0)
            return isa;
    return -1;
}

#if defined(__x86_64__)
/* Not every compiler's builtin knows it. It needs the registers that AVX2 needs, and no others. */
static bool has_f16c(void) {
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}
#endif

/* The compilers' builtins ask cpuid and, for the registers the system must save, xgetbv. */
bool sa_cpu_runs(int isa) {
    switch (isa) {
    case SA_ISA_GENERIC: return true;
#if defined(__x86_64__)
    case SA_ISA_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    case SA_ISA_AVX512:
        return sa_cpu_runs(SA_ISA_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case SA_ISA_AVX512_BF16: return sa_cpu_runs(SA_ISA_AVX512) && __builtin_cpu_supports("avx512bf16");
#endif
    default: return false;
    }
}

static const struct sa_kernels *built(int isa) {
    int n;
    const struct sa_kernels *const *table = sa_kernels_table(&n);
    for (int i = 0; i < n; i++)
        if (table[i]->isa == isa)
            return table[i];
    return NULL;
}

static enum sa_cpu_cap cap_of(int isa, int option_max, int environment_max) {
    if (!built(isa))
        return SA_CPU_CAP_BUILD;
    if (!sa_cpu_runs(isa))
        return SA_CPU_CAP_MACHINE;
    if (option_max && isa > option_max)
        return SA_CPU_CAP_OPTION;
    if (environment_max && isa > environment_max)
        return SA_CPU_CAP_ENVIRONMENT;
    return SA_CPU_CAP_NONE;
}

struct sa_cpu_choice sa_cpu_choose(int option_max, int environment_max) {
    struct sa_cpu_choice choice = {0};
    for (int isa = N_ISAS - 1; isa >= SA_ISA_GENERIC; isa--) {
        enum sa_cpu_cap cap = cap_of(isa, option_max, environment_max);
        if (cap == SA_CPU_CAP_NONE || isa == SA_ISA_GENERIC) {
            choice.kernels = built(isa);
            return choice;
        }
        choice.faster = isa;
        choice.why = cap;
    }
    return choice;
}
