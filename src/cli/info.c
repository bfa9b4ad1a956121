/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "names.h"
#include "options.h"
#include "peak.h"

static const char help[] =
    "usage: sa info [--threads N] [--json]\n"
    "\n"
    "Shows what an engine sees of this machine and decides: cores it may use, CPU quota, threads and\n"
    "where they stand, instruction set, tiles, and why something faster is not used; then measures\n"
    "the peak of fused multiply-adds.\n";

#define PEAK_SECONDS 0.1

static bool print_text(const sa_engine *engine, double peak) {
    size_t length;
    sa_engine_describe(engine, NULL, 0, &length);
    char *text = malloc(length + 1);
    if (!text)
        return complain("no memory for the description");
    sa_engine_describe(engine, text, length + 1, NULL);
    fputs(text, stdout);
    printf("FMA peak    %.1f GFLOP/s, measured now on as many threads, at most one a processor\n", peak * 1e-9);
    free(text);
    return true;
}

static bool print_json(const sa_engine_info *i, double peak) {
    json_t *json =
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:i, s:i, s:i, s:f, s:f}", "version", sa_version(),
                  "threads", (int)i->n_threads, "cores", (int)i->n_cores, "cpus", (int)i->n_cpus, "l3", (int)i->n_l3,
                  "numa_nodes", (int)i->n_numa, "isa", isa_name(i->isa), "binding", binding_name(i->binding),
                  "tile_rows", (int)i->tile_rows, "block_keys", (int)i->block_keys, "chunk_keys", (int)i->chunk_keys,
                  "quota_cpus", i->quota_cpus, "peak_gflops", peak * 1e-9);
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
    if (text)
        puts(text);
    free(text);
    json_decref(json);
    return text || complain("no memory for the description");
}

static bool show(int32_t n_threads, bool as_json) {
    sa_engine_options options = {.struct_size = sizeof options, .n_threads = n_threads};
    sa_engine_info info = {.struct_size = sizeof info};
    sa_engine *engine;
    if (sa_engine_create(&options, &engine) != SA_OK)
        return complain("%s", sa_last_reason());
    sa_engine_get_info(engine, &info);
    double peak = peak_flops(peak_threads(&info), info.isa, PEAK_SECONDS);
    bool good = as_json ? print_json(&info, peak) : print_text(engine, peak);
    sa_engine_destroy(engine);
    return good;
}

int command_info(int argc, char **argv) {
    static const struct option options[] = {{"threads", required_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int64_t n_threads = 0;
    bool as_json = false;
    for (int option; (option = getopt_long(argc, argv, ":", options, NULL)) != -1;)
        switch (option) {
        case 't':
            if (!parse_integer(optarg, 1, 1024, &n_threads))
                return misuse("info", "--threads is '%s', expected a whole number from 1 to 1024", optarg);
            break;
        case 'j': as_json = true; break;
        case 'h': return fputs(help, stdout), DONE;
        default: return option_misused("info", option, argv);
        }
    if (optind < argc)
        return misuse("info", "takes no files");
    return show((int32_t)n_threads, as_json) ? DONE : FAILED;
}
