/* SPDX-License-Identifier: MIT */
#include "bench_copies.h"

#include <math.h>
#include <stdlib.h>

#include "read_rate.h"

static double cache_bytes(void) {
    static const double guess = 64e6;
    const size_t bytes = read_rate_cache_bytes();
    return bytes ? (double)bytes : guess;
}

bool bench_is_cold(const struct bench_shape *shape) { return bench_shape_is_decode(shape) && !shape->warm; }

int bench_copies_of(const struct bench_shape *shape) {
    enum { MOST = 1024 };
    if (!bench_is_cold(shape))
        return 1;
    const double copies = ceil(READ_RATE_CACHES * cache_bytes() / (bench_shape_kv_bytes(shape) + 1));
    return copies > MOST ? MOST : (int)copies;
}

struct bench_extent bench_copies_extent(const struct bench_shape *shape, int n) {
    struct bench_extent extent = {0};
    for (int i = 0; i < n; i++)
        extent = bench_extent_add(extent, bench_shape_extent(shape));
    return extent;
}

bool bench_copies_open(struct bench_copies *copies, const struct bench_shape *shape, int n,
                       const struct bench_arena *arena, double logit_scale) {
    struct bench_extent at = {0};
    *copies = (struct bench_copies){.c = calloc((size_t)n, sizeof *copies->c)};
    while (copies->c && copies->n < n)
        if (!bench_case_open(&copies->c[copies->n++], shape, arena, &at, logit_scale))
            return false;
    return copies->c != NULL;
}

void bench_copies_close(struct bench_copies *copies) {
    for (int i = 0; i < copies->n; i++)
        bench_case_close(&copies->c[i]);
    free(copies->c);
}

const struct bench_case *bench_copies_next(struct bench_copies *copies) {
    const struct bench_case *c = &copies->c[copies->turn];
    copies->turn = (copies->turn + 1) % copies->n;
    return c;
}

static void wake(const struct bench_case *c) {
    for (int i = 0; i < BENCH_TENSORS; i++)
        wake_pages(c->tensors[i].at, c->tensors[i].bytes);
}

void bench_copies_wake(const struct bench_copies *copies, int n) {
    for (int i = 0; i < n && i < copies->n; i++)
        wake(&copies->c[(copies->turn + i) % copies->n]);
}
