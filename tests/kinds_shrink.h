/* SPDX-License-Identifier: MIT */
/* Runs cases in processes of their own, which may crash or hang, and makes a case that fails as small as it goes. */
#ifndef SA_TESTS_KINDS_SHRINK_H
#define SA_TESTS_KINDS_SHRINK_H

#include "kinds_check.h"

/* What became of many cases. */
struct kinds_tally {
    int64_t n_right, n_unsupported, n_rows, n_keys;
    uint64_t seed; /* of the case that ended it */
    bool failed, out_of_time;
    char reason[400];
};

/* The cases of n seeds from `first` on, until one fails or, seconds > 0, so many have passed. Features of `pending` may
 * be unsupported. */
struct kinds_tally kinds_run(uint64_t first, uint64_t n, uint32_t pending, int seconds);

/* A smaller case that fails, of which nothing can be left out; why it fails. */
struct kinds_case kinds_shrink(const struct kinds_case *failed, uint32_t pending, char reason[400]);

#endif
