/* SPDX-License-Identifier: MIT */
/* The machine: synthetic ones counted, this one restricted, threads placed on both. */
#include "machine.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "bind.h"
#include "inside.h"

/* ---------------------------------------------------------------- synthetic machines */

static const struct {
    const char *synthetic;
    int n_cores, n_cpus, n_l3, n_numa, n_packages;
} machines[] = {
    {"pack:2 l3:8 core:12 pu:1", 192, 192, 16, 1, 2},
    {"pack:2 numa:4 l3:2 core:12 pu:2", 192, 384, 16, 8, 2},
    {"pack:1 core:64 pu:2", 64, 128, 1, 1, 1},
    {"pack:1 core:1 pu:1", 1, 1, 1, 1, 1},
    {"pack:4 numa:2 core:3 pu:1", 24, 24, 8, 8, 4}, /* without an L3 the NUMA node stands for it */
    {"pu:6", 6, 6, 1, 1, 1},                        /* firmware that names no cores: threads count as such */
};
enum { N_MACHINES = sizeof machines / sizeof machines[0] };

static struct sa_machine load(const char *synthetic) {
    struct sa_machine machine;
    ck_assert(sa_machine_load(&machine, synthetic, NULL, 0));
    return machine;
}

/* Neighbours in the list share caches, nodes and packages; each is numbered when it is first met. */
static void check_numbers(const struct sa_machine *m) {
    for (int i = 0; i < m->n_cores; i++) {
        const struct sa_core *c = &m->cores[i];
        ck_assert_int_eq(c->l3, i * m->n_l3 / m->n_cores);
        ck_assert_int_eq(c->numa, i * m->n_numa / m->n_cores);
        ck_assert_int_eq(c->package, i * m->n_packages / m->n_cores);
        ck_assert_int_eq(c->os_cpu, i * m->n_cpus / m->n_cores);
        ck_assert_int_eq(c->kind, 0);
    }
}

START_TEST(a_synthetic_machine_is_counted) {
    struct sa_machine m = load(machines[_i].synthetic);
    ck_assert_int_eq(m.n_cores, machines[_i].n_cores);
    ck_assert_int_eq(m.n_cpus, machines[_i].n_cpus);
    ck_assert_int_eq(m.n_l3, machines[_i].n_l3);
    ck_assert_int_eq(m.n_numa, machines[_i].n_numa);
    ck_assert_int_eq(m.n_packages, machines[_i].n_packages);
    ck_assert_int_eq(m.n_kinds, 1);
    ck_assert(!m.is_this_machine && !m.why_unread && m.topology);
    ck_assert_double_eq(m.quota_cpus, 0);
    check_numbers(&m);
    sa_machine_free(&m);
    ck_assert_ptr_null(m.topology);
    ck_assert_ptr_null(m.cores);
}
END_TEST

START_TEST(a_description_nobody_understands_leaves_cores) {
    struct sa_machine m = load("nothing that hwloc knows");
    cpu_set_t mask;
    ck_assert_int_eq(sched_getaffinity(0, sizeof mask, &mask), 0);
    ck_assert_ptr_nonnull(m.why_unread);
    ck_assert_int_eq(m.n_cores, CPU_COUNT(&mask));
    ck_assert_int_eq(m.n_cpus, CPU_COUNT(&mask));
    ck_assert(m.n_l3 == 1 && m.n_numa == 1 && m.n_packages == 1 && m.n_kinds == 1 && !m.is_this_machine);
    ck_assert_int_eq(m.cores[0].os_cpu, -1);
    ck_assert(!sa_bind_self(&m, 0));
    sa_machine_free(&m);
}
END_TEST

START_TEST(cache_sizes_are_read) {
    struct sa_machine m = load("pack:1 l3:2(size=33554432) l2:4(size=1048576) l1d:1(size=32768) core:1 pu:1");
    ck_assert_int_eq(m.l1_bytes, 32768);
    ck_assert_int_eq(m.l2_bytes, 1048576);
    ck_assert_int_eq(m.l3_bytes, 33554432);
    sa_machine_free(&m);
}
END_TEST

/* ---------------------------------------------------------------- this machine */

/* The hardware threads this process may use, by number. */
static int allowed_cpus(int *cpus, int room) {
    cpu_set_t mask;
    int n = 0;
    ck_assert_int_eq(sched_getaffinity(0, sizeof mask, &mask), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE && n < room; cpu++)
        if (CPU_ISSET(cpu, &mask))
            cpus[n++] = cpu;
    return n;
}

enum { MAX_CPUS = 256 };

START_TEST(this_machine_is_what_the_mask_allows) {
    int cpus[MAX_CPUS], n = allowed_cpus(cpus, MAX_CPUS);
    cpu_set_t before, after;
    sched_getaffinity(0, sizeof before, &before);
    struct sa_machine m = load(NULL);
    sched_getaffinity(0, sizeof after, &after);
    ck_assert(CPU_EQUAL(&before, &after));
    ck_assert(m.is_this_machine && !m.why_unread);
    ck_assert_int_eq(m.n_cpus, n);
    ck_assert(m.n_cores >= 1 && m.n_cores <= n && m.n_l3 >= 1 && m.n_numa >= 1 && m.n_packages >= 1);
    for (int i = 0; i < m.n_cores; i++)
        ck_assert(CPU_ISSET(m.cores[i].os_cpu, &before));
    sa_machine_free(&m);
}
END_TEST

static void check_single(const struct sa_machine *m, int cpu) {
    ck_assert_int_eq(m->n_cores, 1);
    ck_assert_int_eq(m->n_cpus, 1);
    ck_assert_int_eq(m->cores[0].os_cpu, cpu);
    ck_assert(m->cores[0].l3 == 0 && m->cores[0].numa == 0 && m->cores[0].package == 0);
    ck_assert(m->n_l3 == 1 && m->n_numa == 1 && m->n_packages == 1);
}

START_TEST(a_list_restricts_the_machine) {
    int cpus[MAX_CPUS], n = allowed_cpus(cpus, MAX_CPUS);
    for (int i = 0; i < n && i < 8; i++) {
        struct sa_machine m;
        ck_assert(sa_machine_load(&m, NULL, &cpus[i], 1));
        check_single(&m, cpus[i]);
        sa_machine_free(&m);
    }
    struct sa_machine all;
    ck_assert(sa_machine_load(&all, NULL, cpus, n));
    ck_assert_int_eq(all.n_cpus, n);
    sa_machine_free(&all);
}
END_TEST

static void stand_on(int cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
}

/* The mask of the calling thread restricts it; a list given stands instead of the mask. */
START_TEST(the_mask_restricts_the_machine) {
    int cpus[MAX_CPUS], n = allowed_cpus(cpus, MAX_CPUS);
    stand_on(cpus[n - 1]);
    struct sa_machine m = load(NULL);
    check_single(&m, cpus[n - 1]);
    sa_machine_free(&m);
    ck_assert(sa_machine_load(&m, NULL, cpus, n));
    ck_assert_int_eq(m.n_cpus, n);
    sa_machine_free(&m);
}
END_TEST

START_TEST(a_list_of_strangers_restricts_nothing) {
    int cpus[MAX_CPUS], n = allowed_cpus(cpus, MAX_CPUS), stranger = 4000;
    struct sa_machine m;
    ck_assert(sa_machine_load(&m, NULL, &stranger, 1));
    ck_assert_int_ge(m.n_cpus, n);
    sa_machine_free(&m);
}
END_TEST

/* ---------------------------------------------------------------- binding */

static void *bind_and_look(void *argument) {
    static char refused[] = "refused", elsewhere[] = "elsewhere";
    struct sa_machine *m = argument;
    for (int i = 0; i < m->n_cores; i++) {
        cpu_set_t mask;
        if (!sa_bind_self(m, i) || sched_getaffinity(0, sizeof mask, &mask) != 0)
            return refused;
        if (CPU_COUNT(&mask) != 1 || !CPU_ISSET(m->cores[i].os_cpu, &mask))
            return elsewhere;
    }
    return NULL;
}

START_TEST(a_thread_binds_itself_alone) {
    cpu_set_t before, after;
    pthread_t thread;
    void *trouble;
    struct sa_machine m = load(NULL);
    sched_getaffinity(0, sizeof before, &before);
    ck_assert_int_eq(pthread_create(&thread, NULL, bind_and_look, &m), 0);
    pthread_join(thread, &trouble);
    sched_getaffinity(0, sizeof after, &after);
    ck_assert_msg(!trouble, "%s", (const char *)trouble);
    ck_assert(CPU_EQUAL(&before, &after));
    sa_machine_free(&m);
}
END_TEST

START_TEST(nobody_binds_on_a_machine_that_is_not_there) {
    cpu_set_t before, after;
    struct sa_machine m = load("pack:1 core:2 pu:1");
    sched_getaffinity(0, sizeof before, &before);
    ck_assert(!sa_bind_self(&m, 0) && !sa_bind_self(&m, 1));
    sched_getaffinity(0, sizeof after, &after);
    ck_assert(CPU_EQUAL(&before, &after));
    sa_machine_free(&m);
}
END_TEST

/* ---------------------------------------------------------------- order */

enum { MAX_THREADS = 500 };

START_TEST(close_is_the_machines_own_order) {
    struct sa_machine m = load(machines[_i].synthetic);
    int cores[MAX_THREADS], n = 2 * m.n_cores + 1;
    sa_bind_order(&m, false, n, cores);
    for (int t = 0; t < n; t++)
        ck_assert_int_eq(cores[t], t % m.n_cores);
    sa_machine_free(&m);
}
END_TEST

/* How many of the first n threads stand in each place of a kind: the most and the least. */
static void count_places(const struct sa_machine *m, const int *cores, int n, size_t kind, int n_places, int *most,
                         int *least) {
    int in_place[MAX_THREADS] = {0};
    *most = 0;
    *least = n;
    for (int t = 0; t < n; t++)
        in_place[*(const int *)((const char *)&m->cores[cores[t]] + kind)]++;
    for (int i = 0; i < n_places; i++) {
        *most = in_place[i] > *most ? in_place[i] : *most;
        *least = in_place[i] < *least ? in_place[i] : *least;
    }
}

/* However many there are: packages, nodes and caches have the same number of threads, give or take one. */
START_TEST(spread_is_even_at_every_number) {
    struct sa_machine m = load(machines[_i].synthetic);
    int cores[MAX_THREADS], most, least;
    const size_t kinds[] = {offsetof(struct sa_core, package), offsetof(struct sa_core, numa),
                            offsetof(struct sa_core, l3)};
    const int places[] = {m.n_packages, m.n_numa, m.n_l3};
    sa_bind_order(&m, true, 2 * m.n_cores, cores);
    for (int n = 1; n <= 2 * m.n_cores; n++)
        for (int kind = 0; kind < 3; kind++) {
            count_places(&m, cores, n, kinds[kind], places[kind], &most, &least);
            must(most - least <= 1, "%d threads: %d in one place, %d in another", n, most, least);
        }
    unsigned char met[MAX_THREADS] = {0};
    for (int t = 0; t < m.n_cores; t++)
        must(met[cores[t]]++ == 0, "core %d has two threads while others have none", cores[t]);
    for (int t = m.n_cores; t < 2 * m.n_cores; t++)
        ck_assert_int_eq(cores[t], cores[t - m.n_cores]);
    sa_machine_free(&m);
}
END_TEST

int main(void) {
    unsetenv("HWLOC_SYNTHETIC"); /* these would put another machine in the place of this one */
    unsetenv("HWLOC_XMLFILE");
    Suite *suite = suite_create("machine");
    TCase *synthetic = add_case(suite, "synthetic");
    tcase_add_loop_test(synthetic, a_synthetic_machine_is_counted, 0, N_MACHINES);
    tcase_add_test(synthetic, a_description_nobody_understands_leaves_cores);
    tcase_add_test(synthetic, cache_sizes_are_read);
    TCase *here = add_case(suite, "this machine");
    tcase_add_test(here, this_machine_is_what_the_mask_allows);
    tcase_add_test(here, a_list_restricts_the_machine);
    tcase_add_test(here, the_mask_restricts_the_machine);
    tcase_add_test(here, a_list_of_strangers_restricts_nothing);
    TCase *binding = add_case(suite, "binding");
    tcase_add_test(binding, a_thread_binds_itself_alone);
    tcase_add_test(binding, nobody_binds_on_a_machine_that_is_not_there);
    tcase_add_loop_test(binding, close_is_the_machines_own_order, 0, N_MACHINES);
    tcase_add_loop_test(binding, spread_is_even_at_every_number, 0, N_MACHINES);
    return run_suite(suite);
}
