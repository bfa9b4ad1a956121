/* SPDX-License-Identifier: MIT */
/*
 * A BERT-style sentence encoder from a Hugging Face folder (config.json, model.safetensors, vocab.txt): word pieces in,
 * one unit vector a line out. The attention is libsa_layer's, the other products are CBLAS's.
 */
#ifndef SA_CLI_ENCODER_H
#define SA_CLI_ENCODER_H

#include <sa/layer.h>

#include "safetensors.h"
#include "tokenizer.h"

/* What config.json says, and two numbers from the files beside it. */
struct encoder_config {
    const char *folder;
    int64_t n_words, n_positions, n_types; /* vectors of the three tables */
    int64_t d_model, d_inner, n_layers, n_heads;
    int64_t most_tokens; /* of a line; n_positions, or fewer by sentence_bert_config.json */
    float norm_eps;
    bool lower; /* tokenizer_config.json; true if there is no such file */
};

struct encoder_norm {
    const float *scale, *shift;
};

struct encoder_layer {
    sa_layer *attention;
    const float *w_qkv[3], *b_qkv[3]; /* of q, k and v, as the attention uses them: [d_model, d_model] and [d_model] */
    struct encoder_norm attention_norm, output_norm;
    const float *w_up, *b_up, *w_down, *b_down; /* [d_inner, d_model] and [d_model, d_inner] */
};

struct encoder {
    struct encoder_config config;
    char *vocab_path, *model_path;
    struct tokenizer tokenizer;
    struct safetensors file;
    const char *prefix; /* of the names of tensors: "" or "bert." */
    float **copies;     /* of tensors that are not float32 */
    int64_t n_copies;
    const float *words, *positions, *types;
    struct encoder_norm norm;
    struct encoder_layer *layers;
};

/* Reads a folder and checks all that is in it. False leaves nothing behind. */
bool encoder_open(struct encoder *encoder, const char *folder, struct fault *fault);
void encoder_close(struct encoder *encoder);

bool encoder_read_config(struct encoder_config *config, const char *folder, struct fault *fault);
bool encoder_read_weights(struct encoder *encoder, struct fault *fault);

/* "FOLDER/NAME", to be freed; NULL with the reason if there is no memory. */
char *encoder_path(const char *folder, const char *name, struct fault *fault);

/* ---------------------------------------------------------------- computing */

/* Word pieces of some lines, one line after the other. */
struct encoder_batch {
    int64_t n_lines, n_tokens;
    const int64_t *lengths; /* [n_lines], each 1 or more */
    const int32_t *ids;     /* [n_tokens] */
};

/* What a thread works in; zeroed at first, freed by encoder_release(). */
struct encoder_scratch {
    float *x, *y, *inner; /* [rows, d_model] twice, [rows of a block, d_inner] */
    sa_sequence *sequences;
    sa_layer_tokens *tokens;
    int64_t n_rows, n_lines; /* room */
};

/* x: the hidden state before the first layer. */
bool encoder_embed(const struct encoder *encoder, struct encoder_scratch *scratch, const struct encoder_batch *batch,
                   struct fault *fault);

/* x of the next layer from x. */
bool encoder_step(const struct encoder *encoder, const struct encoder_layer *layer, sa_engine *engine,
                  struct encoder_scratch *scratch, const struct encoder_batch *batch, struct fault *fault);

/* q, k and v [n, d_model] that the layer's attention makes of x [n, d_model] and keeps to itself: of each token all
 * heads, one after the other. */
void encoder_project(const struct encoder *encoder, const struct encoder_layer *layer, const float *x, int64_t n,
                     float *const qkv[3]);

/* vectors [n_lines, d_model] of length 1: the means of each line's x. */
void encoder_pool(const struct encoder *encoder, const struct encoder_scratch *scratch,
                  const struct encoder_batch *batch, float *vectors);

/* All of it. Any number of threads may do so at once, each with its own scratch. */
bool encoder_forward(const struct encoder *encoder, sa_engine *engine, struct encoder_scratch *scratch,
                     const struct encoder_batch *batch, float *vectors, struct fault *fault);

void encoder_release(struct encoder_scratch *scratch);

/* ---------------------------------------------------------------- rows */

/* row = (row + more + bias - mean) / sqrt(variance + eps) * scale + shift; more and bias may be NULL. */
void rows_normalise(float *rows, const float *more, const float *bias, int64_t n, int64_t d,
                    const struct encoder_norm *norm, float eps);

/* x = gelu(x + bias) with the exact Phi: x Phi(x), off by less than 1e-6 |x| + 1e-12. */
void rows_gelu(float *rows, const float *bias, int64_t n, int64_t d);

#endif
