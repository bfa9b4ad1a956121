/* SPDX-License-Identifier: MIT */
/* Tensors in files become a batch: shapes are checked against each other, outputs created beside the inputs' layout. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "run.h"
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
    if (v[0].d < 1 || v[0].d > 576 || v[2].d < 1 || v[2].d > 576)
        return complain("%s: d is %lld, and of %s %lld, expected 1 to 576", names[0], (long long)v[0].d, names[2],
                        (long long)v[2].d);
    return true;
}

/* ---------------------------------------------------------------- building */

static void set_rule(struct run_batch *run) {
    const struct run_options *o = run->options;
    sa_batch *b = &run->batch;
    b->flags = (o->causal ? SA_CAUSAL : 0) | (o->has_window ? SA_WINDOW : 0);
    b->window_left = o->window[0];
    b->window_right = o->window[1];
    b->n_sink_keys = o->n_sink_keys;
    b->scale = o->scale;
}

static bool start_batch(struct run_batch *run, int64_t n, const struct view v[3]) {
    run->seqs = calloc((size_t)n + 1, sizeof *run->seqs);
    run->batch = (sa_batch){SA_BATCH_HEAD,
                            .n_sequences = n,
                            .sequences = run->seqs,
                            .n_query_heads = (int32_t)v[0].n_heads,
                            .n_kv_heads = (int32_t)v[1].n_heads,
                            .d_qk = (int32_t)v[0].d,
                            .d_v = (int32_t)v[2].d,
                            .q_type = v[0].type,
                            .k_type = v[1].type,
                            .v_type = v[2].type,
                            .o_type = v[0].type};
    set_rule(run);
    return run->seqs || complain("no memory for %lld sequences", (long long)n);
}

static void set_sequence(struct run_batch *run, int64_t i, const struct view v[3]) {
    const struct run_options *o = run->options;
    sa_sequence *seq = &run->seqs[i];
    *seq = (sa_sequence){.n_q = v[0].n_tokens,
                         .n_k = o->n_kv_lens ? o->kv_lens[i] : v[1].n_tokens,
                         .q = v[0].tensor,
                         .k = v[1].tensor,
                         .v = v[2].tensor,
                         .q_offset = o->has_offset ? o->q_offset : 0,
                         .flags = o->has_offset ? SA_SEQ_Q_OFFSET : 0};
}

static void set_output(struct run_batch *run, int64_t i, const struct array *o, int64_t item) {
    struct view v = view_of(o, item, run->options->heads_first);
    run->seqs[i].o = (sa_output){(void *)(uintptr_t)v.tensor.data, v.tensor.token_stride, v.tensor.head_stride};
}

static void set_lse(struct run_batch *run, int64_t i, const void *data) {
    run->seqs[i].lse = (sa_output){(void *)(uintptr_t)data, 1, run->seqs[i].n_q};
}

/* ---------------------------------------------------------------- .npy */

static bool check_kv_lens(const struct run_batch *run, int64_t n_items, int64_t n_k) {
    const struct run_options *o = run->options;
    if (o->n_kv_lens && o->n_kv_lens != n_items)
        return complain("--kv-lens: %d lengths, but the batch has %lld item%s", o->n_kv_lens, (long long)n_items,
                        n_items == 1 ? "" : "s");
    for (int i = 0; i < o->n_kv_lens; i++)
        if (o->kv_lens[i] > n_k)
            return complain("--kv-lens: length %d is %lld, but %s has %lld tokens", i + 1, (long long)o->kv_lens[i],
                            o->files[1], (long long)n_k);
    return true;
}

static bool read_npy(struct run_batch *run, struct array arrays[3]) {
    struct fault fault;
    for (int i = 0; i < 3; i++) {
        if (!npy_open(&run->npy[i], run->options->files[i], &fault))
            return complain("%s", fault.text);
        arrays[i] = run->npy[i].array;
        if (!check_dims(run->options->files[i], &arrays[i], 3, 4))
            return false;
    }
    for (int i = 1; i < 3; i++)
        if (arrays[i].rank != arrays[0].rank || (arrays[0].rank == 4 && arrays[i].shape[0] != arrays[0].shape[0]))
            return complain("%s: shape (%s), but %s has (%s): the batch dimensions differ", run->options->files[i],
                            shape_text(&arrays[i]), run->options->files[0], shape_text(&arrays[0]));
    return true;
}

static struct array lse_shape(const struct array *q, const struct view *v) {
    struct array lse = {.rank = q->rank - 1};
    int i = 0;
    if (q->rank == 4)
        lse.shape[i++] = q->shape[0];
    lse.shape[i++] = v->n_heads;
    lse.shape[i] = v->n_tokens;
    return lse;
}

/* A file of the array's shape; array->data becomes its elements. */
static bool create(struct output *output, const char *path, struct array *array) {
    struct fault fault;
    return npy_create(output, path, array, &fault) || complain("%s", fault.text);
}

static bool create_npy(struct run_batch *run, const struct array *q, const struct view v[3]) {
    struct array o = *q, lse = lse_shape(q, &v[0]);
    o.type = run->batch.o_type;
    o.shape[o.rank - 1] = v[2].d;
    if (!create(&run->outputs[0], run->options->o_path, &o))
        return false;
    if (run->has_lse && !create(&run->outputs[1], run->options->lse_path, &lse))
        return false;
    for (int64_t i = 0; i < run->batch.n_sequences; i++) {
        set_output(run, i, &o, i);
        if (run->has_lse)
            set_lse(run, i, (const float *)lse.data + i * v[0].n_heads * v[0].n_tokens);
    }
    return true;
}

static bool open_npy(struct run_batch *run) {
    struct array arrays[3];
    struct view v[3];
    if (!read_npy(run, arrays))
        return false;
    int64_t n = arrays[0].rank == 4 ? arrays[0].shape[0] : 1;
    for (int t = 0; t < 3; t++)
        v[t] = view_of(&arrays[t], 0, run->options->heads_first);
    if (!check_views(run->options->files, v) || !check_kv_lens(run, n, v[1].n_tokens) || !start_batch(run, n, v))
        return false;
    for (int64_t i = 0; i < n; i++) {
        for (int t = 0; t < 3; t++)
            v[t] = view_of(&arrays[t], i, run->options->heads_first);
        set_sequence(run, i, v);
    }
    return create_npy(run, &arrays[0], v);
}

/* ---------------------------------------------------------------- .safetensors */

/* "P.q" -> "P", or NULL for any other name. To be freed. */
static char *prefix_of(const char *name) {
    size_t n = strlen(name);
    return n > 2 && strcmp(name + n - 2, ".q") == 0 ? strndup(name, n - 2) : NULL;
}

static char *join(const char *prefix, const char *suffix) {
    char *name = NULL;
    return asprintf(&name, "%s.%s", prefix, suffix) < 0 ? NULL : name;
}

/* Prefixes of all sequences, in the order of the data. */
static bool list_names(struct run_batch *run, int64_t *n) {
    const struct safetensors *file = &run->archive;
    *n = 0;
    run->names = calloc(file->n_tensors + 1, sizeof *run->names);
    if (!run->names)
        return complain("no memory for the names of tensors");
    for (size_t i = 0; i < file->n_tensors; i++)
        if ((run->names[*n] = prefix_of(file->tensors[i].name)) != NULL)
            ++*n;
    return *n > 0 || complain("%s: no tensor whose name ends in .q", run->options->files[0]);
}

static bool get(struct run_batch *run, const char *name, struct array *array) {
    struct fault fault;
    const struct safetensors_tensor *tensor = safetensors_find(&run->archive, name);
    if (!tensor)
        return complain("%s: no tensor %s", run->options->files[0], name);
    if (!safetensors_array(&run->archive, tensor, array, &fault))
        return complain("%s", fault.text);
    return check_dims(name, array, 3, 3);
}

static bool read_sequence(struct run_batch *run, const char *prefix, struct view v[3]) {
    static const char *const suffixes[] = {"q", "k", "v"};
    char *names[3] = {NULL, NULL, NULL};
    bool good = true;
    for (int t = 0; t < 3 && good; t++) {
        struct array array;
        names[t] = join(prefix, suffixes[t]);
        good = (names[t] || complain("no memory")) && get(run, names[t], &array);
        if (good)
            v[t] = view_of(&array, 0, run->options->heads_first);
    }
    good = good && check_views((const char *const *)names, v);
    for (int t = 0; t < 3; t++)
        free(names[t]);
    return good;
}

static bool same_dims(const struct run_batch *run, const char *prefix, const struct view v[3]) {
    const sa_batch *b = &run->batch;
    if (v[0].type != b->q_type || v[1].type != b->k_type || v[2].type != b->v_type)
        return complain("%s: q, k and v are %s, %s and %s, but of %s they are %s, %s and %s", prefix,
                        type_name(v[0].type), type_name(v[1].type), type_name(v[2].type), run->names[0],
                        type_name(b->q_type), type_name(b->k_type), type_name(b->v_type));
    if (v[0].n_heads == b->n_query_heads && v[1].n_heads == b->n_kv_heads && v[0].d == b->d_qk && v[2].d == b->d_v)
        return true;
    return complain("%s: %lld query heads, %lld kv heads, d %lld and %lld, but %s has %d, %d, %d and %d", prefix,
                    (long long)v[0].n_heads, (long long)v[1].n_heads, (long long)v[0].d, (long long)v[2].d,
                    run->names[0], (int)b->n_query_heads, (int)b->n_kv_heads, (int)b->d_qk, (int)b->d_v);
}

static struct array output_shape(const struct run_batch *run, int64_t i, bool is_lse) {
    const int64_t n_q = run->seqs[i].n_q, heads = run->batch.n_query_heads;
    bool heads_first = is_lse || run->options->heads_first;
    return (struct array){.rank = is_lse ? 2 : 3,
                          .type = is_lse ? SA_F32 : run->batch.o_type,
                          .shape = {heads_first ? heads : n_q, heads_first ? n_q : heads, run->batch.d_v}};
}

/* The tensors P.o or P.lse of all sequences in one file. */
static bool create_archive(struct run_batch *run, const char *path, bool is_lse, struct output *output) {
    size_t n = (size_t)run->batch.n_sequences;
    struct fault fault = {"no memory for the names of tensors"};
    struct array *arrays = calloc(n, sizeof *arrays);
    char **names = calloc(n, sizeof *names);
    bool good = arrays && names;
    for (size_t i = 0; i < n && good; i++) {
        arrays[i] = output_shape(run, (int64_t)i, is_lse);
        arrays[i].name = names[i] = join(run->names[i], is_lse ? "lse" : "o");
        good = names[i] != NULL;
    }
    good = (good && safetensors_create(output, path, n, arrays, &fault)) || complain("%s", fault.text);
    for (size_t i = 0; i < n && good; i++) {
        if (is_lse)
            set_lse(run, (int64_t)i, arrays[i].data);
        else
            set_output(run, (int64_t)i, &arrays[i], 0);
    }
    for (size_t i = 0; names && i < n; i++)
        free(names[i]);
    free(names);
    free(arrays);
    return good;
}

static bool open_archive(struct run_batch *run) {
    struct fault fault;
    struct view v[3];
    int64_t n;
    if (!safetensors_open(&run->archive, run->options->files[0], &fault))
        return complain("%s", fault.text);
    if (!list_names(run, &n))
        return false;
    for (int64_t i = 0; i < n; i++) {
        if (!read_sequence(run, run->names[i], v) || (i == 0 && !start_batch(run, n, v)) ||
            !same_dims(run, run->names[i], v))
            return false;
        set_sequence(run, i, v);
    }
    return create_archive(run, run->options->o_path, false, &run->outputs[0]) &&
           (!run->has_lse || create_archive(run, run->options->lse_path, true, &run->outputs[1]));
}

/* ---------------------------------------------------------------- open and close */

bool run_open(const struct run_options *options, struct run_batch *run) {
    *run = (struct run_batch){.options = options, .has_lse = options->lse_path != NULL};
    return options->n_files == 3 ? open_npy(run) : open_archive(run);
}

static bool commit(struct output *output) {
    struct fault fault;
    return output_commit(output, &fault) || complain("%s", fault.text);
}

bool run_commit(struct run_batch *run) {
    return commit(&run->outputs[0]) && (!run->has_lse || commit(&run->outputs[1]));
}

void run_close(struct run_batch *run) {
    for (int i = 0; i < 2; i++)
        output_discard(&run->outputs[i]);
    for (int i = 0; i < 3; i++)
        npy_close(&run->npy[i]);
    safetensors_close(&run->archive);
    for (char **name = run->names; name && *name; name++)
        free(*name);
    free(run->names);
    free(run->seqs);
}
