/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "options.h"
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
    "      --row-max FILE     the largest score of every row, in the same layout (P.row_max)\n"
    "      --weights FILE     the attention weights of the queries in --rows, of every batch item and head:\n"
    "                         [batch,] heads, rows, keys (P.weights)\n"
    "      --rows LIST        these queries, by number: 0,5,10-12\n"
    "      --key-mass FILE    the sum of the weights that each key received, [batch,] kv heads, keys (P.key_mass)\n"
    "      --layout LAYOUT    bshd: tokens before heads (default); bhsd: heads before tokens\n"
    "      --causal           a query sees no key behind its own position\n"
    "      --q-offset N       query i stands at position N + i; by default the last query meets the last key\n"
    "      --window L,R       a query at p sees keys p - L to p + R; -1: no limit\n"
    "      --sink-keys N      the first N keys stay visible whatever L is\n"
    "      --scale X          instead of 1/sqrt(d)\n" ATTENTION_SCORE_HELP ATTENTION_TOKEN_HELP
    "      --kv-lens N,N,...  keys of each batch item, if fewer than the arrays hold\n"
    "      --threads N        size of the team; default: OMP_NUM_THREADS, or one per core\n"
    "      --dtype TYPE       f32, bf16 or f16: converts q, k and v to it first, and writes the result in it\n"
    "      --f16-pairs        multiplies f16 in pairs where the machine has AMX: faster prompts, other bits\n"
    "      --kv-int8          quantises k and v to int8 with a scale for each token and kv head\n"
    "      --kv-scales TYPE   the same with scales of that type (default: f32)\n"
    "      --page-size N      puts k and v into the shuffled pages of a pool, N tokens each; the result is the same\n"
    "      --check            compare sampled rows, and the key mass of small batches, with float64; outside of the\n"
    "                         error bound is a failure\n"
    "      --json             say everything as one JSON object\n"
    "      --help\n";

enum {
    LSE = 256,
    ROW_MAX,
    WEIGHTS,
    ROWS,
    KEY_MASS,
    LAYOUT,
    CAUSAL,
    Q_OFFSET,
    WINDOW,
    SINK_KEYS,
    SCALE,
    KV_LENS,
    THREADS,
    DTYPE,
    F16_PAIRS,
    KV_INT8,
    KV_SCALES,
    PAGE_SIZE,
    CHECK,
    JSON,
    HELP
};

static const struct option long_options[] = {{"output", required_argument, NULL, 'o'},
                                             {"lse", required_argument, NULL, LSE},
                                             {"row-max", required_argument, NULL, ROW_MAX},
                                             {"weights", required_argument, NULL, WEIGHTS},
                                             {"rows", required_argument, NULL, ROWS},
                                             {"key-mass", required_argument, NULL, KEY_MASS},
                                             {"layout", required_argument, NULL, LAYOUT},
                                             {"causal", no_argument, NULL, CAUSAL},
                                             {"f16-pairs", no_argument, NULL, F16_PAIRS},
                                             {"q-offset", required_argument, NULL, Q_OFFSET},
                                             {"window", required_argument, NULL, WINDOW},
                                             {"sink-keys", required_argument, NULL, SINK_KEYS},
                                             {"scale", required_argument, NULL, SCALE},
                                             ATTENTION_SCORE_OPTIONS,
                                             ATTENTION_TOKEN_OPTIONS,
                                             {"kv-lens", required_argument, NULL, KV_LENS},
                                             {"threads", required_argument, NULL, THREADS},
                                             {"dtype", required_argument, NULL, DTYPE},
                                             {"kv-int8", no_argument, NULL, KV_INT8},
                                             {"kv-scales", required_argument, NULL, KV_SCALES},
                                             {"page-size", required_argument, NULL, PAGE_SIZE},
                                             {"check", no_argument, NULL, CHECK},
                                             {"json", no_argument, NULL, JSON},
                                             {"help", no_argument, NULL, HELP},
                                             {0}};

#define MAX_POSITION (INT64_C(1) << 32)

static int parse_window(struct run_options *o, const char *text) {
    o->has_window = true;
    if (parse_integers(text, -1, MAX_POSITION, o->window, 2) == 2)
        return DONE;
    return misuse("run", "--window is '%s', expected LEFT,RIGHT, each -1 or more", text);
}

static int parse_kv_lens(struct run_options *o, const char *text) {
    o->kv_lens = o->kv_lens ? o->kv_lens : malloc(MAX_KV_LENS * sizeof *o->kv_lens);
    if (!o->kv_lens)
        return complain("no memory"), FAILED;
    o->n_kv_lens = parse_integers(text, 0, INT64_MAX, o->kv_lens, MAX_KV_LENS);
    return o->n_kv_lens ? DONE : misuse("run", "--kv-lens is '%s', expected N,N,...", text);
}

static int parse_rows(struct run_options *o, const char *text) {
    o->rows = o->rows ? o->rows : malloc(MAX_ROWS * sizeof *o->rows);
    if (!o->rows)
        return complain("no memory"), FAILED;
    o->n_rows = parse_ranges(text, INT32_MAX, o->rows, MAX_ROWS);
    return o->n_rows ? DONE
                     : misuse("run", "--rows is '%s', expected numbers of queries such as 0,5,10-12, at most %d", text,
                              MAX_ROWS);
}

static int parse_option(struct run_options *o, int option) {
    switch (option) {
    case 'o': return o->paths[OUTPUT_O] = optarg, DONE;
    case LSE: return o->paths[OUTPUT_LSE] = optarg, DONE;
    case ROW_MAX: return o->paths[OUTPUT_ROW_MAX] = optarg, DONE;
    case WEIGHTS: return o->paths[OUTPUT_WEIGHTS] = optarg, DONE;
    case ROWS: return parse_rows(o, optarg);
    case KEY_MASS: return o->paths[OUTPUT_KEY_MASS] = optarg, DONE;
    case LAYOUT: return option_layout("run", optarg, &o->inputs.heads_first);
    case CAUSAL: return o->causal = true, DONE;
    case F16_PAIRS: return o->f16_pairs = true, DONE;
    case Q_OFFSET:
        o->has_offset = true;
        return option_count("run", "--q-offset", optarg, -MAX_POSITION, MAX_POSITION, &o->q_offset);
    case WINDOW: return parse_window(o, optarg);
    case SINK_KEYS: return option_count("run", "--sink-keys", optarg, 0, MAX_POSITION, &o->n_sink_keys);
    case SCALE: return option_scale("run", optarg, &o->scale);
    case KV_LENS: return parse_kv_lens(o, optarg);
    case THREADS: return option_count("run", "--threads", optarg, 1, 1024, &o->n_threads);
    case DTYPE: return option_dtype("run", optarg, &o->store);
    case KV_INT8: return o->store.kv_int8 = true, DONE;
    case KV_SCALES: return option_kv_scales("run", optarg, &o->store);
    case PAGE_SIZE: return option_page_size("run", optarg, &o->store);
    case CHECK: return o->check = true, DONE;
    case JSON: return o->json = true, DONE;
    case HELP: return fputs(help, stdout), -1;
    default: return attention_option("run", option, optarg, &o->attention);
    }
}

static bool is_same_file(const char *a, const char *b) {
    struct stat of_a, of_b;
    return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

/* NULL: none of those that are read. */
static const char *input_at(const struct run_options *o, const char *path) {
    for (int i = 0; i < o->inputs.n_files; i++)
        if (is_same_file(path, o->inputs.files[i]))
            return o->inputs.files[i];
    for (int f = 0; f < N_ATTENTION_FILES; f++)
        if (o->attention.files[f] && is_same_file(path, o->attention.files[f]))
            return o->attention.files[f];
    return NULL;
}

static int check_outputs(const struct run_options *o) {
    static const char *const names[N_OUTPUTS] = {"-o", "--lse", "--row-max", "--weights", "--key-mass"};
    if (!o->paths[OUTPUT_O])
        return misuse("run", "-o is missing: where shall the result go?");
    for (int a = 0; a < N_OUTPUTS; a++)
        for (int b = a + 1; b < N_OUTPUTS; b++)
            if (o->paths[a] && o->paths[b] && strcmp(o->paths[a], o->paths[b]) == 0)
                return misuse("run", "%s and %s are the same file", names[a], names[b]);
    for (int i = 0; i < N_OUTPUTS; i++)
        if (o->paths[i] && input_at(o, o->paths[i]))
            return misuse("run", "%s would replace %s, which is read", names[i], input_at(o, o->paths[i]));
    for (int i = 0; i < N_OUTPUTS; i++)
        if (option_result("run", names[i], o->paths[i], &o->inputs) != DONE)
            return WRONG_USAGE;
    if (o->paths[OUTPUT_WEIGHTS] && !o->n_rows)
        return misuse("run", "--rows is missing: of which queries are --weights wanted?");
    if (o->n_rows && !o->paths[OUTPUT_WEIGHTS])
        return misuse("run", "--weights is missing: where shall those of --rows go?");
    return DONE;
}

static int check_files(struct run_options *o, int n, char **files) {
    int status = option_files("run", n, files, &o->inputs);
    if (status != DONE)
        return status;
    o->store.heads_first = o->inputs.heads_first;
    status = check_outputs(o);
    if (status != DONE)
        return status;
    const bool limited = o->causal || (o->has_window && o->window[1] >= 0);
    if (o->attention.n_prefix && !limited)
        return misuse("run", "--prefix lifts the right limit of --causal or --window, but there is none");
    if (o->n_sink_keys && !(o->has_window && o->window[0] >= 0))
        return misuse("run", "--sink-keys lifts the left limit of --window, but there is none");
    if (is_archive(&o->inputs) && o->n_kv_lens)
        return misuse("run", "--kv-lens is for .npy files; sequences of a .safetensors file have their own lengths");
    return DONE;
}

int run_parse(int argc, char **argv, struct run_options *options) {
    *options = (struct run_options){0};
    for (int option; (option = getopt_long(argc, argv, ":o:", long_options, NULL)) != -1;) {
        const bool wrong = option == '?' || option == ':';
        int status = wrong ? option_misused("run", option, argv) : parse_option(options, option);
        if (status != DONE)
            return status;
    }
    return check_files(options, argc - optind, argv + optind);
}
