/* SPDX-License-Identifier: MIT */
#include "bind.h"

#include <hwloc.h>
#include <sched.h>

/* How crowded each level around a core already is; the loneliest core comes next. */
static int compare_crowd(const struct sa_machine *machine, const int *taken, int n_taken, int a, int b) {
    const struct sa_core *x = &machine->cores[a], *y = &machine->cores[b];
    int crowd[2][4] = {{0}, {0}};
    for (int i = 0; i < n_taken; i++) {
        const struct sa_core *t = &machine->cores[taken[i]];
        for (int side = 0; side < 2; side++) {
            const struct sa_core *c = side ? y : x;
            crowd[side][0] += t == c;
            crowd[side][1] += t->package == c->package;
            crowd[side][2] += t->numa == c->numa;
            crowd[side][3] += t->l3 == c->l3;
        }
    }
    for (int level = 0; level < 4; level++)
        if (crowd[0][level] != crowd[1][level])
            return crowd[0][level] - crowd[1][level];
    return 0;
}

static int loneliest(const struct sa_machine *machine, const int *taken, int n_taken) {
    int best = 0;
    for (int core = 1; core < machine->n_cores; core++)
        if (compare_crowd(machine, taken, n_taken, core, best) < 0)
            best = core;
    return best;
}

void sa_bind_order(const struct sa_machine *machine, bool spread, int n_threads, int *cores) {
    for (int t = 0; t < n_threads; t++)
        cores[t] = t >= machine->n_cores ? cores[t - machine->n_cores] : spread ? loneliest(machine, cores, t) : t;
}

void sa_bind_to_all(const struct sa_machine *machine) {
    if (machine->is_this_machine && machine->allowed)
        hwloc_set_cpubind(machine->topology, machine->allowed, HWLOC_CPUBIND_THREAD);
}

bool sa_bind_self(const struct sa_machine *machine, int core) {
    int cpu = machine->cores[core].os_cpu;
    if (!machine->topology || !machine->is_this_machine || cpu < 0)
        return false;
    hwloc_cpuset_t set = hwloc_bitmap_alloc();
    bool bound = set && hwloc_bitmap_set(set, (unsigned)cpu) == 0 &&
                 hwloc_set_cpubind(machine->topology, set, HWLOC_CPUBIND_THREAD) == 0;
    hwloc_bitmap_free(set);
    return bound;
}

/* All hardware threads of a core, also those that the engine may not use: who runs there shares the core. */
static void map_core(const struct sa_machine *machine, int core, int *core_of_cpu) {
    hwloc_obj_t pu = hwloc_get_pu_obj_by_os_index(machine->topology, (unsigned)machine->cores[core].os_cpu);
    hwloc_obj_t whole = pu ? hwloc_get_ancestor_obj_by_type(machine->topology, HWLOC_OBJ_CORE, pu) : NULL;
    hwloc_const_cpuset_t set = whole ? whole->cpuset : pu ? pu->cpuset : NULL;
    for (int cpu = -1; set && (cpu = hwloc_bitmap_next(set, cpu)) >= 0;)
        core_of_cpu[cpu] = core;
}

bool sa_bind_map_cores(const struct sa_machine *machine, struct sa_core_map *map) {
    if (!machine->topology || !machine->is_this_machine)
        return true;
    int n_cpus = hwloc_bitmap_last(hwloc_topology_get_topology_cpuset(machine->topology)) + 1;
    if (n_cpus <= 0)
        return true;
    if (!sa_buffer_reserve(&map->buffer, (size_t)n_cpus * sizeof(int)))
        return false;
    int *core_of_cpu = map->buffer.data;
    for (int cpu = 0; cpu < n_cpus; cpu++)
        core_of_cpu[cpu] = -1;
    for (int core = 0; core < machine->n_cores; core++)
        if (machine->cores[core].os_cpu >= 0)
            map_core(machine, core, core_of_cpu);
    map->core_of_cpu = core_of_cpu;
    map->n_cpus = n_cpus;
    return true;
}

int sa_bind_core_here(const struct sa_core_map *map) {
    int cpu = map->n_cpus ? sched_getcpu() : -1;
    return cpu >= 0 && cpu < map->n_cpus ? map->core_of_cpu[cpu] : -1;
}
