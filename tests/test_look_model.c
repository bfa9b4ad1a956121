/* SPDX-License-Identifier: MIT */
/* What `sa look` finds in a model: the rows of all heads and layers against the whole model in float64, with the pieces
 * that transformers' tokenizer made of the text; which token is meant. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bert.h"
#include "inside.h"
#include "look.h"

#define MODEL TEST_DATA "/tiny_bert"

enum { LAYERS = 2, HEADS = 4, D = 10, LONGEST = 24, LINE_ROOM = 4096, N_LINES = 38 };

static const struct attention_options plain;

static void open_text(const char *text, struct look_file *file) {
    ck_assert_msg(look_open(MODEL, text, false, &plain, file), "%s", text);
    ck_assert_int_eq(file->n_prefixes, LAYERS);
}

/* ---------------------------------------------------------------- rows */

static struct safetensors tensors;

static struct bert_run expected(const int32_t *ids, int n) {
    const struct bert bert = {&tensors, HEADS * D, 72, LAYERS, HEADS, 1e-12};
    return bert_run(&bert, ids, n);
}

/* 2 layers of floats against float64: measured 3e-7 and 1.2e-6. */
static const double weight_bound = 2e-6, move_bound = 1e-5;

static void check_row(const struct look_layer *layer, int head, int64_t query, const double *weights,
                      const double *moves) {
    struct look_row row;
    ck_assert(look_read_row(layer, head, query, &row));
    for (int64_t j = 0; j < row.n; j++) {
        must(fabs(row.weights[j] - weights[j]) < weight_bound, "%s, head %d, row %d, key %d: weight %g, expected %g",
             layer->prefix, head, (int)query, (int)j, row.weights[j], weights[j]);
        must(fabs(row.moves[j] - moves[j]) < move_bound, "%s, head %d, row %d, key %d: moves o by %g, expected %g",
             layer->prefix, head, (int)query, (int)j, row.moves[j], moves[j]);
    }
    look_free_row(&row);
}

static void check_text(const char *text, const int32_t *ids, int n) {
    struct look_file file;
    struct look_layer layer;
    struct bert_run run = expected(ids, n);
    open_text(text, &file);
    for (int l = 0; l < LAYERS; l++) {
        ck_assert(look_read_layer(&file, file.prefixes[l], &layer));
        ck_assert(layer.q.shape[0] == n && layer.q.shape[1] == HEADS && layer.q.shape[2] == D && !layer.o.data);
        for (int head = 0; head < HEADS; head++)
            for (int i = 0; i < n; i++) {
                const int at = ((l * HEADS + head) * n + i) * n;
                check_row(&layer, head, i, run.weights + at, run.moves + at);
            }
    }
    free(run.weights);
    free(run.moves);
    look_close(&file);
}

static int read_ids(FILE *file, int32_t *ids) {
    char line[LINE_ROOM], *at = line;
    int n = 0;
    ck_assert(fgets(line, sizeof line, file));
    for (char *end; n < LONGEST && *at != '\n'; at = end)
        ids[n++] = (int32_t)strtol(at, &end, 10);
    return n;
}

/* A line of it; those with a NUL inside are none that a command line could hold. */
static bool read_line(FILE *file, char *line) {
    size_t n = 0;
    for (int c; (c = fgetc(file)) != '\n'; n++) {
        ck_assert(c != EOF && n + 1 < LINE_ROOM);
        line[n] = (char)c;
    }
    line[n] = 0;
    return strlen(line) == n;
}

/* Too long or empty ones, which are refused, are those whose pieces fill all places or none. */
START_TEST(rows_are_those_of_the_model) {
    FILE *lines = fopen(MODEL "/lines.txt", "rb"), *pieces = fopen(MODEL "/ids.txt", "rb");
    struct fault fault;
    int n_checked = 0;
    ck_assert(lines && pieces && safetensors_open(&tensors, MODEL "/model.safetensors", &fault));
    for (int i = 0; i < N_LINES; i++) {
        char line[LINE_ROOM];
        int32_t ids[LONGEST];
        const bool text = read_line(lines, line);
        const int n = read_ids(pieces, ids);
        if (!text || n == 2 || n == LONGEST)
            continue;
        check_text(line, ids, n);
        n_checked++;
    }
    ck_assert_int_gt(n_checked, 20);
    safetensors_close(&tensors);
    fclose(lines);
    fclose(pieces);
}
END_TEST

/* ---------------------------------------------------------------- all heads of a token */

static void check_cell(struct look_file *file, const struct look_cell *cell, int64_t query) {
    struct look_layer layer;
    struct look_row row;
    ck_assert(look_read_layer(file, cell->prefix, &layer) && look_read_row(&layer, cell->head, query, &row));
    ck_assert(cell->heaviest == look_heaviest(&row) && cell->most == look_most_influential(&row));
    ck_assert(cell->weights[LOOK_HEAVIEST] == row.weights[cell->heaviest]);
    ck_assert(cell->weights[LOOK_MOST] == row.weights[cell->most]);
    for (int64_t j = 0; j < row.n; j++)
        if (llabs(j - query) > LOOK_NEIGHBOURS && look_is_word(file, j))
            ck_assert(cell->far >= 0 && row.weights[j] <= cell->weights[LOOK_FAR]);
    ck_assert((cell->gap > 0) == (cell->most != cell->heaviest));
    look_free_row(&row);
}

START_TEST(a_survey_is_of_all_heads) {
    enum { IT = 10 };
    struct look_file file;
    struct look_survey survey;
    open_text("The animal didn't cross the street because it was too tired.", &file);
    ck_assert(look_survey(&file, NULL, -1, IT, &survey));
    ck_assert_int_eq(survey.n, LAYERS * HEADS);
    ck_assert_int_eq(survey.n_rows, LAYERS * HEADS * 16);
    int n_other = 0;
    for (int i = 0; i < survey.n; i++) {
        ck_assert(survey.cells[i].layer == i / HEADS && survey.cells[i].head == i % HEADS);
        check_cell(&file, &survey.cells[i], IT);
        n_other += survey.cells[i].most != survey.cells[i].heaviest;
    }
    ck_assert(n_other > 0 && n_other < survey.n_other);
    look_free_survey(&survey);
    ck_assert(look_survey(&file, file.prefixes[1], 2, IT, &survey));
    ck_assert(survey.n == 1 && survey.cells[0].layer == 1 && survey.cells[0].head == 2);
    check_cell(&file, &survey.cells[0], IT);
    look_free_survey(&survey);
    look_close(&file);
}
END_TEST

/* ---------------------------------------------------------------- which token */

START_TEST(tokens_are_found_by_what_the_user_writes) {
    struct look_file file;
    int n_more;
    open_text("The unaffable animal, the animal.", &file);
    /* [CLS] the una ##ffa ##ble animal , the animal . [SEP], or so */
    const int64_t n = look_find_token(&file, "[SEP]", LONGEST, &n_more) + 1;
    const int64_t animal = look_find_token(&file, "animal", n, &n_more);
    ck_assert(animal > 2 && n_more == 1);
    ck_assert(look_find_token(&file, "ANIMAL", n, &n_more) == animal && n_more == 1);
    ck_assert(look_find_token(&file, "unaffable", n, &n_more) == 2 && n_more == 0);
    ck_assert(look_find_token(&file, "the animal", n, &n_more) == n - 4 && n_more == 0);
    ck_assert(look_find_token(&file, "3", n, &n_more) == 3);
    ck_assert(look_find_token(&file, "cross", n, &n_more) == -1);
    ck_assert(look_find_token(&file, "", n, &n_more) == -1);
    ck_assert(look_last_word(&file, n) == n - 3);
    look_close(&file);
    open_text("!", &file);
    ck_assert(look_last_word(&file, 3) == 1);
    look_close(&file);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("look_model");
    TCase *rows = add_case(suite, "rows"), *tokens = add_case(suite, "tokens");
    tcase_add_test(rows, rows_are_those_of_the_model);
    tcase_add_test(rows, a_survey_is_of_all_heads);
    tcase_add_test(tokens, tokens_are_found_by_what_the_user_writes);
    return run_suite(suite);
}
