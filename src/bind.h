/* SPDX-License-Identifier: MIT */
/* The only place that changes an affinity: that of the team's own threads. */
#ifndef SA_BIND_H
#define SA_BIND_H

#include <stdbool.h>

#include "machine.h"

/* Fills cores[t] with the index of the core for thread t. Spread: packages, then NUMA nodes, then caches in turn;
 * otherwise the machine's own order. More threads than cores share them round robin. Pure. */
void sa_bind_order(const struct sa_machine *machine, bool spread, int n_threads, int *cores);

/* Binds the calling thread to a core; false if the system refuses or the machine is not this one. */
bool sa_bind_self(const struct sa_machine *machine, int core);

#endif
