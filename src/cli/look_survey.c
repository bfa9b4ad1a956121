/* SPDX-License-Identifier: MIT */
/* One token's row in all heads. */
#include <stdlib.h>

#include "cli.h"
#include "look.h"

/* ---------------------------------------------------------------- a cell */

static double weight_of(const struct look_row *row, int64_t key) { return key < 0 ? 0 : row->weights[key]; }

/* Many heads look at a fixed distance of one or two tokens, whatever stands there: those are left out. */
static int64_t far_word(const struct look_file *file, const struct look_row *row, int64_t query) {
    int64_t far = -1;
    for (int64_t j = 0; j < row->n; j++)
        if (llabs(j - query) > LOOK_NEIGHBOURS && row->weights[j] > weight_of(row, far) && look_is_word(file, j))
            far = j;
    return far;
}

static void fill_cell(const struct look_file *file, const struct look_row *row, int64_t query, struct look_cell *cell) {
    cell->heaviest = look_heaviest(row);
    cell->most = look_most_influential(row);
    cell->far = far_word(file, row, query);
    cell->weights[LOOK_HEAVIEST] = weight_of(row, cell->heaviest);
    cell->weights[LOOK_MOST] = weight_of(row, cell->most);
    cell->weights[LOOK_FAR] = weight_of(row, cell->far);
    if (cell->most != cell->heaviest && row->length > 0)
        cell->gap = (row->moves[cell->most] - row->moves[cell->heaviest]) / row->length;
}

/* ---------------------------------------------------------------- all of them */

/* Products of numbers in all rows of the layers, up to which all are computed: a second or two. */
#define MOST_PRODUCTS 1e8

static double products(const struct look_file *file, const struct look_layer *l) {
    return (double)file->n_prefixes * (double)l->q.shape[0] * (double)l->q.shape[1] * (double)l->k.shape[0] *
           (double)(l->q.shape[2] + l->v.shape[2]);
}

static bool take_row(const struct look_file *file, const struct look_layer *layer, int64_t i, struct look_cell *cell,
                     struct look_survey *survey) {
    struct look_row row;
    const bool good = look_read_row(layer, cell->head, i, &row);
    if (good) {
        survey->n_rows++;
        survey->n_other += look_heaviest(&row) != look_most_influential(&row);
        if (i == survey->query)
            fill_cell(file, &row, i, cell);
    }
    look_free_row(&row);
    return good;
}

static bool take_head(const struct look_file *file, const struct look_layer *layer, struct look_cell *cell,
                      struct look_survey *survey) {
    const bool all = products(file, layer) <= MOST_PRODUCTS;
    const int64_t begin = all ? 0 : survey->query, end = all ? layer->q.shape[0] : survey->query + 1;
    survey->some_only |= !all;
    for (int64_t i = begin; i < end; i++)
        if (!take_row(file, layer, i, cell, survey))
            return false;
    return true;
}

static struct look_cell *add_cell(struct look_survey *survey) {
    struct look_cell *more = realloc(survey->cells, (size_t)(survey->n + 1) * sizeof *more);
    if (!more)
        return complain("no memory for what the heads do"), NULL;
    survey->cells = more;
    return &more[survey->n++];
}

static bool take_layer(struct look_file *file, int number, int only_head, struct look_survey *survey) {
    const char *prefix = file->prefixes[number];
    struct look_layer layer;
    if (!look_read_layer(file, prefix, &layer))
        return false;
    if (survey->query >= layer.q.shape[0])
        return complain("%s: %s has %s, no token %lld", file->path, prefix, shape_text(&layer.q),
                        (long long)survey->query);
    const int n_heads = (int)layer.q.shape[1];
    survey->n_heads = n_heads > survey->n_heads ? n_heads : survey->n_heads;
    for (int head = 0; head < n_heads; head++) {
        if (only_head >= 0 && head != only_head)
            continue;
        struct look_cell *cell = add_cell(survey);
        if (!cell)
            return false;
        *cell = (struct look_cell){.prefix = prefix, .layer = number, .head = head};
        if (!take_head(file, &layer, cell, survey))
            return false;
    }
    return true;
}

bool look_survey(struct look_file *file, const char *only, int head, int64_t query, struct look_survey *survey) {
    *survey = (struct look_survey){.query = query};
    for (int i = 0; i < file->n_prefixes; i++)
        if ((!only || only == file->prefixes[i]) && !take_layer(file, i, head, survey))
            return false;
    return survey->n > 0 || complain("%s: its layers have %d heads, no head %d", file->path, survey->n_heads, head);
}

void look_free_survey(struct look_survey *survey) { free(survey->cells); }
