/* SPDX-License-Identifier: MIT */
/*
 * The batch scheduler's pure half: problem + team -> work items in an order. It touches no tensor and no thread, so it
 * can be run for machines nobody here has.
 *
 * An item is (sequence, kv head, tile of 64 rows), or a part of one where there are too few of them for the team: see
 * parts.h. Of sequences whose kv heads go abreast it has several of them, see abreast.h; these count as one head here.
 * Items are not stored one by one: a run stands for the tiles tile_begin .. tile_end - 1 of n_heads kv heads of one
 * sequence, or for the parts part_begin .. part_end - 1 of a tile of theirs, all of about the same cost. So the plan
 * grows with the number of sequences, and where it splits with that of threads, not with lengths. Domains are groups of
 * threads that share a last-level cache: each gets its share of the cost in a few contiguous stretches of the
 * (sequence, kv head) list, so that items sharing K and V share a cache: one stretch of the sequences with the largest
 * tiles, one of those with smaller ones, and so on. Within a domain the costliest runs come first; threads take items
 * from their domain's list, then from the others'. In a single domain kv heads stay whole and follow each other if that
 * makes nobody wait in the end: a thread then goes on with the keys and values that it has had.
 */
#ifndef SA_PLAN_H
#define SA_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "cost.h"
#include "memory.h"
#include "parts.h"
#include "problem.h"

/* The threads that will do the work, by domain. */
struct sa_team_shape {
    int n_threads, n_domains;
    const int *domain_threads;         /* [n_domains], sums to n_threads */
    const double *domain_speeds;       /* [n_domains], sums of the speeds of their threads; NULL: all are alike */
    const struct sa_cost_model *model; /* what a tile costs them */
    double part_cost;                  /* 0: the planner decides about parts; otherwise (tests) they cost about this */
};

struct sa_run {
    int64_t first_item; /* index of its first item within the domain */
    int64_t tile_begin, tile_end;
    int32_t seq, head_begin, n_heads; /* counted as its items have them: one, or as many as go abreast */
    int32_t abreast;
    int32_t split, part_begin, part_end; /* split: index of what its one tile is split into, or SA_WHOLE */
    int16_t domain, cost_class;
};

enum { SA_WHOLE = -1 };

struct sa_item {
    int32_t seq, kv_head; /* kv_head: the first of those that go abreast */
    int64_t tile;
    int32_t split, part; /* split: index in plan->splits, or SA_WHOLE */
};

struct sa_domain_list {
    int64_t first_run, n_runs, n_items;
    double cost;
};

/* What the items of one kv head of a sequence cost, and the costliest of them. */
struct sa_head_cost {
    double all, largest;
};

struct sa_plan {
    struct sa_buffer run_buffer, domain_buffer, head_buffer;
    struct sa_run *runs; /* by domain, then cost class descending */
    bool by_heads;       /* a run has all tiles of a head, its class is that of the costliest */
    struct sa_domain_list *domains;
    struct sa_splits splits;
    int64_t n_runs, n_items;
    int n_domains;
    double cost, largest; /* sum over items, and the costliest of them: see sa_item_cost() */
};

/* Fills the plan, reusing its buffers. False: no memory. */
bool sa_plan_make(struct sa_plan *plan, const struct sa_problem *problem, const struct sa_team_shape *team);

/* Item `index` of a domain, 0 <= index < n_items. */
struct sa_item sa_plan_item(const struct sa_plan *plan, int domain, int64_t index);

double sa_item_cost(const struct sa_plan *plan, const struct sa_problem *problem, const struct sa_cost_model *model,
                    struct sa_item item);

void sa_plan_free(struct sa_plan *plan);

#endif
