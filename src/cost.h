/* SPDX-License-Identifier: MIT */
/*
 * What a tile costs. Pure. A tile is counted into a few terms, its cost is their weighted sum, or nearly so, in units
 * of one (row, key, dimension) multiply-add in the middle of a large tile; a model holds the weights of one kernel and
 * how long a unit takes. `perf/calibrate` measures this machine and prints the table in cost.c anew.
 */
#ifndef SA_COST_H
#define SA_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "problem.h"

/* Lanes are the rows of a tile rounded up to whole groups, edge keys those that some of its rows see and others do not,
 * dimensions d_qk + d_v. */
enum sa_cost_term {
    SA_COST_TILE,    /* 1 */
    SA_COST_ELEMENT, /* lanes x dimensions: packed, cleared, divided, written */
    SA_COST_FETCH,   /* the tile's part of its sequence's keys x dimensions: k and v come from memory once */
    SA_COST_FAR,     /* the other keys x dimensions, beyond 2^20: more than stays near from tile to tile */
    SA_COST_WEIGHT,  /* keys x lanes: exponentials */
    SA_COST_STREAM,  /* keys x dimensions: k and v are gone through */
    SA_COST_WIDEN,   /* as FETCH, of a k and a v that become floats for several tiles, see copies.h */
    SA_COST_EDGE,    /* edge keys x lanes x dimensions */
    SA_COST_PRODUCT, /* the other keys x lanes x dimensions */

    /* Tiles of at most SA_FEW_ROWS rows, which have kernels of their own, take these instead of all from FETCH on, but
     * for WEIGHT, where their rows are the lanes. */
    SA_COST_FEW_READ,    /* bytes of keys and values, in fours */
    SA_COST_FEW_STREAM,  /* keys x dimensions */
    SA_COST_FEW_PRODUCT, /* keys x rows x dimensions */
    SA_COST_FEW_APART,   /* keys x dimensions of a k and a v whose rows of a head do not follow each other */
    SA_N_COST_TERMS
};

/* What k and v are multiplied as: see sa_in_pairs(), sa_in_bytes(). */
enum sa_cost_way { SA_AS_FLOATS, SA_AS_BF16, SA_AS_F16, SA_AS_BYTES, SA_N_COST_WAYS };

struct sa_cost_model {
    double unit_seconds;         /* of one thread */
    double call_seconds;         /* a call that runs in its caller, beyond its tiles */
    bool beside[SA_N_COST_WAYS]; /* few rows are computed while others are read; false: one after the other */
    double weight[SA_N_COST_WAYS][SA_N_COST_TERMS]; /* all 0: these kernels do not have that way */
};

/* The model of a kernel (sa_isa); one that is not known gets the portable kernel's. */
const struct sa_cost_model *sa_cost_model_of(int isa);

/* The same kernel where everything goes `compute` times as fast, but for what comes from memory: that `memory` times.
 */
struct sa_cost_model sa_cost_model_at(const struct sa_cost_model *model, double compute, double memory);

/* The way of a sequence, if the kernels have it; otherwise it is multiplied as floats. */
enum sa_cost_way sa_cost_way_of(const struct sa_problem *problem, const struct sa_seq *seq);

/* The weights by which a sequence's tiles are counted. */
const double *sa_cost_weights(const struct sa_cost_model *model, const struct sa_problem *problem,
                              const struct sa_seq *seq);

/* A call that is handed to the team takes this much longer: the caller works on it while a thread wakes. */
#define SA_HAND_OVER_SECONDS 10e-6

/* By the weights of one of its ways. With `beside` few rows take the root of the sum of the squares of what reading
 * takes and what computing does: as long as the longer, and 1.4 times that where both are alike. */
double sa_terms_cost(const double weights[SA_N_COST_TERMS], bool beside, const double terms[SA_N_COST_TERMS]);

void sa_tile_terms(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile,
                   double terms[SA_N_COST_TERMS]);

/* Of an item: of the tile of each of the kv heads that go abreast. */
double sa_tile_cost(const struct sa_cost_model *model, const struct sa_problem *problem, const struct sa_seq *seq,
                    int64_t tile);

/* A part of a tile: the keys begin .. end - 1. */
double sa_part_cost(const struct sa_cost_model *model, const struct sa_problem *problem, const struct sa_seq *seq,
                    int64_t tile, int64_t begin, int64_t end);

/* Tiles of one kv head of a sequence. */
int64_t sa_seq_tiles(const struct sa_problem *problem, const struct sa_seq *seq);

/* The keys that the rows of a tile see together: 0 .. sink - 1 and lo .. hi - 1, with sink <= lo. */
struct sa_span sa_tile_span(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile);

/* The keys lo .. hi - 1 that every row of a tile sees, sink keys left aside. */
struct sa_span sa_tile_common(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile);

#endif
