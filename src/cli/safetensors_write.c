/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "safetensors.h"
#include "types.h"

enum { LENGTH_BYTES = 8, ALIGNMENT = 8 };

static bool bytes_of(const struct array *array, int64_t *bytes) {
    *bytes = (int64_t)type_bytes(array->type);
    for (int i = 0; i < array->rank; i++)
        if (__builtin_mul_overflow(*bytes, array->shape[i], bytes))
            return false;
    return true;
}

static json_t *shape_of(const struct array *array) {
    json_t *shape = json_array();
    for (int i = 0; i < array->rank; i++)
        json_array_append_new(shape, json_integer(array->shape[i]));
    return shape;
}

/* NULL if the sizes overflow, two names are equal or a name is not UTF-8, or there is no memory. */
static json_t *make_header(size_t n, const struct array *arrays, int64_t *data_bytes) {
    json_t *header = json_object();
    *data_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t bytes, begin = *data_bytes;
        bool ok = bytes_of(&arrays[i], &bytes) && !__builtin_add_overflow(begin, bytes, data_bytes) &&
                  !json_object_get(header, arrays[i].name);
        json_t *tensor =
            ok ? json_pack("{s:s, s:o, s:[I, I]}", "dtype", safetensors_dtype(arrays[i].type), "shape",
                           shape_of(&arrays[i]), "data_offsets", (json_int_t)begin, (json_int_t)*data_bytes)
               : NULL;
        if (json_object_set_new(header, arrays[i].name, tensor) != 0) {
            json_decref(header);
            return NULL;
        }
    }
    return header;
}

/* The header's text, its length a multiple of 8 so that the data is aligned. */
static char *format_header(json_t *header, size_t *length) {
    size_t n = json_dumpb(header, NULL, 0, JSON_COMPACT);
    *length = (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    char *text = n ? malloc(*length) : NULL;
    if (!text)
        return NULL;
    memset(text, ' ', *length);
    json_dumpb(header, text, n, JSON_COMPACT);
    return text;
}

static bool write_header(struct output *output, const char *text, size_t length, int64_t data_bytes,
                         struct fault *fault) {
    uint64_t n = length;
    size_t size;
    if (__builtin_add_overflow((uint64_t)data_bytes, n + LENGTH_BYTES, &size))
        return fault_set(fault, "%s: the tensors are too large", output->path);
    if (!output_map(output, size, fault))
        return false;
    memcpy(output->bytes, &n, sizeof n);
    memcpy(output->bytes + LENGTH_BYTES, text, length);
    return true;
}

bool safetensors_create(struct output *output, const char *path, size_t n, struct array *arrays, struct fault *fault) {
    int64_t data_bytes, bytes;
    size_t length = 0;
    json_t *header = make_header(n, arrays, &data_bytes);
    char *text = header ? format_header(header, &length) : NULL;
    bool ok = text || fault_set(fault, "%s: the tensors are too large, or two have the same name", path);
    ok = ok && output_create(output, path, fault);
    if (ok && !write_header(output, text, length, data_bytes, fault)) {
        output_discard(output);
        ok = false;
    }
    unsigned char *at = ok ? output->bytes + LENGTH_BYTES + length : NULL;
    for (size_t i = 0; ok && i < n; i++) {
        arrays[i].data = at;
        at += bytes_of(&arrays[i], &bytes) ? bytes : 0;
    }
    json_decref(header);
    free(text);
    return ok;
}
