/* SPDX-License-Identifier: MIT */
/* Floats between two pages that nobody may touch. */
#ifndef SA_TESTS_FENCED_H
#define SA_TESTS_FENCED_H

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "inside.h"

struct fenced {
    float *begin, *end;
    size_t mapped_bytes;
};

/* Room for at least n floats. */
static inline struct fenced fenced_map(size_t n) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (n * sizeof(float) + page - 1) / page * page;
    char *map = mmap(NULL, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(map, MAP_FAILED);
    ck_assert_int_eq(mprotect(map + page, bytes, PROT_READ | PROT_WRITE), 0);
    return (struct fenced){(float *)(void *)(map + page), (float *)(void *)(map + page + bytes), bytes + 2 * page};
}

static inline void fenced_unmap(struct fenced *fenced) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap((char *)fenced->begin - page, fenced->mapped_bytes);
}

#endif
