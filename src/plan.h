/* SPDX-License-Identifier: MIT */
/*
 * The batch scheduler's pure half: problem + team -> work items in an order. It touches no tensor and no thread, so it
 * can be run for machines nobody here has.
 *
 * An item is (sequence, kv head, tile of 64 rows). Items are not stored one by one: a run stands for the tiles
 * tile_begin .. tile_end - 1 of n_heads kv heads of one sequence, all of about the same cost, so the plan grows with
 * the number of sequences and not with their lengths. Domains are groups of threads that share a last-level cache: each
 * gets a contiguous stretch of the (sequence, kv head) list of equal cost, so that items sharing K and V share a cache.
 * Within a domain the costliest runs come first; threads take items from their domain's list, then from the others'.
 */
#ifndef SA_PLAN_H
#define SA_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "problem.h"

/* The threads that will do the work, by domain. */
struct sa_team_shape {
    int n_threads, n_domains;
    const int *domain_threads; /* [n_domains], sums to n_threads */
};

struct sa_run {
    int64_t first_item; /* index of its first item within the domain */
    int64_t tile_begin, tile_end;
    int32_t seq, head_begin, n_heads;
    int16_t domain, cost_class;
};

struct sa_item {
    int32_t seq, kv_head;
    int64_t tile;
};

struct sa_domain_list {
    int64_t first_run, n_runs, n_items;
};

struct sa_plan {
    struct sa_buffer run_buffer, domain_buffer;
    struct sa_run *runs; /* by domain, then cost class descending */
    struct sa_domain_list *domains;
    int64_t n_runs, n_items;
    int n_domains;
    double cost; /* sum over items, see sa_tile_cost() */
};

/* Predicted cost of a tile in units of one (row, key, dimension) multiply-add: what it computes, masked pairs of partly
 * visible blocks and idle lanes included, and its fixed part. */
double sa_tile_cost(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile);

/* Tiles of one kv head of a sequence. */
int64_t sa_seq_tiles(const struct sa_problem *problem, const struct sa_seq *seq);

/* Fills the plan, reusing its buffers. False: no memory. */
bool sa_plan_make(struct sa_plan *plan, const struct sa_problem *problem, const struct sa_team_shape *team);

/* Item `index` of a domain, 0 <= index < n_items. */
struct sa_item sa_plan_item(const struct sa_plan *plan, int domain, int64_t index);

void sa_plan_free(struct sa_plan *plan);

#endif
