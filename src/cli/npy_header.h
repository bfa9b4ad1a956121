/* SPDX-License-Identifier: MIT */
/* The Python dictionary at the head of an .npy file. */
#ifndef SA_CLI_NPY_HEADER_H
#define SA_CLI_NPY_HEADER_H

#include <stddef.h>

#include "array.h"
#include "fault.h"

/* What a file may hold, by what it is wanted for. */
enum npy_kind {
    NPY_NUMBERS, /* float32, float16 */
    NPY_TRUTHS,  /* bool, uint8 */
    NPY_INTEGERS /* int32, int64 */
};

/* Reads {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } and fills in type and shape. Anything but elements
 * of that kind in C order is refused. */
bool npy_header_parse(const char *text, size_t n, enum npy_kind kind, struct array *array, struct fault *fault);

/* "<f4", "<f2", or NULL for a type that NumPy has no name for. */
const char *npy_descr(int type);

#endif
