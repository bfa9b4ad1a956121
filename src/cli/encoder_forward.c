/* SPDX-License-Identifier: MIT */
#include "encoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* CBLAS, whose header has another name with each of its makers. */
extern void cblas_sgemm(int order, int turn_a, int turn_b, int m, int n, int k, float alpha, const float *a, int lda,
                        const float *b, int ldb, float beta, float *c, int ldc);

enum { ROW_MAJOR = 101, AS_IT_IS = 111, TURNED = 112 };

/* Rows that go through the wide inner layer at once. */
enum { BLOCK_ROWS = 512 };

/* ---------------------------------------------------------------- memory */

void encoder_release(struct encoder_scratch *scratch) {
    free(scratch->x);
    free(scratch->y);
    free(scratch->inner);
    free(scratch->sequences);
    free(scratch->tokens);
    *scratch = (struct encoder_scratch){0};
}

static float *room(int64_t rows, int64_t d) {
    enum { LINE = 64 };
    const size_t bytes = (size_t)(rows * d) * sizeof(float);
    return aligned_alloc(LINE, (bytes + LINE - 1) / LINE * LINE);
}

static bool make_room(const struct encoder_config *c, struct encoder_scratch *s, const struct encoder_batch *batch,
                      struct fault *fault) {
    const int64_t rows = batch->n_tokens, lines = batch->n_lines;
    if (rows <= s->n_rows && lines <= s->n_lines)
        return true;
    encoder_release(s);
    s->n_rows = rows;
    s->n_lines = lines;
    s->x = room(rows, c->d_model);
    s->y = room(rows, c->d_model);
    s->inner = room(rows < BLOCK_ROWS ? rows : BLOCK_ROWS, c->d_inner);
    s->sequences = calloc((size_t)lines, sizeof *s->sequences);
    s->tokens = calloc((size_t)lines, sizeof *s->tokens);
    if (s->x && s->y && s->inner && s->sequences && s->tokens)
        return true;
    encoder_release(s);
    return fault_no_memory(fault);
}

/* ---------------------------------------------------------------- embeddings */

static void sum_of(float *to, const float *a, const float *b, const float *c, int64_t d) {
    for (int64_t i = 0; i < d; i++)
        to[i] = a[i] + b[i] + c[i];
}

bool encoder_embed(const struct encoder *encoder, struct encoder_scratch *scratch, const struct encoder_batch *batch,
                   struct fault *fault) {
    const struct encoder_config *c = &encoder->config;
    const int64_t d = c->d_model;
    if (!make_room(c, scratch, batch, fault))
        return false;
    float *x = scratch->x;
    const int32_t *id = batch->ids;
    for (int64_t i = 0; i < batch->n_lines; i++)
        for (int64_t t = 0; t < batch->lengths[i]; t++, x += d)
            sum_of(x, encoder->words + *id++ * d, encoder->types, encoder->positions + t * d, d);
    rows_normalise(scratch->x, NULL, NULL, batch->n_tokens, d, &encoder->norm, c->norm_eps);
    return true;
}

/* ---------------------------------------------------------------- a layer */

/* y = attention(x), all lines in one call. */
static bool attend(const struct encoder *e, const struct encoder_layer *l, sa_engine *engine, struct encoder_scratch *s,
                   const struct encoder_batch *batch, struct fault *fault) {
    const int64_t d = e->config.d_model;
    int64_t at = 0;
    for (int64_t i = 0; i < batch->n_lines; at += batch->lengths[i++] * d) {
        s->sequences[i] = (sa_sequence){.n_q = batch->lengths[i]};
        s->tokens[i] = (sa_layer_tokens){.x = s->x + at, .y = s->y + at};
    }
    const sa_batch attention = {SA_BATCH_HEAD, .n_sequences = batch->n_lines, .sequences = s->sequences};
    const sa_layer_batch whole = {SA_LAYER_BATCH_HEAD, .attention = &attention, .tokens = s->tokens,
                                  .flags = SA_LAYER_PACK};
    return sa_layer_forward(engine, l->attention, &whole) == SA_OK || fault_set(fault, "%s", sa_last_reason());
}

/* to [rows, out] = from [rows, in] w^T */
static void product(int64_t rows, int64_t out, int64_t in, const float *from, const float *w, float *to) {
    cblas_sgemm(ROW_MAJOR, AS_IT_IS, TURNED, (int)rows, (int)out, (int)in, 1, from, (int)in, w, (int)in, 0, to,
                (int)out);
}

void encoder_project(const struct encoder *encoder, const struct encoder_layer *layer, const float *x, int64_t n,
                     float *const qkv[3]) {
    const int64_t d = encoder->config.d_model;
    for (int t = 0; t < 3; t++) {
        product(n, d, d, x, layer->w_qkv[t], qkv[t]);
        for (int64_t i = 0; i < n * d; i++)
            qkv[t][i] += layer->b_qkv[t][i % d];
    }
}

/* y = gelu(x w_up + b_up) w_down, so many rows at a time that what lies between stays in the cache. */
static void feed_forward(const struct encoder_config *c, const struct encoder_layer *l, struct encoder_scratch *s,
                         int64_t n_rows) {
    const int64_t d = c->d_model, inner = c->d_inner;
    for (int64_t row = 0; row < n_rows; row += BLOCK_ROWS) {
        const int64_t n = n_rows - row < BLOCK_ROWS ? n_rows - row : BLOCK_ROWS;
        product(n, inner, d, s->x + row * d, l->w_up, s->inner);
        rows_gelu(s->inner, l->b_up, n, inner);
        product(n, d, inner, s->inner, l->w_down, s->y + row * d);
    }
}

bool encoder_step(const struct encoder *encoder, const struct encoder_layer *layer, sa_engine *engine,
                  struct encoder_scratch *scratch, const struct encoder_batch *batch, struct fault *fault) {
    const struct encoder_config *c = &encoder->config;
    if (!attend(encoder, layer, engine, scratch, batch, fault))
        return false;
    rows_normalise(scratch->x, scratch->y, NULL, batch->n_tokens, c->d_model, &layer->attention_norm, c->norm_eps);
    feed_forward(c, layer, scratch, batch->n_tokens);
    rows_normalise(scratch->x, scratch->y, layer->b_down, batch->n_tokens, c->d_model, &layer->output_norm,
                   c->norm_eps);
    return true;
}

/* ---------------------------------------------------------------- a vector a line */

/* to: unit vector in the direction of the mean of the rows. */
static void pool(const float *rows, int64_t n, int64_t d, float *to) {
    double square = 0;
    memset(to, 0, (size_t)d * sizeof *to);
    for (int64_t t = 0; t < n; t++)
        for (int64_t c = 0; c < d; c++)
            to[c] += rows[t * d + c];
    for (int64_t c = 0; c < d; c++)
        square += (double)to[c] * (double)to[c];
    const float factor = square > 0 ? (float)(1 / sqrt(square)) : 0;
    for (int64_t c = 0; c < d; c++)
        to[c] *= factor;
}

void encoder_pool(const struct encoder *encoder, const struct encoder_scratch *scratch,
                  const struct encoder_batch *batch, float *vectors) {
    const int64_t d = encoder->config.d_model;
    const float *x = scratch->x;
    for (int64_t i = 0; i < batch->n_lines; x += batch->lengths[i++] * d)
        pool(x, batch->lengths[i], d, vectors + i * d);
}

bool encoder_forward(const struct encoder *encoder, sa_engine *engine, struct encoder_scratch *scratch,
                     const struct encoder_batch *batch, float *vectors, struct fault *fault) {
    bool good = encoder_embed(encoder, scratch, batch, fault);
    for (int64_t i = 0; good && i < encoder->config.n_layers; i++)
        good = encoder_step(encoder, &encoder->layers[i], engine, scratch, batch, fault);
    if (good)
        encoder_pool(encoder, scratch, batch, vectors);
    return good;
}
