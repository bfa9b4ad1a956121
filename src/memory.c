/* SPDX-License-Identifier: MIT */
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LINE = 64, HUGE_PAGE = 2 << 20 };

/* Only a wish: where it is not granted the pages are small ones. */
static void ask_for_huge_pages(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
    const int kept = errno;
    madvise(memory, bytes, MADV_HUGEPAGE);
    errno = kept;
#else
    (void)memory;
    (void)bytes;
#endif
}

/* Products go through rows thousands of floats long, each on pages of its own: with pages of 4 KiB the translation of
 * addresses takes a tenth of the time. */
void *sa_memory_alloc(size_t bytes) {
    const bool is_large = bytes >= HUGE_PAGE;
    void *memory = NULL;
    if (posix_memalign(&memory, is_large ? HUGE_PAGE : LINE, bytes ? bytes : 1) != 0)
        return NULL;
    if (is_large)
        ask_for_huge_pages(memory, bytes);
    return memory;
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
