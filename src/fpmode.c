/* SPDX-License-Identifier: MIT */
#include "fpmode.h"

#if defined(__x86_64__)
#include <xmmintrin.h>

enum { MXCSR_DEFAULT = 0x1f80 };

uint64_t sa_fpmode_enter(void) {
    uint64_t callers = _mm_getcsr();
    _mm_setcsr(MXCSR_DEFAULT);
    return callers;
}

void sa_fpmode_leave(uint64_t callers) { _mm_setcsr((unsigned)callers); }

#elif defined(__aarch64__)

uint64_t sa_fpmode_enter(void) {
    uint64_t control, status;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(control), "=r"(status));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return control << 32 | (status & 0xffffffffu);
}

void sa_fpmode_leave(uint64_t callers) {
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(callers >> 32), "r"(callers & 0xffffffffu));
}

#else

/* Processors whose mode this file does not know: the C library's default environment would cost a call of some hundred
 * cycles and an object to keep it in; nothing is changed. */
uint64_t sa_fpmode_enter(void) { return 0; }
void sa_fpmode_leave(uint64_t callers) { (void)callers; }

#endif
