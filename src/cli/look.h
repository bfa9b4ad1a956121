/* SPDX-License-Identifier: MIT */
/* The parts of `sa look`. */
#ifndef SA_CLI_LOOK_H
#define SA_CLI_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

#include "attention.h"
#include "safetensors.h"

/* A file of q, k, v tensors by prefix, [tokens, heads, d], with the words of its tokens if it names them. */
struct look_file {
    const char *path;
    struct safetensors file;
    const char **prefixes; /* names of the .q tensors */
    int n_prefixes;
    json_t *words; /* array of strings, or NULL */
    bool causal;
    struct attention attention;
};

/* One prefix of it. */
struct look_layer {
    const char *prefix;
    struct array q, k, v, o; /* o.data NULL: the file has no expected output */
    sa_batch batch;          /* of this one sequence, without outputs */
    sa_sequence seq;
};

/* The rules are those of all layers. */
bool look_open(const char *path, bool causal, const struct attention_options *options, struct look_file *file);
void look_close(struct look_file *file);

/* Finds the prefix by its own name or by the number in "layerN"; complains and returns NULL if there is none. */
const char *look_prefix(const struct look_file *file, const char *layer);

bool look_read_layer(struct look_file *file, const char *prefix, struct look_layer *layer);

/* The word of token i, or its number in a buffer that the next seven calls leave alone. */
const char *look_word(const struct look_file *file, int64_t i);

/* Does the token hold a letter or digit and stand for itself ("[CLS]" does not)? */
bool look_is_word(const struct look_file *file, int64_t i);

/* The token whose word or number `text` is; complains and returns -1 if there is none among n. *n_more: further tokens
 * with the same word. */
int64_t look_find_token(const struct look_file *file, const char *text, int64_t n, int *n_more);

/* Weights of one row in double precision: weights[0 .. tokens of k - 1]. Only this row is computed. *sink, unless NULL:
 * the weight that a learnable sink takes. Complains and returns false if there is no memory. */
bool look_weights(const struct look_layer *layer, int head, int64_t query, double *weights, double *sink);

/* What each key does for one row. */
struct look_row {
    int64_t n;
    double *weights; /* [n]: a_j */
    double *lengths; /* [n]: |a_j v_j| */
    double *moves;   /* [n]: |o - o without key j|, or LOOK_NO_ROW where nothing else has weight */
    double sink;     /* the weight that a learnable sink takes */
    double length;   /* |o| */
};

#define LOOK_NO_ROW (-1.0)

/* Fills in lengths, moves and length from weights and sink and the values of a kv head; v: tokens, heads, d. False: no
 * memory. */
bool look_influence(const struct array *v, int64_t kv_head, struct look_row *row);

/* The key that moves the output most when it is left out; of those without which there is no row, the first. -1: none
 * has weight. look_heaviest(): the key with the largest weight. */
int64_t look_most_influential(const struct look_row *row);
int64_t look_heaviest(const struct look_row *row);

/* Prints the row's words with their numbers and bars, the `top` largest weights in the order of the text. */
void look_print_row(const struct look_file *file, const struct look_row *row, int64_t query, int64_t top);

/* A picture of the weights of queries and keys begin .. end - 1. weights[(i - begin) * n + j]. */
struct heatmap {
    const char *title;
    const struct look_file *file;
    const double *weights;
    int64_t begin, end, n, query; /* query: the row to be marked */
};

bool heatmap_write_png(const struct heatmap *map, const char *path);
bool heatmap_write_svg(const struct heatmap *map, const char *path);

#endif
