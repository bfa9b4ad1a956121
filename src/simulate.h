/* SPDX-License-Identifier: MIT */
/*
 * What a team would do with a plan. Pure: no clock, no thread, no tensor, so that it tells of machines nobody here has.
 * Threads take items exactly as sa_job_drain() has them, from their own domain's list, then from the others' in turn,
 * whoever is free first; an item takes its cost over the thread's speed; merging
 * the results of parts takes no time. Memory that threads share is not modelled:
 * an item costs the same whatever the others do.
 *
 * Bytes of k and v: a key of a (sequence, kv head) is read from memory by the first cache that needs it; every further
 * L3 (NUMA node) that has an item which sees it needs a copy of its own, which crosses a border. A cache is taken to
 * keep what it has read until the call ends.
 */
#ifndef SA_SIMULATE_H
#define SA_SIMULATE_H

#include <sa/sa.h>

#include "plan.h"

struct sa_sim_team {
    struct sa_team_shape shape;
    int n_numa;
    const int *domain_numa;     /* [n_domains], 0 .. n_numa - 1 */
    const int *thread_domain;   /* [n_threads] */
    const double *thread_speed; /* [n_threads], > 0; NULL: 1 each */
};

/* What is wanted beside the result; all may be NULL. */
struct sa_sim_details {
    sa_segment *segments; /* their times are costs over speeds */
    int64_t capacity;
    double *busy; /* [n_threads], cost over speed */
};

struct sa_traffic {
    double keys, l3_keys, numa_keys; /* each key once; copies beyond the first, a key of one kv head each */
};

/* Times are costs over speeds. */
struct sa_sim_result {
    double makespan;    /* when the last thread is done */
    double ideal;       /* all cost over all speed */
    double longest;     /* the costliest item on the fastest thread */
    double round_robin; /* makespan if the items were dealt to the threads in turn, in the order of the batch */
    struct sa_traffic traffic, round_robin_traffic;
    int64_t n_items, n_moved, n_segments; /* n_moved: items taken from another domain's list */
};

/* False: no memory. At most details->capacity segments are written, result->n_segments says how many there are. */
bool sa_simulate(const struct sa_plan *plan, const struct sa_problem *problem, const struct sa_sim_team *team,
                 const struct sa_sim_details *details, struct sa_sim_result *result);

#endif
