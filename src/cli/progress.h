/* SPDX-License-Identifier: MIT */
#ifndef SA_CLI_PROGRESS_H
#define SA_CLI_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

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

/* sa_batch_forward() under a bar of its n_pairs, and the seconds it took. Complains and returns false if it failed. */
bool progress_forward(sa_engine *engine, sa_batch *batch, int64_t n_pairs, double *seconds);

#endif
