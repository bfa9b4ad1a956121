/* SPDX-License-Identifier: MIT */
/* An engine whose items are watched: who begins them (packs rows) and how many threads have some under way (not
 * finished yet; a brief call's in the middle of a long one's, maybe). */
#ifndef SA_TESTS_SPIED_H
#define SA_TESTS_SPIED_H

#include <stdatomic.h>

#include "engine.h"
#include "kernels/kernels.h"
#include "threads.h"

static struct {
    const struct sa_kernels *real;
    struct sa_kernels kernels;
    void (*on_item)(void);      /* NULL, or called by whoever begins an item */
    void (*on_block)(int d_qk); /* the same of a pass of a block, before its scores */
    atomic_int n_working, most_working, n_by_callers, n_by_threads, d_qk; /* d_qk of the item begun last */
} spied;

/* Set by threads that call; those of the team do not. */
static _Thread_local bool is_caller;

static _Thread_local int n_under_way; /* items */

static inline void spied_pack(const float *const rows[SA_TILE_ROWS], int n_rows, int d, float factor, float *qt) {
    int working = n_under_way++ ? spied.n_working : ++spied.n_working, most = spied.most_working;
    while (working > most && !atomic_compare_exchange_weak(&spied.most_working, &most, working))
        ;
    (is_caller ? &spied.n_by_callers : &spied.n_by_threads)[0]++;
    spied.d_qk = d;
    if (spied.on_item)
        spied.on_item();
    spied.real->pack(rows, n_rows, d, factor, qt);
}

static inline void spied_scores(const float *qt, int g0, int g1, struct sa_rows k, float *s, float *mb,
                                struct sa_ahead *ahead) {
    if (spied.on_block)
        spied.on_block(k.d);
    spied.real->floats.scores(qt, g0, g1, k, s, mb, ahead);
}

static inline void spied_end(void) {
    if (--n_under_way == 0)
        spied.n_working--;
}

static inline void spied_finish(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]) {
    spied.real->finish(state, n_rows, d, rows);
    spied_end();
}

static inline void spied_few_finish(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]) {
    spied.real->few_finish(state, n_rows, d, rows);
    spied_end();
}

/* Before the engine is used by others. */
static inline void spy_on(sa_engine *engine) {
    spied.real = engine->cpu.kernels;
    spied.kernels = *spied.real;
    spied.kernels.pack = spied_pack;
    spied.kernels.finish = spied_finish;
    spied.kernels.few_finish = spied_few_finish;
    spied.kernels.floats.scores = spied_scores;
#if defined(__x86_64__)
    engine->team.shape.model = sa_cost_model_of(SA_ISA_AVX2); /* the same calls count as brief or long everywhere */
#endif
    engine->cpu.kernels = &spied.kernels;
}

static inline void forget_items(void) { spied.n_by_callers = spied.n_by_threads = spied.most_working = 0; }

/* The whole team has come and gone to sleep. */
static inline void wait_until_asleep(sa_engine *engine) {
    struct sa_team *team = &engine->team;
    for (int n = 0, ms = 0; n < team->shape.n_threads; ms++, sleep_ms(1)) {
        ck_assert_int_lt(ms, 5000);
        pthread_mutex_lock(&team->lock);
        for (n = 0; n < team->shape.n_threads && team->sitters[n].presence == SA_ASLEEP; n++)
            ;
        pthread_mutex_unlock(&team->lock);
    }
}

#endif
