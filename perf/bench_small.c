/* SPDX-License-Identifier: MIT */
#include "bench_small.h"

#include <stdio.h>

#include "bench_case.h"

enum { TOKENS = 16, KEYS = 64, D = 64, MAX_HEADS = 256, N_SAMPLES = 300, WARM_CALLS = 20 };

/* Median seconds of a call, `n_calls` of them to a sample; negative if it failed. */
static double time_case(const struct bench_case *c, sa_engine *engine, int n_calls) {
    struct bench_samples samples = {0};
    bool good = true;
    for (int i = 0; good && i < WARM_CALLS; i++)
        good = sa_batch_forward(engine, &c->batch) == SA_OK;
    for (int i = 0; good && i < N_SAMPLES; i++) {
        const double begin = bench_now();
        for (int k = 0; good && k < n_calls; k++)
            good = sa_batch_forward(engine, &c->batch) == SA_OK;
        bench_samples_add(&samples, (bench_now() - begin) / n_calls);
    }
    const double seconds = bench_summarize(&samples).median;
    bench_samples_free(&samples);
    if (!good)
        fprintf(stderr, "bench: a small call failed: %s\n", sa_last_reason());
    return good ? seconds : -1;
}

static double time_heads(const struct bench_arena *arena, sa_engine *engine, int heads, int keys, int n_calls) {
    struct bench_seq seq = {TOKENS, keys};
    const struct bench_shape shape = {
        .heads = heads, .kv_heads = heads, .d_qk = D, .d_v = D, .n_seqs = 1, .seqs = &seq};
    struct bench_extent at = {0};
    struct bench_case c;
    const double seconds = bench_case_open(&c, &shape, arena, &at, 1) ? time_case(&c, engine, n_calls) : -1;
    bench_case_close(&c);
    return seconds;
}

static bool stays_in_caller(const struct bench_arena *arena, sa_engine *engine, int heads) {
    struct bench_seq seq = {TOKENS, KEYS};
    const struct bench_shape shape = {
        .heads = heads, .kv_heads = heads, .d_qk = D, .d_v = D, .n_seqs = 1, .seqs = &seq};
    struct bench_extent at = {0};
    struct bench_case c;
    sa_batch_info info = {.struct_size = sizeof info};
    const bool stays = bench_case_open(&c, &shape, arena, &at, 1) &&
                       sa_batch_get_info(engine, &c.batch, &info) == SA_OK && info.in_caller;
    bench_case_close(&c);
    return stays;
}

/* The largest call that stays and the smallest that goes are nearly the same work: their difference is the hand-over.
 * A whole number of heads for each thread, so that none waits for another. */
static bool measure_handover(struct bench_small *small, const struct bench_arena *arena,
                             const struct bench_config *config) {
    const int n_threads = config->info.n_threads;
    int stay = 0;
    while (stay < MAX_HEADS - n_threads && stays_in_caller(arena, config->engine, stay + 1))
        stay++;
    const int go = (stay / n_threads + 1) * n_threads;
    if (stay == 0 || stay + n_threads >= MAX_HEADS)
        return true;
    const double serial = time_heads(arena, config->engine, stay, KEYS, 1);
    small->threaded_heads = go;
    small->threaded_seconds = time_heads(arena, config->engine, go, KEYS, 1);
    small->serial_seconds = serial * go / stay;
    small->handover_seconds = small->threaded_seconds - small->serial_seconds / n_threads;
    return serial >= 0 && small->threaded_seconds >= 0;
}

bool bench_small_measure(struct bench_small *small, const struct bench_config *config, double flops) {
    const size_t bytes = (size_t)MAX_HEADS * KEYS * D * sizeof(float);
    const struct bench_extent extent = {
        {[BENCH_Q] = {bytes}, [BENCH_K] = {bytes}, [BENCH_V] = {bytes}, [BENCH_O] = {bytes}}};
    struct bench_arena arena;
    *small = (struct bench_small){.arithmetic_seconds = 4.0 * TOKENS * TOKENS * D / flops};
    if (!bench_arena_open(&arena, extent))
        return perror("bench"), false;
    small->call_seconds = time_heads(&arena, config->engine, 1, TOKENS, 20);
    const bool good = small->call_seconds >= 0 && measure_handover(small, &arena, config);
    bench_arena_close(&arena);
    return good;
}
