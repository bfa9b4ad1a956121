/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <math.h>
#include <string.h>

#include "abreast.h"
#include "attend.h"
#include "copies.h"
#include "kept.h"
#include "reason.h"
#include "sight.h"
#include "turned.h"
#include "validate.h"

/* ---------------------------------------------------------------- keeping calls */

static struct sa_call *new_call(void) {
    struct sa_call *call = sa_memory_alloc(sizeof *call);
    if (!call)
        return NULL;
    memset(call, 0, sizeof *call);
    if (pthread_cond_init(&call->job.done, NULL) == 0)
        return call;
    sa_memory_free(call);
    return NULL;
}

static void free_call(struct sa_call *call) {
    sa_plan_free(&call->plan);
    sa_buffer_free(&call->seq_buffer);
    sa_buffer_free(&call->cursor_buffer);
    sa_buffer_free(&call->extent_buffer);
    sa_workspace_free(&call->space);
    sa_partials_free(&call->partials);
    sa_report_free(&call->reports);
    pthread_cond_destroy(&call->job.done);
    sa_memory_free(call);
}

struct sa_call *sa_call_take(struct sa_engine *engine) {
    pthread_mutex_lock(&engine->calls_lock);
    struct sa_call *call = engine->free_calls;
    if (call)
        engine->free_calls = call->next;
    pthread_mutex_unlock(&engine->calls_lock);
    return call ? call : new_call();
}

void sa_call_give_back(struct sa_engine *engine, struct sa_call *call) {
    pthread_mutex_lock(&engine->calls_lock);
    call->next = engine->free_calls;
    engine->free_calls = call;
    pthread_mutex_unlock(&engine->calls_lock);
}

void sa_calls_restart_in_child(struct sa_engine *engine) {
    for (struct sa_call *call = engine->free_calls; call; call = call->next)
        pthread_cond_init(&call->job.done, NULL);
}

void sa_call_free_all(struct sa_engine *engine) {
    for (struct sa_call *call = engine->free_calls, *next; call; call = next) {
        next = call->next;
        free_call(call);
    }
    engine->free_calls = NULL;
}

/* ---------------------------------------------------------------- preparing */

/* The cost model is one of large batches; small calls, whose data are near, take about half of what it says. For larger
 * ones it is too little by that, which is near enough to tell their kinds apart. */
static double us_of(const struct sa_engine *engine, const struct sa_plan *plan) {
    return plan->cost * engine->team.shape.model->unit_seconds * 0.5e6;
}

static void set_size(struct sa_job *job, double us) {
    job->small = us < SA_BRIEF_US;
    job->length = 0;
    for (double limit = SA_LONG_US; us >= limit && job->length < SA_JOB_LENGTHS - 1; limit *= 1 << SA_LENGTH_BITS)
        job->length++;
}

sa_status sa_call_prepare(struct sa_engine *engine, struct sa_call *call, const sa_batch *batch) {
    sa_batch own;
    sa_status status = sa_validate_batch(batch, &own);
    if (status != SA_OK)
        return status;
    if (!sa_buffer_reserve(&call->seq_buffer, (size_t)own.n_sequences * sizeof(struct sa_seq)))
        return sa_fail(SA_NO_MEMORY, "no memory for %lld sequences", (long long)own.n_sequences);
    call->problem.seqs = call->seq_buffer.data;
    status = sa_validate_sequences(&own, &call->problem);
    if (status != SA_OK)
        return status;
    sa_limit_abreast(&call->problem, engine->team.shape.n_threads);
    sa_turned_choose_room(engine->cpu.kernels, &call->problem);
    sa_copies_choose_room(engine->cpu.kernels, &call->problem);
    size_t cursor_bytes = (size_t)engine->team.shape.n_domains * sizeof(struct sa_cursor);
    if (!sa_plan_make(&call->plan, &call->problem, &engine->team.shape) ||
        !sa_report_plan(&call->reports, &call->problem, engine->team.shape.n_threads) ||
        !sa_buffer_reserve(&call->cursor_buffer, cursor_bytes))
        return sa_fail(SA_NO_MEMORY, "no memory for the plan of %lld sequences", (long long)own.n_sequences);
    const double us = us_of(engine, &call->plan);
    call->in_caller = us < SA_TEAM_US;
    set_size(&call->job, us);
    call->job.errand = (struct sa_errand){NULL, NULL};
    call->job.kernels = engine->cpu.kernels;
    call->job.problem = &call->problem;
    call->job.plan = &call->plan;
    call->job.partials = &call->partials;
    call->job.cursors = call->cursor_buffer.data;
    call->job.stride = call->in_caller ? 1 : engine->team.shape.n_threads / engine->team.shape.n_domains;
    return SA_OK;
}

/* ---------------------------------------------------------------- running */

static sa_status no_workspace(const struct sa_call *call) {
    return sa_fail(SA_NO_MEMORY, "no memory for a workspace of %zu bytes a thread",
                   sa_problem_workspace_bytes(&call->problem));
}

static int pass_rows(const struct sa_call *call) { return call->job.kernels->pass_groups * SA_GROUP_ROWS; }

size_t sa_call_partials_bytes(const struct sa_call *call) {
    const struct sa_splits *splits = &call->plan.splits;
    return sa_partials_bytes(splits->n_slots, splits->most_rows, pass_rows(call), call->problem.d_v);
}

size_t sa_call_extents_bytes(const struct sa_call *call) {
    return (size_t)sa_sight_count_extents(&call->problem) * sizeof(struct sa_extent);
}

static bool grant_partials(struct sa_call *call) {
    const struct sa_splits *splits = &call->plan.splits;
    return sa_partials_grant(&call->partials, splits->n_slots, splits->most_rows, pass_rows(call), call->problem.d_v);
}

/* All the scratch memory that the call may need, wherever it will run. */
static bool reserve(struct sa_engine *engine, struct sa_call *call) {
    const struct sa_problem *problem = &call->problem;
    bool may_stay = call->in_caller || call->job.small;
    return (!may_stay || sa_workspace_grant(&call->space, sa_room_of(problem))) &&
           (call->in_caller || sa_team_reserve(&engine->team, sa_problem_workspace_bytes(problem)));
}

static void open_kept(const struct sa_problem *problem) {
    for (int64_t i = 0; i < problem->n_seqs; i++) {
        const struct sa_seq *seq = &problem->seqs[i];
        const int n_heads = problem->n_kv_heads * problem->group;
        if (seq->kept)
            *seq->kept =
                (struct sa_kept){SA_KEPT_MAGIC, seq->n_q, seq->first_key, seq->n_k, n_heads, problem->d_v, {0}};
    }
}

/* What the team does not take (the system has no thread to give, say) the caller does itself: the same bits. */
static void run_items(struct sa_engine *engine, struct sa_call *call, const struct sa_report_plan *reports) {
    call->job.reports = reports;
    sa_job_open(&call->job);
    if (call->in_caller || !sa_team_run(&engine->team, &call->job))
        sa_job_drain(&call->job, &call->space);
}

/* What is known of blocks of keys before they are looked at. */
static bool find_extents(struct sa_call *call) {
    const size_t bytes = sa_call_extents_bytes(call);
    if (!sa_buffer_reserve(&call->extent_buffer, bytes))
        return false;
    if (bytes > 0)
        sa_sight_find_extents(&call->problem, call->extent_buffer.data);
    return true;
}

sa_status sa_call_run(struct sa_engine *engine, struct sa_call *call) {
    int64_t *progress = call->problem.progress;
    if (progress)
        __atomic_store_n(progress, 0, __ATOMIC_RELAXED);
    if (!grant_partials(call))
        return sa_fail(SA_NO_MEMORY, "no memory for the results of %lld parts", (long long)call->plan.splits.n_parts);
    if (!find_extents(call))
        return sa_fail(SA_NO_MEMORY, "no memory for the extents of documents and positions");
    if (!reserve(engine, call))
        return no_workspace(call);
    if (!sa_report_grant(&call->reports, &call->problem))
        return sa_fail(SA_NO_MEMORY, "no memory for what is reported of rows");
    open_kept(&call->problem);
    run_items(engine, call, NULL);
    if (call->reports.n_items > 0 && !call->job.no_memory)
        run_items(engine, call, &call->reports);
    return call->job.no_memory ? no_workspace(call) : SA_OK;
}

/* ---------------------------------------------------------------- work that is not attention */

sa_status sa_call_run_errand(struct sa_engine *engine, struct sa_call *call, struct sa_errand errand, int64_t n_items,
                             double seconds) {
    struct sa_domain_list list = {.n_items = n_items};
    const struct sa_plan plan = {.domains = &list, .n_domains = 1, .n_items = n_items};
    if (!sa_buffer_reserve(&call->cursor_buffer, sizeof(struct sa_cursor)))
        return sa_fail(SA_NO_MEMORY, "no memory for a call");
    call->job.errand = errand;
    call->job.reports = NULL;
    call->job.plan = &plan;
    call->job.cursors = call->cursor_buffer.data;
    set_size(&call->job, seconds > 0 ? seconds * 1e6 : (double)INFINITY);
    sa_job_open(&call->job);
    bool in_caller = seconds > 0 && seconds < SA_TEAM_US * 1e-6;
    if (in_caller || !sa_team_run(&engine->team, &call->job))
        sa_job_drain(&call->job, &call->space);
    return SA_OK;
}
