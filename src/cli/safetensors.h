/* SPDX-License-Identifier: MIT */
/* Files in the safetensors format: 8 bytes of header length, a JSON header, the data of all tensors. */
#ifndef SA_CLI_SAFETENSORS_H
#define SA_CLI_SAFETENSORS_H

#include <jansson.h>

#include "array.h"
#include "mapping.h"
#include "output.h"

struct safetensors_tensor {
    const char *name, *dtype;
    int rank;
    int64_t shape[ARRAY_MAX_RANK];
    size_t begin, end; /* bytes from the beginning of the data */
};

struct safetensors {
    struct mapping mapping;
    json_t *header;
    size_t data; /* where the data begins */
    size_t n_tensors;
    struct safetensors_tensor *tensors; /* in the order of their data */
};

/* Maps and checks a file: header, shapes, and that the tensors fill the data without gap or overlap. Nothing it claims
 * is believed. False leaves nothing behind. */
bool safetensors_open(struct safetensors *file, const char *path, struct fault *fault);
void safetensors_close(struct safetensors *file);

/* NULL if there is none of that name. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name);

/* A tensor that has to be F32, BF16 or F16. Its data lives as long as the file is open. */
bool safetensors_array(struct safetensors *file, const struct safetensors_tensor *tensor, struct array *array,
                       struct fault *fault);

/* An entry of __metadata__, or NULL. */
const char *safetensors_metadata(const struct safetensors *file, const char *key);

/* The name of a type in such a file, or NULL if a file cannot hold it. */
const char *safetensors_dtype(int type);

/* Makes a file of n tensors from the names, shapes and types of `arrays`, whose data become their elements, to be
 * filled before output_commit(). */
bool safetensors_create(struct output *output, const char *path, size_t n, struct array *arrays, struct fault *fault);

#endif
