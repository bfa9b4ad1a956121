/* SPDX-License-Identifier: MIT */
#include "bert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- tensors */

/* Of float32; ends the process where there is none. */
static const float *outside(const struct bert *b, const char *name) {
    const struct safetensors_tensor *tensor = safetensors_find(b->file, name);
    struct array array;
    struct fault fault = {"there is none"};
    if (tensor && safetensors_array(b->file, tensor, &array, &fault) && array.type == SA_F32)
        return array.data;
    fprintf(stderr, "%s: %s\n", name, fault.text);
    abort();
}

static const float *of_layer(const struct bert *b, int layer, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "encoder.layer.%d.%s", layer, name);
    return outside(b, full);
}

/* to [n, out] = x [n, in] w^T + b */
static double *linear(const struct bert *b, int layer, const char *name, const double *x, int n, int in, int out) {
    char weight[96], bias[96];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    const float *w = of_layer(b, layer, weight), *c = of_layer(b, layer, bias);
    double *to = calloc((size_t)(n * out), sizeof *to);
    for (int i = 0; i < n; i++)
        for (int o = 0; o < out; o++) {
            for (int k = 0; k < in; k++)
                to[i * out + o] += x[i * in + k] * (double)w[o * in + k];
            to[i * out + o] += (double)c[o];
        }
    return to;
}

/* x = (x + more - mean) / sqrt(variance + eps) * scale + shift */
static void normalise(const struct bert *b, double *x, const double *more, int n, const float *scale,
                      const float *shift) {
    const int d = b->d_model;
    for (int i = 0; i < n; i++, x += d) {
        double mean = 0, variance = 0;
        for (int c = 0; c < d; c++)
            mean += (x[c] += more ? more[i * d + c] : 0) / d;
        for (int c = 0; c < d; c++)
            variance += (x[c] - mean) * (x[c] - mean) / d;
        for (int c = 0; c < d; c++)
            x[c] = (x[c] - mean) / sqrt(variance + b->norm_eps) * (double)scale[c] + (double)shift[c];
    }
}

static double *embed(const struct bert *b, const int32_t *ids, int n) {
    const float *words = outside(b, "embeddings.word_embeddings.weight");
    const float *positions = outside(b, "embeddings.position_embeddings.weight");
    const float *types = outside(b, "embeddings.token_type_embeddings.weight");
    const int d = b->d_model;
    double *x = calloc((size_t)(n * d), sizeof *x);
    for (int i = 0; i < n * d; i++)
        x[i] = (double)words[ids[i / d] * d + i % d] + (double)positions[i] + (double)types[i % d];
    normalise(b, x, NULL, n, outside(b, "embeddings.LayerNorm.weight"), outside(b, "embeddings.LayerNorm.bias"));
    return x;
}

/* ---------------------------------------------------------------- attention */

struct heads {
    const double *q, *k, *v; /* [n, d_model] */
    int n, d_model, d;       /* d: of a head, whose first dimension is `first` */
    int first;
};

/* o [d] and the weights of a row in which key `hidden` is not seen (-1: all are). */
static void attend(const struct heads *h, int i, int hidden, double *weights, double *o) {
    double sum = 0;
    memset(o, 0, (size_t)h->d * sizeof *o);
    for (int j = 0; j < h->n; j++) {
        double score = 0;
        for (int c = h->first; c < h->first + h->d; c++)
            score += h->q[i * h->d_model + c] * h->k[j * h->d_model + c];
        weights[j] = j == hidden ? 0 : exp(score / sqrt(h->d));
        sum += weights[j];
    }
    for (int j = 0; j < h->n; j++) {
        weights[j] /= sum;
        for (int c = 0; c < h->d; c++)
            o[c] += weights[j] * h->v[j * h->d_model + h->first + c];
    }
}

static void row(const struct heads *h, int i, double *weights, double *moves, double *o) {
    double *others = calloc((size_t)(h->n + h->d), sizeof *others), *without = others + h->n;
    attend(h, i, -1, weights, o);
    for (int j = 0; j < h->n; j++) {
        double square = 0;
        attend(h, i, j, others, without);
        for (int c = 0; c < h->d; c++)
            square += (o[c] - without[c]) * (o[c] - without[c]);
        moves[j] = sqrt(square);
    }
    free(others);
}

/* The output of all heads, [n, d_model]. */
static double *attention(const struct bert *b, int layer, const double *x, struct bert_run *run) {
    const int n = run->n, d_model = b->d_model, d = d_model / b->n_heads;
    double *q = linear(b, layer, "attention.self.query", x, n, d_model, d_model);
    double *k = linear(b, layer, "attention.self.key", x, n, d_model, d_model);
    double *v = linear(b, layer, "attention.self.value", x, n, d_model, d_model);
    double *o = calloc((size_t)(n * d_model), sizeof *o);
    for (int head = 0; head < b->n_heads; head++) {
        const struct heads h = {q, k, v, n, d_model, d, head * d};
        for (int i = 0; i < n; i++) {
            const int at = ((layer * b->n_heads + head) * n + i) * n;
            row(&h, i, run->weights + at, run->moves + at, o + i * d_model + head * d);
        }
    }
    free(q);
    free(k);
    free(v);
    return o;
}

/* ---------------------------------------------------------------- layers */

static void add_and_normalise(const struct bert *b, int layer, const char *name, double *x, double *more, int n) {
    char scale[64], shift[64];
    snprintf(scale, sizeof scale, "%s.LayerNorm.weight", name);
    snprintf(shift, sizeof shift, "%s.LayerNorm.bias", name);
    normalise(b, x, more, n, of_layer(b, layer, scale), of_layer(b, layer, shift));
    free(more);
}

static void step(const struct bert *b, int layer, double *x, struct bert_run *run) {
    const int n = run->n, d = b->d_model, inner = b->d_inner;
    double *o = attention(b, layer, x, run);
    add_and_normalise(b, layer, "attention.output", x, linear(b, layer, "attention.output.dense", o, n, d, d), n);
    double *wide = linear(b, layer, "intermediate.dense", x, n, d, inner);
    for (int i = 0; i < n * inner; i++)
        wide[i] *= 0.5 * erfc(-wide[i] / sqrt(2));
    add_and_normalise(b, layer, "output", x, linear(b, layer, "output.dense", wide, n, inner, d), n);
    free(o);
    free(wide);
}

struct bert_run bert_run(const struct bert *bert, const int32_t *ids, int n) {
    const size_t all = (size_t)(bert->n_layers * bert->n_heads * n * n);
    struct bert_run run = {n, calloc(all, sizeof(double)), calloc(all, sizeof(double))};
    double *x = embed(bert, ids, n);
    for (int layer = 0; layer < bert->n_layers; layer++)
        step(bert, layer, x, &run);
    free(x);
    return run;
}
