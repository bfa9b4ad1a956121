/* SPDX-License-Identifier: MIT */
#include "inputs.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "types.h"

/* One sequence's worth of an array, whatever its layout: tokens, heads, d and where they are. */
struct view {
    int64_t n_tokens, n_heads, d;
    int type;
    sa_tensor tensor;
};

/* `array` without its batch dimension, if it has one. */
static struct view view_of(const struct array *array, int64_t item, bool heads_first) {
    const int64_t *s = array->shape + (array->rank - 3);
    struct view v = {s[heads_first], s[!heads_first], s[2], array->type, {0}};
    int64_t outer = s[1] * v.d;
    v.tensor.data = (const char *)array->data + item * s[0] * outer * (int64_t)type_bytes(array->type);
    v.tensor.token_stride = heads_first ? v.d : outer;
    v.tensor.head_stride = heads_first ? outer : v.d;
    return v;
}

/* ---------------------------------------------------------------- checks */

static bool check_dims(const char *what, const struct array *array, int low, int high) {
    if (array->rank >= low && array->rank <= high)
        return true;
    return complain("%s: shape (%s) has %d dimensions, expected %s", what, shape_text(array), array->rank,
                    low == high ? "3: tokens, heads, d" : "3 or 4: [batch,] tokens, heads, d");
}

/* The three tensors of a sequence against each other. */
static bool check_views(const char *const names[3], const struct view v[3]) {
    if (v[1].d != v[0].d)
        return complain("%s: d is %lld, but %s has %lld", names[1], (long long)v[1].d, names[0], (long long)v[0].d);
    if (v[2].n_tokens != v[1].n_tokens)
        return complain("%s: %lld tokens, but %s has %lld", names[2], (long long)v[2].n_tokens, names[1],
                        (long long)v[1].n_tokens);
    if (v[2].n_heads != v[1].n_heads)
        return complain("%s: %lld heads, but %s has %lld", names[2], (long long)v[2].n_heads, names[1],
                        (long long)v[1].n_heads);
    if (v[1].n_heads < 1 || v[0].n_heads < 1 || v[0].n_heads % v[1].n_heads != 0)
        return complain("%s: %lld heads, not a multiple of the %lld of %s", names[0], (long long)v[0].n_heads,
                        (long long)v[1].n_heads, names[1]);
    if (v[0].n_heads > INT32_MAX)
        return complain("%s: %lld heads, expected at most 2^31 - 1", names[0], (long long)v[0].n_heads);
    if (v[0].d < 1 || v[0].d > 576 || v[2].d < 1 || v[2].d > 576)
        return complain("%s: d is %lld, and of %s %lld, expected 1 to 576", names[0], (long long)v[0].d, names[2],
                        (long long)v[2].d);
    return true;
}

/* ---------------------------------------------------------------- building */

static bool start_batch(struct inputs *in, int64_t n, const struct view v[3]) {
    in->seqs = calloc((size_t)n + 1, sizeof *in->seqs);
    in->batch = (sa_batch){SA_BATCH_HEAD,
                           .n_sequences = n,
                           .sequences = in->seqs,
                           .n_query_heads = (int32_t)v[0].n_heads,
                           .n_kv_heads = (int32_t)v[1].n_heads,
                           .d_qk = (int32_t)v[0].d,
                           .d_v = (int32_t)v[2].d,
                           .q_type = v[0].type,
                           .k_type = v[1].type,
                           .v_type = v[2].type,
                           .o_type = v[0].type};
    return in->seqs || complain("no memory for %lld sequences", (long long)n);
}

static void set_sequence(struct inputs *in, int64_t i, const struct view v[3]) {
    in->seqs[i] =
        (sa_sequence){.n_q = v[0].n_tokens, .n_k = v[1].n_tokens, .q = v[0].tensor, .k = v[1].tensor, .v = v[2].tensor};
}

/* ---------------------------------------------------------------- .npy */

static bool read_npy(struct inputs *in, struct array arrays[3]) {
    struct fault fault;
    for (int i = 0; i < 3; i++) {
        if (!npy_open(&in->npy[i], in->options->files[i], NPY_NUMBERS, &fault))
            return complain("%s", fault.text);
        arrays[i] = in->npy[i].array;
        if (!check_dims(in->options->files[i], &arrays[i], 3, 4))
            return false;
    }
    for (int i = 1; i < 3; i++)
        if (arrays[i].rank != arrays[0].rank || (arrays[0].rank == 4 && arrays[i].shape[0] != arrays[0].shape[0]))
            return complain("%s: shape (%s), but %s has (%s): the batch dimensions differ", in->options->files[i],
                            shape_text(&arrays[i]), in->options->files[0], shape_text(&arrays[0]));
    return true;
}

static bool open_npy(struct inputs *in) {
    struct array arrays[3];
    struct view v[3];
    if (!read_npy(in, arrays))
        return false;
    int64_t n = arrays[0].rank == 4 ? arrays[0].shape[0] : 1;
    for (int t = 0; t < 3; t++)
        v[t] = view_of(&arrays[t], 0, in->options->heads_first);
    if (!check_views(in->options->files, v) || !start_batch(in, n, v))
        return false;
    for (int64_t i = 0; i < n; i++) {
        for (int t = 0; t < 3; t++)
            v[t] = view_of(&arrays[t], i, in->options->heads_first);
        set_sequence(in, i, v);
    }
    return true;
}

/* ---------------------------------------------------------------- .safetensors */

/* "P.q" -> "P", or NULL for any other name. To be freed. */
static char *prefix_of(const char *name) {
    size_t n = strlen(name);
    return n > 2 && strcmp(name + n - 2, ".q") == 0 ? strndup(name, n - 2) : NULL;
}

char *tensor_name(const char *prefix, const char *suffix) {
    char *name = NULL;
    return asprintf(&name, "%s.%s", prefix, suffix) < 0 ? NULL : name;
}

/* Prefixes of all sequences, in the order of the data. */
static bool list_names(struct inputs *in, int64_t *n) {
    const struct safetensors *file = &in->archive;
    *n = 0;
    in->names = calloc(file->n_tensors + 1, sizeof *in->names);
    if (!in->names)
        return complain("no memory for the names of tensors");
    for (size_t i = 0; i < file->n_tensors; i++)
        if ((in->names[*n] = prefix_of(file->tensors[i].name)) != NULL)
            ++*n;
    return *n > 0 || complain("%s: no tensor whose name ends in .q", in->options->files[0]);
}

static bool get(struct inputs *in, const char *name, struct array *array) {
    struct fault fault;
    const struct safetensors_tensor *tensor = safetensors_find(&in->archive, name);
    if (!tensor)
        return complain("%s: no tensor %s", in->options->files[0], name);
    if (!safetensors_array(&in->archive, tensor, array, &fault))
        return complain("%s", fault.text);
    return check_dims(name, array, 3, 3);
}

static bool read_sequence(struct inputs *in, const char *prefix, struct view v[3]) {
    static const char *const suffixes[] = {"q", "k", "v"};
    char *names[3] = {NULL, NULL, NULL};
    bool good = true;
    for (int t = 0; t < 3 && good; t++) {
        struct array array;
        names[t] = tensor_name(prefix, suffixes[t]);
        good = (names[t] || complain("no memory")) && get(in, names[t], &array);
        if (good)
            v[t] = view_of(&array, 0, in->options->heads_first);
    }
    good = good && check_views((const char *const *)names, v);
    for (int t = 0; t < 3; t++)
        free(names[t]);
    return good;
}

static bool same_dims(const struct inputs *in, const char *prefix, const struct view v[3]) {
    const sa_batch *b = &in->batch;
    if (v[0].type != b->q_type || v[1].type != b->k_type || v[2].type != b->v_type)
        return complain("%s: q, k and v are %s, %s and %s, but of %s they are %s, %s and %s", prefix,
                        type_name(v[0].type), type_name(v[1].type), type_name(v[2].type), in->names[0],
                        type_name(b->q_type), type_name(b->k_type), type_name(b->v_type));
    if (v[0].n_heads == b->n_query_heads && v[1].n_heads == b->n_kv_heads && v[0].d == b->d_qk && v[2].d == b->d_v)
        return true;
    return complain("%s: %lld query heads, %lld kv heads, d %lld and %lld, but %s has %d, %d, %d and %d", prefix,
                    (long long)v[0].n_heads, (long long)v[1].n_heads, (long long)v[0].d, (long long)v[2].d,
                    in->names[0], (int)b->n_query_heads, (int)b->n_kv_heads, (int)b->d_qk, (int)b->d_v);
}

static bool open_archive(struct inputs *in) {
    struct fault fault;
    struct view v[3];
    int64_t n;
    if (!safetensors_open(&in->archive, in->options->files[0], &fault))
        return complain("%s", fault.text);
    if (!list_names(in, &n))
        return false;
    for (int64_t i = 0; i < n; i++) {
        if (!read_sequence(in, in->names[i], v) || (i == 0 && !start_batch(in, n, v)) ||
            !same_dims(in, in->names[i], v))
            return false;
        set_sequence(in, i, v);
    }
    return true;
}

/* ---------------------------------------------------------------- open and close */

bool inputs_open(const struct inputs_options *options, struct inputs *inputs) {
    *inputs = (struct inputs){.options = options};
    return options->n_files == 3 ? open_npy(inputs) : open_archive(inputs);
}

void inputs_close(struct inputs *inputs) {
    for (int i = 0; i < 3; i++)
        npy_close(&inputs->npy[i]);
    safetensors_close(&inputs->archive);
    for (char **name = inputs->names; name && *name; name++)
        free(*name);
    free(inputs->names);
    free(inputs->seqs);
}
