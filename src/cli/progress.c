/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

enum { WIDTH = 40 };

static void draw(double share, double seconds) {
    char bar[WIDTH + 1];
    int filled = (int)(share * WIDTH);
    for (int i = 0; i < WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[WIDTH] = 0;
    double left = share > 0 ? seconds * (1 - share) / share : 0;
    fprintf(stderr, "\r%s %5.1f %%  %.0f s, %.0f s left ", bar, 100 * share, seconds, left);
}

/* Waits up to `seconds`; true if the end has come. Called with the lock held. */
static bool wait_for_end(struct progress *p, double seconds) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    long ns = until.tv_nsec + (long)(seconds * 1e9);
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    while (!p->ended)
        if (pthread_cond_timedwait(&p->end, &p->lock, &until) != 0)
            break;
    return p->ended;
}

static void *watch(void *argument) {
    struct progress *p = argument;
    double begin = seconds_now();
    bool drawn = false;
    pthread_mutex_lock(&p->lock);
    for (double pause = 1.0; !wait_for_end(p, pause); pause = 0.2, drawn = true)
        draw((double)__atomic_load_n(&p->done, __ATOMIC_RELAXED) / (double)p->total, seconds_now() - begin);
    pthread_mutex_unlock(&p->lock);
    if (drawn)
        fprintf(stderr, "\r%*s\r", WIDTH + 40, "");
    return NULL;
}

void progress_start(struct progress *progress, int64_t total) {
    *progress = (struct progress){.total = total};
    if (total <= 0 || !isatty(STDERR_FILENO))
        return;
    pthread_mutex_init(&progress->lock, NULL);
    pthread_cond_init(&progress->end, NULL);
    progress->started = pthread_create(&progress->thread, NULL, watch, progress) == 0;
}

void progress_stop(struct progress *progress) {
    if (!progress->started)
        return;
    pthread_mutex_lock(&progress->lock);
    progress->ended = true;
    pthread_cond_signal(&progress->end);
    pthread_mutex_unlock(&progress->lock);
    pthread_join(progress->thread, NULL);
    pthread_cond_destroy(&progress->end);
    pthread_mutex_destroy(&progress->lock);
}

bool progress_forward(sa_engine *engine, sa_batch *batch, int64_t n_pairs, double *seconds) {
    struct progress progress;
    progress_start(&progress, n_pairs);
    batch->progress = &progress.done;
    const double begin = seconds_now();
    const sa_status status = sa_batch_forward(engine, batch);
    *seconds = seconds_now() - begin;
    batch->progress = NULL;
    progress_stop(&progress);
    return status == SA_OK || complain("%s", sa_last_reason());
}
