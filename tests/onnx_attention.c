/* SPDX-License-Identifier: MIT */
#include "onnx_attention.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "elements.h"

/* ---------------------------------------------------------------- shapes */

/* [batch][token][head][d] of either rank. Strides count elements. */
struct view {
    char *data;
    int64_t tokens, heads, d;
    int64_t batch_stride, token_stride, head_stride;
    int bytes;
};

static struct view view_of(const struct onnx_tensor *t, int heads) {
    struct view v = {.data = t->data, .bytes = element_bytes(t->type)};
    if (t->rank == 4) {
        v.heads = t->dims[1], v.tokens = t->dims[2], v.d = t->dims[3];
        v.token_stride = v.d;
        v.head_stride = v.tokens * v.d;
    } else {
        v.heads = heads, v.tokens = t->dims[1], v.d = heads > 0 ? t->dims[2] / heads : 0;
        v.token_stride = v.heads * v.d;
        v.head_stride = v.d;
    }
    v.batch_stride = v.tokens * v.heads * v.d;
    return v;
}

static char *at_batch(const struct view *v, int64_t b) { return v->data + b * v->batch_stride * v->bytes; }

static sa_tensor input(const struct view *v, int64_t b) {
    return (sa_tensor){at_batch(v, b), v->token_stride, v->head_stride};
}

/* The operator under way. */
struct call {
    const struct onnx_attention *node;
    struct view q, k, v, y;   /* k and v: what is new */
    struct view all_k, all_v; /* with the past */
    int64_t batch, past, n_k; /* n_k: of the longest sequence, the past included */
    sa_sequence *seqs;
    sa_row *rows; /* all of them, if their weights are wanted */
    sa_batch out;
    const char *why;
};

/* ---------------------------------------------------------------- what is refused */

static sa_status refuse(struct call *c, sa_status status, const char *why) {
    c->why = why;
    return status;
}

static bool is_shape(const struct onnx_tensor *t, int64_t a, int64_t b, int64_t c, int64_t d) {
    return t->rank == 4 && t->dims[0] == a && t->dims[1] == b && t->dims[2] == c && t->dims[3] == d;
}

static sa_status check_cache(struct call *c) {
    const struct onnx_attention *n = c->node;
    const bool past = n->past_key.data, present = n->present_key.data;
    if (past != (n->past_value.data != NULL) || present != (n->present_value.data != NULL))
        return refuse(c, SA_INVALID, "keys come without values, or values without keys");
    if (past && (n->nonpad_kv_seqlen || !present))
        return refuse(c, SA_INVALID, "past_key goes with present_key, and not with nonpad_kv_seqlen");
    if (past && (n->past_key.rank != 4 || !is_shape(&n->past_key, c->batch, c->k.heads, c->past, c->k.d) ||
                 !is_shape(&n->past_value, c->batch, c->k.heads, c->past, c->v.d)))
        return refuse(c, SA_INVALID, "past_key or past_value has another shape");
    if (present && (!is_shape(&n->present_key, c->batch, c->k.heads, c->n_k, c->k.d) ||
                    !is_shape(&n->present_value, c->batch, c->k.heads, c->n_k, c->v.d)))
        return refuse(c, SA_INVALID, "present_key or present_value has another shape");
    for (int64_t b = 0; n->nonpad_kv_seqlen && b < c->batch; b++)
        if (n->nonpad_kv_seqlen[b] < 0 || n->nonpad_kv_seqlen[b] > c->n_k)
            return refuse(c, SA_INVALID, "nonpad_kv_seqlen is more than there are keys");
    return SA_OK;
}

static sa_status check_mask(struct call *c) {
    const struct onnx_tensor *m = &c->node->attn_mask;
    const int64_t shape[4] = {c->batch, c->q.heads, c->q.tokens, c->n_k};
    if (!m->data)
        return SA_OK;
    if (m->rank < 1 || m->rank > 4)
        return refuse(c, SA_INVALID, "attn_mask has no rank from 1 to 4");
    for (int axis = 4 - m->rank; axis < 4; axis++) {
        const int64_t n = m->dims[axis - (4 - m->rank)];
        if (axis == 3 ? n > shape[3] : n != 1 && n != shape[axis])
            return refuse(c, SA_INVALID, "attn_mask does not broadcast to [batch, heads, queries, keys]");
    }
    return SA_OK;
}

static sa_status check(struct call *c) {
    const struct onnx_attention *n = c->node;
    const bool ranks = (n->q.rank == 3 || n->q.rank == 4) && n->k.rank == n->q.rank && n->v.rank == n->q.rank;
    if (!ranks || (n->q.rank == 3 && (n->q_num_heads < 1 || n->kv_num_heads < 1)))
        return refuse(c, SA_INVALID, "q, k and v are all 3-D, with q_num_heads and kv_num_heads, or all 4-D");
    if (n->k.dims[0] != c->batch || n->v.dims[0] != c->batch || c->v.tokens != c->k.tokens ||
        c->v.heads != c->k.heads || c->k.d != c->q.d)
        return refuse(c, SA_INVALID, "q, k and v do not go together");
    if (n->left_window_size < -1 || n->right_window_size < -1)
        return refuse(c, SA_INVALID, "a window size is less than -1");
    if (n->qk_matmul_output.data && n->qk_matmul_output_mode != 3)
        return refuse(c, SA_UNSUPPORTED, "scores before softmax are not kept: qk_matmul_output_mode 3 only");
    if (n->qk_matmul_output.data && n->qk_matmul_output.type != SA_F32)
        return refuse(c, SA_UNSUPPORTED, "qk_matmul_output is of float only");
    const sa_status status = check_cache(c);
    return status == SA_OK ? check_mask(c) : status;
}

/* ---------------------------------------------------------------- the sequences */

/* A mask shorter than the keys hides the rest, as padding does. */
static int64_t keys_of(const struct call *c, int64_t b) {
    const struct onnx_attention *n = c->node;
    const int64_t valid = n->nonpad_kv_seqlen ? n->nonpad_kv_seqlen[b] : c->n_k;
    const int64_t masked = n->attn_mask.data ? n->attn_mask.dims[n->attn_mask.rank - 1] : valid;
    return masked < valid ? masked : valid;
}

static int64_t offset_of(const struct call *c, int64_t b) {
    return c->node->nonpad_kv_seqlen ? c->node->nonpad_kv_seqlen[b] - c->q.tokens : c->past;
}

/* Strides from the last axis to the first; 0 for those of length 1 and those that are missing. */
static sa_grid grid_of(const struct onnx_tensor *t, int64_t b) {
    int64_t strides[4] = {0}, stride = 1;
    for (int axis = 3; axis >= 4 - t->rank; axis--) {
        const int64_t n = t->dims[axis - (4 - t->rank)];
        strides[axis] = n > 1 ? stride : 0;
        stride *= n;
    }
    const char *data = (const char *)t->data + b * strides[0] * (t->type == ONNX_BOOL ? 1 : element_bytes(t->type));
    return (sa_grid){data, strides[1], strides[2], strides[3]};
}

static void set_sequence(const struct call *c, int64_t b) {
    const struct onnx_attention *n = c->node;
    const struct view *y = &c->y;
    sa_sequence *s = &c->seqs[b];
    *s = (sa_sequence){.n_q = c->q.tokens, .n_k = keys_of(c, b), .q_offset = offset_of(c, b), .flags = SA_SEQ_Q_OFFSET};
    s->q = input(&c->q, b);
    s->k = input(&c->all_k, b);
    s->v = input(&c->all_v, b);
    s->o = (sa_output){at_batch(y, b), y->token_stride, y->head_stride};
    if (n->attn_mask.data && n->attn_mask.type == ONNX_BOOL)
        s->mask = grid_of(&n->attn_mask, b);
    else if (n->attn_mask.data)
        s->bias = grid_of(&n->attn_mask, b);
    if (c->rows) {
        const int64_t n_rows = c->q.heads * c->q.tokens;
        s->weights = (sa_row_weights){(float *)n->qk_matmul_output.data + b * n_rows * c->n_k, c->rows, n_rows, c->n_k};
    }
}

static void set_batch(struct call *c) {
    const struct onnx_attention *n = c->node;
    c->out = (sa_batch){SA_BATCH_HEAD,
                        .n_sequences = c->batch,
                        .sequences = c->seqs,
                        .n_query_heads = (int32_t)c->q.heads,
                        .n_kv_heads = (int32_t)c->k.heads,
                        .d_qk = (int32_t)c->q.d,
                        .d_v = (int32_t)c->v.d,
                        .q_type = n->q.type,
                        .k_type = n->k.type,
                        .v_type = n->v.type,
                        .o_type = n->y.type,
                        .scale = n->scale,
                        .softcap = n->softcap};
    if (n->is_causal)
        c->out.flags |= SA_CAUSAL;
    if (n->left_window_size >= 0 || n->right_window_size >= 0) {
        c->out.flags |= SA_WINDOW;
        c->out.window_left = n->left_window_size;
        c->out.window_right = n->is_causal ? 0 : n->right_window_size;
    }
    if (n->attn_mask.data && n->attn_mask.type != ONNX_BOOL)
        c->out.bias_type = n->attn_mask.type;
}

/* ---------------------------------------------------------------- the cache */

static void copy_past(const struct onnx_tensor *from, const struct onnx_tensor *to) {
    const int64_t old = from->dims[2] * from->dims[3] * element_bytes(from->type);
    const int64_t all = to->dims[2] * to->dims[3] * element_bytes(to->type);
    for (int64_t i = 0; from->data && i < from->dims[0] * from->dims[1]; i++)
        memcpy((char *)to->data + i * all, (const char *)from->data + i * old, (size_t)old);
}

/* Past and new into present, which takes their place. */
static sa_status grow(struct call *c, sa_engine *engine) {
    const struct onnx_attention *n = c->node;
    if (!n->present_key.data)
        return SA_OK;
    copy_past(&n->past_key, &n->present_key);
    copy_past(&n->past_value, &n->present_value);
    sa_new_tokens *tokens = calloc((size_t)c->batch + 1, sizeof *tokens);
    if (!tokens)
        return refuse(c, SA_NO_MEMORY, "no memory");
    for (int64_t b = 0; b < c->batch; b++) {
        tokens[b] = (sa_new_tokens){c->k.tokens, input(&c->k, b), input(&c->v, b)};
        c->seqs[b] = (sa_sequence){.n_k = c->n_k, .k = input(&c->all_k, b), .v = input(&c->all_v, b)};
    }
    const sa_append append = {SA_APPEND_HEAD, tokens, n->k.type, n->v.type};
    const sa_status status = sa_cache_append(engine, &c->out, &append);
    free(tokens);
    return status == SA_OK ? SA_OK : refuse(c, status, sa_last_reason());
}

/* ---------------------------------------------------------------- all of it */

static bool list_rows(struct call *c) {
    const int64_t n = c->q.heads * c->q.tokens;
    c->rows = malloc((size_t)(n + 1) * sizeof *c->rows);
    for (int64_t i = 0; c->rows && i < n; i++)
        c->rows[i] = (sa_row){.query = i % c->q.tokens, .head = (int32_t)(i / c->q.tokens)};
    return c->rows != NULL;
}

static sa_status run(struct call *c, sa_engine *engine) {
    const struct onnx_tensor *weights = &c->node->qk_matmul_output;
    c->seqs = calloc((size_t)c->batch + 1, sizeof *c->seqs);
    if (!c->seqs || (weights->data && !list_rows(c)))
        return refuse(c, SA_NO_MEMORY, "no memory");
    set_batch(c);
    sa_status status = grow(c, engine);
    if (status != SA_OK)
        return status;
    if (weights->data) /* the weights of padding, which the engine does not know of */
        memset(weights->data, 0, (size_t)(c->batch * c->q.heads * c->q.tokens * c->n_k) * sizeof(float));
    for (int64_t b = 0; b < c->batch; b++)
        set_sequence(c, b);
    status = sa_batch_forward(engine, &c->out);
    return status == SA_OK ? SA_OK : refuse(c, status, sa_last_reason());
}

sa_status onnx_attention(sa_engine *engine, const struct onnx_attention *node, const char **why) {
    const struct onnx_attention *n = node;
    struct call c = {.node = node, .batch = n->q.dims[0], .why = ""};
    c.q = view_of(&n->q, n->q_num_heads);
    c.k = c.all_k = view_of(&n->k, n->kv_num_heads);
    c.v = c.all_v = view_of(&n->v, n->kv_num_heads);
    c.y = view_of(&n->y, n->q_num_heads);
    c.past = n->past_key.data ? n->past_key.dims[2] : 0;
    c.n_k = c.past + c.k.tokens;
    sa_status status = check(&c);
    if (n->present_key.data) {
        c.all_k = view_of(&n->present_key, 0);
        c.all_v = view_of(&n->present_value, 0);
    }
    if (status == SA_OK)
        status = run(&c, engine);
    free(c.seqs);
    free(c.rows);
    *why = c.why;
    return status;
}
