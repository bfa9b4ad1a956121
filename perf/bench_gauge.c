/* SPDX-License-Identifier: MIT */
#include "bench_gauge.h"

#include <math.h>
#include <stdio.h>

bool bench_gauges_add(struct bench_shapes *shapes) {
    return bench_shapes_add_line(shapes, "gauge-prompt heads=8 nq=512 d=64", "gauge") &&
           bench_shapes_add_line(shapes, "gauge-step heads=12 nq=1 nk=8192 d=64 causal", "gauge");
}

static bool simulate(sa_engine *engine, const sa_batch *batch, struct bench_speeds at, double *seconds) {
    sa_simulation s = {.struct_size = sizeof s};
    const sa_simulation_request request = {
        .struct_size = sizeof request, .compute_speed = at.compute, .memory_speed = at.memory};
    if (sa_batch_simulate(engine, batch, &request, &s) != SA_OK)
        return fprintf(stderr, "gauge: %s\n", sa_last_reason()), false;
    *seconds = s.seconds + s.overhead_seconds;
    return true;
}

static const double least = 0.01, most = 100;

/* The speed, one of at's two, at which a batch takes so long, by halving. */
static bool find(sa_engine *engine, const sa_batch *batch, double seconds, struct bench_speeds *at, double *speed) {
    enum { HALVINGS = 40 };
    double low = least, high = most, simulated;
    for (int i = 0; i < HALVINGS; i++) {
        *speed = sqrt(low * high);
        if (!simulate(engine, batch, *at, &simulated))
            return false;
        *(simulated > seconds ? &low : &high) = *speed;
    }
    return true;
}

/* One that went as far as it may does not matter to these kernels. */
static double or_one(double speed) { return speed > 1.01 * least && speed < 0.99 * most ? speed : 1; }

/* A prompt reads a little as well, and a step computes: each in turn, until they agree. */
bool bench_gauge_speeds(sa_engine *engine, const sa_batch *const batches[BENCH_GAUGES],
                        const double seconds[BENCH_GAUGES], struct bench_speeds *speeds) {
    enum { TURNS = 5 };
    struct bench_speeds found = {1, 1};
    bool good = true;
    for (int turn = 0; good && turn < TURNS; turn++)
        good = find(engine, batches[BENCH_PROMPT], seconds[BENCH_PROMPT], &found, &found.compute) &&
               find(engine, batches[BENCH_STEP], seconds[BENCH_STEP], &found, &found.memory);
    *speeds = good ? (struct bench_speeds){or_one(found.compute), or_one(found.memory)} : (struct bench_speeds){1, 1};
    return good;
}
