/* SPDX-License-Identifier: MIT */
#include "layer_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_dice.h"
#include "elements.h"
#include "layer_blas.h"

/* ---------------------------------------------------------------- elements */

/* n of them, normal with that standard deviation; also as floats, if they are of another type. */
static bool draw(int type, int64_t n, double deviation, struct bench_dice *dice, char **elements, float **floats) {
    const int bytes = element_bytes(type);
    *elements = bench_new_bytes((size_t)(n * bytes));
    *floats = type == SA_F32 ? (float *)(void *)*elements : (float *)(void *)bench_new_bytes((size_t)n * sizeof(float));
    for (int64_t i = 0; *elements && *floats && i < n; i++) {
        const float x = (float)(deviation * (double)bench_roll_normal(dice));
        if (type != SA_F32)
            element_store(type, (double)x, *elements + i * bytes);
        (*floats)[i] = type == SA_F32 ? x : (float)element_value(type, *elements + i * bytes);
    }
    return *elements && *floats;
}

static void forget(char *elements, float *floats) {
    if ((void *)floats != (void *)elements)
        free(floats);
    free(elements);
}

/* Outputs as large as inputs. */
static bool draw_matrix(struct layer_matrix *m, int n_out, int n_in, int type, struct bench_dice *dice) {
    m->n_in = n_in;
    m->n_out = n_out;
    return draw(type, (int64_t)n_out * n_in, 1 / sqrt(n_in), dice, &m->given, &m->floats);
}

static float *new_floats(int64_t n, struct bench_dice *dice) {
    char *elements;
    float *floats;
    return draw(SA_F32, n, 1, dice, &elements, &floats) ? floats : NULL;
}

static bool draw_all(struct layer_case *c) {
    const struct layer_shape *shape = c->shape;
    const int heads_d = shape->attention.heads * shape->attention.d_v, d = shape->d_model;
    struct bench_dice dice = {5};
    const size_t y_bytes = (size_t)(c->n_tokens * d * element_bytes(shape->y_type));
    c->y = bench_new_bytes(y_bytes);
    return c->y && draw_matrix(&c->w_in, c->n_q + c->n_k + c->n_v, d, shape->weight_type, &dice) &&
           draw_matrix(&c->w_out, d, heads_d, shape->weight_type, &dice) &&
           draw(shape->x_type, c->n_tokens * d, 1, &dice, &c->x, &c->x_floats) &&
           (c->made = new_floats(c->n_tokens * c->w_in.n_out, &dice)) != NULL &&
           (c->heads = new_floats(c->n_tokens * heads_d, &dice)) != NULL &&
           (c->result = new_floats(c->n_tokens * d, &dice)) != NULL;
}

/* ---------------------------------------------------------------- the layer */

static bool open_layer(struct layer_case *c) {
    const struct layer_shape *shape = c->shape;
    const bool stay = shape->weight_type == SA_F32 || shape->referenced;
    c->rope = (sa_rope){.struct_size = sizeof c->rope};
    const sa_layer_options options = {.struct_size = sizeof options,
                                      .d_model = shape->d_model,
                                      .n_query_heads = shape->attention.heads,
                                      .n_kv_heads = shape->attention.kv_heads,
                                      .d_qk = shape->attention.d_qk,
                                      .d_v = shape->attention.d_v,
                                      .weight_type = shape->weight_type,
                                      .flags = stay ? SA_LAYER_REFERENCE : 0,
                                      .w_qkv = {.data = c->w_in.given},
                                      .w_o = {.data = c->w_out.given},
                                      .rope = shape->rope ? &c->rope : NULL};
    const double n_weights = (double)shape->d_model * c->w_in.n_out + (double)shape->d_model * c->w_out.n_in;
    c->weight_bytes = n_weights * (stay ? element_bytes(shape->weight_type) : (int)sizeof(float));
    c->product_flops = 2 * n_weights * (double)c->n_tokens;
    if (sa_layer_create(&options, &c->layer) == SA_OK)
        return true;
    fprintf(stderr, "layer: %s: %s\n", shape->attention.name, sa_last_reason());
    return false;
}

/* What is handed on: the sequences of the attention alone without what is the layer's. */
static void place_sequences(struct layer_case *c) {
    const struct layer_shape *shape = c->shape;
    int64_t first = 0;
    for (int64_t i = 0; i < shape->attention.n_seqs; first += c->seqs[i++].n_q) {
        sa_sequence *s = &c->seqs[i];
        *s = c->attention.seqs[i];
        s->q = (sa_tensor){0};
        s->o = (sa_output){0};
        if (!shape->cached)
            s->k = s->v = (sa_tensor){0};
        c->tokens[i].x = c->x + first * shape->d_model * element_bytes(shape->x_type);
        c->tokens[i].y = c->y + first * shape->d_model * element_bytes(shape->y_type);
    }
    c->inner = c->attention.batch;
    c->inner.sequences = c->seqs;
    if (!shape->cached)
        c->inner.k_type = c->inner.v_type = 0;
    c->batch = (sa_layer_batch){SA_LAYER_BATCH_HEAD, .attention = &c->inner, .tokens = c->tokens};
    c->batch.x_type = shape->x_type;
    c->batch.y_type = shape->y_type;
    c->batch.flags = shape->pack ? SA_LAYER_PACK : 0;
}

bool layer_case_open(struct layer_case *c, const struct layer_shape *shape) {
    const struct bench_shape *a = &shape->attention;
    struct bench_extent at = {0};
    *c = (struct layer_case){.shape = shape};
    for (int64_t i = 0; i < a->n_seqs; i++)
        c->n_tokens += a->seqs[i].n_q;
    c->n_q = a->heads * a->d_qk;
    c->n_k = a->kv_heads * a->d_qk;
    c->n_v = a->kv_heads * a->d_v;
    c->seqs = calloc((size_t)a->n_seqs, sizeof *c->seqs);
    c->tokens = calloc((size_t)a->n_seqs, sizeof *c->tokens);
    if (!c->seqs || !c->tokens || !bench_arena_open(&c->arena, bench_shape_extent(a)) ||
        !bench_case_open(&c->attention, a, &c->arena, &at, 1) || !draw_all(c))
        return perror("layer"), false;
    if (!open_layer(c))
        return false;
    place_sequences(c);
    return true;
}

void layer_case_close(struct layer_case *c) {
    sa_layer_destroy(c->layer);
    forget(c->w_in.given, c->w_in.floats);
    forget(c->w_out.given, c->w_out.floats);
    forget(c->x, c->x_floats);
    free(c->y);
    free(c->made);
    free(c->heads);
    free(c->result);
    free(c->seqs);
    free(c->tokens);
    bench_case_close(&c->attention);
    bench_arena_close(&c->arena);
    *c = (struct layer_case){0};
}

/* ---------------------------------------------------------------- the products alone */

/* Outputs first .. first + n - 1 of w_in, packed. */
static void multiply_part(const struct layer_case *c, int first, int n) {
    const int d = c->w_in.n_in;
    layer_blas_multiply(c->n_tokens, n, d, c->x_floats, c->w_in.floats + (int64_t)first * d,
                        c->made + c->n_tokens * first);
}

void layer_case_multiply(const struct layer_case *c, enum layer_products how) {
    const struct layer_matrix *in = &c->w_in, *out = &c->w_out;
    if (how == LAYER_VECTOR) {
        layer_blas_multiply_row(in->n_out, in->n_in, c->x_floats, in->floats, c->made);
        layer_blas_multiply_row(out->n_out, out->n_in, c->heads, out->floats, c->result);
        return;
    }
    if (how == LAYER_SEPARATE) {
        multiply_part(c, 0, c->n_q);
        multiply_part(c, c->n_q, c->n_k);
        multiply_part(c, c->n_q + c->n_k, c->n_v);
    } else {
        multiply_part(c, 0, in->n_out);
    }
    layer_blas_multiply(c->n_tokens, out->n_out, out->n_in, c->heads, out->floats, c->result);
}
