/* SPDX-License-Identifier: MIT */
/* The gauges find the speeds at which a machine would take as long as they took. */
#include "bench_gauge.h"

#include <math.h>
#include <sa/sa.h>

#include "bench_case.h"
#include "inside.h"

static sa_engine *engine;
static struct bench_shapes shapes;
static struct bench_arena arena;
static struct bench_case cases[BENCH_GAUGES];
static const sa_batch *batches[BENCH_GAUGES];

static void open_gauges(void) {
    const sa_engine_options options = {.struct_size = sizeof options, .topology = "core:2 pu:1"};
    ck_assert(sa_engine_create(&options, &engine) == SA_OK && bench_gauges_add(&shapes) && shapes.n == BENCH_GAUGES);
    for (int tensor = 0; tensor < BENCH_TENSORS; tensor++)
        for (int type = 0; type < BENCH_TYPES; type++)
            arena.at[tensor][type] = (char *)((uintptr_t)(1 + tensor) << 44); /* nowhere: nothing is computed */
    for (int i = 0; i < BENCH_GAUGES; i++) {
        struct bench_extent at = {0};
        ck_assert(bench_case_open(&cases[i], &shapes.at[i], &arena, &at, 1));
        batches[i] = &cases[i].batch;
    }
    ck_assert(!bench_shape_is_decode(&shapes.at[BENCH_PROMPT]) && bench_shape_is_decode(&shapes.at[BENCH_STEP]));
}

static void close_gauges(void) {
    for (int i = 0; i < BENCH_GAUGES; i++)
        bench_case_close(&cases[i]);
    bench_shapes_free(&shapes);
    sa_engine_destroy(engine);
}

static double seconds_at(int gauge, double compute, double memory) {
    sa_simulation s = {.struct_size = sizeof s};
    const sa_simulation_request request = {
        .struct_size = sizeof request, .compute_speed = compute, .memory_speed = memory};
    ck_assert(sa_batch_simulate(engine, batches[gauge], &request, &s) == SA_OK);
    return s.seconds + s.overhead_seconds;
}

START_TEST(speeds_are_found_from_times) {
    static const double speeds[][2] = {{1, 1}, {0.5, 1}, {1, 2}, {3, 0.25}, {0.8, 0.7}};
    for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++) {
        const double c = speeds[i][0], m = speeds[i][1];
        const double seconds[BENCH_GAUGES] = {seconds_at(BENCH_PROMPT, c, m), seconds_at(BENCH_STEP, c, m)};
        struct bench_speeds found;
        ck_assert(bench_gauge_speeds(engine, batches, seconds, &found));
        ck_assert_double_eq_tol(found.compute, c, 1e-3 * c);
        ck_assert_double_eq_tol(found.memory, m, 1e-3 * m);
    }
}
END_TEST

START_TEST(what_cannot_be_is_no_speed) {
    const double seconds[BENCH_GAUGES] = {seconds_at(BENCH_PROMPT, 1, 1), 1e-9};
    struct bench_speeds found;
    ck_assert(bench_gauge_speeds(engine, batches, seconds, &found));
    ck_assert(found.compute > 0.99 && found.compute < 1.01 && found.memory == 1);
    ck_assert(!bench_gauge_speeds(NULL, batches, seconds, &found) && found.compute == 1 && found.memory == 1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("gauge");
    TCase *tcase = add_case(suite, "speeds");
    tcase_add_checked_fixture(tcase, open_gauges, close_gauges);
    tcase_add_test(tcase, speeds_are_found_from_times);
    tcase_add_test(tcase, what_cannot_be_is_no_speed);
    return run_suite(suite);
}
