/* SPDX-License-Identifier: MIT */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

void *sa_memory_alloc(size_t bytes) {
    void *memory = NULL;
    return posix_memalign(&memory, 64, bytes ? bytes : 1) == 0 ? memory : NULL;
}

void sa_memory_free(void *memory) { free(memory); }

bool sa_buffer_extend(struct sa_buffer *buffer, size_t kept, size_t bytes) {
    if (bytes <= buffer->capacity_bytes)
        return true;
    size_t doubled = 2 * buffer->capacity_bytes;
    size_t capacity = bytes > doubled ? bytes : doubled;
    void *data = sa_memory_alloc(capacity);
    if (!data)
        return false;
    if (kept)
        memcpy(data, buffer->data, kept);
    sa_memory_free(buffer->data);
    *buffer = (struct sa_buffer){data, capacity};
    return true;
}

bool sa_buffer_reserve(struct sa_buffer *buffer, size_t bytes) { return sa_buffer_extend(buffer, 0, bytes); }

void sa_buffer_free(struct sa_buffer *buffer) {
    sa_memory_free(buffer->data);
    *buffer = (struct sa_buffer){0};
}
