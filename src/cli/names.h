/* SPDX-License-Identifier: MIT */
#ifndef SA_CLI_NAMES_H
#define SA_CLI_NAMES_H

#include <sa/sa.h>

static inline const char *isa_name(int isa) {
    return isa == SA_ISA_AVX512 ? "avx512" : isa == SA_ISA_AVX2 ? "avx2" : "generic";
}

static inline const char *binding_name(int binding) {
    return binding == SA_BIND_CLOSE ? "close" : binding == SA_BIND_SPREAD ? "spread" : "none";
}

#endif
