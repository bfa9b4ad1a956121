/* SPDX-License-Identifier: MIT */
/* What calls of a layer have to do with each other: the bits of a row whatever else is in the batch, however it is cut
 * into steps and on however many threads; callers at once; BLAS, whose threads stay what they were. */
#include <sa/layer.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "threads.h"

enum { D = 96, HEADS = 6, KV_HEADS = 2, D_HEAD = 16, D_KV = KV_HEADS * D_HEAD, TOKENS = 333 };

/* Those of OpenBLAS, if it is the one. */
extern __attribute__((weak)) int openblas_get_num_threads(void);
extern __attribute__((weak)) void openblas_set_num_threads(int n);

static float x[TOKENS * D];

static sa_engine *engine_of_threads(int n_threads) {
    sa_engine *engine;
    sa_engine_options options = {.struct_size = sizeof options, .n_threads = n_threads, .binding = SA_BIND_NONE};
    must(sa_engine_create(&options, &engine) == SA_OK, "%s", sa_last_reason());
    return engine;
}

static void fill(struct dice *dice, float *to, int n, float size) {
    for (int i = 0; i < n; i++)
        to[i] = roll_unit(dice) * size;
}

/* With everything in it, or not normed and turned. */
static sa_layer *new_layer(bool finished) {
    static float w_qkv[(D + 2 * D_KV) * D], b_qkv[D + 2 * D_KV], w_o[D * D], norm[D_HEAD];
    struct dice dice = {5};
    sa_layer *layer;
    const sa_rope rope = {.struct_size = sizeof rope};
    fill(&dice, x, TOKENS * D, 1);
    fill(&dice, w_qkv, (D + 2 * D_KV) * D, 0.2f);
    fill(&dice, b_qkv, D + 2 * D_KV, 1);
    fill(&dice, w_o, D * D, 0.2f);
    fill(&dice, norm, D_HEAD, 2);
    sa_layer_options options = {.struct_size = sizeof options,
                                .d_model = D,
                                .n_query_heads = HEADS,
                                .n_kv_heads = KV_HEADS,
                                .d_qk = D_HEAD,
                                .w_qkv = {w_qkv, 0},
                                .b_qkv = b_qkv,
                                .w_o = {w_o, 0},
                                .q_norm = finished ? norm : NULL,
                                .k_norm = finished ? norm : NULL,
                                .rope = finished ? &rope : NULL};
    must(sa_layer_create(&options, &layer) == SA_OK, "%s", sa_last_reason());
    return layer;
}

/* Sequences of so many tokens, one after the other from token `first` of x on. */
static void forward(sa_engine *engine, const sa_layer *layer, const int64_t *lengths, int n, int64_t first, float *y) {
    sa_sequence seqs[8];
    sa_layer_tokens tokens[8];
    sa_batch attention = {SA_BATCH_HEAD, .n_sequences = n, .sequences = seqs, .flags = SA_CAUSAL};
    const sa_layer_batch batch = {SA_LAYER_BATCH_HEAD, .attention = &attention, .tokens = tokens};
    for (int i = 0; i < n; first += lengths[i], y += lengths[i] * D, i++) {
        seqs[i] = (sa_sequence){.n_q = lengths[i]};
        tokens[i] = (sa_layer_tokens){.x = x + first * D, .y = y};
    }
    must(sa_layer_forward(engine, layer, &batch) == SA_OK, "%s", sa_last_reason());
}

static void must_be_same(const float *a, const float *b, int64_t n, const char *what) {
    for (int64_t i = 0; i < n; i++)
        must(bits_of(a[i]) == bits_of(b[i]), "%s: token %d, dimension %d: %.9g, %.9g", what, (int)(i / D), (int)(i % D),
             (double)a[i], (double)b[i]);
}

/* One after the other, all at once, in another order, on any number of threads. */
START_TEST(bits_are_the_rows_own) {
    static const int64_t lengths[5] = {100, 1, 200, 15, 17};
    static float alone[TOKENS * D], together[TOKENS * D];
    sa_layer *layer = new_layer(true);
    sa_engine *one = engine_of_threads(1);
    for (int i = 0, first = 0; i < 5; first += (int)lengths[i++])
        forward(one, layer, &lengths[i], 1, first, alone + first * D);
    for (int n_threads = 1; n_threads <= 8; n_threads++) {
        sa_engine *engine = engine_of_threads(n_threads);
        memset(together, 0, sizeof together);
        forward(engine, layer, lengths, 5, 0, together);
        must_be_same(together, alone, TOKENS * D, "together");
        memset(together, 0, sizeof together);
        forward(engine, layer, lengths + 1, 4, 100, together);
        must_be_same(together, alone + 100 * D, (TOKENS - 100) * D, "without the first");
        sa_engine_destroy(engine);
    }
    sa_engine_destroy(one);
    sa_layer_destroy(layer);
}
END_TEST

/* Prefill, chunks and steps of a token through a cache: the bits of one call without. */
START_TEST(steps_equal_one_call) {
    static float k[TOKENS * D_KV], v[TOKENS * D_KV], whole[TOKENS * D], y[TOKENS * D];
    static const int64_t steps[] = {TOKENS, 50, 7, 1};
    const int64_t all = TOKENS;
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(2);
    forward(engine, layer, &all, 1, 0, whole);
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        memset(y, 0, sizeof y);
        memset(k, 0xff, sizeof k); /* NaN */
        memset(v, 0xff, sizeof v);
        for (int64_t done = 0; done < TOKENS; done += steps[s]) {
            const int64_t n = TOKENS - done < steps[s] ? TOKENS - done : steps[s];
            sa_sequence seq = {.n_q = n, .n_k = done + n, .k = {k, 0, 0}, .v = {v, 0, 0}};
            sa_layer_tokens tokens = {.x = x + done * D, .y = y + done * D};
            sa_batch attention = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &seq, .flags = SA_CAUSAL};
            sa_layer_batch batch = {SA_LAYER_BATCH_HEAD, .attention = &attention, .tokens = &tokens};
            must(sa_layer_forward(engine, layer, &batch) == SA_OK, "%s", sa_last_reason());
        }
        must_be_same(y, whole, TOKENS * D, "in steps");
    }
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
}
END_TEST

/* y in the place of x; NaN in a token reaches the rows that see it. */
START_TEST(in_place_and_nan) {
    static float whole[TOKENS * D], y[TOKENS * D];
    const int64_t all = TOKENS;
    sa_layer *layer = new_layer(false);
    sa_engine *engine = engine_of_threads(2);
    forward(engine, layer, &all, 1, 0, whole);
    x[200 * D + 3] = NAN;
    forward(engine, layer, &all, 1, 0, y);
    must_be_same(y, whole, 200 * D, "ahead of a NaN");
    for (int i = 200 * D; i < TOKENS * D; i++)
        must(y[i] != y[i], "token %d does not see a NaN", i / D);
    sa_layer_destroy(layer);
    layer = new_layer(false); /* and x as it was */
    forward(engine, layer, &all, 1, 0, x);
    must_be_same(x, whole, TOKENS * D, "in place");
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
}
END_TEST

struct caller {
    sa_engine *engine;
    const sa_layer *layer;
    const float *wanted;
    int number;
    bool right;
};

static void *call_often(void *argument) {
    struct caller *c = argument;
    float *y = malloc(TOKENS * D * sizeof *y);
    c->right = y != NULL;
    for (int i = 0; i < 20 && c->right; i++) {
        const int64_t n = 1 + (i * 37 + c->number * 101) % TOKENS;
        forward(c->engine, c->layer, &n, 1, 0, y);
        c->right = memcmp(y, c->wanted, (size_t)n * D * sizeof *y) == 0; /* causal: the first rows of the whole */
    }
    free(y);
    return NULL;
}

START_TEST(callers_at_once) {
    enum { CALLERS = 8, THREADS = 3 };
    static float whole[TOKENS * D];
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    const int64_t all = TOKENS;
    const int before = openblas_get_num_threads ? openblas_get_num_threads() : 0, ran = count_threads();
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(THREADS);
    forward(engine, layer, &all, 1, 0, whole);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){engine, layer, whole, i, false};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    ck_assert_int_le(count_threads(), ran + THREADS + CALLERS + 1);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_msg(callers[i].right, "caller %d got other bits", i);
    }
    if (openblas_get_num_threads)
        ck_assert_int_eq(openblas_get_num_threads(), before);
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
}
END_TEST

/* Whatever the host program has told BLAS, it finds so again; and no thread is started for products. */
START_TEST(settings_of_blas_stay) {
    static float y[TOKENS * D];
    const int64_t all = TOKENS;
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(2);
    forward(engine, layer, &all, 1, 0, y);
    for (int n = 1; n <= 4 && openblas_set_num_threads; n++) {
        openblas_set_num_threads(n);
        const int set = openblas_get_num_threads(), ran = count_threads();
        forward(engine, layer, &all, 1, 0, y);
        ck_assert_int_eq(openblas_get_num_threads(), set);
        ck_assert_int_eq(count_threads(), ran);
    }
    if (!openblas_set_num_threads)
        printf("skipped: this BLAS is no OpenBLAS\n");
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("layer_calls");
    TCase *tcase = add_case(suite, "calls");
    tcase_add_test(tcase, bits_are_the_rows_own);
    tcase_add_test(tcase, steps_equal_one_call);
    tcase_add_test(tcase, in_place_and_nan);
    tcase_add_test(tcase, callers_at_once);
    tcase_add_test(tcase, settings_of_blas_stay);
    return run_suite(suite);
}
