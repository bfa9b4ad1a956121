/* SPDX-License-Identifier: MIT */
#include "layer_model.h"

#include <math.h>
#include <stdlib.h>

#include "elements.h"
#include "turn_reference.h"

#define U 0x1p-24

/* ---------------------------------------------------------------- drawing */

static void *memory_of(struct layer_model *model, size_t bytes) {
    void *memory = calloc(1, bytes ? bytes : 1);
    must(memory && model->n_memories < LAYER_MEMORIES, "no memory");
    return model->memories[model->n_memories++] = memory;
}

void layer_free(struct layer_model *model) {
    for (int i = 0; i < model->n_memories; i++)
        free(model->memories[i]);
}

void *layer_draw_elements(struct layer_model *model, int type, int64_t n, double size, double **values) {
    char *elements = memory_of(model, (size_t)n * (size_t)element_bytes(type));
    double *exact = values ? memory_of(model, (size_t)n * sizeof **values) : NULL;
    for (int64_t i = 0; i < n; i++) {
        char *at = elements + i * element_bytes(type);
        element_store(type, (double)(float)((double)roll_unit(&model->dice) * size), at);
        if (exact)
            exact[i] = element_value(type, at);
    }
    if (values)
        *values = exact;
    return elements;
}

static struct layer_weights draw_weights(struct layer_model *model, int n_out, int n_in, bool biased) {
    struct layer_weights w = {n_out, n_in, memory_of(model, (size_t)n_out * (size_t)n_in * sizeof(double)), NULL};
    const double size = sqrt(3.0 / n_in);
    for (int64_t i = 0; i < (int64_t)n_out * n_in; i++) {
        char at[4];
        element_store(model->options.weight_type, (double)(float)((double)roll_unit(&model->dice) * size), at);
        w.w[i] = element_value(model->options.weight_type, at);
    }
    if (biased)
        layer_draw_elements(model, model->options.vector_type, n_out, 1, &w.b);
    return w;
}

/* Stores outputs from first_out on of a matrix that has more of them. */
static void store(const struct layer_model *model, const struct layer_weights *w, int first_out, char *to,
                  int64_t stride) {
    const int type = model->options.weight_type;
    for (int o = 0; o < w->n_out; o++)
        for (int i = 0; i < w->n_in; i++) {
            const int64_t at =
                model->options.flags & SA_LAYER_IN_OUT ? i * stride + first_out + o : (first_out + o) * stride + i;
            element_store(type, w->w[(int64_t)o * w->n_in + i], to + at * element_bytes(type));
        }
}

static sa_matrix new_matrix(struct layer_model *model, int n_out, int n_in, char **to) {
    const bool in_out = model->options.flags & SA_LAYER_IN_OUT;
    const int gap = roll_one_in(&model->dice, 2) ? 3 : 0;
    const int64_t stride = (in_out ? n_out : n_in) + gap, n_rows = in_out ? n_in : n_out;
    *to = memory_of(model, (size_t)(stride * n_rows) * (size_t)element_bytes(model->options.weight_type));
    return (sa_matrix){*to, gap ? stride : 0};
}

static int64_t stride_of(const struct layer_model *model, const sa_matrix *m, int n_out, int n_in) {
    return m->stride ? m->stride : model->options.flags & SA_LAYER_IN_OUT ? n_out : n_in;
}

static sa_matrix stored(struct layer_model *model, const struct layer_weights *w) {
    char *to;
    sa_matrix m = new_matrix(model, w->n_out, w->n_in, &to);
    store(model, w, 0, to, stride_of(model, &m, w->n_out, w->n_in));
    return m;
}

static void *stored_vector(struct layer_model *model, const struct layer_weights *w, int n) {
    const int type = model->options.vector_type, bytes = element_bytes(type);
    int total = 0;
    if (!w->b)
        return NULL;
    char *to = memory_of(model, (size_t)(w[0].n_out + (n > 1 ? w[1].n_out + w[2].n_out : 0)) * (size_t)bytes);
    for (int i = 0; i < n; i++)
        for (int o = 0; o < w[i].n_out; o++)
            element_store(type, w[i].b[o], to + (total++) * bytes);
    return to;
}

static void store_packed(struct layer_model *model) {
    const struct layer_weights all[3] = {model->q, model->k, model->v};
    const int n_out = all[0].n_out + all[1].n_out + all[2].n_out;
    char *to;
    sa_matrix m = new_matrix(model, n_out, model->d_model, &to);
    for (int i = 0, first = 0; i < 3; first += all[i++].n_out)
        store(model, &all[i], first, to, stride_of(model, &m, n_out, model->d_model));
    model->options.w_qkv = m;
    model->options.b_qkv = stored_vector(model, all, 3);
}

static void store_separate(struct layer_model *model) {
    model->options.w_q = stored(model, &model->q);
    model->options.w_k = stored(model, &model->k);
    model->options.w_v = stored(model, &model->v);
    model->options.b_q = stored_vector(model, &model->q, 1);
    model->options.b_k = stored_vector(model, &model->k, 1);
    model->options.b_v = stored_vector(model, &model->v, 1);
}

static void draw_norms_and_turns(struct layer_model *model) {
    struct dice *dice = &model->dice;
    sa_layer_options *o = &model->options;
    if (roll_one_in(dice, 2))
        o->q_norm = layer_draw_elements(model, o->vector_type, model->d_qk, 2, &model->q_norm);
    if (roll_one_in(dice, 2))
        o->k_norm = layer_draw_elements(model, o->vector_type, model->d_qk, 2, &model->k_norm);
    o->norm_eps = roll_one_in(dice, 2) ? 0 : 0x1p-10f;
    model->eps = o->norm_eps == 0 ? (double)1e-6f : (double)o->norm_eps;
    model->turns = model->d_qk >= 2 && roll_one_in(dice, 2);
    model->rope = (sa_rope){.struct_size = sizeof model->rope,
                            .d_rotary = 2 * (int32_t)roll_between(dice, 1, model->d_qk / 2 + (model->d_qk < 2)),
                            .layout = (int32_t)roll_between(dice, 0, 1)};
    if (model->turns)
        o->rope = &model->rope;
}

void layer_draw(struct layer_model *model, bool packed) {
    struct dice *dice = &model->dice;
    const int n_q = model->n_query_heads * model->d_qk, n_k = model->n_kv_heads * model->d_qk;
    const int n_v = model->n_kv_heads * model->d_v;
    sa_layer_options *o = &model->options;
    *o = (sa_layer_options){.struct_size = sizeof *o,
                            .d_model = model->d_model,
                            .d_memory = model->d_memory,
                            .d_out = model->d_out,
                            .n_query_heads = model->n_query_heads,
                            .n_kv_heads = model->n_kv_heads,
                            .d_qk = model->d_qk,
                            .d_v = model->d_v,
                            .weight_type = (int32_t)roll_between(dice, SA_F32, SA_F16),
                            .vector_type = (int32_t)roll_between(dice, SA_F32, SA_F16),
                            .flags = (uint32_t)roll_between(dice, 0, 3)};
    const bool biased = roll_one_in(dice, 2);
    model->q = draw_weights(model, n_q, model->d_model, biased);
    model->k = draw_weights(model, n_k, model->d_memory, biased);
    model->v = draw_weights(model, n_v, model->d_memory, biased);
    if (packed && model->d_memory == model->d_model)
        store_packed(model);
    else
        store_separate(model);
    if (model->d_out != model->n_query_heads * model->d_v || !roll_one_in(dice, 3)) {
        model->o = draw_weights(model, model->d_out, model->n_query_heads * model->d_v, biased);
        o->w_o = stored(model, &model->o);
        o->b_o = stored_vector(model, &model->o, 1);
    }
    draw_norms_and_turns(model);
}

/* ---------------------------------------------------------------- the layer */

/* Numbers and how far off they may be. */
struct numbers {
    double *at, *error;
};

static struct numbers new_numbers(int64_t n) {
    struct numbers x = {calloc((size_t)n + 1, sizeof(double)), calloc((size_t)n + 1, sizeof(double))};
    must(x.at && x.error, "no memory");
    return x;
}

static void free_numbers(struct numbers *x) {
    free(x->at);
    free(x->error);
}

/* n rows times weights: a chain over n_in in any order. */
static void multiply(const struct layer_weights *w, struct numbers x, int64_t n, struct numbers y) {
    for (int64_t r = 0; r < n; r++)
        for (int o = 0; o < w->n_out; o++) {
            double sum = w->b ? w->b[o] : 0, size = fabs(sum), carried = 0;
            for (int i = 0; i < w->n_in; i++) {
                const double product = w->w[(int64_t)o * w->n_in + i] * x.at[r * w->n_in + i];
                sum += product;
                size += fabs(product);
                carried += fabs(w->w[(int64_t)o * w->n_in + i]) * x.error[r * w->n_in + i];
            }
            y.at[r * w->n_out + o] = sum;
            y.error[r * w->n_out + o] = carried + (w->n_in + 2) * U * size + 0x1p-140;
        }
}

static void normalise(const double *norm, double eps, int d, double *x, double *error) {
    double squares = 0, moved = 0;
    for (int c = 0; c < d; c++) {
        squares += x[c] * x[c];
        moved += fabs(x[c]) * error[c];
    }
    const double factor = 1 / sqrt(squares / d + eps), relative = moved / (squares + d * eps) + 4 * U;
    for (int c = 0; c < d; c++) {
        error[c] = fabs(norm[c]) * factor * (error[c] + fabs(x[c]) * relative);
        x[c] *= factor * norm[c];
    }
}

static void finish(const struct layer_model *m, const double *norm, int n_heads, int64_t n, const int64_t *positions,
                   struct numbers x) {
    for (int64_t r = 0; r < n * n_heads; r++) {
        double *head = x.at + r * m->d_qk, *error = x.error + r * m->d_qk;
        if (norm)
            normalise(norm, m->eps, m->d_qk, head, error);
        if (m->turns)
            turn_reference(&m->rope, m->d_qk, positions[r / n_heads], head, error);
    }
}

struct row {
    const double *q, *q_error;
    double *o, *error;
    int64_t n_keys, n_k;
    int kv_head;
};

/* The engine's own bound (see bound.h) and what q, k and v carry into it. */
static void attend(const struct layer_model *m, const struct row *r, struct numbers k, struct numbers v) {
    const double scale = 1 / sqrt(m->d_qk);
    double *s = calloc((size_t)r->n_keys + 1, sizeof *s), *t = calloc((size_t)r->n_keys + 1, sizeof *t);
    double most = -(double)INFINITY, l = 0, p_t = 0;
    must(s && t, "no memory");
    for (int64_t j = 0; j < r->n_keys; j++) {
        const int64_t at = (j * m->n_kv_heads + r->kv_head) * m->d_qk;
        double z = 0;
        for (int c = 0; c < m->d_qk; c++) {
            s[j] += scale * r->q[c] * k.at[at + c];
            z += scale * fabs(r->q[c] * k.at[at + c]);
            t[j] += scale * (r->q_error[c] * fabs(k.at[at + c]) + fabs(r->q[c]) * k.error[at + c]);
        }
        t[j] += (m->d_qk + 4) * U * z;
        most = fmax(most, s[j]);
    }
    for (int64_t j = 0; j < r->n_keys; j++) {
        t[j] += U * (fabs(s[j] - most) + 6);
        s[j] = exp(s[j] - most);
        l += s[j];
    }
    for (int64_t j = 0; j < r->n_keys; j++)
        p_t += s[j] / l * t[j];
    for (int c = 0; c < m->d_v; c++) {
        double sum = 0, size = 0, moved = 0;
        for (int64_t j = 0; j < r->n_keys; j++) {
            const int64_t at = (j * m->n_kv_heads + r->kv_head) * m->d_v + c;
            sum += s[j] / l * v.at[at];
            size += s[j] / l * fabs(v.at[at]);
            moved += s[j] / l * (t[j] * fabs(v.at[at]) + v.error[at]);
        }
        r->o[c] = sum;
        r->error[c] = moved + p_t * fabs(sum) + (double)((r->n_k < 256 ? r->n_k : 256) + 96) * U * size + 0x1p-120;
    }
    free(s);
    free(t);
}

void layer_reference(const struct layer_model *m, const struct layer_sequence *s, double *y, double *bound) {
    const int hq = m->n_query_heads, hk = m->n_kv_heads;
    const struct numbers zeros = new_numbers((s->n_q > s->n_k ? s->n_q : s->n_k) * (m->d_model + m->d_memory));
    struct numbers q = new_numbers(s->n_q * hq * m->d_qk), k = new_numbers(s->n_k * hk * m->d_qk),
                   v = new_numbers(s->n_k * hk * m->d_v), o = new_numbers(s->n_q * hq * m->d_v);
    union {
        const double *given;
        double *read_only;
    } x = {.given = s->x}, memory = {.given = s->memory};
    multiply(&m->q, (struct numbers){x.read_only, zeros.error}, s->n_q, q);
    multiply(&m->k, (struct numbers){memory.read_only, zeros.error}, s->n_k, k);
    multiply(&m->v, (struct numbers){memory.read_only, zeros.error}, s->n_k, v);
    finish(m, m->q_norm, hq, s->n_q, s->q_positions, q);
    finish(m, m->k_norm, hk, s->n_k, s->k_positions, k);
    for (int64_t i = 0; i < s->n_q * hq; i++) {
        const int64_t token = i / hq, n = s->causal ? s->n_k - s->n_q + token + 1 : s->n_k;
        const struct row row = {
            q.at + i * m->d_qk,       q.error + i * m->d_qk, o.at + i * m->d_v, o.error + i * m->d_v, n, s->n_k,
            (int)(i % hq) / (hq / hk)};
        if (n > 0)
            attend(m, &row, k, v);
    }
    if (m->o.w)
        multiply(&m->o, o, s->n_q, (struct numbers){y, bound});
    for (int64_t i = 0; i < s->n_q * m->d_out; i++) {
        y[i] = m->o.w ? y[i] : o.at[i];
        bound[i] = 1.05 * (m->o.w ? bound[i] : o.error[i]); /* of second order is less */
    }
    struct numbers all[] = {zeros, q, k, v, o};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free_numbers(&all[i]);
}
