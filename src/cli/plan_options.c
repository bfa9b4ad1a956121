/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "isa.h"
#include "options.h"
#include "plan.h"

static const char help[] =
    "usage: sa plan [OPTION...] [BATCHFILE...]\n"
    "\n"
    "Plans batches and plays the plans through: how long the team would take by the cost model, how near that is to\n"
    "the ideal (all work evenly on all threads), how much of k and v is needed by more than one shared cache or NUMA\n"
    "node, and the same for items dealt out in turn. Nothing is computed. A line of a BATCHFILE is a batch, e.g.\n"
    "    chat heads=32 kv=8 d=128 causal lens=2048,uniform:64:4096:24:3 qlens=512,1x24\n"
    "with lens=, qlens=, nq=, nk=, batch=, dv=, window=L,R, sink=, offset= as in perf/README.md.\n"
    "\n"
    "      --shape LINE       a batch; may be repeated\n"
    "      --topology T       another machine: \"package:2 numa:1 l3:8 core:12 pu:1\", or the file that lstopo wrote\n"
    "      --threads N        size of the team; default: OMP_NUM_THREADS, or one per core; with --topology one per "
    "core\n"
    "      --speeds LIST      speed of each thread, e.g. 8x1.0,16x0.55; default: what the topology tells\n"
    "      --isa NAME         generic, avx2, avx512, avx512_bf16, amx_bf16: whose cost model; default: the fastest "
    "this\n"
    "                         machine has; with --topology it need not have it\n"
    "      --at C,M           a machine that computes C times as fast as the cost model's own, and whose threads read "
    "k\n"
    "                         and v M times as fast, e.g. 0.83,0.71, as --measure finds them\n"
    "      --svg FILE         the timeline as a picture: threads as rows, items coloured by sequence\n"
    "      --png FILE\n"
    "      --csv FILE         one line a batch\n"
    "      --measure          also run the batches on this machine, with random tensors, and compare\n"
    "      --help\n";

enum { SHAPE = 256, TOPOLOGY, THREADS, SPEEDS, ISA, AT, SVG, PNG, CSV, MEASURE, HELP };

static const struct option long_options[] = {{"shape", required_argument, NULL, SHAPE},
                                             {"topology", required_argument, NULL, TOPOLOGY},
                                             {"threads", required_argument, NULL, THREADS},
                                             {"speeds", required_argument, NULL, SPEEDS},
                                             {"isa", required_argument, NULL, ISA},
                                             {"at", required_argument, NULL, AT},
                                             {"svg", required_argument, NULL, SVG},
                                             {"png", required_argument, NULL, PNG},
                                             {"csv", required_argument, NULL, CSV},
                                             {"measure", no_argument, NULL, MEASURE},
                                             {"help", no_argument, NULL, HELP},
                                             {0}};

/* "8x1.0,16x0.55", "1,1,0.5": COUNTxSPEED or SPEED. */
static bool take_speeds(struct plan_options *o, const char **text) {
    char *end;
    double speed = strtod(*text, &end);
    long count = 1;
    if (end != *text && *end == 'x') {
        count = strtol(*text, &end, 10);
        const char *after = end + 1;
        if (*end != 'x')
            return false;
        speed = strtod(after, &end);
        if (end == after)
            return false;
    }
    if (end == *text || (*end && *end != ',') || (*end == ',' && !end[1]) || !(speed > 0 && isfinite(speed)) ||
        count < 1 || count > PLAN_MAX_THREADS - o->n_speeds)
        return false;
    while (count-- > 0)
        o->speeds[o->n_speeds++] = speed;
    *text = *end ? end + 1 : end;
    return true;
}

static int parse_speeds(struct plan_options *o, const char *text) {
    const char *at = text;
    o->n_speeds = 0;
    do
        if (!take_speeds(o, &at))
            return misuse("plan", "--speeds is '%s', expected e.g. 8x1.0,16x0.55", text);
    while (*at);
    return DONE;
}

static int parse_at(struct plan_options *o, const char *text) {
    char *comma, *end;
    o->at.compute = strtod(text, &comma);
    o->at.memory = *comma == ',' && comma != text ? strtod(comma + 1, &end) : 0;
    if (o->at.memory > 0 && *end == 0 && o->at.compute > 0 && isfinite(o->at.compute) && isfinite(o->at.memory))
        return DONE;
    return misuse("plan", "--at is '%s', expected two speeds, e.g. 0.83,0.71", text);
}

static int parse_isa(struct plan_options *o, const char *text) {
    for (int isa = SA_ISA_GENERIC; isa < N_ISA_NAMES; isa++)
        if (strcmp(text, isa_names[isa]) == 0)
            return o->max_isa = isa, DONE;
    return misuse("plan", "--isa is '%s', expected generic, avx2, avx512, avx512_bf16 or amx_bf16", text);
}

static int parse_option(struct plan_options *o, int option) {
    switch (option) {
    case SHAPE: return bench_shapes_add_line(&o->shapes, optarg, "sa plan: --shape") ? DONE : WRONG_USAGE;
    case TOPOLOGY: return o->topology = optarg, DONE;
    case THREADS:
        if (parse_integer(optarg, 1, PLAN_MAX_THREADS, &o->n_threads))
            return DONE;
        return misuse("plan", "--threads is '%s', expected a whole number from 1 to %d", optarg, PLAN_MAX_THREADS);
    case SPEEDS: return parse_speeds(o, optarg);
    case ISA: return parse_isa(o, optarg);
    case AT: return parse_at(o, optarg);
    case SVG: return o->svg_path = optarg, DONE;
    case PNG: return o->png_path = optarg, DONE;
    case CSV: return o->csv_path = optarg, DONE;
    case MEASURE: return o->measure = true, DONE;
    case HELP:
    default: return fputs(help, stdout), -1;
    }
}

static int check(const struct plan_options *o) {
    if (o->shapes.n == 0)
        return misuse("plan", "no batch: expected a BATCHFILE or --shape LINE");
    if (o->measure && (o->topology || o->n_speeds))
        return misuse("plan", "--measure is for this machine: not with --topology or --speeds");
    if (o->measure && o->at.compute > 0)
        return misuse("plan", "--measure finds the speeds of this machine: not with --at");
    return DONE;
}

int plan_parse(int argc, char **argv, struct plan_options *options) {
    *options = (struct plan_options){0};
    for (int option; (option = getopt_long(argc, argv, ":", long_options, NULL)) != -1;) {
        const bool wrong = option == '?' || option == ':';
        int status = wrong ? option_misused("plan", option, argv) : parse_option(options, option);
        if (status != DONE)
            return status;
    }
    for (int i = optind; i < argc; i++)
        if (!bench_shapes_add_file(&options->shapes, argv[i]))
            return FAILED;
    return check(options);
}

void plan_options_free(struct plan_options *options) { bench_shapes_free(&options->shapes); }
