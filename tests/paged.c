/* SPDX-License-Identifier: MIT */
#include "paged.h"

#include <math.h>
#include <stdlib.h>

#include "elements.h"
#include "reference.h"

struct paging paging_of(struct dice *dice, int page_tokens) {
    return (struct paging){.page_tokens = page_tokens,
                           .pools = (int)(roll(dice) % N_POOLS),
                           .layout = (int)(roll(dice) % N_LAYOUTS),
                           .per_head = roll_one_in(dice, 3),
                           .two_tables = roll_one_in(dice, 2),
                           .backwards = roll_one_in(dice, 4)};
}

static int64_t entries_of(int64_t n_k, int page_tokens) { return (n_k + page_tokens - 1) / page_tokens; }

/* ---------------------------------------------------------------- pools */

/* Rows of d elements in a page, in elements; `first` is where token 0 of head 0 stands, `size` what they take. */
struct rows {
    int64_t token, head, first, size;
    int bytes; /* of an element */
};

static struct rows rows_of(struct dice *dice, const struct paging *how, int64_t heads, int64_t d, int type) {
    const int64_t n = how->page_tokens;
    const bool gaps = how->layout == TOKENS_GAPS;
    struct rows rows = {.bytes = element_bytes(type)};
    heads = how->per_head ? 1 : heads;
    rows.head = how->layout == HEADS_FIRST ? n * d : d + (gaps ? roll_between(dice, 0, 3) : 0);
    rows.token = how->layout == HEADS_FIRST ? d : (heads - 1) * rows.head + d + (gaps ? roll_between(dice, 0, 5) : 0);
    rows.size = (n - 1) * rows.token + (heads - 1) * rows.head + d + (gaps ? roll_between(dice, 0, 6) : 0);
    if (how->layout == BACKWARDS) {
        rows.first = (n - 1) * rows.token;
        rows.token = -rows.token;
    }
    rows.head = how->per_head ? 0 : rows.head;
    return rows;
}

/* What one page takes, so that rows of any type may follow. */
static int64_t rounded_bytes(const struct rows *rows) { return (rows->size * rows->bytes + 3) / 4 * 4; }

/* n pages of so many bytes, full of what a type has for NaN. */
static char *map_pages(struct drawn *drawn, int64_t n, int64_t page_bytes, int type) {
    char *data = drawn_map(drawn, (size_t)(n * page_bytes));
    for (int64_t at = 0; at + element_bytes(type) <= n * page_bytes; at += element_bytes(type))
        element_store(type, (double)NAN, data + at);
    return data;
}

/* Where element 0 of page 0 stands, and the stride between pages. 0 wherever the default is right. */
struct placed {
    char *data;
    int64_t token, head, page;
};

static struct placed place(const struct paging *how, const struct rows *rows, char *pool, int64_t n_pages,
                           int64_t page_bytes) {
    const int64_t page = page_bytes / rows->bytes;
    const bool packed = how->layout == PACKED, default_page = packed && page == rows->size && !how->backwards;
    char *first = pool + rows->first * rows->bytes + (how->backwards ? (n_pages - 1) * page_bytes : 0);
    return (struct placed){first, packed ? 0 : rows->token, packed ? 0 : rows->head,
                           default_page     ? 0
                           : how->backwards ? -page
                                            : page};
}

/* k and v, or their scales. */
struct pool {
    struct placed k, v;
};

static struct pool map_pools(struct drawn *drawn, const struct paging *how, int pools, int64_t n_pages,
                             const struct rows rows[2], const int types[2]) {
    const int64_t bytes[2] = {rounded_bytes(&rows[0]), rounded_bytes(&rows[1])};
    const int64_t larger = bytes[0] > bytes[1] ? bytes[0] : bytes[1];
    if (pools == TWO_POOLS) {
        const int64_t k = rows[0].size * rows[0].bytes, v = rows[1].size * rows[1].bytes;
        return (struct pool){place(how, &rows[0], map_pages(drawn, n_pages, k, types[0]), n_pages, k),
                             place(how, &rows[1], map_pages(drawn, n_pages, v, types[1]), n_pages, v)};
    }
    const int64_t page = pools == ONE_POOL ? larger : bytes[0] + bytes[1];
    char *pool = map_pages(drawn, n_pages, page, types[0]), *v = pools == ONE_POOL ? pool : pool + bytes[0];
    return (struct pool){place(how, &rows[0], pool, n_pages, page), place(how, &rows[1], v, n_pages, page)};
}

/* ---------------------------------------------------------------- tables */

/* Pages of a pool in the order they are given out. */
struct deck {
    int32_t *pages;
    int64_t n, next;
};

static struct deck shuffle(struct dice *dice, int64_t n) {
    struct deck deck = {malloc((size_t)(n + 1) * sizeof(int32_t)), n, 0};
    for (int64_t i = 0; i < n; i++)
        deck.pages[i] = (int32_t)i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t other = roll_between(dice, 0, i);
        const int32_t page = deck.pages[i];
        deck.pages[i] = deck.pages[other];
        deck.pages[other] = page;
    }
    return deck;
}

static int n_tables(const struct drawn *drawn, const struct paging *how) {
    return how->per_head ? drawn->batch.n_kv_heads : 1;
}

/* Room between the tables of two heads is filled with what is no page. */
static sa_pages deal(struct drawn *drawn, const struct paging *how, int64_t n_k, struct deck *deck,
                     const sa_pages *shared) {
    const int64_t n = entries_of(n_k, how->page_tokens), step = n + roll_between(&drawn->dice, 1, 3);
    const int64_t n_shared = shared ? how->shared_tokens / how->page_tokens : 0;
    const int64_t all = (n_tables(drawn, how) - 1) * step + n;
    int32_t *table = drawn_map(drawn, (size_t)all * sizeof *table);
    for (int64_t i = 0; i < all; i++)
        table[i] = INT32_MIN;
    for (int h = 0; h < n_tables(drawn, how); h++)
        for (int64_t i = 0; i < n; i++)
            table[h * step + i] = i < n_shared ? shared->table[h * shared->head_step + i] : deck->pages[deck->next++];
    return (sa_pages){
        .table = table, .head_step = how->per_head ? step : 0, .n_pages = deck->n, .page_tokens = how->page_tokens};
}

/* ---------------------------------------------------------------- moving */

static void copy(const void *to, const void *from, int64_t n_bytes) {
    memcpy((void *)(uintptr_t)to, from, (size_t)n_bytes);
}

/* Tokens 0 .. n - 1, with their scales. */
static void copy_tokens(const sa_batch *b, const sa_sequence *from, const sa_sequence *to, int64_t n) {
    const int scale = element_bytes(b->scale_type);
    for (int64_t t = 0; t < n; t++)
        for (int h = 0; h < b->n_kv_heads; h++) {
            copy(reference_k(b, to, t, h), reference_k(b, from, t, h), b->d_qk * element_bytes(b->k_type));
            copy(reference_v(b, to, t, h), reference_v(b, from, t, h), b->d_v * element_bytes(b->v_type));
            if (b->k_type == SA_I8)
                copy(reference_k_scale(b, to, t, h), reference_k_scale(b, from, t, h), scale);
            if (b->v_type == SA_I8)
                copy(reference_v_scale(b, to, t, h), reference_v_scale(b, from, t, h), scale);
        }
}

void drawn_share(struct drawn *drawn, int64_t tokens) {
    for (int64_t i = 1; i < drawn->batch.n_sequences; i++) {
        const int64_t n = drawn->seqs[i].n_k < tokens ? drawn->seqs[i].n_k : tokens;
        copy_tokens(&drawn->batch, &drawn->seqs[0], &drawn->seqs[i], n < drawn->seqs[0].n_k ? n : drawn->seqs[0].n_k);
    }
}

static void set_tensors(sa_sequence *s, const struct pool *pool) {
    s->k = (sa_tensor){pool->k.data, pool->k.token, pool->k.head};
    s->v = (sa_tensor){pool->v.data, pool->v.token, pool->v.head};
    s->k_pages.page_stride = pool->k.page;
    s->v_pages.page_stride = pool->v.page;
}

static void set_scales(const sa_batch *b, sa_sequence *s, const struct pool *pool) {
    if (b->flags & SA_SCALES_PER_HEAD)
        return;
    if (b->k_type == SA_I8)
        s->k_scales = (sa_scales){pool->k.data, pool->k.token, pool->k.head, pool->k.page};
    if (b->v_type == SA_I8)
        s->v_scales = (sa_scales){pool->v.data, pool->v.token, pool->v.head, pool->v.page};
}

/* Pages of one sequence more than all need: some belong to nobody. */
static int64_t count_pages(struct drawn *drawn, const struct paging *how, int first, int last) {
    int64_t n = roll_between(&drawn->dice, 1, 3);
    for (int i = first; i < last; i++)
        n += entries_of(drawn->seqs[i].n_k, how->page_tokens) * n_tables(drawn, how) * (how->pools == ONE_POOL ? 2 : 1);
    return n;
}

void drawn_page(struct drawn *drawn, int first, int last, struct paging how) {
    const sa_batch *b = &drawn->batch;
    struct dice *dice = &drawn->dice;
    const int64_t n = count_pages(drawn, &how, first, last);
    const int types[2] = {b->k_type, b->v_type}, scale_types[2] = {b->scale_type, b->scale_type};
    const struct rows rows[2] = {rows_of(dice, &how, b->n_kv_heads, b->d_qk, b->k_type),
                                 rows_of(dice, &how, b->n_kv_heads, b->d_v, b->v_type)};
    const struct rows scale_rows[2] = {rows_of(dice, &how, b->n_kv_heads, 1, b->scale_type),
                                       rows_of(dice, &how, b->n_kv_heads, 1, b->scale_type)};
    const struct pool pool = map_pools(drawn, &how, how.pools, n, rows, types),
                      scales = map_pools(drawn, &how, TWO_POOLS, n, scale_rows, scale_types);
    struct deck of_k = shuffle(dice, n), of_v = shuffle(dice, n);
    const bool two_tables = how.pools == ONE_POOL || (how.pools == TWO_POOLS && how.two_tables);
    for (int i = first; i < last; i++) {
        const sa_sequence old = drawn->seqs[i], *shared = i > first ? &drawn->seqs[first] : NULL;
        sa_sequence *s = &drawn->seqs[i];
        s->k_pages = deal(drawn, &how, s->n_k, &of_k, shared ? &shared->k_pages : NULL);
        if (two_tables)
            s->v_pages =
                deal(drawn, &how, s->n_k, how.pools == ONE_POOL ? &of_k : &of_v, shared ? &shared->v_pages : NULL);
        set_tensors(s, &pool);
        set_scales(b, s, &scales);
        copy_tokens(b, &old, s, s->n_k);
    }
    free(of_k.pages);
    free(of_v.pages);
}

/* ---------------------------------------------------------------- what nobody sees */

bool drawn_sees_page(const struct drawn *drawn, const sa_sequence *seq, const sa_pages *pages, int64_t entry) {
    const int64_t begin = entry * pages->page_tokens, end = begin + pages->page_tokens;
    for (int64_t i = 0; i < seq->n_q; i++)
        for (int64_t j = begin; j < end && j < seq->n_k; j++)
            if (reference_visible(&drawn->batch, seq, i, j))
                return true;
    return false;
}

static void forget_table(struct drawn *drawn, const sa_sequence *seq, const sa_pages *pages) {
    const int32_t no_pages[] = {-1, INT32_MIN, INT32_MAX, (int32_t)pages->n_pages};
    const int tables = pages->head_step ? drawn->batch.n_kv_heads : 1;
    for (int64_t i = 0; pages->table && i < entries_of(seq->n_k, pages->page_tokens); i++)
        for (int h = 0; h < tables && !drawn_sees_page(drawn, seq, pages, i); h++)
            ((int32_t *)(uintptr_t)pages->table)[h * pages->head_step + i] = no_pages[roll(&drawn->dice) % 4];
}

void drawn_forget_pages(struct drawn *drawn, int sequence) {
    const sa_sequence *s = &drawn->seqs[sequence];
    forget_table(drawn, s, &s->k_pages);
    forget_table(drawn, s, &s->v_pages);
}
