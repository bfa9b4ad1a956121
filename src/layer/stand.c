/* SPDX-License-Identifier: MIT */
#include "stand.h"

#include <limits.h>
#include <string.h>

static struct sa_piece piece(const void *data, int64_t stride, int64_t d, int64_t n, int type) {
    union { /* of x and memory nothing is written */
        const void *given;
        char *kept;
    } at = {.given = data};
    const int64_t elements = n == 0 ? 0 : stride ? stride : d; /* without tokens a stride may be anything */
    return (struct sa_piece){.data = at.kept, .stride = elements * (int64_t)sa_bytes_of(type), .n = n, .type = type};
}

/* A token stands in its dozen where its number says, see "Bits" in layer.h. */
static int64_t place_of(const struct sa_layer_call *call, enum sa_side side, const sa_sequence *s,
                        const sa_layer_tokens *t, int64_t n) {
    const bool is_key = call->caches && (side == SA_SIDE_KV || t->source == SA_LAYER_SELF);
    return is_key && !(call->batch.flags & SA_LAYER_PACK) ? (s->n_k - n) % SA_ROW_GRAIN : 0;
}

/* The rows of sequence i; `first` is the place of the first one in its dozen. */
static struct sa_piece piece_of(const struct sa_layer_call *call, enum sa_side side, int64_t i) {
    const struct sa_layer *layer = call->layer;
    const sa_layer_batch *b = &call->batch;
    const char *from = (const char *)call->attention.sequences + (size_t)i * call->attention.sequence_size;
    sa_sequence s; /* its numbers of tokens only: this is asked for often */
    sa_layer_tokens t;
    memcpy(&s.n_q, from + offsetof(sa_sequence, n_q), sizeof s.n_q);
    memcpy(&s.n_k, from + offsetof(sa_sequence, n_k), sizeof s.n_k);
    sa_layer_call_tokens(call, i, &t);
    const int64_t n = side == SA_SIDE_KV ? sa_layer_new_keys(&s, &t) : s.n_q;
    struct sa_piece p = side == SA_SIDE_Y ? piece(t.y, t.y_stride, layer->d_out, n, b->y_type)
                        : side == SA_SIDE_KV && t.source == SA_LAYER_MEMORY
                            ? piece(t.memory, t.memory_stride, layer->d_memory, n, b->memory_type)
                            : piece(t.x, t.x_stride, layer->d_model, n, b->x_type);
    p.first = place_of(call, side, &s, &t, n);
    p.sequence = i;
    return p;
}

/* Sequences that begin at the same place in a dozen follow each other in their order. Whose place comes next after the
 * last row so far goes next: so tokens of several sequences share a dozen, as decoding steps do. */
struct order {
    int64_t next[SA_ROW_GRAIN], left[SA_ROW_GRAIN]; /* of those of a place: where the next may be, how many there are */
    int64_t free;                                   /* the first row that is */
};

/* Groups are others for another number of threads. Packed rows stand in their dozens as if there were a single one. */
static int64_t packed_begin(const struct sa_layer_call *call, enum sa_side side) {
    const struct sa_counts *ahead = &call->group.ahead;
    const int64_t n = side == SA_SIDE_KV ? ahead->kv : ahead->x;
    return call->batch.flags & SA_LAYER_PACK ? n % SA_ROW_GRAIN : 0;
}

static struct order begin_order(const struct sa_layer_call *call, enum sa_side side) {
    const struct sa_group *g = &call->group;
    struct order order = {{0}, {0}, 0};
    for (int place = 0; place < SA_ROW_GRAIN; place++)
        order.next[place] = g->first;
    for (int64_t i = g->first; i < g->first + g->n; i++) {
        const struct sa_piece p = piece_of(call, side, i);
        order.left[p.first] += p.n > 0;
        order.free = p.n > 0 ? packed_begin(call, side) : order.free; /* without rows there are none free */
    }
    return order;
}

static bool next_piece(const struct sa_layer_call *call, enum sa_side side, struct order *order, struct sa_piece *p) {
    int gap = 0, place = (int)(order->free % SA_ROW_GRAIN);
    while (gap < SA_ROW_GRAIN && !order->left[(place + gap) % SA_ROW_GRAIN])
        gap++;
    if (gap == SA_ROW_GRAIN)
        return false;
    place = (place + gap) % SA_ROW_GRAIN;
    do
        *p = piece_of(call, side, order->next[place]++);
    while (p->n == 0 || p->first != place);
    order->left[place]--;
    p->first = order->free + (call->batch.flags & SA_LAYER_PACK ? 0 : gap);
    order->free = p->first + p->n;
    return true;
}

int64_t sa_stand_rows(const struct sa_layer_call *call, enum sa_side side) {
    struct order order = begin_order(call, side);
    struct sa_piece p;
    while (next_piece(call, side, &order, &p))
        ;
    return order.free;
}

bool sa_stand_in_place(const struct sa_layer_call *call, enum sa_side side, int d, int64_t *stride) {
    const int64_t bytes = sizeof(float);
    const char *next = NULL;
    struct order order = begin_order(call, side);
    struct sa_piece p;
    for (int64_t free = 0; next_piece(call, side, &order, &p); free += p.n) {
        if (p.first != free || p.type != SA_F32 || p.stride < d * bytes || p.stride > INT_MAX * bytes)
            return false;
        if (next && (p.data != next || p.stride != *stride * bytes))
            return false;
        next = p.data + p.n * p.stride;
        *stride = p.stride / bytes;
    }
    return next != NULL;
}

void sa_stand_list(const struct sa_layer_call *call, enum sa_side side, struct sa_strip *strip) {
    struct order order = begin_order(call, side);
    for (strip->n_pieces = 0; next_piece(call, side, &order, &strip->pieces[strip->n_pieces]);)
        strip->n_pieces++;
}
