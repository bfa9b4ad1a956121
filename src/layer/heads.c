/* SPDX-License-Identifier: MIT */
#include "heads.h"

#include <string.h>

/* Query rows that read a key, from which on moving it once is little beside that. */
enum { FEWEST_READS = 1536, ITEM_ROWS = 64 };

/* Floats moved in a second, about. */
#define RATE 1e9

bool sa_heads_pay(const struct sa_layer_call *call) {
    const struct sa_layer *layer = call->layer;
    double keys = 0, reads = 0;
    sa_sequence s;
    if (call->caches || call->writes_o || !call->kv_from_x || layer->k.n_out > layer->o.n_in ||
        layer->v.n_out > layer->o.n_in)
        return false;
    for (int64_t i = 0; i < call->n; i++) {
        sa_layer_call_sequence(call, i, &s);
        keys += (double)s.n_q;
        reads += (double)s.n_q * (double)s.n_q * (layer->n_query_heads / layer->n_kv_heads);
    }
    return reads >= FEWEST_READS * keys && keys > 0;
}

sa_tensor sa_heads_of(const struct sa_piece *piece, const float *heads, int n_heads, int d) {
    return (sa_tensor){heads + piece->first * n_heads * d, d, piece->n * d};
}

struct bring {
    const struct sa_strip *strip;
    const float *rows;
    int64_t stride;
    float *heads;
    int n_heads, d;
};

/* Rows begin .. end - 1, all of this piece. */
static void bring_rows(const struct bring *b, const struct sa_piece *p, int64_t begin, int64_t end) {
    float *first = b->heads + p->first * b->n_heads * b->d;
    for (int h = 0; h < b->n_heads; h++)
        for (int64_t r = begin; r < end; r++)
            memcpy(first + (h * p->n + r - p->first) * b->d, b->rows + r * b->stride + h * b->d,
                   (size_t)b->d * sizeof *first);
}

static void bring_item(void *argument, int64_t item, int32_t worker) {
    const struct bring *b = argument;
    const int64_t n = b->strip->n_rows, end = (item + 1) * ITEM_ROWS < n ? (item + 1) * ITEM_ROWS : n;
    int64_t row = item * ITEM_ROWS;
    (void)worker;
    for (int64_t i = sa_piece_of(b->strip, row); i < b->strip->n_pieces && b->strip->pieces[i].first < end; i++) {
        const struct sa_piece *p = &b->strip->pieces[i];
        const int64_t from = row > p->first ? row : p->first, to = end < p->first + p->n ? end : p->first + p->n;
        bring_rows(b, p, from, to);
    }
}

sa_status sa_heads_bring(const struct sa_layer_call *call, const float *rows, int64_t stride, float *heads, int n_heads,
                         int d) {
    struct bring b = {&call->kv.strip, rows, stride, heads, n_heads, d};
    const int64_t n = b.strip->n_rows;
    return sa_engine_run(call->engine, (n + ITEM_ROWS - 1) / ITEM_ROWS, (double)(n * n_heads * d) / RATE, bring_item,
                         &b);
}
