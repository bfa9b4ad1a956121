/* SPDX-License-Identifier: MIT */
/* The parts of `sa look`. */
#ifndef SA_CLI_LOOK_H
#define SA_CLI_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

#include "attention.h"
#include "safetensors.h"

struct look_model;

/* What is looked at: q, k, v tensors by prefix, [tokens, heads, d], with the words of the tokens if they have names. */
struct look_file {
    const char *path; /* of a file of tensors, or of the folder of a model */
    struct safetensors file;
    struct look_model *model; /* NULL: the tensors are those of the file */
    const char **prefixes;    /* names of the .q tensors */
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

/* text NULL: a file of tensors, otherwise the folder of a model, which reads that text. The rules are those of all
 * layers. Complains and returns false if anything is wrong; close in any case. */
bool look_open(const char *path, const char *text, bool causal, const struct attention_options *options,
               struct look_file *file);
void look_close(struct look_file *file);

/* Finds the prefix by its own name or by the number in "layerN"; complains and returns NULL if there is none. */
const char *look_prefix(const struct look_file *file, const char *layer);

/* The bytes of a prefix that are the name of its layer. */
int look_name_length(const char *prefix);

bool look_read_layer(struct look_file *file, const char *prefix, struct look_layer *layer);

/* The word of token i, or its number in a buffer that the next seven calls leave alone. */
const char *look_word(const struct look_file *file, int64_t i);

/* Does the token begin with a letter or digit ("[CLS]" and "." do not), perhaps inside of a word ("##s")? */
bool look_is_word(const struct look_file *file, int64_t i);

/* The last of n tokens that begins a word, or if none is the last that is not "[SEP]" or the like. */
int64_t look_last_word(const struct look_file *file, int64_t n);

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

/* Both for one row, which is to be freed in any case. Complains and returns false if there is no memory. */
bool look_read_row(const struct look_layer *layer, int head, int64_t query, struct look_row *row);
void look_free_row(struct look_row *row);

/* The key that moves the output most when it is left out; of those without which there is no row, the first. -1: none
 * has weight. look_heaviest(): the key with the largest weight. */
int64_t look_most_influential(const struct look_row *row);
int64_t look_heaviest(const struct look_row *row);

/* Prints the row's words with their numbers and bars, the `top` largest weights in the order of the text. */
void look_print_row(const struct look_file *file, const struct look_row *row, int64_t query, int64_t top);

/* ---------------------------------------------------------------- all heads */

/* What a head makes of one token's row. Keys are -1 where there is none. */
struct look_cell {
    const char *prefix;
    int layer, head;   /* layer: number of the prefix */
    int64_t heaviest;  /* the key with the largest weight */
    int64_t most;      /* the key without which the output moves most */
    int64_t far;       /* the word with the largest weight of those that are no neighbours */
    double weights[3]; /* of these */
    double gap;        /* how much further o moves without `most` than without `heaviest`, in lengths of o */
};

enum { LOOK_HEAVIEST, LOOK_MOST, LOOK_FAR, LOOK_NEIGHBOURS = 3 };

struct look_survey {
    struct look_cell *cells; /* [n], layer by layer */
    int n, n_heads;          /* n_heads: the most that a layer has */
    int64_t query;
    int64_t n_rows, n_other; /* rows of all tokens, and those whose largest weight is not on the key that counts most */
    bool some_only;          /* there are too many to look at each of them */
};

/* only NULL: all layers; head -1: all heads. Complains and returns false if there is none; free it in any case. */
bool look_survey(struct look_file *file, const char *only, int head, int64_t query, struct look_survey *survey);
void look_free_survey(struct look_survey *survey);

/* Heads by layers: the keys of each cell. */
void look_print_survey(const struct look_file *file, const struct look_survey *survey);

/* Prints the heads that give a word further away most weight; the first of them, or NULL if none does. */
const struct look_cell *look_print_finds(const struct look_file *file, const struct look_survey *survey);

/* Prints which heads may be worth a look. find: the first of those, or NULL. */
void look_print_hints(const struct look_file *file, const struct look_survey *survey, const struct look_cell *find);

/* ---------------------------------------------------------------- the picture */

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
