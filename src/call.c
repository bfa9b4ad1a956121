/* SPDX-License-Identifier: MIT */
#include "engine.h"

#include <string.h>

#include "attend.h"
#include "kernels/kernels.h"
#include "reason.h"
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
    sa_workspace_free(&call->space);
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

void sa_call_free_all(struct sa_engine *engine) {
    for (struct sa_call *call = engine->free_calls, *next; call; call = next) {
        next = call->next;
        free_call(call);
    }
    engine->free_calls = NULL;
}

/* ---------------------------------------------------------------- preparing */

/* Handing a call to the team and being woken costs 10 to 30 us; below this much work that is not worth it. */
#define SMALL_SECONDS 40e-6

/* Multiply-adds a second, to tell small calls from large ones. */
static double typical_rate(const struct sa_kernels *kernels) {
#if defined(__x86_64__)
    return kernels->isa == SA_ISA_GENERIC ? 1e9 : 40e9;
#else
    return kernels->lanes * 3e9;
#endif
}

static bool is_small(const struct sa_engine *engine, const struct sa_plan *plan) {
    return plan->cost < SMALL_SECONDS * typical_rate(engine->cpu.kernels);
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
    size_t cursor_bytes = (size_t)engine->team.shape.n_domains * sizeof(struct sa_cursor);
    if (!sa_plan_make(&call->plan, &call->problem, &engine->team.shape) ||
        !sa_buffer_reserve(&call->cursor_buffer, cursor_bytes))
        return sa_fail(SA_NO_MEMORY, "no memory for the plan of %lld sequences", (long long)own.n_sequences);
    call->in_caller = is_small(engine, &call->plan);
    call->job.kernels = engine->cpu.kernels;
    call->job.problem = &call->problem;
    call->job.plan = &call->plan;
    call->job.cursors = call->cursor_buffer.data;
    call->job.stride = call->in_caller ? 1 : engine->team.shape.n_threads / engine->team.shape.n_domains;
    return SA_OK;
}

/* ---------------------------------------------------------------- running */

sa_status sa_call_run(struct sa_engine *engine, struct sa_call *call) {
    int64_t *progress = call->problem.progress;
    if (progress)
        __atomic_store_n(progress, 0, __ATOMIC_RELAXED);
    size_t bytes = sa_workspace_bytes(call->problem.d_qk, call->problem.d_v);
    if (!call->in_caller && !sa_team_reserve(&engine->team, bytes))
        return sa_fail(SA_NO_MEMORY, "no memory for a workspace of %zu bytes a thread", bytes);
    sa_job_open(&call->job);
    /* Without a team (the system has no thread to give) the caller does the work itself: slower, the same bits. */
    if (call->in_caller || !sa_team_run(&engine->team, &call->job))
        sa_job_drain(&call->job, 0, &call->space);
    if (call->job.no_memory)
        return sa_fail(SA_NO_MEMORY, "no memory for a workspace of %zu bytes", bytes);
    return SA_OK;
}
