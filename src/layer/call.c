/* SPDX-License-Identifier: MIT */
#include "call.h"

#include <string.h>

/* ---------------------------------------------------------------- what the caller says */

static size_t lesser(size_t a, size_t b) { return a < b ? a : b; }

void sa_layer_call_sequence(const struct sa_layer_call *call, int64_t i, sa_sequence *seq) {
    const size_t step = call->attention.sequence_size;
    memset(seq, 0, sizeof *seq);
    memcpy(seq, (const char *)call->attention.sequences + (size_t)i * step, lesser(step, sizeof *seq));
}

void sa_layer_call_tokens(const struct sa_layer_call *call, int64_t i, sa_layer_tokens *tokens) {
    memcpy(tokens, (const char *)call->batch.tokens + (size_t)i * call->batch.tokens_size, sizeof *tokens);
}

static bool has_cache(const sa_sequence *s) { return s->k.data || s->v.data || s->k_pages.table || s->v_pages.table; }

/* ---------------------------------------------------------------- the batch */

/* Of any version: engines check what they are told once more. */
static sa_status take_attention(struct sa_layer_call *call, const sa_batch *from) {
    size_t size;
    if (!from)
        return sa_refuse(SA_INVALID, "sa_layer_batch.attention is NULL");
    memcpy(&size, from, sizeof size);
    if (size < offsetof(sa_batch, progress) || size > 1 << 16)
        return sa_refuse(SA_INVALID, "sa_batch: its size is given as %zu bytes", size);
    memset(&call->attention, 0, sizeof call->attention);
    memcpy(&call->attention, from, lesser(size, sizeof call->attention));
    const sa_batch *a = &call->attention;
    if (a->sequence_size < offsetof(sa_sequence, k_pages) || a->sequence_size > 1 << 16)
        return sa_refuse(SA_INVALID, "sa_batch.sequence_size is %zu", a->sequence_size);
    if (a->n_sequences < 0 || a->n_sequences > INT32_MAX)
        return sa_refuse(SA_INVALID, "sa_batch.n_sequences is %lld", (long long)a->n_sequences);
    if (a->n_sequences && !a->sequences)
        return sa_refuse(SA_INVALID, "sa_batch.sequences is NULL");
    call->n = a->n_sequences;
    return SA_OK;
}

static sa_status check_same(int given, int ours, const char *name) {
    if (given == 0 || given == ours)
        return SA_OK;
    return sa_refuse(SA_INVALID, "sa_batch.%s is %d, the layer's is %d", name, given, ours);
}

static sa_status check_attention(const struct sa_layer_call *call) {
    const sa_batch *a = &call->attention;
    const struct sa_layer *layer = call->layer;
    if (a->q_type != 0 || a->o_type != 0)
        return sa_refuse(SA_INVALID, "sa_batch.q_type and o_type are %d and %d, the layer's are 0", (int)a->q_type,
                         (int)a->o_type);
    sa_status status = check_same(a->n_query_heads, layer->n_query_heads, "n_query_heads");
    if (status == SA_OK)
        status = check_same(a->n_kv_heads, layer->n_kv_heads, "n_kv_heads");
    if (status == SA_OK)
        status = check_same(a->d_qk, layer->d_qk, "d_qk");
    return status == SA_OK ? check_same(a->d_v, layer->d_v, "d_v") : status;
}

static sa_status take_batch(struct sa_layer_call *call, const sa_layer_batch *batch) {
    sa_status status = sa_take_in(&call->batch, sizeof call->batch, batch, "sa_layer_batch");
    if (status == SA_OK)
        status = take_attention(call, call->batch.attention);
    if (status != SA_OK)
        return status;
    const sa_layer_batch *b = &call->batch;
    if (b->tokens_size < sizeof(sa_layer_tokens) || b->tokens_size > 1 << 16)
        return sa_refuse(SA_INVALID, "sa_layer_batch.tokens_size is %zu, expected %zu", b->tokens_size,
                         sizeof(sa_layer_tokens));
    if (call->n && !b->tokens)
        return sa_refuse(SA_INVALID, "sa_layer_batch.tokens is NULL");
    if (b->flags & ~SA_LAYER_PACK)
        return sa_refuse(SA_INVALID, "sa_layer_batch.flags is %#x", (unsigned)b->flags);
    status = sa_check_type(b->x_type, "sa_layer_batch.x_type");
    if (status == SA_OK)
        status = sa_check_type(b->memory_type, "sa_layer_batch.memory_type");
    if (status == SA_OK)
        status = sa_check_type(b->y_type, "sa_layer_batch.y_type");
    return status == SA_OK ? check_attention(call) : status;
}

/* ---------------------------------------------------------------- sequences */

static sa_status check_vectors(const void *data, int64_t stride, int64_t n, int type, int64_t i, const char *name) {
    if (n == 0)
        return SA_OK;
    if (!data)
        return sa_refuse(SA_INVALID, "sequence %lld: %s is NULL", (long long)i, name);
    if ((uintptr_t)data % sa_bytes_of(type))
        return sa_refuse(SA_INVALID, "sequence %lld: %s is not aligned to its elements", (long long)i, name);
    if (stride > INT64_MAX / 32 / n || stride < -(INT64_MAX / 32 / n))
        return sa_refuse(SA_INVALID, "sequence %lld: strides of %s reach beyond memory", (long long)i, name);
    return SA_OK;
}

static sa_status check_counts(const sa_sequence *s, const sa_layer_tokens *t, int64_t i) {
    const char *source = t->source == SA_LAYER_NONE ? "SA_LAYER_NONE" : "SA_LAYER_SELF";
    if (t->source < SA_LAYER_SELF || t->source > SA_LAYER_NONE)
        return sa_refuse(SA_INVALID, "sequence %lld: source is %d, no sa_layer_source", (long long)i, (int)t->source);
    if (t->reserved != 0)
        return sa_refuse(SA_INVALID, "sequence %lld: reserved is not 0", (long long)i);
    if (s->n_q < 0 || s->n_q > SA_MAX_TOKENS || s->n_k < 0 || s->n_k > SA_MAX_TOKENS)
        return sa_refuse(SA_INVALID, "sequence %lld: n_q is %lld, n_k is %lld", (long long)i, (long long)s->n_q,
                         (long long)s->n_k);
    if (t->n_memory < 0 || t->n_memory > SA_MAX_TOKENS)
        return sa_refuse(SA_INVALID, "sequence %lld: n_memory is %lld", (long long)i, (long long)t->n_memory);
    if (t->source != SA_LAYER_MEMORY && (t->n_memory || t->memory || t->memory_positions))
        return sa_refuse(SA_INVALID, "sequence %lld: memory is given with %s", (long long)i, source);
    if (s->q.data || s->o.data)
        return sa_refuse(SA_INVALID, "sequence %lld: q or o is given, both are the layer's", (long long)i);
    if (s->partial)
        return sa_refuse(SA_UNSUPPORTED, "sequence %lld: partial: a layer needs the whole result", (long long)i);
    return SA_OK;
}

static sa_status check_sequence(const struct sa_layer_call *call, const sa_sequence *s, const sa_layer_tokens *t,
                                int64_t i) {
    const sa_layer_batch *b = &call->batch;
    sa_status status = check_counts(s, t, i);
    if (status == SA_OK)
        status = check_vectors(t->x, t->x_stride, s->n_q, b->x_type, i, "x");
    if (status == SA_OK)
        status = check_vectors(t->y, t->y_stride, s->n_q, b->y_type, i, "y");
    if (status == SA_OK)
        status = check_vectors(t->memory, t->memory_stride, t->n_memory, b->memory_type, i, "memory");
    if (status != SA_OK)
        return status;
    if (t->source == SA_LAYER_SELF && s->n_q && call->layer->d_memory != call->layer->d_model)
        return sa_refuse(SA_INVALID, "sequence %lld: SA_LAYER_SELF, but the layer's d_memory is %d and d_model %d",
                         (long long)i, call->layer->d_memory, call->layer->d_model);
    if (call->caches && sa_layer_new_keys(s, t) > s->n_k)
        return sa_refuse(SA_INVALID, "sequence %lld: %lld new keys, but n_k is %lld", (long long)i,
                         (long long)sa_layer_new_keys(s, t), (long long)s->n_k);
    if (!call->caches && s->n_k != 0 && s->n_k != sa_layer_new_keys(s, t))
        return sa_refuse(SA_INVALID, "sequence %lld: n_k is %lld, but %lld keys are made and there is no cache",
                         (long long)i, (long long)s->n_k, (long long)sa_layer_new_keys(s, t));
    if (call->caches && s->n_k && !has_cache(s))
        return sa_refuse(SA_INVALID, "sequence %lld: k is NULL, other sequences have a cache", (long long)i);
    return SA_OK;
}

static bool too_far(int64_t position) { return position > SA_MAX_POSITION || position < -SA_MAX_POSITION; }

static sa_status check_array(const int32_t *positions, int64_t n, int64_t i, const char *name) {
    for (int64_t t = 0; positions && t < n; t++)
        if (too_far(positions[t]))
            return sa_refuse(SA_INVALID, "sequence %lld: %s[%lld] is %d, beyond 2^30", (long long)i, name, (long long)t,
                             (int)positions[t]);
    return SA_OK;
}

/* Where tokens stand matters to the layer only if it turns them. */
static sa_status check_positions(const sa_sequence *s, const sa_layer_tokens *t, int64_t i) {
    const int64_t offset = s->flags & SA_SEQ_Q_OFFSET ? s->q_offset : 0;
    if (too_far(offset) || s->first_key < 0 || too_far(s->first_key))
        return sa_refuse(SA_INVALID,
                         "sequence %lld: q_offset is %lld, first_key is %lld, beyond 2^30 of rotary "
                         "embeddings",
                         (long long)i, (long long)offset, (long long)s->first_key);
    sa_status status = check_array(t->x_positions, s->n_q, i, "x_positions");
    return status == SA_OK ? check_array(t->memory_positions, t->n_memory, i, "memory_positions") : status;
}

/* So that no number of bytes of the workspace overflows: a row of each kind is there for a token at most. */
static sa_status check_total(const struct sa_layer *layer, int64_t n_tokens) {
    enum { KINDS = 7, ROUNDING = 48 };
    const int64_t floats = (int64_t)layer->d_model + layer->d_memory + layer->q.n_out + layer->k.n_out +
                           layer->v.n_out + layer->n_query_heads * layer->d_v + layer->d_out + KINDS * ROUNDING;
    if (n_tokens > INT64_MAX / 2 / (floats * (int64_t)sizeof(float)))
        return sa_refuse(SA_INVALID, "too many tokens: %lld", (long long)n_tokens);
    return SA_OK;
}

static sa_status check_sequences(struct sa_layer_call *call) {
    sa_sequence s;
    sa_layer_tokens t;
    for (int64_t i = 0; i < call->n && !call->caches; i++) {
        sa_layer_call_sequence(call, i, &s);
        call->caches = has_cache(&s);
    }
    if (!call->caches && (call->attention.k_type != 0 || call->attention.v_type != 0))
        return sa_refuse(SA_INVALID, "sa_batch.k_type and v_type are %d and %d without a cache, expected 0",
                         (int)call->attention.k_type, (int)call->attention.v_type);
    int64_t n = 0;
    call->kv_from_x = true;
    for (int64_t i = 0; i < call->n; i++) {
        sa_layer_call_sequence(call, i, &s);
        sa_layer_call_tokens(call, i, &t);
        sa_status status = check_sequence(call, &s, &t, i);
        if (status == SA_OK && call->layer->turns)
            status = check_positions(&s, &t, i);
        if (status != SA_OK)
            return status;
        n += s.n_q + sa_layer_new_keys(&s, &t) + 2 * SA_ROW_GRAIN;
        call->kv_from_x =
            call->kv_from_x && sa_layer_new_keys(&s, &t) == s.n_q && (t.source == SA_LAYER_SELF || s.n_q == 0);
    }
    return check_total(call->layer, n);
}

sa_status sa_layer_call_check(struct sa_layer_call *call, sa_engine *engine, const struct sa_layer *layer,
                              const sa_layer_batch *batch) {
    sa_engine_info info = {.struct_size = sizeof info};
    memset(call, 0, sizeof *call);
    if (!layer)
        return sa_refuse(SA_INVALID, "layer is NULL");
    call->engine = engine;
    call->layer = layer;
    sa_status status = sa_engine_get_info(engine, &info);
    if (status == SA_OK)
        status = take_batch(call, batch);
    if (status == SA_OK)
        status = check_sequences(call);
    if (status != SA_OK)
        return status;
    call->n_threads = info.n_threads;
    sa_layer_call_measure(call);
    return SA_OK;
}
