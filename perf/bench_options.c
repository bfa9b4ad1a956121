/* SPDX-License-Identifier: MIT */
#include "bench_options.h"

#include <getopt.h>
#include <sa/sa.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench_values.h"
#include "isa.h"

static const char help[] =
    "usage: bench [options]\n"
    "\n"
    "Times sa_batch_forward() on shapes and compares it with the multiply-add peak of this machine,\n"
    "measured in the same run. Every shape is checked against a float64 reference first.\n"
    "\n"
    "  --shapes FILE      shapes, one a line; a bare name is one of the files that come with the bench:\n"
    "                     prefill.txt (the default) dims.txt mixed.txt decode.txt types.txt kinds.txt long.txt\n"
    "                     layouts.txt smoke.txt callers.txt callers-long.txt\n"
    "  --shape LINE       one shape, e.g. 'mine heads=12 nq=512 d=64 causal'; see perf/README.md\n"
    "  --threads N,...    team sizes; 0, the default: as many as the engine chooses by itself\n"
    "  --isa NAME,...     generic, avx2, avx512, avx512_bf16, amx_bf16; default: the fastest this machine has\n"
    "  --binding NAME     none, close, spread; default: the engine's\n"
    "  --repeats N        rounds over all shapes (7)\n"
    "  --seconds S        time given to each shape, all rounds together (1); one call a round is the least\n"
    "  --callers N,...    instead: N threads call one engine at once (default shapes: callers.txt); also the\n"
    "                     cost of small calls and of handing a call to the team\n"
    "  --logit-scale X    multiplies the scores (1): 20 makes the softmax nearly one-hot\n"
    "  --max-memory SIZE  skip shapes whose tensors take more, e.g. 512M or 4G (half of the memory)\n"
    "  --csv FILE         one line for each result\n"
    "  --json FILE        the same with the machine and every sample\n"
    "  --no-verify        do not check results\n"
    "  --no-read-rate     do not measure how fast memory is read, which takes most of a second a round\n"
    "  --quiet            no progress bar\n"
    "  --help             this text\n"
    "\n"
    "exit status: 0 measured, 1 a result was wrong or something failed, 2 usage\n";

/* ---------------------------------------------------------------- names */

static const char *const binding_names[] = {"default", "none", "close", "spread", NULL};
enum { N_BINDINGS = 4 };

const char *bench_isa_name(int isa) { return isa >= 0 && isa < N_ISA_NAMES ? isa_names[isa] : "unknown"; }
const char *bench_binding_name(int binding) {
    return binding >= 0 && binding < N_BINDINGS ? binding_names[binding] : "unknown";
}

/* ---------------------------------------------------------------- the command line */

enum {
    OPT_SHAPES = 1,
    OPT_SHAPE,
    OPT_THREADS,
    OPT_ISA,
    OPT_BINDING,
    OPT_REPEATS,
    OPT_SECONDS,
    OPT_CALLERS,
    OPT_LOGIT_SCALE,
    OPT_MAX_MEMORY,
    OPT_CSV,
    OPT_JSON,
    OPT_NO_VERIFY,
    OPT_NO_READ_RATE,
    OPT_QUIET,
    OPT_HELP
};

static const struct option table[] = {{"shapes", 1, NULL, OPT_SHAPES},
                                      {"shape", 1, NULL, OPT_SHAPE},
                                      {"threads", 1, NULL, OPT_THREADS},
                                      {"isa", 1, NULL, OPT_ISA},
                                      {"binding", 1, NULL, OPT_BINDING},
                                      {"repeats", 1, NULL, OPT_REPEATS},
                                      {"seconds", 1, NULL, OPT_SECONDS},
                                      {"callers", 1, NULL, OPT_CALLERS},
                                      {"logit-scale", 1, NULL, OPT_LOGIT_SCALE},
                                      {"max-memory", 1, NULL, OPT_MAX_MEMORY},
                                      {"csv", 1, NULL, OPT_CSV},
                                      {"json", 1, NULL, OPT_JSON},
                                      {"no-verify", 0, NULL, OPT_NO_VERIFY},
                                      {"no-read-rate", 0, NULL, OPT_NO_READ_RATE},
                                      {"quiet", 0, NULL, OPT_QUIET},
                                      {"help", 0, NULL, OPT_HELP},
                                      {0}};

/* Shapes complain by themselves. */
static enum bench_parse set_shapes(bool good) { return good ? BENCH_PARSE_RUN : BENCH_PARSE_WRONG; }

static enum bench_parse set_value(bool good, int option, const char *value) {
    if (!good)
        fprintf(stderr, "bench: --%s: '%s' will not do\n", table[option - 1].name, value);
    return good ? BENCH_PARSE_RUN : BENCH_PARSE_WRONG;
}

static enum bench_parse set(struct bench_options *o, int option, char *value) {
    switch (option) {
    case OPT_SHAPES: return set_shapes(bench_shapes_add_file(&o->shapes, value));
    case OPT_SHAPE: return set_shapes(bench_shapes_add_line(&o->shapes, value, "--shape"));
    case OPT_THREADS: return set_value(bench_parse_list(value, 0, 1024, NULL, &o->threads), option, value);
    case OPT_ISA: return set_value(bench_parse_list(value, 0, 0, isa_names, &o->isas), option, value);
    case OPT_BINDING: return set_value(bench_parse_name(binding_names, value, &o->binding), option, value);
    case OPT_REPEATS: return set_value(bench_parse_int(value, 1, 100000, &o->rounds), option, value);
    case OPT_SECONDS: return set_value(bench_parse_double(value, 0, 1e6, &o->seconds), option, value);
    case OPT_CALLERS: return set_value(bench_parse_list(value, 1, 1024, NULL, &o->callers), option, value);
    case OPT_LOGIT_SCALE: return set_value(bench_parse_double(value, 1e-6, 1e6, &o->logit_scale), option, value);
    case OPT_MAX_MEMORY: return set_value(bench_parse_bytes(value, &o->max_memory_bytes), option, value);
    case OPT_CSV: o->csv_path = value; return BENCH_PARSE_RUN;
    case OPT_JSON: o->json_path = value; return BENCH_PARSE_RUN;
    case OPT_NO_VERIFY: o->verify = false; return BENCH_PARSE_RUN;
    case OPT_NO_READ_RATE: o->read_rate = false; return BENCH_PARSE_RUN;
    case OPT_QUIET: o->quiet = true; return BENCH_PARSE_RUN;
    case OPT_HELP: fputs(help, stdout); return BENCH_PARSE_HELP;
    default: fputs("bench --help tells more\n", stderr); return BENCH_PARSE_WRONG;
    }
}

static size_t half_of_memory(void) {
    const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? (size_t)pages / 2 * (size_t)page_bytes : SIZE_MAX;
}

static enum bench_parse need_shapes(struct bench_options *options) {
    if (options->shapes.n)
        return BENCH_PARSE_RUN;
    return set_shapes(bench_shapes_add_file(&options->shapes, options->callers.n ? "callers.txt" : "prefill.txt"));
}

enum bench_parse bench_options_parse(struct bench_options *options, int argc, char **argv) {
    *options = (struct bench_options){.threads = {.n = 1},
                                      .isas = {.n = 1},
                                      .rounds = 7,
                                      .seconds = 1,
                                      .logit_scale = 1,
                                      .max_memory_bytes = half_of_memory(),
                                      .verify = true,
                                      .read_rate = true};
    enum bench_parse parse = BENCH_PARSE_RUN;
    for (int option; parse == BENCH_PARSE_RUN && (option = getopt_long(argc, argv, "", table, NULL)) != -1;)
        parse = set(options, option, optarg);
    if (parse == BENCH_PARSE_RUN && optind < argc) {
        fprintf(stderr, "bench: what is '%s'?\n", argv[optind]);
        parse = BENCH_PARSE_WRONG;
    }
    return parse == BENCH_PARSE_RUN ? need_shapes(options) : parse;
}

void bench_options_free(struct bench_options *options) { bench_shapes_free(&options->shapes); }
