/* SPDX-License-Identifier: MIT */
/* How long a team of 192 would take: the queues of sa_job_drain(), played through with predicted costs. */
#include <stdio.h>

#include "inside.h"
#include "synthetic.h"

enum { MAX_SEQS = 64 };

struct batch {
    struct sa_seq seqs[MAX_SEQS];
    struct sa_problem problem;
};

/* Threads take items as sa_job_drain() has them: their own domain's first, then the others' in turn. */
static bool take(const struct sa_plan *plan, int64_t next[], int domain, struct sa_item *item) {
    for (int i = 0; i < plan->n_domains; i++) {
        int from = (domain + i) % plan->n_domains;
        if (next[from] < plan->domains[from].n_items) {
            *item = sa_plan_item(plan, from, next[from]++);
            return true;
        }
    }
    return false;
}

static int domain_of_thread(const struct sa_team_shape *team, int thread) {
    int domain = 0;
    for (; thread >= team->domain_threads[domain]; domain++)
        thread -= team->domain_threads[domain];
    return domain;
}

/* The time at which the last thread is done, in units of cost. */
static double makespan(const struct sa_plan *plan, const struct sa_problem *problem, const struct sa_team_shape *team) {
    int64_t next[MAX_THREADS] = {0};
    double free_at[MAX_THREADS] = {0}, end = 0;
    for (;;) {
        struct sa_item item;
        int thread = 0;
        for (int t = 1; t < team->n_threads; t++)
            thread = free_at[t] < free_at[thread] ? t : thread;
        if (!take(plan, next, domain_of_thread(team, thread), &item))
            return end;
        free_at[thread] += item_cost(problem, item);
        end = free_at[thread] > end ? free_at[thread] : end;
    }
}

static const struct {
    const char *name;
    int n_seqs, n_kv_heads, group;
    int64_t n, shorter; /* sequence i has n >> (i % shorter) tokens */
    bool causal;
    double at_most; /* of the time over the ideal one */
} loads[] = {
    {"31 prompts of 4100", 31, 8, 4, 4100, 1, true, 1.01},
    {"64 prompts of 4100 to 32", 64, 8, 4, 4100, 8, true, 1.01},
    {"one prompt of 8200", 1, 8, 4, 8200, 1, true, 1.035},
    {"61 texts of 130", 61, 12, 1, 130, 1, false, 1.10},
};
enum { N_LOADS = sizeof loads / sizeof loads[0] };

static void load_batch(struct batch *batch, int load) {
    batch->problem = (struct sa_problem){.n_seqs = loads[load].n_seqs,
                                         .seqs = batch->seqs,
                                         .n_kv_heads = loads[load].n_kv_heads,
                                         .group = loads[load].group,
                                         .d_qk = 128,
                                         .d_v = 128,
                                         .rule = {SA_UNLIMITED, loads[load].causal ? 0 : SA_UNLIMITED, 0}};
    for (int i = 0; i < loads[load].n_seqs; i++) {
        int64_t n = loads[load].n >> i % loads[load].shorter;
        batch->seqs[i] = (struct sa_seq){.n_q = n, .n_k = n};
    }
}

/* On 2 x 96 cores. The ideal is the cost over the threads, or the costliest tile if that is more. */
START_TEST(the_team_is_done_soon_after_the_ideal) {
    struct team team;
    struct batch batch;
    struct sa_plan plan = {0};
    seat(&team, "pack:2 l3:8 core:12 pu:1", false, 0);
    ck_assert_int_eq(team.shape.n_threads, 192);
    ck_assert_int_eq(team.shape.n_domains, 16);
    load_batch(&batch, _i);
    ck_assert(sa_plan_make(&plan, &batch.problem, &team.shape));
    double ideal = plan.cost / team.shape.n_threads, tile = largest_tile(&batch.problem);
    ideal = ideal > tile ? ideal : tile;
    double ratio = makespan(&plan, &batch.problem, &team.shape) / ideal;
    printf("  %-26s %7lld items in %4lld runs, 192 threads: %.4f of the ideal time\n", loads[_i].name,
           (long long)plan.n_items, (long long)plan.n_runs, ratio);
    must(ratio <= loads[_i].at_most, "%s: %.3f", loads[_i].name, ratio);
    sa_plan_free(&plan);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("schedule");
    tcase_add_loop_test(add_case(suite, "time"), the_team_is_done_soon_after_the_ideal, 0, N_LOADS);
    return run_suite(suite);
}
