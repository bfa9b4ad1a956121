/* SPDX-License-Identifier: MIT */
#include "cpu.h"

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <sa/sa.h>

#include "kernels/kernels.h"

static const char *const isa_names[] = {"default", "generic", "avx2", "avx512", "avx512_bf16", "amx_bf16"};
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

/* Nor this. Are the registers there, and does the operating system save them? */
#ifndef has_amx
static bool has_amx(void) {
    enum { TILES = 1 << 24, INT8 = 1 << 25, BF16 = 1 << 22, XSAVE = 1 << 27, SAVED = 3 << 17 };
    unsigned a, b, c = 0, d = 0, saved, upper;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & XSAVE) || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    __asm__("xgetbv" : "=a"(saved), "=d"(upper) : "c"(0));
    (void)upper;
    return (d & TILES) && (d & INT8) && (d & BF16) && (saved & SAVED) == SAVED;
}
#endif

/* Linux gives a process the registers when it asks for them, and not if a thread has a signal stack that is too small
 * for them. It keeps them until it ends. */
#ifndef may_use_amx
static bool may_use_amx(void) {
    enum { REQUEST = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
#if defined(__linux__) && defined(SYS_arch_prctl)
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
    return false;
#endif
}
#endif
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
    case SA_ISA_AMX_BF16: return sa_cpu_runs(SA_ISA_AVX512_BF16) && __builtin_cpu_supports("avx512vnni") && has_amx();
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

/* Intel's cores take four times as long for an instruction of pairs of bf16 as for a multiply-add of floats, AMD's as
 * long (Granite Rapids, Zen 4). */
#ifndef pairs_are_slow
static bool pairs_are_slow(void) {
#if defined(__x86_64__)
    return __builtin_cpu_is("intel");
#else
    return false;
#endif
}
#endif

static enum sa_cpu_cap cap_of(int isa, int option_max, int environment_max, bool computes) {
    if (!built(isa))
        return SA_CPU_CAP_BUILD;
    if (!sa_cpu_runs(isa))
        return SA_CPU_CAP_MACHINE;
    if (option_max && isa > option_max)
        return SA_CPU_CAP_OPTION;
    if (environment_max && isa > environment_max)
        return SA_CPU_CAP_ENVIRONMENT;
    if (isa == SA_ISA_AVX512_BF16 && option_max != isa && environment_max != isa && pairs_are_slow())
        return SA_CPU_CAP_SLOW;
#if defined(__x86_64__)
    if (isa == SA_ISA_AMX_BF16 && computes && !may_use_amx())
        return SA_CPU_CAP_SYSTEM;
#else
    (void)computes;
#endif
    return SA_CPU_CAP_NONE;
}

struct sa_cpu_choice sa_cpu_choose(int option_max, int environment_max, bool computes) {
    struct sa_cpu_choice choice = {0};
    for (int isa = N_ISAS - 1; isa >= SA_ISA_GENERIC; isa--) {
        enum sa_cpu_cap cap = cap_of(isa, option_max, environment_max, computes);
        if (cap == SA_CPU_CAP_NONE || isa == SA_ISA_GENERIC) {
            choice.kernels = built(isa);
            return choice;
        }
        if (cap == SA_CPU_CAP_SLOW && choice.faster)
            continue; /* why there is nothing faster tells more */
        choice.faster = isa;
        choice.why = cap;
    }
    return choice;
}
