/* SPDX-License-Identifier: MIT */
#include "layer_options.h"

#include <getopt.h>
#include <stdio.h>

static const char help[] =
    "usage: layer [options]\n"
    "\n"
    "Times sa_layer_forward() beside its products alone, by the system's BLAS on whole matrices with threads of its\n"
    "own, and its attention alone. Every shape is checked against a float64 reference first.\n"
    "\n"
    "  --shapes FILE      shapes, one a line; a bare name is one of the files that come with it:\n"
    "                     layers.txt (the default) layers-smoke.txt\n"
    "  --shape LINE       one shape, e.g. 'mine batch=8 heads=12 nq=512 d=64 causal rope'; see perf/README.md\n"
    "  --threads N,...    team sizes, BLAS gets as many; 0, the default: as many as the engine chooses by itself\n"
    "  --repeats N        rounds (7)\n"
    "  --seconds S        time given to a shape and team, all rounds together (2); one call of each a round is the "
    "least\n"
    "  --csv FILE         one line for each result\n"
    "  --json FILE        the same with the machine and every sample\n"
    "  --no-verify        do not check results\n"
    "  --quiet            no progress bar\n"
    "  --help             this text\n"
    "\n"
    "exit status: 0 measured, 1 a result was wrong or something failed, 2 usage\n";

enum {
    OPT_SHAPES = 1,
    OPT_SHAPE,
    OPT_THREADS,
    OPT_REPEATS,
    OPT_SECONDS,
    OPT_CSV,
    OPT_JSON,
    OPT_NO_VERIFY,
    OPT_QUIET,
    OPT_HELP
};

static const struct option table[] = {{"shapes", 1, NULL, OPT_SHAPES},
                                      {"shape", 1, NULL, OPT_SHAPE},
                                      {"threads", 1, NULL, OPT_THREADS},
                                      {"repeats", 1, NULL, OPT_REPEATS},
                                      {"seconds", 1, NULL, OPT_SECONDS},
                                      {"csv", 1, NULL, OPT_CSV},
                                      {"json", 1, NULL, OPT_JSON},
                                      {"no-verify", 0, NULL, OPT_NO_VERIFY},
                                      {"quiet", 0, NULL, OPT_QUIET},
                                      {"help", 0, NULL, OPT_HELP},
                                      {0}};

/* Shapes complain by themselves. */
static enum bench_parse set_shapes(bool good) { return good ? BENCH_PARSE_RUN : BENCH_PARSE_WRONG; }

static enum bench_parse set_value(bool good, int option, const char *value) {
    if (!good)
        fprintf(stderr, "layer: --%s: '%s' will not do\n", table[option - 1].name, value);
    return good ? BENCH_PARSE_RUN : BENCH_PARSE_WRONG;
}

static enum bench_parse set(struct layer_bench_options *options, int option, const char *value) {
    struct bench_options *o = &options->bench;
    switch (option) {
    case OPT_SHAPES: return set_shapes(layer_shapes_add_file(&options->shapes, value));
    case OPT_SHAPE: return set_shapes(layer_shapes_add_line(&options->shapes, value, "--shape"));
    case OPT_THREADS: return set_value(bench_parse_list(value, 0, 1024, NULL, &o->threads), option, value);
    case OPT_REPEATS: return set_value(bench_parse_int(value, 1, 100000, &o->rounds), option, value);
    case OPT_SECONDS: return set_value(bench_parse_double(value, 0, 1e6, &o->seconds), option, value);
    case OPT_CSV: o->csv_path = value; return BENCH_PARSE_RUN;
    case OPT_JSON: o->json_path = value; return BENCH_PARSE_RUN;
    case OPT_NO_VERIFY: o->verify = false; return BENCH_PARSE_RUN;
    case OPT_QUIET: o->quiet = true; return BENCH_PARSE_RUN;
    case OPT_HELP: fputs(help, stdout); return BENCH_PARSE_HELP;
    default: fputs("layer --help tells more\n", stderr); return BENCH_PARSE_WRONG;
    }
}

enum bench_parse layer_options_parse(struct layer_bench_options *options, int argc, char **argv) {
    *options = (struct layer_bench_options){
        .bench = {.threads = {.n = 1}, .isas = {.n = 1}, .rounds = 7, .seconds = 2, .verify = true}};
    enum bench_parse parse = BENCH_PARSE_RUN;
    for (int option; parse == BENCH_PARSE_RUN && (option = getopt_long(argc, argv, "", table, NULL)) != -1;)
        parse = set(options, option, optarg);
    if (parse == BENCH_PARSE_RUN && optind < argc) {
        fprintf(stderr, "layer: what is '%s'?\n", argv[optind]);
        parse = BENCH_PARSE_WRONG;
    }
    if (parse == BENCH_PARSE_RUN && options->shapes.n == 0)
        parse = set_shapes(layer_shapes_add_file(&options->shapes, "layers.txt"));
    return parse;
}

void layer_options_free(struct layer_bench_options *options) { layer_shapes_free(&options->shapes); }
