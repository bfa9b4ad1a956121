/* SPDX-License-Identifier: MIT */
/* The sentence encoder of the program against what Hugging Face's classes make of the same folder and lines, and the
 * layer library against a real model's attention. The folder of fixtures is the first argument. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoder.h"
#include "npy.h"

enum { MOST_LINES = 64, LINE_ROOM = 4096, LONGEST = 24 };

/* "DATA/NAME" in a buffer that the next three calls leave alone. */
static const char *in_data(const char *name) {
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", TEST_DATA, name);
    return path;
}

static int read_lines(const char *path, char lines[MOST_LINES][LINE_ROOM], size_t lengths[MOST_LINES]) {
    FILE *file = fopen(path, "rb");
    int n = 0;
    ck_assert_msg(file != NULL, "%s", path);
    for (int c; (c = fgetc(file)) != EOF;) {
        ck_assert(n < MOST_LINES && lengths[n] + 1 < LINE_ROOM);
        if (c == '\n')
            n++;
        else
            lines[n][lengths[n]++] = (char)c;
    }
    fclose(file);
    return n;
}

/* ---------------------------------------------------------------- what every test begins with */

static struct encoder encoder;
static struct tokenizer_scratch scratch;
static struct encoder_scratch room;
static char lines[MOST_LINES][LINE_ROOM];
static size_t bytes[MOST_LINES];
static int32_t ids[MOST_LINES * LONGEST];
static int64_t lengths[MOST_LINES];
static sa_engine *engine;
static int n_lines;

static void open_all(void) {
    struct fault fault = {""};
    const sa_engine_options options = {.struct_size = sizeof options, .n_threads = 1};
    ck_assert_msg(encoder_open(&encoder, in_data("tiny_bert"), &fault), "%s", fault.text);
    ck_assert_int_eq(sa_engine_create(&options, &engine), SA_OK);
    n_lines = read_lines(in_data("tiny_bert/lines.txt"), lines, bytes);
    ck_assert_int_gt(n_lines, 30);
}

static void close_all(void) {
    tokenizer_release(&scratch);
    encoder_release(&room);
    encoder_close(&encoder);
    sa_engine_destroy(engine);
}

/* Pieces of all lines, one after the other. */
static struct encoder_batch tokenize(void) {
    struct encoder_batch batch = {.n_lines = n_lines, .lengths = lengths, .ids = ids};
    for (int i = 0; i < n_lines; i++) {
        lengths[i] = tokenizer_line(&encoder.tokenizer, &scratch, lines[i], bytes[i], ids + batch.n_tokens, LONGEST);
        ck_assert_int_ge(lengths[i], 2);
        batch.n_tokens += lengths[i];
    }
    return batch;
}

/* ---------------------------------------------------------------- tests */

START_TEST(pieces) {
    char expected[MOST_LINES][LINE_ROOM] = {{0}}, got[LINE_ROOM];
    size_t n[MOST_LINES] = {0};
    ck_assert_int_eq(read_lines(in_data("tiny_bert/ids.txt"), expected, n), n_lines);
    const struct encoder_batch batch = tokenize();
    const int32_t *id = batch.ids;
    for (int i = 0; i < n_lines; i++) {
        int used = 0;
        for (int64_t t = 0; t < lengths[i]; t++)
            used += snprintf(got + used, sizeof got - (size_t)used, t ? " %d" : "%d", (int)*id++);
        ck_assert_msg(strcmp(got, expected[i]) == 0, "line %d: %s, expected %s", i + 1, got, expected[i]);
    }
}
END_TEST

/* Bytes that are no UTF-8 are left out, whatever they are; nothing is read behind the end. */
START_TEST(broken_text) {
    static const char *const broken[] = {"\xff", "\x80\x80", "\xe6\xbc", "\xf0\x9f\x91", "\xc0\xaf", "\xed\xa0\x80"};
    int32_t whole[LONGEST], got[LONGEST];
    const int64_t n = tokenizer_line(&encoder.tokenizer, &scratch, "the animal", 10, whole, LONGEST);
    ck_assert_int_eq(n, 4);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        char text[32], *exact;
        const size_t length = (size_t)snprintf(text, sizeof text, "the ani%smal%s", broken[i], broken[i]);
        exact = malloc(length);
        memcpy(exact, text, length);
        ck_assert_int_eq(tokenizer_line(&encoder.tokenizer, &scratch, exact, length, got, LONGEST), n);
        ck_assert_mem_eq(got, whole, (size_t)n * sizeof *got);
        free(exact);
    }
}
END_TEST

START_TEST(vectors) {
    const double bound = 2e-6; /* 2 layers of floats against float64: measured 3e-7 */
    struct npy expected;
    struct fault fault;
    ck_assert(npy_open(&expected, in_data("tiny_bert/vectors.npy"), NPY_NUMBERS, &fault));
    const int64_t d = encoder.config.d_model;
    ck_assert_int_eq(expected.array.shape[0], n_lines);
    ck_assert_int_eq(expected.array.shape[1], d);
    float *got = calloc((size_t)(n_lines * d), sizeof *got);
    const struct encoder_batch batch = tokenize();
    ck_assert(encoder_forward(&encoder, engine, &room, &batch, got, &fault));
    const float *want = expected.array.data;
    double worst = 0;
    for (int64_t i = 0; i < n_lines * d; i++) {
        const double difference = fabs((double)got[i] - (double)want[i]);
        ck_assert_msg(difference < bound, "line %lld: off by %g", (long long)(i / d) + 1, difference);
        worst = fmax(worst, difference);
    }
    printf("vectors: largest difference %.2g\n", worst);
    free(got);
    npy_close(&expected);
}
END_TEST

/* A line's vector does not depend on the lines beside it, but for the order in which BLAS sums. */
START_TEST(company) {
    struct fault fault;
    const int64_t d = encoder.config.d_model;
    float *together = calloc((size_t)(n_lines * d), sizeof *together), *alone = calloc((size_t)d, sizeof *alone);
    const struct encoder_batch all = tokenize();
    ck_assert(encoder_forward(&encoder, engine, &room, &all, together, &fault));
    const int32_t *id = all.ids;
    for (int i = 0; i < n_lines; id += lengths[i++]) {
        const struct encoder_batch one = {1, lengths[i], &lengths[i], id};
        ck_assert(encoder_forward(&encoder, engine, &room, &one, alone, &fault));
        for (int64_t c = 0; c < d; c++)
            ck_assert_msg(fabsf(alone[c] - together[i * d + c]) < 5e-7f, "line %d, dimension %lld", i + 1,
                          (long long)c);
    }
    free(together);
    free(alone);
}
END_TEST

START_TEST(gelu) {
    enum { N = 10000 };
    const float none[1] = {0};
    for (int i = -N; i <= N; i++) {
        const double x = i * 20.0 / N;
        float y = (float)x;
        rows_gelu(&y, none, 1, 1);
        const double exact = (double)(float)x * 0.5 * erfc(-(double)(float)x / sqrt(2));
        ck_assert_msg(fabs((double)y - exact) <= 5e-7 * fabs(x) + 1e-12, "gelu(%g) is %g, not %g", x, (double)y, exact);
    }
}
END_TEST

/* ---------------------------------------------------------------- the real layer */

static const float *tensor(struct safetensors *file, const char *name) {
    struct array array;
    struct fault fault = {"there is none"};
    const struct safetensors_tensor *found = safetensors_find(file, name);
    ck_assert_msg(found && safetensors_array(file, found, &array, &fault), "%s: %s", name, fault.text);
    return array.data;
}

START_TEST(real_layer) {
    enum { TOKENS = 16, D = 384 };
    const double bound = 5e-6; /* of values up to 1, summed in another order: measured 5e-7 */
    struct safetensors file;
    struct fault fault;
    sa_layer *layer;
    ck_assert(safetensors_open(&file, in_data("layer3.safetensors"), &fault));
    const sa_layer_options options = {.struct_size = sizeof options,
                                      .d_model = D,
                                      .n_query_heads = 12,
                                      .w_q = {tensor(&file, "self.query.weight"), 0},
                                      .w_k = {tensor(&file, "self.key.weight"), 0},
                                      .w_v = {tensor(&file, "self.value.weight"), 0},
                                      .w_o = {tensor(&file, "output.dense.weight"), 0},
                                      .b_q = tensor(&file, "self.query.bias"),
                                      .b_k = tensor(&file, "self.key.bias"),
                                      .b_v = tensor(&file, "self.value.bias"),
                                      .b_o = tensor(&file, "output.dense.bias")};
    ck_assert_msg(sa_layer_create(&options, &layer) == SA_OK, "%s", sa_last_reason());
    static float y[TOKENS * D];
    const float *want = tensor(&file, "y");
    const sa_sequence sequence = {.n_q = TOKENS};
    const sa_layer_tokens tokens = {.x = tensor(&file, "x"), .y = y};
    const sa_batch attention = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &sequence};
    const sa_layer_batch batch = {SA_LAYER_BATCH_HEAD, .attention = &attention, .tokens = &tokens};
    ck_assert_msg(sa_layer_forward(engine, layer, &batch) == SA_OK, "%s", sa_last_reason());
    double worst = 0, largest = 0;
    for (int i = 0; i < TOKENS * D; i++) {
        worst = fmax(worst, fabs((double)y[i] - (double)want[i]));
        largest = fmax(largest, fabs((double)want[i]));
    }
    printf("real layer: largest difference %.2g of values up to %.2g\n", worst, largest);
    ck_assert_double_lt(worst, bound);
    sa_layer_destroy(layer);
    safetensors_close(&file);
}
END_TEST

/* What `sa look` shows of a layer, from its true weights. */
START_TEST(real_q_k_v) {
    enum { TOKENS = 16, D = 384 };
    const double bound = 2e-5; /* of values up to 10, summed in another order: measured 4e-6 */
    static const char *const names[] = {"layer3.q", "layer3.k", "layer3.v"};
    struct safetensors weights, sentence;
    struct fault fault;
    ck_assert(safetensors_open(&weights, in_data("layer3.safetensors"), &fault));
    ck_assert(safetensors_open(&sentence, in_data("animal.safetensors"), &fault));
    const struct encoder model = {.config = {.d_model = D}};
    const struct encoder_layer layer = {
        .w_qkv = {tensor(&weights, "self.query.weight"), tensor(&weights, "self.key.weight"),
                  tensor(&weights, "self.value.weight")},
        .b_qkv = {tensor(&weights, "self.query.bias"), tensor(&weights, "self.key.bias"),
                  tensor(&weights, "self.value.bias")}};
    static float got[3][TOKENS * D];
    float *const qkv[] = {got[0], got[1], got[2]};
    encoder_project(&model, &layer, tensor(&weights, "x"), TOKENS, qkv);
    double worst = 0;
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < TOKENS * D; i++)
            worst = fmax(worst, fabs((double)got[t][i] - (double)tensor(&sentence, names[t])[i]));
    printf("real q, k, v: largest difference %.2g\n", worst);
    ck_assert_double_lt(worst, bound);
    safetensors_close(&weights);
    safetensors_close(&sentence);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("encoder");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, open_all, close_all);
    tcase_add_test(all, pieces);
    tcase_add_test(all, broken_text);
    tcase_add_test(all, vectors);
    tcase_add_test(all, company);
    tcase_add_test(all, gelu);
    tcase_add_test(all, real_layer);
    tcase_add_test(all, real_q_k_v);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
