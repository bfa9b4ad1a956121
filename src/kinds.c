/* SPDX-License-Identifier: MIT */
#include "kinds.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "reason.h"
#include "tensors.h"

#define MAX_POSITION (INT32_C(1) << 30)

/* A sequence under scrutiny. */
struct subject {
    int64_t i;
    const sa_batch *batch;
    const sa_sequence *own;
};

static sa_status bad(const struct subject *s, const char *name, const char *what) {
    return sa_fail(SA_INVALID, "sequence %lld: %s %s", (long long)s->i, name, what);
}

static bool is_aligned(const void *data, size_t bytes) { return (uintptr_t)data % bytes == 0; }

/* ---------------------------------------------------------------- what a query sees */

static sa_status check_positions(const struct subject *s, const char *name, const int32_t *at, int64_t n) {
    if (!is_aligned(at, sizeof *at))
        return bad(s, name, "is not aligned to its elements");
    for (int64_t t = 0; at && t < n; t++)
        if (at[t] < -MAX_POSITION || at[t] > MAX_POSITION)
            return sa_fail(SA_INVALID, "sequence %lld: %s[%lld] is %d, expected at most 2^30 either way",
                           (long long)s->i, name, (long long)t, (int)at[t]);
    return SA_OK;
}

static sa_status check_documents(const struct subject *s) {
    const sa_sequence *own = s->own;
    if (!is_aligned(own->k_documents, sizeof(int32_t)) || !is_aligned(own->q_documents, sizeof(int32_t)))
        return bad(s, "q_documents or k_documents", "is not aligned to its elements");
    if (own->q_documents && !own->k_documents && own->n_k > 0)
        return bad(s, "q_documents", "is given without k_documents");
    if (own->k_documents && !own->q_documents && own->n_q > own->n_k)
        return bad(s, "k_documents", "is given without q_documents, and n_q is larger than n_k");
    return SA_OK;
}

static sa_status check_tree(const struct subject *s) {
    const sa_sequence *own = s->own;
    if (!own->n_tree_keys)
        return own->tree_parents ? bad(s, "tree_parents", "is given, but n_tree_keys is 0") : SA_OK;
    if (!own->tree_parents || !is_aligned(own->tree_parents, sizeof(int32_t)))
        return bad(s, "tree_parents", own->tree_parents ? "is not aligned to its elements" : "is NULL");
    if (own->n_tree_keys < own->n_q || own->n_tree_keys > own->n_k)
        return sa_fail(SA_INVALID, "sequence %lld: n_tree_keys is %lld, expected n_q = %lld to n_k = %lld",
                       (long long)s->i, (long long)own->n_tree_keys, (long long)own->n_q, (long long)own->n_k);
    for (int64_t t = 0; t < own->n_tree_keys; t++)
        if (own->tree_parents[t] < -1 || own->tree_parents[t] >= t)
            return sa_fail(SA_INVALID, "sequence %lld: tree_parents[%lld] is %d, expected -1 or a number below %lld",
                           (long long)s->i, (long long)t, (int)own->tree_parents[t], (long long)t);
    return SA_OK;
}

/* One list: ascending, and below the number of blocks. */
static sa_status check_list(const struct subject *s, const char *name, const sa_block_list *list, int64_t x,
                            int64_t n_blocks) {
    const int64_t begin = list->begin[x], end = list->begin[x + 1];
    if (begin < 0 || end < begin || (end > begin && !list->blocks))
        return sa_fail(SA_INVALID, "sequence %lld: %s: the list %lld begins at %lld and ends at %lld", (long long)s->i,
                       name, (long long)x, (long long)begin, (long long)end);
    if (end - begin > n_blocks)
        return sa_fail(SA_INVALID, "sequence %lld: %s: the list %lld has %lld blocks, there are %lld", (long long)s->i,
                       name, (long long)x, (long long)(end - begin), (long long)n_blocks);
    for (int64_t at = begin; at < end; at++)
        if (list->blocks[at] < 0 || list->blocks[at] >= n_blocks ||
            (at > begin && list->blocks[at] <= list->blocks[at - 1]))
            return sa_fail(SA_INVALID, "sequence %lld: %s: blocks[%lld] is %d, expected ascending numbers below %lld",
                           (long long)s->i, name, (long long)at, (int)list->blocks[at], (long long)n_blocks);
    return SA_OK;
}

static sa_status check_lists(const struct subject *s, const char *name, const sa_block_list *list) {
    const sa_block_sparsity *blocks = &s->own->blocks;
    if (!list->begin)
        return list->blocks || list->head_stride ? bad(s, name, "has fields given without begin") : SA_OK;
    if (!is_aligned(list->begin, sizeof(int64_t)) || !is_aligned(list->blocks, sizeof(int32_t)))
        return bad(s, name, "is not aligned to its elements");
    const int64_t n_lists = (s->own->n_q + blocks->q_block - 1) / blocks->q_block;
    const int64_t n_blocks = (s->own->n_k + blocks->k_block - 1) / blocks->k_block;
    const int n_heads = list->head_stride ? s->batch->n_query_heads : 1;
    if (list->head_stride < 0 || list->head_stride > INT64_MAX / (1 << 24))
        return bad(s, name, "has a head_stride that is negative or too large");
    for (int h = 0; h < n_heads; h++)
        for (int64_t b = 0; b < n_lists; b++) {
            sa_status status = check_list(s, name, list, h * list->head_stride + b, n_blocks);
            if (status != SA_OK)
                return status;
        }
    return SA_OK;
}

static sa_status check_blocks(const struct subject *s) {
    const sa_block_sparsity *blocks = &s->own->blocks;
    const bool any = blocks->full.begin || blocks->partial.begin;
    if (any ? blocks->q_block < 1 || blocks->k_block < 1 : blocks->q_block || blocks->k_block)
        return bad(s, "blocks", any ? "has a q_block or k_block below 1" : "has a q_block or k_block without lists");
    sa_status status = check_lists(s, "blocks.full", &blocks->full);
    return status == SA_OK ? check_lists(s, "blocks.partial", &blocks->partial) : status;
}

/* ---------------------------------------------------------------- fields */

static sa_status check_field(const struct subject *s, const char *name, const sa_grid *grid) {
    const bool strides = grid->head_stride || grid->query_stride || grid->key_stride;
    return strides && !grid->data && s->own->n_q && s->own->n_k ? bad(s, name, "has strides, but its data is NULL")
                                                                : SA_OK;
}

/* ---------------------------------------------------------------- numbers a head */

bool sa_may_be_score(float x) { return fabsf(x) < 0x1p127f; }

/* Of a sequence, or with s NULL of none. */
static sa_status bad_heads(const struct subject *s, const char *name, const char *what) {
    return s ? bad(s, name, what) : sa_fail(SA_INVALID, "%s %s", name, what);
}

static sa_status check_heads(const struct subject *s, const char *name, const float *numbers, int n, bool may_be_none) {
    char which[40], what[80];
    if (!is_aligned(numbers, sizeof *numbers))
        return bad_heads(s, name, "is not aligned to its elements");
    for (int h = 0; numbers && h < n; h++)
        if (!sa_may_be_score(numbers[h]) && !(may_be_none && numbers[h] == -INFINITY)) {
            snprintf(which, sizeof which, "%s[%d]", name, h);
            snprintf(what, sizeof what, "is %g, expected a finite number below 2^127%s", (double)numbers[h],
                     may_be_none ? " or -inf" : "");
            return bad_heads(s, which, what);
        }
    return SA_OK;
}

sa_status sa_check_sinks(const float *logits, int n) { return check_heads(NULL, "sink_logits", logits, n, true); }

/* ---------------------------------------------------------------- what else comes out */

static sa_status check_weights(const struct subject *s, sa_row_weights *weights) {
    if (!weights->data)
        return SA_OK;
    if (!is_aligned(weights->data, sizeof(float)) || !is_aligned(weights->rows, _Alignof(sa_row)))
        return bad(s, "weights", "is not aligned to its elements");
    if (weights->n_rows < 0 || (weights->n_rows > 0 && !weights->rows))
        return bad(s, "weights", "has no rows");
    weights->row_stride = weights->row_stride ? weights->row_stride : s->own->n_k;
    if (weights->n_rows > 1 && weights->row_stride < s->own->n_k)
        return bad(s, "weights", "overlaps itself: row_stride is less than n_k");
    for (int64_t r = 0; r < weights->n_rows; r++)
        if (weights->rows[r].query < 0 || weights->rows[r].query >= s->own->n_q || weights->rows[r].head < 0 ||
            weights->rows[r].head >= s->batch->n_query_heads || weights->rows[r].reserved)
            return sa_fail(SA_INVALID,
                           "sequence %lld: weights.rows[%lld] is query %lld, head %d, reserved %d: there is none",
                           (long long)s->i, (long long)r, (long long)weights->rows[r].query, (int)weights->rows[r].head,
                           (int)weights->rows[r].reserved);
    return SA_OK;
}

static sa_status check_mass(const struct subject *s, sa_key_mass *mass) {
    if (!mass->data)
        return SA_OK;
    if (!is_aligned(mass->data, sizeof(float)))
        return bad(s, "key_mass", "is not aligned to its elements");
    if (mass->head_stride && mass->head_stride < s->own->n_k)
        return bad(s, "key_mass", "overlaps itself: head_stride is less than n_k");
    if (mass->first_query < 0 || mass->first_query > s->own->n_q || mass->n_queries < 0 ||
        mass->n_queries > s->own->n_q - mass->first_query)
        return bad(s, "key_mass", "asks for queries that there are not");
    mass->n_queries = mass->n_queries ? mass->n_queries : s->own->n_q - mass->first_query;
    return SA_OK;
}

/* ---------------------------------------------------------------- all of it */

sa_status sa_check_kinds(const sa_batch *b) {
    if (b->softcap < 0 || !sa_may_be_score(b->softcap))
        return sa_fail(SA_INVALID, "sa_batch.softcap is %g, expected a number from 0 to below 2^127",
                       (double)b->softcap);
    sa_status status = check_heads(NULL, "sa_batch.alibi_slopes", b->alibi_slopes, b->n_query_heads, false);
    return status == SA_OK ? check_heads(NULL, "sa_batch.sink_logits", b->sink_logits, b->n_query_heads, true) : status;
}

static sa_status check_sight(const struct subject *s) {
    const sa_sequence *own = s->own;
    sa_status status = check_positions(s, "q_positions", own->q_positions, own->n_q);
    if (status == SA_OK)
        status = check_positions(s, "k_positions", own->k_positions, own->n_k);
    if (status == SA_OK && own->n_prefix_keys < 0)
        status = bad(s, "n_prefix_keys", "is negative");
    if (status == SA_OK)
        status = check_documents(s);
    if (status == SA_OK)
        status = check_tree(s);
    return status == SA_OK ? check_blocks(s) : status;
}

/* Where positions say nothing, or not all, of which keys are seen, every key may be. */
static struct sa_sight sight_of(const struct subject *s, const struct sa_problem *problem, struct sa_field mask,
                                bool *unruled) {
    const sa_sequence *own = s->own;
    struct sa_sight sight = {.q_positions = own->q_positions,
                             .k_positions = own->k_positions,
                             .n_prefix = problem->rule.right < SA_UNLIMITED ? own->n_prefix_keys : 0,
                             .q_documents = own->q_documents,
                             .k_documents = own->k_documents,
                             .parents = own->n_tree_keys ? own->tree_parents : NULL,
                             .n_tree = own->n_tree_keys,
                             .tree_begin = own->n_k - own->n_tree_keys,
                             .blocks = own->blocks,
                             .mask = mask};
    const bool limits = problem->rule.left < SA_UNLIMITED || problem->rule.right < SA_UNLIMITED;
    const bool moved = limits && (own->q_positions || own->k_positions);
    const bool lists = own->blocks.full.begin || own->blocks.partial.begin;
    if (own->k_documents && !own->q_documents)
        sight.q_documents = own->k_documents + (own->n_k - own->n_q);
    *unruled = moved || sight.n_prefix > 0 || sight.n_tree > 0 || own->blocks.full.begin;
    sight.any = *unruled || lists || own->k_documents || mask.data;
    return sight;
}

sa_status sa_resolve_kinds(const sa_batch *b, int64_t i, const sa_sequence *own, const struct sa_problem *problem,
                           struct sa_seq *seq) {
    const struct subject s = {i, b, own};
    sa_status status = check_sight(&s);
    seq->terms.slopes = own->alibi_slopes ? own->alibi_slopes : b->alibi_slopes;
    seq->sink_logits = own->sink_logits ? own->sink_logits : b->sink_logits;
    seq->reports = (struct sa_reports){own->weights, own->key_mass, NULL};
    if (status == SA_OK)
        status = check_field(&s, "mask", &own->mask);
    if (status == SA_OK)
        status = check_field(&s, "bias", &own->bias);
    if (status == SA_OK)
        status = check_heads(&s, "alibi_slopes", own->alibi_slopes, b->n_query_heads, false);
    if (status == SA_OK)
        status = check_heads(&s, "sink_logits", own->sink_logits, b->n_query_heads, true);
    if (status == SA_OK)
        status = check_weights(&s, &seq->reports.weights);
    if (status == SA_OK)
        status = check_mass(&s, &seq->reports.mass);
    if (status == SA_OK)
        seq->sight = sight_of(&s, problem, seq->sight.mask, &seq->unruled);
    return status;
}
