/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cheaper.h"
#include "cli.h"

const char *const cheaper_kind_names[CHEAPER_KINDS] = {"exact", "window", "sink", "strided", "top", "means"};

static const char help[] =
    "usage: cheaper DATA.safetensors | Q.npy K.npy V.npy [options]\n"
    "\n"
    "Measures patterns of attention that are cheaper than the exact one, on tensors as `sa run` takes them, and "
    "prints\n"
    "JSON: pairs computed, time, attention mass kept, error of the output. scripts/cheaper runs it.\n"
    "\n"
    "  --pattern P     one of these; again for more; default: some of each\n"
    "                    window:W    the W keys around the query; with --causal the last W up to it\n"
    "                    sink:W+S    the same, and the first S keys\n"
    "                    strided:N   blocks: its own and every Nth from there\n"
    "                    top:K       the K blocks with most of the exact weight, the best that any list can do\n"
    "                    means:K     K blocks: its own and those with the largest product of mean query and mean key\n"
    "  --block N       tokens of a block; default: 16, from 1,024 keys on 64\n"
    "  --causal        in the exact result as well, a query sees no key behind itself\n"
    "  --layout L      bshd (default) or bhsd: heads before tokens\n"
    "  --threads N     size of the team; 0, the default: as the engine chooses\n"
    "  --repeats N     rounds at most (9)\n"
    "  --seconds S     time for the rounds of all patterns together (10)\n"
    "  --help          this text\n"
    "\n"
    "exit status: 0 measured, 1 a result was wrong or something failed, 2 usage\n";

enum { OPT_PATTERN = 1, OPT_BLOCK, OPT_CAUSAL, OPT_LAYOUT, OPT_THREADS, OPT_REPEATS, OPT_SECONDS, OPT_HELP };

static const struct option table[] = {
    {"pattern", 1, NULL, OPT_PATTERN}, {"block", 1, NULL, OPT_BLOCK},     {"causal", 0, NULL, OPT_CAUSAL},
    {"layout", 1, NULL, OPT_LAYOUT},   {"threads", 1, NULL, OPT_THREADS}, {"repeats", 1, NULL, OPT_REPEATS},
    {"seconds", 1, NULL, OPT_SECONDS}, {"help", 0, NULL, OPT_HELP},       {0}};

static bool wrong(int option, const char *text) {
    fprintf(stderr, "cheaper: --%s: '%s' will not do\n", table[option - 1].name, text);
    return false;
}

/* ---------------------------------------------------------------- patterns */

static bool add(struct cheaper_options *o, int kind, int64_t size, int64_t sinks) {
    if (o->n_patterns == CHEAPER_MOST_PATTERNS)
        return false;
    o->patterns[o->n_patterns++] = (struct cheaper_pattern){kind, size, sinks};
    return true;
}

static bool add_text(struct cheaper_options *o, const char *text) {
    const char *colon = strchr(text, ':'), *plus = strchr(text, '+');
    char size[24] = "";
    int64_t value, sinks = 0;
    if (!colon || (plus && (plus < colon || !parse_integer(plus + 1, 1, INT32_MAX, &sinks))))
        return false;
    const size_t n = plus ? (size_t)(plus - colon - 1) : strlen(colon + 1);
    if (n >= sizeof size)
        return false;
    memcpy(size, colon + 1, n);
    if (!parse_integer(size, 1, INT32_MAX, &value))
        return false;
    for (int kind = CHEAPER_WINDOW; kind < CHEAPER_KINDS; kind++)
        if (strlen(cheaper_kind_names[kind]) == (size_t)(colon - text) &&
            memcmp(cheaper_kind_names[kind], text, (size_t)(colon - text)) == 0)
            return (kind == CHEAPER_SINK) == (plus != NULL) && add(o, kind, value, sinks);
    return false;
}

/* A half of the keys, a quarter and so on. */
void cheaper_options_choose(struct cheaper_options *o, int64_t n) {
    enum { SINKS = 4 };
    o->block = o->block ? o->block : n < 1024 ? 16 : 64;
    const int64_t n_blocks = (n + o->block - 1) / o->block;
    if (o->n_patterns)
        return;
    for (int kind = CHEAPER_WINDOW; kind < CHEAPER_KINDS; kind++)
        for (int64_t part = 2; part <= 16; part *= 2) {
            const int64_t most = kind == CHEAPER_WINDOW || kind == CHEAPER_SINK ? n : n_blocks;
            if (most >= part)
                add(o, kind, kind == CHEAPER_STRIDED ? part : most / part, kind == CHEAPER_SINK ? SINKS : 0);
        }
}

/* ---------------------------------------------------------------- the line */

static bool set_int(int option, const char *text, int64_t low, int64_t high, int *value) {
    int64_t number;
    if (!parse_integer(text, low, high, &number))
        return wrong(option, text);
    *value = (int)number;
    return true;
}

static bool set_seconds(const char *text, double *value) {
    char *end;
    *value = strtod(text, &end);
    return (end != text && *end == 0 && *value >= 0 && *value <= 1e6) || wrong(OPT_SECONDS, text);
}

static bool set(struct cheaper_options *o, int option, const char *value) {
    switch (option) {
    case OPT_PATTERN: return add_text(o, value) || wrong(option, value);
    case OPT_BLOCK: return parse_integer(value, 1, 1 << 20, &o->block) || wrong(option, value);
    case OPT_CAUSAL: return o->causal = true;
    case OPT_LAYOUT:
        o->inputs.heads_first = strcmp(value, "bhsd") == 0;
        return o->inputs.heads_first || strcmp(value, "bshd") == 0 || wrong(option, value);
    case OPT_THREADS: return set_int(option, value, 0, 1024, &o->threads);
    case OPT_REPEATS: return set_int(option, value, 1, 100000, &o->repeats);
    case OPT_SECONDS: return set_seconds(value, &o->seconds);
    default: fputs("cheaper --help tells more\n", stderr); return false;
    }
}

int cheaper_options_parse(struct cheaper_options *o, int argc, char **argv) {
    *o = (struct cheaper_options){.repeats = 9, .seconds = 10};
    for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (option == OPT_HELP)
            return fputs(help, stdout), 1;
        if (!set(o, option, optarg))
            return 2;
    }
    o->inputs.n_files = argc - optind;
    if (o->inputs.n_files != 1 && o->inputs.n_files != 3) {
        fprintf(stderr, "cheaper: %d files, expected one .safetensors or three .npy\n", o->inputs.n_files);
        return 2;
    }
    for (int i = 0; i < o->inputs.n_files; i++)
        o->inputs.files[i] = argv[optind + i];
    return 0;
}
