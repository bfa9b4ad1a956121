/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <hwloc.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "quota.h"

/* ---------------------------------------------------------------- which hardware threads */

static hwloc_cpuset_t set_of(const int *cpus, int n) {
    hwloc_cpuset_t set = hwloc_bitmap_alloc();
    for (int i = 0; set && i < n; i++)
        hwloc_bitmap_set(set, (unsigned)cpus[i]);
    return set;
}

/* What cgroups allow (hwloc leaves the rest out) and the thread's mask or the given list allow. */
static hwloc_cpuset_t allowed_set(const struct sa_machine *machine, const int *allowed, int n_allowed) {
    hwloc_topology_t topology = machine->topology;
    hwloc_cpuset_t set = set_of(allowed, n_allowed);
    if (!set)
        return NULL;
    if (!machine->is_this_machine)
        hwloc_bitmap_copy(set, hwloc_topology_get_allowed_cpuset(topology));
    else if (n_allowed == 0 && hwloc_get_cpubind(topology, set, HWLOC_CPUBIND_THREAD) != 0)
        hwloc_bitmap_copy(set, hwloc_topology_get_allowed_cpuset(topology));
    hwloc_bitmap_and(set, set, hwloc_topology_get_allowed_cpuset(topology));
    if (hwloc_bitmap_iszero(set))
        hwloc_bitmap_copy(set, hwloc_topology_get_allowed_cpuset(topology));
    return set;
}

/* ---------------------------------------------------------------- cores */

/* Objects are numbered as they are first met, so that only those in use count. */
struct numbering {
    hwloc_obj_t last;
    int count;
};

static int number(struct numbering *numbering, hwloc_obj_t object) {
    if (numbering->count == 0 || (object && object != numbering->last)) {
        numbering->last = object;
        numbering->count++;
    }
    return numbering->count - 1;
}

static hwloc_obj_t numa_of(hwloc_topology_t topology, hwloc_obj_t core) {
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != NULL)
        if (hwloc_bitmap_isincluded(core->cpuset, node->cpuset))
            return node;
    return NULL;
}

/* hwloc numbers kinds from the least to the most powerful. */
static int kind_of(hwloc_topology_t topology, hwloc_obj_t core) {
    int n = hwloc_cpukinds_get_nr(topology, 0), kind = hwloc_cpukinds_get_by_cpuset(topology, core->cpuset, 0);
    return n > 0 && kind >= 0 ? n - 1 - kind : 0;
}

/* The number that a kind of core has under a name, 0 if there is none. */
static double info_of(hwloc_topology_t topology, int kind, const char *name) {
    struct hwloc_info_s *infos;
    unsigned n;
    double value = 0;
    if (kind < 0 || hwloc_cpukinds_get_info(topology, (unsigned)kind, NULL, NULL, &n, &infos, 0) != 0)
        return 0;
    for (unsigned i = 0; i < n; i++)
        if (strcmp(infos[i].name, name) == 0)
            for (const char *digit = infos[i].value; *digit >= '0' && *digit <= '9'; digit++)
                value = 10 * value + (*digit - '0');
    return value;
}

/* Of a core of the kind, over the fastest kind's: what the kernel thinks of it, or at least its clock. */
static double speed_of(hwloc_topology_t topology, hwloc_obj_t core) {
    static const char *const names[] = {"LinuxCapacity", "FrequencyMaxMHz"};
    int n = hwloc_cpukinds_get_nr(topology, 0), kind = hwloc_cpukinds_get_by_cpuset(topology, core->cpuset, 0);
    for (int i = 0; i < 2 && n > 1; i++) {
        double own = info_of(topology, kind, names[i]), best = info_of(topology, n - 1, names[i]);
        if (own > 0 && best >= own)
            return own / best;
    }
    return 1;
}

static void add_core(struct sa_machine *machine, hwloc_obj_t core, hwloc_const_cpuset_t set, struct numbering by[3]) {
    hwloc_topology_t topology = machine->topology;
    hwloc_cpuset_t own = hwloc_bitmap_dup(core->cpuset);
    if (!own)
        return;
    hwloc_bitmap_and(own, own, set);
    int n_cpus = hwloc_bitmap_weight(own);
    if (n_cpus > 0) {
        hwloc_obj_t node = numa_of(topology, core),
                    l3 = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_L3CACHE, core);
        machine->cores[machine->n_cores++] = (struct sa_core){
            .os_cpu = hwloc_bitmap_first(own),
            .l3 = number(&by[0], l3 ? l3 : node),
            .numa = number(&by[1], node),
            .package = number(&by[2], hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_PACKAGE, core)),
            .kind = kind_of(topology, core),
            .speed = speed_of(topology, core)};
        machine->n_cpus += n_cpus;
    }
    hwloc_bitmap_free(own);
}

/* Stable insertion by kind: fast cores first, topology order within a kind. */
static void sort_by_kind(struct sa_machine *machine) {
    for (int i = 1; i < machine->n_cores; i++) {
        struct sa_core core = machine->cores[i];
        int at = i;
        for (; at > 0 && machine->cores[at - 1].kind > core.kind; at--)
            machine->cores[at] = machine->cores[at - 1];
        machine->cores[at] = core;
    }
}

static int64_t cache_bytes(hwloc_topology_t topology, hwloc_obj_type_t type) {
    hwloc_obj_t cache = hwloc_get_next_obj_by_type(topology, type, NULL);
    return cache && cache->attr ? (int64_t)cache->attr->cache.size : 0;
}

static void list_cores(struct sa_machine *machine, hwloc_const_cpuset_t set) {
    hwloc_topology_t topology = machine->topology;
    /* Machines whose firmware names no cores: each hardware thread counts as one. */
    hwloc_obj_type_t type = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    struct numbering by[3] = {{0}, {0}, {0}};
    hwloc_obj_t core = NULL;
    while ((core = hwloc_get_next_obj_by_type(topology, type, core)) != NULL)
        add_core(machine, core, set, by);
    machine->n_l3 = by[0].count;
    machine->n_numa = by[1].count;
    machine->n_packages = by[2].count;
    sort_by_kind(machine);
    machine->n_kinds = machine->n_cores ? machine->cores[machine->n_cores - 1].kind + 1 : 1;
    machine->l1_bytes = cache_bytes(topology, HWLOC_OBJ_L1CACHE);
    machine->l2_bytes = cache_bytes(topology, HWLOC_OBJ_L2CACHE);
    machine->l3_bytes = cache_bytes(topology, HWLOC_OBJ_L3CACHE);
}

/* ---------------------------------------------------------------- loading */

/* DONT_CHANGE_BINDING: discovery on some systems binds the caller's thread for a moment. */
static bool is_file(const char *text) {
    size_t n = strlen(text);
    return strchr(text, '/') || (n > 4 && strcmp(text + n - 4, ".xml") == 0);
}

static bool set_other(hwloc_topology_t topology, const char *other) {
    return (is_file(other) ? hwloc_topology_set_xml : hwloc_topology_set_synthetic)(topology, other) == 0;
}

static hwloc_topology_t read_topology(const char *other) {
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0)
        return NULL;
    bool ok = hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING) == 0 &&
              (!other || set_other(topology, other)) && hwloc_topology_load(topology) == 0;
    if (ok)
        return topology;
    hwloc_topology_destroy(topology);
    return NULL;
}

/* Without a topology: as many cores as the mask has bits, all in one place. */
static void guess_cores(struct sa_machine *machine, const char *why) {
    cpu_set_t mask;
    int n = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : 1;
    int room = (int)(machine->core_buffer.capacity_bytes / sizeof *machine->cores);
    machine->n_cores = machine->n_cpus = n < room ? n : room;
    for (int i = 0; i < machine->n_cores; i++)
        machine->cores[i] = (struct sa_core){.os_cpu = -1, .speed = 1};
    machine->n_l3 = machine->n_numa = machine->n_packages = machine->n_kinds = 1;
    machine->why_unread = why;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void sa_machine_lock(void) { pthread_mutex_lock(&lock); }

void sa_machine_unlock(void) { pthread_mutex_unlock(&lock); }

static void unload(struct sa_machine *machine) {
    hwloc_bitmap_free(machine->allowed);
    if (machine->topology)
        hwloc_topology_destroy(machine->topology);
    sa_buffer_free(&machine->core_buffer);
    *machine = (struct sa_machine){0};
}

static bool load(struct sa_machine *machine, const char *other, const int *allowed, int n_allowed) {
    *machine = (struct sa_machine){.topology = read_topology(other), .quota_cpus = other ? 0 : sa_quota_cpus("")};
    hwloc_topology_t topology = machine->topology;
    int n_cpus = topology ? hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU) : CPU_SETSIZE;
    if (!sa_buffer_reserve(&machine->core_buffer, (size_t)n_cpus * sizeof *machine->cores)) {
        unload(machine);
        return false;
    }
    machine->cores = machine->core_buffer.data;
    machine->is_this_machine = topology && hwloc_topology_is_thissystem(topology);
    machine->allowed = topology ? allowed_set(machine, allowed, n_allowed) : NULL;
    if (machine->allowed)
        list_cores(machine, machine->allowed);
    if (machine->n_cores == 0)
        guess_cores(machine, topology ? "hwloc names no core that is allowed" : "hwloc could not read the topology");
    return true;
}

bool sa_machine_load(struct sa_machine *machine, const char *other, const int *allowed, int n_allowed) {
    sa_machine_lock();
    const bool loaded = load(machine, other, allowed, n_allowed);
    sa_machine_unlock();
    return loaded;
}

void sa_machine_free(struct sa_machine *machine) {
    sa_machine_lock();
    unload(machine);
    sa_machine_unlock();
}
