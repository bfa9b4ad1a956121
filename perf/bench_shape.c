/* SPDX-License-Identifier: MIT */
#include "bench_shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_lengths.h"

/* ---------------------------------------------------------------- one line */

/* A line as it was written, before its parts are put together. 0: not given. */
struct draft {
    int64_t heads, kv, d, dv, n_q, n_k, batch, sink, page;
    int type, kv_type, o_type; /* 1 + sa_type */
    struct bench_lengths lens, q_lens;
};

static bool complain(const char *where, const char *word, const char *problem) {
    fprintf(stderr, "%s: '%s': %s\n", where, word, problem);
    return false;
}

static bool parse_number(const char *text, int64_t low, int64_t high, int64_t *value) {
    char *end;
    long long x = strtoll(text, &end, 10);
    *value = x;
    return end != text && *end == 0 && x >= low && x <= high;
}

static bool parse_window(const char *text, struct bench_shape *shape) {
    char left[24], *comma = memccpy(left, text, ',', sizeof left);
    if (!comma)
        return false;
    comma[-1] = 0;
    shape->windowed = true;
    return parse_number(left, -1, INT32_MAX, &shape->left) &&
           parse_number(text + (comma - left), -1, INT32_MAX, &shape->right);
}

static bool parse_layout(const char *text, struct bench_shape *shape) {
    shape->token_major = strcmp(text, "bshd") == 0;
    return shape->token_major || strcmp(text, "bhsd") == 0;
}

/* Int8 is for k and v. */
static bool parse_type(const char *text, int last, int *given) {
    int type;
    const bool good = bench_type_named(text, &type) && type <= last;
    *given = good ? 1 + type : 0;
    return good;
}

static bool parse_types(const char *key, const char *value, struct draft *draft, bool *known) {
    *known = true;
    if (strcmp(key, "type") == 0)
        return parse_type(value, SA_F16, &draft->type);
    if (strcmp(key, "kv_type") == 0)
        return parse_type(value, SA_I8, &draft->kv_type);
    if (strcmp(key, "o_type") == 0)
        return parse_type(value, SA_F16, &draft->o_type);
    return *known = false;
}

static bool parse_plain(const char *key, const char *value, struct draft *draft, bool *known) {
    const struct {
        const char *key;
        int64_t low, high, *to;
    } keys[] = {
        {"heads", 1, 65536, &draft->heads},   {"kv", 1, 65536, &draft->kv},         {"d", 1, 576, &draft->d},
        {"dv", 1, 576, &draft->dv},           {"nq", 1, INT32_MAX, &draft->n_q},    {"nk", 1, INT32_MAX, &draft->n_k},
        {"batch", 1, 1 << 20, &draft->batch}, {"sink", 0, INT32_MAX, &draft->sink}, {"page", 1, 65536, &draft->page},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if ((*known = strcmp(key, keys[i].key) == 0))
            return parse_number(value, keys[i].low, keys[i].high, keys[i].to);
    return false;
}

static bool parse_word(char *word, const char *where, struct draft *draft, struct bench_shape *shape) {
    if (strcmp(word, "causal") == 0)
        return shape->causal = true;
    if (strcmp(word, "warm") == 0)
        return shape->warm = true;
    if (strcmp(word, "parts") == 0)
        return shape->parts = true;
    if (strcmp(word, "f16_pairs") == 0)
        return shape->f16_pairs = true;
    char *equals = strchr(word, '=');
    bool known;
    if (!equals && bench_kinds_parse(word, NULL, &shape->kinds, &known))
        return true;
    if (!equals)
        return complain(where, word,
                        "expected key=value, 'causal', 'warm', 'parts', 'f16_pairs', 'alibi', 'sinks' or "
                        "'positions'");
    *equals = 0;
    const char *value = equals + 1;
    bool good = parse_plain(word, value, draft, &known);
    if (!known)
        good = parse_types(word, value, draft, &known);
    if (!known && (known = strcmp(word, "window") == 0))
        good = parse_window(value, shape);
    if (!known && (known = strcmp(word, "layout") == 0))
        good = parse_layout(value, shape);
    if (!known && (known = strcmp(word, "offset") == 0))
        good = shape->has_offset = parse_number(value, -INT32_MAX, INT32_MAX, &shape->offset);
    if (!known && (known = strcmp(word, "lens") == 0))
        good = bench_lengths_parse(&draft->lens, value);
    if (!known && (known = strcmp(word, "qlens") == 0))
        good = bench_lengths_parse(&draft->q_lens, value);
    if (!known)
        good = bench_kinds_parse(word, value, &shape->kinds, &known);
    *equals = '=';
    return good || complain(where, word, known ? "bad value" : "unknown key");
}

/* ---------------------------------------------------------------- putting it together */

static int64_t or_else(int64_t value, int64_t otherwise) { return value ? value : otherwise; }

static const char *check_draft(const struct draft *draft) {
    if (!draft->d)
        return "d is missing";
    if (!draft->lens.n && !draft->n_q && !draft->n_k)
        return "no lengths: nq, nk or lens is missing";
    if (draft->lens.n && draft->n_k)
        return "lens and nk exclude each other";
    if (draft->q_lens.n && (draft->n_q || draft->q_lens.n != draft->lens.n))
        return "qlens needs as many lens, and no nq";
    if (or_else(draft->heads, 1) % or_else(draft->kv, or_else(draft->heads, 1)) != 0)
        return "heads must be a multiple of kv";
    return NULL;
}

static struct bench_seq draft_seq(const struct draft *draft, int64_t i) {
    const int64_t n_k = draft->lens.n ? draft->lens.at[i] : or_else(draft->n_k, draft->n_q);
    const int64_t n_q = draft->q_lens.n ? draft->q_lens.at[i] : or_else(draft->n_q, n_k);
    return (struct bench_seq){n_q, n_k};
}

static bool finish_shape(const struct draft *draft, struct bench_shape *shape) {
    const int64_t n_lens = or_else(draft->lens.n, 1);
    shape->heads = (int)or_else(draft->heads, 1);
    shape->kv_heads = (int)or_else(draft->kv, shape->heads);
    shape->d_qk = (int)draft->d;
    shape->d_v = (int)or_else(draft->dv, draft->d);
    shape->sink = draft->sink;
    shape->page = draft->page;
    shape->q_type = draft->type ? draft->type - 1 : SA_F32;
    shape->kv_type = draft->kv_type ? draft->kv_type - 1 : shape->q_type;
    shape->o_type = draft->o_type ? draft->o_type - 1 : shape->q_type;
    shape->n_seqs = n_lens * or_else(draft->batch, 1);
    shape->seqs = calloc((size_t)shape->n_seqs, sizeof *shape->seqs);
    for (int64_t i = 0; shape->seqs && i < shape->n_seqs; i++)
        shape->seqs[i] = draft_seq(draft, i % n_lens);
    return shape->seqs != NULL;
}

int64_t bench_shape_first_decode(const struct bench_shape *shape) {
    int64_t first = 0;
    while (first < shape->n_seqs && shape->seqs[first].n_q > 1)
        first++;
    for (int64_t i = first; i < shape->n_seqs; i++)
        if (shape->seqs[i].n_q > 1)
            return shape->n_seqs;
    return first == 0 ? shape->n_seqs : first;
}

static bool append(struct bench_shapes *shapes, const struct bench_shape *shape) {
    struct bench_shape *grown = realloc(shapes->at, ((size_t)shapes->n + 1) * sizeof *grown);
    if (!grown)
        return false;
    shapes->at = grown;
    shapes->at[shapes->n++] = *shape;
    return true;
}

static bool parse_words(char *line, const char *where, struct draft *draft, struct bench_shape *shape) {
    char *rest, *name = strtok_r(line, " \t\r\n", &rest);
    if (strpbrk(name, "=,\"\\") || strlen(name) >= sizeof shape->name)
        return complain(where, name, "a shape begins with its name, of at most 39 characters and without = , \" \\");
    memcpy(shape->name, name, strlen(name) + 1);
    for (char *word; (word = strtok_r(NULL, " \t\r\n", &rest));)
        if (!parse_word(word, where, draft, shape))
            return false;
    const char *problem = check_draft(draft);
    return !problem || complain(where, name, problem);
}

static bool add_words(struct bench_shapes *shapes, char *line, const char *where, struct draft *draft,
                      struct bench_shape *shape) {
    if (!parse_words(line, where, draft, shape))
        return false;
    if (!finish_shape(draft, shape))
        return complain(where, shape->name, "no memory");
    if (shape->parts && bench_shape_first_decode(shape) == shape->n_seqs)
        return complain(where, shape->name, "parts needs prefills and then sequences of one query");
    return append(shapes, shape) || complain(where, shape->name, "no memory");
}

static bool is_blank(const char *text) { return strspn(text, " \t\r") >= strcspn(text, "#\n"); }

bool bench_shapes_add_line(struct bench_shapes *shapes, const char *text, const char *where) {
    struct draft draft = {0};
    struct bench_shape shape = {.left = -1, .right = -1};
    if (is_blank(text))
        return true;
    char *line = strndup(text, strcspn(text, "#\n"));
    const bool good = line && add_words(shapes, line, where, &draft, &shape);
    if (!good)
        free(shape.seqs);
    bench_lengths_free(&draft.lens);
    bench_lengths_free(&draft.q_lens);
    free(line);
    return good;
}

/* ---------------------------------------------------------------- files */

const char *bench_shapes_directory;

static FILE *open_file(const char *path) {
    FILE *file = fopen(path, "r");
    if (file || strchr(path, '/') || !bench_shapes_directory)
        return file;
    char known[4096];
    snprintf(known, sizeof known, "%s/%s", bench_shapes_directory, path);
    return fopen(known, "r");
}

bool bench_shapes_each_line(const char *path, bool (*visit)(void *context, const char *line, const char *where),
                            void *context) {
    FILE *file = open_file(path);
    if (!file)
        return perror(path), false;
    char *line = NULL;
    size_t capacity = 0;
    bool good = true, any = false;
    for (int number = 1; good && getline(&line, &capacity, file) >= 0; number++) {
        char where[4096];
        snprintf(where, sizeof where, "%s:%d", path, number);
        good = visit(context, line, where);
        any = any || !is_blank(line);
    }
    if (good && ferror(file))
        good = (perror(path), false);
    if (good && !any)
        good = (fprintf(stderr, "%s: no shape in it\n", path), false);
    free(line);
    fclose(file);
    return good;
}

static bool add_line(void *shapes, const char *line, const char *where) {
    return bench_shapes_add_line(shapes, line, where);
}

bool bench_shapes_add_file(struct bench_shapes *shapes, const char *path) {
    return bench_shapes_each_line(path, add_line, shapes);
}

void bench_shapes_free(struct bench_shapes *shapes) {
    for (int i = 0; i < shapes->n; i++)
        free(shapes->at[i].seqs);
    free(shapes->at);
    *shapes = (struct bench_shapes){0};
}
