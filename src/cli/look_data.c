/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "look.h"

/* ---------------------------------------------------------------- the file */

static bool list_prefixes(struct look_file *f) {
    f->prefixes = calloc(f->file.n_tensors + 1, sizeof *f->prefixes);
    if (!f->prefixes)
        return complain("no memory for the names of tensors");
    for (size_t i = 0; i < f->file.n_tensors; i++) {
        const char *name = f->file.tensors[i].name;
        size_t n = strlen(name);
        if (n > 2 && strcmp(name + n - 2, ".q") == 0)
            f->prefixes[f->n_prefixes++] = name;
    }
    return f->n_prefixes > 0 || complain("%s: no tensor whose name ends in .q", f->path);
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
    }
    return true;
}

bool look_open(const char *path, struct look_file *file) {
    struct fault fault;
    *file = (struct look_file){.path = path};
    if (!safetensors_open(&file->file, path, &fault))
        return complain("%s", fault.text);
    return list_prefixes(file) && read_words(file);
}

void look_close(struct look_file *file) {
    free(file->prefixes);
    json_decref(file->words);
    safetensors_close(&file->file);
}

static bool is_prefix(const char *name, const char *prefix) {
    size_t n = strlen(prefix);
    return strlen(name) == n + 2 && memcmp(name, prefix, n) == 0;
}

const char *look_prefix(const struct look_file *file, const char *layer) {
    char numbered[64];
    snprintf(numbered, sizeof numbered, "layer%s", layer);
    for (int i = 0; i < file->n_prefixes; i++)
        if (is_prefix(file->prefixes[i], layer) || is_prefix(file->prefixes[i], numbered))
            return file->prefixes[i];
    complain("%s: no layer %s; the first one is %.*s", file->path, layer, (int)strlen(file->prefixes[0]) - 2,
             file->prefixes[0]);
    return NULL;
}

/* The tensor beside the one named `q_name`, with another last letter. */
static bool get(struct look_file *file, const char *q_name, char letter, struct array *array) {
    char name[256];
    struct fault fault;
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

static bool fits(const struct look_file *file, const struct look_layer *l) {
    const int64_t *q = l->q.shape, *k = l->k.shape, *v = l->v.shape;
    bool good = k[0] == v[0] && k[1] == v[1] && q[2] == k[2] && k[1] > 0 && q[1] % k[1] == 0 && q[0] > 0 && k[0] > 0;
    good = good && q[2] > 0 && v[2] > 0;
    if (good && l->o.data)
        good = l->o.shape[0] == q[0] && l->o.shape[1] == q[1] && l->o.shape[2] == v[2];
    return good || complain("%s: the shapes of %s (%s), its k (%s) and v (%s) do not belong together", file->path,
                            l->prefix, shape_text(&l->q), shape_text(&l->k), shape_text(&l->v));
}

bool look_read_layer(struct look_file *file, const char *prefix, bool causal, struct look_layer *layer) {
    *layer = (struct look_layer){.prefix = prefix, .causal = causal};
    return get(file, prefix, 'q', &layer->q) && get(file, prefix, 'k', &layer->k) &&
           get(file, prefix, 'v', &layer->v) && get(file, prefix, 'o', &layer->o) && fits(file, layer);
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

bool look_is_word(const struct look_file *file, int64_t i) {
    const char *word = look_word(file, i);
    return isalnum((unsigned char)word[0]) || (unsigned char)word[0] >= 0x80;
}

int64_t look_find_token(const struct look_file *file, const char *text, int64_t n, int *n_more) {
    int64_t found = -1, number;
    *n_more = 0;
    for (int64_t i = 0; i < n; i++)
        if (strcmp(look_word(file, i), text) == 0) {
            *n_more += found >= 0;
            found = found >= 0 ? found : i;
        }
    if (found < 0 && parse_integer(text, 0, n - 1, &number))
        found = number;
    if (found < 0)
        complain("%s: no token '%s' among its %lld; a number from 0 to %lld names one as well", file->path, text,
                 (long long)n, (long long)n - 1);
    return found;
}

/* ---------------------------------------------------------------- weights */

/* Of the rows that begin at elements a of q and b of k. */
static double dot(const struct look_layer *l, int64_t a, int64_t b, int64_t d) {
    double sum = 0;
    for (int64_t c = 0; c < d; c++)
        sum += array_element(&l->q, a + c) * array_element(&l->k, b + c);
    return sum;
}

void look_weights(const struct look_layer *layer, int head, int64_t query, double *weights) {
    const int64_t *q = layer->q.shape, *k = layer->k.shape;
    const int64_t d = q[2], kv_head = head / (q[1] / k[1]);
    const int64_t n_seen = layer->causal ? query + (k[0] - q[0]) + 1 : k[0];
    const int64_t row = (query * q[1] + head) * d;
    double m = -HUGE_VAL, l = 0;
    for (int64_t j = 0; j < k[0]; j++) {
        weights[j] = j < n_seen ? dot(layer, row, (j * k[1] + kv_head) * d, d) / sqrt((double)d) : -HUGE_VAL;
        m = weights[j] > m ? weights[j] : m;
    }
    for (int64_t j = 0; j < k[0]; j++)
        l += weights[j] = m > -HUGE_VAL ? exp(weights[j] - m) : 0;
    for (int64_t j = 0; j < k[0] && l > 0; j++)
        weights[j] /= l;
}
