/* SPDX-License-Identifier: MIT */
#include "what_if.h"

#include <math.h>
#include <stddef.h>

#include "options.h"
#include "reason.h"
#include "simulate.h"

/* ---------------------------------------------------------------- the request */

/* Or 0, which stands for 1. */
static bool is_rate(double speed) { return speed == 0 || (speed >= 1e-6 && speed <= 1e6); }

static sa_status check(const struct sa_engine *engine, const sa_simulation_request *r) {
    int n = engine->team.shape.n_threads;
    bool arrays = r->thread_speeds || r->thread_busy || r->thread_domains;
    if (r->reserved)
        return sa_fail(SA_INVALID, "sa_simulation_request.reserved is %d, expected 0", (int)r->reserved);
    if (r->n_threads != n && (arrays || r->n_threads != 0))
        return sa_fail(SA_INVALID, "sa_simulation_request.n_threads is %d, the engine has %d", (int)r->n_threads, n);
    if (r->n_segments < 0 || (r->n_segments > 0 && !r->segments))
        return sa_fail(SA_INVALID, "sa_simulation_request.n_segments is %lld, segments is %s", (long long)r->n_segments,
                       r->segments ? "given" : "NULL");
    if (!is_rate(r->compute_speed) || !is_rate(r->memory_speed))
        return sa_fail(
            SA_INVALID,
            "sa_simulation_request.compute_speed is %g, memory_speed is %g, expected 1e-6 to 1e6, or 0 for 1",
            r->compute_speed, r->memory_speed);
    for (int t = 0; r->thread_speeds && t < n; t++)
        if (!(r->thread_speeds[t] > 0 && isfinite(r->thread_speeds[t])))
            return sa_fail(SA_INVALID, "sa_simulation_request.thread_speeds[%d] is %g, expected more than 0", t,
                           r->thread_speeds[t]);
    return SA_OK;
}

static sa_status read_request(const struct sa_engine *engine, const sa_simulation_request *request,
                              sa_simulation_request *own) {
    *own = (sa_simulation_request){.struct_size = sizeof *own};
    if (!request)
        return SA_OK;
    static const size_t older[] = {offsetof(sa_simulation_request, compute_speed), 0};
    sa_status status =
        sa_copy_in_grown(own, sizeof *own, older, request, request->struct_size, "sa_simulation_request");
    return status == SA_OK ? check(engine, own) : status;
}

/* ---------------------------------------------------------------- the team */

/* The arrays behind a sa_sim_team. */
struct stage {
    struct sa_buffer buffer;
    struct sa_sim_team team;
    struct sa_cost_model model; /* at the request's speeds */
    double *speeds, *domain_speeds;
    int *domains, *numa;
};

static bool open_stage(struct stage *stage, const struct sa_engine *engine) {
    size_t n = (size_t)engine->team.shape.n_threads, n_domains = (size_t)engine->team.shape.n_domains;
    if (!sa_buffer_reserve(&stage->buffer, (n + n_domains) * (sizeof(double) + sizeof(int))))
        return false;
    stage->speeds = stage->buffer.data;
    stage->domain_speeds = stage->speeds + n;
    stage->domains = (int *)(stage->domain_speeds + n_domains);
    stage->numa = stage->domains + n;
    return true;
}

static void seat_thread(struct stage *stage, const struct sa_engine *engine, int thread, const double *speeds) {
    const struct sa_seat *seat = &engine->team.seats[thread];
    const struct sa_core *core = seat->core >= 0 ? &engine->machine.cores[seat->core] : NULL;
    stage->speeds[thread] = speeds ? speeds[thread] : core ? core->speed : 1;
    stage->domains[thread] = seat->domain;
    stage->numa[seat->domain] = core ? core->numa : 0;
    stage->domain_speeds[seat->domain] += stage->speeds[thread];
}

static double or_one(double speed) { return speed > 0 ? speed : 1; }

/* A call that its caller computes is played by one thread, which takes the lists in turn. */
static void fill_stage(struct stage *stage, const struct sa_engine *engine, const struct sa_call *call,
                       const sa_simulation_request *own) {
    struct sa_team_shape shape = engine->team.shape;
    stage->model = sa_cost_model_at(shape.model, or_one(own->compute_speed), or_one(own->memory_speed));
    shape.model = &stage->model;
    for (int d = 0; d < shape.n_domains; d++)
        stage->domain_speeds[d] = 0;
    for (int t = 0; t < shape.n_threads; t++)
        seat_thread(stage, engine, t, own->thread_speeds);
    shape.domain_speeds = stage->domain_speeds;
    shape.n_threads = call->in_caller ? 1 : shape.n_threads;
    stage->team = (struct sa_sim_team){.shape = shape,
                                       .n_numa = engine->machine.n_numa > 0 ? engine->machine.n_numa : 1,
                                       .domain_numa = stage->numa,
                                       .thread_domain = stage->domains,
                                       .thread_speed = stage->speeds};
}

/* ---------------------------------------------------------------- the result, in seconds and bytes */

static double key_bytes(const struct sa_problem *problem) {
    return problem->n_seqs ? problem->seqs->k.d_bytes + problem->seqs->v.d_bytes : 0;
}

static sa_simulation result_of(const struct sa_sim_result *r, const struct sa_call *call, const struct stage *stage) {
    const struct sa_team_shape *shape = &stage->team.shape;
    double unit = shape->model->unit_seconds, bytes = key_bytes(&call->problem);
    return (sa_simulation){.seconds = r->makespan * unit,
                           .ideal_seconds = r->ideal * unit,
                           .longest_seconds = r->longest * unit,
                           .round_robin_seconds = r->round_robin * unit,
                           .overhead_seconds =
                               shape->model->call_seconds + (call->in_caller ? 0 : SA_HAND_OVER_SECONDS),
                           .kv_bytes = r->traffic.keys * bytes,
                           .l3_bytes = r->traffic.l3_keys * bytes,
                           .numa_bytes = r->traffic.numa_keys * bytes,
                           .round_robin_l3_bytes = r->round_robin_traffic.l3_keys * bytes,
                           .round_robin_numa_bytes = r->round_robin_traffic.numa_keys * bytes,
                           .n_items = r->n_items,
                           .n_moved = call->in_caller ? 0 : r->n_moved,
                           .n_segments = r->n_segments,
                           .n_threads = shape->n_threads,
                           .n_domains = shape->n_domains};
}

static void finish_arrays(const sa_simulation_request *own, const struct stage *stage, int n_threads,
                          int64_t n_segments) {
    double unit = stage->team.shape.model->unit_seconds;
    int64_t n = n_segments < own->n_segments ? n_segments : own->n_segments;
    for (int64_t i = 0; i < n; i++) {
        own->segments[i].begin *= unit;
        own->segments[i].end *= unit;
    }
    for (int t = 0; t < n_threads; t++) {
        if (own->thread_busy)
            own->thread_busy[t] = t < stage->team.shape.n_threads ? own->thread_busy[t] * unit : 0;
        if (own->thread_domains)
            own->thread_domains[t] = stage->domains[t];
    }
}

/* ---------------------------------------------------------------- all of it */

static bool play(const struct sa_engine *engine, struct sa_call *call, const sa_simulation_request *own,
                 struct stage *stage, sa_simulation *result) {
    struct sa_sim_result r;
    struct sa_sim_details details = {own->segments, own->n_segments, own->thread_busy};
    if (!open_stage(stage, engine))
        return false;
    fill_stage(stage, engine, call, own);
    struct sa_team_shape planned = stage->team.shape;
    planned.n_threads = engine->team.shape.n_threads;
    const bool other = own->thread_speeds || own->compute_speed > 0 || own->memory_speed > 0;
    if (other && !sa_plan_make(&call->plan, &call->problem, &planned))
        return false;
    if (!sa_simulate(&call->plan, &call->problem, &stage->team, &details, &r))
        return false;
    finish_arrays(own, stage, engine->team.shape.n_threads, r.n_segments);
    *result = result_of(&r, call, stage);
    return true;
}

sa_status sa_what_if(const struct sa_engine *engine, struct sa_call *call, const sa_simulation_request *request,
                     sa_simulation *result) {
    sa_simulation_request own;
    struct stage stage = {0};
    sa_status status = read_request(engine, request, &own);
    if (status != SA_OK)
        return status;
    bool played = play(engine, call, &own, &stage, result);
    sa_buffer_free(&stage.buffer);
    return played ? SA_OK : sa_fail(SA_NO_MEMORY, "no memory to simulate %lld items", (long long)call->plan.n_items);
}
