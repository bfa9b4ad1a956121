/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <stdlib.h>

#include "cli.h"
#include "peak.h"
#include "progress.h"

#define PEAK_SECONDS 0.06

static bool attend(sa_engine *engine, struct run_batch *run, struct run_report *report) {
    report->engine.struct_size = sizeof report->engine;
    report->info.struct_size = sizeof report->info;
    if (sa_engine_get_info(engine, &report->engine) != SA_OK ||
        sa_batch_get_info(engine, &run->batch, &report->info) != SA_OK)
        return complain("%s", sa_last_reason());
    return progress_forward(engine, &run->batch, report->info.n_pairs, &report->seconds);
}

static bool attend_and_check(struct run_batch *run, struct run_report *report) {
    sa_engine_options options = {.struct_size = sizeof options, .n_threads = (int32_t)run->options->n_threads};
    sa_engine *engine;
    if (sa_engine_create(&options, &engine) != SA_OK)
        return complain("%s", sa_last_reason());
    bool good = run_store(engine, run) && attend(engine, run, report);
    sa_engine_destroy(engine);
    report->check.good = true;
    if (!good || (run->options->check && !rows_compare(&run->batch, report->engine.isa, &report->check)))
        return false;
    report->peak = peak_flops(peak_threads(&report->engine), report->engine.isa, PEAK_SECONDS);
    return true;
}

/* A result that failed its check is not kept. */
static bool finish(struct run_batch *run, const struct run_report *report) {
    if (report->check.good && !run_commit(run))
        return false;
    if (run->options->json && !run_print_json(run, report))
        return false;
    if (!run->options->json)
        run_print(run, report);
    return report->check.good || complain("the result is outside of its error bound");
}

int command_run(int argc, char **argv) {
    struct run_options options;
    struct run_batch run;
    struct run_report report = {0};
    int status = run_parse(argc, argv, &options);
    if (status == DONE) {
        bool good = run_open(&options, &run) && attend_and_check(&run, &report) && finish(&run, &report);
        run_close(&run);
        status = good ? DONE : FAILED;
    }
    free(options.kv_lens);
    free(options.rows);
    return status == -1 ? DONE : status;
}
