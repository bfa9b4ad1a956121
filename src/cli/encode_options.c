/* SPDX-License-Identifier: MIT */
#include "encode.h"

#include <getopt.h>
#include <stdio.h>

#include "cli.h"
#include "options.h"

static const char help[] =
    "usage: sa encode MODEL [LINES.txt] --out V.npy [OPTION...]\n"
    "       sa encode MODEL [LINES.txt] --similar \"QUERY\" [OPTION...]\n"
    "\n"
    "Turns lines of text into vectors of length 1 whose dot products say how alike the lines are in meaning. MODEL is "
    "a\n"
    "folder of a BERT-style sentence encoder as Hugging Face lays it out: config.json, model.safetensors, vocab.txt.\n"
    "Without LINES.txt standard input is read. A line is one vector, an empty one, too: the mean over its word pieces\n"
    "after the last layer.\n"
    "\n"
    "  -o, --out V.npy        the vectors, float32, [lines, d]\n"
    "      --similar QUERY    print the lines that are most like it\n"
    "      --top N            so many of them (default: 5)\n"
    "      --max-tokens N     longer lines are cut off (default: what the model says)\n"
    "      --threads N        default: OMP_NUM_THREADS, or one per core\n"
    "      --json             say what was done as one JSON object\n"
    "      --help\n";

enum { SIMILAR = 256, TOP, MAX_TOKENS, THREADS, JSON, HELP };

static const struct option long_options[] = {{"out", required_argument, NULL, 'o'},
                                             {"similar", required_argument, NULL, SIMILAR},
                                             {"top", required_argument, NULL, TOP},
                                             {"max-tokens", required_argument, NULL, MAX_TOKENS},
                                             {"threads", required_argument, NULL, THREADS},
                                             {"json", no_argument, NULL, JSON},
                                             {"help", no_argument, NULL, HELP},
                                             {0}};

static int parse_option(struct encode_options *o, int option) {
    switch (option) {
    case 'o': return o->out_path = optarg, DONE;
    case SIMILAR: return o->query = optarg, DONE;
    case TOP: return option_count("encode", "--top", optarg, 1, INT32_MAX, &o->top);
    case MAX_TOKENS: return option_count("encode", "--max-tokens", optarg, 2, INT32_MAX, &o->most_tokens);
    case THREADS: return option_count("encode", "--threads", optarg, 1, 1024, &o->n_threads);
    case JSON: return o->json = true, DONE;
    case HELP:
    default: return fputs(help, stdout), -1;
    }
}

int encode_parse(int argc, char **argv, struct encode_options *options) {
    enum { DEFAULT_TOP = 5 };
    *options = (struct encode_options){.top = DEFAULT_TOP};
    for (int option; (option = getopt_long(argc, argv, ":o:", long_options, NULL)) != -1;) {
        const bool wrong = option == '?' || option == ':';
        const int status = wrong ? option_misused("encode", option, argv) : parse_option(options, option);
        if (status != DONE)
            return status;
    }
    const int n = argc - optind;
    if (n < 1 || n > 2)
        return misuse("encode", "%d arguments, expected MODEL and perhaps LINES.txt", n);
    if (!options->out_path && !options->query)
        return misuse("encode", "neither --out nor --similar: what shall become of the vectors?");
    if (options->json && options->query)
        return misuse("encode", "--json goes with --out alone");
    options->folder = argv[optind];
    options->lines = n > 1 ? argv[optind + 1] : NULL;
    return DONE;
}
