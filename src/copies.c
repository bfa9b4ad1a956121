/* SPDX-License-Identifier: MIT */
#include "copies.h"

#include <string.h>

#include "near.h"

/* ---------------------------------------------------------------- which, and how much room they take */

/* A core's second-level cache and some of the third: with 4096 keys of 128 + 128 floats 2 MiB gave 0.93 of the speed.
 * Whatever the sequences' lengths, so that workspaces do not grow with these; what is not used is not touched. */
enum { MOST_BYTES = 8192 * 1024 };

/* Bytes from one copy of a row to the next. */
static size_t row_bytes(const struct sa_cache *cache, bool as_bytes) {
    const int lines = (cache->d + SA_LINE_BYTES - 1) / SA_LINE_BYTES;
    return as_bytes ? (size_t)lines * SA_LINE_BYTES : (size_t)sa_near_stride(cache->d) * sizeof(float);
}

/* How often are a sequence's rows read, if a tile of so many groups goes through them in so many passes? */
static int64_t reads_of(const struct sa_problem *problem, const struct sa_seq *seq, int n_groups) {
    return sa_seq_tiles(problem, seq) * (n_groups > 1 ? 2 : 1);
}

/* Values of int8 are turned in any case. */
static bool can_stay(const struct sa_cache *cache, int part, bool as_bytes, int64_t n_reads) {
    if (as_bytes)
        return part == SA_COPY_K && sa_bytes_stand_well(cache, n_reads);
    return sa_stand_well(cache, n_reads);
}

static size_t block_bytes(const struct sa_cache *cache, bool as_bytes) {
    return SA_BLOCK_KEYS * row_bytes(cache, as_bytes);
}

static void add_part(struct sa_problem *problem, const struct sa_cache *cache, int part, bool as_bytes,
                     int64_t n_reads) {
    size_t *bytes = &problem->copy_bytes[part];
    if (!can_stay(cache, part, as_bytes, n_reads) && block_bytes(cache, as_bytes) > *bytes)
        *bytes = block_bytes(cache, as_bytes);
}

/* Values that are multiplied in pairs are woven or turned elsewhere. */
static void add_room(const struct sa_kernels *kernels, struct sa_problem *problem, const struct sa_seq *seq) {
    const bool as_bytes = sa_bytes_of(kernels, problem, seq) != NULL;
    const struct sa_dots *dots = sa_dots_of(kernels, problem, seq);
    const int64_t n_reads = reads_of(problem, seq, SA_TILE_GROUPS);
    const struct sa_cache k = dots ? sa_words_of(&seq->k) : seq->k;
    add_part(problem, &k, SA_COPY_K, as_bytes, n_reads);
    if (!dots)
        add_part(problem, &seq->v, SA_COPY_V, as_bytes, n_reads);
}

void sa_copies_choose_room(const struct sa_kernels *kernels, struct sa_problem *problem) {
    problem->copy_bytes[SA_COPY_K] = problem->copy_bytes[SA_COPY_V] = 0;
    for (int64_t i = 0; i < problem->n_seqs; i++)
        if (sa_seq_rows(problem, &problem->seqs[i]) > SA_TILE_ROWS)
            add_room(kernels, problem, &problem->seqs[i]);
    const size_t bytes = problem->copy_bytes[SA_COPY_K] + problem->copy_bytes[SA_COPY_V];
    problem->n_copies = bytes ? (int)(MOST_BYTES / bytes) : 0;
}

/* ---------------------------------------------------------------- places */

int sa_place_of_block(const struct sa_tile *t, int64_t at, int n) {
    const int64_t lo = sa_clamp(t->group_first[0].lo, t->seq->first_key, t->seq->n_k);
    const int64_t first = lo / SA_BLOCK_KEYS,
                  end = (t->group_last[t->n_groups - 1].hi + SA_BLOCK_KEYS - 1) / SA_BLOCK_KEYS,
                  block = at / SA_BLOCK_KEYS;
    if (n == 0 || sa_seq_rows(t->problem, t->seq) <= SA_TILE_ROWS || (block - first >= n && end - first > n))
        return -1;
    return (int)(block % n);
}

/* NULL: nobody keeps any. */
static struct sa_copy *copy_of(const struct sa_tile *t, const struct sa_cache *cache, int64_t at) {
    const struct sa_room *room = &t->space->room;
    const int part = cache == &t->v ? SA_COPY_V : SA_COPY_K, place = sa_place_of_block(t, at, room->n_copies);
    const bool as_bytes = t->bytes != NULL;
    if (place < 0 || can_stay(cache, part, as_bytes, reads_of(t->problem, t->seq, t->n_groups)) ||
        room->copy_bytes[part] < block_bytes(cache, as_bytes))
        return NULL;
    return &t->space->copies[place].of[part];
}

bool sa_is_same_cache(const struct sa_cache *a, const struct sa_cache *b) {
    return a->data == b->data && a->token == b->token && a->page == b->page && a->table == b->table &&
           a->page_tokens == b->page_tokens && a->sink_end == b->sink_end && a->seen_begin == b->seen_begin &&
           a->seen_end == b->seen_end && a->type == b->type && a->d == b->d;
}

/* Int8 may be copied as it is for one sequence and as floats for another. */
static bool is_of(const struct sa_copy *copy, const struct sa_tile *t, const struct sa_cache *cache, int64_t at) {
    return copy->at == at && copy->as_bytes == (t->bytes != NULL) && sa_is_same_cache(&copy->cache, cache);
}

bool sa_are_copied(const struct sa_tile *t, const struct sa_cache *cache, int64_t at, int begin, int end) {
    const struct sa_copy *copy = copy_of(t, cache, at);
    return copy && is_of(copy, t, cache, at) && copy->begin <= begin && end <= copy->end;
}

/* ---------------------------------------------------------------- copying */

static void copy_floats(const struct sa_tile *t, const struct sa_copy *copy, int begin, int end) {
    sa_bring_rows(t->kernels, &copy->cache, copy->at + begin, copy->at + end,
                  (float *)copy->rows + begin * sa_near_stride(copy->cache.d));
}

static void copy_int8(const struct sa_tile *t, const struct sa_copy *copy, int begin, int end) {
    const size_t stride = row_bytes(&copy->cache, true);
    const char **row = t->space->rows;
    sa_point_rows(&copy->cache, copy->at + begin, copy->at + end, row + begin);
    for (int j = begin; j < end; j++)
        memcpy((char *)copy->rows + (size_t)j * stride, row[j], (size_t)copy->cache.d);
}

/* What is not there yet of the rows begin .. end - 1. */
static void fill(const struct sa_tile *t, struct sa_copy *copy, int begin, int end) {
    void (*const put)(const struct sa_tile *, const struct sa_copy *, int, int) = t->bytes ? copy_int8 : copy_floats;
    if (begin < copy->begin)
        put(t, copy, begin, copy->begin);
    if (end > copy->end)
        put(t, copy, copy->end, end);
}

/* All of them anew if some are missing: 64 are turned together, and few blocks grow from tile to tile, at a causal
 * limit. */
static void fill_turned(const struct sa_tile *t, struct sa_copy *copy, int begin, int end) {
    const int first = begin < copy->begin ? begin : copy->begin, last = end > copy->end ? end : copy->end;
    if (first < copy->begin || last > copy->end)
        sa_turn_bytes(t->kernels, &copy->cache, copy->at, first, last, t->space->rows, copy->rows);
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
    if (!is_of(copy, t, cache, at))
        *copy = (struct sa_copy){*cache, at, begin, begin, t->bytes != NULL, copy->rows};
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
