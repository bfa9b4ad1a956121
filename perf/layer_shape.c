/* SPDX-License-Identifier: MIT */
#include "layer_shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_values.h"

static bool complain(const char *where, const char *word, const char *problem) {
    fprintf(stderr, "%s: '%s': %s\n", where, word, problem);
    return false;
}

/* ---------------------------------------------------------------- words */

static bool parse_type(const char *text, int *type) { return bench_type_named(text, type) && *type <= SA_F16; }

/* One of the layer's own words? *good: and is its value one? */
static bool take_word(const char *word, struct layer_shape *shape, bool *good) {
    *good = true;
    if (strcmp(word, "rope") == 0)
        return shape->rope = true;
    if (strcmp(word, "pack") == 0)
        return shape->pack = true;
    if (strcmp(word, "referenced") == 0)
        return shape->referenced = true;
    if (strncmp(word, "model=", 6) == 0)
        return *good = bench_parse_int(word + 6, 1, 65536, &shape->d_model), true;
    if (strncmp(word, "weights=", 8) == 0)
        return *good = parse_type(word + 8, &shape->weight_type), true;
    return false;
}

/* Takes the layer's words out of a line, behind its name; `rest` has room for all of it. */
static bool take_words(char *line, char *rest, const char *where, struct layer_shape *shape) {
    char *next;
    bool good = true;
    *rest = 0;
    for (char *word = strtok_r(line, " \t\r\n", &next); good && word; word = strtok_r(NULL, " \t\r\n", &next)) {
        if (*rest && take_word(word, shape, &good)) {
            good = good || complain(where, word, "bad value");
            continue;
        }
        if (*rest)
            strcat(rest, " ");
        strcat(rest, word);
    }
    return good;
}

/* ---------------------------------------------------------------- one shape */

static const char *check(const struct layer_shape *shape) {
    static const struct bench_kinds none;
    const struct bench_shape *a = &shape->attention;
    if (memcmp(&a->kinds, &none, sizeof none) != 0 || a->parts || a->has_offset)
        return "kinds of attention beside windows, 'parts' and 'offset' are not for layers";
    for (int64_t i = 0; i < a->n_seqs; i++)
        if (a->seqs[i].n_q > a->seqs[i].n_k)
            return "more queries than keys: every token of x is a key";
    if (!shape->cached && (a->kv_type != a->q_type || a->page))
        return "kv_type and page are those of a cache: there is none unless nk is above nq";
    return NULL;
}

static void finish(struct layer_shape *shape) {
    struct bench_shape *a = &shape->attention;
    for (int64_t i = 0; i < a->n_seqs; i++)
        shape->cached = shape->cached || a->seqs[i].n_k > a->seqs[i].n_q;
    if (shape->d_model == 0)
        shape->d_model = a->heads * a->d_qk;
}

/* In between everything is SA_F32. */
static void set_types(struct layer_shape *shape) {
    struct bench_shape *a = &shape->attention;
    shape->x_type = a->q_type;
    shape->y_type = a->o_type;
    a->q_type = a->o_type = SA_F32;
    if (!shape->cached)
        a->kv_type = SA_F32;
}

static bool append(struct layer_shapes *shapes, const struct layer_shape *shape) {
    struct layer_shape *grown = realloc(shapes->at, ((size_t)shapes->n + 1) * sizeof *grown);
    if (!grown)
        return false;
    shapes->at = grown;
    shapes->at[shapes->n++] = *shape;
    return true;
}

static bool add(struct layer_shapes *shapes, char *line, char *rest, const char *where) {
    struct layer_shape shape = {.weight_type = SA_F32};
    struct bench_shapes one = {0};
    if (!take_words(line, rest, where, &shape) || !bench_shapes_add_line(&one, rest, where))
        return false;
    if (one.n == 0)
        return true;
    shape.attention = one.at[0];
    finish(&shape);
    const char *problem = check(&shape);
    bool good = !problem || complain(where, shape.attention.name, problem);
    set_types(&shape);
    if (good)
        good = append(shapes, &shape) || complain(where, shape.attention.name, "no memory");
    if (good)
        free(one.at); /* its sequences are kept */
    else
        bench_shapes_free(&one);
    return good;
}

bool layer_shapes_add_line(struct layer_shapes *shapes, const char *text, const char *where) {
    const size_t length = strcspn(text, "#\n");
    char *line = strndup(text, length), *rest = malloc(length + 2);
    const bool good = line && rest ? add(shapes, line, rest, where) : complain(where, "", "no memory");
    free(line);
    free(rest);
    return good;
}

static bool add_line(void *shapes, const char *line, const char *where) {
    return layer_shapes_add_line(shapes, line, where);
}

bool layer_shapes_add_file(struct layer_shapes *shapes, const char *path) {
    return bench_shapes_each_line(path, add_line, shapes);
}

void layer_shapes_free(struct layer_shapes *shapes) {
    for (int i = 0; i < shapes->n; i++)
        free(shapes->at[i].attention.seqs);
    free(shapes->at);
    *shapes = (struct layer_shapes){0};
}
