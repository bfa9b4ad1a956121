/* SPDX-License-Identifier: MIT */
#include "bench_loop.h"

#include <stdio.h>

#include "bench_stats.h"
#include "tile.h"

/* ---------------------------------------------------------------- reading */

struct loop {
    struct bench_block kv[2];
    struct read_way way;
    size_t piece;
    uint64_t sink; /* so that nothing is optimised away */
};

/* Several pieces a thread, so that one that is late does not keep the others waiting. */
static size_t piece_of(size_t bytes, int n_threads) {
    static const size_t most = (size_t)16 << 20;
    enum { PIECES = 8 };
    const size_t piece = bytes / (size_t)(PIECES * n_threads);
    return (piece < most ? piece : most) / READ_RATE_BYTES * READ_RATE_BYTES + READ_RATE_BYTES;
}

static int64_t n_pieces(const struct loop *loop, int i) {
    return (int64_t)((loop->kv[i].bytes + loop->piece - 1) / loop->piece);
}

static void read_piece(void *argument, int64_t item, int32_t worker) {
    struct loop *loop = argument;
    const int64_t n_k = n_pieces(loop, 0);
    const struct bench_block *block = &loop->kv[item >= n_k];
    const size_t at = (size_t)(item - (item >= n_k ? n_k : 0)) * loop->piece;
    const size_t left = block->bytes - at, bytes = left < loop->piece ? left : loop->piece;
    const uint64_t read = read_once(block->at + at, bytes / READ_RATE_BYTES * READ_RATE_BYTES, loop->way);
    (void)worker;
    __atomic_fetch_xor(&loop->sink, read, __ATOMIC_RELAXED);
}

double bench_loop_rate(const struct bench_config *config, const struct bench_case *c) {
    static const double likely_rate = 10e9;
    const size_t bytes = c->tensors[BENCH_K].bytes + c->tensors[BENCH_V].bytes;
    struct loop loop = {
        {c->tensors[BENCH_K], c->tensors[BENCH_V]}, config->way, piece_of(bytes, config->info.n_threads), 0};
    const double begin = bench_now();
    if (sa_engine_run(config->engine, n_pieces(&loop, 0) + n_pieces(&loop, 1), (double)bytes / likely_rate, read_piece,
                      &loop) == SA_OK)
        return (double)bytes / (bench_now() - begin);
    fprintf(stderr, "bench: the reading loop failed: %s\n", sa_last_reason());
    return 0;
}

/* ---------------------------------------------------------------- multiply-adds */

struct tiles {
    int isa;
    int64_t n_times; /* an item */
    float sink;
};

static void compute_tiles(void *argument, int64_t item, int32_t worker) {
    struct tiles *tiles = argument;
    float sum = tile_loop(tiles->isa, tiles->n_times);
    (void)item;
    (void)worker;
    __atomic_store(&tiles->sink, &sum, __ATOMIC_RELAXED);
}

double bench_tile_rate(const struct bench_config *config, double seconds) {
    enum { ITEMS_A_THREAD = 8 };
    const double likely_rate = 80e9, flops = tile_flops(config->info.isa);
    const int64_t n_items = (int64_t)ITEMS_A_THREAD * config->info.n_threads;
    if (!(flops > 0))
        return 0;
    struct tiles tiles = {config->info.isa, 1 + (int64_t)(seconds / ITEMS_A_THREAD * likely_rate / flops), 0};
    const double begin = bench_now();
    if (sa_engine_run(config->engine, n_items, seconds * config->info.n_threads, compute_tiles, &tiles) == SA_OK)
        return (double)n_items * (double)tiles.n_times * flops / (bench_now() - begin);
    fprintf(stderr, "bench: the loop of multiply-adds failed: %s\n", sa_last_reason());
    return 0;
}
