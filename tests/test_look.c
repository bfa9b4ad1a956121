/* SPDX-License-Identifier: MIT */
/* What `sa look` says of keys beside their weight, against rows of float64 in which the key is hidden by a mask, and on
 * the real sentence; how wide words stand in its tables. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "columns.h"
#include "inside.h"
#include "look.h"
#include "reference.h"

enum { LAYERS = 6, HEADS = 12, TOKENS = 16, D = 32, CLS = 0, ANIMAL = 2, IT = 10 };

struct numbers {
    double weights[TOKENS], lengths[TOKENS], moves[TOKENS];
    struct look_row row;
};

/* A batch of one sequence of `n` keys and as many queries, and the mask that hides one of them. */
struct case_of_keys {
    sa_sequence seq;
    sa_batch batch;
    struct array v;
    unsigned char mask[TOKENS];
    double o[D], o_bound[D], weight_bounds[TOKENS];
};

static void set_case(struct case_of_keys *c, const float *q, const float *k, const float *v, int n, int heads) {
    *c = (struct case_of_keys){.seq = {.n_q = n, .n_k = n, .q = {q, 0, 0}, .k = {k, 0, 0}, .v = {v, 0, 0}},
                               .batch = {SA_BATCH_HEAD, .n_sequences = 1, .n_query_heads = heads, .d_qk = D},
                               .v = {.rank = 3, .shape = {n, heads, D}, .type = SA_F32, .data = v}};
}

static struct reference_row weigh(struct case_of_keys *c, int head, int64_t query, double *weights) {
    struct reference_row row = {.o = c->o, .bound = c->o_bound, .weights = weights, .weight_bounds = c->weight_bounds};
    c->batch.sequences = &c->seq;
    ck_assert(reference_row(&c->batch, 0, query, head, &row));
    return row;
}

static void influence(struct case_of_keys *c, int head, int64_t query, struct numbers *n) {
    n->row = (struct look_row){.n = c->seq.n_k, .weights = n->weights, .lengths = n->lengths, .moves = n->moves};
    const struct reference_row row = weigh(c, head, query, n->weights);
    if (c->batch.sink_logits)
        n->row.sink = exp((double)c->batch.sink_logits[head] - row.lse);
    ck_assert(look_influence(&c->v, head, &n->row));
}

/* |o - o_without_j| with o_without_j from the formula. */
static double recomputed(struct case_of_keys *c, int head, int64_t query, int64_t j) {
    double o[D], weights[TOKENS], sum = 0;
    weigh(c, head, query, weights);
    memcpy(o, c->o, sizeof o);
    memset(c->mask, 1, sizeof c->mask);
    c->mask[j] = 0;
    c->seq.mask = (sa_grid){.data = c->mask, .key_stride = 1};
    weigh(c, head, query, weights);
    c->seq.mask = (sa_grid){0};
    for (int i = 0; i < D; i++)
        sum += (o[i] - c->o[i]) * (o[i] - c->o[i]);
    return sqrt(sum);
}

/* ---------------------------------------------------------------- the sentence */

static const float *tensor(struct safetensors *file, int layer, char letter) {
    char name[24];
    struct array array;
    struct fault fault;
    snprintf(name, sizeof name, "layer%d.%c", layer, letter);
    ck_assert(safetensors_find(file, name) && safetensors_array(file, safetensors_find(file, name), &array, &fault));
    ck_assert(array.rank == 3 && array.shape[0] == TOKENS && array.shape[1] == HEADS && array.shape[2] == D);
    return array.data;
}

static void open_layer(struct safetensors *file, int layer, struct case_of_keys *c) {
    set_case(c, tensor(file, layer, 'q'), tensor(file, layer, 'k'), tensor(file, layer, 'v'), TOKENS, HEADS);
}

static void check_row(struct case_of_keys *c, int head, int64_t query, const struct numbers *n) {
    for (int64_t j = 0; j < TOKENS; j++) {
        const double wanted = recomputed(c, head, query, j);
        must(fabs(n->moves[j] - wanted) < 1e-13 * (1 + n->row.length),
             "head %d, row %d, key %d: %.17g, recomputed %.17g", head, (int)query, (int)j, n->moves[j], wanted);
    }
}

/* The closest two of these rows are 2e-5 apart, so that the count is no matter of rounding. */
START_TEST(the_largest_weight_is_often_not_what_counts_most) {
    struct safetensors file;
    struct fault fault;
    struct case_of_keys c;
    struct numbers n;
    int others = 0;
    ck_assert(safetensors_open(&file, TEST_DATA "/animal.safetensors", &fault));
    for (int layer = 0; layer < LAYERS; layer++) {
        open_layer(&file, layer, &c);
        for (int row = 0; row < HEADS * TOKENS; row++) {
            influence(&c, row / TOKENS, row % TOKENS, &n);
            check_row(&c, row / TOKENS, row % TOKENS, &n);
            others += look_heaviest(&n.row) != look_most_influential(&n.row);
        }
    }
    ck_assert_int_eq(others, 252);
    safetensors_close(&file);
}
END_TEST

START_TEST(it_hangs_on_animal) {
    struct safetensors file;
    struct fault fault;
    struct case_of_keys c;
    struct numbers n;
    ck_assert(safetensors_open(&file, TEST_DATA "/animal.safetensors", &fault));
    open_layer(&file, 4, &c);
    influence(&c, 1, IT, &n);
    ck_assert_int_eq(look_heaviest(&n.row), CLS);
    ck_assert_int_eq(look_most_influential(&n.row), ANIMAL);
    ck_assert(fabs(n.weights[CLS] - 0.127311) < 1e-5 && fabs(n.weights[ANIMAL] - 0.081501) < 1e-5);
    ck_assert(fabs(n.lengths[CLS] - 0.019420) < 1e-5 && fabs(n.lengths[ANIMAL] - 0.339972) < 1e-5);
    ck_assert(fabs(n.moves[CLS] - 0.167723) < 1e-5 && fabs(n.moves[ANIMAL] - 0.363073) < 1e-5);
    safetensors_close(&file);
}
END_TEST

/* ---------------------------------------------------------------- one key has almost everything, or all */

/* A query that gives key 0 a score higher by `lead` than its other keys. */
static void lead(struct case_of_keys *c, float *numbers, int n, float lead) {
    struct dice dice = {(uint64_t)n};
    float *q = numbers, *k = q + TOKENS * D, *v = k + TOKENS * D;
    for (int i = 0; i < TOKENS * D; i++) {
        q[i] = i % D == 0;
        k[i] = i == 0 ? lead : i % D == 0 ? 0 : roll_unit(&dice);
        v[i] = roll_unit(&dice);
    }
    set_case(c, q, k, v, n, 1);
    c->batch.scale = 1;
}

/* Up to a lead at which 1 - a_0 is 0 in double precision, though the others have weight. */
START_TEST(a_key_with_almost_all_the_weight) {
    float numbers[3 * TOKENS * D];
    struct case_of_keys c;
    struct numbers n;
    for (float by = 0; by < 700; by += 5) {
        lead(&c, numbers, 7, by);
        influence(&c, 0, 3, &n);
        const double wanted = recomputed(&c, 0, 3, 0);
        must(fabs(n.moves[0] - wanted) < 1e-13 * wanted, "lead %g: %.17g, recomputed %.17g", (double)by, n.moves[0],
             wanted);
        ck_assert(n.moves[1] < 2 * n.lengths[1] + 2 * n.weights[1] * n.row.length);
    }
}
END_TEST

START_TEST(a_key_with_all_the_weight) {
    float numbers[3 * TOKENS * D], sink = 0;
    struct case_of_keys c;
    struct numbers n;
    lead(&c, numbers, 1, 1);
    influence(&c, 0, 0, &n);
    ck_assert(n.moves[0] == LOOK_NO_ROW && look_most_influential(&n.row) == 0);
    /* A sink is left, which gives the row 0. */
    c.batch.sink_logits = &sink;
    influence(&c, 0, 0, &n);
    ck_assert(n.weights[0] < 1 && fabs(n.moves[0] - n.lengths[0]) < 1e-13);
    ck_assert(fabs(n.moves[0] - recomputed(&c, 0, 0, 0)) < 1e-13);
}
END_TEST

START_TEST(what_is_hidden_is_not_looked_at) {
    float numbers[3 * TOKENS * D];
    struct case_of_keys c;
    struct numbers n;
    lead(&c, numbers, 5, 0);
    numbers[2 * TOKENS * D + 4 * D + 3] = NAN;
    c.batch.flags = SA_CAUSAL;
    influence(&c, 0, 3, &n);
    ck_assert(n.weights[4] == 0 && n.lengths[4] == 0 && n.moves[4] == 0);
    for (int j = 0; j < 4; j++)
        ck_assert(fabs(n.moves[j] - recomputed(&c, 0, 3, j)) < 1e-13);
    /* A row that sees nothing has no key that counts. */
    memset(n.weights, 0, sizeof n.weights);
    ck_assert(look_influence(&c.v, 0, &n.row) && n.row.length == 0);
    ck_assert(look_most_influential(&n.row) == -1 && look_heaviest(&n.row) == -1);
}
END_TEST

/* ---------------------------------------------------------------- words in tables */

START_TEST(words_are_as_wide_as_they_stand) {
    setenv("LC_ALL", "C", 1); /* whatever the user's locale is */
    ck_assert_int_eq(columns_of(""), 0);
    ck_assert_int_eq(columns_of("animal"), 6);
    ck_assert_int_eq(columns_of("na\xc3\xafve"), 5);
    ck_assert_int_eq(columns_of("nai\xcc\x88ve"), 5);            /* an accent of its own */
    ck_assert_int_eq(columns_of("\xe6\xbc\xa2\xe5\xad\x97"), 4); /* two ideographs */
    ck_assert_int_eq(columns_of("\xed\x95\x9c"), 2);             /* a syllable of Hangul */
    ck_assert_int_eq(columns_of("\xf0\x9f\x91\x8d"), 2);         /* a thumb */
    ck_assert_int_eq(columns_of("a\xff\x62"), 3);                /* no UTF-8 */
}
END_TEST

/* What columns_print() prints. */
static const char *printed(const char *text, int columns) {
    static char read[64];
    FILE *to = tmpfile();
    const int before = dup(STDOUT_FILENO);
    fflush(stdout);
    dup2(fileno(to), STDOUT_FILENO);
    columns_print(text, columns);
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    rewind(to);
    read[fread(read, 1, sizeof read - 1, to)] = 0;
    fclose(to);
    return read;
}

START_TEST(words_are_cut_between_characters) {
    ck_assert_str_eq(printed("it", 4), "it  ");
    ck_assert_str_eq(printed("it", 2), "it");
    ck_assert_str_eq(printed("tired", 4), "tir~");
    ck_assert_str_eq(printed("\xe6\xbc\xa2\xe5\xad\x97", 5), "\xe6\xbc\xa2\xe5\xad\x97 ");
    ck_assert_str_eq(printed("\xe6\xbc\xa2\xe5\xad\x97", 3), "\xe6\xbc\xa2~");
    ck_assert_str_eq(printed("\xe6\xbc\xa2\xe5\xad\x97", 2), "~ ");
}
END_TEST

START_TEST(words_begin_with_letters_of_any_script) {
    static const char *const words[] = {"it", "7", "\xc3\xa9t\xc3\xa9", "\xe6\xbc\xa2", "\xd7\xa9"};
    static const char *const others[] = {"", ".", "[CLS]", "\xe3\x80\x82", "\xe2\x80\x94", "\xff"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        must(columns_is_word(words[i]), "%s is no word", words[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        must(!columns_is_word(others[i]), "%s is a word", others[i]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("look");
    TCase *sentence = add_case(suite, "sentence"), *weight = add_case(suite, "weight");
    TCase *words = add_case(suite, "words");
    tcase_add_test(sentence, the_largest_weight_is_often_not_what_counts_most);
    tcase_add_test(sentence, it_hangs_on_animal);
    tcase_add_test(weight, a_key_with_almost_all_the_weight);
    tcase_add_test(weight, a_key_with_all_the_weight);
    tcase_add_test(weight, what_is_hidden_is_not_looked_at);
    tcase_add_test(words, words_are_as_wide_as_they_stand);
    tcase_add_test(words, words_are_cut_between_characters);
    tcase_add_test(words, words_begin_with_letters_of_any_script);
    return run_suite(suite);
}
