/* SPDX-License-Identifier: MIT */
/* What an engine is made of, and the calls that are under way in it. */
#ifndef SA_ENGINE_H
#define SA_ENGINE_H

#include <pthread.h>

#include "cpu.h"
#include "machine.h"
#include "options.h"
#include "plan.h"
#include "problem.h"
#include "report.h"
#include "team.h"

/* Everything one call needs. Kept after the call for the next one, so that a call of a known size allocates nothing. */
struct sa_call {
    struct sa_problem problem;
    struct sa_plan plan;
    struct sa_job job;
    struct sa_buffer seq_buffer, cursor_buffer, extent_buffer;
    struct sa_workspace space; /* for calls that run in the calling thread */
    struct sa_partials partials;
    struct sa_report_plan reports;
    bool in_caller;
    struct sa_call *next;
};

struct sa_engine {
    struct sa_config config;
    struct sa_machine machine;
    struct sa_cpu_choice cpu;
    struct sa_team team;
    int binding;             /* sa_binding in use */
    const char *why_unbound; /* NULL, or why the team is not bound by us */
    const char *why_threads; /* what set the number of threads */
    bool plans_only;         /* the machine is not this one: sa_engine_options.topology */
    struct sa_buffer seat_buffer, sitter_buffer, space_buffer, domain_buffer, speed_buffer;

    pthread_mutex_t calls_lock;
    struct sa_call *free_calls;
    struct sa_engine *next; /* all engines of the process, for fork.c */
};

/* Is it an engine, and one for calls that compute? */
sa_status sa_engine_computes(const struct sa_engine *engine);

/* How much work, in us, makes a call of the next size; team.h has the others. */
enum {
    SA_TEAM_US = 20,  /* less stays in the caller: handing it over costs about 8 us */
    SA_BRIEF_US = 40, /* less is handed over only if a thread sleeps: to be woken oneself costs another 15 us */
};

/* A call ready to be validated into, NULL if there is no memory. */
struct sa_call *sa_call_take(struct sa_engine *engine);
void sa_call_give_back(struct sa_engine *engine, struct sa_call *call);
void sa_call_free_all(struct sa_engine *engine);

/* In the child of a fork() that was made with the lock held: whoever was waking the caller of a call does not exist
 * here. */
void sa_calls_restart_in_child(struct sa_engine *engine);

/* Validates and plans a batch into the call. */
sa_status sa_call_prepare(struct sa_engine *engine, struct sa_call *call, const sa_batch *batch);

/* Memory for the results of the parts of a prepared call, and for what is known of blocks of its keys. */
size_t sa_call_partials_bytes(const struct sa_call *call);
size_t sa_call_extents_bytes(const struct sa_call *call);

/* Computes it, in the calling thread or by the team. Runs under sa_fpmode_enter(). */
sa_status sa_call_run(struct sa_engine *engine, struct sa_call *call);

/* The same for work that is not attention, with a call that is not prepared: see sa_engine_run(). */
sa_status sa_call_run_errand(struct sa_engine *engine, struct sa_call *call, struct sa_errand errand, int64_t n_items,
                             double seconds);

#endif
