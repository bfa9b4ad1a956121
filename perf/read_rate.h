/* SPDX-License-Identifier: MIT */
/* The memory's own limit, to hold a measurement against. */
#ifndef SA_READ_RATE_H
#define SA_READ_RATE_H

#include <stddef.h>

/* Bytes a second that n_threads threads together, or one a processor if there are more, read from memory: every byte
 * once, from buffers far larger than the caches, each touched first by the thread that reads it. The fastest of several
 * ways of reading (README.md), the best of many short pieces: what disturbs one only makes it slower. Takes less than a
 * second, unless others have the processors. 0 if there are no threads or no memory. */
double read_rate(int n_threads);

/* What is to come from memory must be that many times larger than the largest cache. */
enum { READ_RATE_CACHES = 4 };

/* Bytes of the largest cache of the machine; 0: not known. */
size_t read_rate_cache_bytes(void);

#endif
