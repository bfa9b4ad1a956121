/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "columns.h"
#include "look.h"
#include "look_model.h"
#include "reference.h"

/* ---------------------------------------------------------------- the file */

static bool list_prefixes(struct look_file *f) {
    f->prefixes = calloc(f->file.n_tensors + 1, sizeof *f->prefixes);
    if (!f->prefixes)
        return complain("no memory for the names of tensors");
    for (size_t i = 0; i < f->file.n_tensors; i++) {
        const char *name = f->file.tensors[i].name;
        size_t n = strlen(name);
        if (!fault_is_plain(name))
            return complain("%s: tensor '%s': a control character in its name", f->path, name);
        if (n > 2 && strcmp(name + n - 2, ".q") == 0)
            f->prefixes[f->n_prefixes++] = name;
    }
    return f->n_prefixes > 0 || complain("%s: no tensor whose name ends in .q", f->path);
}

/* Words of a file are not to be trusted with a terminal. */
static bool make_plain(json_t *words, size_t i, const char *word) {
    char *plain = strdup(word);
    if (plain)
        fault_plain(plain);
    const bool good = plain && json_array_set_new(words, i, json_string(plain)) == 0;
    free(plain);
    return good || complain("no memory for the words");
}

static bool read_words(struct look_file *f) {
    const char *text = safetensors_metadata(&f->file, "tokens");
    size_t i;
    json_t *word;
    if (!text)
        return true;
    f->words = json_loads(text, 0, NULL);
    if (!json_is_array(f->words))
        return complain("%s: __metadata__: tokens is no JSON array", f->path);
    json_array_foreach(f->words, i, word) {
        if (!json_is_string(word))
            return complain("%s: __metadata__: tokens holds something that is no text", f->path);
        if (!fault_is_plain(json_string_value(word)) && !make_plain(f->words, i, json_string_value(word)))
            return false;
    }
    return true;
}

bool look_open(const char *path, const char *text, bool causal, const struct attention_options *options,
               struct look_file *file) {
    struct fault fault;
    *file = (struct look_file){.path = path, .causal = causal};
    if (!attention_open(options, &file->attention))
        return false;
    if (text)
        return look_model_open(path, text, file);
    if (!safetensors_open(&file->file, path, &fault))
        return complain("%s", fault.text);
    return list_prefixes(file) && read_words(file);
}

void look_close(struct look_file *file) {
    free(file->prefixes);
    json_decref(file->words);
    safetensors_close(&file->file);
    look_model_close(file->model);
    attention_close(&file->attention);
}

static bool is_prefix(const char *name, const char *prefix) {
    size_t n = strlen(prefix);
    return strlen(name) == n + 2 && memcmp(name, prefix, n) == 0;
}

int look_name_length(const char *prefix) { return (int)strlen(prefix) - 2; }

const char *look_prefix(const struct look_file *file, const char *layer) {
    char numbered[64];
    snprintf(numbered, sizeof numbered, "layer%s", layer);
    for (int i = 0; i < file->n_prefixes; i++)
        if (is_prefix(file->prefixes[i], layer) || is_prefix(file->prefixes[i], numbered))
            return file->prefixes[i];
    const char *first = file->prefixes[0], *last = file->prefixes[file->n_prefixes - 1];
    complain("%s: no layer %s; the first one is %.*s, the last %.*s", file->path, layer, look_name_length(first), first,
             look_name_length(last), last);
    return NULL;
}

/* The tensor beside the one named `q_name`, with another last letter. */
static bool get(struct look_file *file, const char *q_name, char letter, struct array *array) {
    char name[256];
    struct fault fault;
    if (file->model)
        return look_model_array(file->model, q_name, letter, array) || letter == 'o';
    int n = snprintf(name, sizeof name, "%.*s%c", (int)strlen(q_name) - 1, q_name, letter);
    if (n < 0 || (size_t)n >= sizeof name)
        return complain("%s: a tensor's name is longer than %zu", file->path, sizeof name - 1);
    const struct safetensors_tensor *tensor = safetensors_find(&file->file, name);
    if (!tensor)
        return letter == 'o' || complain("%s: no tensor %s", file->path, name);
    if (!safetensors_array(&file->file, tensor, array, &fault))
        return complain("%s", fault.text);
    if (array->rank != 3)
        return complain("%s: %s: shape (%s), expected tokens, heads, d", file->path, name, shape_text(array));
    return true;
}

enum { MOST_D = 576 }; /* of the library, and of the reference */

static bool fits(const struct look_file *file, const struct look_layer *l) {
    const int64_t *q = l->q.shape, *k = l->k.shape, *v = l->v.shape;
    bool good = k[0] == v[0] && k[1] == v[1] && q[2] == k[2] && k[1] > 0 && q[1] % k[1] == 0 && q[0] > 0 && k[0] > 0;
    good = good && q[2] > 0 && v[2] > 0;
    if (good && (q[2] > MOST_D || v[2] > MOST_D))
        return complain("%s: %s is of %s, its v of %s: d is at most %d", file->path, l->prefix, shape_text(&l->q),
                        shape_text(&l->v), MOST_D);
    if (good && l->o.data)
        good = l->o.shape[0] == q[0] && l->o.shape[1] == q[1] && l->o.shape[2] == v[2];
    return good || complain("%s: the shapes of %s (%s), its k (%s) and v (%s) do not belong together", file->path,
                            l->prefix, shape_text(&l->q), shape_text(&l->k), shape_text(&l->v));
}

static bool make_batch(const struct look_file *file, struct look_layer *l) {
    l->seq = (sa_sequence){.n_q = l->q.shape[0],
                           .n_k = l->k.shape[0],
                           .q = {l->q.data, 0, 0},
                           .k = {l->k.data, 0, 0},
                           .v = {l->v.data, 0, 0}};
    l->batch = (sa_batch){SA_BATCH_HEAD,
                          .n_sequences = 1,
                          .n_query_heads = (int32_t)l->q.shape[1],
                          .n_kv_heads = (int32_t)l->k.shape[1],
                          .d_qk = (int32_t)l->q.shape[2],
                          .d_v = (int32_t)l->v.shape[2],
                          .q_type = l->q.type,
                          .k_type = l->k.type,
                          .v_type = l->v.type,
                          .flags = file->causal ? SA_CAUSAL : 0};
    return attention_apply(&file->attention, &l->batch, &l->seq);
}

bool look_read_layer(struct look_file *file, const char *prefix, struct look_layer *layer) {
    *layer = (struct look_layer){.prefix = prefix};
    return get(file, prefix, 'q', &layer->q) && get(file, prefix, 'k', &layer->k) &&
           get(file, prefix, 'v', &layer->v) && get(file, prefix, 'o', &layer->o) && fits(file, layer) &&
           make_batch(file, layer);
}

/* ---------------------------------------------------------------- words */

const char *look_word(const struct look_file *file, int64_t i) {
    static char numbers[8][24];
    static int next;
    const char *word = json_string_value(json_array_get(file->words, (size_t)i));
    if (word)
        return word;
    char *number = numbers[next++ % 8];
    snprintf(number, sizeof numbers[0], "#%lld", (long long)i);
    return number;
}

static bool inside_of_word(const char *piece) { return strncmp(piece, "##", 2) == 0; }

bool look_is_word(const struct look_file *file, int64_t i) {
    const char *word = look_word(file, i);
    return columns_is_word(inside_of_word(word) ? word + 2 : word);
}

static bool is_special(const struct look_file *file, int64_t i) {
    const char *word = look_word(file, i);
    const size_t n = strlen(word);
    return n > 2 && word[0] == '[' && word[n - 1] == ']';
}

int64_t look_last_word(const struct look_file *file, int64_t n) {
    for (int64_t i = n - 1; i >= 0; i--)
        if (look_is_word(file, i) && !inside_of_word(look_word(file, i)))
            return i;
    for (int64_t i = n - 1; i >= 0; i--)
        if (!is_special(file, i))
            return i;
    return n - 1;
}

int64_t look_find_token(const struct look_file *file, const char *text, int64_t n, int *n_more) {
    int64_t found = -1, number;
    *n_more = 0;
    for (int64_t i = 0; i < n; i++)
        if (strcmp(look_word(file, i), text) == 0) {
            *n_more += found >= 0;
            found = found >= 0 ? found : i;
        }
    if (found < 0 && file->model)
        found = look_model_find(file->model, text, n_more);
    if (found < 0 && parse_integer(text, 0, n - 1, &number))
        found = number;
    if (found < 0)
        complain("%s: no token '%s' among its %lld; a number from 0 to %lld names one as well", file->path, text,
                 (long long)n, (long long)n - 1);
    return found;
}

/* ---------------------------------------------------------------- weights */

bool look_weights(const struct look_layer *layer, int head, int64_t query, double *weights, double *sink) {
    const float *logits = layer->batch.sink_logits;
    double *bounds = malloc((size_t)(layer->seq.n_k + 1) * sizeof *bounds);
    struct reference_row row = {.weights = weights, .weight_bounds = bounds};
    sa_batch batch = layer->batch;
    batch.sequences = &layer->seq;
    const bool good = bounds && reference_row(&batch, 0, query, head, &row);
    if (good && sink)
        *sink = logits && logits[head] > -HUGE_VALF ? exp((double)logits[head] - row.lse) : 0;
    free(bounds);
    return good || complain("no memory for a row of weights");
}

bool look_read_row(const struct look_layer *layer, int head, int64_t query, struct look_row *row) {
    const int64_t n = layer->k.shape[0], kv_head = head / (layer->q.shape[1] / layer->v.shape[1]);
    double *numbers = malloc((size_t)n * 3 * sizeof *numbers);
    *row = (struct look_row){.n = n, .weights = numbers};
    if (!numbers)
        return complain("no memory for a row of weights");
    row->lengths = numbers + n;
    row->moves = numbers + 2 * n;
    return look_weights(layer, head, query, row->weights, &row->sink) &&
           (look_influence(&layer->v, kv_head, row) || complain("no memory for a row of values"));
}

void look_free_row(struct look_row *row) { free(row->weights); }
