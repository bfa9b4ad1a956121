/* SPDX-License-Identifier: MIT */
/*
 * One team of threads per engine, and the only OpenMP region of the library. A dispatcher thread opens the region when
 * the first job comes and the region lasts as long as the engine: between jobs its threads sleep on condition
 * variables, so an idle engine uses no CPU and the OpenMP runtime has nothing to spin for. Callers append jobs. A
 * thread that finds a job exhausted goes on to the next one at once: jobs that wait share one grid. Jobs do not wait
 * behind those of a longer kind: threads turn to them after the item they are at, to brief ones between two blocks of
 * that item, and then back for as long as that took.
 *
 * Waking a thread takes longer than a short job may last. So the caller of a brief job borrows the seat of a sleeping
 * thread, if there is one on the core it runs on, and begins at once, while others are still waking. Working threads
 * and working callers together never outnumber the seats. Callers of long jobs, and those who find no seat, sleep; only
 * a small job without a seat is not worth that, and is left to the caller alone.
 */
#ifndef SA_TEAM_H
#define SA_TEAM_H

#include <pthread.h>
#include <stdbool.h>

#include "bind.h"
#include "machine.h"
#include "plan.h"
#include "workspace.h"

struct sa_kernels;
struct sa_report_plan;

/* The next item of a domain to be taken; a cache line each. */
struct sa_cursor {
    _Alignas(64) int64_t next;
};

/* Jobs queue with those of about the same length. The first kind is brief: waking matters, so the caller helps. With
 * more work than that waking the team costs less than a hundredth. */
enum {
    SA_LONG_US = 2000,  /* of work, less than which is brief */
    SA_LENGTH_BITS = 4, /* of each further kind 16 times as much, of the last all that is more */
    SA_JOB_LENGTHS = 4
};

/* Work that is not attention: see sa_engine_run(). */
struct sa_errand {
    sa_item_function *function; /* NULL: the job is attention */
    void *argument;
};

/* One call's work. */
struct sa_job {
    struct sa_errand errand; /* if there is one, the plan has one domain and a number of items, and nothing else is
                                looked at */
    const struct sa_kernels *kernels;
    const struct sa_problem *problem;
    const struct sa_plan *plan;
    struct sa_partials *partials;
    const struct sa_report_plan *reports; /* NULL, or the items are these instead of the plan's */
    struct sa_cursor *cursors;            /* [plan->n_domains] */
    int length;                           /* which kind, 0: brief */
    bool small;                           /* a brief one: sleeping and waking would take longer */
    int stride;                           /* items a thread expects the others to take before its next one */
    int no_memory;                        /* set by a thread that could not get its workspace */
    /* Under the team's lock: */
    int n_inside;   /* threads working on it */
    bool exhausted; /* every item is taken; the job has left the queue */
    bool finished;  /* its caller may look at it without the lock */
    bool caller_sleeps;
    pthread_cond_t done;
    struct sa_job *next;
};

/* Where thread t of the team stands. */
struct sa_seat {
    int core; /* -1: not bound by us */
    int domain;
};

enum sa_presence {
    SA_ABSENT, /* the thread has not come yet, or never will */
    SA_ASLEEP,
    SA_CALLED, /* on its way */
    SA_AWAKE,
    SA_LENT /* asleep, and a caller works on its seat */
};

/* The thread of a seat, under the team's lock. */
struct sa_sitter {
    enum sa_presence presence;
    int core; /* where it went to sleep, see sa_bind_core_here() */
    /* Its own, without the lock: when jobs of a length may go before longer ones again. */
    int64_t not_before[SA_JOB_LENGTHS];
    int64_t interludes_ns; /* what brief jobs in the middle of others have taken */
    pthread_cond_t called; /* or stop */
};

struct sa_team {
    const struct sa_machine *machine;
    struct sa_team_shape shape;
    const struct sa_seat *seats;
    struct sa_workspace *spaces; /* one a seat, touched by who sits on it alone */
    struct sa_workspace *spares; /* the same, for brief jobs in the middle of a long one's item */
    struct sa_sitter *sitters;   /* one a seat */
    struct sa_core_map core_map;
    bool openmp_binds; /* its threads, where the user said: they are not told where they may run */
    bool stays_put;    /* its threads are bound, by us or by the OpenMP runtime */
    bool may_spin;     /* see sa_team_may_spin() */

    pthread_mutex_t lock;
    struct sa_queue {
        struct sa_job *first, *last;
    } queues[SA_JOB_LENGTHS]; /* not exhausted, in the order they came */
    int n_called;             /* threads on their way */
    pthread_t dispatcher;
    bool started, stop;
    int n_formed, n_bound; /* threads the runtime gave us, also without the lock; how many of them are bound */
};

/* May a caller spin for a moment at the end of its job? If no other thread needs the CPU time: with a core for every
 * thread, all within the quota (0: none). Pure. */
bool sa_team_may_spin(int n_threads, int n_cores, double quota_cpus);

/* Shape, seats, spaces and sitters are there. False: the system has no lock to give. */
bool sa_team_init(struct sa_team *team);

/* Prepares a job: every item still to be taken. */
void sa_job_open(struct sa_job *job);

/* Works alone on a job until no item is left to take. Runs under sa_fpmode_enter(). */
void sa_job_drain(struct sa_job *job, struct sa_workspace *space);

/* Sees to it that every thread has a workspace of so many bytes, and a spare one, by the time it works on the next job.
 * False: no memory. */
bool sa_team_reserve(struct sa_team *team, size_t bytes);

/* Hands the job to the team, works on it if it is not long and there is a seat, and waits until it is done. Runs under
 * sa_fpmode_enter(). False: nothing was done, as the team could not be started, or the job is small and there is no
 * seat. */
bool sa_team_run(struct sa_team *team, struct sa_job *job);

/* In the child of a fork() that was made with the lock held: the team's threads are gone, the next job starts new ones.
 */
void sa_team_restart_in_child(struct sa_team *team);

/* Stops the threads, if any, and waits for them. */
void sa_team_stop(struct sa_team *team);

#endif
