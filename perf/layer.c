/* SPDX-License-Identifier: MIT */
/* Verifies and times the whole layer; see --help and README.md. */
#include "layer_report.h"
#include "standard.h"

static bool write_files(const struct bench_options *options, const struct bench_machine *machine,
                        const struct layer_results *results) {
    return (!options->csv_path || layer_write_csv(options->csv_path, results)) &&
           (!options->json_path || layer_write_json(options->json_path, machine, results));
}

static bool run(const struct layer_bench_options *options) {
    const struct bench_machine machine = bench_machine_look();
    const struct bench_use use = bench_use_look();
    struct layer_results results;
    bool good = layer_open(&results, options);
    if (good)
        layer_print_header(&machine, &results.configs);
    good = good && layer_run(&results, options);
    if (good) {
        layer_print_results(&results);
        bench_print_use(&use);
    }
    good = good && write_files(&options->bench, &machine, &results);
    layer_close(&results);
    return good;
}

int main(int argc, char **argv) {
    struct layer_bench_options options;
    standard_open();
    bench_shapes_directory = BENCH_SHAPES;
    const enum bench_parse parse = layer_options_parse(&options, argc, argv);
    const bool good = parse != BENCH_PARSE_RUN || (bench_can_write(&options.bench) && run(&options));
    layer_options_free(&options);
    return standard_close("layer", parse == BENCH_PARSE_WRONG ? 2 : good ? 0 : 1);
}
