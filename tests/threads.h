/* SPDX-License-Identifier: MIT */
/* What the system says about the threads of this process. */
#ifndef SA_TESTS_THREADS_H
#define SA_TESTS_THREADS_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "inside.h"

static inline void sleep_ms(int ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL); }

/* Writes the thread numbers that there is room for; returns how many threads there are. */
static inline int list_threads(int *ids, int room) {
    int n = 0;
    DIR *dir = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.') {
            if (n < room)
                ids[n] = atoi(entry->d_name);
            n++;
        }
    closedir(dir);
    return n;
}

/* ThreadSanitizer's own: one, and another in a process that was forked, as Check does. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZERS_THREADS 2
#endif
#endif
#ifndef SANITIZERS_THREADS
#define SANITIZERS_THREADS 0
#endif

static inline int count_threads(void) { return list_threads(NULL, 0) - SANITIZERS_THREADS; }

/* Threads take a moment to begin, and to be gone when they were told to end. */
static inline void wait_until_threads_are_between(int low, int high) {
    for (int ms = 0; count_threads() < low || count_threads() > high; ms++) {
        ck_assert_msg(ms < 5000, "%d threads, expected %d to %d", count_threads(), low, high);
        sleep_ms(1);
    }
}

static inline void wait_until_threads_are(int n) { wait_until_threads_are_between(n, n); }

/* clang's OpenMP runtime keeps the threads of a team that has ended, asleep, for the next one; gcc's ends them. */
#if defined(__clang__)
enum { RUNTIME_KEEPS_THREADS = 1 };
#else
enum { RUNTIME_KEEPS_THREADS = 0 };
#endif

/* The set of signals a thread blocks, bit s - 1 for signal s; 0 if the thread is gone. */
static inline uint64_t blocked_signals(int thread) {
    char path[64], line[256];
    unsigned long long set = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", thread);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "SigBlk: %llx", &set) == 1)
            break;
    if (file)
        fclose(file);
    return set;
}

#endif
