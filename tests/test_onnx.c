/* SPDX-License-Identifier: MIT */
/* The conventions of ONNX's operator Attention through the adapter: small cases known by heart, then shapes of every
 * kind against the operator's formula in float64, which is written out here. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bound.h"
#include "engines.h"
#include "onnx_attention.h"

/* ---------------------------------------------------------------- known by heart */

/* One head, d = 1, q = 0: every key that is seen weighs the same, and y is the mean of the values 1, 2, 4, 8, ... */
struct small {
    const char *what;
    int64_t n_q, n_k, past, nonpad; /* n_k: the past included; nonpad 0: none */
    int causal;
    int64_t left, right;
    const char *mask; /* NULL, or a character for each key: x is seen */
    float y[3];
};

static const struct small smalls[] = {
    {"everything", 2, 3, 0, 0, 0, -1, -1, NULL, {7 / 3.0f, 7 / 3.0f}},
    {"causal without a cache: top left", 2, 3, 0, 0, 1, -1, -1, NULL, {1, 1.5f}},
    {"causal with a past: after it", 2, 3, 1, 0, 1, -1, -1, NULL, {1.5f, 7 / 3.0f}},
    {"causal with padding: the last query at the last key", 2, 5, 0, 4, 1, -1, -1, NULL, {7 / 3.0f, 15 / 4.0f}},
    {"padding", 1, 4, 0, 2, 0, -1, -1, NULL, {1.5f}},
    {"more queries than keys that count: rows of nothing", 3, 4, 0, 2, 1, -1, -1, NULL, {0, 1, 1.5f}},
    {"left window of 1: two keys", 3, 3, 0, 0, 1, 1, -1, NULL, {1, 1.5f, 3}},
    {"right window of 0", 2, 3, 0, 0, 0, -1, 0, NULL, {1, 1.5f}},
    {"right window of 1, causal all the same", 2, 3, 0, 0, 1, -1, 1, NULL, {1, 1.5f}},
    {"window on both sides after a past", 2, 4, 2, 0, 0, 1, 1, NULL, {14 / 3.0f, 6}},
    {"window with padding", 1, 5, 0, 4, 0, 1, 0, NULL, {6}},
    {"true is seen", 1, 4, 0, 0, 0, -1, -1, "x.x.", {2.5f}},
    {"a short mask hides the rest", 1, 4, 0, 0, 0, -1, -1, "xx", {1.5f}},
    {"mask and causality", 3, 3, 0, 0, 1, -1, -1, "x.x", {1, 1, 2.5f}},
};

static struct onnx_tensor tensor4(void *data, int64_t heads, int64_t tokens, int64_t d) {
    return (struct onnx_tensor){data, SA_F32, 4, {1, heads, tokens, d}};
}

static void set_mask(const char *text, int as_bool, char *mask, float *bias, struct onnx_tensor *to) {
    const int64_t n = (int64_t)strlen(text);
    for (int64_t j = 0; j < n; j++) {
        mask[j] = text[j] == 'x';
        bias[j] = text[j] == 'x' ? 0 : -INFINITY;
    }
    *to = (struct onnx_tensor){as_bool ? (void *)mask : (void *)bias, as_bool ? ONNX_BOOL : SA_F32, 1, {n}};
}

static void check_small(sa_engine *engine, const struct small *small, int as_bool, float softcap) {
    float q[3] = {0}, k[8], v[8], keys[8], values[8], y[3], weights[3 * 8], bias[8];
    char mask[8];
    const char *why;
    const int64_t n_new = small->n_k - small->past;
    for (int j = 0; j < 8; j++)
        k[j] = (float)j, v[j] = (float)(1 << j);
    struct onnx_attention node = {ONNX_ATTENTION_DEFAULTS, .is_causal = small->causal, .softcap = softcap};
    node.left_window_size = small->left;
    node.right_window_size = small->right;
    node.q = tensor4(q, 1, small->n_q, 1);
    node.k = tensor4(k + small->past, 1, n_new, 1);
    node.v = tensor4(v + small->past, 1, n_new, 1);
    node.y = tensor4(y, 1, small->n_q, 1);
    node.qk_matmul_output = tensor4(weights, 1, small->n_q, small->n_k);
    node.qk_matmul_output_mode = 3;
    node.nonpad_kv_seqlen = small->nonpad ? &small->nonpad : NULL;
    if (small->past) {
        node.past_key = tensor4(k, 1, small->past, 1);
        node.past_value = tensor4(v, 1, small->past, 1);
        node.present_key = tensor4(keys, 1, small->n_k, 1);
        node.present_value = tensor4(values, 1, small->n_k, 1);
    }
    if (small->mask)
        set_mask(small->mask, as_bool, mask, bias, &node.attn_mask);
    const sa_status status = onnx_attention(engine, &node, &why);
    must(status == SA_OK, "%s: %s", small->what, why);
    for (int64_t i = 0; i < small->n_q; i++) {
        float sum = 0;
        must(fabsf(y[i] - small->y[i]) < 1e-5f, "%s: y[%lld] is %g, not %g", small->what, (long long)i, (double)y[i],
             (double)small->y[i]);
        for (int64_t j = 0; j < small->n_k; j++)
            sum += weights[i * small->n_k + j] * v[j];
        must(fabsf(sum - small->y[i]) < 1e-5f, "%s: the weights of row %lld give %g", small->what, (long long)i,
             (double)sum);
    }
    for (int64_t j = 0; small->past && j < small->n_k; j++)
        must(keys[j] == k[j] && values[j] == v[j], "%s: present token %lld", small->what, (long long)j);
}

START_TEST(known_by_heart) {
    sa_engine *engine = engine_with(_i, 2);
    for (size_t i = 0; engine && i < sizeof smalls / sizeof smalls[0]; i++)
        for (int as_bool = 0; as_bool < 2; as_bool++)
            for (int capped = 0; capped < 2; capped++)
                check_small(engine, &smalls[i], as_bool, capped ? 2.0f : 0.0f);
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- against the formula */

/* A 0 of the mask's dims is the length of the axis, -n that many fewer. */
struct shape {
    const char *what;
    int rank, n_heads, n_kv_heads, d, d_v;
    int64_t n_q, n_new, past;
    int causal, padded, mask_type, mask_rank;
    int64_t mask_dims[4], left, right;
    float scale, softcap;
};

static const struct shape shapes[] = {
    {"4-D", 4, 3, 3, 8, 8, 4, 6, 0, 0, 0, 0, 0, {0}, -1, -1, 0, 0},
    {"3-D, GQA, scale", 3, 9, 3, 8, 10, 4, 6, 0, 0, 0, 0, 0, {0}, -1, -1, 0.01f, 0},
    {"4-D, MQA, causal", 4, 4, 1, 16, 3, 40, 70, 0, 1, 0, 0, 0, {0}, -1, -1, 0, 0},
    {"past, causal", 4, 4, 2, 8, 8, 5, 5, 12, 1, 0, 0, 0, {0}, -1, -1, 0, 0},
    {"3-D, past, mask 2-D", 3, 4, 2, 8, 8, 5, 5, 12, 0, 0, SA_F32, 2, {0, 0}, -1, -1, 0, 0},
    {"padded, causal", 4, 4, 2, 8, 8, 3, 20, 0, 1, 1, 0, 0, {0}, -1, -1, 0, 0},
    {"padded, bool 4-D", 4, 2, 2, 8, 8, 3, 20, 0, 0, 1, ONNX_BOOL, 4, {0, 0, 0, 0}, -1, -1, 0, 0},
    {"bool 3-D of one head", 4, 2, 2, 8, 8, 7, 20, 0, 0, 0, ONNX_BOOL, 3, {1, 0, 0}, -1, -1, 0, 0},
    {"bool 2-D, causal", 3, 6, 2, 8, 5, 33, 33, 0, 1, 0, ONNX_BOOL, 2, {0, 0}, -1, -1, 0, 0},
    {"4-D mask of one batch", 4, 3, 1, 8, 8, 4, 18, 0, 0, 0, SA_F32, 4, {1, 0, 0, 0}, -1, -1, 0, 0},
    {"mask of one query", 4, 3, 1, 8, 8, 4, 18, 0, 0, 0, SA_F32, 4, {0, 1, 1, 0}, -1, -1, 0, 0},
    {"short mask", 4, 3, 3, 8, 8, 4, 18, 0, 0, 0, SA_F32, 4, {0, 0, 0, -3}, -1, -1, 0, 0},
    {"softcap", 4, 2, 2, 24, 8, 4, 70, 0, 0, 0, 0, 0, {0}, -1, -1, 1, 0.7f},
    {"softcap, bool, causal, past", 3, 2, 1, 24, 8, 4, 9, 30, 1, 0, ONNX_BOOL, 2, {0, 0}, -1, -1, 1, 0.7f},
    {"window", 4, 2, 1, 8, 8, 60, 60, 0, 1, 0, 0, 0, {0}, 9, -1, 0, 0},
    {"window, past, mask", 3, 2, 1, 8, 8, 6, 6, 40, 0, 0, SA_F32, 3, {0, 0, 0}, 9, 2, 0, 0},
    {"window, padded, softcap", 4, 2, 1, 8, 8, 2, 40, 0, 1, 1, 0, 0, {0}, 4, -1, 0, 3},
};

enum { BATCH = 2, ROOM = 1 << 15 };

/* All tensors of a node. */
struct memory {
    float q[ROOM], k[ROOM], v[ROOM], past_key[ROOM], past_value[ROOM], keys[ROOM], values[ROOM], y[ROOM], weights[ROOM],
        bias[ROOM];
    char mask[ROOM];
    int64_t nonpad[BATCH];
};

static struct onnx_tensor draw(struct dice *dice, float *data, const struct shape *s, int64_t tokens, int heads,
                               int d) {
    for (int64_t i = 0; i < BATCH * tokens * heads * d; i++)
        data[i] = 2 * roll_unit(dice);
    return s->rank == 4 ? (struct onnx_tensor){data, SA_F32, 4, {BATCH, heads, tokens, d}}
                        : (struct onnx_tensor){data, SA_F32, 3, {BATCH, tokens, (int64_t)heads * d}};
}

static void draw_mask(struct dice *dice, struct memory *m, const struct shape *s, struct onnx_tensor *to) {
    const int64_t whole[4] = {BATCH, s->n_heads, s->n_q, s->past + s->n_new};
    *to = (struct onnx_tensor){
        s->mask_type == ONNX_BOOL ? (void *)m->mask : (void *)m->bias, s->mask_type, s->mask_rank, {0}};
    int64_t n = 1;
    for (int axis = 0; axis < s->mask_rank; axis++) {
        const int64_t wish = s->mask_dims[axis];
        to->dims[axis] = wish > 0 ? wish : whole[axis + 4 - s->mask_rank] + wish;
        n *= to->dims[axis];
    }
    for (int64_t i = 0; i < n; i++) {
        m->mask[i] = !roll_one_in(dice, 3);
        m->bias[i] = roll_one_in(dice, 4) ? -INFINITY : roll_unit(dice);
    }
}

static struct onnx_attention draw_node(struct dice *dice, struct memory *m, const struct shape *s) {
    struct onnx_attention node = {ONNX_ATTENTION_DEFAULTS,       .is_causal = s->causal, .q_num_heads = s->n_heads,
                                  .kv_num_heads = s->n_kv_heads, .scale = s->scale,      .softcap = s->softcap,
                                  .qk_matmul_output_mode = 3};
    const struct shape dense = {.rank = 4};
    const int64_t n_k = s->past + s->n_new;
    node.left_window_size = s->left;
    node.right_window_size = s->right;
    node.q = draw(dice, m->q, s, s->n_q, s->n_heads, s->d);
    node.k = draw(dice, m->k, s, s->n_new, s->n_kv_heads, s->d);
    node.v = draw(dice, m->v, s, s->n_new, s->n_kv_heads, s->d_v);
    node.y = draw(dice, m->y, s, s->n_q, s->n_heads, s->d_v);
    node.qk_matmul_output = (struct onnx_tensor){m->weights, SA_F32, 4, {BATCH, s->n_heads, s->n_q, n_k}};
    node.present_key = draw(dice, m->keys, &dense, n_k, s->n_kv_heads, s->d);
    node.present_value = draw(dice, m->values, &dense, n_k, s->n_kv_heads, s->d_v);
    if (s->past) {
        node.past_key = draw(dice, m->past_key, &dense, s->past, s->n_kv_heads, s->d);
        node.past_value = draw(dice, m->past_value, &dense, s->past, s->n_kv_heads, s->d_v);
    }
    if (s->mask_rank)
        draw_mask(dice, m, s, &node.attn_mask);
    for (int64_t b = 0; b < BATCH; b++)
        m->nonpad[b] = roll_between(dice, s->n_q, n_k);
    node.nonpad_kv_seqlen = s->padded ? m->nonpad : NULL;
    return node;
}

/* Element (b, head, token, c) of a tensor of either rank. */
static float element(const struct onnx_tensor *t, int n_heads, int64_t b, int64_t head, int64_t token, int64_t c) {
    const float *data = t->data;
    if (t->rank == 4)
        return data[((b * t->dims[1] + head) * t->dims[2] + token) * t->dims[3] + c];
    return data[(b * t->dims[1] + token) * t->dims[2] + head * (t->dims[2] / n_heads) + c];
}

/* Past and new, one after the other. */
static float cached(const struct shape *s, const struct onnx_tensor *past, const struct onnx_tensor *new, int64_t b,
                    int64_t head, int64_t j, int64_t c) {
    return j < s->past ? element(past, 0, b, head, j, c) : element(new, s->n_kv_heads, b, head, j - s->past, c);
}

/* The attention bias of the operator: 0, -inf or the mask's number. */
static double bias_at(const struct onnx_attention *node, const struct shape *s, const int64_t at[4]) {
    const struct onnx_tensor *m = &node->attn_mask;
    const int64_t i = at[2], j = at[3];
    const int64_t p = i + (s->padded ? node->nonpad_kv_seqlen[at[0]] - s->n_q : s->past);
    if ((s->causal && j > p) || (s->padded && j >= node->nonpad_kv_seqlen[at[0]]) ||
        (s->left >= 0 && j < p - s->left) || (s->right >= 0 && j > p + s->right))
        return -HUGE_VAL;
    if (!m->data)
        return 0;
    if (j >= m->dims[m->rank - 1])
        return -HUGE_VAL;
    int64_t index = 0;
    for (int axis = 0; axis < m->rank; axis++)
        index = index * m->dims[axis] + (m->dims[axis] == 1 ? 0 : at[axis + 4 - m->rank]);
    if (m->type == ONNX_BOOL)
        return ((const char *)m->data)[index] ? 0 : -HUGE_VAL;
    return (double)((const float *)m->data)[index];
}

struct exact {
    double weight, t; /* and its relative error in float32 */
};

/* The weights of a row: scale, softcap, bias, softmax. False: it sees nothing. */
static bool weigh(const struct onnx_attention *node, const struct shape *s, const int64_t row[3], struct exact *keys) {
    const int64_t n_k = s->past + s->n_new, group = s->n_heads / s->n_kv_heads;
    const double scale = s->scale != 0 ? (double)s->scale : 1 / sqrt(s->d);
    struct bound_key bounds[200];
    double score[200], m = -HUGE_VAL, l = 0;
    for (int64_t j = 0; j < n_k; j++) {
        const double bias = bias_at(node, s, (int64_t[]){row[0], row[1], row[2], j});
        bounds[j] = (struct bound_key){.scale = 1};
        score[j] = 0;
        for (int c = 0; c < s->d; c++) {
            const double q = (double)element(&node->q, s->n_heads, row[0], row[1], row[2], c);
            const double k = (double)cached(s, &node->past_key, &node->k, row[0], row[1] / group, j, c);
            score[j] += scale * q * k;
            bounds[j].z += fabs(scale * q * k);
            bounds[j].k_sum += fabs(k);
        }
        if (s->softcap > 0)
            score[j] = (double)s->softcap * tanh(score[j] / (double)s->softcap);
        bounds[j].terms = fabs(score[j]) + (bias > -HUGE_VAL ? fabs(bias) : 0);
        score[j] += bias;
        m = score[j] > m ? score[j] : m;
    }
    for (int64_t j = 0; j < n_k; j++)
        l += keys[j].weight = m > -HUGE_VAL ? exp(score[j] - m) : 0;
    for (int64_t j = 0; j < n_k; j++) {
        keys[j].weight /= l > 0 ? l : 1;
        bounds[j].distance = score[j] > -HUGE_VAL ? m - score[j] : 0;
        keys[j].t = bound_weight(s->d, SA_F32, &bounds[j]);
    }
    return l > 0;
}

static void check_row(const struct onnx_attention *node, const struct shape *s, const int64_t row[3]) {
    const int64_t n_k = s->past + s->n_new, group = s->n_heads / s->n_kv_heads;
    struct exact keys[200];
    double p_t = 0;
    weigh(node, s, row, keys);
    for (int64_t j = 0; j < n_k; j++)
        p_t += keys[j].weight * keys[j].t;
    for (int64_t j = 0; j < n_k; j++) {
        const double got = (double)element(&node->qk_matmul_output, 0, row[0], row[1], row[2], j);
        must(fabs(got - keys[j].weight) <=
                 bound_reported(n_k, keys[j].weight, keys[j].t, p_t, 20, 20) * (keys[j].weight > 0),
             "%s: the weight of %lld %lld %lld %lld is %.9g, not %.9g", s->what, (long long)row[0], (long long)row[1],
             (long long)row[2], (long long)j, got, keys[j].weight);
    }
    for (int c = 0; c < s->d_v; c++) {
        struct bound_sums sums = {.p_t = p_t};
        for (int64_t j = 0; j < n_k; j++) {
            const double v = (double)cached(s, &node->past_value, &node->v, row[0], row[1] / group, j, c);
            sums.o += keys[j].weight * v;
            sums.p_v += keys[j].weight * fabs(v);
            sums.p_t_v += keys[j].weight * keys[j].t * fabs(v);
            sums.v_max = fmax(sums.v_max, fabs(v));
        }
        const double got = (double)element(&node->y, s->n_heads, row[0], row[1], row[2], c);
        must(fabs(got - sums.o) <= bound_o(n_k, SA_F32, SA_F32, &sums), "%s: y of %lld %lld %lld %d is %.9g, not %.9g",
             s->what, (long long)row[0], (long long)row[1], (long long)row[2], c, got, sums.o);
    }
}

static void check_present(const struct onnx_attention *node, const struct shape *s) {
    for (int64_t b = 0; b < BATCH; b++)
        for (int64_t head = 0; head < s->n_kv_heads; head++)
            for (int64_t j = 0; j < s->past + s->n_new; j++) {
                must(element(&node->present_key, 0, b, head, j, 0) ==
                         cached(s, &node->past_key, &node->k, b, head, j, 0),
                     "%s: present_key", s->what);
                must(element(&node->present_value, 0, b, head, j, s->d_v - 1) ==
                         cached(s, &node->past_value, &node->v, b, head, j, s->d_v - 1),
                     "%s: present_value", s->what);
            }
}

START_TEST(as_the_formula_says) {
    sa_engine *engine = engine_with(_i, 2);
    struct memory *memory = malloc(sizeof *memory);
    for (size_t i = 0; engine && i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct shape *s = &shapes[i];
        struct dice dice = {i};
        struct onnx_attention node = draw_node(&dice, memory, s);
        const char *why;
        const sa_status status = onnx_attention(engine, &node, &why);
        must(status == SA_OK, "%s: %s", s->what, why);
        check_present(&node, s);
        for (int64_t b = 0; b < BATCH; b++)
            for (int64_t head = 0; head < s->n_heads; head++)
                for (int64_t token = 0; token < s->n_q; token++)
                    check_row(&node, s, (int64_t[]){b, head, token});
    }
    free(memory);
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- refusals */

static void must_refuse(sa_engine *engine, const struct onnx_attention *node, sa_status status, const char *reason) {
    const char *why;
    const sa_status got = onnx_attention(engine, node, &why);
    must(got == status && strstr(why, reason), "%s: %s, expected %s", sa_status_name(got), why, reason);
}

START_TEST(what_is_not_served_is_said) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct memory *memory = malloc(sizeof *memory);
    struct dice dice = {1};
    for (int mode = 0; engine && mode < 3; mode++) {
        struct onnx_attention node = draw_node(&dice, memory, &shapes[0]);
        node.qk_matmul_output_mode = mode;
        must_refuse(engine, &node, SA_UNSUPPORTED, "qk_matmul_output_mode");
    }
    struct onnx_attention node = draw_node(&dice, memory, &shapes[3]), wrong = node;
    wrong.past_value.data = NULL;
    must_refuse(engine, &wrong, SA_INVALID, "without values");
    wrong = node;
    wrong.nonpad_kv_seqlen = memory->nonpad;
    must_refuse(engine, &wrong, SA_INVALID, "nonpad_kv_seqlen");
    wrong = node;
    wrong.left_window_size = -2;
    must_refuse(engine, &wrong, SA_INVALID, "window");
    wrong = node;
    wrong.k.dims[3]--;
    must_refuse(engine, &wrong, SA_INVALID, "go together");
    wrong = draw_node(&dice, memory, &shapes[4]);
    wrong.attn_mask.dims[0]--;
    must_refuse(engine, &wrong, SA_INVALID, "broadcast");
    wrong = draw_node(&dice, memory, &shapes[5]);
    memory->nonpad[1] = 21;
    must_refuse(engine, &wrong, SA_INVALID, "more than there are");
    wrong = draw_node(&dice, memory, &shapes[0]);
    wrong.q.type = SA_F64;
    must_refuse(engine, &wrong, SA_UNSUPPORTED, "");
    free(memory);
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("onnx");
    TCase *tcase = add_case(suite, "onnx");
    tcase_add_loop_test(tcase, known_by_heart, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, as_the_formula_says, ISA_FIRST, ISA_END);
    tcase_add_test(tcase, what_is_not_served_is_said);
    return run_suite(suite);
}
