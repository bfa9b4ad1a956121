/* SPDX-License-Identifier: MIT */
/*
 * One team of threads per engine, and the only OpenMP region of the library. A dispatcher thread opens the region when
 * the first job comes and the region lasts as long as the engine: between jobs its threads sleep on a condition
 * variable, so an idle engine uses no CPU and the OpenMP runtime has nothing to spin for. Callers append jobs and
 * sleep. A thread that finds a job exhausted goes on to the next one at once: jobs that wait share one grid.
 */
#ifndef SA_TEAM_H
#define SA_TEAM_H

#include <pthread.h>
#include <stdbool.h>

#include "machine.h"
#include "plan.h"
#include "workspace.h"

struct sa_kernels;

/* The next item of a domain to be taken; a cache line each. */
struct sa_cursor {
    _Alignas(64) int64_t next;
};

/* One call's work. */
struct sa_job {
    const struct sa_kernels *kernels;
    const struct sa_problem *problem;
    const struct sa_plan *plan;
    struct sa_cursor *cursors; /* [plan->n_domains] */
    int stride;                /* items a thread expects the others to take before its next one */
    int no_memory;             /* set by a thread that could not get its workspace */
    /* Under the team's lock: */
    int n_inside;   /* threads working on it */
    bool exhausted; /* every item is taken; the job has left the queue */
    bool finished;
    pthread_cond_t done;
    struct sa_job *next;
};

/* Where thread t of the team stands. */
struct sa_seat {
    int core; /* -1: not bound by us */
    int domain;
};

struct sa_team {
    const struct sa_machine *machine;
    struct sa_team_shape shape;
    const struct sa_seat *seats;
    struct sa_workspace *spaces; /* one a thread, touched by it alone */

    pthread_mutex_t lock;
    pthread_cond_t work; /* a job came, or stop */
    struct sa_job *first, *last;
    pthread_t dispatcher;
    bool started, stop;
    int n_formed, n_bound; /* threads the runtime gave us; how many of them are bound */
};

bool sa_team_init(struct sa_team *team);

/* Prepares a job: every item still to be taken. */
void sa_job_open(struct sa_job *job);

/* Works on a job until no item is left to take. Runs under sa_fpmode_enter(). */
void sa_job_drain(struct sa_job *job, int domain, struct sa_workspace *space);

/* Sees to it that every thread has a workspace of so many bytes by the time it works on the next job. False: no memory.
 */
bool sa_team_reserve(struct sa_team *team, size_t bytes);

/* Hands the job to the team and sleeps until it is done. False: the team could not be started, nothing was done. */
bool sa_team_run(struct sa_team *team, struct sa_job *job);

/* In the child of a fork() that was made with the lock held: the team's threads are gone, the next job starts new ones.
 */
void sa_team_restart_in_child(struct sa_team *team);

/* Stops the threads, if any, and waits for them. */
void sa_team_stop(struct sa_team *team);

#endif
