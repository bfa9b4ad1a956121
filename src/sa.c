/* SPDX-License-Identifier: MIT */
/* The public functions of a batch: copy in, validate, plan, hand over. Those of the engine are in engine.c, the small
 * ones in reason.c. */
#include <sa/sa.h>

#include <math.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "describe.h"
#include "engine.h"
#include "fpmode.h"
#include "kernels/kernels.h"
#include "reason.h"
#include "what_if.h"

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static sa_status run(sa_engine *engine, struct sa_call *call) {
    if (!engine->config.verbose)
        return sa_call_run(engine, call);
    double begin = now();
    sa_status status = sa_call_run(engine, call);
    sa_describe_verbose(engine, call, now() - begin);
    return status;
}

/* Takes a call and prepares it; on failure there is none to give back. What is worked out here, the scale for one, must
 * not depend on the caller's rounding mode: every public function computes in the library's own mode. */
static sa_status take_prepared(sa_engine *engine, const sa_batch *batch, struct sa_call **call) {
    if (!engine)
        return sa_fail(SA_INVALID, "engine is NULL");
    *call = sa_call_take(engine);
    if (!*call)
        return sa_fail(SA_NO_MEMORY, "no memory for a call");
    sa_status status = sa_call_prepare(engine, *call, batch);
    if (status != SA_OK)
        sa_call_give_back(engine, *call);
    return status;
}

/* A thread that is cancelled while others write to its job would leave them a dead job: cancellation waits. */
sa_status sa_batch_forward(sa_engine *engine, const sa_batch *batch) {
    struct sa_call *call;
    int cancel_state;
    sa_status status = sa_engine_computes(engine);
    if (status != SA_OK)
        return status;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    uint64_t mode = sa_fpmode_enter();
    status = take_prepared(engine, batch, &call);
    if (status == SA_OK) {
        status = run(engine, call);
        sa_call_give_back(engine, call);
    }
    sa_fpmode_leave(mode);
    pthread_setcancelstate(cancel_state, NULL);
    return status;
}

static sa_status run_errand(sa_engine *engine, struct sa_errand errand, int64_t n_items, double seconds) {
    struct sa_call *call = sa_call_take(engine);
    if (!call)
        return sa_fail(SA_NO_MEMORY, "no memory for a call");
    sa_status status = sa_call_run_errand(engine, call, errand, n_items, seconds);
    sa_call_give_back(engine, call);
    return status;
}

sa_status sa_engine_run(sa_engine *engine, int64_t n_items, double seconds, sa_item_function *function,
                        void *argument) {
    int cancel_state;
    sa_status status = sa_engine_computes(engine);
    if (status != SA_OK)
        return status;
    if (!function)
        return sa_fail(SA_INVALID, "function is NULL");
    if (n_items < 0 || n_items > INT64_MAX / 2)
        return sa_fail(SA_INVALID, "n_items is %lld", (long long)n_items);
    if (!isgreaterequal(seconds, 0.0)) /* NaN raises no flag */
        return sa_fail(SA_INVALID, "seconds is %g, expected 0 or more", seconds);
    if (n_items == 0)
        return SA_OK;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    uint64_t mode = sa_fpmode_enter();
    status = run_errand(engine, (struct sa_errand){function, argument}, n_items, seconds);
    sa_fpmode_leave(mode);
    pthread_setcancelstate(cancel_state, NULL);
    return status;
}

sa_status sa_batch_get_info(sa_engine *engine, const sa_batch *batch, sa_batch_info *info) {
    struct sa_call *call;
    uint64_t mode = sa_fpmode_enter();
    sa_status status = take_prepared(engine, batch, &call);
    if (status == SA_OK) {
        sa_batch_info own = sa_describe_batch_info(engine, call);
        sa_call_give_back(engine, call);
        status = sa_copy_out(info, &own, sizeof own, "sa_batch_info");
    }
    sa_fpmode_leave(mode);
    return status;
}

sa_status sa_batch_simulate(sa_engine *engine, const sa_batch *batch, const sa_simulation_request *request,
                            sa_simulation *result) {
    struct sa_call *call;
    sa_simulation own;
    uint64_t mode = sa_fpmode_enter();
    sa_status status = sa_check_room(result, sizeof own, "sa_simulation");
    if (status == SA_OK)
        status = take_prepared(engine, batch, &call);
    if (status == SA_OK) {
        status = sa_what_if(engine, call, request, &own);
        sa_call_give_back(engine, call);
    }
    if (status == SA_OK)
        status = sa_copy_out(result, &own, sizeof own, "sa_simulation");
    sa_fpmode_leave(mode);
    return status;
}

static sa_status text_buffer(char *text, size_t capacity, struct sa_text *out) {
    if (!text && capacity)
        return sa_fail(SA_INVALID, "text is NULL, but capacity is %zu", capacity);
    *out = (struct sa_text){text, capacity, 0};
    return SA_OK;
}

sa_status sa_batch_describe(sa_engine *engine, const sa_batch *batch, char *text, size_t capacity, size_t *length) {
    struct sa_call *call;
    struct sa_text out;
    uint64_t mode = sa_fpmode_enter();
    sa_status status = text_buffer(text, capacity, &out);
    if (status == SA_OK)
        status = take_prepared(engine, batch, &call);
    if (status == SA_OK) {
        sa_describe_call(&out, engine, call);
        sa_call_give_back(engine, call);
        if (length)
            *length = out.length;
    }
    sa_fpmode_leave(mode);
    return status;
}

sa_status sa_engine_describe(const sa_engine *engine, char *text, size_t capacity, size_t *length) {
    struct sa_text out;
    sa_status status = engine ? text_buffer(text, capacity, &out) : sa_fail(SA_INVALID, "engine is NULL");
    if (status != SA_OK)
        return status;
    uint64_t mode = sa_fpmode_enter();
    sa_describe_engine(&out, engine);
    sa_fpmode_leave(mode);
    if (length)
        *length = out.length;
    return SA_OK;
}

sa_status sa_engine_get_info(const sa_engine *engine, sa_engine_info *info) {
    if (!engine)
        return sa_fail(SA_INVALID, "engine is NULL");
    const struct sa_machine *machine = &engine->machine;
    sa_engine_info own = {.n_threads = engine->team.shape.n_threads,
                          .n_cores = machine->n_cores,
                          .n_cpus = machine->n_cpus,
                          .n_l3 = machine->n_l3,
                          .n_numa = machine->n_numa,
                          .isa = engine->cpu.kernels->isa,
                          .binding = engine->binding,
                          .tile_rows = SA_TILE_ROWS,
                          .block_keys = SA_BLOCK_KEYS,
                          .chunk_keys = SA_CHUNK_KEYS,
                          .quota_cpus = machine->quota_cpus};
    return sa_copy_out(info, &own, sizeof own, "sa_engine_info");
}
