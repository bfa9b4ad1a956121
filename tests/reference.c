/* SPDX-License-Identifier: MIT */
#include "reference.h"

#include <math.h>
#include <stdlib.h>

#include "bound.h"
#include "elements.h"

enum { REFERENCE_MAX_D = 576 };

/* ---------------------------------------------------------------- addressing */

static int n_kv_heads(const sa_batch *b) { return b->n_kv_heads ? b->n_kv_heads : b->n_query_heads; }
static int d_v(const sa_batch *b) { return b->d_v ? b->d_v : b->d_qk; }
static int64_t or_default(int64_t stride, int64_t packed) { return stride ? stride : packed; }

const sa_sequence *reference_sequence(const sa_batch *batch, int64_t i) {
    return (const sa_sequence *)(const void *)((const char *)batch->sequences + (size_t)i * batch->sequence_size);
}

/* [token][head][d] of elements of so many bytes. */
static const char *in_tensor(const void *data, int64_t token, int64_t token_stride, int64_t head, int64_t head_stride,
                             int bytes) {
    return (const char *)data + (token * token_stride + head * head_stride) * bytes;
}

const void *reference_q(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head) {
    const int64_t d = batch->d_qk, heads = batch->n_query_heads;
    return in_tensor(seq->q.data, token, or_default(seq->q.token_stride, heads * d), head,
                     or_default(seq->q.head_stride, d), element_bytes(batch->q_type));
}

void *reference_o_row(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head) {
    const int64_t d = d_v(batch), heads = batch->n_query_heads;
    return (void *)(uintptr_t)in_tensor(seq->o.data, token, or_default(seq->o.token_stride, heads * d), head,
                                        or_default(seq->o.head_stride, d), element_bytes(batch->o_type));
}

float *reference_o(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head) {
    return reference_o_row(batch, seq, token, head);
}

double reference_output(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head, int c) {
    const char *row = reference_o_row(batch, seq, token, head);
    return element_value(batch->o_type, row + c * element_bytes(batch->o_type));
}

float *reference_lse(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head) {
    (void)batch;
    return (float *)seq->lse.data + token * or_default(seq->lse.token_stride, 1) +
           head * or_default(seq->lse.head_stride, seq->n_q);
}

/* ---------------------------------------------------------------- keys and values */

static int type_of(const sa_batch *b, bool v) { return v ? b->v_type : b->k_type; }

/* v without a table of its own stands in the pages of k. */
static sa_pages pages_of(const sa_sequence *seq, bool v) {
    sa_pages pages = v && seq->v_pages.table ? seq->v_pages : seq->k_pages;
    pages.page_stride = v ? seq->v_pages.page_stride : seq->k_pages.page_stride;
    return pages;
}

/* Where a (token, kv head) of d elements stands: a page is [token][head][d], or [token][d] where it holds one head. */
static const char *in_cache(const void *data, const sa_pages *pages, int64_t token, int head, int64_t heads, int64_t d,
                            const int64_t strides[3], int bytes) {
    const bool one_head = pages->table && pages->head_step;
    const int64_t token_stride = or_default(strides[0], one_head ? d : heads * d);
    const int64_t head_stride = or_default(strides[1], one_head ? 0 : d);
    if (!pages->table)
        return in_tensor(data, token, token_stride, head, head_stride, bytes);
    const int64_t page_stride = or_default(strides[2], pages->page_tokens * (one_head ? d : heads * d));
    const int64_t page = pages->table[head * pages->head_step + token / pages->page_tokens];
    return in_tensor(data, token % pages->page_tokens, token_stride, head, head_stride, bytes) +
           page * page_stride * bytes;
}

static const char *row_of(const sa_batch *b, const sa_sequence *seq, bool v, int64_t token, int head) {
    const sa_tensor *t = v ? &seq->v : &seq->k;
    const sa_pages pages = pages_of(seq, v);
    const int64_t strides[3] = {t->token_stride, t->head_stride, pages.page_stride};
    return in_cache(t->data, &pages, token, head, n_kv_heads(b), v ? d_v(b) : b->d_qk, strides,
                    element_bytes(type_of(b, v)));
}

static const char *scale_row_of(const sa_batch *b, const sa_sequence *seq, bool v, int64_t token, int head) {
    const sa_scales *s = v ? &seq->v_scales : &seq->k_scales;
    const sa_pages pages = pages_of(seq, v);
    const int64_t strides[3] = {s->token_stride, s->head_stride, s->page_stride};
    const int bytes = element_bytes(b->scale_type);
    if (b->flags & SA_SCALES_PER_HEAD)
        return in_tensor(s->data, 0, 0, head, or_default(s->head_stride, 1), bytes);
    return in_cache(s->data, &pages, token, head, n_kv_heads(b), 1, strides, bytes);
}

const void *reference_k(const sa_batch *batch, const sa_sequence *seq, int64_t token, int kv_head) {
    return row_of(batch, seq, false, token, kv_head);
}

const void *reference_v(const sa_batch *batch, const sa_sequence *seq, int64_t token, int kv_head) {
    return row_of(batch, seq, true, token, kv_head);
}

const void *reference_k_scale(const sa_batch *batch, const sa_sequence *seq, int64_t token, int kv_head) {
    return scale_row_of(batch, seq, false, token, kv_head);
}

const void *reference_v_scale(const sa_batch *batch, const sa_sequence *seq, int64_t token, int kv_head) {
    return scale_row_of(batch, seq, true, token, kv_head);
}

/* 1 for elements that have none. */
static double scale_at(const sa_batch *b, const sa_sequence *seq, bool v, int64_t token, int head) {
    return type_of(b, v) == SA_I8 ? element_value(b->scale_type, scale_row_of(b, seq, v, token, head)) : 1;
}

/* ---------------------------------------------------------------- the rule of positions */

bool reference_visible(const sa_batch *batch, const sa_sequence *seq, int64_t i, int64_t j) {
    int64_t p = (seq->flags & SA_SEQ_Q_OFFSET ? seq->q_offset : seq->n_k - seq->n_q) + i;
    bool window = batch->flags & SA_WINDOW;
    if (batch->flags & SA_CAUSAL && j > p)
        return false;
    if (window && batch->window_right >= 0 && j > p + batch->window_right)
        return false;
    if (window && batch->window_left >= 0 && j < p - batch->window_left)
        return j < batch->n_sink_keys;
    return true;
}

/* ---------------------------------------------------------------- a row */

/* A key the row sees: its score, then its weight p and the weight's relative error t. */
struct key {
    struct bound_key bound;
    double s, p, t;
    const char *v; /* its value */
    double v_scale;
};

static double scale_of(const sa_batch *b) { return b->scale != 0 ? (double)b->scale : 1 / sqrt((double)b->d_qk); }

static void load(int type, const char *row, int d, double *to) {
    for (int c = 0; c < d; c++)
        to[c] = element_value(type, row + c * element_bytes(type));
}

/* q, and room for a key. */
struct vectors {
    double q[REFERENCE_MAX_D], k[REFERENCE_MAX_D];
};

static struct key score(const sa_batch *b, const sa_sequence *seq, int64_t j, int kv_head, struct vectors *vectors) {
    struct key key = {.v = reference_v(b, seq, j, kv_head), .v_scale = scale_at(b, seq, true, j, kv_head)};
    const double scale = scale_at(b, seq, false, j, kv_head);
    load(b->k_type, reference_k(b, seq, j, kv_head), b->d_qk, vectors->k);
    for (int c = 0; c < b->d_qk; c++) {
        const double k = scale * vectors->k[c], product = vectors->q[c] * k;
        key.s += product;
        key.bound.z += fabs(product);
        key.bound.k_sum += fabs(k);
    }
    key.s *= scale_of(b);
    key.bound.z *= fabs(scale_of(b));
    key.bound.scale = scale;
    return key;
}

static int64_t list_visible(const sa_batch *b, const sa_sequence *seq, int64_t token, int head, struct key *keys) {
    int kv_head = head / (b->n_query_heads / n_kv_heads(b));
    struct vectors vectors;
    int64_t n = 0;
    load(b->q_type, reference_q(b, seq, token, head), b->d_qk, vectors.q);
    for (int64_t j = 0; j < seq->n_k; j++)
        if (reference_visible(b, seq, token, j))
            keys[n++] = score(b, seq, j, kv_head, &vectors);
    return n;
}

/* Turns scores into weights; returns the log-sum-exp. */
static double weigh(const sa_batch *b, struct key *keys, int64_t n) {
    double m = -HUGE_VAL, l = 0;
    for (int64_t j = 0; j < n; j++)
        m = keys[j].s > m || isnan(keys[j].s) ? keys[j].s : m;
    for (int64_t j = 0; j < n; j++)
        l += keys[j].p = exp(keys[j].s - m);
    for (int64_t j = 0; j < n; j++) {
        keys[j].p /= l;
        keys[j].bound.distance = m - keys[j].s;
        keys[j].t = bound_weight(b->d_qk, b->k_type, &keys[j].bound);
    }
    return m + log(l);
}

static double sum_weighted_errors(const struct key *keys, int64_t n) {
    double sum = 0;
    for (int64_t j = 0; j < n; j++)
        sum += keys[j].p * keys[j].t;
    return sum;
}

static void mix(const sa_batch *b, const struct key *keys, int64_t n, int64_t n_k, double p_t, int c,
                struct reference_row *row) {
    struct bound_sums sums = {.p_t = p_t};
    const int at = c * element_bytes(b->v_type);
    for (int64_t j = 0; j < n; j++) {
        const double v = keys[j].v_scale * element_value(b->v_type, keys[j].v + at);
        sums.o += keys[j].p * v;
        sums.p_v += keys[j].p * fabs(v);
        sums.p_t_v += keys[j].p * keys[j].t * fabs(v);
        sums.v_max = fabs(v) > sums.v_max ? fabs(v) : sums.v_max;
    }
    row->o[c] = sums.o;
    row->bound[c] = bound_o(n_k, b->v_type, b->o_type, &sums);
}

bool reference_row(const sa_batch *batch, int64_t sequence, int64_t token, int head, struct reference_row *row) {
    const sa_sequence *seq = reference_sequence(batch, sequence);
    struct key *keys = malloc((size_t)(seq->n_k + 1) * sizeof *keys);
    if (!keys)
        return false;
    int64_t n = row->n_visible = list_visible(batch, seq, token, head, keys);
    row->lse = n ? weigh(batch, keys, n) : -HUGE_VAL;
    double p_t = sum_weighted_errors(keys, n);
    row->lse_bound = n ? bound_lse(seq->n_k, p_t, row->lse) : 0;
    for (int c = 0; c < d_v(batch); c++)
        mix(batch, keys, n, seq->n_k, p_t, c, row);
    free(keys);
    return true;
}
