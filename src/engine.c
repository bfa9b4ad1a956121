/* SPDX-License-Identifier: MIT */
/* Making and unmaking an engine: how many threads, where they stand, which of them share a cache. */
#include "engine.h"

#include <string.h>

#include "bind.h"
#include "fork.h"
#include "fpmode.h"
#include "kernels/kernels.h"
#include "openmp.h"
#include "reason.h"

/* ---------------------------------------------------------------- threads */

static void choose_threads(struct sa_engine *engine) {
    const struct sa_machine *machine = &engine->machine;
    int n = engine->config.n_threads;
    engine->why_threads = engine->config.n_threads_source;
    if (n == 0) {
        n = machine->n_cores;
        engine->why_threads = "one per physical core allowed";
        if (machine->quota_cpus > 0 && machine->quota_cpus < n) {
            n = machine->quota_cpus < 1 ? 1 : (int)machine->quota_cpus;
            engine->why_threads = "CPU quota of the control group";
        }
        if (n > SA_MAX_THREADS) {
            n = SA_MAX_THREADS;
            engine->why_threads = "as many as a team may have";
        }
    }
    engine->team.shape.n_threads = n;
}

/* A team smaller than the machine is left to the operating system by default: two programs with two threads each would
 * otherwise stand on the same two cores, as neither knows of the other. */
static void choose_binding(struct sa_engine *engine) {
    const struct sa_machine *machine = &engine->machine;
    int wish = engine->config.binding, n = engine->team.shape.n_threads;
    engine->binding = SA_BIND_NONE;
    if (engine->config.openmp_binds)
        engine->why_unbound = "left to the OpenMP runtime: OMP_PROC_BIND, OMP_PLACES or GOMP_CPU_AFFINITY is set";
    else if (wish == SA_BIND_NONE)
        engine->why_unbound = "sa_engine_options.binding";
    else if (!machine->is_this_machine && !engine->plans_only)
        engine->why_unbound = machine->why_unread ? machine->why_unread : "the topology is not this machine's";
    else if (wish == SA_BIND_DEFAULT && n < machine->n_cores && !engine->plans_only)
        engine->why_unbound = "fewer threads than cores: other programs may have bound theirs to the same ones";
    else if (wish == SA_BIND_DEFAULT && n > machine->n_cores)
        engine->why_unbound = "more threads than cores";
    else
        engine->binding = wish == SA_BIND_SPREAD ? SA_BIND_SPREAD : SA_BIND_CLOSE;
}

/* ---------------------------------------------------------------- seats and domains */

/* Threads that share an L3 form a domain; domains are numbered as they are met. An unbound team is one domain. */
static void number_domains(const struct sa_machine *machine, struct sa_seat *seats, int n, int *domain_threads,
                           struct sa_team_shape *shape) {
    shape->n_domains = 0;
    for (int t = 0; t < n; t++) {
        int first = 0;
        while (first < t && seats[t].core >= 0 &&
               machine->cores[seats[first].core].l3 != machine->cores[seats[t].core].l3)
            first++;
        if (seats[t].core < 0)
            first = 0;
        seats[t].domain = first < t ? seats[first].domain : shape->n_domains++;
        if (first == t)
            domain_threads[seats[t].domain] = 0;
        domain_threads[seats[t].domain]++;
    }
    shape->domain_threads = domain_threads;
}

static void add_speeds(const struct sa_machine *machine, const struct sa_seat *seats, double *speeds,
                       struct sa_team_shape *shape) {
    memset(speeds, 0, (size_t)shape->n_domains * sizeof *speeds);
    for (int t = 0; t < shape->n_threads; t++)
        speeds[seats[t].domain] += seats[t].core >= 0 ? machine->cores[seats[t].core].speed : 1;
    shape->domain_speeds = speeds;
}

static bool seat_team(struct sa_engine *engine) {
    size_t n = (size_t)engine->team.shape.n_threads;
    if (!sa_buffer_reserve(&engine->seat_buffer, n * sizeof(struct sa_seat)) ||
        !sa_buffer_reserve(&engine->sitter_buffer, n * sizeof(struct sa_sitter)) ||
        !sa_buffer_reserve(&engine->space_buffer, 2 * n * sizeof(struct sa_workspace)) ||
        !sa_buffer_reserve(&engine->domain_buffer, n * sizeof(int)) ||
        !sa_buffer_reserve(&engine->speed_buffer, n * sizeof(double)))
        return false;
    struct sa_seat *seats = engine->seat_buffer.data;
    int *scratch = engine->domain_buffer.data; /* cores first, then threads a domain */
    sa_bind_order(&engine->machine, engine->binding == SA_BIND_SPREAD, (int)n, scratch);
    for (size_t t = 0; t < n; t++)
        seats[t] = (struct sa_seat){engine->binding == SA_BIND_NONE ? -1 : scratch[t], 0};
    number_domains(&engine->machine, seats, (int)n, scratch, &engine->team.shape);
    add_speeds(&engine->machine, seats, engine->speed_buffer.data, &engine->team.shape);
    memset(engine->space_buffer.data, 0, 2 * n * sizeof(struct sa_workspace));
    memset(engine->sitter_buffer.data, 0, n * sizeof(struct sa_sitter));
    engine->team.seats = seats;
    engine->team.sitters = engine->sitter_buffer.data;
    engine->team.spaces = engine->space_buffer.data;
    engine->team.spares = engine->team.spaces + n;
    engine->team.machine = &engine->machine;
    engine->team.stays_put = engine->binding != SA_BIND_NONE || engine->config.openmp_binds;
    engine->team.openmp_binds = engine->config.openmp_binds;
    engine->team.may_spin = sa_team_may_spin((int)n, engine->machine.n_cores, engine->machine.quota_cpus);
    return sa_bind_map_cores(&engine->machine, &engine->team.core_map);
}

/* ---------------------------------------------------------------- the machine */

enum { MAX_PLACE_CPUS = 4096 };

static bool load_machine(struct sa_engine *engine) {
    struct sa_buffer places = {0};
    int n = 0;
    if (engine->config.openmp_binds) {
        if (!sa_buffer_reserve(&places, MAX_PLACE_CPUS * sizeof(int)))
            return false;
        n = sa_openmp_place_cpus(places.data, MAX_PLACE_CPUS);
    }
    bool loaded = sa_machine_load(&engine->machine, engine->config.topology, places.data, n);
    sa_buffer_free(&places);
    return loaded;
}

/* ---------------------------------------------------------------- create and destroy */

static void free_engine(struct sa_engine *engine) {
    sa_call_free_all(engine);
    for (int t = 0; engine->team.spaces && t < 2 * engine->team.shape.n_threads; t++)
        sa_workspace_free(&engine->team.spaces[t]);
    sa_buffer_free(&engine->seat_buffer);
    sa_buffer_free(&engine->sitter_buffer);
    sa_buffer_free(&engine->team.core_map.buffer);
    sa_buffer_free(&engine->space_buffer);
    sa_buffer_free(&engine->domain_buffer);
    sa_buffer_free(&engine->speed_buffer);
    sa_machine_free(&engine->machine);
    sa_memory_free(engine);
}

/* Another machine may have instructions that this one lacks. */
static void choose_model(struct sa_engine *engine) {
    int asked = engine->plans_only ? engine->config.option_max_isa : SA_ISA_DEFAULT;
    engine->team.shape.model = sa_cost_model_of(asked ? asked : engine->cpu.kernels->isa);
}

/* The parts that cannot fail half-way are made first, so that free_engine() can always follow. */
static sa_status fill_engine(struct sa_engine *engine) {
    if (!load_machine(engine))
        return sa_fail(SA_NO_MEMORY, "no memory for the machine's topology");
    engine->plans_only = engine->config.topology != NULL;
    if (engine->plans_only && !engine->machine.topology)
        return sa_fail(SA_INVALID, "sa_engine_options.topology is '%.150s': hwloc cannot read that",
                       engine->config.topology);
    engine->config.topology = NULL;
    engine->cpu = sa_cpu_choose(engine->config.option_max_isa, engine->config.environment_max_isa, !engine->plans_only);
    choose_model(engine);
    choose_threads(engine);
    choose_binding(engine);
    if (!seat_team(engine))
        return sa_fail(SA_NO_MEMORY, "no memory for a team of %d threads", engine->team.shape.n_threads);
    return SA_OK;
}

static sa_status start_engine(struct sa_engine *engine) {
    if (pthread_mutex_init(&engine->calls_lock, NULL) != 0)
        return sa_fail(SA_SYSTEM, "the system has no mutex to give");
    if (!sa_team_init(&engine->team)) {
        pthread_mutex_destroy(&engine->calls_lock);
        return sa_fail(SA_SYSTEM, "the system has no condition variable to give");
    }
    if (sa_fork_watch(engine))
        return SA_OK;
    sa_team_stop(&engine->team);
    pthread_mutex_destroy(&engine->calls_lock);
    return sa_fail(SA_SYSTEM, "the system takes no more fork handlers");
}

static sa_status create(const sa_engine_options *options, sa_engine **engine) {
    struct sa_config config;
    sa_status status = sa_options_read(options, &config);
    if (status != SA_OK)
        return status;
    struct sa_engine *made = sa_memory_alloc(sizeof *made);
    if (!made)
        return sa_fail(SA_NO_MEMORY, "no memory for an engine");
    memset(made, 0, sizeof *made);
    made->config = config;
    status = fill_engine(made);
    if (status == SA_OK)
        status = start_engine(made);
    if (status == SA_OK)
        *engine = made;
    else
        free_engine(made);
    return status;
}

sa_status sa_engine_create(const sa_engine_options *options, sa_engine **engine) {
    if (!engine)
        return sa_fail(SA_INVALID, "engine is NULL");
    *engine = NULL;
    int cancel_state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    uint64_t mode = sa_fpmode_enter();
    sa_status status = create(options, engine);
    sa_fpmode_leave(mode);
    pthread_setcancelstate(cancel_state, NULL);
    return status;
}

void sa_engine_destroy(sa_engine *engine) {
    if (!engine)
        return;
    int cancel_state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    sa_fork_unwatch(engine);
    sa_team_stop(&engine->team);
    pthread_mutex_destroy(&engine->calls_lock);
    free_engine(engine);
    pthread_setcancelstate(cancel_state, NULL);
}

sa_status sa_engine_computes(const sa_engine *engine) {
    if (!engine)
        return sa_fail(SA_INVALID, "engine is NULL");
    if (engine->plans_only)
        return sa_fail(SA_UNSUPPORTED,
                       "this engine was made for sa_engine_options.topology: it plans, but has no threads");
    return SA_OK;
}
