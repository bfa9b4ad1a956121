/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include <stdlib.h>

#include "cli.h"
#include "names.h"

/* Addresses that are far apart and never read: the library promises not to touch the tensors of what it only plans. */
static struct bench_arena nowhere(void) {
    struct bench_arena arena = {0};
    for (int tensor = 0; tensor < BENCH_TENSORS; tensor++)
        for (int type = 0; type < BENCH_TYPES; type++)
            arena.at[tensor][type] = (char *)((uintptr_t)(1 + tensor) << 44);
    return arena;
}

static bool failed(const struct plan_case *c) { return complain("%s: %s", c->shape->name, sa_last_reason()); }

/* ---------------------------------------------------------------- one batch */

static sa_simulation_request request_of(struct plan *plan) {
    const struct plan_options *o = plan->options;
    return (sa_simulation_request){.struct_size = sizeof(sa_simulation_request),
                                   .n_threads = plan->info.n_threads,
                                   .thread_speeds = o->n_speeds ? o->speeds : NULL,
                                   .thread_domains = plan->domains,
                                   .compute_speed = plan->speeds.compute,
                                   .memory_speed = plan->speeds.memory};
}

/* A second time with room for what the first one counted. */
static bool keep_segments(struct plan *plan, struct plan_case *c) {
    sa_simulation_request request = request_of(plan);
    request.n_segments = c->sim.n_segments;
    request.segments = c->segments = malloc((size_t)c->sim.n_segments * sizeof *c->segments + 1);
    if (!c->segments)
        return complain("%s: no memory for %lld pieces of a timeline", c->shape->name, (long long)c->sim.n_segments);
    return sa_batch_simulate(plan->engine, &c->c.batch, &request, &c->sim) == SA_OK || failed(c);
}

static bool open_case(struct plan *plan, struct plan_case *c) {
    struct bench_arena arena = nowhere();
    struct bench_extent at = {0};
    c->info.struct_size = sizeof c->info;
    if (!bench_case_open(&c->c, c->shape, &arena, &at, 1))
        return complain("%s: no memory for %lld sequences", c->shape->name, (long long)c->shape->n_seqs);
    return sa_batch_get_info(plan->engine, &c->c.batch, &c->info) == SA_OK || failed(c);
}

static bool simulate(struct plan *plan, struct plan_case *c) {
    sa_simulation_request request = request_of(plan);
    c->sim.struct_size = sizeof c->sim;
    if (sa_batch_simulate(plan->engine, &c->c.batch, &request, &c->sim) != SA_OK)
        return failed(c);
    return !(plan->options->svg_path || plan->options->png_path) || keep_segments(plan, c);
}

/* ---------------------------------------------------------------- all of them */

/* Of another machine the cost model is all that is needed. */
static bool has_isa(const struct plan *plan) {
    const int32_t wanted = plan->options->max_isa;
    return !wanted || plan->options->topology || plan->info.isa == wanted ||
           complain("--isa is %s, but this machine computes with %s at most; for another one name its --topology",
                    isa_name(wanted), isa_name(plan->info.isa));
}

static bool open_plan(struct plan *plan, const struct plan_options *o) {
    sa_engine_options options = {.struct_size = sizeof options,
                                 .n_threads = (int32_t)o->n_threads,
                                 .max_isa = o->max_isa,
                                 .topology = o->topology};
    *plan = (struct plan){.options = o, .info = {.struct_size = sizeof plan->info}, .speeds = o->at};
    if (sa_engine_create(&options, &plan->engine) != SA_OK || sa_engine_get_info(plan->engine, &plan->info) != SA_OK)
        return complain("%s", sa_last_reason());
    if (!has_isa(plan))
        return false;
    if (plan->info.n_threads > PLAN_MAX_THREADS)
        return complain("%d threads: at most %d can be shown", (int)plan->info.n_threads, PLAN_MAX_THREADS);
    if (o->n_speeds && o->n_speeds != plan->info.n_threads)
        return complain("--speeds names %d threads, the team has %d", o->n_speeds, (int)plan->info.n_threads);
    plan->cases = calloc((size_t)o->shapes.n, sizeof *plan->cases);
    for (int i = 0; plan->cases && i < o->shapes.n; i++)
        plan->cases[plan->n_cases++].shape = &o->shapes.at[i];
    return plan->cases || complain("no memory for %d batches", o->shapes.n);
}

static void close_plan(struct plan *plan) {
    for (int i = 0; i < plan->n_cases; i++) {
        free(plan->cases[i].segments);
        bench_case_close(&plan->cases[i].c);
    }
    free(plan->cases);
    sa_engine_destroy(plan->engine);
}

static bool write_files(const struct plan *plan) {
    const struct plan_options *o = plan->options;
    return (!o->csv_path || plan_write_csv(plan, o->csv_path)) &&
           (!o->svg_path || timeline_write_svg(plan, o->svg_path)) &&
           (!o->png_path || timeline_write_png(plan, o->png_path));
}

static bool show(const struct plan_options *options) {
    struct plan plan;
    bool good = open_plan(&plan, options);
    for (int i = 0; good && i < plan.n_cases; i++)
        good = open_case(&plan, &plan.cases[i]);
    good = good && (!options->measure || plan_measure(&plan));
    for (int i = 0; good && i < plan.n_cases; i++)
        good = simulate(&plan, &plan.cases[i]);
    good = good && write_files(&plan);
    if (good)
        plan_print(&plan);
    close_plan(&plan);
    return good;
}

int command_plan(int argc, char **argv) {
    struct plan_options options;
    int status = plan_parse(argc, argv, &options);
    if (status == DONE)
        status = show(&options) ? DONE : FAILED;
    plan_options_free(&options);
    return status == -1 ? DONE : status;
}
