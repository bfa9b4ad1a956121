/* SPDX-License-Identifier: MIT */
#include "team.h"

#include <omp.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "attend.h"
#include "bind.h"
#include "fpmode.h"
#include "openmp.h"
#include "report.h"

/* ---------------------------------------------------------------- items of a job */

/* Also without the lock. */
static bool is_waiting(const struct sa_queue *queue) { return __atomic_load_n(&queue->first, __ATOMIC_RELAXED); }

/* What a thread has taken: an item, or two that go together, the one with the lower tile; and what it will probably
 * take next. */
struct taken {
    struct sa_item item, follower;
    int n;
    bool follows;
};

/* Two, if they go together and so many are left that nobody will wait for their end. */
static int how_many(const struct sa_job *job, int domain, int64_t index, int64_t n_items) {
    enum { ITEMS_LEFT = 8 }; /* a thread */
    if (!job->problem->together || index + ITEMS_LEFT * job->stride > n_items)
        return 1;
    return sa_go_together(job->kernels, job->problem, sa_plan_item(job->plan, domain, index),
                          sa_plan_item(job->plan, domain, index + 1))
               ? 2
               : 1;
}

/* The thread that takes an item will probably take the one behind those that the domain's other threads take next. */
static bool take(struct sa_job *job, int domain, struct taken *taken) {
    int64_t *next = &job->cursors[domain].next, n_items = job->plan->domains[domain].n_items;
    int64_t index = __atomic_load_n(next, __ATOMIC_RELAXED);
    do {
        if (index >= n_items)
            return false;
        taken->n = how_many(job, domain, index, n_items);
    } while (!__atomic_compare_exchange_n(next, &index, index + taken->n, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    const int64_t after = index + taken->n * job->stride;
    taken->item = sa_plan_item(job->plan, domain, index + taken->n - 1);
    taken->follows = after < n_items;
    if (taken->follows)
        taken->follower = sa_plan_item(job->plan, domain, after);
    return true;
}

/* From the thread's own domain, then from the others in turn. */
static bool take_any(struct sa_job *job, int domain, struct taken *taken) {
    int n = job->plan->n_domains;
    for (int i = 0; i < n; i++)
        if (take(job, (domain + i) % n, taken))
            return true;
    return false;
}

void sa_job_open(struct sa_job *job) {
    for (int d = 0; d < job->plan->n_domains; d++)
        job->cursors[d].next = 0;
    if (!job->errand.function)
        sa_partials_clear(job->partials);
    job->no_memory = 0;
    job->n_inside = 0;
    job->exhausted = job->finished = job->caller_sleeps = false;
    job->next = NULL;
}

static int64_t untaken(const struct sa_job *job) {
    if (job->reports) {
        const int64_t left = job->reports->n_items - __atomic_load_n(&job->cursors[0].next, __ATOMIC_RELAXED);
        return left > 0 ? left : 0;
    }
    int64_t n = job->plan->n_items;
    for (int d = 0; d < job->plan->n_domains; d++) {
        int64_t next = __atomic_load_n(&job->cursors[d].next, __ATOMIC_RELAXED), all = job->plan->domains[d].n_items;
        n -= next < all ? next : all;
    }
    return n;
}

/* Of reports there is one list. */
static bool take_report(struct sa_job *job, int64_t *index) {
    int64_t *next = &job->cursors[0].next;
    if (__atomic_load_n(next, __ATOMIC_RELAXED) >= job->reports->n_items)
        return false;
    *index = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
    return *index < job->reports->n_items;
}

/* False: no item is left. */
static bool do_item(struct sa_job *job, int domain, struct sa_workspace *space) {
    struct taken taken;
    int64_t index;
    if (job->reports) {
        const bool any = take_report(job, &index);
        if (any)
            sa_report_item(job->kernels, job->problem, job->reports, index, space);
        return any;
    }
    if (!take_any(job, domain, &taken))
        return false;
    sa_attend(job->kernels, job->problem, &job->plan->splits, job->partials, taken.item, taken.n,
              taken.follows ? &taken.follower : NULL, space);
    return true;
}

/* A job of lengths first .. end - 1. */
static bool any_waits(const struct sa_team *team, int first, int end) {
    bool any = false;
    for (int length = first; length < end && !any; length++)
        any = is_waiting(&team->queues[length]);
    return any;
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Whatever time shorter jobs leave to those of a length and to longer ones, these share by halves: after one of that
 * length longer ones have as long as it took, not counting what still shorter ones take meanwhile, or took in the
 * middle of it. A thread that was stopped owes no more than the time of a few jobs. */
static void count_time(struct sa_sitter *self, int length, int64_t began, int64_t interludes_ns) {
    const int64_t now = now_ns(), most = INT64_C(4000) * SA_LONG_US << SA_LENGTH_BITS * length,
                  took = now - began - interludes_ns;
    self->not_before[length] = now + (took < most ? took : most);
    for (int longer = length + 1; longer < SA_JOB_LENGTHS; longer++)
        if (self->not_before[longer] > began)
            self->not_before[longer] += took;
}

/* The shortest length, of those below `length`, of which a job waits whose turn it is; else `length`. */
static int due_before(const struct sa_team *team, int seat, int length) {
    int due = 0;
    while (due < length && !(is_waiting(&team->queues[due]) && now_ns() >= team->sitters[seat].not_before[due]))
        due++;
    return due;
}

/* The thread of a team and its seat; those of a caller on its own have no team. */
struct self {
    struct sa_team *team;
    int seat;
};

/* Is it a shorter job's turn? That ends a drain after an item. */
static bool is_rushed(struct self self, const struct sa_job *job) {
    return self.team && due_before(self.team, self.seat, job->length) < job->length;
}

/* Until no item is left, or it is a shorter job's turn. True: no item is left, whatever the reason is. */
static bool drain_errand(struct sa_job *job, struct self self) {
    for (;;) {
        const int64_t item = __atomic_fetch_add(&job->cursors[0].next, 1, __ATOMIC_RELAXED);
        if (item >= job->plan->n_items)
            return true;
        job->errand.function(job->errand.argument, item, self.seat);
        if (is_rushed(self, job))
            return untaken(job) == 0;
    }
}

/* The same for attention. */
static bool drain_attention(struct sa_job *job, int domain, struct sa_workspace *space, struct self self) {
    if (!sa_workspace_grant(space, sa_room_of(job->problem))) {
        __atomic_store_n(&job->no_memory, 1, __ATOMIC_RELAXED);
        return true;
    }
    while (do_item(job, domain, space))
        if (is_rushed(self, job))
            return untaken(job) == 0;
    return true;
}

void sa_job_drain(struct sa_job *job, struct sa_workspace *space) {
    if (job->errand.function)
        drain_errand(job, (struct self){NULL, 0});
    else
        drain_attention(job, 0, space, (struct self){NULL, 0});
}

/* ---------------------------------------------------------------- the queues, under the lock */

static struct sa_queue *queue_of(struct sa_team *team, const struct sa_job *job) { return &team->queues[job->length]; }

static void set_first(struct sa_queue *queue, struct sa_job *job) {
    __atomic_store_n(&queue->first, job, __ATOMIC_RELAXED);
}

static void append(struct sa_queue *queue, struct sa_job *job) {
    if (queue->last)
        queue->last->next = job;
    else
        set_first(queue, job);
    queue->last = job;
}

static void unlink_job(struct sa_queue *queue, struct sa_job *job) {
    struct sa_job *before = NULL;
    for (struct sa_job *at = queue->first; at != job; at = at->next)
        before = at;
    if (before)
        before->next = job->next;
    else
        set_first(queue, job->next);
    if (queue->last == job)
        queue->last = before;
}

static struct sa_job *next_job(const struct sa_team *team, int seat) {
    int longest = SA_JOB_LENGTHS - 1;
    while (longest > 0 && !is_waiting(&team->queues[longest]))
        longest--;
    return team->queues[due_before(team, seat, longest)].first;
}

/* Of all jobs: those behind others may have fewer items than there are threads, too. */
static int64_t untaken_of_all(const struct sa_team *team) {
    int64_t n = 0;
    for (int length = 0; length < SA_JOB_LENGTHS; length++)
        for (const struct sa_job *job = team->queues[length].first; job; job = job->next)
            n += untaken(job);
    return n;
}

/* A job with nothing more to take is exhausted, and done when the last one has left. Returns the caller to be woken
 * once the lock is given back; the job may be gone by then, its condition variable is not. */
static pthread_cond_t *leave(struct sa_team *team, struct sa_job *job, bool nothing_left) {
    if (nothing_left && !job->exhausted) {
        job->exhausted = true;
        unlink_job(queue_of(team, job), job);
    }
    if (--job->n_inside > 0 || !job->exhausted)
        return NULL;
    pthread_cond_t *sleeper = job->caller_sleeps ? &job->done : NULL;
    __atomic_store_n(&job->finished, true, __ATOMIC_RELEASE);
    return sleeper;
}

/* ---------------------------------------------------------------- waking
 * Threads are chosen under the lock and woken after it, or they would run into it. Each wakes two more if there is work
 * for them, so that a large team is awake after few steps.
 */

enum { MAX_WOKEN = 2 };

struct chosen {
    pthread_cond_t *at[MAX_WOKEN];
    int n;
};

static void choose(struct sa_team *team, int seat, struct chosen *chosen) {
    team->sitters[seat].presence = SA_CALLED;
    team->n_called++;
    chosen->at[chosen->n++] = &team->sitters[seat].called;
}

/* For so many items, less those that threads are already on their way for. */
static struct chosen choose_for(struct sa_team *team, int64_t n_items) {
    struct chosen chosen = {.n = 0};
    for (int seat = 0; seat < team->shape.n_threads && chosen.n < MAX_WOKEN && team->n_called < n_items; seat++)
        if (team->sitters[seat].presence == SA_ASLEEP)
            choose(team, seat, &chosen);
    return chosen;
}

static void wake(const struct chosen *chosen) {
    for (int i = 0; i < chosen->n; i++)
        pthread_cond_signal(chosen->at[i]);
}

/* ---------------------------------------------------------------- working, on a thread's seat */

static void work(struct sa_team *team, struct sa_job *job, int seat, struct sa_workspace *space);

/* ---- brief jobs in the middle of a long one's item */

static bool is_due(void *argument) {
    const struct self *self = argument;
    return due_before(self->team, self->seat, 1) == 0;
}

static void play(void *argument) {
    const struct self *self = argument;
    struct sa_team *team = self->team;
    const int64_t began = now_ns();
    pthread_mutex_lock(&team->lock);
    struct sa_job *job = team->queues[0].first;
    if (job)
        work(team, job, self->seat, &team->spares[self->seat]);
    pthread_mutex_unlock(&team->lock);
    count_time(&team->sitters[self->seat], 0, began, 0);
    team->sitters[self->seat].interludes_ns += now_ns() - began;
}

static bool drain(struct sa_team *team, struct sa_job *job, int seat, struct sa_workspace *space) {
    struct self self = {team, seat};
    if (job->errand.function)
        return drain_errand(job, self);
    const struct sa_interlude interlude = {is_due, play, &self};
    space->interlude = job->length > 0 ? &interlude : NULL;
    const bool nothing_left = drain_attention(job, team->seats[seat].domain, space, self);
    space->interlude = NULL;
    return nothing_left;
}

/* Called and left with the lock held. */
static void work(struct sa_team *team, struct sa_job *job, int seat, struct sa_workspace *space) {
    job->n_inside++;
    struct chosen others = choose_for(team, untaken_of_all(team) - 1);
    struct sa_buffer old = sa_workspace_take_up(space), spare = sa_workspace_take_up(&team->spares[seat]);
    pthread_mutex_unlock(&team->lock);
    wake(&others);
    sa_buffer_free(&old);
    sa_buffer_free(&spare);
    const bool nothing_left = drain(team, job, seat, space);
    pthread_mutex_lock(&team->lock);
    pthread_cond_t *sleeper = leave(team, job, nothing_left);
    if (!sleeper)
        return;
    pthread_mutex_unlock(&team->lock);
    pthread_cond_signal(sleeper);
    pthread_mutex_lock(&team->lock);
}

/* ---------------------------------------------------------------- threads */

static void sleep_until_called(struct sa_team *team, struct sa_sitter *self) {
    self->core = sa_bind_core_here(&team->core_map);
    self->presence = SA_ASLEEP;
    while ((self->presence == SA_ASLEEP || self->presence == SA_LENT) && !team->stop)
        pthread_cond_wait(&self->called, &team->lock);
    team->n_called -= self->presence == SA_CALLED;
    self->presence = SA_AWAKE;
}

/* The job may be gone when it has been worked on. The clock is read only if longer ones wait. */
static void work_in_turn(struct sa_team *team, struct sa_job *job, int seat) {
    struct sa_sitter *self = &team->sitters[seat];
    const int length = job->length;
    const bool counts = any_waits(team, length + 1, SA_JOB_LENGTHS);
    const int64_t began = counts ? now_ns() : 0, interludes_ns = self->interludes_ns;
    work(team, job, seat, &team->spaces[seat]);
    if (counts)
        count_time(self, length, began, self->interludes_ns - interludes_ns);
}

static void serve(struct sa_team *team, int thread) {
    pthread_mutex_lock(&team->lock);
    team->sitters[thread].presence = SA_AWAKE;
    while (!team->stop) {
        struct sa_job *job = next_job(team, thread);
        if (job)
            work_in_turn(team, job, thread);
        else
            sleep_until_called(team, &team->sitters[thread]);
    }
    pthread_mutex_unlock(&team->lock);
}

static void sit_down(struct sa_team *team, int thread) {
    int core = team->seats[thread].core;
    bool bound = core >= 0 && sa_bind_self(team->machine, core);
    pthread_mutex_lock(&team->lock);
    team->n_bound += bound;
    __atomic_store_n(&team->n_formed, omp_get_num_threads(), __ATOMIC_RELAXED);
    pthread_mutex_unlock(&team->lock);
}

/* The runtime may give fewer threads than asked for; items come from a queue, so any number will do. They run where the
 * engine's creator might, not where whoever called first does. */
static void *dispatch(void *argument) {
    struct sa_team *team = argument;
    if (!team->openmp_binds)
        sa_bind_to_all(team->machine);
    const int n_threads = sa_openmp_can_start(team->shape.n_threads);
#pragma omp parallel num_threads(n_threads)
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
        room = sa_workspace_offer(&team->spaces[t], bytes) && sa_workspace_offer(&team->spares[t], bytes);
    pthread_mutex_unlock(&team->lock);
    return room;
}

/* ---------------------------------------------------------------- callers */

enum { NO_SEAT = -1 };

/* The seat of a sleeping thread whose core is the caller's: any other would leave that thread's core idle and crowd
 * this one. Threads that are free to move will make room. */
static int borrow(struct sa_team *team) {
    int here = sa_bind_core_here(&team->core_map), found = NO_SEAT;
    for (int seat = 0; here >= 0 && seat < team->shape.n_threads; seat++) {
        const struct sa_sitter *sitter = &team->sitters[seat];
        if (sitter->presence != SA_ASLEEP || (team->stays_put && sitter->core != here))
            continue;
        found = seat;
        if (sitter->core == here)
            break;
    }
    if (found != NO_SEAT)
        team->sitters[found].presence = SA_LENT;
    return found;
}

/* Jobs that came meanwhile need the thread. */
static struct chosen give_back(struct sa_team *team, int seat) {
    struct chosen chosen = {.n = 0};
    team->sitters[seat].presence = SA_ASLEEP;
    if (any_waits(team, 0, SA_JOB_LENGTHS))
        choose(team, seat, &chosen);
    return chosen;
}

/* About what going to sleep and being woken costs: who waits no longer than that has gained, who waits longer has lost
 * no more than that. */
static const int64_t SPIN_NS = 30000;

static void pause_a_moment(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Until the job is done, another job needs the CPU, or the time is up. */
static bool spin(const struct sa_team *team, const struct sa_job *job) {
    const int64_t end = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 8; i++, pause_a_moment())
            if (__atomic_load_n(&job->finished, __ATOMIC_ACQUIRE))
                return true;
        if (any_waits(team, 0, SA_JOB_LENGTHS))
            return false;
    } while (now_ns() < end);
    return false;
}

static void sleep_until_finished(struct sa_team *team, struct sa_job *job) {
    pthread_mutex_lock(&team->lock);
    job->caller_sleeps = true;
    while (!job->finished)
        pthread_cond_wait(&job->done, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

/* Queues the job, works on it if there is a seat, or calls for threads. Called with the lock held, gives it back. True:
 * the caller has worked. */
static bool take_part(struct sa_team *team, struct sa_job *job, int seat) {
    struct chosen chosen;
    append(queue_of(team, job), job);
    if (seat != NO_SEAT) {
        work(team, job, seat, &team->spaces[seat]);
        chosen = give_back(team, seat);
    } else
        chosen = choose_for(team, untaken_of_all(team));
    pthread_mutex_unlock(&team->lock);
    wake(&chosen);
    return seat != NO_SEAT;
}

bool sa_team_run(struct sa_team *team, struct sa_job *job) {
    pthread_mutex_lock(&team->lock);
    bool running = team->started || start(team);
    int seat = running && job->length == 0 ? borrow(team) : NO_SEAT;
    if (!running || (job->small && seat == NO_SEAT)) {
        pthread_mutex_unlock(&team->lock);
        return false;
    }
    bool took_part = take_part(team, job, seat);
    if (!took_part || !team->may_spin || !spin(team, job))
        sleep_until_finished(team, job);
    return true;
}

bool sa_team_may_spin(int n_threads, int n_cores, double quota_cpus) {
    return n_threads <= n_cores && (quota_cpus <= 0 || n_threads <= quota_cpus);
}

/* ---------------------------------------------------------------- beginning and end */

static void destroy_sitters(struct sa_team *team, int n) {
    while (n-- > 0)
        pthread_cond_destroy(&team->sitters[n].called);
}

bool sa_team_init(struct sa_team *team) {
    int n = 0;
    if (pthread_mutex_init(&team->lock, NULL) != 0)
        return false;
    while (n < team->shape.n_threads && pthread_cond_init(&team->sitters[n].called, NULL) == 0)
        n++;
    if (n == team->shape.n_threads)
        return true;
    destroy_sitters(team, n);
    pthread_mutex_destroy(&team->lock);
    return false;
}

void sa_team_restart_in_child(struct sa_team *team) {
    team->started = false;
    memset(team->queues, 0, sizeof team->queues);
    team->n_formed = team->n_bound = team->n_called = 0;
    for (int t = 0; t < team->shape.n_threads; t++) {
        sa_workspace_forget_layout(&team->spaces[t]);
        sa_workspace_forget_layout(&team->spares[t]);
        team->sitters[t].presence = SA_ABSENT;
        pthread_cond_init(&team->sitters[t].called, NULL); /* who waited for it does not exist here */
    }
}

void sa_team_stop(struct sa_team *team) {
    if (team->started) {
        pthread_mutex_lock(&team->lock);
        team->stop = true;
        for (int t = 0; t < team->shape.n_threads; t++)
            pthread_cond_signal(&team->sitters[t].called);
        pthread_mutex_unlock(&team->lock);
        pthread_join(team->dispatcher, NULL);
    }
    destroy_sitters(team, team->shape.n_threads);
    pthread_mutex_destroy(&team->lock);
}
