/* SPDX-License-Identifier: MIT */
/* What is reported beside o: attention weights of chosen rows, and the mass that keys received. It takes the scores
 * once more, when m and l of every row are known: the items of a second job. */
#ifndef SA_REPORT_H
#define SA_REPORT_H

#include "memory.h"
#include "problem.h"
#include "workspace.h"

struct sa_kernels;

/* Items of a sequence: those of its weights, for up to 64 rows of the list and a range of keys each, then those of its
 * mass, for a kv head (or all) and a range of keys each. */
struct sa_report {
    int64_t first_item, n_ranges, n_weights, range_keys;
    int32_t seq;
};

struct sa_report_plan {
    struct sa_buffer buffer, known_buffer;
    struct sa_report *at;
    int64_t n, n_items;
    size_t known_bytes; /* m and l of the rows of these sequences */
};

/* False: no memory. */
bool sa_report_plan(struct sa_report_plan *plan, const struct sa_problem *problem, int n_threads);

/* Room for m and l, and tells the sequences where it is. False: no memory. */
bool sa_report_grant(struct sa_report_plan *plan, struct sa_problem *problem);

/* Item `index`, once the rows are done. Runs under sa_fpmode_enter(). */
void sa_report_item(const struct sa_kernels *kernels, const struct sa_problem *problem,
                    const struct sa_report_plan *plan, int64_t index, struct sa_workspace *space);

void sa_report_free(struct sa_report_plan *plan);

#endif
