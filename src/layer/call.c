/* SPDX-License-Identifier: MIT */
#include "call.h"

#include <limits.h>
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

static int64_t n_new(const sa_sequence *s, const sa_layer_tokens *t) {
    return t->source == SA_LAYER_SELF ? s->n_q : t->source == SA_LAYER_MEMORY ? t->n_memory : 0;
}

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
    if (call->caches && n_new(s, t) > s->n_k)
        return sa_refuse(SA_INVALID, "sequence %lld: %lld new keys, but n_k is %lld", (long long)i,
                         (long long)n_new(s, t), (long long)s->n_k);
    if (!call->caches && s->n_k != 0 && s->n_k != n_new(s, t))
        return sa_refuse(SA_INVALID, "sequence %lld: n_k is %lld, but %lld keys are made and there is no cache",
                         (long long)i, (long long)s->n_k, (long long)n_new(s, t));
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

enum rows { X, KV, Y };

/* Of n rows of a sequence, the first that is free being row `free`: a token stands in its dozen where its number says.
 */
static int64_t first_row(const struct sa_layer_call *call, enum rows rows, int64_t free, const sa_sequence *s,
                         const sa_layer_tokens *t, int64_t n) {
    const bool is_key = call->caches && (rows == KV || t->source == SA_LAYER_SELF);
    const int64_t place = is_key ? (s->n_k - n) % SA_ROW_GRAIN : 0;
    if (call->batch.flags & SA_LAYER_PACK || n == 0)
        return free;
    return free + (place - free % SA_ROW_GRAIN + SA_ROW_GRAIN) % SA_ROW_GRAIN;
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
    call->kv_from_x = true;
    for (int64_t i = 0; i < call->n; i++) {
        sa_layer_call_sequence(call, i, &s);
        sa_layer_call_tokens(call, i, &t);
        sa_status status = check_sequence(call, &s, &t, i);
        if (status == SA_OK && call->layer->turns)
            status = check_positions(&s, &t, i);
        if (status != SA_OK)
            return status;
        call->x.strip.n_rows = first_row(call, X, call->x.strip.n_rows, &s, &t, s.n_q) + s.n_q;
        call->kv.strip.n_rows = first_row(call, KV, call->kv.strip.n_rows, &s, &t, n_new(&s, &t)) + n_new(&s, &t);
        call->kv_from_x = call->kv_from_x && n_new(&s, &t) == s.n_q && (t.source == SA_LAYER_SELF || s.n_q == 0);
    }
    if (call->x.strip.n_rows > INT64_MAX / (1 << 24) || call->kv.strip.n_rows > INT64_MAX / (1 << 24))
        return sa_refuse(SA_INVALID, "too many tokens: %lld", (long long)call->x.strip.n_rows);
    return SA_OK;
}

/* ---------------------------------------------------------------- rows */

static struct sa_piece piece(const void *data, int64_t stride, int64_t d, int64_t n, int type) {
    union { /* of x and memory nothing is written */
        const void *given;
        char *kept;
    } at = {.given = data};
    return (struct sa_piece){at.kept, (stride ? stride : d) * (int64_t)sa_bytes_of(type), 0, n, type};
}

/* Those of sequence i; row `free` is the first that is free. */
static struct sa_piece piece_of(const struct sa_layer_call *call, enum rows rows, int64_t i, int64_t free) {
    const struct sa_layer *layer = call->layer;
    const sa_layer_batch *b = &call->batch;
    sa_sequence s;
    sa_layer_tokens t;
    sa_layer_call_sequence(call, i, &s);
    sa_layer_call_tokens(call, i, &t);
    struct sa_piece p = rows == Y ? piece(t.y, t.y_stride, layer->d_out, s.n_q, b->y_type)
                        : rows == KV && t.source == SA_LAYER_MEMORY
                            ? piece(t.memory, t.memory_stride, layer->d_memory, t.n_memory, b->memory_type)
                            : piece(t.x, t.x_stride, layer->d_model, rows == X ? s.n_q : n_new(&s, &t), b->x_type);
    p.first = first_row(call, rows, free, &s, &t, p.n);
    return p;
}

static void fill_pieces(const struct sa_layer_call *call, enum rows rows, struct sa_piece *pieces) {
    int64_t free = 0;
    for (int64_t i = 0; i < call->n; i++) {
        pieces[i] = piece_of(call, rows, i, free);
        free = pieces[i].first + pieces[i].n;
    }
}

/* Are they rows of floats of one matrix, without a gap? *stride receives the floats from one to the next. */
static bool stand_in_place(const struct sa_layer_call *call, enum rows rows, int d, int64_t *stride) {
    const int64_t bytes = sizeof(float);
    const char *next = NULL;
    int64_t free = 0;
    for (int64_t i = 0; i < call->n; i++) {
        const struct sa_piece p = piece_of(call, rows, i, free);
        if (p.n == 0)
            continue;
        if (p.first != free)
            return false;
        free += p.n;
        if (p.type != SA_F32 || p.stride < d * bytes || p.stride > INT_MAX * bytes)
            return false;
        if (next && (p.data != next || p.stride != *stride * bytes))
            return false;
        next = p.data + p.n * p.stride;
        *stride = p.stride / bytes;
    }
    return next != NULL;
}

/* ---------------------------------------------------------------- the workspace */

/* Parts one after the other; without a base they are only counted. */
struct places {
    char *base;
    size_t bytes;
};

static void *next_place(struct places *places, size_t bytes) {
    void *at = places->base ? places->base + places->bytes : NULL;
    places->bytes += (bytes + 63) / 64 * 64;
    return at;
}

static float *next_floats(struct places *places, int64_t n) { return next_place(places, (size_t)n * sizeof(float)); }

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static void place_lists(struct sa_layer_call *call, struct places *places) {
    const size_t n = (size_t)call->n;
    size_t batch_bytes;
    memcpy(&batch_bytes, call->batch.attention, sizeof batch_bytes);
    call->inner = next_place(places, batch_bytes);
    call->inner_sequences = next_place(places, n * call->attention.sequence_size);
    call->new_tokens = next_place(places, call->caches ? n * sizeof *call->new_tokens : 0);
    call->x.strip.pieces = next_place(places, n * sizeof *call->y.pieces);
    call->kv.strip.pieces = next_place(places, n * sizeof *call->y.pieces);
    call->y.pieces = next_place(places, n * sizeof *call->y.pieces);
}

static void place_rows(struct sa_layer_call *call, struct places *places) {
    const struct sa_layer *layer = call->layer;
    const int64_t n_x = sa_padded(call->x.strip.n_rows), n_kv = sa_padded(call->kv.strip.n_rows);
    const int64_t y_rows = n_x - sa_stage_begin(call->y_in_place, call->y.n_rows, call->cut_out);
    const int64_t q_floats = n_x * call->q_stride, y_floats = call->writes_o ? 0 : y_rows * call->y_stride;
    call->x.stage = next_floats(places, sa_operand_stage_floats(&call->x, call->cut_in));
    call->kv.stage = next_floats(places, call->kv_from_x ? 0 : sa_operand_stage_floats(&call->kv, call->cut_in));
    call->q = next_floats(places, larger(q_floats, y_floats)); /* q is not needed when y is made */
    call->y_stage = call->q;
    call->k = next_floats(places, n_kv * call->k_stride);
    call->v = next_floats(places, n_kv * call->v_stride);
    call->o = next_floats(places, call->writes_o ? 0 : n_x * call->o_stride);
    call->scratch_floats = larger(larger(sa_products_scratch(&layer->q), sa_products_scratch(&layer->k)),
                                  larger(sa_products_scratch(&layer->v), sa_products_scratch(&layer->o)));
    call->scratch = next_floats(places, call->scratch_floats * call->n_threads);
}

static void place(struct sa_layer_call *call, void *workspace) {
    struct places places = {workspace, 0};
    place_lists(call, &places);
    place_rows(call, &places);
    call->bytes = places.bytes;
}

static void set_dimensions(struct sa_layer_call *call) {
    const struct sa_layer *layer = call->layer;
    const int64_t n_rows = larger(call->x.strip.n_rows, call->kv.strip.n_rows);
    call->x.strip.n_pieces = call->kv.strip.n_pieces = call->y.n_pieces = call->n;
    call->x.strip.d = layer->d_model;
    call->kv.strip.d = layer->d_memory;
    call->y.d = layer->d_out;
    call->y.n_rows = call->x.strip.n_rows;
    call->x.stage_stride = sa_own_stride(layer->d_model);
    call->kv.stage_stride = sa_own_stride(layer->d_memory);
    call->q_stride = sa_own_stride(layer->q.n_out);
    call->k_stride = sa_own_stride(layer->k.n_out);
    call->v_stride = sa_own_stride(layer->v.n_out);
    call->o_stride = sa_own_stride((int64_t)layer->n_query_heads * layer->d_v);
    call->y_stride = sa_own_stride(layer->d_out);
    call->writes_o = !layer->o.data;
    const struct sa_weights *const in[] = {&layer->q, &layer->k, &layer->v}, *const out[] = {&layer->o};
    call->cut_in = sa_cut_choose(n_rows, in, 3, call->n_threads);
    call->cut_out = sa_cut_choose(call->x.strip.n_rows, out, 1, call->n_threads);
    call->x.in_place = stand_in_place(call, X, layer->d_model, &call->x.place_stride);
    call->kv.in_place = stand_in_place(call, KV, layer->d_memory, &call->kv.place_stride);
    call->y_in_place = stand_in_place(call, Y, layer->d_out, &call->y_place_stride);
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
    set_dimensions(call);
    place(call, NULL);
    return SA_OK;
}

/* ---------------------------------------------------------------- what the engine is told */

static void fill_sequence(struct sa_layer_call *call, int64_t i, sa_sequence *s) {
    const struct sa_layer *layer = call->layer;
    const int64_t first = call->x.strip.pieces[i].first, first_kv = call->kv.strip.pieces[i].first;
    const struct sa_piece *y = &call->y.pieces[i];
    const sa_tensor k = {call->k + first_kv * call->k_stride, call->k_stride, layer->d_qk};
    const sa_tensor v = {call->v + first_kv * call->v_stride, call->v_stride, layer->d_v};
    s->q = (sa_tensor){call->q + first * call->q_stride, call->q_stride, layer->d_qk};
    s->o = call->writes_o ? (sa_output){y->data, y->stride / (int64_t)sa_bytes_of(y->type), layer->d_v}
                          : (sa_output){call->o + first * call->o_stride, call->o_stride, layer->d_v};
    if (call->caches) {
        call->new_tokens[i] = (sa_new_tokens){call->kv.strip.pieces[i].n, k, v};
    } else {
        s->n_k = call->kv.strip.pieces[i].n;
        s->k = k;
        s->v = v;
    }
}

static void fill_inner(struct sa_layer_call *call) {
    const struct sa_layer *layer = call->layer;
    const size_t step = call->attention.sequence_size;
    memcpy(call->inner, call->batch.attention, call->attention.struct_size);
    if (call->n)
        memcpy(call->inner_sequences, call->attention.sequences, (size_t)call->n * step);
    call->inner->sequences = (const sa_sequence *)(const void *)call->inner_sequences;
    call->inner->n_query_heads = layer->n_query_heads;
    call->inner->n_kv_heads = layer->n_kv_heads;
    call->inner->d_qk = layer->d_qk;
    call->inner->d_v = layer->d_v;
    call->inner->o_type = call->writes_o ? call->batch.y_type : SA_F32;
    for (int64_t i = 0; i < call->n; i++)
        fill_sequence(call, i, (sa_sequence *)(void *)(call->inner_sequences + (size_t)i * step));
}

void sa_layer_call_place(struct sa_layer_call *call, void *workspace) {
    place(call, workspace);
    fill_pieces(call, X, call->x.strip.pieces);
    fill_pieces(call, KV, call->kv.strip.pieces);
    fill_pieces(call, Y, call->y.pieces);
    fill_inner(call);
}
