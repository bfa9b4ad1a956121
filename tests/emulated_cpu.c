/* SPDX-License-Identifier: MIT */
/* cpu.c on a processor that says it has AVX-512 and AMX, for programs that are linked with the emulated kernels. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int really(const char *feature);

#define __builtin_cpu_supports(feature) (strncmp(feature, "avx512", 6) == 0 || really(feature))
#define has_amx()                       1
#define may_use_amx()                   1
#define pairs_are_slow()                0
#include "../src/cpu.c"
#undef __builtin_cpu_supports

static int really(const char *feature) {
    return strcmp(feature, "avx2") == 0  ? __builtin_cpu_supports("avx2")
           : strcmp(feature, "fma") == 0 ? __builtin_cpu_supports("fma")
                                         : 0;
}

static int really_amx(void) {
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 22 & d >> 24 & d >> 25 & c >> 11 & 1; /* AVX512_VNNI, too */
}

enum { SKIPPED = 77 }; /* an exit code that CMake is told of */

/* Ahead of main(): where the real kernels run, they are tested; without AVX2 the emulated ones do not run either. */
__attribute__((constructor)) static void skip_where_pointless(void) {
    __builtin_cpu_init();
    const char *why = NULL;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bf16") && really_amx())
        why = "this machine has AVX-512 with BF16 and AMX, nothing needs to be emulated";
    else if (!really("avx2") || !really("fma"))
        why = "this machine lacks AVX2 or FMA, which the emulation is made of";
    if (!why)
        return;
    printf("skipped: %s\n", why);
    fflush(stdout);
    _exit(SKIPPED);
}
