/* SPDX-License-Identifier: MIT */
/* Memory whose n-th allocation fails, for tests linked with posix_memalign() and free() wrapped, the only two that
 * memory.c calls. */
#ifndef SA_TESTS_HEAP_H
#define SA_TESTS_HEAP_H

#include <errno.h>
#include <pthread.h>

#include <sa/sa.h>

#include "inside.h"

int __real_posix_memalign(void **memory, size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes);
void __real_free(void *memory);
void __wrap_free(void *memory);

enum { MAX_LIVE = 4096 };

static struct {
    pthread_mutex_t lock;
    void *live[MAX_LIVE];
    int n_live, n_asked;
    int fail_at; /* the so many-th from now on fails, once; 0: none */
    bool failed;
} heap = {.lock = PTHREAD_MUTEX_INITIALIZER};

int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes) {
    pthread_mutex_lock(&heap.lock);
    heap.n_asked++;
    bool fail = heap.fail_at > 0 && --heap.fail_at == 0;
    heap.failed = heap.failed || fail;
    int error = fail || heap.n_live == MAX_LIVE ? ENOMEM : __real_posix_memalign(memory, alignment, bytes);
    if (error == 0)
        heap.live[heap.n_live++] = *memory;
    pthread_mutex_unlock(&heap.lock);
    return error;
}

/* Blocks of others, malloc()'s, pass through. */
void __wrap_free(void *memory) {
    pthread_mutex_lock(&heap.lock);
    for (int i = 0; i < heap.n_live; i++)
        if (heap.live[i] == memory) {
            heap.live[i] = heap.live[--heap.n_live];
            break;
        }
    pthread_mutex_unlock(&heap.lock);
    __real_free(memory);
}

static inline void fail_at(int n) {
    pthread_mutex_lock(&heap.lock);
    heap.fail_at = n;
    heap.failed = false;
    pthread_mutex_unlock(&heap.lock);
}

/* Did it fail? From now on nothing does. */
static inline bool has_failed(void) {
    bool failed = heap.failed;
    fail_at(0);
    return failed;
}

static inline int live(void) { return __atomic_load_n(&heap.n_live, __ATOMIC_SEQ_CST); }
static inline int asked(void) { return __atomic_load_n(&heap.n_asked, __ATOMIC_SEQ_CST); }

static inline void check_no_memory(sa_status status) {
    ck_assert_str_eq(sa_status_name(status), "SA_NO_MEMORY");
    ck_assert_msg(strstr(sa_last_reason(), "no memory") != NULL, "%s", sa_last_reason());
}

#endif
