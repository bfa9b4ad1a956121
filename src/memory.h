/* SPDX-License-Identifier: MIT */
/* The only place that asks the system for memory. */
#ifndef SA_MEMORY_H
#define SA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* `bytes` bytes on a 64-byte boundary, not cleared; NULL if there is no memory. Pages are first touched by their user,
 * and huge ones if there are 2 MiB and the system has some. */
void *sa_memory_alloc(size_t bytes);
void sa_memory_free(void *memory);

/* A block that only grows. */
struct sa_buffer {
    void *data;
    size_t capacity_bytes;
};

/* Makes room for `bytes`, losing the contents if it must grow. False: no memory, the buffer is as it was. */
bool sa_buffer_reserve(struct sa_buffer *buffer, size_t bytes);

/* The same, keeping the first `kept` bytes. */
bool sa_buffer_extend(struct sa_buffer *buffer, size_t kept, size_t bytes);

void sa_buffer_free(struct sa_buffer *buffer);

#endif
