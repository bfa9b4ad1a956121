/* SPDX-License-Identifier: MIT */
/* Verifies and times the library; see --help and README.md. */
#include "bench_callers.h"
#include "bench_report.h"
#include "bench_run.h"
#include "standard.h"

static bool write_files(const struct bench_options *options, const struct bench_machine *machine,
                        const struct bench_results *results) {
    return (!options->csv_path || bench_write_csv(options->csv_path, results)) &&
           (!options->json_path || bench_write_json(options->json_path, machine, results));
}

static bool run_shapes(const struct bench_options *options, const struct bench_machine *machine) {
    const struct bench_use use = bench_use_look();
    struct bench_results results;
    bool good = bench_open(&results, options);
    if (good)
        bench_print_header(machine, &results.configs);
    good = good && bench_run(&results, options);
    if (good) {
        bench_print_results(&results);
        bench_print_use(&use);
    }
    good = good && write_files(options, machine, &results);
    bench_close(&results);
    return good;
}

int main(int argc, char **argv) {
    struct bench_options options;
    standard_open();
    bench_shapes_directory = BENCH_SHAPES;
    const enum bench_parse parse = bench_options_parse(&options, argc, argv);
    bool good = true;
    if (parse == BENCH_PARSE_RUN) {
        const struct bench_machine machine = bench_machine_look();
        good = bench_can_write(&options) &&
               (options.callers.n ? bench_callers(&options, &machine) : run_shapes(&options, &machine));
    }
    bench_options_free(&options);
    return standard_close("bench", parse == BENCH_PARSE_WRONG ? 2 : good ? 0 : 1);
}
