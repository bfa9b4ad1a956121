/* SPDX-License-Identifier: MIT */
#include "validate.h"

#include <math.h>
#include <stdbool.h>

#include "kernels/kernels.h"
#include "options.h"
#include "reason.h"

#define MAX_TOKENS ((INT64_C(1) << 31) - (INT64_C(1) << 20)) /* key positions, rounded up to chunks, fit into int32 */
#define MAX_OFFSET (INT64_C(1) << 32)
#define LOG2_E     1.44269504088896340736

/* ---------------------------------------------------------------- the batch */

static sa_status check_range(const char *name, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high)
        return SA_OK;
    return sa_fail(SA_INVALID, "%s is %lld, expected %lld to %lld", name, (long long)value, (long long)low,
                   (long long)high);
}

static sa_status check_heads(const sa_batch *b) {
    sa_status status = check_range("sa_batch.n_query_heads", b->n_query_heads, 1, 1 << 20);
    if (status == SA_OK)
        status = check_range("sa_batch.n_kv_heads", b->n_kv_heads, 1, b->n_query_heads);
    if (status == SA_OK && b->n_query_heads % b->n_kv_heads != 0)
        status = sa_fail(SA_INVALID, "sa_batch.n_query_heads is %d, not a multiple of n_kv_heads = %d",
                         (int)b->n_query_heads, (int)b->n_kv_heads);
    return status;
}

static sa_status check_type(const char *name, int32_t type) {
    if (type == SA_F32)
        return SA_OK;
    if (type >= SA_BF16 && type <= SA_I8)
        return sa_fail(SA_UNSUPPORTED, "sa_batch.%s: this version takes SA_F32 only", name);
    return sa_fail(SA_INVALID, "sa_batch.%s is %d, no sa_type", name, (int)type);
}

static sa_status check_types(const sa_batch *b) {
    sa_status status = check_type("q_type", b->q_type);
    if (status == SA_OK)
        status = check_type("k_type", b->k_type);
    if (status == SA_OK)
        status = check_type("v_type", b->v_type);
    if (status == SA_OK)
        status = check_type("o_type", b->o_type);
    return status;
}

static sa_status check_rule(const sa_batch *b) {
    if (b->flags & ~(SA_CAUSAL | SA_WINDOW))
        return sa_fail(SA_INVALID, "sa_batch.flags is 0x%x, has a bit this version does not know", (unsigned)b->flags);
    sa_status status = check_range("sa_batch.n_sink_keys", b->n_sink_keys, 0, INT64_MAX);
    if (status == SA_OK && b->flags & SA_WINDOW)
        status = check_range("sa_batch.window_left", b->window_left, -1, INT64_MAX);
    if (status == SA_OK && b->flags & SA_WINDOW)
        status = check_range("sa_batch.window_right", b->window_right, -1, INT64_MAX);
    if (status == SA_OK && !(b->flags & SA_WINDOW) && (b->window_left || b->window_right))
        status = sa_fail(SA_INVALID, "sa_batch.window_left or window_right is given without SA_WINDOW in flags");
    if (status == SA_OK && !isfinite((float)((double)b->scale * LOG2_E)))
        status = sa_fail(SA_INVALID, "sa_batch.scale is not finite, or too large to be multiplied by log2(e)");
    return status;
}

sa_status sa_validate_batch(const sa_batch *batch, sa_batch *own) {
    if (!batch)
        return sa_fail(SA_INVALID, "batch is NULL");
    sa_status status =
        sa_copy_in_grown(own, sizeof *own, offsetof(sa_batch, scale_type), batch, batch->struct_size, "sa_batch");
    if (status != SA_OK)
        return status;
    own->n_kv_heads = own->n_kv_heads ? own->n_kv_heads : own->n_query_heads;
    own->d_v = own->d_v ? own->d_v : own->d_qk;
    status = check_range("sa_batch.n_sequences", own->n_sequences, 0, INT32_MAX);
    if (status == SA_OK && own->n_sequences > 0 && !own->sequences)
        status = sa_fail(SA_INVALID, "sa_batch.sequences is NULL");
    if (status == SA_OK)
        status = check_heads(own);
    if (status == SA_OK)
        status = check_range("sa_batch.d_qk", own->d_qk, 1, SA_MAX_D);
    if (status == SA_OK)
        status = check_range("sa_batch.d_v", own->d_v, 1, SA_MAX_D);
    if (status == SA_OK)
        status = check_types(own);
    if (status == SA_OK)
        status = check_rule(own);
    return status;
}

/* ---------------------------------------------------------------- tensors */

/* A tensor as it lies in memory. */
struct shape {
    const char *name;
    int64_t seq, n_tokens, n_heads, d;
    int64_t default_token, default_head;
};

struct placed {
    int64_t token, head;   /* strides, defaults filled in */
    int64_t first, length; /* elements: the smallest offset from data, and how many from there to the last one */
    uintptr_t address;     /* of the smallest offset */
};

static sa_status bad_tensor(const struct shape *shape, const char *what) {
    return sa_fail(SA_INVALID, "sequence %lld: %s %s", (long long)shape->seq, shape->name, what);
}

/* Adds the offsets (n - 1) * stride to a range of offsets; false on overflow. */
static bool widen(int64_t n, int64_t stride, int64_t *low, int64_t *high) {
    int64_t reach;
    if (__builtin_mul_overflow(n - 1, stride, &reach))
        return false;
    return !__builtin_add_overflow(reach < 0 ? *low : *high, reach, reach < 0 ? low : high);
}

static sa_status place(const struct shape *shape, const void *data, int64_t token, int64_t head, struct placed *out) {
    *out = (struct placed){token ? token : shape->default_token, head ? head : shape->default_head, 0, 0, 0};
    if (shape->n_tokens == 0)
        return SA_OK;
    if (!data)
        return bad_tensor(shape, "is NULL");
    if ((uintptr_t)data % sizeof(float) != 0)
        return bad_tensor(shape, "is not aligned to its elements");
    int64_t low = 0, high = shape->d, bytes, to_low;
    bool fits = widen(shape->n_tokens, out->token, &low, &high) && widen(shape->n_heads, out->head, &low, &high);
    if (!fits || __builtin_sub_overflow(high, low, &out->length) || __builtin_mul_overflow(out->length, 4, &bytes) ||
        __builtin_mul_overflow(low, 4, &to_low))
        return bad_tensor(shape, "reaches beyond the address space: strides too large");
    out->first = low;
    if (__builtin_add_overflow((uintptr_t)data, (intptr_t)to_low, &out->address) ||
        out->address > UINTPTR_MAX - (uintptr_t)bytes)
        return bad_tensor(shape, "reaches beyond the address space: strides too large");
    return SA_OK;
}

static int64_t magnitude(int64_t x) { return x < 0 ? -(x + (x == INT64_MIN)) : x; }

/* Elements of an output must not share memory with one another: one axis steps over the other. */
static sa_status check_distinct(const struct shape *shape, const struct placed *p) {
    int64_t token = magnitude(p->token), head = magnitude(p->head), d = shape->d;
    int64_t nt = shape->n_tokens, nh = shape->n_heads;
    bool tokens_inside = (nt <= 1 || token >= d) && (nh <= 1 || head >= (nt - 1) * token + d);
    bool heads_inside = (nh <= 1 || head >= d) && (nt <= 1 || token >= (nh - 1) * head + d);
    if (nt == 0 || tokens_inside || heads_inside)
        return SA_OK;
    return bad_tensor(shape, "overlaps itself: its strides let two elements share memory");
}

/* Do two tensors share memory? Tensors that interleave with a common token stride, such as the parts of a packed
 * [token][q k v o] array, lie within each other's range without sharing an element. */
static bool overlap(const struct shape *sa, const struct placed *a, const struct shape *sb, const struct placed *b) {
    if (sa->n_tokens == 0 || sb->n_tokens == 0)
        return false;
    uintptr_t a_end = a->address + (uintptr_t)a->length * 4, b_end = b->address + (uintptr_t)b->length * 4;
    if (a_end <= b->address || b_end <= a->address)
        return false;
    int64_t period = magnitude(a->token);
    if (period != magnitude(b->token) || (a->address ^ b->address) % 4 != 0)
        return true;
    int64_t a_width = (sa->n_heads - 1) * magnitude(a->head) + sa->d,
            b_width = (sb->n_heads - 1) * magnitude(b->head) + sb->d;
    int64_t apart = (int64_t)(b->address - a->address) / 4 % period;
    apart = apart < 0 ? apart + period : apart;
    return a_width > apart || apart + b_width > period;
}

/* ---------------------------------------------------------------- the sequences */

enum { Q, K, V, O, LSE, N_TENSORS };

static sa_status check_counts(int64_t i, const sa_sequence *s) {
    if (s->n_q < 0 || s->n_q > MAX_TOKENS || s->n_k < 0 || s->n_k > MAX_TOKENS)
        return sa_fail(SA_INVALID, "sequence %lld: n_q is %lld and n_k is %lld, expected 0 to %lld", (long long)i,
                       (long long)s->n_q, (long long)s->n_k, (long long)MAX_TOKENS);
    if (s->flags & ~SA_SEQ_Q_OFFSET || s->reserved)
        return sa_fail(SA_INVALID, "sequence %lld: flags or reserved has a bit this version does not know",
                       (long long)i);
    if (!(s->flags & SA_SEQ_Q_OFFSET) && s->q_offset)
        return sa_fail(SA_INVALID, "sequence %lld: q_offset is given without SA_SEQ_Q_OFFSET in flags", (long long)i);
    if (s->q_offset < -MAX_OFFSET || s->q_offset > MAX_OFFSET)
        return sa_fail(SA_INVALID, "sequence %lld: q_offset is %lld, expected at most 2^32 either way", (long long)i,
                       (long long)s->q_offset);
    return SA_OK;
}

/* Two query tokens may share an output row of another kind, but nothing that is read may be written. */
static sa_status check_overlaps(const struct shape shape[N_TENSORS], const struct placed placed[N_TENSORS]) {
    for (int out = O; out <= LSE; out++)
        for (int other = Q; other < out; other++)
            if (overlap(&shape[out], &placed[out], &shape[other], &placed[other]))
                return sa_fail(SA_INVALID, "sequence %lld: %s overlaps %s", (long long)shape[out].seq, shape[out].name,
                               shape[other].name);
    return SA_OK;
}

/* Pointers are moved on by a token after the last one, too. Where there is one token, its stride may be anything. */
static int64_t token_stride(const struct shape *shape, const struct placed *p) {
    return shape->n_tokens > 1 ? p->token : shape->default_token;
}

static sa_status resolve(const sa_batch *b, int64_t i, const sa_sequence *s, struct sa_seq *seq) {
    const int64_t hq = b->n_query_heads, hk = b->n_kv_heads, dq = b->d_qk, dv = b->d_v;
    const int64_t n_lse = s->lse.data ? s->n_q : 0;
    const struct shape shape[N_TENSORS] = {{"q", i, s->n_q, hq, dq, hq * dq, dq},
                                           {"k", i, s->n_k, hk, dq, hk * dq, dq},
                                           {"v", i, s->n_k, hk, dv, hk * dv, dv},
                                           {"o", i, s->n_q, hq, dv, hq * dv, dv},
                                           {"lse", i, n_lse, hq, 1, 1, s->n_q}};
    const sa_tensor tensor[N_TENSORS] = {s->q,
                                         s->k,
                                         s->v,
                                         {s->o.data, s->o.token_stride, s->o.head_stride},
                                         {s->lse.data, s->lse.token_stride, s->lse.head_stride}};
    struct placed p[N_TENSORS];
    sa_status status = check_counts(i, s);
    for (int t = 0; t < N_TENSORS && status == SA_OK; t++)
        status = place(&shape[t], tensor[t].data, tensor[t].token_stride, tensor[t].head_stride, &p[t]);
    for (int t = O; t < N_TENSORS && status == SA_OK; t++)
        status = check_distinct(&shape[t], &p[t]);
    if (status == SA_OK)
        status = check_overlaps(shape, p);
    if (status != SA_OK)
        return status;
    *seq = (struct sa_seq){.n_q = s->n_q,
                           .n_k = s->n_k,
                           .q_offset = s->flags & SA_SEQ_Q_OFFSET ? s->q_offset : s->n_k - s->n_q,
                           .q = {s->q.data, token_stride(&shape[Q], &p[Q]), p[Q].head},
                           .k = {s->k.data, token_stride(&shape[K], &p[K]), p[K].head},
                           .v = {s->v.data, token_stride(&shape[V], &p[V]), p[V].head},
                           .o = {s->o.data, token_stride(&shape[O], &p[O]), p[O].head},
                           .lse = {s->lse.data, token_stride(&shape[LSE], &p[LSE]), p[LSE].head}};
    return SA_OK;
}

/* Limits that no position can reach count as none, which keeps sums of positions far from overflow. */
static int64_t limit(int64_t window) { return window < 0 || window > MAX_OFFSET * 2 ? SA_UNLIMITED : window; }

static struct sa_rule rule_of(const sa_batch *b) {
    bool window = b->flags & SA_WINDOW;
    return (struct sa_rule){.left = window ? limit(b->window_left) : SA_UNLIMITED,
                            .right = b->flags & SA_CAUSAL ? 0
                                     : window             ? limit(b->window_right)
                                                          : SA_UNLIMITED,
                            .sink = b->n_sink_keys < MAX_TOKENS ? b->n_sink_keys : MAX_TOKENS};
}

/* Adds to the totals; they may not overflow int64, or progress and cost would lie. */
static sa_status count(struct sa_problem *problem, const struct sa_seq *seq, int64_t n_query_heads) {
    int64_t pairs = sa_visible_pairs(&problem->rule, seq->q_offset, seq->q_offset + seq->n_q - 1, seq->n_k);
    int64_t rows;
    if (__builtin_mul_overflow(pairs, n_query_heads, &pairs) ||
        __builtin_mul_overflow(seq->n_q, n_query_heads, &rows) ||
        __builtin_add_overflow(problem->n_pairs, pairs, &problem->n_pairs) ||
        __builtin_add_overflow(problem->n_rows, rows, &problem->n_rows))
        return sa_fail(SA_UNSUPPORTED, "the batch has more than 2^63 (query, key) pairs");
    return SA_OK;
}

sa_status sa_validate_sequences(const sa_batch *own, struct sa_problem *problem) {
    double scale = own->scale != 0.0f ? (double)own->scale : 1.0 / sqrt((double)own->d_qk);
    *problem = (struct sa_problem){.n_seqs = own->n_sequences,
                                   .seqs = problem->seqs,
                                   .n_kv_heads = own->n_kv_heads,
                                   .group = own->n_query_heads / own->n_kv_heads,
                                   .d_qk = own->d_qk,
                                   .d_v = own->d_v,
                                   .factor = (float)(scale * LOG2_E),
                                   .rule = rule_of(own),
                                   .progress = own->progress};
    const char *at = (const char *)own->sequences;
    for (int64_t i = 0; i < own->n_sequences; i++, at += own->sequence_size) {
        sa_sequence s;
        sa_status status =
            sa_copy_in_grown(&s, sizeof s, offsetof(sa_sequence, k_pages), at, own->sequence_size, "sa_sequence");
        if (status == SA_OK)
            status = resolve(own, i, &s, &problem->seqs[i]);
        if (status == SA_OK)
            status = count(problem, &problem->seqs[i], own->n_query_heads);
        if (status != SA_OK)
            return status;
    }
    return SA_OK;
}
