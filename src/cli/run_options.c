/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "run.h"

static const char help[] =
    "usage: sa run Q.npy K.npy V.npy -o O.npy [OPTION...]\n"
    "       sa run DATA.safetensors -o OUT.safetensors [OPTION...]\n"
    "\n"
    "Computes softmax(scale * Q K^T) V. Arrays are of float32 or float16, in .safetensors also bfloat16, in C order,\n"
    "[batch,] tokens, heads, d; the output has the layout and type of Q. A .safetensors file holds one sequence for\n"
    "every prefix P with tensors P.q, P.k, P.v of three dimensions; the results are P.o.\n"
    "\n"
    "  -o, --output FILE      where the result goes\n"
    "      --lse FILE         the log-sum-exp of every row, [batch,] heads, tokens (P.lse)\n"
    "      --layout LAYOUT    bshd: tokens before heads (default); bhsd: heads before tokens\n"
    "      --causal           a query sees no key behind its own position\n"
    "      --q-offset N       query i stands at position N + i; by default the last query meets the last key\n"
    "      --window L,R       a query at p sees keys p - L to p + R; -1: no limit\n"
    "      --sink-keys N      the first N keys stay visible whatever L is\n"
    "      --scale X          instead of 1/sqrt(d)\n"
    "      --kv-lens N,N,...  keys of each batch item, if fewer than the arrays hold\n"
    "      --threads N        size of the team; default: OMP_NUM_THREADS, or one per core\n"
    "      --check            compare sampled rows with float64; outside of the error bound is a failure\n"
    "      --json             say everything as one JSON object\n"
    "      --help\n";

enum { LSE = 256, LAYOUT, CAUSAL, Q_OFFSET, WINDOW, SINK_KEYS, SCALE, KV_LENS, THREADS, CHECK, JSON, HELP };

static const struct option long_options[] = {{"output", required_argument, NULL, 'o'},
                                             {"lse", required_argument, NULL, LSE},
                                             {"layout", required_argument, NULL, LAYOUT},
                                             {"causal", no_argument, NULL, CAUSAL},
                                             {"q-offset", required_argument, NULL, Q_OFFSET},
                                             {"window", required_argument, NULL, WINDOW},
                                             {"sink-keys", required_argument, NULL, SINK_KEYS},
                                             {"scale", required_argument, NULL, SCALE},
                                             {"kv-lens", required_argument, NULL, KV_LENS},
                                             {"threads", required_argument, NULL, THREADS},
                                             {"check", no_argument, NULL, CHECK},
                                             {"json", no_argument, NULL, JSON},
                                             {"help", no_argument, NULL, HELP},
                                             {0}};

#define MAX_POSITION (INT64_C(1) << 32)

static int parse_layout(struct run_options *o, const char *text) {
    o->heads_first = strcmp(text, "bhsd") == 0;
    if (o->heads_first || strcmp(text, "bshd") == 0)
        return DONE;
    return misuse("run", "--layout is '%s', expected bshd or bhsd", text);
}

static int parse_window(struct run_options *o, const char *text) {
    o->has_window = true;
    if (parse_integers(text, -1, MAX_POSITION, o->window, 2) == 2)
        return DONE;
    return misuse("run", "--window is '%s', expected LEFT,RIGHT, each -1 or more", text);
}

static int parse_scale(struct run_options *o, const char *text) {
    char *end;
    o->scale = strtof(text, &end);
    if (end != text && *end == 0 && isfinite(o->scale) && o->scale != 0)
        return DONE;
    return misuse("run", "--scale is '%s', expected a number other than 0", text);
}

static int parse_kv_lens(struct run_options *o, const char *text) {
    o->kv_lens = o->kv_lens ? o->kv_lens : malloc(MAX_KV_LENS * sizeof *o->kv_lens);
    if (!o->kv_lens)
        return complain("no memory"), FAILED;
    o->n_kv_lens = parse_integers(text, 0, INT64_MAX, o->kv_lens, MAX_KV_LENS);
    return o->n_kv_lens ? DONE : misuse("run", "--kv-lens is '%s', expected N,N,...", text);
}

static int parse_count(const char *name, const char *text, int64_t low, int64_t high, int64_t *value) {
    if (parse_integer(text, low, high, value))
        return DONE;
    return misuse("run", "%s is '%s', expected a whole number from %lld to %lld", name, text, (long long)low,
                  (long long)high);
}

static int parse_option(struct run_options *o, int option) {
    switch (option) {
    case 'o': return o->o_path = optarg, DONE;
    case LSE: return o->lse_path = optarg, DONE;
    case LAYOUT: return parse_layout(o, optarg);
    case CAUSAL: return o->causal = true, DONE;
    case Q_OFFSET:
        o->has_offset = true;
        return parse_count("--q-offset", optarg, -MAX_POSITION, MAX_POSITION, &o->q_offset);
    case WINDOW: return parse_window(o, optarg);
    case SINK_KEYS: return parse_count("--sink-keys", optarg, 0, MAX_POSITION, &o->n_sink_keys);
    case SCALE: return parse_scale(o, optarg);
    case KV_LENS: return parse_kv_lens(o, optarg);
    case THREADS: return parse_count("--threads", optarg, 1, 1024, &o->n_threads);
    case CHECK: return o->check = true, DONE;
    case JSON: return o->json = true, DONE;
    case HELP: return fputs(help, stdout), -1;
    case ':': return misuse("run", "%s needs a value", optopt ? "-o" : "the last option");
    default: return misuse("run", "unknown option, or one with a value it does not take");
    }
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static int check_files(struct run_options *o, int n, char **files) {
    bool archive = n == 1 && ends_with(files[0], ".safetensors");
    if (!archive && n != 3)
        return misuse("run", "%d input file%s, expected Q.npy K.npy V.npy or one .safetensors", n, n == 1 ? "" : "s");
    for (int i = 0; i < n; i++)
        o->files[i] = files[i];
    o->n_files = n;
    if (!o->o_path)
        return misuse("run", "-o is missing: where shall the result go?");
    if (o->lse_path && strcmp(o->lse_path, o->o_path) == 0)
        return misuse("run", "-o and --lse are the same file");
    if (archive && o->n_kv_lens)
        return misuse("run", "--kv-lens is for .npy files; sequences of a .safetensors file have their own lengths");
    return DONE;
}

int run_parse(int argc, char **argv, struct run_options *options) {
    *options = (struct run_options){0};
    for (int option; (option = getopt_long(argc, argv, ":o:", long_options, NULL)) != -1;) {
        int status = parse_option(options, option);
        if (status != DONE)
            return status;
    }
    return check_files(options, argc - optind, argv + optind);
}
