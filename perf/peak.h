/* SPDX-License-Identifier: MIT */
/* The machine's own limit, to hold a measurement against. */
#ifndef SA_PEAK_H
#define SA_PEAK_H

/* Single-precision multiply-add peak in flop/s of n_threads threads together, or of one a processor if there are more,
 * by the widest instructions this machine has up to max_isa (sa_isa; 0: no limit), measured for about `seconds`. The
 * best of several short runs: what disturbs a run only makes it slower. 0 if no thread could be started. */
double peak_flops(int n_threads, int max_isa, double seconds);

#endif
