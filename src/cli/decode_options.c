/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>

#include "cli.h"
#include "decode.h"
#include "options.h"

static const char help[] =
    "usage: sa decode Q.npy K.npy V.npy [OPTION...]\n"
    "       sa decode DATA.safetensors [OPTION...]\n"
    "\n"
    "Goes through the tokens of tensors in files as a server does that generates them: the k and v of a token are\n"
    "appended to the cache of its sequence, its q attends to the cache. Files, layouts and types are those of sa run;\n"
    "all sequences advance together. Says how long a token takes, and how near that is to reading k and v from memory\n"
    "at the rate the machine has.\n"
    "\n"
    "      --prompt N         tokens that are taken in at once, before the first step (default: 0)\n"
    "      --steps N          tokens to go on for (default: to the end of the longest sequence)\n"
    "      --layout LAYOUT    bshd: tokens before heads (default); bhsd: heads before tokens; the caches', too\n"
    "      --scale X          instead of 1/sqrt(d)\n" ATTENTION_SCORE_HELP
    "      --dtype TYPE       f32, bf16 or f16: of q, the caches and the outputs; default: as in the files\n"
    "      --kv-int8          caches of int8 with a scale for each token and kv head\n"
    "      --kv-scales TYPE   the same with scales of that type (default: f32)\n"
    "      --page-size N      caches in the shuffled pages of a pool, N tokens each\n"
    "      --threads N        size of the team; default: OMP_NUM_THREADS, or one per core\n"
    "      --check            compare all outputs with those of one causal prefill, which must be the same bits, and\n"
    "                         sampled rows of that with float64\n"
    "      --json             say everything as one JSON object\n"
    "      --help\n";

enum { PROMPT = 256, STEPS, LAYOUT, SCALE, DTYPE, KV_INT8, KV_SCALES, PAGE_SIZE, THREADS, CHECK, JSON, HELP };

static const struct option long_options[] = {{"prompt", required_argument, NULL, PROMPT},
                                             {"steps", required_argument, NULL, STEPS},
                                             {"layout", required_argument, NULL, LAYOUT},
                                             {"scale", required_argument, NULL, SCALE},
                                             ATTENTION_SCORE_OPTIONS,
                                             {"dtype", required_argument, NULL, DTYPE},
                                             {"kv-int8", no_argument, NULL, KV_INT8},
                                             {"kv-scales", required_argument, NULL, KV_SCALES},
                                             {"page-size", required_argument, NULL, PAGE_SIZE},
                                             {"threads", required_argument, NULL, THREADS},
                                             {"check", no_argument, NULL, CHECK},
                                             {"json", no_argument, NULL, JSON},
                                             {"help", no_argument, NULL, HELP},
                                             {0}};

#define MAX_TOKENS (INT64_C(1) << 31)

static int parse_option(struct decode_options *o, int option) {
    switch (option) {
    case PROMPT: return option_count("decode", "--prompt", optarg, 0, MAX_TOKENS, &o->n_prompt);
    case STEPS: return option_count("decode", "--steps", optarg, 1, MAX_TOKENS, &o->n_steps);
    case LAYOUT: return option_layout("decode", optarg, &o->inputs.heads_first);
    case SCALE: return option_scale("decode", optarg, &o->scale);
    case DTYPE: return option_dtype("decode", optarg, &o->store);
    case KV_INT8: return o->store.kv_int8 = true, DONE;
    case KV_SCALES: return option_kv_scales("decode", optarg, &o->store);
    case PAGE_SIZE: return option_page_size("decode", optarg, &o->store);
    case THREADS: return option_count("decode", "--threads", optarg, 1, 1024, &o->n_threads);
    case CHECK: return o->check = true, DONE;
    case JSON: return o->json = true, DONE;
    case HELP: return fputs(help, stdout), -1;
    default: return attention_option("decode", option, optarg, &o->attention);
    }
}

int decode_parse(int argc, char **argv, struct decode_options *options) {
    *options = (struct decode_options){0};
    for (int option; (option = getopt_long(argc, argv, ":", long_options, NULL)) != -1;) {
        const bool wrong = option == '?' || option == ':';
        int status = wrong ? option_misused("decode", option, argv) : parse_option(options, option);
        if (status != DONE)
            return status;
    }
    int status = option_files("decode", argc - optind, argv + optind, &options->inputs);
    options->store.heads_first = options->inputs.heads_first;
    return status;
}
