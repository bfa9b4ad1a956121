/* SPDX-License-Identifier: MIT */
/* What the user told the OpenMP runtime about places and stacks, and what becomes of it. */
#ifndef SA_OPENMP_H
#define SA_OPENMP_H

enum { SA_MAX_THREADS = 1024 }; /* of a team */

/* Hardware threads of all OpenMP places (OMP_PLACES, OMP_PROC_BIND, GOMP_CPU_AFFINITY); at most `room` of them are
 * written to cpus. The affinity mask does not tell: the runtime has shrunk it to the first place before main(). Returns
 * their number, 0 if there are no places. */
int sa_openmp_place_cpus(int *cpus, int room);

/* As many of the threads, the calling one among them, as can be made at the moment, seen by making them: libgomp ends
 * the process if it cannot make one. */
int sa_openmp_can_start(int n_threads);

#endif
