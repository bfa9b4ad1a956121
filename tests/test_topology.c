/* SPDX-License-Identifier: MIT */
/* Engines for machines that are not here: what they plan, simulate and refuse. */
#include <hwloc.h>
#include <math.h>
#include <sa/sa.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "inside.h"

#define SERVER "package:2 numa:1 l3:8 core:12 pu:1"

static sa_engine *engine_for(const char *topology, int n_threads) {
    sa_engine_options options = {.struct_size = sizeof options, .n_threads = n_threads, .topology = topology};
    sa_engine *engine;
    ck_assert_msg(sa_engine_create(&options, &engine) == SA_OK, "%s: %s", topology, sa_last_reason());
    return engine;
}

/* ---------------------------------------------------------------- a batch whose tensors nobody may touch */

enum { N_SEQS = 24 };

struct untouchable {
    sa_sequence seqs[N_SEQS];
    sa_batch batch;
};

static void *nowhere(int tensor) { return (void *)((uintptr_t)(tensor + 1) << 40); }

static void make(struct untouchable *u, int64_t n) {
    for (int i = 0; i < N_SEQS; i++)
        u->seqs[i] = (sa_sequence){.n_q = n,
                                   .n_k = n,
                                   .q = {nowhere(0), 0, 0},
                                   .k = {nowhere(1), 0, 0},
                                   .v = {nowhere(2), 0, 0},
                                   .o = {nowhere(3), 0, 0}};
    u->batch =
        (sa_batch){SA_BATCH_HEAD, .n_sequences = N_SEQS, .sequences = u->seqs, .n_query_heads = 8, .n_kv_heads = 2,
                   .d_qk = 64,    .flags = SA_CAUSAL};
}

/* ---------------------------------------------------------------- the engine */

START_TEST(another_machine_is_described) {
    sa_engine *engine = engine_for(SERVER, 0);
    sa_engine_info info = {.struct_size = sizeof info};
    char text[4096];
    ck_assert(sa_engine_get_info(engine, &info) == SA_OK);
    ck_assert(info.n_threads == 192 && info.n_cores == 192 && info.n_l3 == 16 && info.n_numa == 2);
    ck_assert(info.binding == SA_BIND_CLOSE && info.quota_cpus == 0);
    ck_assert(sa_engine_describe(engine, text, sizeof text, NULL) == SA_OK);
    ck_assert(strstr(text, "does not compute") && strstr(text, "16 domains"));
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(more_cores_than_a_team_may_have) {
    sa_engine *engine = engine_for("package:1 core:1100 pu:1", 0);
    sa_engine_info info = {.struct_size = sizeof info};
    ck_assert(sa_engine_get_info(engine, &info) == SA_OK);
    ck_assert(info.n_threads == 1024 && info.n_cores == 1100);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(the_environment_is_about_this_machine) {
    setenv("OMP_NUM_THREADS", "3", 1);
    setenv("OMP_PROC_BIND", "true", 1);
    sa_engine *engine = engine_for(SERVER, 0);
    sa_engine_info info = {.struct_size = sizeof info};
    ck_assert(sa_engine_get_info(engine, &info) == SA_OK);
    ck_assert(info.n_threads == 192 && info.n_cores == 192 && info.binding == SA_BIND_CLOSE);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(nothing_is_computed) {
    sa_engine *engine = engine_for(SERVER, 0);
    struct untouchable u;
    make(&u, 1000);
    sa_batch_info info = {.struct_size = sizeof info};
    ck_assert(sa_batch_forward(engine, &u.batch) == SA_UNSUPPORTED && strstr(sa_last_reason(), "topology"));
    ck_assert(sa_batch_get_info(engine, &u.batch, &info) == SA_OK && info.n_threads == 192);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(what_is_no_topology_is_refused) {
    static const char *const wrong[] = {"", "nonsense", "package:2 core", "package:x", "/none.xml", "none.xml", "/"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        sa_engine_options options = {.struct_size = sizeof options, .topology = wrong[i]};
        sa_engine *engine = (sa_engine *)&options;
        ck_assert_msg(sa_engine_create(&options, &engine) == SA_INVALID, "'%s' is taken", wrong[i]);
        ck_assert(engine == NULL && strstr(sa_last_reason(), "sa_engine_options.topology"));
    }
}
END_TEST

/* ---------------------------------------------------------------- simulations */

START_TEST(a_batch_is_simulated) {
    sa_engine *engine = engine_for(SERVER, 0);
    struct untouchable u;
    make(&u, 4000);
    sa_simulation s = {.struct_size = sizeof s}, again = s;
    double busy[192], sum = 0, speeds[192];
    int32_t domains[192];
    for (int t = 0; t < 192; t++)
        speeds[t] = 1;
    sa_simulation_request request = {sizeof request, 192, 0, speeds, busy, domains, NULL, 0, 0, 0};
    ck_assert(sa_batch_simulate(engine, &u.batch, &request, &s) == SA_OK);
    ck_assert(s.n_threads == 192 && s.n_domains == 16 && s.n_items == N_SEQS * 2 * 250);
    ck_assert(s.seconds >= s.ideal_seconds && s.seconds <= 1.03 * s.ideal_seconds && s.longest_seconds < s.seconds);
    ck_assert(s.overhead_seconds > 0 && s.overhead_seconds < 1e-3 && s.round_robin_seconds > s.seconds);
    ck_assert_double_eq(s.kv_bytes, N_SEQS * 2 * 4000.0 * 128 * 4);
    ck_assert(s.l3_bytes < s.round_robin_l3_bytes && s.numa_bytes <= s.round_robin_numa_bytes);
    for (int t = 0; t < 192; t++) {
        ck_assert_int_eq(domains[t], t / 12);
        sum += busy[t];
    }
    ck_assert(fabs(sum / 192 - s.ideal_seconds) <= 1e-9 * sum);
    ck_assert(sa_batch_simulate(engine, &u.batch, NULL, &again) == SA_OK && memcmp(&s, &again, sizeof s) == 0);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(segments_come_as_far_as_there_is_room) {
    sa_engine *engine = engine_for("core:3 pu:1", 0);
    struct untouchable u;
    make(&u, 500);
    static sa_segment all[N_SEQS * 64], some[10];
    sa_simulation s = {.struct_size = sizeof s};
    sa_simulation_request request = {.struct_size = sizeof request, .segments = all, .n_segments = N_SEQS * 64};
    ck_assert(sa_batch_simulate(engine, &u.batch, &request, &s) == SA_OK && s.n_segments > 10);
    double end = 0;
    for (int64_t i = 0; i < s.n_segments; i++)
        end = fmax(end, all[i].end);
    ck_assert_double_eq(end, s.seconds);
    request.segments = some;
    request.n_segments = 9;
    some[9].n_items = 77;
    ck_assert(sa_batch_simulate(engine, &u.batch, &request, &s) == SA_OK && some[9].n_items == 77);
    ck_assert(memcmp(some, all, 9 * sizeof *some) == 0);
    sa_engine_destroy(engine);
}
END_TEST

/* Everything twice as fast takes half as long; memory alone matters to few queries. A request of the size that it
 * had before has neither. */
START_TEST(a_machine_may_be_faster) {
    sa_engine *engine = engine_for("core:3 pu:1", 0);
    struct untouchable u;
    sa_simulation s[6];
    const double speeds[6][2] = {{0, 0}, {1, 1}, {2, 2}, {1, 2}, {2, 0}, {9, 9}};
    for (int few = 0; few < 2; few++) {
        make(&u, 4000);
        for (int i = 0; few && i < N_SEQS; i++)
            u.seqs[i].n_q = 1;
        for (int i = 0; i < 6; i++) {
            s[i].struct_size = sizeof s[i];
            const sa_simulation_request request = {
                .struct_size = i < 5 ? sizeof request : offsetof(sa_simulation_request, compute_speed),
                .compute_speed = speeds[i][0],
                .memory_speed = speeds[i][1]};
            ck_assert(sa_batch_simulate(engine, &u.batch, &request, &s[i]) == SA_OK);
            ck_assert(fabs(s[i].seconds / s[i].ideal_seconds - 1) <= 1e-3);
        }
        ck_assert(s[1].seconds == s[0].seconds && s[5].seconds == s[0].seconds);
        ck_assert_double_eq_tol(s[2].seconds, s[0].seconds / 2, 1e-9 * s[0].seconds);
        ck_assert(s[2].overhead_seconds < s[0].overhead_seconds);
        ck_assert(few ? s[3].seconds < 0.9 * s[0].seconds && s[3].seconds > s[2].seconds
                      : s[3].seconds > 0.9 * s[0].seconds);
        ck_assert(few ? s[4].seconds > 0.6 * s[0].seconds && s[4].seconds < s[0].seconds
                      : s[4].seconds < 0.6 * s[0].seconds);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* The engine's own team; a small call takes one thread. */
START_TEST(this_machine_is_simulated_too) {
    sa_engine *engine;
    struct untouchable u;
    sa_engine_options options = {.struct_size = sizeof options, .n_threads = 2};
    sa_simulation s = {.struct_size = sizeof s};
    ck_assert(sa_engine_create(&options, &engine) == SA_OK);
    make(&u, 2000);
    ck_assert(sa_batch_simulate(engine, &u.batch, NULL, &s) == SA_OK && s.n_threads == 2);
    u.batch.n_sequences = 1;
    u.seqs[0].n_q = u.seqs[0].n_k = 8;
    ck_assert(sa_batch_simulate(engine, &u.batch, NULL, &s) == SA_OK && s.n_threads == 1);
    ck_assert(s.l3_bytes == 0 && s.n_moved == 0 && s.seconds > 0 && s.seconds < 1e-3);
    u.batch.n_sequences = 0;
    ck_assert(sa_batch_simulate(engine, &u.batch, NULL, &s) == SA_OK && s.seconds == 0 && s.n_items == 0);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(wrong_requests_are_refused) {
    sa_engine *engine = engine_for("core:2 pu:1", 0);
    struct untouchable u;
    make(&u, 100);
    double speeds[2] = {1, 1}, zero[2] = {1, 0}, endless[2] = {HUGE_VAL, 1};
    sa_segment segment;
    const sa_simulation_request good = {sizeof good, 2, 0, speeds, NULL, NULL, &segment, 1, 0.5, 2};
    const sa_simulation_request wrong[] = {{sizeof good, 3, 0, NULL, NULL, NULL, NULL, 0, 0, 0},
                                           {sizeof good, 0, 0, speeds, NULL, NULL, NULL, 0, 0, 0},
                                           {sizeof good, 2, 0, zero, NULL, NULL, NULL, 0, 0, 0},
                                           {sizeof good, 2, 0, endless, NULL, NULL, NULL, 0, 0, 0},
                                           {sizeof good, 2, 1, speeds, NULL, NULL, NULL, 0, 0, 0},
                                           {sizeof good, 2, 0, NULL, NULL, NULL, NULL, 1, 0, 0},
                                           {sizeof good, 2, 0, NULL, NULL, NULL, &segment, -1, 0, 0},
                                           {sizeof good, 2, 0, NULL, NULL, NULL, NULL, 0, -1, 0},
                                           {sizeof good, 2, 0, NULL, NULL, NULL, NULL, 0, 1, HUGE_VAL},
                                           {sizeof good, 2, 0, NULL, NULL, NULL, NULL, 0, (double)NAN, 1},
                                           {sizeof good, 2, 0, NULL, NULL, NULL, NULL, 0, 1, 1e-310},
                                           {sizeof good, 2, 0, NULL, NULL, NULL, NULL, 0, 1e7, 1},
                                           {sizeof good - 1, 2, 0, NULL, NULL, NULL, NULL, 0, 0, 0}};
    sa_simulation s = {.struct_size = sizeof s, .seconds = 7};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert(sa_batch_simulate(engine, &u.batch, &wrong[i], &s) == SA_INVALID);
        ck_assert(s.seconds == 7 && strstr(sa_last_reason(), "sa_simulation_request"));
    }
    ck_assert(sa_batch_simulate(engine, &u.batch, &good, NULL) == SA_INVALID);
    ck_assert(sa_batch_simulate(NULL, &u.batch, &good, &s) == SA_INVALID);
    s.struct_size = 8;
    ck_assert(sa_batch_simulate(engine, &u.batch, &good, &s) == SA_INVALID);
    s.struct_size = sizeof s;
    ck_assert(sa_batch_simulate(engine, NULL, &good, &s) == SA_INVALID && s.seconds == 7);
    ck_assert(sa_batch_simulate(engine, &u.batch, &good, &s) == SA_OK && s.seconds != 7);
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- a hybrid machine in a file */

/* 4 fast cores and 8 of half the clock, in clusters of four with a cache each, the slow ones first. */
static void write_hybrid(const char *path) {
    hwloc_topology_t topology;
    static char name[] = "FrequencyMaxMHz", slow_mhz[] = "2000", fast_mhz[] = "4000";
    struct hwloc_info_s slow = {name, slow_mhz}, fast = {name, fast_mhz};
    ck_assert(hwloc_topology_init(&topology) == 0 && hwloc_topology_set_synthetic(topology, "l3:3 core:4 pu:1") == 0);
    ck_assert_int_eq(hwloc_topology_load(topology), 0);
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    hwloc_bitmap_set_range(set, 0, 7);
    ck_assert_int_eq(hwloc_cpukinds_register(topology, set, 0, 1, &slow, 0), 0);
    hwloc_bitmap_zero(set);
    hwloc_bitmap_set_range(set, 8, 11);
    ck_assert_int_eq(hwloc_cpukinds_register(topology, set, 1, 1, &fast, 0), 0);
    ck_assert_int_eq(hwloc_topology_export_xml(topology, path, 0), 0);
    hwloc_bitmap_free(set);
    hwloc_topology_destroy(topology);
}

START_TEST(a_hybrid_machine_comes_from_a_file) {
    char path[] = "/tmp/sa_hybrid_XXXXXX";
    close(mkstemp(path));
    write_hybrid(path);
    sa_engine *engine = engine_for(path, 0);
    unlink(path);
    struct untouchable u;
    double busy[12];
    int32_t domains[12];
    sa_simulation s = {.struct_size = sizeof s};
    sa_simulation_request request = {sizeof request, 12, 0, NULL, busy, domains, NULL, 0, 0, 0};
    make(&u, 1000);
    ck_assert(sa_batch_simulate(engine, &u.batch, &request, &s) == SA_OK);
    ck_assert(s.n_threads == 12 && s.n_domains == 3 && domains[0] == 0 && domains[11] == 2);
    double work = 0;
    for (int t = 0; t < 12; t++)
        work += busy[t] * (t < 4 ? 1 : 0.5); /* the fast ones come first */
    ck_assert(fabs(work / 8 - s.ideal_seconds) <= 1e-9 * work);
    ck_assert(s.seconds <= 1.03 * s.ideal_seconds);
    char text[4096];
    ck_assert(sa_engine_describe(engine, text, sizeof text, NULL) == SA_OK && strstr(text, "0.50 of their speed"));
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("topology");
    TCase *engine = add_case(suite, "engine");
    tcase_add_test(engine, another_machine_is_described);
    tcase_add_test(engine, more_cores_than_a_team_may_have);
    tcase_add_test(engine, the_environment_is_about_this_machine);
    tcase_add_test(engine, nothing_is_computed);
    tcase_add_test(engine, what_is_no_topology_is_refused);
    TCase *simulation = add_case(suite, "simulation");
    tcase_add_test(simulation, a_batch_is_simulated);
    tcase_add_test(simulation, segments_come_as_far_as_there_is_room);
    tcase_add_test(simulation, this_machine_is_simulated_too);
    tcase_add_test(simulation, a_machine_may_be_faster);
    tcase_add_test(simulation, wrong_requests_are_refused);
    tcase_add_test(simulation, a_hybrid_machine_comes_from_a_file);
    return run_suite(suite);
}
