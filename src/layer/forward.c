/* SPDX-License-Identifier: MIT */
/* A call's way: rows brought together, products, norms and turns, new keys into caches, attention, the last product. */
#include <math.h>
#include <string.h>

#include "call.h"
#include "fpmode.h"
#include "heads.h"

enum { ITEM_ROWS = 64 };

static int64_t n_items_of(int64_t n_rows) { return (n_rows + ITEM_ROWS - 1) / ITEM_ROWS; }
static int64_t end_of(int64_t item, int64_t n_rows) {
    return (item + 1) * ITEM_ROWS < n_rows ? (item + 1) * ITEM_ROWS : n_rows;
}

/* Elements moved or turned in a second, about. */
#define RATE 1e9

/* ---------------------------------------------------------------- rows */

/* Items of x, then those of what keys and values are made from. */
static void fill_item(void *argument, int64_t item, int32_t worker) {
    const struct sa_layer_call *call = argument;
    const int64_t n_x = sa_padded(call->x.strip.n_rows), n = n_items_of(n_x), n_kv = sa_padded(call->kv.strip.n_rows);
    (void)worker;
    if (item < n)
        sa_operand_fill(&call->x, item * ITEM_ROWS, end_of(item, n_x), call->cut_in);
    else
        sa_operand_fill(&call->kv, (item - n) * ITEM_ROWS, end_of(item - n, n_kv), call->cut_in);
}

static sa_status fill_rows(struct sa_layer_call *call) {
    const int64_t n_x = sa_padded(call->x.strip.n_rows), n_kv = call->kv_from_x ? 0 : sa_padded(call->kv.strip.n_rows);
    const int64_t staged = (call->x.in_place ? call->cut_in : n_x) * call->x.strip.d +
                           (call->kv.in_place ? call->cut_in : n_kv) * call->kv.strip.d;
    return sa_engine_run(call->engine, n_items_of(n_x) + n_items_of(n_kv), (double)(staged + 1) / RATE, fill_item,
                         call);
}

/* ---------------------------------------------------------------- products */

/* How many rows, where bits may depend on other rows, are computed one by one: all groups in the same way. */
static int by_rows(const struct sa_layer_call *call, const struct sa_operand *rows) {
    const int64_t n = rows == &call->kv ? call->counts.kv : call->counts.x;
    const bool few = call->batch.flags & SA_LAYER_PACK && sa_products_by_rows(n);
    return few ? (int)rows->strip.n_rows : 0;
}

enum { Q, K, V };

/* q, k and v, or some of them, from `first` on. */
static sa_status project(struct sa_layer_call *call, int first, int n) {
    const struct sa_layer *layer = call->layer;
    const struct sa_operand *kv = call->kv_from_x ? &call->x : &call->kv;
    const struct sa_product all[] = {
        [Q] = {.weights = &layer->q, .rows = &call->x, .to = call->q, .to_stride = call->q_stride},
        [K] = {.weights = &layer->k, .rows = kv, .to = call->k, .to_stride = call->k_stride},
        [V] = {.weights = &layer->v, .rows = kv, .to = call->v, .to_stride = call->v_stride}};
    struct sa_products products = {
        .n = n, .cut_rows = call->cut_in, .scratch = call->scratch, .scratch_floats = call->scratch_floats};
    for (int i = 0; i < n; i++) {
        struct sa_product *product = &products.product[i];
        *product = all[first + i];
        product->by_rows = by_rows(call, product->rows);
        if (call->by_heads && first + i != Q) {
            product->to = call->o;
            product->to_stride = call->o_stride;
        }
    }
    return sa_products_run(call->engine, &products);
}

static void clear(const struct sa_layer_call *call, int64_t begin, int64_t end) {
    memset(call->o + begin * call->o_stride, 0, (size_t)((end - begin) * call->o_stride) * sizeof *call->o);
}

/* What is between and behind the rows must be numbers. */
static void clear_padding(const struct sa_layer_call *call) {
    int64_t end = 0;
    for (int64_t i = 0; i < call->x.strip.n_pieces; i++) {
        const struct sa_piece *p = &call->x.strip.pieces[i];
        clear(call, end, p->first);
        end = p->first + p->n;
    }
    clear(call, end, sa_padded(call->x.strip.n_rows));
}

static sa_status project_out(struct sa_layer_call *call) {
    struct sa_piece all = {.data = (char *)call->o,
                           .stride = call->o_stride * (int64_t)sizeof(float),
                           .n = sa_padded(call->x.strip.n_rows),
                           .type = SA_F32};
    const struct sa_operand heads = {
        .strip = {&all, 1, all.n, call->layer->o.n_in}, .in_place = true, .place_stride = call->o_stride};
    struct sa_products products = {.product = {{.weights = &call->layer->o,
                                                .rows = &heads,
                                                .to = call->y_stage,
                                                .to_stride = call->y_stride,
                                                .deliver = &call->y,
                                                .in_place = call->y_in_place,
                                                .place_stride = call->y_place_stride,
                                                .by_rows = by_rows(call, &call->x)}},
                                   .n = 1,
                                   .cut_rows = call->cut_out,
                                   .scratch = call->scratch,
                                   .scratch_floats = call->scratch_floats};
    return sa_products_run(call->engine, &products);
}

/* ---------------------------------------------------------------- norms and turns */

static void normalise(float *head, int d, const float *norm, float eps) {
    double squares = 0;
    for (int c = 0; c < d; c++)
        squares += (double)head[c] * (double)head[c];
    const double factor = 1 / sqrt(squares / d + (double)eps);
    for (int c = 0; c < d; c++)
        head[c] = (float)((double)head[c] * factor) * norm[c];
}

/* Where token t of sequence i stands, as a query or as a new key. */
static int64_t position_of(const sa_sequence *s, const sa_layer_tokens *tokens, bool is_key, int64_t t, int64_t n) {
    const int64_t j = s->n_k - n + t;
    const int32_t *given = is_key && tokens->source == SA_LAYER_MEMORY ? tokens->memory_positions : tokens->x_positions;
    if (given)
        return given[t];
    if (is_key)
        return s->k_positions ? s->k_positions[j] : s->first_key + j;
    if (s->q_positions)
        return s->q_positions[t];
    return s->flags & SA_SEQ_Q_OFFSET ? s->q_offset + t : s->first_key + s->n_k - s->n_q + t;
}

/* Rows of q, or of new keys. */
struct finish {
    const struct sa_layer_call *call;
    const struct sa_strip *strip;
    float *rows;
    int64_t stride;
    const float *norm;
    int n_heads;
    bool is_key;
};

static void finish_row(const struct finish *f, float *row, const struct sa_turn_at *at) {
    const struct sa_layer *layer = f->call->layer;
    for (int h = 0; h < f->n_heads; h++) {
        float *head = row + (int64_t)h * layer->d_qk;
        if (f->norm)
            normalise(head, layer->d_qk, f->norm, layer->norm_eps);
        if (layer->turns)
            sa_turn_head(&layer->turn, at, head);
    }
}

static void finish_item(void *argument, int64_t item, int32_t worker) {
    const struct finish *f = argument;
    const struct sa_layer_call *call = f->call;
    const int64_t begin = item * ITEM_ROWS, end = end_of(item, f->strip->n_rows);
    struct sa_turn_at at;
    sa_sequence s;
    sa_layer_tokens tokens;
    int64_t piece = -1;
    (void)worker;
    for (int64_t row = begin; row < end; row++) {
        const int64_t of_row = sa_piece_of(f->strip, row);
        const struct sa_piece *p = &f->strip->pieces[of_row];
        if (!sa_is_in(p, row))
            continue;
        if (of_row != piece) {
            sa_layer_call_sequence(call, p->sequence, &s);
            sa_layer_call_tokens(call, p->sequence, &tokens);
            s.n_k = call->caches ? s.n_k : sa_layer_new_keys(&s, &tokens);
            piece = of_row;
        }
        if (call->layer->turns)
            sa_turn_to(&call->layer->turn, position_of(&s, &tokens, f->is_key, row - p->first, p->n), &at);
        finish_row(f, f->rows + row * f->stride, &at);
    }
}

static sa_status finish(struct finish *f) {
    const struct sa_layer *layer = f->call->layer;
    const int64_t n = f->strip->n_rows;
    const double work = (double)n * (layer->d_qk * (double)f->n_heads + 50.0 * layer->turn.n_pairs);
    if (n == 0 || (!layer->turns && !f->norm))
        return SA_OK;
    return sa_engine_run(f->call->engine, n_items_of(n), work / RATE, finish_item, f);
}

static sa_status finish_all(struct sa_layer_call *call) {
    const struct sa_layer *layer = call->layer;
    struct finish q = {call, &call->x.strip, call->q, call->q_stride, layer->q_norm, layer->n_query_heads, false};
    struct finish k = {call, &call->kv.strip, call->k, call->k_stride, layer->k_norm, layer->n_kv_heads, true};
    if (call->by_heads) {
        k.rows = call->o;
        k.stride = call->o_stride;
    }
    sa_status status = finish(&q);
    return status == SA_OK ? finish(&k) : status;
}

/* q, k and v as they are attended to. With heads of their own keys and then values go over the place of o. */
static sa_status make_all(struct sa_layer_call *call) {
    const struct sa_layer *layer = call->layer;
    sa_status status = project(call, Q, call->by_heads ? 2 : 3);
    if (status == SA_OK)
        status = finish_all(call);
    if (status != SA_OK || !call->by_heads)
        return status;
    status = sa_heads_bring(call, call->o, call->o_stride, call->k, layer->n_kv_heads, layer->d_qk);
    if (status == SA_OK)
        status = project(call, V, 1);
    if (status == SA_OK)
        status = sa_heads_bring(call, call->o, call->o_stride, call->v, layer->n_kv_heads, layer->d_v);
    return status;
}

/* ---------------------------------------------------------------- attention */

static sa_status append(const struct sa_layer_call *call) {
    const sa_append append = {SA_APPEND_HEAD, .tokens = call->new_tokens};
    return call->caches ? sa_cache_append(call->engine, call->inner, &append) : SA_OK;
}

/* Where there are several groups, pairs count as finished when those of a group are. */
static sa_status attend(const struct sa_layer_call *call) {
    sa_batch_info info = {.struct_size = sizeof info};
    const bool counts = call->several && call->attention.progress;
    sa_status status = counts ? sa_batch_get_info(call->engine, call->inner, &info) : SA_OK;
    if (status == SA_OK)
        status = sa_batch_forward(call->engine, call->inner);
    if (status == SA_OK && counts)
        __atomic_fetch_add(call->attention.progress, info.n_pairs, __ATOMIC_RELAXED);
    return status;
}

static sa_status compute_group(struct sa_layer_call *call) {
    sa_status status = fill_rows(call);
    if (status == SA_OK)
        status = make_all(call);
    if (status == SA_OK)
        status = append(call);
    if (status == SA_OK)
        status = attend(call);
    if (status != SA_OK || call->writes_o)
        return status;
    clear_padding(call);
    return project_out(call);
}

static sa_status compute(struct sa_layer_call *call) {
    sa_batch_info info = {.struct_size = sizeof info};
    sa_status status = sa_batch_get_info(call->engine, call->inner, &info); /* refuses what the engine would */
    if (status == SA_OK && call->attention.progress)
        __atomic_store_n(call->attention.progress, 0, __ATOMIC_RELAXED);
    sa_layer_call_begin(call);
    while (status == SA_OK && sa_layer_call_next(call))
        status = compute_group(call);
    return status;
}

/* ---------------------------------------------------------------- public */

sa_status sa_layer_workspace_bytes(sa_engine *engine, const sa_layer *layer, const sa_layer_batch *batch,
                                   size_t *bytes) {
    struct sa_layer_call call;
    if (!bytes)
        return sa_refuse(SA_INVALID, "bytes is NULL");
    uint64_t mode = sa_fpmode_enter();
    sa_status status = sa_layer_call_check(&call, engine, layer, batch);
    if (status == SA_OK)
        *bytes = call.bytes;
    sa_fpmode_leave(mode);
    return status;
}

static sa_status run_in_own(struct sa_layer_call *call) {
    union { /* what is kept for later calls is no part of what a layer computes */
        const struct sa_layer *given;
        struct sa_layer *kept;
    } layer = {.given = call->layer};
    struct sa_spare *spare = sa_spare_take(layer.kept, call->bytes);
    if (!spare)
        return sa_refuse(SA_NO_MEMORY, "no memory for a workspace of %zu bytes", call->bytes);
    sa_layer_call_place(call, spare->buffer.data);
    sa_status status = compute(call);
    sa_spare_give_back(layer.kept, spare);
    return status;
}

static sa_status run(struct sa_layer_call *call) {
    const sa_layer_batch *b = &call->batch;
    if (!b->workspace)
        return run_in_own(call);
    if (b->workspace_bytes < call->bytes)
        return sa_refuse(SA_INVALID, "sa_layer_batch.workspace has %zu bytes, the call needs %zu", b->workspace_bytes,
                         call->bytes);
    if ((uintptr_t)b->workspace % 64)
        return sa_refuse(SA_INVALID, "sa_layer_batch.workspace is not on a boundary of 64 bytes");
    sa_layer_call_place(call, b->workspace);
    return compute(call);
}

sa_status sa_layer_forward(sa_engine *engine, const sa_layer *layer, const sa_layer_batch *batch) {
    struct sa_layer_call call;
    uint64_t mode = sa_fpmode_enter();
    sa_status status = sa_layer_call_check(&call, engine, layer, batch);
    if (status == SA_OK)
        status = run(&call);
    sa_fpmode_leave(mode);
    return status;
}
