/* SPDX-License-Identifier: MIT */
#include "copies.h"

#include <string.h>

#include "near.h"

/* ---------------------------------------------------------------- which, and how much room they take */

/* A core's second-level cache and some of the third: with 4096 keys of 128 + 128 floats 2 MiB gave 0.93 of the speed.
 * Whatever the sequences' lengths, so that workspaces do not grow with these; what is not used is not touched. */
enum { MOST_BYTES = 8192 * 1024 };

enum { K, V };

/* Bytes from one copy of a row to the next. */
static size_t row_bytes(const struct sa_cache *cache, bool as_bytes) {
    const int lines = (cache->d + SA_LINE_BYTES - 1) / SA_LINE_BYTES;
    return as_bytes ? (size_t)lines * SA_LINE_BYTES : (size_t)sa_near_stride(cache->d) * sizeof(float);
}

/* How often are a sequence's rows read, if a tile of so many groups goes through them in so many passes? */
static int64_t reads_of(const struct sa_problem *problem, const struct sa_seq *seq, int n_groups) {
    return sa_seq_tiles(problem, seq) * (n_groups > 1 ? 2 : 1);
}

static size_t at_least(size_t a, size_t b) { return a > b ? a : b; }

/* Values of int8 are turned in any case. */
static void add_room(const struct sa_kernels *kernels, struct sa_problem *problem, const struct sa_seq *seq) {
    const bool as_bytes = sa_bytes_of(kernels, problem, seq) != NULL;
    const struct sa_dots *dots = sa_dots_of(kernels, problem, seq);
    const int64_t n_reads = reads_of(problem, seq, SA_TILE_GROUPS);
    const struct sa_cache k = dots ? sa_words_of(&seq->k) : seq->k;
    size_t *bytes = problem->copy_bytes;
    if (!(as_bytes ? sa_bytes_stand_well : sa_stand_well)(&k, n_reads))
        bytes[K] = at_least(bytes[K], SA_BLOCK_KEYS * row_bytes(&k, as_bytes));
    if (as_bytes || (!dots && !sa_stand_well(&seq->v, n_reads)))
        bytes[V] = at_least(bytes[V], SA_BLOCK_KEYS * row_bytes(&seq->v, as_bytes));
}

void sa_copies_choose_room(const struct sa_kernels *kernels, struct sa_problem *problem) {
    problem->copy_bytes[K] = problem->copy_bytes[V] = 0;
    for (int64_t i = 0; i < problem->n_seqs; i++)
        if (sa_seq_rows(problem, &problem->seqs[i]) > SA_TILE_ROWS)
            add_room(kernels, problem, &problem->seqs[i]);
    const size_t bytes = problem->copy_bytes[K] + problem->copy_bytes[V];
    problem->n_copies = bytes ? (int)(MOST_BYTES / bytes) : 0;
}

/* ---------------------------------------------------------------- places */

int sa_place_of_block(const struct sa_tile *t, int64_t at, int n) {
    const int64_t lo = sa_clamp(t->group_first[0].lo, t->seq->first_key, t->seq->n_k);
    const int64_t first = lo / SA_BLOCK_KEYS, last = t->group_last[t->n_groups - 1].hi / SA_BLOCK_KEYS,
                  block = at / SA_BLOCK_KEYS;
    if (n == 0 || sa_seq_rows(t->problem, t->seq) <= SA_TILE_ROWS || (block >= n && last - first >= n))
        return -1;
    return (int)(block % n);
}

static bool stand_well(const struct sa_tile *t, const struct sa_cache *cache) {
    const int64_t n_reads = reads_of(t->problem, t->seq, t->n_groups);
    return t->bytes ? cache == &t->k && sa_bytes_stand_well(cache, n_reads) : sa_stand_well(cache, n_reads);
}

/* NULL: nobody keeps any. */
static struct sa_copy *copy_of(const struct sa_tile *t, const struct sa_cache *cache, int64_t at) {
    const int place = sa_place_of_block(t, at, t->space->room.n_copies);
    return place < 0 || stand_well(t, cache) ? NULL : &t->space->copies[place].of[cache == &t->v ? V : K];
}

bool sa_is_same_cache(const struct sa_cache *a, const struct sa_cache *b) {
    return a->data == b->data && a->token == b->token && a->page == b->page && a->table == b->table &&
           a->page_tokens == b->page_tokens && a->sink_end == b->sink_end && a->seen_begin == b->seen_begin &&
           a->seen_end == b->seen_end && a->type == b->type && a->d == b->d;
}

static bool is_of(const struct sa_copy *copy, const struct sa_cache *cache, int64_t at) {
    return copy->at == at && sa_is_same_cache(&copy->cache, cache);
}

bool sa_are_copied(const struct sa_tile *t, const struct sa_cache *cache, int64_t at, int begin, int end) {
    const struct sa_copy *copy = copy_of(t, cache, at);
    return copy && is_of(copy, cache, at) && copy->begin <= begin && end <= copy->end;
}

/* ---------------------------------------------------------------- copying */

static void copy_floats(const struct sa_tile *t, const struct sa_copy *copy, int begin, int end) {
    sa_bring_rows(t->kernels, &copy->cache, copy->at + begin, copy->at + end,
                  (float *)copy->rows + begin * sa_near_stride(copy->cache.d));
}

static void copy_bytes(const struct sa_tile *t, const struct sa_copy *copy, int begin, int end) {
    const size_t stride = row_bytes(&copy->cache, true);
    const char **row = t->space->rows;
    sa_point_rows(&copy->cache, copy->at + begin, copy->at + end, row + begin);
    for (int j = begin; j < end; j++)
        memcpy((char *)copy->rows + (size_t)j * stride, row[j], (size_t)copy->cache.d);
}

static void turn_bytes(const struct sa_tile *t, const struct sa_copy *copy, int begin, int end) {
    sa_turn_bytes(t->kernels, &copy->cache, copy->at, begin, end, t->space->rows, copy->rows);
}

/* What is not there yet of the rows begin .. end - 1. */
static void fill(const struct sa_tile *t, struct sa_copy *copy, int begin, int end) {
    void (*const put)(const struct sa_tile *, const struct sa_copy *, int, int) = t->bytes ? copy_bytes : copy_floats;
    if (begin < copy->begin)
        put(t, copy, begin, copy->begin);
    if (end > copy->end)
        put(t, copy, copy->end, end);
}

/* 64 of them are turned together: anew, as few blocks grow from tile to tile, at a causal limit. */
static void fill_turned(const struct sa_tile *t, struct sa_copy *copy, int begin, int end) {
    if (begin < copy->begin || end > copy->end)
        turn_bytes(t, copy, begin < copy->begin ? begin : copy->begin, end > copy->end ? end : copy->end);
}

static struct sa_rows rows_in_place(const struct sa_tile *t, const struct sa_cache *cache, int64_t at, int begin,
                                    int end) {
    if (t->bytes)
        return (cache == &t->k ? sa_keys_of_bytes : sa_values_of_bytes)(t->kernels, t->space, cache, at, begin, end);
    return sa_rows_of(t->kernels, t->space, cache, at, begin, end, reads_of(t->problem, t->seq, t->n_groups));
}

static struct sa_rows listed(const struct sa_tile *t, const struct sa_copy *copy, int begin, int end) {
    const size_t stride = row_bytes(&copy->cache, true);
    for (int j = begin; j < end; j++)
        t->space->rows[j] = (const char *)copy->rows + (size_t)j * stride;
    return sa_listed_bytes(t->space->rows, end, copy->cache.d, t->space->scale);
}

struct sa_rows sa_copied_rows_of(const struct sa_tile *t, const struct sa_cache *cache, int64_t at, int begin,
                                 int end) {
    struct sa_copy *copy = begin < end ? copy_of(t, cache, at) : NULL;
    if (!copy)
        return rows_in_place(t, cache, at, begin, end);
    const bool turned = t->bytes && cache == &t->v;
    if (!is_of(copy, cache, at))
        *copy = (struct sa_copy){*cache, at, begin, begin, copy->rows};
    (turned ? fill_turned : fill)(t, copy, begin, end);
    copy->begin = begin < copy->begin ? begin : copy->begin;
    copy->end = end > copy->end ? end : copy->end;
    if (cache->scales)
        sa_bring_scales(t->kernels, cache, at + begin, at + end, t->space->scale + begin);
    if (t->bytes && !turned)
        return listed(t, copy, begin, end);
    return (struct sa_rows){copy->rows, turned ? 0 : sa_near_stride(cache->d), end, cache->d,
                            cache->scales ? t->space->scale : NULL};
}
