/* SPDX-License-Identifier: MIT */
#include "look.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "options.h"

static const char help[] =
    "usage: sa look MODEL --text \"SENTENCE\" [OPTION...]\n"
    "       sa look DATA.safetensors [OPTION...]\n"
    "\n"
    "Shows where the attention of one token goes: softmax(q k^T / sqrt(d)) of its row, word by word. MODEL is a folder "
    "of\n"
    "a BERT-style encoder as for sa encode, which reads the sentence. A file holds tensors layerN.q, layerN.k, "
    "layerN.v\n"
    "of tokens, heads, d, and in its metadata the words of the tokens; with layerN.o, a model's own output, the "
    "engine's\n"
    "output is compared with it.\n"
    "\n"
    "Beside each key's weight a_j stand the length of its weighted value, |a_j v_j|, and how far the output o\n"
    "moves when the key is removed and the others share its weight: |o - o_without_j| = a_j |v_j - o| / (1 - a_j).\n"
    "Without a key that has all the weight there is no row.\n"
    "\n"
    "  --text SENTENCE       what the model reads\n"
    "  --token WORD|NUMBER   the query token (default: the last word)\n"
    "  --layer L  --head H   the row of a head; without them, or with one of them, an overview of all heads:\n"
    "                        their keys with the largest weight, and those without which their output moves most\n"
    "  --top N               print the N largest weights of a row only (default: 32)\n"
    "  --png FILE, --svg FILE  draw the weights of a range of tokens; without --layer and --head in the head that\n"
    "                        points most to a word that is not a neighbour\n"
    "  --range A,B           tokens A to B in the picture (default: all, or 48 around the token)\n"
    "  --help\n"
    "\n"
    "for tensors in a file, in all layers, as in sa run:\n\n"
    "      --causal           a token sees none behind itself\n" ATTENTION_SCORE_HELP ATTENTION_TOKEN_HELP;

enum { MOST_DRAWN = 200, DRAWN_AROUND = 24, DEFAULT_TOP = 32 };

struct look_options {
    struct attention_options attention;
    const char *path, *text, *token, *layer, *png, *svg;
    int64_t head, top, range[2];
    bool has_head, has_range, causal, has_rule; /* has_rule: one of those for tensors in a file */
};

/* ---------------------------------------------------------------- against the model's own output */

static double largest_difference(const float *a, const struct array *b) {
    double largest = 0;
    for (int64_t i = 0; i < array_elements(b); i++)
        largest = fmax(largest, fabs((double)a[i] - array_element(b, i)));
    return largest;
}

static bool attend(const struct look_layer *l, float *o) {
    sa_sequence seq = l->seq;
    sa_batch batch = l->batch;
    sa_engine *engine;
    seq.o.data = o;
    batch.sequences = &seq;
    bool good = sa_engine_create(NULL, &engine) == SA_OK;
    good = good && sa_batch_forward(engine, &batch) == SA_OK;
    if (!good)
        complain("%s", sa_last_reason());
    sa_engine_destroy(engine);
    return good;
}

static bool compare_with_model(const struct look_layer *layer) {
    if (!layer->o.data)
        return true;
    int64_t n = array_elements(&layer->o);
    float *o = malloc((size_t)n * sizeof *o);
    if (!o)
        return complain("no memory for the output");
    bool good = attend(layer, o);
    if (good)
        printf("\nthe engine's output of all %lld heads against the model's own: largest difference %.2g\n",
               (long long)layer->q.shape[1], largest_difference(o, &layer->o));
    free(o);
    return good;
}

/* ---------------------------------------------------------------- the picture */

static bool choose_range(const struct look_options *o, int64_t n, int64_t query, struct heatmap *map) {
    map->begin = n <= 2 * DRAWN_AROUND || query < DRAWN_AROUND ? 0 : query - DRAWN_AROUND;
    map->end = n <= 2 * DRAWN_AROUND ? n : map->begin + 2 * DRAWN_AROUND < n ? map->begin + 2 * DRAWN_AROUND : n;
    if (!o->has_range)
        return true;
    map->begin = o->range[0];
    map->end = o->range[1] + 1;
    if (map->begin < map->end && map->end <= n && map->end - map->begin <= MOST_DRAWN)
        return true;
    return complain("--range is %lld,%lld, expected A,B with 0 <= A <= B < %lld and at most %d tokens",
                    (long long)o->range[0], (long long)o->range[1], (long long)n, MOST_DRAWN);
}

static bool write_pictures(const struct look_options *o, const struct heatmap *map) {
    if (o->png && !heatmap_write_png(map, o->png))
        return false;
    if (o->svg && !heatmap_write_svg(map, o->svg))
        return false;
    printf("wrote %s%s%s\n", o->png ? o->png : "", o->png && o->svg ? ", " : "", o->svg ? o->svg : "");
    return true;
}

static bool draw(const struct look_file *file, const struct look_options *o, const struct look_layer *layer, int head,
                 int64_t query) {
    char title[160];
    struct heatmap map = {.title = title, .file = file, .n = layer->k.shape[0], .query = query};
    if (!o->png && !o->svg)
        return true;
    if (layer->q.shape[0] != map.n)
        return complain("a picture needs as many queries as keys");
    if (!choose_range(o, map.n, query, &map))
        return false;
    snprintf(title, sizeof title, "%.*s, head %d: where each token's attention goes", look_name_length(layer->prefix),
             layer->prefix, head);
    double *weights = malloc((size_t)(map.end - map.begin) * (size_t)map.n * sizeof *weights);
    if (!weights)
        return complain("no memory for the weights of the picture");
    bool good = true;
    for (int64_t i = map.begin; good && i < map.end; i++)
        good = look_weights(layer, head, i, weights + (i - map.begin) * map.n, NULL);
    map.weights = weights;
    good = good && write_pictures(o, &map);
    free(weights);
    return good;
}

/* ---------------------------------------------------------------- the row */

static bool show_row(const struct look_file *file, const struct look_options *o, const struct look_layer *layer,
                     int head, int64_t query) {
    struct look_row row;
    const bool good = look_read_row(layer, head, query, &row);
    if (good) {
        printf("%.*s, head %d: where the attention of \"%s\" (token %lld of %lld) goes\n",
               look_name_length(layer->prefix), layer->prefix, head, look_word(file, query), (long long)query,
               (long long)row.n);
        look_print_row(file, &row, query, o->top);
    }
    look_free_row(&row);
    return good;
}

static bool show_head(struct look_file *file, const struct look_options *o, const char *prefix, int head,
                      int64_t query) {
    struct look_layer layer;
    if (!look_read_layer(file, prefix, &layer))
        return false;
    if (head >= layer.q.shape[1])
        return complain("%s: %.*s has %lld heads, no head %d", o->path, look_name_length(prefix), prefix,
                        (long long)layer.q.shape[1], head);
    return show_row(file, o, &layer, head, query) && compare_with_model(&layer) && draw(file, o, &layer, head, query);
}

/* ---------------------------------------------------------------- all heads */

static bool show_found(struct look_file *file, const struct look_options *o, const struct look_cell *find,
                       int64_t query) {
    if (!find)
        return complain("%s: no head gives a word further than %d tokens away any weight; name one for the picture by "
                        "--layer and --head",
                        o->path, LOOK_NEIGHBOURS);
    return show_head(file, o, find->prefix, find->head, query);
}

static bool show_overview(struct look_file *file, const struct look_options *o, int64_t query) {
    const char *only = o->layer ? look_prefix(file, o->layer) : NULL;
    struct look_survey survey = {0};
    if (o->layer && !only)
        return false;
    bool good = look_survey(file, only, o->has_head ? (int)o->head : -1, query, &survey);
    if (good) {
        look_print_survey(file, &survey);
        const struct look_cell *find = look_print_finds(file, &survey);
        if (o->png || o->svg)
            good = show_found(file, o, find, query);
        else
            look_print_hints(file, &survey, find);
    }
    look_free_survey(&survey);
    return good;
}

/* ---------------------------------------------------------------- all of it */

/* The first layer says how many tokens there are; all of a text's layers have the same. */
static int64_t find_query(struct look_file *file, const struct look_options *o) {
    struct look_layer first;
    const char *prefix = o->layer ? look_prefix(file, o->layer) : file->prefixes[0];
    int n_more;
    if (!prefix || !look_read_layer(file, prefix, &first))
        return -1;
    if (!o->token) {
        const int64_t last = look_last_word(file, first.q.shape[0]);
        printf("no --token: the last word, \"%s\"\n", look_word(file, last));
        return last;
    }
    const int64_t query = look_find_token(file, o->token, first.q.shape[0], &n_more);
    if (query >= 0 && n_more)
        printf("\"%s\" stands %d more time%s; this is its first, token %lld\n", o->token, n_more,
               n_more == 1 ? "" : "s", (long long)query);
    return query;
}

static bool look(struct look_file *file, const struct look_options *o) {
    const int64_t query = find_query(file, o);
    if (query < 0)
        return false;
    if (o->layer && o->has_head) {
        const char *prefix = look_prefix(file, o->layer);
        if (!prefix || !show_head(file, o, prefix, (int)o->head, query))
            return false;
    } else if (!show_overview(file, o, query))
        return false;
    printf("\nA high weight says where this head reads from, not why the model answers as it does: it is not an "
           "explanation.\n");
    return true;
}

/* ---------------------------------------------------------------- command line */

enum { TEXT = 256, TOKEN, LAYER, HEAD, TOP, PNG, SVG, RANGE, CAUSAL, HELP };

static int parse_option(struct look_options *o, int option) {
    switch (option) {
    case TEXT: return o->text = optarg, DONE;
    case TOKEN: return o->token = optarg, DONE;
    case LAYER: return o->layer = optarg, DONE;
    case HEAD:
        o->has_head = true;
        return parse_integer(optarg, 0, 1 << 20, &o->head)
                   ? DONE
                   : misuse("look", "--head is '%s', expected a number", optarg);
    case TOP:
        return parse_integer(optarg, 1, INT64_MAX, &o->top)
                   ? DONE
                   : misuse("look", "--top is '%s', expected 1 or more", optarg);
    case PNG: return o->png = optarg, DONE;
    case SVG: return o->svg = optarg, DONE;
    case RANGE:
        o->has_range = true;
        return parse_integers(optarg, 0, INT32_MAX, o->range, 2) == 2
                   ? DONE
                   : misuse("look", "--range is '%s', expected A,B", optarg);
    case CAUSAL: return o->causal = o->has_rule = true, DONE;
    case HELP: return fputs(help, stdout), -1;
    default: o->has_rule = true; return attention_option("look", option, optarg, &o->attention);
    }
}

/* A folder is that of a model. */
static int check_source(const struct look_options *o) {
    struct stat found;
    const bool there = stat(o->path, &found) == 0, folder = there && S_ISDIR(found.st_mode);
    if (folder && !o->text)
        return misuse("look", "%s is a folder, and --text is missing: what shall the model read?", o->path);
    if (there && !folder && o->text)
        return misuse("look", "--text is for a model, but %s is no folder", o->path);
    if (o->text && o->has_rule)
        return misuse("look", "--causal and the options after it are for tensors in a file; a model has its own rules");
    return DONE;
}

static int parse(int argc, char **argv, struct look_options *o) {
    static const struct option options[] = {{"text", required_argument, NULL, TEXT},
                                            {"token", required_argument, NULL, TOKEN},
                                            {"layer", required_argument, NULL, LAYER},
                                            {"head", required_argument, NULL, HEAD},
                                            {"top", required_argument, NULL, TOP},
                                            {"png", required_argument, NULL, PNG},
                                            {"svg", required_argument, NULL, SVG},
                                            {"range", required_argument, NULL, RANGE},
                                            {"causal", no_argument, NULL, CAUSAL},
                                            ATTENTION_SCORE_OPTIONS,
                                            ATTENTION_TOKEN_OPTIONS,
                                            {"help", no_argument, NULL, HELP},
                                            {0}};
    *o = (struct look_options){.top = DEFAULT_TOP};
    for (int option; (option = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        const bool wrong = option == '?' || option == ':';
        int status = wrong ? option_misused("look", option, argv) : parse_option(o, option);
        if (status != DONE)
            return status;
    }
    if (argc - optind != 1)
        return misuse("look", "%d arguments, expected the folder of a model or one .safetensors", argc - optind);
    if (o->attention.n_prefix && !o->causal)
        return misuse("look", "--prefix lifts the limit of --causal, which is missing");
    o->path = argv[optind];
    return check_source(o);
}

int command_look(int argc, char **argv) {
    struct look_options options;
    struct look_file file;
    int status = parse(argc, argv, &options);
    if (status != DONE)
        return status == -1 ? DONE : status;
    bool good =
        look_open(options.path, options.text, options.causal, &options.attention, &file) && look(&file, &options);
    look_close(&file);
    return good ? DONE : FAILED;
}
