/* SPDX-License-Identifier: MIT */
/* NumPy's .npy files of float32 or float16 in C order. The format has no bfloat16. */
#ifndef SA_CLI_NPY_H
#define SA_CLI_NPY_H

#include "array.h"
#include "mapping.h"
#include "output.h"

struct npy {
    struct mapping mapping;
    struct array array;
};

/* Maps and checks a file; nothing it claims is believed. False leaves nothing behind. */
bool npy_open(struct npy *npy, const char *path, struct fault *fault);
void npy_close(struct npy *npy);

/* Makes a file of the array's shape and type. array->data becomes its elements, to be filled before output_commit(). */
bool npy_create(struct output *output, const char *path, struct array *array, struct fault *fault);

#endif
