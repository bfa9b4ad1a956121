/* SPDX-License-Identifier: MIT */
#include "near.h"

#include <string.h>

#include <sa/sa.h>

#include "view.h"
#include "workspace.h"

struct sa_stored sa_stored_of(const struct sa_cache *cache, int64_t begin, int64_t end) {
    int64_t n = end - begin, within = begin, page = 0;
    if (cache->table) {
        within = begin % cache->page_tokens;
        page = cache->table[begin / cache->page_tokens];
        n = cache->page_tokens - within < n ? cache->page_tokens - within : n;
    }
    return (struct sa_stored){cache->data + page * cache->page + within * cache->token, cache->token, (int)n, cache->d,
                              cache->type};
}

/* Pages that nobody sees have not been checked, and may have been given up. */
static bool exists(const struct sa_cache *cache, int64_t token) {
    if (!cache->table)
        return true;
    const int64_t begin = token - token % cache->page_tokens, end = begin + cache->page_tokens;
    return begin < cache->sink_end || (begin < cache->seen_end && end > cache->seen_begin);
}

struct sa_lines sa_lines_of_rows(const char *data, ptrdiff_t stride, int n, int bytes) {
    const int columns = (bytes + SA_LINE_BYTES - 1) / SA_LINE_BYTES;
    return stride == columns * SA_LINE_BYTES ? (struct sa_lines){data, SA_LINE_BYTES, n * columns, 1}
                                             : (struct sa_lines){data, stride, n, columns};
}

/* As far as the page of the first one goes. */
static struct sa_lines lines_of_page(const struct sa_cache *cache, int64_t begin, int64_t end) {
    const struct sa_stored rows = sa_stored_of(cache, begin, end);
    return sa_lines_of_rows(rows.data, rows.stride, rows.n, cache->d_bytes);
}

void sa_ahead_add_tokens(struct sa_ahead *ahead, const struct sa_cache *cache, int64_t begin, int64_t end) {
    while (begin < end && ahead->n_sets < SA_AHEAD_SETS) {
        if (exists(cache, begin))
            sa_ahead_add(ahead, lines_of_page(cache, begin, end));
        begin = cache->table ? begin - begin % cache->page_tokens + cache->page_tokens : end;
    }
}

static void fetch_lines(const struct sa_lines *lines) {
    for (int i = 0; i < lines->n; i++)
        for (int j = 0; j < lines->columns; j++)
            __builtin_prefetch(lines->data + i * lines->stride + j * SA_LINE_BYTES, 0, 2);
}

void sa_ahead_fetch(struct sa_ahead *ahead) {
    for (int i = 0; i < ahead->n_sets; i++)
        fetch_lines(&ahead->sets[i]);
    sa_ahead_open(ahead);
}

/* So many that also a copy of rows that share a quarter of the sets pays. */
enum { MANY_READS = 8 };

/* Rows a multiple of a large power of two apart, as in [token][head][dimension] with many heads, share a few sets of
 * the caches and drive each other out: with 32 heads of 128 AVX-512 reached 51 % of the peak in place, 66 % on copies;
 * 12 heads of 64, which stand 3072 bytes apart, gain 4 to 9 % from 512 tokens on and lose 7 % with 128. */
static bool collide(ptrdiff_t stride, int64_t n_reads) {
    return stride != 0 && n_reads > 1 && stride % (n_reads < MANY_READS ? 2048 : 1024) == 0;
}

/* Two bf16 that are taken for a float may not be, of some head: then they go through a copy. */
static bool is_aligned(const struct sa_cache *cache) {
    const uintptr_t steps =
        (uintptr_t)cache->token | (uintptr_t)cache->head | (uintptr_t)(cache->table ? cache->page : 0);
    return ((uintptr_t)cache->data | steps) % 4 == 0;
}

/* Is a block in one page? */
static bool is_in_one_piece(const struct sa_cache *cache) {
    return !cache->table || cache->page_tokens % SA_BLOCK_KEYS == 0;
}

bool sa_stand_well(const struct sa_cache *cache, int64_t n_reads) {
    return cache->type == SA_F32 && is_aligned(cache) && is_in_one_piece(cache) && !collide(cache->token, n_reads);
}

bool sa_bytes_stand_well(const struct sa_cache *cache, int64_t n_reads) {
    return is_in_one_piece(cache) && !collide(cache->token, n_reads);
}

struct sa_stored sa_scales_of(const struct sa_cache *cache, int64_t begin, int n) {
    int64_t within = begin, page = 0;
    if (cache->table) {
        within = begin % cache->page_tokens;
        page = cache->table[begin / cache->page_tokens];
    }
    return (struct sa_stored){cache->scales + page * cache->scale_page + within * cache->scale_token,
                              cache->scale_token, n, 1, cache->scale_type};
}

/* Keys that nobody sees, as between sink keys and a window, or beside them in a square: zeros, computed with the others
 * and masked. Entries of their pages are not looked at. */
void sa_bring_rows(const struct sa_kernels *kernels, const struct sa_cache *cache, int64_t begin, int64_t end,
                   float *near) {
    const int stride = sa_near_stride(cache->d);
    for (int n; begin < end; begin += n, near += n * stride) {
        if (exists(cache, begin)) {
            const struct sa_stored run = sa_stored_of(cache, begin, end);
            n = run.n;
            kernels->widen(run, near, stride);
            continue;
        }
        n = (int)sa_clamp(cache->page_tokens - begin % cache->page_tokens, 1, end - begin);
        memset(near, 0, (size_t)(n * stride) * sizeof(float));
    }
}

struct sa_rows sa_rows_of(const struct sa_kernels *kernels, struct sa_workspace *space, const struct sa_cache *cache,
                          int64_t at, int begin, int end, int64_t n_reads) {
    const bool in_place = sa_stand_well(cache, n_reads);
    const int stride = sa_near_stride(cache->d);
    struct sa_rows rows = {space->near, stride, end, cache->d, cache->scales ? space->scale : NULL};
    if (in_place) {
        const struct sa_stored first = sa_stored_of(cache, at, at + end);
        rows.data = (const float *)(const void *)first.data;
        rows.stride = first.stride / (ptrdiff_t)sizeof(float);
    }
    if (!in_place)
        sa_bring_rows(kernels, cache, at + begin, at + end, space->near + begin * stride);
    if (cache->scales)
        sa_bring_scales(kernels, cache, at + begin, at + end, space->scale + begin);
    return rows;
}

/* Pairs first .. first + n - 1, whose rows are listed. */
static struct sa_rows pairs_of_list(const struct sa_dots *dots, struct sa_workspace *space, int first, int n, int d) {
    const int stride = sa_near_stride(d);
    if (!dots->pair_rows)
        return sa_listed_rows(space->rows, first + n, d);
    dots->pair_rows(space->rows + 2 * first, n, d, space->near + first * stride, stride);
    return (struct sa_rows){space->near, stride, first + n, d, NULL};
}

struct sa_rows sa_pairs_of(const struct sa_dots *dots, struct sa_workspace *space, const struct sa_cache *cache,
                           int64_t at, int begin, int end) {
    const int first = begin / 2, n = (end + 1) / 2 - first;
    const char **row = space->rows + 2 * first;
    if (n > 0) {
        row[0] = row[2 * n - 1] = sa_zero_row();
        sa_point_rows(cache, at + begin, at + end, row + begin % 2);
    }
    return pairs_of_list(dots, space, first, n, cache->d);
}

/* Of a view: what is hidden from all may be anything, and would be looked for in every way. */
static void point_seen(const struct sa_cache *cache, int64_t at, const struct sa_view *view, const char **row) {
    for (int i = 0, n = view->n_keys; i < view->n_strips; i++, n -= SA_SUM_KEYS) {
        const int64_t begin = at + view->strip[i] * SA_SUM_KEYS, end = begin + (n < SA_SUM_KEYS ? n : SA_SUM_KEYS);
        sa_point_rows(cache, begin, end, row + i * SA_SUM_KEYS);
    }
    for (int j = 0; j < view->n_keys; j++)
        if (!(view->any.words[j / 64] >> j % 64 & 1))
            row[j] = sa_zero_row();
    row[view->n_keys] = sa_zero_row(); /* beside the last one of an odd number */
}

struct sa_rows sa_pairs_of_view(const struct sa_dots *dots, struct sa_workspace *space, const struct sa_cache *cache,
                                int64_t at, const struct sa_view *view) {
    point_seen(cache, at, view, space->rows);
    return pairs_of_list(dots, space, 0, (view->n_keys + 1) / 2, cache->d);
}

struct sa_rows sa_keys_of_bytes(const struct sa_kernels *kernels, struct sa_workspace *space,
                                const struct sa_cache *cache, int64_t at, int begin, int end) {
    sa_point_rows(cache, at + begin, at + end, space->rows + begin);
    sa_bring_scales(kernels, cache, at + begin, at + end, space->scale + begin);
    return sa_listed_bytes(space->rows, end, cache->d, space->scale);
}

void sa_turn_bytes(const struct sa_kernels *kernels, const struct sa_cache *cache, int64_t at, int begin, int end,
                   const char **row, void *turned) {
    for (int j = 0; j < begin; j++)
        row[j] = sa_zero_row();
    sa_point_rows(cache, at + begin, at + end, row + begin);
    kernels->bytes->turn(row, begin, end, cache->d, turned);
}

struct sa_rows sa_values_of_bytes(const struct sa_kernels *kernels, struct sa_workspace *space,
                                  const struct sa_cache *cache, int64_t at, int begin, int end) {
    sa_turn_bytes(kernels, cache, at, begin, end, space->rows, space->near);
    sa_bring_scales(kernels, cache, at + begin, at + end, space->scale + begin);
    return (struct sa_rows){space->near, 0, end, cache->d, space->scale};
}

struct sa_rows sa_strip_rows_of(const struct sa_kernels *kernels, struct sa_workspace *space,
                                const struct sa_cache *cache, int64_t at, const uint8_t *strip, int n) {
    const int stride = sa_near_stride(cache->d);
    for (int j = 0; j < n; j += SA_SUM_KEYS, strip++) {
        const int64_t begin = at + *strip * SA_SUM_KEYS, end = begin + (n - j < SA_SUM_KEYS ? n - j : SA_SUM_KEYS);
        sa_bring_rows(kernels, cache, begin, end, space->near + j * stride);
        if (cache->scales)
            sa_bring_scales(kernels, cache, begin, end, space->scale + j);
    }
    return (struct sa_rows){space->near, stride, n, cache->d, cache->scales ? space->scale : NULL};
}

/* One a token, maybe among those of other heads, where a cache line holds few of them and reading them would take as
 * long as reading the int8 rows. */
static struct sa_lines lines_of_scales(struct sa_stored run) {
    const bool near = 0 < run.stride && run.stride < SA_LINE_BYTES;
    const int step = run.stride == 0 ? run.n : near ? (int)(SA_LINE_BYTES / run.stride) : 1;
    return (struct sa_lines){run.data, step * run.stride, (run.n + step - 1) / step, 1};
}

void sa_fetch_scales(const struct sa_cache *cache, int64_t begin, int64_t end) {
    for (int64_t token = begin, n; token < end && cache->scales; token += n) {
        n = sa_stored_of(cache, token, end).n;
        if (!exists(cache, token))
            continue;
        const struct sa_lines lines = lines_of_scales(sa_scales_of(cache, token, (int)n));
        fetch_lines(&lines);
    }
}

static void copy_scales(const struct sa_kernels *kernels, struct sa_stored run, float *scale) {
    if (run.type != SA_F32)
        kernels->widen(run, scale, 1);
    else if (run.stride == sizeof *scale)
        memcpy(scale, run.data, (size_t)run.n * sizeof *scale);
    else
        for (int i = 0; i < run.n; i++)
            memcpy(&scale[i], run.data + i * run.stride, sizeof *scale);
}

void sa_bring_scales(const struct sa_kernels *kernels, const struct sa_cache *cache, int64_t begin, int64_t end,
                     float *scale) {
    for (int64_t token = begin; token < end;) {
        const int n = sa_stored_of(cache, token, end).n;
        if (exists(cache, token))
            copy_scales(kernels, sa_scales_of(cache, token, n), scale);
        else
            memset(scale, 0, (size_t)n * sizeof *scale);
        token += n;
        scale += n;
    }
}

const char *sa_zero_row(void) {
    static const char zeros[SA_MAX_D * sizeof(float)];
    return zeros;
}

void sa_point_rows(const struct sa_cache *cache, int64_t begin, int64_t end, const char **row) {
    for (int64_t token = begin; token < end;) {
        struct sa_stored run = {sa_zero_row(), 0, 1, 0, 0};
        if (exists(cache, token))
            run = sa_stored_of(cache, token, end);
        ptrdiff_t at = 0;
#pragma GCC unroll 8
        for (int i = 0; i < run.n; i++, at += run.stride)
            *row++ = run.data + at;
        token += run.n;
    }
}
