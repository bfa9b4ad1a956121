/* SPDX-License-Identifier: MIT */
/* What both measurements of the machine's limits need. */
#ifndef SA_PEAK_THREADS_H
#define SA_PEAK_THREADS_H

#include <time.h>
#include <unistd.h>

/* Seconds, monotonic. */
static inline double peak_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Threads that take turns on a processor would each find it fast. */
static inline int peak_at_most_online(int n_threads) {
    const long n_online = sysconf(_SC_NPROCESSORS_ONLN);
    return n_online >= 1 && n_online < n_threads ? (int)n_online : n_threads;
}

#endif
