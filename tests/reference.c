/* SPDX-License-Identifier: MIT */
#include "reference.h"

#include <math.h>
#include <stdlib.h>

#include "bound.h"

/* ---------------------------------------------------------------- addressing */

static int n_kv_heads(const sa_batch *b) { return b->n_kv_heads ? b->n_kv_heads : b->n_query_heads; }
static int d_v(const sa_batch *b) { return b->d_v ? b->d_v : b->d_qk; }
static int64_t or_default(int64_t stride, int64_t packed) { return stride ? stride : packed; }

const sa_sequence *reference_sequence(const sa_batch *batch, int64_t i) {
    return (const sa_sequence *)(const void *)((const char *)batch->sequences + (size_t)i * batch->sequence_size);
}

static const float *element(const sa_tensor *t, int64_t token, int64_t head, int64_t n_heads, int64_t d) {
    return (const float *)t->data + token * or_default(t->token_stride, n_heads * d) +
           head * or_default(t->head_stride, d);
}

const float *reference_q(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head) {
    return element(&seq->q, token, head, batch->n_query_heads, batch->d_qk);
}

const float *reference_k(const sa_batch *batch, const sa_sequence *seq, int64_t token, int kv_head) {
    return element(&seq->k, token, kv_head, n_kv_heads(batch), batch->d_qk);
}

const float *reference_v(const sa_batch *batch, const sa_sequence *seq, int64_t token, int kv_head) {
    return element(&seq->v, token, kv_head, n_kv_heads(batch), d_v(batch));
}

float *reference_o(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head) {
    const int64_t d = d_v(batch), heads = batch->n_query_heads;
    return (float *)seq->o.data + token * or_default(seq->o.token_stride, heads * d) +
           head * or_default(seq->o.head_stride, d);
}

float *reference_lse(const sa_batch *batch, const sa_sequence *seq, int64_t token, int head) {
    (void)batch;
    return (float *)seq->lse.data + token * or_default(seq->lse.token_stride, 1) +
           head * or_default(seq->lse.head_stride, seq->n_q);
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
    double s, z, k_sum, p, t;
    const float *v;
};

static double scale_of(const sa_batch *b) { return b->scale != 0 ? (double)b->scale : 1 / sqrt((double)b->d_qk); }

static struct key score(const sa_batch *b, const float *q, const float *k, const float *v) {
    struct key key = {.v = v};
    for (int c = 0; c < b->d_qk; c++) {
        double product = (double)q[c] * (double)k[c];
        key.s += product;
        key.z += fabs(product);
        key.k_sum += fabs((double)k[c]);
    }
    key.s *= scale_of(b);
    key.z *= fabs(scale_of(b));
    return key;
}

static int64_t list_visible(const sa_batch *b, const sa_sequence *seq, int64_t token, int head, struct key *keys) {
    int kv_head = head / (b->n_query_heads / n_kv_heads(b));
    const float *q = reference_q(b, seq, token, head);
    int64_t n = 0;
    for (int64_t j = 0; j < seq->n_k; j++)
        if (reference_visible(b, seq, token, j))
            keys[n++] = score(b, q, reference_k(b, seq, j, kv_head), reference_v(b, seq, j, kv_head));
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
        keys[j].t = bound_weight(b->d_qk, keys[j].z, m - keys[j].s, keys[j].k_sum);
    }
    return m + log(l);
}

static double sum_weighted_errors(const struct key *keys, int64_t n) {
    double sum = 0;
    for (int64_t j = 0; j < n; j++)
        sum += keys[j].p * keys[j].t;
    return sum;
}

static void mix(const struct key *keys, int64_t n, int64_t n_k, double p_t, int c, struct reference_row *row) {
    double o = 0, p_v = 0, p_t_v = 0, v_max = 0;
    for (int64_t j = 0; j < n; j++) {
        double v = (double)keys[j].v[c];
        o += keys[j].p * v;
        p_v += keys[j].p * fabs(v);
        p_t_v += keys[j].p * keys[j].t * fabs(v);
        v_max = fabs(v) > v_max ? fabs(v) : v_max;
    }
    row->o[c] = o;
    row->bound[c] = bound_o(n_k, p_v, p_t_v, p_t, o, v_max);
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
        mix(keys, n, seq->n_k, p_t, c, row);
    free(keys);
    return true;
}
