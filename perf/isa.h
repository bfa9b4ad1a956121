/* SPDX-License-Identifier: MIT */
/* The names of instruction sets, in the order of sa_isa, behind them NULL. */
#ifndef SA_PERF_ISA_H
#define SA_PERF_ISA_H

static const char *const isa_names[] = {"default", "generic", "avx2", "avx512", "avx512_bf16", "amx_bf16", 0};

enum { N_ISA_NAMES = sizeof isa_names / sizeof isa_names[0] - 1 };

#endif
