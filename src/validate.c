/* SPDX-License-Identifier: MIT */
#include "validate.h"

#include <math.h>
#include <stdbool.h>

#include "abreast.h"
#include "kept.h"
#include "kernels/kernels.h"
#include "kinds.h"
#include "options.h"
#include "parts.h"
#include "reason.h"
#include "tensors.h"

#define MAX_TOKENS ((INT64_C(1) << 31) - (INT64_C(1) << 20)) /* key positions, rounded up to chunks, fit into int32 */
#define MAX_OFFSET (INT64_C(1) << 32)

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

/* Whether a tensor may be of a type. */
static sa_status check_type(const char *name, int32_t type, bool int8) {
    if (type == SA_F32 || type == SA_BF16 || type == SA_F16 || (int8 && type == SA_I8))
        return SA_OK;
    if (type == SA_F64)
        return sa_fail(SA_UNSUPPORTED, "%s: this version does not take SA_F64", name);
    return sa_fail(SA_INVALID, "%s is %d, expected SA_F32, SA_BF16%s", name, (int)type,
                   int8 ? ", SA_F16 or SA_I8" : " or SA_F16");
}

static sa_status check_types(const sa_batch *b) {
    sa_status status = check_type("sa_batch.q_type", b->q_type, false);
    if (status == SA_OK)
        status = check_type("sa_batch.k_type", b->k_type, true);
    if (status == SA_OK)
        status = check_type("sa_batch.v_type", b->v_type, true);
    if (status == SA_OK)
        status = check_type("sa_batch.o_type", b->o_type, false);
    if (status == SA_OK)
        status = check_type("sa_batch.scale_type", b->scale_type, false);
    if (status == SA_OK)
        status = check_type("sa_batch.bias_type", b->bias_type, false);
    return status;
}

static sa_status check_rule(const sa_batch *b) {
    if (b->flags & ~(SA_CAUSAL | SA_WINDOW | SA_SCALES_PER_HEAD | SA_F16_PAIRS) || b->reserved)
        return sa_fail(SA_INVALID, "sa_batch.flags is 0x%x, reserved %d: has a bit this version does not know",
                       (unsigned)b->flags, (int)b->reserved);
    sa_status status = check_range("sa_batch.n_sink_keys", b->n_sink_keys, 0, INT64_MAX);
    if (status == SA_OK && b->flags & SA_WINDOW)
        status = check_range("sa_batch.window_left", b->window_left, -1, INT64_MAX);
    if (status == SA_OK && b->flags & SA_WINDOW)
        status = check_range("sa_batch.window_right", b->window_right, -1, INT64_MAX);
    if (status == SA_OK && !(b->flags & SA_WINDOW) && (b->window_left || b->window_right))
        status = sa_fail(SA_INVALID, "sa_batch.window_left or window_right is given without SA_WINDOW in flags");
    if (status == SA_OK && !sa_may_be_score(b->scale))
        status = sa_fail(SA_INVALID, "sa_batch.scale is %g, expected a finite number below 2^127", (double)b->scale);
    return status;
}

sa_status sa_validate_batch(const sa_batch *batch, sa_batch *own) {
    if (!batch)
        return sa_fail(SA_INVALID, "batch is NULL");
    static const size_t older[] = {offsetof(sa_batch, scale_type), offsetof(sa_batch, softcap), 0};
    sa_status status = sa_copy_in_grown(own, sizeof *own, older, batch, batch->struct_size, "sa_batch");
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
    if (status == SA_OK)
        status = sa_check_kinds(own);
    return status;
}

/* ---------------------------------------------------------------- the sequences */

static sa_status copy_sequence(const sa_batch *b, int64_t i, sa_sequence *own) {
    static const size_t older[] = {offsetof(sa_sequence, k_pages), offsetof(sa_sequence, q_positions), 0};
    const char *at = (const char *)b->sequences + (size_t)i * b->sequence_size;
    return sa_copy_in_grown(own, sizeof *own, older, at, b->sequence_size, "sa_sequence");
}

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

/* Below, positions count from the first key of the whole, as if all keys up to these were there. */
static void shift_keys(struct sa_seq *seq, int64_t first_key) {
    struct sa_cache *caches[2] = {&seq->k, &seq->v};
    struct sa_sight *sight = &seq->sight;
    seq->n_k += first_key;
    seq->first_key = first_key;
    for (int c = 0; first_key > 0 && c < 2; c++) {
        struct sa_cache *cache = caches[c];
        if (cache->table)
            cache->table -= first_key / cache->page_tokens;
        else if (cache->data) {
            cache->data -= first_key * cache->token;
            cache->scales = cache->scales ? cache->scales - first_key * cache->scale_token : NULL;
        }
    }
    sight->k_positions = sight->k_positions ? sight->k_positions - first_key : NULL;
    sight->k_documents = sight->k_documents ? sight->k_documents - first_key : NULL;
    sight->mask.data = sight->mask.data ? sight->mask.data - first_key * sight->mask.key : NULL;
    seq->terms.bias.data = seq->terms.bias.data ? seq->terms.bias.data - first_key * seq->terms.bias.key : NULL;
}

static struct sa_kept kept_of(int64_t n_q, int32_t n_heads, int32_t d_v, int64_t first_key, int64_t end_key) {
    return (struct sa_kept){SA_KEPT_MAGIC, n_q, first_key, end_key, n_heads, d_v, {0}};
}

static sa_status check_first_key(const sa_batch *b, int64_t i, const sa_sequence *s) {
    const int64_t k_page = s->k_pages.table ? s->k_pages.page_tokens : 1,
                  v_page = s->v_pages.table ? s->v_pages.page_tokens : k_page;
    if (s->first_key < 0 || s->first_key % SA_CHUNK_KEYS || s->first_key > MAX_TOKENS - s->n_k)
        return sa_fail(SA_INVALID, "sequence %lld: first_key is %lld, expected a multiple of %d, at most %lld less n_k",
                       (long long)i, (long long)s->first_key, SA_CHUNK_KEYS, (long long)MAX_TOKENS);
    if (k_page > 0 && v_page > 0 && (s->first_key % k_page || s->first_key % v_page))
        return sa_fail(SA_INVALID, "sequence %lld: first_key is %lld, not a multiple of page_tokens", (long long)i,
                       (long long)s->first_key);
    if (s->first_key && (s->n_tree_keys || s->blocks.full.begin || s->blocks.partial.begin))
        return sa_fail(SA_INVALID, "sequence %lld: first_key is given with tree_parents or blocks", (long long)i);
    if (!s->partial)
        return s->partial_bytes
                   ? sa_fail(SA_INVALID, "sequence %lld: partial_bytes is given without partial", (long long)i)
                   : SA_OK;
    if (s->o.data || s->lse.data || s->row_max.data || s->weights.data || s->key_mass.data)
        return sa_fail(SA_INVALID, "sequence %lld: partial is given with o, lse, row_max, weights or key_mass",
                       (long long)i);
    if (s->sink_logits || b->sink_logits)
        return sa_fail(SA_INVALID, "sequence %lld: partial is given with sink_logits, which belong to sa_merge()",
                       (long long)i);
    const struct sa_kept kept = kept_of(s->n_q, b->n_query_heads, b->d_v, s->first_key, s->first_key + s->n_k);
    if ((uintptr_t)s->partial % sizeof(int64_t) || !sa_kept_bytes(&kept) || s->partial_bytes < sa_kept_bytes(&kept))
        return sa_fail(SA_INVALID, "sequence %lld: partial_bytes is %zu, expected %zu, on a boundary of 8 bytes",
                       (long long)i, s->partial_bytes, sa_kept_bytes(&kept));
    return SA_OK;
}

/* Pages in which no query sees a key may have been given up: their entries are not looked at. */
static sa_status check_pages(const struct sa_problem *problem, int64_t i, struct sa_seq *seq) {
    struct sa_span first = sa_visible(sa_rule_of(problem, seq), seq->q_offset, seq->n_k),
                   last = sa_visible(sa_rule_of(problem, seq), seq->q_offset + seq->n_q - 1, seq->n_k);
    const int64_t sink = last.sink < first.lo ? last.sink : first.lo;
    struct sa_cache *caches[2] = {&seq->k, &seq->v};
    const int64_t lo = first.lo > seq->first_key ? first.lo : seq->first_key;
    sa_status status = SA_OK;
    for (int c = 0; c < 2 && status == SA_OK && seq->n_q > 0; c++) {
        caches[c]->sink_end = sink;
        caches[c]->seen_begin = first.lo;
        caches[c]->seen_end = last.hi;
        status = sa_check_pages(i, c ? "v" : "k", caches[c], problem->n_kv_heads, seq->first_key, sink);
        if (status == SA_OK)
            status = sa_check_pages(i, c ? "v" : "k", caches[c], problem->n_kv_heads, lo, last.hi);
    }
    return status;
}

static sa_status resolve(const sa_batch *b, int64_t i, const sa_sequence *s, const struct sa_problem *problem,
                         struct sa_seq *seq) {
    sa_status status = check_counts(i, s);
    if (status == SA_OK)
        status = check_first_key(b, i, s);
    if (status == SA_OK)
        status = sa_resolve_tensors(b, i, s, seq);
    if (status != SA_OK)
        return status;
    seq->n_q = s->n_q;
    seq->n_k = s->n_k;
    seq->q_offset = s->flags & SA_SEQ_Q_OFFSET ? s->q_offset : s->first_key + s->n_k - s->n_q;
    seq->kept = s->partial;
    status = sa_resolve_kinds(b, i, s, problem, seq);
    if (status != SA_OK)
        return status;
    shift_keys(seq, s->first_key);
    seq->beside = sa_choose_abreast(problem, seq) - 1;
    seq->together = sa_choose_together(problem, seq);
    return check_pages(problem, i, seq);
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
    int64_t pairs = sa_visible_pairs(sa_rule_of(problem, seq), seq->q_offset, seq->q_offset + seq->n_q - 1, seq->n_k);
    int64_t rows;
    if (seq->first_key > 0)
        pairs -=
            sa_visible_pairs(sa_rule_of(problem, seq), seq->q_offset, seq->q_offset + seq->n_q - 1, seq->first_key);
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
                                   .most_abreast = 1,
                                   .d_qk = own->d_qk,
                                   .d_v = own->d_v,
                                   .q_type = own->q_type,
                                   .o_type = own->o_type,
                                   .factor = (float)(scale * LOG2_E),
                                   .softcap = own->softcap,
                                   .bias_type = own->bias_type,
                                   .f16_pairs = own->flags & SA_F16_PAIRS,
                                   .rule = rule_of(own),
                                   .progress = own->progress};
    for (int64_t i = 0; i < own->n_sequences; i++) {
        sa_sequence s;
        sa_status status = copy_sequence(own, i, &s);
        if (status == SA_OK)
            status = resolve(own, i, &s, problem, &problem->seqs[i]);
        if (status == SA_OK)
            status = count(problem, &problem->seqs[i], own->n_query_heads);
        if (status == SA_OK && sa_abreast(&problem->seqs[i]) > problem->most_abreast)
            problem->most_abreast = sa_abreast(&problem->seqs[i]);
        problem->together |= status == SA_OK && problem->seqs[i].together;
        if (status != SA_OK)
            return status;
    }
    return SA_OK;
}

/* ---------------------------------------------------------------- new tokens */

sa_status sa_validate_append(const sa_append *append, int64_t n_sequences, sa_append *own) {
    if (!append)
        return sa_fail(SA_INVALID, "append is NULL");
    sa_status status = sa_copy_in(own, sizeof *own, append, append->struct_size, "sa_append");
    if (status == SA_OK && n_sequences > 0 && !own->tokens)
        status = sa_fail(SA_INVALID, "sa_append.tokens is NULL");
    if (status == SA_OK)
        status = check_type("sa_append.k_type", own->k_type, false);
    if (status == SA_OK)
        status = check_type("sa_append.v_type", own->v_type, false);
    return status;
}

sa_status sa_validate_incoming(const sa_batch *b, const sa_append *append, int64_t i, struct sa_incoming *incoming) {
    const char *at = (const char *)append->tokens + (size_t)i * append->tokens_size;
    sa_sequence s;
    sa_new_tokens tokens;
    sa_status status = copy_sequence(b, i, &s);
    if (status == SA_OK)
        status = sa_copy_in(&tokens, sizeof tokens, at, append->tokens_size, "sa_new_tokens");
    if (status == SA_OK)
        status = check_counts(i, &s);
    if (status == SA_OK && (tokens.n < 0 || tokens.n > s.n_k))
        status = sa_fail(SA_INVALID, "sequence %lld: sa_new_tokens.n is %lld, expected 0 to n_k = %lld", (long long)i,
                         (long long)tokens.n, (long long)s.n_k);
    return status == SA_OK ? sa_resolve_append(b, i, &s, append, &tokens, incoming) : status;
}

/* ---------------------------------------------------------------- partial results */

sa_status sa_validate_merge(const sa_merge_request *request, sa_merge_request *own) {
    if (!request)
        return sa_fail(SA_INVALID, "request is NULL");
    sa_status status = sa_copy_in(own, sizeof *own, request, request->struct_size, "sa_merge_request");
    if (status == SA_OK)
        status = check_range("sa_merge_request.n_partials", own->n_partials, 0, INT32_MAX);
    if (status == SA_OK && own->n_partials > 0 && !own->partials)
        status = sa_fail(SA_INVALID, "sa_merge_request.partials is NULL");
    if (status == SA_OK)
        status = check_range("sa_merge_request.n_q", own->n_q, 0, MAX_TOKENS);
    if (status == SA_OK)
        status = check_range("sa_merge_request.n_query_heads", own->n_query_heads, 1, 1 << 20);
    if (status == SA_OK)
        status = check_range("sa_merge_request.d_v", own->d_v, 1, SA_MAX_D);
    if (status == SA_OK)
        status = check_type("sa_merge_request.o_type", own->o_type, false);
    if (status == SA_OK && own->reserved)
        status = sa_fail(SA_INVALID, "sa_merge_request.reserved is %u, expected 0", (unsigned)own->reserved);
    if (status == SA_OK)
        status = sa_check_sinks(own->sink_logits, own->n_query_heads);
    return status;
}

size_t sa_partial_bytes(int64_t n_q, int32_t n_query_heads, int32_t d_v, int64_t first_key, int64_t n_k) {
    if (n_q < 0 || n_q > MAX_TOKENS || n_query_heads < 1 || n_query_heads > 1 << 20 || d_v < 1 || d_v > SA_MAX_D ||
        first_key < 0 || first_key % SA_CHUNK_KEYS || n_k < 0 || first_key > MAX_TOKENS || n_k > MAX_TOKENS - first_key)
        return 0;
    const struct sa_kept kept = kept_of(n_q, n_query_heads, d_v, first_key, first_key + n_k);
    return sa_kept_bytes(&kept);
}
