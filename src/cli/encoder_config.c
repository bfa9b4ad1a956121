/* SPDX-License-Identifier: MIT */
#include "encoder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *encoder_path(const char *folder, const char *name, struct fault *fault) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) >= 0)
        return path;
    return fault_no_memory(fault), NULL;
}

/* A JSON object, or NULL with the reason. */
static json_t *load(const char *path, struct fault *fault) {
    json_error_t error;
    if (access(path, R_OK) != 0)
        return fault_set(fault, "%s: %s", path, strerror(errno)), NULL;
    json_t *json = json_load_file(path, 0, &error);
    if (!json)
        return fault_set(fault, "%s: %s (line %d, column %d)", path, error.text, error.line, error.column), NULL;
    if (json_is_object(json))
        return json;
    json_decref(json);
    return fault_set(fault, "%s: expected a JSON object", path), NULL;
}

/* ---------------------------------------------------------------- config.json */

struct source {
    const json_t *json;
    const char *path;
    struct fault *fault;
};

static bool take_count(struct source s, const char *key, int64_t high, int64_t *value) {
    const json_t *json = json_object_get(s.json, key);
    *value = json_integer_value(json);
    if (json_is_integer(json) && *value >= 1 && *value <= high)
        return true;
    return fault_set(s.fault, "%s: %s: expected a whole number from 1 to %lld", s.path, key, (long long)high);
}

/* A name that, if it is there, has to be the only one that is served. */
static bool take_only(struct source s, const char *key, const char *only) {
    const json_t *json = json_object_get(s.json, key);
    const char *text = json_string_value(json);
    if (!json || (text && strcmp(text, only) == 0))
        return true;
    return fault_set(s.fault, "%s: %s is '%s', only '%s' is served", s.path, key, text ? text : "no string", only);
}

static bool take_config(struct source s, struct encoder_config *c) {
    enum { MOST_WIDTH = 65536, MOST_ROWS = 1 << 24, MOST_LAYERS = 1 << 10, WIDEST_HEAD = 576 };
    const json_t *eps = json_object_get(s.json, "layer_norm_eps");
    if (!take_only(s, "model_type", "bert") || !take_only(s, "hidden_act", "gelu") ||
        !take_only(s, "position_embedding_type", "absolute") || !take_count(s, "vocab_size", MOST_ROWS, &c->n_words) ||
        !take_count(s, "max_position_embeddings", MOST_ROWS, &c->n_positions) ||
        !take_count(s, "type_vocab_size", MOST_ROWS, &c->n_types) ||
        !take_count(s, "hidden_size", MOST_WIDTH, &c->d_model) ||
        !take_count(s, "intermediate_size", MOST_WIDTH, &c->d_inner) ||
        !take_count(s, "num_hidden_layers", MOST_LAYERS, &c->n_layers) ||
        !take_count(s, "num_attention_heads", MOST_WIDTH, &c->n_heads))
        return false;
    if (c->d_model % c->n_heads != 0 || c->d_model / c->n_heads > WIDEST_HEAD)
        return fault_set(
            s.fault, "%s: hidden_size %lld in num_attention_heads %lld heads: expected a whole number up to %d each",
            s.path, (long long)c->d_model, (long long)c->n_heads, (int)WIDEST_HEAD);
    c->norm_eps = eps ? (float)json_number_value(eps) : 1e-12f;
    if (!(c->norm_eps >= 0 && c->norm_eps < 1))
        return fault_set(s.fault, "%s: layer_norm_eps: expected a number from 0 to 1", s.path);
    if (c->n_positions < 2)
        return fault_set(s.fault, "%s: max_position_embeddings: expected 2 or more", s.path);
    c->most_tokens = c->n_positions;
    return true;
}

/* ---------------------------------------------------------------- the files beside it, which need not be there */

static bool take_length(struct source s, struct encoder_config *c) {
    int64_t length;
    if (!take_count(s, "max_seq_length", INT32_MAX, &length))
        return false;
    if (length < 2)
        return fault_set(s.fault, "%s: max_seq_length: expected 2 or more", s.path);
    c->most_tokens = length < c->n_positions ? length : c->n_positions;
    return true;
}

static bool take_case(struct source s, struct encoder_config *c) {
    const json_t *lower = json_object_get(s.json, "do_lower_case"), *strip = json_object_get(s.json, "strip_accents");
    const json_t *chinese = json_object_get(s.json, "tokenize_chinese_chars");
    c->lower = !json_is_false(lower);
    if ((json_is_boolean(strip) && json_is_true(strip) != c->lower) || json_is_false(chinese))
        return fault_set(
            s.fault, "%s: strip_accents other than do_lower_case, or no tokenize_chinese_chars: not served", s.path);
    return true;
}

static bool read_file(struct encoder_config *config, const char *name, bool needed,
                      bool (*take)(struct source, struct encoder_config *), struct fault *fault) {
    char *path = encoder_path(config->folder, name, fault);
    const bool skip = path && !needed && access(path, F_OK) != 0;
    json_t *json = path && !skip ? load(path, fault) : NULL;
    const bool good = skip || (json && take((struct source){json, path, fault}, config));
    json_decref(json);
    free(path);
    return good;
}

bool encoder_read_config(struct encoder_config *config, const char *folder, struct fault *fault) {
    *config = (struct encoder_config){.folder = folder, .lower = true};
    return read_file(config, "config.json", true, take_config, fault) &&
           read_file(config, "sentence_bert_config.json", false, take_length, fault) &&
           read_file(config, "tokenizer_config.json", false, take_case, fault);
}
