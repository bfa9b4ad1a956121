/* SPDX-License-Identifier: MIT */
#include "encoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elements.h"

/* ---------------------------------------------------------------- a tensor */

/* Tensors in the order of encoder_layer, so that no more than this many are ever copied. */
enum { TENSORS_OUTSIDE = 5, TENSORS_OF_LAYER = 16 };

static bool check_shape(const struct array *a, int64_t rows, int64_t columns, struct fault *fault) {
    const bool matrix = rows > 0;
    if (a->rank == 1 + matrix && a->shape[a->rank - 1] == columns && (!matrix || a->shape[0] == rows))
        return true;
    char found[160] = "";
    for (int i = 0, n = 0; i < a->rank; i++)
        n += snprintf(found + n, sizeof found - (size_t)n, i ? " x %lld" : "%lld", (long long)a->shape[i]);
    if (matrix)
        return fault_set(fault, "%s: tensor '%s': shape is (%s), by config.json it is (%lld x %lld)", a->file, a->name,
                         found, (long long)rows, (long long)columns);
    return fault_set(fault, "%s: tensor '%s': shape is (%s), by config.json it is (%lld)", a->file, a->name, found,
                     (long long)columns);
}

/* Float32 is used where it stands. */
static const float *as_floats(struct encoder *e, const struct array *a, int64_t n, struct fault *fault) {
    if (a->type == SA_F32)
        return a->data;
    float *copy = malloc((size_t)n * sizeof *copy);
    if (!copy)
        return fault_no_memory(fault), NULL;
    for (int64_t i = 0; i < n; i++)
        copy[i] = (float)element_value(a->type, (const char *)a->data + i * element_bytes(a->type));
    return e->copies[e->n_copies++] = copy;
}

static bool check_finite(const struct array *a, const float *values, int64_t n, struct fault *fault) {
    float poison = 0; /* 0 * x is NaN for NaN and inf; the sum needs no branch for each */
    for (int64_t i = 0; i < n; i++)
        poison += 0 * values[i];
    for (int64_t i = 0; poison != 0 && i < n; i++)
        if (!isfinite(values[i]))
            return fault_set(fault, "%s: tensor '%s': element %lld is %g", a->file, a->name, (long long)i,
                             (double)values[i]);
    return true;
}

/* rows 0: a vector. NULL with the reason. */
static const float *take(struct encoder *e, const char *name, int64_t rows, int64_t columns, struct fault *fault) {
    char full[256];
    struct array array;
    snprintf(full, sizeof full, "%s%s", e->prefix, name);
    const struct safetensors_tensor *tensor = safetensors_find(&e->file, full);
    if (!tensor)
        return fault_set(fault, "%s: no tensor '%s'", e->file.mapping.path, full), NULL;
    if (!safetensors_array(&e->file, tensor, &array, fault) || !check_shape(&array, rows, columns, fault))
        return NULL;
    const int64_t n = (rows ? rows : 1) * columns;
    const float *values = as_floats(e, &array, n, fault);
    return values && check_finite(&array, values, n, fault) ? values : NULL;
}

/* ---------------------------------------------------------------- what they belong to */

/* Of one layer, "encoder.layer.N.NAME.weight" and ".bias". */
static bool take_pair(struct encoder *e, int64_t layer, const char *name, int64_t rows, int64_t columns,
                      const float **weight, const float **bias, struct fault *fault) {
    char full[200];
    const int n = layer < 0 ? snprintf(full, sizeof full, "%s", name)
                            : snprintf(full, sizeof full, "encoder.layer.%lld.%s", (long long)layer, name);
    snprintf(full + n, sizeof full - (size_t)n, ".weight");
    if (!(*weight = take(e, full, rows, columns, fault)))
        return false;
    snprintf(full + n, sizeof full - (size_t)n, ".bias");
    return (*bias = take(e, full, 0, rows ? rows : columns, fault)) != NULL;
}

static bool take_attention(struct encoder *e, int64_t i, struct fault *fault) {
    static const char *const names[] = {"attention.self.query", "attention.self.key", "attention.self.value",
                                        "attention.output.dense"};
    const int64_t d = e->config.d_model;
    const float *w[4], *b[4];
    for (int t = 0; t < 4; t++)
        if (!take_pair(e, i, names[t], d, d, &w[t], &b[t], fault))
            return false;
    for (int t = 0; t < 3; t++) {
        e->layers[i].w_qkv[t] = w[t];
        e->layers[i].b_qkv[t] = b[t];
    }
    const sa_layer_options options = {.struct_size = sizeof options,
                                      .d_model = (int32_t)d,
                                      .n_query_heads = (int32_t)e->config.n_heads,
                                      .flags = SA_LAYER_REFERENCE,
                                      .w_q = {w[0], 0},
                                      .w_k = {w[1], 0},
                                      .w_v = {w[2], 0},
                                      .w_o = {w[3], 0},
                                      .b_q = b[0],
                                      .b_k = b[1],
                                      .b_v = b[2],
                                      .b_o = b[3]};
    return sa_layer_create(&options, &e->layers[i].attention) == SA_OK ||
           fault_set(fault, "%s: layer %lld: %s", e->file.mapping.path, (long long)i, sa_last_reason());
}

static bool take_layer(struct encoder *e, int64_t i, struct fault *fault) {
    const int64_t d = e->config.d_model, inner = e->config.d_inner;
    struct encoder_layer *l = &e->layers[i];
    return take_attention(e, i, fault) &&
           take_pair(e, i, "attention.output.LayerNorm", 0, d, &l->attention_norm.scale, &l->attention_norm.shift,
                     fault) &&
           take_pair(e, i, "intermediate.dense", inner, d, &l->w_up, &l->b_up, fault) &&
           take_pair(e, i, "output.dense", d, inner, &l->w_down, &l->b_down, fault) &&
           take_pair(e, i, "output.LayerNorm", 0, d, &l->output_norm.scale, &l->output_norm.shift, fault);
}

static bool take_embeddings(struct encoder *e, struct fault *fault) {
    const struct encoder_config *c = &e->config;
    return (e->words = take(e, "embeddings.word_embeddings.weight", c->n_words, c->d_model, fault)) &&
           (e->positions = take(e, "embeddings.position_embeddings.weight", c->n_positions, c->d_model, fault)) &&
           (e->types = take(e, "embeddings.token_type_embeddings.weight", c->n_types, c->d_model, fault)) &&
           take_pair(e, -1, "embeddings.LayerNorm", 0, c->d_model, &e->norm.scale, &e->norm.shift, fault);
}

bool encoder_read_weights(struct encoder *encoder, struct fault *fault) {
    const int64_t n = encoder->config.n_layers;
    encoder->model_path = encoder_path(encoder->config.folder, "model.safetensors", fault);
    if (!encoder->model_path || !safetensors_open(&encoder->file, encoder->model_path, fault))
        return false;
    encoder->prefix = safetensors_find(&encoder->file, "bert.embeddings.word_embeddings.weight") ? "bert." : "";
    encoder->copies = calloc((size_t)(TENSORS_OUTSIDE + n * TENSORS_OF_LAYER), sizeof *encoder->copies);
    encoder->layers = calloc((size_t)n, sizeof *encoder->layers);
    if (!encoder->copies || !encoder->layers)
        return fault_no_memory(fault);
    for (int64_t i = 0; i < n; i++)
        if (!take_layer(encoder, i, fault))
            return false;
    return take_embeddings(encoder, fault);
}
