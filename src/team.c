/* SPDX-License-Identifier: MIT */
#include "team.h"

#include <omp.h>
#include <signal.h>
#include <string.h>

#include "attend.h"
#include "bind.h"
#include "fpmode.h"

/* ---------------------------------------------------------------- items of a job */

/* The thread that takes an item will probably take the one behind those that the domain's other threads take next. */
static bool take(struct sa_job *job, int domain, struct sa_item *item, struct sa_item *follower, bool *follows) {
    int64_t *next = &job->cursors[domain].next, n_items = job->plan->domains[domain].n_items;
    if (__atomic_load_n(next, __ATOMIC_RELAXED) >= n_items)
        return false;
    int64_t index = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
    if (index >= n_items)
        return false;
    const int64_t after = index + job->stride;
    *item = sa_plan_item(job->plan, domain, index);
    *follows = after < n_items;
    if (*follows)
        *follower = sa_plan_item(job->plan, domain, after);
    return true;
}

/* From the thread's own domain, then from the others in turn. */
static bool take_any(struct sa_job *job, int domain, struct sa_item *item, struct sa_item *follower, bool *follows) {
    int n = job->plan->n_domains;
    for (int i = 0; i < n; i++)
        if (take(job, (domain + i) % n, item, follower, follows))
            return true;
    return false;
}

void sa_job_open(struct sa_job *job) {
    for (int d = 0; d < job->plan->n_domains; d++)
        job->cursors[d].next = 0;
    job->no_memory = 0;
    job->n_inside = 0;
    job->exhausted = job->finished = false;
    job->next = NULL;
}

void sa_job_drain(struct sa_job *job, int domain, struct sa_workspace *space) {
    struct sa_item item, next;
    bool has_next;
    bool room = sa_workspace_grant(space, job->problem->d_qk, job->problem->d_v);
    if (!room)
        __atomic_store_n(&job->no_memory, 1, __ATOMIC_RELAXED);
    while (room && take_any(job, domain, &item, &next, &has_next))
        sa_attend(job->kernels, job->problem, item, has_next ? &next : NULL, space);
}

/* ---------------------------------------------------------------- the queue, under the lock */

static void append(struct sa_team *team, struct sa_job *job) {
    if (team->last)
        team->last->next = job;
    else
        team->first = job;
    team->last = job;
}

static void unlink_job(struct sa_team *team, struct sa_job *job) {
    struct sa_job *before = NULL;
    for (struct sa_job *at = team->first; at != job; at = at->next)
        before = at;
    if (before)
        before->next = job->next;
    else
        team->first = job->next;
    if (team->last == job)
        team->last = before;
}

/* A thread that leaves has found nothing more to take: the job is exhausted, and done when the last one has left. */
static void leave(struct sa_team *team, struct sa_job *job) {
    if (!job->exhausted) {
        job->exhausted = true;
        unlink_job(team, job);
    }
    if (--job->n_inside == 0) {
        job->finished = true;
        pthread_cond_signal(&job->done);
    }
}

/* ---------------------------------------------------------------- threads */

static void serve(struct sa_team *team, int thread) {
    pthread_mutex_lock(&team->lock);
    while (!team->stop) {
        struct sa_job *job = team->first;
        if (!job) {
            pthread_cond_wait(&team->work, &team->lock);
            continue;
        }
        job->n_inside++;
        struct sa_buffer old = sa_workspace_take_up(&team->spaces[thread]);
        pthread_mutex_unlock(&team->lock);
        sa_buffer_free(&old);
        sa_job_drain(job, team->seats[thread].domain, &team->spaces[thread]);
        pthread_mutex_lock(&team->lock);
        leave(team, job);
    }
    pthread_mutex_unlock(&team->lock);
}

static void sit_down(struct sa_team *team, int thread) {
    int core = team->seats[thread].core;
    bool bound = core >= 0 && sa_bind_self(team->machine, core);
    pthread_mutex_lock(&team->lock);
    team->n_bound += bound;
    team->n_formed = omp_get_num_threads();
    pthread_mutex_unlock(&team->lock);
}

/* The runtime may give fewer threads than asked for; items come from a queue, so any number will do. */
static void *dispatch(void *argument) {
    struct sa_team *team = argument;
#pragma omp parallel num_threads(team->shape.n_threads)
    {
        uint64_t mode = sa_fpmode_enter();
        sit_down(team, omp_get_thread_num());
        serve(team, omp_get_thread_num());
        sa_fpmode_leave(mode);
    }
    return NULL;
}

/* The team's threads inherit a mask that blocks every signal: handlers run in the host program's threads only. */
static bool start(struct sa_team *team) {
    sigset_t all, callers;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &callers);
    team->started = pthread_create(&team->dispatcher, NULL, dispatch, team) == 0;
    pthread_sigmask(SIG_SETMASK, &callers, NULL);
    return team->started;
}

bool sa_team_reserve(struct sa_team *team, size_t bytes) {
    bool room = true;
    pthread_mutex_lock(&team->lock);
    for (int t = 0; t < team->shape.n_threads && room; t++)
        room = sa_workspace_offer(&team->spaces[t], bytes);
    pthread_mutex_unlock(&team->lock);
    return room;
}

static void wake(struct sa_team *team, int64_t n_items) {
    if (n_items >= team->shape.n_threads)
        pthread_cond_broadcast(&team->work);
    else
        for (int64_t i = 0; i < n_items; i++)
            pthread_cond_signal(&team->work);
}

bool sa_team_run(struct sa_team *team, struct sa_job *job) {
    pthread_mutex_lock(&team->lock);
    bool running = team->started || start(team);
    if (running) {
        append(team, job);
        wake(team, job->plan->n_items);
    }
    while (running && !job->finished)
        pthread_cond_wait(&job->done, &team->lock);
    pthread_mutex_unlock(&team->lock);
    return running;
}

/* ---------------------------------------------------------------- beginning and end */

bool sa_team_init(struct sa_team *team) {
    if (pthread_mutex_init(&team->lock, NULL) != 0)
        return false;
    if (pthread_cond_init(&team->work, NULL) == 0)
        return true;
    pthread_mutex_destroy(&team->lock);
    return false;
}

void sa_team_restart_in_child(struct sa_team *team) {
    team->started = false;
    team->first = team->last = NULL;
    team->n_formed = team->n_bound = 0;
    for (int t = 0; t < team->shape.n_threads; t++)
        sa_workspace_forget_layout(&team->spaces[t]);
    pthread_cond_init(&team->work, NULL); /* its waiters do not exist here */
}

void sa_team_stop(struct sa_team *team) {
    if (team->started) {
        pthread_mutex_lock(&team->lock);
        team->stop = true;
        pthread_cond_broadcast(&team->work);
        pthread_mutex_unlock(&team->lock);
        pthread_join(team->dispatcher, NULL);
    }
    pthread_cond_destroy(&team->work);
    pthread_mutex_destroy(&team->lock);
}
