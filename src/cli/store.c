/* SPDX-License-Identifier: MIT */
#include "store.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "types.h"

bool store_wanted(const struct store_options *options) {
    return options->has_type || options->kv_int8 || options->page_tokens > 0;
}

/* ---------------------------------------------------------------- memory */

/* `n` elements; complains and returns NULL if there is no memory for them. Cache lines are those of the engine. */
static void *room(int64_t n, size_t element_bytes) {
    enum { LINE = 64 };
    size_t bytes;
    void *memory = NULL;
    if (!__builtin_mul_overflow(n, element_bytes, &bytes) && bytes < SIZE_MAX / 2)
        memory = aligned_alloc(LINE, (bytes + LINE) / LINE * LINE);
    if (!memory)
        complain("no memory for %lld elements of %zu bytes", (long long)n, element_bytes);
    return memory;
}

/* Strides within `tokens` tokens that stand together. */
static void set_strides(bool heads_first, int64_t tokens, int64_t heads, int64_t d, int64_t *token, int64_t *head) {
    *token = heads_first ? d : heads * d;
    *head = heads_first ? tokens * d : d;
}

/* ---------------------------------------------------------------- pages */

static int64_t pages_of(int64_t n_tokens, int64_t page_tokens) { return (n_tokens + page_tokens - 1) / page_tokens; }

/* 0 .. n - 1 in an order that has nothing to do with the tokens', the same each time. */
static void shuffle(int32_t *table, int64_t n) {
    uint64_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        int64_t j = (int64_t)((state >> 33) % (uint64_t)(i + 1));
        table[i] = table[j];
        table[j] = (int32_t)i;
    }
}

/* One pool for k and one for v, with one table a sequence for both. */
static bool make_pages(const struct store_options *o, struct store *store, int64_t *n_tokens) {
    int64_t n_pages = 0, at = 0;
    for (int64_t i = 0; i < store->batch.n_sequences; i++)
        n_pages += pages_of(store->seqs[i].n_k, o->page_tokens);
    if (n_pages > INT32_MAX)
        return complain("--page-size %lld: %lld pages, more than 2^31 - 1", (long long)o->page_tokens,
                        (long long)n_pages);
    store->table = room(n_pages, sizeof *store->table);
    if (!store->table)
        return false;
    shuffle(store->table, n_pages);
    for (int64_t i = 0; i < store->batch.n_sequences; i++) {
        sa_sequence *seq = &store->seqs[i];
        seq->k_pages =
            (sa_pages){.table = store->table + at, .n_pages = n_pages, .page_tokens = (int32_t)o->page_tokens};
        at += pages_of(seq->n_k, o->page_tokens);
    }
    *n_tokens = n_pages * o->page_tokens;
    return true;
}

/* ---------------------------------------------------------------- caches */

static int64_t count_tokens(const struct store *store) {
    int64_t n = 0;
    for (int64_t i = 0; i < store->batch.n_sequences; i++)
        n += store->seqs[i].n_k;
    return n;
}

/* Where k (v = 0) or v (v = 1) of the sequence stand whose first token is number `at` of all; `at` is 0 in a pool. */
static void place(const struct store_options *o, const struct store *store, int v, int64_t at, sa_sequence *seq) {
    const sa_batch *b = &store->batch;
    const int64_t heads = b->n_kv_heads, d = v ? b->d_v : b->d_qk;
    const int64_t tokens = o->page_tokens ? o->page_tokens : seq->n_k;
    sa_tensor *tensor = v ? &seq->v : &seq->k;
    sa_scales *scales = v ? &seq->v_scales : &seq->k_scales;
    tensor->data = (const char *)store->kv[v] + at * heads * d * (int64_t)type_bytes(v ? b->v_type : b->k_type);
    set_strides(o->heads_first, tokens, heads, d, &tensor->token_stride, &tensor->head_stride);
    *scales = (sa_scales){0};
    if (!store->scales[v])
        return;
    scales->data = (const char *)store->scales[v] + at * heads * (int64_t)type_bytes(b->scale_type);
    set_strides(o->heads_first, tokens, heads, 1, &scales->token_stride, &scales->head_stride);
}

static bool make_caches(const struct store_options *o, struct store *store) {
    sa_batch *b = &store->batch;
    int64_t n_tokens = count_tokens(store);
    if (o->page_tokens && !make_pages(o, store, &n_tokens))
        return false;
    for (int v = 0; v < 2; v++) {
        const int64_t rows = n_tokens * b->n_kv_heads, d = v ? b->d_v : b->d_qk;
        store->kv[v] = room(rows * d, type_bytes(v ? b->v_type : b->k_type));
        store->scales[v] = o->kv_int8 ? room(rows, type_bytes(b->scale_type)) : NULL;
        if (!store->kv[v] || (o->kv_int8 && !store->scales[v]))
            return false;
    }
    int64_t at = 0;
    for (int64_t i = 0; i < b->n_sequences; at += store->seqs[i++].n_k)
        for (int v = 0; v < 2; v++)
            place(o, store, v, o->page_tokens ? 0 : at, &store->seqs[i]);
    return true;
}

/* ---------------------------------------------------------------- tokens into caches */

bool store_append(sa_engine *engine, const sa_batch *to, const sa_new_tokens *tokens, int k_type, int v_type) {
    const sa_append append = {SA_APPEND_HEAD, .tokens = tokens, .k_type = k_type, .v_type = v_type};
    return sa_cache_append(engine, to, &append) == SA_OK || complain("%s", sa_last_reason());
}

bool store_fill(sa_engine *engine, struct store *store, const sa_batch *from) {
    for (int64_t i = 0; i < from->n_sequences; i++) {
        const sa_sequence *seq = &from->sequences[i];
        store->tokens[i] = (sa_new_tokens){.n = seq->n_k, .k = seq->k, .v = seq->v};
    }
    return store_append(engine, &store->batch, store->tokens, from->k_type, from->v_type);
}

/* Places the copies of q; *seqs become caches of q. */
static void place_q(const struct store_options *o, const sa_batch *from, struct store *store, sa_sequence *seqs) {
    const int64_t heads = from->n_query_heads, d = from->d_qk;
    char *at = store->q;
    for (int64_t i = 0; i < from->n_sequences; i++) {
        sa_tensor *q = &store->seqs[i].q;
        const int64_t n = from->sequences[i].n_q;
        q->data = at;
        set_strides(o->heads_first, n, heads, d, &q->token_stride, &q->head_stride);
        at += n * heads * d * (int64_t)type_bytes(store->batch.q_type);
        seqs[i] = (sa_sequence){.n_k = n, .k = *q, .v = *q};
        store->tokens[i] = (sa_new_tokens){.n = n, .k = from->sequences[i].q, .v = from->sequences[i].q};
    }
}

/* The engine's conversion is that into a cache: q is both k and v of one, at the same place. */
static bool convert_q(sa_engine *engine, const struct store_options *o, const sa_batch *from, struct store *store) {
    const int type = store->batch.q_type;
    sa_sequence *seqs = calloc((size_t)from->n_sequences + 1, sizeof *seqs);
    const sa_batch cache = {SA_BATCH_HEAD,      .n_sequences = from->n_sequences,
                            .sequences = seqs,  .n_query_heads = from->n_query_heads,
                            .d_qk = from->d_qk, .k_type = type,
                            .v_type = type};
    int64_t n_rows = 0;
    for (int64_t i = 0; i < from->n_sequences; i++)
        n_rows += from->sequences[i].n_q * from->n_query_heads;
    store->q = room(n_rows * from->d_qk, type_bytes(type));
    bool good = store->q && (seqs || complain("no memory for a list of sequences"));
    if (good)
        place_q(o, from, store, seqs);
    good = good && store_append(engine, &cache, store->tokens, from->q_type, from->q_type);
    free(seqs);
    return good;
}

/* ---------------------------------------------------------------- open and close */

static void set_types(const struct store_options *o, sa_batch *b) {
    if (o->has_type)
        b->q_type = b->k_type = b->v_type = b->o_type = o->type;
    if (!o->kv_int8)
        return;
    b->k_type = b->v_type = SA_I8;
    b->scale_type = o->scale_type;
}

bool store_open(sa_engine *engine, const struct store_options *options, const sa_batch *from, struct store *store) {
    const size_t n = (size_t)from->n_sequences;
    *store = (struct store){.batch = *from};
    store->seqs = calloc(n + 1, sizeof *store->seqs);
    store->tokens = calloc(n + 1, sizeof *store->tokens);
    if (!store->seqs || !store->tokens)
        return complain("no memory for %zu sequences", n);
    memcpy(store->seqs, from->sequences, n * sizeof *store->seqs);
    store->batch.sequences = store->seqs;
    set_types(options, &store->batch);
    return make_caches(options, store) &&
           (store->batch.q_type == from->q_type || convert_q(engine, options, from, store));
}

void store_close(struct store *store) {
    for (int v = 0; v < 2; v++) {
        free(store->kv[v]);
        free(store->scales[v]);
    }
    free(store->q);
    free(store->table);
    free(store->seqs);
    free(store->tokens);
    *store = (struct store){0};
}
