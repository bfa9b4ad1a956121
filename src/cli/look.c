/* SPDX-License-Identifier: MIT */
#include "look.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char help[] =
    "usage: sa look DATA.safetensors --token WORD|NUMBER [OPTION...]\n"
    "\n"
    "Shows where the attention of one token goes: softmax(q k^T / sqrt(d)) of its row, word by word. Only the rows "
    "asked\n"
    "for are computed. The file holds tensors layerN.q, layerN.k, layerN.v of tokens, heads, d, and in its metadata "
    "the\n"
    "words of the tokens; with layerN.o, a model's own output, the engine's output is compared with it.\n"
    "\n"
    "Beside each key's weight a_j stand the length of its weighted value, |a_j v_j|, and how far the output o\n"
    "moves when the key is removed and the others share its weight: |o - o_without_j| = a_j |v_j - o| / (1 - a_j).\n"
    "Without a key that has all the weight there is no row.\n"
    "\n"
    "  --token WORD|NUMBER   the query token\n"
    "  --layer L  --head H   which head; without them all are searched for the one that points most to a\n"
    "                        word that is not a neighbour\n"
    "  --top N               print the N largest weights only (default: 32)\n"
    "  --png FILE, --svg FILE  draw the weights of a range of tokens\n"
    "  --range A,B           tokens A to B in the picture (default: all, or 48 around the token)\n"
    "  --causal              a token sees none behind itself\n"
    "  --help\n"
    "\n"
    "for all layers, as in sa run:\n\n" ATTENTION_SCORE_HELP ATTENTION_TOKEN_HELP;

enum { MOST_DRAWN = 200, DRAWN_AROUND = 24, DEFAULT_TOP = 32, N_FINDS = 5, NEIGHBOURS = 3 };

struct look_options {
    struct attention_options attention;
    const char *path, *token, *layer, *png, *svg;
    int64_t head, top, range[2];
    bool has_head, has_range, causal;
};

/* ---------------------------------------------------------------- searching all heads */

struct find {
    const char *prefix;
    int head;
    int64_t key;
    double weight;
};

/* Keeps the finds sorted, the largest weight first. */
static void add_find(struct find finds[N_FINDS], struct find find) {
    for (int i = 0; i < N_FINDS; i++)
        if (find.weight > finds[i].weight) {
            struct find smaller = finds[i];
            finds[i] = find;
            find = smaller;
        }
}

/* The largest weight of the row on a word that is not beside the token: many heads look at a fixed distance of one or
 * two tokens, whatever stands there. */
static bool best_of_head(const struct look_file *file, const struct look_layer *layer, int head, int64_t query,
                         double *weights, struct find *best) {
    *best = (struct find){layer->prefix, head, -1, 0};
    if (!look_weights(layer, head, query, weights, NULL))
        return false;
    for (int64_t j = 0; j < layer->k.shape[0]; j++)
        if (llabs(j - query) > NEIGHBOURS && weights[j] > best->weight && look_is_word(file, j))
            *best = (struct find){layer->prefix, head, j, weights[j]};
    return true;
}

static bool search_layer(struct look_file *file, const struct look_options *o, const char *prefix, int64_t query,
                         struct find finds[N_FINDS]) {
    struct look_layer layer;
    if (!look_read_layer(file, prefix, &layer))
        return false;
    if (query >= layer.q.shape[0])
        return complain("%s: %s has %s, no token %lld", o->path, prefix, shape_text(&layer.q), (long long)query);
    double *weights = malloc((size_t)layer.k.shape[0] * sizeof *weights);
    if (!weights)
        return complain("no memory for a row of weights");
    bool good = true;
    for (int head = 0; good && head < layer.q.shape[1]; head++) {
        struct find best;
        if (o->has_head && head != o->head)
            continue;
        good = best_of_head(file, &layer, head, query, weights, &best);
        if (good)
            add_find(finds, best);
    }
    free(weights);
    return good;
}

static bool search(struct look_file *file, const struct look_options *o, int64_t query, struct find *found) {
    struct find finds[N_FINDS] = {{0}};
    const char *only = o->layer ? look_prefix(file, o->layer) : NULL;
    for (int i = 0; i < file->n_prefixes; i++)
        if ((!only || only == file->prefixes[i]) && !search_layer(file, o, file->prefixes[i], query, finds))
            return false;
    if (!finds[0].prefix)
        return complain(
            "%s: no head gives a word further than %d tokens away any weight; name one by --layer and --head", o->path,
            NEIGHBOURS);
    printf("the heads in which \"%s\" gives a word further than %d tokens away most weight:\n", look_word(file, query),
           NEIGHBOURS);
    for (int i = 0; i < N_FINDS && finds[i].prefix; i++)
        printf("  %-8.*s head %2d  to %-14s %6.4f\n", (int)strlen(finds[i].prefix) - 2, finds[i].prefix, finds[i].head,
               look_word(file, finds[i].key), finds[i].weight);
    putchar('\n');
    *found = finds[0];
    return true;
}

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
    snprintf(title, sizeof title, "%.*s, head %d: where each token's attention goes", (int)strlen(layer->prefix) - 2,
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

static bool fill_row(const struct look_layer *layer, int head, int64_t query, struct look_row *row) {
    const int64_t kv_head = head / (layer->q.shape[1] / layer->v.shape[1]);
    return look_weights(layer, head, query, row->weights, &row->sink) &&
           (look_influence(&layer->v, kv_head, row) || complain("no memory for a row of values"));
}

static bool show_row(const struct look_file *file, const struct look_options *o, const struct look_layer *layer,
                     int head, int64_t query) {
    const int64_t n = layer->k.shape[0];
    double *numbers = malloc((size_t)n * 3 * sizeof *numbers);
    if (!numbers)
        return complain("no memory for a row of weights");
    struct look_row row = {.n = n, .weights = numbers, .lengths = numbers + n, .moves = numbers + 2 * n};
    const bool good = fill_row(layer, head, query, &row);
    if (good) {
        printf("%.*s, head %d: where the attention of \"%s\" (token %lld of %lld) goes\n",
               (int)strlen(layer->prefix) - 2, layer->prefix, head, look_word(file, query), (long long)query,
               (long long)n);
        look_print_row(file, &row, query, o->top);
    }
    free(numbers);
    return good;
}

/* The first layer says how many tokens there are; all of a text's layers have the same. */
static int64_t find_query(struct look_file *file, const struct look_options *o) {
    struct look_layer first;
    const char *prefix = o->layer ? look_prefix(file, o->layer) : file->prefixes[0];
    int n_more;
    if (!prefix || !look_read_layer(file, prefix, &first))
        return -1;
    int64_t query = look_find_token(file, o->token, first.q.shape[0], &n_more);
    if (query >= 0 && n_more)
        printf("\"%s\" stands %d more time%s; this is its first, token %lld\n", o->token, n_more,
               n_more == 1 ? "" : "s", (long long)query);
    return query;
}

static bool choose_head(struct look_file *file, const struct look_options *o, int64_t query, struct find *found) {
    if (!o->layer || !o->has_head)
        return search(file, o, query, found);
    *found = (struct find){.prefix = look_prefix(file, o->layer), .head = (int)o->head};
    return found->prefix;
}

static bool look(struct look_file *file, const struct look_options *o) {
    struct look_layer layer;
    struct find found = {0};
    int64_t query = find_query(file, o);
    if (query < 0 || !choose_head(file, o, query, &found) || !look_read_layer(file, found.prefix, &layer))
        return false;
    if (found.head >= layer.q.shape[1])
        return complain("%s: %.*s has %lld heads, no head %d", o->path, (int)strlen(found.prefix) - 2, found.prefix,
                        (long long)layer.q.shape[1], found.head);
    if (!show_row(file, o, &layer, found.head, query) || !compare_with_model(&layer) ||
        !draw(file, o, &layer, found.head, query))
        return false;
    printf("\nA high weight says where this head reads from, not why the model answers as it does: it is not an "
           "explanation.\n");
    return true;
}

/* ---------------------------------------------------------------- command line */

enum { TOKEN = 256, LAYER, HEAD, TOP, PNG, SVG, RANGE, CAUSAL, HELP };

static int parse_option(struct look_options *o, int option) {
    switch (option) {
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
    case CAUSAL: return o->causal = true, DONE;
    case HELP: return fputs(help, stdout), -1;
    default:
        return option >= ATTENTION_SOFTCAP ? attention_option("look", option, optarg, &o->attention)
                                           : misuse("look", "unknown option, or one without its value");
    }
}

static int parse(int argc, char **argv, struct look_options *o) {
    static const struct option options[] = {{"token", required_argument, NULL, TOKEN},
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
        int status = parse_option(o, option);
        if (status != DONE)
            return status;
    }
    if (argc - optind != 1)
        return misuse("look", "%d files, expected one .safetensors", argc - optind);
    if (!o->token)
        return misuse("look", "--token is missing: which one?");
    if (o->attention.n_prefix && !o->causal)
        return misuse("look", "--prefix lifts the limit of --causal, which is missing");
    o->path = argv[optind];
    return DONE;
}

int command_look(int argc, char **argv) {
    struct look_options options;
    struct look_file file;
    int status = parse(argc, argv, &options);
    if (status != DONE)
        return status == -1 ? DONE : status;
    bool good = look_open(options.path, options.causal, &options.attention, &file) && look(&file, &options);
    look_close(&file);
    return good ? DONE : FAILED;
}
