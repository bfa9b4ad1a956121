/* SPDX-License-Identifier: MIT */
/* Teams on machines nobody here has, and what tiles cost. */
#ifndef SA_TESTS_SYNTHETIC_H
#define SA_TESTS_SYNTHETIC_H

#include "bind.h"
#include "inside.h"
#include "machine.h"
#include "plan.h"

enum { MAX_THREADS = 256 };

struct team {
    int domain_threads[MAX_THREADS], domain_numa[MAX_THREADS], thread_domain[MAX_THREADS];
    struct sa_team_shape shape;
    int n_numa;
};

/* One that stays when the library's are fitted anew, with every term in it. */
static inline const struct sa_cost_model *test_model(void) {
    static const struct sa_cost_model model = {
        2.5e-11, 1e-6, {true}, {{1000, 1.5, 10, 3, 4, 19, 5, 0.75, 0.7, 11, 2, 0.5, 0.9}}};
    return &model;
}

/* Threads seated as the engine does it; those that share an L3 are a domain, numbered as they are met. */
static inline void seat(struct team *team, const char *synthetic, bool spread, int n_threads) {
    struct sa_machine machine;
    ck_assert(sa_machine_load(&machine, synthetic, NULL, 0));
    int cores[MAX_THREADS], domain_of_l3[MAX_THREADS], n_domains = 0;
    n_threads = n_threads ? n_threads : machine.n_cores;
    ck_assert(n_threads <= MAX_THREADS && machine.n_l3 <= MAX_THREADS);
    memset(domain_of_l3, -1, sizeof domain_of_l3);
    sa_bind_order(&machine, spread, n_threads, cores);
    for (int t = 0; t < n_threads; t++) {
        int *domain = &domain_of_l3[machine.cores[cores[t]].l3];
        if (*domain < 0) {
            *domain = n_domains++;
            team->domain_threads[*domain] = 0;
            team->domain_numa[*domain] = machine.cores[cores[t]].numa;
        }
        team->domain_threads[*domain]++;
        team->thread_domain[t] = *domain;
    }
    team->shape = (struct sa_team_shape){
        .n_threads = n_threads, .n_domains = n_domains, .domain_threads = team->domain_threads, .model = test_model()};
    team->n_numa = machine.n_numa;
    sa_machine_free(&machine);
}

/* Sometimes as many heads as divide theirs: sa_seq.beside. */
static inline int roll_beside(struct dice *dice, int n_kv_heads) {
    const int n = roll_one_in(dice, 3) ? (int)roll_between(dice, 1, n_kv_heads) : 1;
    return n_kv_heads % n ? 0 : n - 1;
}

static inline double item_cost(const struct sa_plan *plan, const struct sa_problem *problem, struct sa_item item) {
    return sa_item_cost(plan, problem, test_model(), item);
}

static inline double largest_tile(const struct sa_problem *problem) {
    double largest = 0;
    for (int64_t i = 0; i < problem->n_seqs; i++)
        for (int64_t tile = 0; tile < sa_seq_tiles(problem, &problem->seqs[i]); tile++) {
            double cost = sa_tile_cost(test_model(), problem, &problem->seqs[i], tile);
            largest = cost > largest ? cost : largest;
        }
    return largest;
}

#endif
