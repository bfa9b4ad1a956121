/* SPDX-License-Identifier: MIT */
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "types.h"

enum { LENGTH_BYTES = 8, MAX_HEADER = 100 * 1000 * 1000 }; /* the limit of the format */

/* What went wrong with which tensor. */
struct where {
    const struct safetensors *file;
    const struct safetensors_tensor *tensor;
    struct fault *fault;
};

static bool refuse(struct where w, const char *what) {
    return fault_set(w.fault, "%s: tensor '%s': %s", w.file->mapping.path, w.tensor->name, what);
}

/* ---------------------------------------------------------------- the header as a whole */

static bool read_header(struct safetensors *file, struct fault *fault) {
    const struct mapping *m = &file->mapping;
    uint64_t length;
    json_error_t error;
    if (m->size < LENGTH_BYTES)
        return fault_set(fault, "%s: header length: expected 8 bytes, the file has %zu", m->path, m->size);
    memcpy(&length, m->bytes, sizeof length);
    if (length > MAX_HEADER || length > m->size - LENGTH_BYTES)
        return fault_set(fault, "%s: header length is %llu, but only %zu bytes follow (and at most %d are allowed)",
                         m->path, (unsigned long long)length, m->size - LENGTH_BYTES, (int)MAX_HEADER);
    file->data = LENGTH_BYTES + (size_t)length;
    const char *text = (const char *)m->bytes + LENGTH_BYTES;
    if (length == 0 || text[0] != '{')
        return fault_set(fault, "%s: header: expected a JSON object, which begins with '{'", m->path);
    file->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!file->header)
        return fault_set(fault, "%s: header: %s (line %d, column %d)", m->path, error.text, error.line, error.column);
    return true;
}

static bool check_metadata(const struct safetensors *file, json_t *metadata, struct fault *fault) {
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return fault_set(fault, "%s: __metadata__: expected an object of strings", file->mapping.path);
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return fault_set(fault, "%s: __metadata__: '%s': expected a string", file->mapping.path, key);
    }
    return true;
}

/* ---------------------------------------------------------------- a tensor */

static int bits_of(const char *dtype) {
    static const struct {
        const char *name;
        int bits;
    } types[] = {{"F32", 32},    {"F16", 16}, {"BF16", 16}, {"F64", 64},    {"BOOL", 8},
                 {"U8", 8},      {"I8", 8},   {"U16", 16},  {"I16", 16},    {"U32", 32},
                 {"I32", 32},    {"U64", 64}, {"I64", 64},  {"F8_E4M3", 8}, {"F8_E5M2", 8},
                 {"F8_E8M0", 8}, {"C64", 64}, {"F4", 4},    {"F6_E2M3", 6}, {"F6_E3M2", 6}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(dtype, types[i].name) == 0)
            return types[i].bits;
    return 0;
}

static bool read_shape(struct where w, struct safetensors_tensor *tensor, const json_t *shape) {
    if (!json_is_array(shape))
        return refuse(w, "shape: expected an array of lengths");
    if (json_array_size(shape) > ARRAY_MAX_RANK)
        return refuse(w, "shape: expected at most 8 axes");
    tensor->rank = (int)json_array_size(shape);
    for (int i = 0; i < tensor->rank; i++) {
        const json_t *length = json_array_get(shape, (size_t)i);
        if (!json_is_integer(length) || json_integer_value(length) < 0)
            return refuse(w, "shape: expected lengths that are whole numbers of 0 or more");
        tensor->shape[i] = json_integer_value(length);
    }
    return true;
}

static bool read_offsets(struct where w, struct safetensors_tensor *tensor, const json_t *offsets) {
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    size_t size = w.file->mapping.size - w.file->data;
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return refuse(w, "data_offsets: expected two whole numbers");
    json_int_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from || (uint64_t)to > size)
        return fault_set(w.fault, "%s: tensor '%s': data_offsets are %lld and %lld, expected a range within 0 to %zu",
                         w.file->mapping.path, tensor->name, (long long)from, (long long)to, size);
    tensor->begin = (size_t)from;
    tensor->end = (size_t)to;
    return true;
}

/* Is the range of the data as long as dtype and shape say? */
static bool check_size(struct where w, int bits) {
    const struct safetensors_tensor *t = w.tensor;
    uint64_t product = (uint64_t)bits;
    bool empty = false;
    for (int i = 0; i < t->rank; i++) {
        empty |= t->shape[i] == 0;
        if (__builtin_mul_overflow(product, (uint64_t)(t->shape[i] ? t->shape[i] : 1), &product))
            return refuse(w, "shape: its product is too large");
    }
    product = empty ? 0 : product;
    if (product % 8 == 0 && product / 8 == t->end - t->begin)
        return true;
    return fault_set(w.fault, "%s: tensor '%s': shape and dtype need %llu bytes, data_offsets give %zu",
                     w.file->mapping.path, t->name, (unsigned long long)(product / 8 + (product % 8 != 0)),
                     t->end - t->begin);
}

static bool read_tensor(const struct safetensors *file, struct safetensors_tensor *tensor, const json_t *entry,
                        struct fault *fault) {
    struct where w = {file, tensor, fault};
    const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    tensor->dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!json_is_object(entry) || json_object_size(entry) != 3 || !tensor->dtype || !shape || !offsets)
        return refuse(w, "expected dtype, shape and data_offsets");
    int bits = bits_of(tensor->dtype);
    if (bits == 0)
        return fault_set(fault, "%s: tensor '%s': dtype '%s' is not known", file->mapping.path, tensor->name,
                         tensor->dtype);
    return read_shape(w, tensor, shape) && read_offsets(w, tensor, offsets) && check_size(w, bits);
}

/* ---------------------------------------------------------------- all of them */

static bool read_tensors(struct safetensors *file, struct fault *fault) {
    const char *name;
    json_t *entry;
    file->tensors = calloc(json_object_size(file->header) + 1, sizeof *file->tensors);
    if (!file->tensors)
        return fault_no_memory(fault);
    json_object_foreach(file->header, name, entry) {
        struct safetensors_tensor *tensor = &file->tensors[file->n_tensors];
        if (strcmp(name, "__metadata__") == 0) {
            if (!check_metadata(file, entry, fault))
                return false;
            continue;
        }
        tensor->name = name;
        if (!read_tensor(file, tensor, entry, fault))
            return false;
        file->n_tensors++;
    }
    return true;
}

/* Empty tensors come before the one that begins where they are. */
static int by_place(const void *a, const void *b) {
    const struct safetensors_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* In the order of their data, each tensor begins where the one before it ends. */
static bool check_places(struct safetensors *file, struct fault *fault) {
    size_t end = 0, size = file->mapping.size - file->data;
    qsort(file->tensors, file->n_tensors, sizeof *file->tensors, by_place);
    for (size_t i = 0; i < file->n_tensors; i++) {
        const struct safetensors_tensor *t = &file->tensors[i];
        if (t->begin < end)
            return fault_set(fault, "%s: tensor '%s': data_offsets overlap those of '%s'", file->mapping.path, t->name,
                             file->tensors[i - 1].name);
        if (t->begin > end)
            return fault_set(fault, "%s: tensor '%s': data_offsets begin at %zu and leave a gap from %zu",
                             file->mapping.path, t->name, t->begin, end);
        end = t->end;
    }
    if (end != size)
        return fault_set(fault, "%s: the tensors end after %zu bytes of data, the file after %zu", file->mapping.path,
                         end, size);
    return true;
}

bool safetensors_open(struct safetensors *file, const char *path, struct fault *fault) {
    *file = (struct safetensors){0};
    if (mapping_open(&file->mapping, path, fault) && read_header(file, fault) && read_tensors(file, fault) &&
        check_places(file, fault))
        return true;
    safetensors_close(file);
    return false;
}

void safetensors_close(struct safetensors *file) {
    free(file->tensors);
    json_decref(file->header);
    mapping_close(&file->mapping);
    *file = (struct safetensors){0};
}

/* ---------------------------------------------------------------- what is in it */

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name) {
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *safetensors_dtype(int type) {
    return type == SA_F32 ? "F32" : type == SA_BF16 ? "BF16" : type == SA_F16 ? "F16" : NULL;
}

static bool type_of(const char *dtype, int *type) {
    for (*type = SA_F32; *type <= SA_F16; ++*type)
        if (strcmp(dtype, safetensors_dtype(*type)) == 0)
            return true;
    return false;
}

bool safetensors_array(struct safetensors *file, const struct safetensors_tensor *tensor, struct array *array,
                       struct fault *fault) {
    *array = (struct array){.file = file->mapping.path, .name = tensor->name, .rank = tensor->rank};
    if (!type_of(tensor->dtype, &array->type))
        return fault_set(fault,
                         "%s: tensor '%s': dtype is '%s', expected 'F32', 'BF16' or 'F16'; in torch: tensor.float()",
                         file->mapping.path, tensor->name, tensor->dtype);
    memcpy(array->shape, tensor->shape, sizeof array->shape);
    const size_t bytes = type_bytes(array->type);
    array->data = mapping_elements(&file->mapping, file->data + tensor->begin, (tensor->end - tensor->begin) / bytes,
                                   bytes, fault);
    return array->data != NULL;
}

const char *safetensors_metadata(const struct safetensors *file, const char *key) {
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}
