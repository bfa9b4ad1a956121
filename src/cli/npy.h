/* SPDX-License-Identifier: MIT */
/* NumPy's .npy files in C order: numbers, truth values and whole numbers. The format has no bfloat16. */
#ifndef SA_CLI_NPY_H
#define SA_CLI_NPY_H

#include "array.h"
#include "mapping.h"
#include "npy_header.h"
#include "output.h"

struct npy {
    struct mapping mapping;
    struct array array;
};

/* Maps and checks a file that must hold elements of that kind; nothing it claims is believed. False leaves nothing
 * behind. */
bool npy_open(struct npy *npy, const char *path, enum npy_kind kind, struct fault *fault);
void npy_close(struct npy *npy);

/* Makes a file of the array's shape and type. array->data becomes its elements, to be filled before output_commit(). */
bool npy_create(struct output *output, const char *path, struct array *array, struct fault *fault);

#endif
