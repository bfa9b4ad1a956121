/* SPDX-License-Identifier: MIT */
/* The only place that changes an affinity: that of the team's own threads. And where a thread is at the moment. */
#ifndef SA_BIND_H
#define SA_BIND_H

#include <stdbool.h>

#include "machine.h"

/* Fills cores[t] with the index of the core for thread t. Spread: packages, then NUMA nodes, then caches in turn;
 * otherwise the machine's own order. More threads than cores share them round robin. Pure. */
void sa_bind_order(const struct sa_machine *machine, bool spread, int n_threads, int *cores);

/* Lets the calling thread run wherever the engine may. */
void sa_bind_to_all(const struct sa_machine *machine);

/* Binds the calling thread to a core; false if the system refuses or the machine is not this one. */
bool sa_bind_self(const struct sa_machine *machine, int core);

/* The core that each hardware thread of the machine belongs to, by the operating system's numbers; -1: none that the
 * engine may use. Empty if the machine is not this one. */
struct sa_core_map {
    struct sa_buffer buffer;
    const int *core_of_cpu; /* [n_cpus] */
    int n_cpus;
};

/* False: no memory. */
bool sa_bind_map_cores(const struct sa_machine *machine, struct sa_core_map *map);

/* The core that the calling thread runs on right now; -1: none that the engine may use, or unknown. */
int sa_bind_core_here(const struct sa_core_map *map);

#endif
