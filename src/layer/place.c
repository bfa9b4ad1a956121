/* SPDX-License-Identifier: MIT */
/* The workspace of a call, and what the engine is told of it. */
#include <string.h>

#include "groups.h"
#include "heads.h"
#include "stand.h"

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

/* What is alike in all groups. */
static void set_strides(struct sa_layer_call *call) {
    const struct sa_layer *layer = call->layer;
    call->x.strip.d = layer->d_model;
    call->kv.strip.d = layer->d_memory;
    call->y.d = layer->d_out;
    call->x.stage_stride = sa_own_stride(layer->d_model);
    call->kv.stage_stride = sa_own_stride(layer->d_memory);
    call->q_stride = sa_own_stride(layer->q.n_out);
    call->k_stride = sa_own_stride(layer->k.n_out);
    call->v_stride = sa_own_stride(layer->v.n_out);
    call->o_stride = sa_own_stride((int64_t)layer->n_query_heads * layer->d_v);
    call->y_stride = sa_own_stride(layer->d_out);
    call->writes_o = !layer->o.data;
    call->by_heads = sa_heads_pay(call);
}

static void measure_group(struct sa_layer_call *call) {
    const struct sa_layer *layer = call->layer;
    call->x.strip.n_rows = call->y.n_rows = sa_stand_rows(call, SA_SIDE_X);
    call->kv.strip.n_rows = sa_stand_rows(call, SA_SIDE_KV);
    const int64_t n_rows = larger(call->x.strip.n_rows, call->kv.strip.n_rows);
    const struct sa_weights *const in[] = {&layer->q, &layer->k, &layer->v}, *const out[] = {&layer->o};
    call->cut_in = sa_cut_choose(n_rows, in, 3, call->n_threads);
    call->cut_out = sa_cut_choose(call->x.strip.n_rows, out, 1, call->n_threads);
    call->x.in_place = sa_stand_in_place(call, SA_SIDE_X, layer->d_model, &call->x.place_stride);
    call->kv.in_place = sa_stand_in_place(call, SA_SIDE_KV, layer->d_memory, &call->kv.place_stride);
    call->y_in_place = sa_stand_in_place(call, SA_SIDE_Y, layer->d_out, &call->y_place_stride);
}

/* Rows of every group begin behind the lists. */
static size_t place_group(struct sa_layer_call *call, void *workspace) {
    struct places places = {workspace, 0};
    place_lists(call, &places);
    place_rows(call, &places);
    return places.bytes;
}

void sa_layer_call_measure(struct sa_layer_call *call) {
    set_strides(call);
    sa_groups_choose(call);
    sa_groups_rewind(call);
    while (sa_groups_next(call)) {
        measure_group(call);
        const size_t bytes = place_group(call, NULL);
        call->bytes = bytes > call->bytes ? bytes : call->bytes;
    }
    call->several = call->group.number > 1; /* a sequence longer than a group is one */
}

/* ---------------------------------------------------------------- what the engine is told */

static sa_sequence *inner_sequence(const struct sa_layer_call *call, int64_t i) {
    return (sa_sequence *)(void *)(call->inner_sequences + (size_t)i * call->attention.sequence_size);
}

static void fill_query(struct sa_layer_call *call, const struct sa_piece *x, const struct sa_piece *y) {
    const struct sa_layer *layer = call->layer;
    sa_sequence *s = inner_sequence(call, x->sequence);
    s->q = (sa_tensor){call->q + x->first * call->q_stride, call->q_stride, layer->d_qk};
    s->o = call->writes_o ? (sa_output){y->data, y->stride / (int64_t)sa_bytes_of(y->type), layer->d_v}
                          : (sa_output){call->o + x->first * call->o_stride, call->o_stride, layer->d_v};
}

static void fill_keys(struct sa_layer_call *call, const struct sa_piece *kv) {
    const struct sa_layer *layer = call->layer;
    sa_tensor k = {call->k + kv->first * call->k_stride, call->k_stride, layer->d_qk};
    sa_tensor v = {call->v + kv->first * call->v_stride, call->v_stride, layer->d_v};
    sa_sequence *s = inner_sequence(call, kv->sequence);
    if (call->by_heads) {
        k = sa_heads_of(kv, call->k, layer->n_kv_heads, layer->d_qk);
        v = sa_heads_of(kv, call->v, layer->n_kv_heads, layer->d_v);
    }
    if (call->caches) {
        call->new_tokens[kv->sequence] = (sa_new_tokens){kv->n, k, v};
    } else {
        s->n_k = kv->n;
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
    if (call->caches)
        memset(call->new_tokens, 0, (size_t)call->n * sizeof *call->new_tokens);
    call->inner->sequences = (const sa_sequence *)(const void *)call->inner_sequences;
    call->inner->n_query_heads = layer->n_query_heads;
    call->inner->n_kv_heads = layer->n_kv_heads;
    call->inner->d_qk = layer->d_qk;
    call->inner->d_v = layer->d_v;
    call->inner->o_type = call->writes_o ? call->batch.y_type : SA_F32;
}

static void fill_group(struct sa_layer_call *call) {
    for (int64_t p = 0; p < call->x.strip.n_pieces; p++)
        fill_query(call, &call->x.strip.pieces[p], &call->y.pieces[p]);
    for (int64_t p = 0; p < call->kv.strip.n_pieces; p++)
        fill_keys(call, &call->kv.strip.pieces[p]);
}

/* ---------------------------------------------------------------- group after group */

static void take_group(struct sa_layer_call *call) {
    if (call->several) /* otherwise this was done when the call was measured */
        measure_group(call);
    place_group(call, call->workspace);
    sa_stand_list(call, SA_SIDE_X, &call->x.strip);
    sa_stand_list(call, SA_SIDE_KV, &call->kv.strip);
    sa_stand_list(call, SA_SIDE_Y, &call->y);
}

void sa_layer_call_place(struct sa_layer_call *call, void *workspace) {
    call->workspace = workspace;
    place_group(call, workspace);
    fill_inner(call);
    sa_groups_rewind(call);
    while (sa_groups_next(call)) {
        take_group(call);
        fill_group(call);
    }
}

void sa_layer_call_begin(struct sa_layer_call *call) {
    sa_groups_rewind(call);
    if (call->several && call->attention.progress)
        call->inner->progress = NULL; /* it would begin anew with every group */
}

bool sa_layer_call_next(struct sa_layer_call *call) {
    if (!sa_groups_next(call))
        return false;
    if (call->several)
        take_group(call);
    call->inner->sequences = inner_sequence(call, call->group.first);
    call->inner->n_sequences = call->group.n;
    return true;
}
