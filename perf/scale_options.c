/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "scale_point.h"

static const char help[] =
    "usage: scale_point --shape LINE [options]\n"
    "       scale_point --machine [--threads N]\n"
    "\n"
    "Measures one shape with one team in a process of its own, so that the peak memory is the shape's, and prints one\n"
    "line of JSON. The result of the first call is checked against a float64 reference. scripts/scaling runs it.\n"
    "\n"
    "  --shape LINE    as perf/README.md describes, e.g. 'mine nq=4096 d=64 causal window=1023,0'\n"
    "  --threads N     size of the team; 0, the default: as the engine chooses\n"
    "  --repeats N     samples at most (9)\n"
    "  --seconds S     take samples for about S seconds (1); a call that takes longer is made once, the first, "
    "verified\n"
    "                  call being the sample\n"
    "  --machine       instead: library, kernel, threads, compiler and processor, as JSON\n"
    "  --help          this text\n"
    "\n"
    "exit status: 0 measured, 1 the result was wrong or something failed, 2 usage\n";

enum { OPT_SHAPE = 1, OPT_THREADS, OPT_REPEATS, OPT_SECONDS, OPT_MACHINE, OPT_HELP };

static const struct option table[] = {{"shape", 1, NULL, OPT_SHAPE},
                                      {"threads", 1, NULL, OPT_THREADS},
                                      {"repeats", 1, NULL, OPT_REPEATS},
                                      {"seconds", 1, NULL, OPT_SECONDS},
                                      {"machine", 0, NULL, OPT_MACHINE},
                                      {"help", 0, NULL, OPT_HELP},
                                      {0}};

static bool parse_number(int option, const char *text, double low, double high, double *value) {
    char *end;
    *value = strtod(text, &end);
    if (end != text && *end == 0 && *value >= low && *value <= high)
        return true;
    fprintf(stderr, "scale_point: --%s: '%s' will not do\n", table[option - 1].name, text);
    return false;
}

static bool parse_int(int option, const char *text, int low, int high, int *value) {
    double x;
    if (!parse_number(option, text, low, high, &x))
        return false;
    *value = (int)x;
    return true;
}

static bool set(struct scale_options *o, int option, const char *value) {
    switch (option) {
    case OPT_SHAPE: return bench_shapes_add_line(&o->shapes, value, "--shape");
    case OPT_THREADS: return parse_int(option, value, 0, 1024, &o->threads);
    case OPT_REPEATS: return parse_int(option, value, 1, 100000, &o->repeats);
    case OPT_SECONDS: return parse_number(option, value, 0, 1e6, &o->seconds);
    case OPT_MACHINE: o->machine = true; return true;
    default: fputs("scale_point --help tells more\n", stderr); return false;
    }
}

int scale_options_parse(struct scale_options *options, int argc, char **argv) {
    *options = (struct scale_options){.repeats = 9, .seconds = 1};
    for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (option == OPT_HELP)
            return fputs(help, stdout), 1;
        if (!set(options, option, optarg))
            return 2;
    }
    if (optind < argc || options->shapes.n != !options->machine) {
        fputs("scale_point: either one --shape or --machine\n", stderr);
        return 2;
    }
    return 0;
}
