/* SPDX-License-Identifier: MIT */
/* What a call costs beyond its arithmetic. */
#ifndef BENCH_SMALL_H
#define BENCH_SMALL_H

#include "bench_config.h"

struct bench_small {
    double call_seconds;       /* median of a call with 1 sequence, 1 head, 16 tokens, d = 64 */
    double arithmetic_seconds; /* its flops at the peak of one thread */
    int threaded_heads;        /* heads of 16 x 64 of the smallest call that goes to the team; 0: not found */
    double threaded_seconds;   /* median of that call */
    double serial_seconds;     /* what its work takes in the caller, from a call just small enough to stay there */
    double handover_seconds;   /* threaded_seconds less serial_seconds divided among the threads */
};

/* `flops`: peak of one thread. False, with the reason on stderr, if a call failed. */
bool bench_small_measure(struct bench_small *small, const struct bench_config *config, double flops);

#endif
