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

/* ---------------------------------------------------------------- a row */

/* A key the row sees: its score, then its weight p and the weight's relative error t. */
struct key {
    struct bound_key bound;
    double s, p, t;
    int64_t j;
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

/* scale * dot(q, k) */
static void multiply(const sa_batch *b, const sa_sequence *seq, int kv_head, struct vectors *vectors, struct key *key) {
    const double scale = scale_at(b, seq, false, key->j, kv_head);
    load(b->k_type, reference_k(b, seq, key->j, kv_head), b->d_qk, vectors->k);
    for (int c = 0; c < b->d_qk; c++) {
        const double k = scale * vectors->k[c], product = vectors->q[c] * k;
        key->s += product;
        key->bound.z += fabs(product);
        key->bound.k_sum += fabs(k);
    }
    key->s *= scale_of(b);
    key->bound.z *= fabs(scale_of(b));
    key->bound.scale = scale;
}

/* What is done to a score before it is a score, in this order. */
static void adjust(const sa_batch *b, const sa_sequence *seq, int64_t token, int head, struct key *key) {
    const float *slopes = seq->alibi_slopes ? seq->alibi_slopes : b->alibi_slopes;
    if (b->softcap > 0) {
        key->s = (double)b->softcap * tanh(key->s / (double)b->softcap);
        key->bound.terms += fabs(key->s);
    }
    if (slopes) {
        const int64_t distance = llabs(reference_q_position(seq, token) - reference_k_position(seq, key->j));
        key->s -= (double)slopes[head] * (double)distance;
        key->bound.terms += fabs((double)slopes[head] * (double)distance);
    }
    key->s += reference_bias(b, seq, token, head, key->j);
    key->bound.terms += fabs(reference_bias(b, seq, token, head, key->j));
}

/* Do positions as they count by themselves, and a window, say all of who sees what? */
static bool seen_by_window(const sa_batch *b, const sa_sequence *seq) {
    const bool window = b->flags & SA_WINDOW, right = b->flags & SA_CAUSAL || (window && b->window_right >= 0);
    const bool limits = right || (window && b->window_left >= 0), positions = seq->q_positions || seq->k_positions;
    return !(limits && positions) && !(right && seq->n_prefix_keys > 0) && !seq->n_tree_keys && !seq->k_documents &&
           !seq->blocks.full.begin && !seq->blocks.partial.begin && !seq->mask.data;
}

bool reference_in_pairs(const sa_batch *b) {
    const bool alike = b->k_type == b->q_type && b->v_type == b->q_type;
    const bool of_16_bits = b->q_type == SA_BF16 || (b->q_type == SA_F16 && b->flags & SA_F16_PAIRS);
    return alike && of_16_bits && b->d_qk % 2 == 0;
}

bool reference_in_bytes(const sa_batch *b, const sa_sequence *seq) {
    return b->k_type == SA_I8 && b->v_type == SA_I8 && b->d_qk >= 16 && b->d_qk <= 256 && !seq->bias.data &&
           seen_by_window(b, seq);
}

/* Of a key: the largest element of q, times what the elements of k add up to. */
static double of_digits(const sa_batch *b, const struct vectors *vectors, double k_sum) {
    double largest = 0;
    for (int c = 0; c < b->d_qk; c++)
        largest = fmax(largest, fabs(vectors->q[c]));
    return largest * k_sum * fabs(scale_of(b));
}

/* What may count as 0 in the products of a key that pairs of bf16 make. */
static double flushed(const sa_batch *b, const struct vectors *vectors) {
    double sum = b->d_qk;
    for (int c = 0; c < b->d_qk; c++)
        sum += fabs(vectors->q[c]) + fabs(vectors->k[c]);
    return sum * fabs(scale_of(b));
}

static int64_t list_visible(const sa_batch *b, const sa_sequence *seq, int64_t token, int head, bool pairs,
                            struct key *keys) {
    const int kv_head = head / (b->n_query_heads / n_kv_heads(b));
    struct vectors vectors;
    const bool bytes = reference_in_bytes(b, seq);
    int64_t n = 0;
    load(b->q_type, reference_q(b, seq, token, head), b->d_qk, vectors.q);
    for (int64_t j = 0; j < seq->n_k; j++)
        if (reference_sees(b, seq, token, head, j)) {
            keys[n] = (struct key){
                .j = j, .v = reference_v(b, seq, j, kv_head), .v_scale = scale_at(b, seq, true, j, kv_head)};
            multiply(b, seq, kv_head, &vectors, &keys[n]);
            keys[n].bound.flushed = pairs ? flushed(b, &vectors) : 0;
            keys[n].bound.digits = bytes ? of_digits(b, &vectors, keys[n].bound.k_sum) : 0;
            adjust(b, seq, token, head, &keys[n++]);
        }
    return n;
}

/* The logit of a sink that takes weight and gives no value; -inf: there is none. */
static double sink_of(const sa_batch *b, const sa_sequence *seq, int head) {
    const float *logits = seq->sink_logits ? seq->sink_logits : b->sink_logits;
    return logits ? (double)logits[head] : -HUGE_VAL;
}

/* The largest score, and how far off it may be. */
static void find_max(const sa_batch *b, const struct key *keys, int64_t n, struct reference_row *row) {
    row->m = -HUGE_VAL;
    row->m_bound = 0;
    for (int64_t j = 0; j < n; j++) {
        const double bound = bound_score(b->d_qk, b->k_type, &keys[j].bound, keys[j].s);
        row->m = keys[j].s > row->m || isnan(keys[j].s) ? keys[j].s : row->m;
        row->m_bound = bound > row->m_bound ? bound : row->m_bound;
    }
}

/* Turns scores into weights, and fills in lse. Returns sum p t, which is how far off l may be. */
static double weigh(const sa_batch *b, int64_t n_k, double sink, struct key *keys, int64_t n,
                    struct reference_row *row) {
    const double most = sink > row->m ? sink : row->m, merged = sink > -HUGE_VAL ? BOUND_MERGE : 0;
    double l = exp(sink - most), p_t = 0;
    for (int64_t j = 0; j < n; j++)
        l += keys[j].p = exp(keys[j].s - most);
    for (int64_t j = 0; j < n; j++) {
        keys[j].p /= l;
        keys[j].bound.distance = most - keys[j].s + merged;
        keys[j].t = bound_weight(b->d_qk, b->k_type, &keys[j].bound);
        p_t += keys[j].p * keys[j].t;
    }
    if (sink > -HUGE_VAL)
        p_t += exp(sink - most) / l * bound_sink(sink, most);
    row->lse = most + log(l);
    row->lse_bound = bound_lse(n_k, p_t, row->lse);
    return p_t;
}

static void report(const struct key *keys, int64_t n, int64_t n_k, double p_t, struct reference_row *row) {
    for (int64_t j = 0; j < n_k; j++)
        row->weights[j] = row->weight_bounds[j] = 0;
    for (int64_t j = 0; j < n; j++) {
        row->weights[keys[j].j] = keys[j].p;
        row->weight_bounds[keys[j].j] = bound_reported(n_k, keys[j].p, keys[j].t, p_t, keys[j].s, row->lse);
    }
}

/* Blocks of 256 keys: the largest weight times a value's scale, times what the elements of v add up to. */
static double of_weight_digits(const sa_batch *b, const struct key *keys, int64_t n, int at) {
    double sum = 0, largest = 0, v_sum = 0;
    for (int64_t j = 0; j < n; j++) {
        largest = fmax(largest, keys[j].p * fabs(keys[j].v_scale));
        v_sum += fabs(element_value(b->v_type, keys[j].v + at));
        if (j + 1 < n && keys[j + 1].j / 256 == keys[j].j / 256)
            continue;
        sum += largest * v_sum;
        largest = v_sum = 0;
    }
    return sum;
}

static void mix(const sa_batch *b, const struct key *keys, int64_t n, int64_t n_k, double p_t, int c,
                struct reference_row *row) {
    struct bound_sums sums = {.p_t = p_t, .pairs = row->pairs ? b->q_type : -1};
    const int at = c * element_bytes(b->v_type);
    for (int64_t j = 0; j < n; j++) {
        const double v = keys[j].v_scale * element_value(b->v_type, keys[j].v + at);
        sums.o += keys[j].p * v;
        sums.p_v += keys[j].p * fabs(v);
        sums.p_t_v += keys[j].p * keys[j].t * fabs(v);
        sums.v_max = fabs(v) > sums.v_max ? fabs(v) : sums.v_max;
    }
    sums.digits = row->bytes ? of_weight_digits(b, keys, n, at) : 0;
    row->o[c] = sums.o;
    row->bound[c] = bound_o(n_k, b->v_type, b->o_type, &sums);
}

bool reference_row(const sa_batch *batch, int64_t sequence, int64_t token, int head, struct reference_row *row) {
    const sa_sequence *seq = reference_sequence(batch, sequence);
    const double sink = sink_of(batch, seq, head);
    struct key *keys = malloc((size_t)(seq->n_k + 1) * sizeof *keys);
    double p_t = 0;
    if (!keys)
        return false;
    const bool asked = row->pairs;
    row->pairs = asked && reference_in_pairs(batch);
    row->bytes = reference_in_bytes(batch, seq);
    const int64_t n = row->n_visible = list_visible(batch, seq, token, head, row->pairs, keys);
    find_max(batch, keys, n, row);
    row->lse = -HUGE_VAL;
    row->lse_bound = 0;
    if (n > 0 || sink > -HUGE_VAL)
        p_t = weigh(batch, seq->n_k, sink, keys, n, row);
    for (int c = 0; row->o && c < d_v(batch); c++)
        mix(batch, keys, n, seq->n_k, p_t, c, row);
    if (row->weights)
        report(keys, n, seq->n_k, p_t, row);
    row->pairs = asked;
    free(keys);
    return true;
}

/* ---------------------------------------------------------------- the mass of keys */

bool reference_mass_counts(const sa_sequence *seq, int64_t token, int head) {
    const sa_key_mass *mass = &seq->key_mass;
    const int64_t n = mass->n_queries ? mass->n_queries : seq->n_q - mass->first_query;
    return token >= mass->first_query && token < mass->first_query + n && (!mass->heads || mass->heads[head]);
}

/* The numbers are summed in float32: each sum of so many adds as many roundings. */
bool reference_key_mass(const sa_batch *batch, int64_t sequence, int kv_head, double *mass, double *bounds) {
    const sa_sequence *seq = reference_sequence(batch, sequence);
    const int group = batch->n_query_heads / n_kv_heads(batch);
    double *weights = malloc((size_t)(2 * seq->n_k + 1) * sizeof *weights);
    struct reference_row row = {.weights = weights, .weight_bounds = weights + seq->n_k};
    int64_t n = 0;
    bool done = weights != NULL;
    for (int64_t j = 0; j < seq->n_k; j++)
        mass[j] = bounds[j] = 0;
    for (int64_t token = 0; token < seq->n_q; token++)
        for (int head = 0; done && head < batch->n_query_heads; head++) {
            if (!reference_mass_counts(seq, token, head) || (kv_head >= 0 && head / group != kv_head))
                continue;
            done = reference_row(batch, sequence, token, head, &row);
            n++;
            for (int64_t j = 0; done && j < seq->n_k; j++) {
                mass[j] += row.weights[j];
                bounds[j] += row.weight_bounds[j];
            }
        }
    for (int64_t j = 0; j < seq->n_k; j++)
        bounds[j] += bound_sum(n, mass[j]);
    free(weights);
    return done;
}
