/* SPDX-License-Identifier: MIT */
#include "npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "types.h"

/* "\x93NUMPY", major and minor version, the header's length in 2 or 4 bytes, the header, the data. */
static const char magic[] = "\x93NUMPY";
enum { MAGIC = 6, VERSION = 8, ALIGNMENT = 64 };

/* ---------------------------------------------------------------- reading */

/* Where the header begins and how long it is. */
static bool find_header(const struct mapping *file, size_t *begin, size_t *length, struct fault *fault) {
    const unsigned char *b = file->bytes;
    if (file->size < VERSION || memcmp(b, magic, MAGIC) != 0)
        return fault_set(fault, "%s: magic: is not an .npy file, which begins with \\x93NUMPY", file->path);
    if (b[6] < 1 || b[6] > 3 || b[7] != 0)
        return fault_set(fault, "%s: version is %d.%d, expected 1.0, 2.0 or 3.0", file->path, b[6], b[7]);
    *begin = b[6] == 1 ? VERSION + 2 : VERSION + 4;
    if (file->size < *begin)
        return fault_set(fault, "%s: header length: the file ends before it, after %zu bytes", file->path, file->size);
    *length = (size_t)b[8] | (size_t)b[9] << 8;
    if (b[6] > 1)
        *length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (*length > file->size - *begin)
        return fault_set(fault, "%s: header length is %zu, but only %zu bytes follow", file->path, *length,
                         file->size - *begin);
    return true;
}

/* Elements of a shape; false if their bytes cannot be counted. Empty axes count as 1 here, so that no order of the axes
 * hides an overflow. */
static bool count(const struct array *array, size_t *n) {
    int64_t product = 1, bytes;
    bool empty = false;
    for (int i = 0; i < array->rank; i++) {
        empty |= array->shape[i] == 0;
        if (__builtin_mul_overflow(product, array->shape[i] ? array->shape[i] : 1, &product))
            return false;
    }
    *n = empty ? 0 : (size_t)product;
    return !__builtin_mul_overflow(product, (int64_t)type_bytes(array->type), &bytes);
}

static bool read_array(struct npy *npy, enum npy_kind kind, struct fault *fault) {
    struct mapping *file = &npy->mapping;
    size_t begin = 0, length = 0, n;
    if (!find_header(file, &begin, &length, fault) ||
        !npy_header_parse((const char *)file->bytes + begin, length, kind, &npy->array, fault))
        return false;
    if (!count(&npy->array, &n))
        return fault_set(fault, "%s: shape: its product is too large", file->path);
    const size_t bytes = type_bytes(npy->array.type);
    if (file->size - begin - length != n * bytes)
        return fault_set(fault, "%s: shape: %zu elements need %zu bytes of data, found %zu", file->path, n, n * bytes,
                         file->size - begin - length);
    npy->array.data = mapping_elements(file, begin + length, n, bytes, fault);
    return npy->array.data != NULL;
}

bool npy_open(struct npy *npy, const char *path, enum npy_kind kind, struct fault *fault) {
    *npy = (struct npy){.array.name = path};
    if (mapping_open(&npy->mapping, path, fault) && read_array(npy, kind, fault))
        return true;
    npy_close(npy);
    return false;
}

void npy_close(struct npy *npy) {
    mapping_close(&npy->mapping);
    *npy = (struct npy){0};
}

/* ---------------------------------------------------------------- writing */

enum { HEADER_MAX = 512 };

/* Writes all that stands before the data, a multiple of 64 bytes. */
static size_t format_header(char *to, const struct array *array) {
    char text[HEADER_MAX];
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", npy_descr(array->type));
    for (int i = 0; i < array->rank; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, i ? " %" PRId64 "," : "%" PRId64 ",", array->shape[i]);
    n -= array->rank > 1; /* only (3,) ends with a comma */
    n += snprintf(text + n, sizeof text - (size_t)n, "), }");
    size_t total = (VERSION + 2 + (size_t)n + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, length = total - VERSION - 2;
    memset(to, ' ', total);
    memcpy(to, magic, MAGIC);
    to[6] = 1, to[7] = 0;
    to[8] = (char)(length & 0xff), to[9] = (char)(length >> 8);
    memcpy(to + VERSION + 2, text, (size_t)n);
    to[total - 1] = '\n';
    return total;
}

bool npy_create(struct output *output, const char *path, struct array *array, struct fault *fault) {
    char header[2 * HEADER_MAX];
    size_t n, size;
    if (!npy_descr(array->type))
        return fault_set(fault, "%s: an .npy file cannot hold %s", path, type_name(array->type));
    size_t length = format_header(header, array);
    if (!count(array, &n) || __builtin_add_overflow(length, n * type_bytes(array->type), &size))
        return fault_set(fault, "%s: shape: its product is too large", path);
    if (!output_create(output, path, fault))
        return false;
    if (!output_map(output, size, fault)) {
        output_discard(output);
        return false;
    }
    memcpy(output->bytes, header, length);
    array->data = output->bytes + length;
    return true;
}
