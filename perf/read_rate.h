/* SPDX-License-Identifier: MIT */
/* The memory's own limit, to hold a measurement against. */
#ifndef SA_READ_RATE_H
#define SA_READ_RATE_H

#include <stddef.h>
#include <stdint.h>

struct read_way {
    int n_streams;   /* parts of the memory that are read side by side */
    size_t distance; /* bytes ahead of a stream that are prefetched; 0: the hardware's own prefetchers only */
};

/* Bytes a second that n_threads threads together, or one a processor if there are more, read from memory: every byte
 * once, from buffers far larger than the caches, each touched first by the thread that reads it. The fastest of several
 * ways of reading (README.md), each by the median of the pieces of a pass: some are interrupted, some come from a
 * cache. Takes less than a second, unless others have the processors. 0 if there are no threads or no memory.
 * `fastest`, if not NULL, gets the way of the fastest pass. */
double read_rate(int n_threads, struct read_way *fastest);

/* Reads that many bytes once in the calling thread, a multiple of READ_RATE_BYTES; what it returns is of no use. */
enum { READ_RATE_BYTES = 2048 };
uint64_t read_once(const char *at, size_t bytes, struct read_way way);

/* Touches a line of each huge page, untimed. On a virtual machine the first access to 2 MiB that nobody had used for a
 * second or two took 0.06 to 0.25 ms, as long as reading all of it: what its host does, not what is measured. */
void wake_pages(const char *at, size_t bytes);

/* What is to come from memory must be that many times larger than the largest cache. */
enum { READ_RATE_CACHES = 4 };

/* Bytes of the largest cache of the machine; 0: not known. */
size_t read_rate_cache_bytes(void);

#endif
