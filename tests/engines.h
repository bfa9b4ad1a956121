/* SPDX-License-Identifier: MIT */
/* Engines for every instruction set of this machine. Which ones a test has met is appended, a name a line, to the file
 * SA_TEST_ISA_LOG names. */
#ifndef SA_TESTS_ENGINES_H
#define SA_TESTS_ENGINES_H

#include <stdio.h>
#include <stdlib.h>

#include <sa/sa.h>

#include "inside.h"

/* A Check loop over the instruction sets: tcase_add_loop_test(tcase, test, ISA_FIRST, ISA_END), the test's _i is it.
 * Programs around the emulated AVX-512 kernels (emulated.cmake) leave the others to the programs without. */
#if defined(TEST_AVX512_IS_EMULATED)
#define EMULATED_TEXT " (emulated)"
enum { ISA_FIRST = SA_ISA_AVX512 };
#else
#define EMULATED_TEXT ""
enum { ISA_FIRST = SA_ISA_GENERIC };
#endif
enum { ISA_END = SA_ISA_AMX_BF16 + 1 };

static inline const char *isa_text(int isa) {
    switch (isa) {
    case SA_ISA_AVX2: return "avx2";
    case SA_ISA_AVX512: return "avx512" EMULATED_TEXT;
    case SA_ISA_AVX512_BF16: return "avx512_bf16" EMULATED_TEXT;
    case SA_ISA_AMX_BF16: return "amx_bf16" EMULATED_TEXT;
    default: return "generic";
    }
}

/* The generic kernels may emulate their arithmetic, and AMX may be emulated: fewer cases for them. */
static inline int isa_cases(int isa, int n) {
#if defined(TEST_AVX512_IS_EMULATED)
    if (isa == SA_ISA_AMX_BF16)
        return n / 2 + 1;
#endif
    return isa == SA_ISA_GENERIC ? n / 6 + 1 : n;
}

/* NULL, said aloud, if this machine lacks the instruction set. */
static inline sa_engine *engine_with(int isa, int n_threads) {
    sa_engine *engine;
    sa_engine_info info = {.struct_size = sizeof info};
    sa_engine_options options = {sizeof options, n_threads, SA_BIND_NONE, isa, 0, NULL};
    ck_assert_msg(sa_engine_create(&options, &engine) == SA_OK, "%s", sa_last_reason());
    ck_assert(sa_engine_get_info(engine, &info) == SA_OK);
    const char *log = getenv("SA_TEST_ISA_LOG");
    if (info.isa != isa) {
        printf("skipped: this machine lacks %s\n", isa_text(isa));
        sa_engine_destroy(engine);
        return NULL;
    }
    FILE *file = log ? fopen(log, "a") : NULL;
    if (file) {
        fprintf(file, "%s\n", isa_text(isa));
        fclose(file);
    }
    return engine;
}

#endif
