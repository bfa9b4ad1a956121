/* SPDX-License-Identifier: MIT */
#include "peak.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <sa/sa.h>

#include "peak_threads.h"

/* ---------------------------------------------------------------- chains of multiply-adds
 * 12 chains hide a latency of up to 6 cycles on two pipes and fit into 16 registers. The factors keep the values
 * near 1. */

enum { CHAINS = 12, STEPS = 20000 };

static volatile float first = 3.0f, factor = 0.9999f, addend = 0.0001f;

#if defined(__x86_64__)
#include <immintrin.h>

#define CHAIN_FUNCTION(name, isa, vector, set1, fma)                                                                   \
    __attribute__((target(isa))) static float name(void) {                                                             \
        vector x[CHAINS], a = set1(factor), b = set1(addend), sum;                                                     \
        for (int i = 0; i < CHAINS; i++)                                                                               \
            x[i] = set1(first + (float)i);                                                                             \
        for (int step = 0; step < STEPS; step++) {                                                                     \
            x[0] = fma(x[0], a, b), x[1] = fma(x[1], a, b), x[2] = fma(x[2], a, b), x[3] = fma(x[3], a, b);            \
            x[4] = fma(x[4], a, b), x[5] = fma(x[5], a, b), x[6] = fma(x[6], a, b), x[7] = fma(x[7], a, b);            \
            x[8] = fma(x[8], a, b), x[9] = fma(x[9], a, b), x[10] = fma(x[10], a, b), x[11] = fma(x[11], a, b);        \
        }                                                                                                              \
        sum = x[0];                                                                                                    \
        for (int i = 1; i < CHAINS; i++)                                                                               \
            sum = sum + x[i];                                                                                          \
        return sum[0];                                                                                                 \
    }

CHAIN_FUNCTION(chains_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps)
CHAIN_FUNCTION(chains_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps)
#endif

/* Four floats a vector on any processor; two operations each where it has no fused multiply-add. */
static float chains_generic(void) {
    typedef float v4 __attribute__((vector_size(16)));
    const v4 a = {factor, factor, factor, factor}, b = {addend, addend, addend, addend};
    v4 x[CHAINS], sum = {0};
    for (int i = 0; i < CHAINS; i++)
        x[i] = (v4){first + (float)i, 1, 2, 3};
    for (int step = 0; step < STEPS; step++)
#if defined(__clang__)
#pragma clang loop unroll(full)
#else
#pragma GCC unroll 12
#endif
        for (int i = 0; i < CHAINS; i++)
            x[i] = x[i] * a + b;
    for (int i = 0; i < CHAINS; i++)
        sum = sum + x[i];
    return sum[0];
}

struct chains {
    float (*run)(void);
    int lanes;
};

static struct chains widest(int max_isa) {
#if defined(__x86_64__)
    if ((max_isa == 0 || max_isa >= SA_ISA_AVX512) && __builtin_cpu_supports("avx512f"))
        return (struct chains){chains_avx512, 16};
    if ((max_isa == 0 || max_isa >= SA_ISA_AVX2) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct chains){chains_avx2, 8};
#endif
    (void)max_isa;
    return (struct chains){chains_generic, 4};
}

/* ---------------------------------------------------------------- several threads at once */

struct runner {
    struct chains chains;
    double end;  /* when to stop */
    double best; /* flop/s of its fastest run */
    float sink;  /* so that nothing is optimised away */
};

static void *run(void *argument) {
    struct runner *runner = argument;
    const double flops = 2.0 * CHAINS * STEPS * runner->chains.lanes;
    double begin = peak_now();
    do {
        runner->sink += runner->chains.run();
        double end = peak_now();
        runner->best = flops / (end - begin) > runner->best ? flops / (end - begin) : runner->best;
        begin = end;
    } while (begin < runner->end);
    return NULL;
}

static double sum_of_bests(const struct runner *runners, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += runners[i].best;
    return sum;
}

double peak_flops(int n_threads, int max_isa, double seconds) {
    n_threads = peak_at_most_online(n_threads);
    struct runner *runners = calloc((size_t)n_threads, sizeof *runners);
    pthread_t *threads = calloc((size_t)n_threads, sizeof *threads);
    double end = peak_now() + seconds;
    int started = 0;
    while (runners && threads && started < n_threads) {
        runners[started] = (struct runner){.chains = widest(max_isa), .end = end};
        if (pthread_create(&threads[started], NULL, run, &runners[started]) != 0)
            break;
        started++;
    }
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    double sum = runners ? sum_of_bests(runners, started) : 0;
    free(runners);
    free(threads);
    return sum;
}
