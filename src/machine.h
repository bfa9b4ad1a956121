/* SPDX-License-Identifier: MIT */
/* The machine as the engine sees it, read once through hwloc into a plain struct. */
#ifndef SA_MACHINE_H
#define SA_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"

/* A physical core the engine may use. */
struct sa_core {
    int os_cpu;            /* its first allowed hardware thread */
    int l3, numa, package; /* counted from 0 among the allowed ones; without an L3 the NUMA node stands for it */
    int kind;              /* hybrid machines: 0 is the fastest kind of core */
    double speed;          /* that of its kind, if the system tells it; 1: the fastest kind's */
};

struct sa_machine {
    void *topology; /* hwloc's; NULL if the machine could not be read */
    void *allowed;  /* hwloc's set of the hardware threads that the engine may use; NULL if they are not known */
    struct sa_buffer core_buffer;
    struct sa_core *cores; /* fastest kind first, then in the order of the topology: neighbours share most */
    int n_cores, n_cpus, n_l3, n_numa, n_packages, n_kinds;
    int64_t l1_bytes, l2_bytes, l3_bytes; /* of the first core; 0: unknown */
    double quota_cpus;                    /* 0: none */
    bool is_this_machine;                 /* false: synthetic or from a file; binding would do nothing */
    const char *why_unread;               /* NULL, or why there is one core without a topology here */
};

/* Reads this machine, restricted to the hardware threads the calling thread may run on or, if n_allowed > 0, to the
 * given ones. `other`, if not NULL, is another machine instead, unrestricted: an XML file of hwloc's if it contains a
 * '/' or ends in ".xml", a synthetic description if not. Anything hwloc cannot tell leaves a machine of as many cores
 * as the affinity mask has, and a reason; false only if there is no memory. */
bool sa_machine_load(struct sa_machine *machine, const char *other, const int *allowed, int n_allowed);

void sa_machine_free(struct sa_machine *machine);

/* Held while hwloc may hold a lock of its own, and across fork(): a child would wait for that for ever. */
void sa_machine_lock(void);
void sa_machine_unlock(void);

#endif
