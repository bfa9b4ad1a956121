/* SPDX-License-Identifier: MIT */
/* Which instruction set to use. */
#ifndef SA_CPU_H
#define SA_CPU_H

#include <stdbool.h>

struct sa_kernels;

/* What capped the choice. */
enum sa_cpu_cap {
    SA_CPU_CAP_NONE,
    SA_CPU_CAP_OPTION,
    SA_CPU_CAP_ENVIRONMENT,
    SA_CPU_CAP_MACHINE,
    SA_CPU_CAP_BUILD,
    SA_CPU_CAP_SLOW,  /* slower on this processor than what comes before it: only if it is asked for by name */
    SA_CPU_CAP_SYSTEM /* the operating system does not let the process use it */
};

struct sa_cpu_choice {
    const struct sa_kernels *kernels;
    int faster;          /* the next faster sa_isa in the list of all, but for one that is slow, 0: none */
    enum sa_cpu_cap why; /* why `faster` is not used */
};

/* Does this processor, under this operating system, run the instruction set? */
bool sa_cpu_runs(int isa);

/* The fastest kernels at most `option_max` and at most `environment_max` (sa_isa; 0: no limit). Never fails: the
 * generic kernels run everywhere. Asks the operating system for AMX's registers if they are chosen and the
 * engine `computes`. */
struct sa_cpu_choice sa_cpu_choose(int option_max, int environment_max, bool computes);

/* "generic", "avx2", "avx512", ...; "default" for 0; NULL for no sa_isa. */
const char *sa_isa_name(int isa);

/* sa_isa of a name, -1 if there is none. */
int sa_isa_of_name(const char *name);

#endif
