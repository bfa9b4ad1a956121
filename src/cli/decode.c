/* SPDX-License-Identifier: MIT */
#include "decode.h"

#include "cli.h"
#include "peak.h"
#include "read_rate.h"

static bool decode_and_check(sa_engine *engine, struct decode *decode, struct decode_report *report) {
    report->engine.struct_size = sizeof report->engine;
    report->check.rows.good = true;
    if (sa_engine_get_info(engine, &report->engine) != SA_OK)
        return complain("%s", sa_last_reason());
    report->last_level = (double)read_rate_cache_bytes() * report->engine.n_l3;
    if (!decode_run(engine, decode, report))
        return false;
    if (report->times.far_seconds > 0)
        report->read_rate = read_rate(peak_threads(&report->engine), NULL);
    return !decode->options->check || decode_compare(engine, decode, &report->check);
}

static bool finish(const struct decode *decode, struct decode_report *report) {
    const struct decode_check *check = &report->check;
    report->step = bench_summarize(&report->times.steps);
    if (decode->options->json && !decode_print_json(decode, report))
        return false;
    if (!decode->options->json)
        decode_print(decode, report);
    if (check->n_different)
        return complain("%lld of %lld rows are not the bits of one prefill", (long long)check->n_different,
                        (long long)check->n_rows);
    return check->rows.good || complain("the result is outside of its error bound");
}

static bool decode_with_engine(struct decode *decode) {
    sa_engine_options options = {.struct_size = sizeof options, .n_threads = (int32_t)decode->options->n_threads};
    struct decode_report report = {0};
    sa_engine *engine;
    if (sa_engine_create(&options, &engine) != SA_OK)
        return complain("%s", sa_last_reason());
    bool good = decode_and_check(engine, decode, &report) && finish(decode, &report);
    sa_engine_destroy(engine);
    bench_samples_free(&report.times.steps);
    return good;
}

int command_decode(int argc, char **argv) {
    struct decode_options options;
    struct decode decode;
    int status = decode_parse(argc, argv, &options);
    if (status != DONE)
        return status == -1 ? DONE : status;
    bool good = decode_open(&options, &decode) && decode_with_engine(&decode);
    decode_close(&decode);
    return good ? DONE : FAILED;
}
