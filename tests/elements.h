/* SPDX-License-Identifier: MIT */
/* Elements of every type to float64 and back, from what their formats are, by integer arithmetic on their bits: nothing
 * of the library is used. */
#ifndef SA_TESTS_ELEMENTS_H
#define SA_TESTS_ELEMENTS_H

#include <sa/sa.h>

/* Bytes of an element of this sa_type, any of them. */
int element_bytes(int type);

/* The element at `at`, at any alignment, exactly. A NaN keeps the upper bits of its payload. */
double element_value(int type, const void *at);

/* Stores a value, rounded once to nearest, ties to even; a NaN becomes a quiet one with the upper bits of its payload.
 * SA_I8 takes whole numbers, and -128 for NaN: it has none. */
void element_store(int type, double value, void *at);

/* The largest relative error of rounding to the type, and the largest one of what becomes subnormal. 0, 0: not rounded
 * from SA_F32. */
struct element_rounding {
    double relative, absolute;
};
struct element_rounding element_rounding(int type);

#endif
