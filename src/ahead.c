/* SPDX-License-Identifier: MIT */
#include "ahead.h"

#include "cost.h"
#include "near.h"
#include "sight.h"

/* A tile's rows of q or of o, which have head 0 of token 0 at `data`: with the tokens that it begins and ends with,
 * those of each head or those of each token side by side, whichever are more. */
static void add_rows(struct sa_ahead *after, const struct sa_problem *problem, struct sa_item item, const char *data,
                     ptrdiff_t token, ptrdiff_t head, int bytes) {
    const int group = problem->group, n_rows = sa_tile_rows(problem, &problem->seqs[item.seq], item.tile);
    const int64_t row = item.tile * SA_TILE_ROWS, first = row / group;
    const int n_tokens = (int)((row + n_rows - 1) / group - first) + 1;
    data += item.kv_head * group * head + first * token;
    for (int i = 0; n_tokens >= group && i < group; i++)
        sa_ahead_add(after, sa_lines_of_rows(data + i * head, token, n_tokens, bytes));
    for (int i = 0; n_tokens < group && i < n_tokens; i++)
        sa_ahead_add(after, sa_lines_of_rows(data + i * token, head, group, bytes));
}

static void add_outputs(struct sa_ahead *after, const struct sa_problem *problem, struct sa_item item) {
    const struct sa_strided_out *o = &problem->seqs[item.seq].o;
    add_rows(after, problem, item, o->data, o->token, o->head, problem->d_v * sa_type_bytes(problem->o_type));
}

static void add_queries(struct sa_ahead *after, const struct sa_problem *problem, struct sa_item item) {
    const struct sa_strided *q = &problem->seqs[item.seq].q;
    add_rows(after, problem, item, q->data, q->token, q->head, problem->d_qk * sa_type_bytes(problem->q_type));
}

static bool is_few(const struct sa_problem *problem, struct sa_item item) {
    return sa_tile_rows(problem, &problem->seqs[item.seq], item.tile) <= SA_FEW_ROWS;
}

/* Where the first block begins that an item has to look at, or `begin` within it; of few rows the first strip. */
static int64_t first_block(const struct sa_problem *problem, struct sa_item item, int64_t begin) {
    enum { N_BLOCKS = 16 };
    const struct sa_seq *seq = &problem->seqs[item.seq];
    if (!seq->sight.any) {
        const struct sa_span span = sa_tile_span(problem, seq, item.tile);
        const int64_t first = span.lo - span.lo % (is_few(problem, item) ? SA_SUM_KEYS : SA_BLOCK_KEYS);
        return span.sink > begin || first < begin ? begin : first;
    }
    const struct sa_viewer viewer =
        sa_viewer_of(problem, seq, item.kv_head, item.tile * SA_TILE_ROWS, sa_tile_rows(problem, seq, item.tile));
    return sa_viewer_next(&viewer, begin, N_BLOCKS);
}

/* The keys that an item begins with, unless the one before it goes through the same: its first block's, then those that
 * follow. */
static struct sa_first_keys find_first_keys(const struct sa_problem *problem, const struct sa_splits *splits,
                                            struct sa_item item, struct sa_item before) {
    const struct sa_seq *seq = &problem->seqs[item.seq];
    const bool whole = item.split == SA_WHOLE;
    const struct sa_range keys =
        whole ? (struct sa_range){seq->first_key, seq->n_k} : sa_part_keys(&splits->at[item.split], item.part);
    const int64_t begin = sa_clamp(first_block(problem, item, keys.begin), keys.begin, keys.end);
    const bool same = whole && item.seq == before.seq && item.kv_head == before.kv_head &&
                      begin == first_block(problem, before, keys.begin);
    if (same || begin < seq->first_key)
        return (struct sa_first_keys){.begin = 0, .end = 0};
    return (struct sa_first_keys){sa_cache_of_head(&seq->k, item.kv_head), begin, keys.end, sa_abreast(seq)};
}

/* The first block's, and its values. */
static void add_first_block(struct sa_tile *t, const struct sa_splits *splits, struct sa_item item,
                            struct sa_item before) {
    const struct sa_first_keys first = find_first_keys(t->problem, splits, item, before);
    if (first.begin == first.end)
        return;
    const struct sa_cache v = sa_cache_of_head(&t->problem->seqs[item.seq].v, item.kv_head);
    const int64_t block_end = first.begin - first.begin % SA_BLOCK_KEYS + SA_BLOCK_KEYS;
    t->after_end = block_end < first.end ? block_end : first.end;
    sa_ahead_add_tokens(t->after, &first.k, first.begin, t->after_end);
    sa_ahead_add_tokens(t->after, &v, first.begin, t->after_end);
}

/* Of all heads that go abreast. */
static void add_each(void (*add)(struct sa_ahead *, const struct sa_problem *, struct sa_item), struct sa_ahead *after,
                     const struct sa_problem *problem, struct sa_item item) {
    for (int i = sa_abreast(&problem->seqs[item.seq]); i > 0; i--, item.kv_head++)
        add(after, problem, item);
}

void sa_ahead_of_item(struct sa_tile *t, const struct sa_splits *splits, struct sa_item item,
                      const struct sa_item *next) {
    const bool few = is_few(t->problem, item), few_next = next && is_few(t->problem, *next);
    t->fetched_end = t->space->fetched_end;
    t->space->fetched_end = 0;
    sa_ahead_open(t->after);
    if (item.split == SA_WHOLE && !t->seq->kept)
        add_each(add_outputs, t->after, t->problem, item);
    if (t->n_abreast > sa_abreast(t->seq)) {
        struct sa_item second = item;
        second.tile++;
        add_outputs(t->after, t->problem, second);
    }
    if (next && (few_next || !few))
        add_each(add_queries, t->after, t->problem, *next);
    if (few_next && few)
        t->next_keys = find_first_keys(t->problem, splits, *next, item);
    else if (next && !few)
        add_first_block(t, splits, *next, item);
}
