/* SPDX-License-Identifier: MIT */
/* One fixed floating-point mode while computing: round to nearest, subnormals honoured, no traps. Threads inherit their
 * creator's mode, so without it a caller's flush-to-zero or rounding would make rows differ by thread. */
#ifndef SA_FPMODE_H
#define SA_FPMODE_H

#include <stdint.h>

/* Sets the mode; returns the caller's mode and sticky flags. */
uint64_t sa_fpmode_enter(void);

/* Puts back what sa_fpmode_enter() returned. */
void sa_fpmode_leave(uint64_t callers);

#endif
