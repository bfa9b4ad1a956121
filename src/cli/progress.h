/* SPDX-License-Identifier: MIT */
#ifndef SA_CLI_PROGRESS_H
#define SA_CLI_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A bar on standard error, from the second second on, if that is a terminal. */
struct progress {
    int64_t done, total; /* `done` is counted up by another thread */
    bool started;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t end;
    bool ended;
};

void progress_start(struct progress *progress, int64_t total);
void progress_stop(struct progress *progress);

#endif
