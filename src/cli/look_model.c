/* SPDX-License-Identifier: MIT */
/* q, k and v of all layers as a sentence encoder makes them of a text. */
#include "look_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "encoder.h"

enum { PREFIX_ROOM = 32, Q_K_V = 3 };

struct look_model {
    struct encoder encoder;
    const char *text;
    int32_t *ids; /* [n]: the word pieces of the text */
    int64_t n;
    float *qkv; /* of each layer q, k and v: [n, d_model] */
    char (*prefixes)[PREFIX_ROOM];
};

/* ---------------------------------------------------------------- the text */

/* The first and the last piece say that a text begins and ends. */
enum { FIRST_AND_LAST = 2 };

/* The pieces of a text, to be freed. NULL: no memory. */
static int32_t *pieces_of(const struct tokenizer *tokenizer, const char *text, size_t length, int64_t *n) {
    struct tokenizer_scratch scratch = {0};
    int32_t *ids = malloc((length + 2) * sizeof *ids); /* no piece has less than a byte */
    *n = ids ? tokenizer_line(tokenizer, &scratch, text, length, ids, (int64_t)length + 2) : -1;
    tokenizer_release(&scratch);
    if (*n >= 0)
        return ids;
    free(ids);
    complain("no memory for the word pieces of a text");
    return NULL;
}

static bool read_text(struct look_model *m, const char *text) {
    const int64_t most = m->encoder.config.most_tokens;
    m->text = text;
    m->ids = pieces_of(&m->encoder.tokenizer, text, strlen(text), &m->n);
    if (!m->ids)
        return false;
    if (m->n == FIRST_AND_LAST)
        return complain("--text has no word in it");
    return m->n <= most || complain("--text has %lld word pieces, the model takes %lld at most",
                                    (long long)m->n - FIRST_AND_LAST, (long long)most - FIRST_AND_LAST);
}

/* As JSON as those of files are. Pieces were found in a text without its control characters, so they have none. */
static bool name_words(const struct look_model *m, struct look_file *file) {
    const struct piece *pieces = m->encoder.tokenizer.vocabulary.pieces;
    file->words = json_array();
    for (int64_t i = 0; i < m->n; i++) {
        const struct piece *piece = &pieces[m->ids[i]];
        if (json_array_append_new(file->words, json_stringn(piece->bytes, (size_t)piece->length)) != 0)
            return complain("no memory for the words of a text");
    }
    return true;
}

/* ---------------------------------------------------------------- a word in it */

struct finds {
    int64_t first; /* -1: none */
    int n;
};

static void add_find(struct finds *finds, int64_t at) {
    finds->first = finds->n ? finds->first : at;
    finds->n++;
}

static void find_pieces(const struct look_model *m, const int32_t *ids, int64_t n, struct finds *finds) {
    for (int64_t i = 0; n > 0 && i + n <= m->n; i++)
        if (memcmp(m->ids + i, ids, (size_t)n * sizeof *ids) == 0)
            add_find(finds, i);
}

/* Are the pieces of these bytes alone those of the text from *at on? Moves *at behind them. */
static bool same_pieces(const struct look_model *m, const char *bytes, size_t length, int64_t *at) {
    int64_t n, begin = *at;
    int32_t *ids = pieces_of(&m->encoder.tokenizer, bytes, length, &n);
    *at += n - FIRST_AND_LAST;
    const bool same = ids && *at < m->n && memcmp(m->ids + begin, ids + 1, (size_t)(*at - begin) * sizeof *ids) == 0;
    free(ids);
    return same;
}

/* [UNK] may be any word. Which it is the bytes tell: where those of the word are words of their own in the text, the
 * text has the same pieces when it is cut before and behind them. */
static void find_bytes(const struct look_model *m, const char *word, struct finds *finds) {
    const size_t length = strlen(word);
    for (const char *c = m->text; (c = strstr(c, word)); c++) {
        int64_t at = 1, begin;
        bool whole = same_pieces(m, m->text, (size_t)(c - m->text), &at);
        begin = at;
        whole = whole && same_pieces(m, c, length, &at) && same_pieces(m, c + length, strlen(c + length), &at);
        if (whole && at == m->n - 1)
            add_find(finds, begin);
    }
}

static bool has_unknown(const struct look_model *m, const int32_t *ids, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (ids[i] == m->encoder.tokenizer.special[UNK])
            return true;
    return false;
}

int64_t look_model_find(const struct look_model *model, const char *text, int *n_more) {
    struct finds finds = {-1, 0};
    int64_t n;
    int32_t *ids = pieces_of(&model->encoder.tokenizer, text, strlen(text), &n);
    if (ids && has_unknown(model, ids, n))
        find_bytes(model, text, &finds);
    else if (ids)
        find_pieces(model, ids + 1, n - FIRST_AND_LAST, &finds);
    free(ids);
    *n_more = finds.n ? finds.n - 1 : 0;
    return finds.first;
}

/* ---------------------------------------------------------------- the model */

static int64_t size_of(const struct look_model *m) { return m->n * m->encoder.config.d_model; }

static void point_to(const struct look_model *m, int64_t layer, float *qkv[Q_K_V]) {
    for (int t = 0; t < Q_K_V; t++)
        qkv[t] = m->qkv + (layer * Q_K_V + t) * size_of(m);
}

static bool pass_through(const struct look_model *m, sa_engine *engine, struct encoder_scratch *scratch,
                         struct fault *fault) {
    const struct encoder_batch batch = {1, m->n, &m->n, m->ids};
    float *qkv[Q_K_V];
    bool good = encoder_embed(&m->encoder, scratch, &batch, fault);
    for (int64_t i = 0; good && i < m->encoder.config.n_layers; i++) {
        const struct encoder_layer *layer = &m->encoder.layers[i];
        point_to(m, i, qkv);
        encoder_project(&m->encoder, layer, scratch->x, m->n, qkv);
        good = encoder_step(&m->encoder, layer, engine, scratch, &batch, fault);
    }
    return good;
}

static bool run(struct look_model *m) {
    const sa_engine_options options = {.struct_size = sizeof options, .n_threads = 1};
    struct encoder_scratch scratch = {0};
    struct fault fault;
    sa_engine *engine;
    m->qkv = malloc((size_t)(m->encoder.config.n_layers * Q_K_V * size_of(m)) * sizeof *m->qkv);
    if (!m->qkv)
        return complain("no memory for q, k and v of all layers");
    if (sa_engine_create(&options, &engine) != SA_OK)
        return complain("%s", sa_last_reason());
    const bool good = pass_through(m, engine, &scratch, &fault) || complain("%s", fault.text);
    encoder_release(&scratch);
    sa_engine_destroy(engine);
    return good;
}

static bool name_layers(struct look_model *m, struct look_file *file) {
    const int64_t n = m->encoder.config.n_layers;
    m->prefixes = calloc((size_t)n, sizeof *m->prefixes);
    file->prefixes = calloc((size_t)n, sizeof *file->prefixes);
    if (!m->prefixes || !file->prefixes)
        return complain("no memory for the names of layers");
    for (; file->n_prefixes < n; file->n_prefixes++) {
        char *prefix = m->prefixes[file->n_prefixes];
        snprintf(prefix, PREFIX_ROOM, "layer%d.q", file->n_prefixes);
        file->prefixes[file->n_prefixes] = prefix;
    }
    return true;
}

bool look_model_open(const char *folder, const char *text, struct look_file *file) {
    struct look_model *m = file->model = calloc(1, sizeof *m);
    struct fault fault;
    if (!m)
        return complain("no memory for a model");
    if (!encoder_open(&m->encoder, folder, &fault))
        return complain("%s", fault.text);
    return read_text(m, text) && name_words(m, file) && name_layers(m, file) && run(m);
}

void look_model_close(struct look_model *model) {
    if (!model)
        return;
    encoder_close(&model->encoder);
    free(model->ids);
    free(model->qkv);
    free(model->prefixes);
    free(model);
}

bool look_model_array(const struct look_model *model, const char *prefix, char letter, struct array *array) {
    static const char letters[] = "qkv";
    const struct encoder_config *c = &model->encoder.config;
    const char *at = strchr(letters, letter);
    float *qkv[Q_K_V];
    int64_t layer = 0;
    if (!at)
        return false;
    while (model->prefixes[layer] != prefix)
        layer++;
    point_to(model, layer, qkv);
    *array = (struct array){.name = prefix,
                            .rank = 3,
                            .shape = {model->n, c->n_heads, c->d_model / c->n_heads},
                            .type = SA_F32,
                            .data = qkv[at - letters]};
    return true;
}
