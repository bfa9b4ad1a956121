/* SPDX-License-Identifier: MIT */
/* The machine's own limit, to hold a measurement against. */
#ifndef SA_PEAK_H
#define SA_PEAK_H

#include <sa/sa.h>

/* The threads of an engine that compute at a time, for the measurements here and in read_rate.h: those that take turns
 * on a hardware thread would each find it fast. The engine counts these rather than the calling thread's mask, which
 * is that of one place only where OpenMP binds threads. */
static inline int peak_threads(const sa_engine_info *info) {
    return info->n_cpus >= 1 && info->n_cpus < info->n_threads ? info->n_cpus : info->n_threads;
}

/* Single-precision multiply-add peak in flop/s of n_threads threads together, or of one a processor if there are more,
 * by the widest instructions this machine has up to max_isa (sa_isa; 0: no limit), measured for about `seconds`. The
 * best of several short runs: what disturbs a run only makes it slower. 0 if no thread could be started. */
double peak_flops(int n_threads, int max_isa, double seconds);

#endif
