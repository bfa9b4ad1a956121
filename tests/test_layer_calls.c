/* SPDX-License-Identifier: MIT */
/* What calls of a layer have to do with each other: the bits of a row whatever else is in the batch, however it is cut
 * into steps and on however many threads; callers at once; BLAS, whose threads stay what they were. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "layer_calls.h"
#include "threads.h"

/* Weights copied, [in, out], and where they stand, [out, in]. */
static const uint32_t storage[] = {0, SA_LAYER_REFERENCE};
enum { N_STORAGES = 2 };

/* One after the other, all at once, in another order, on any number of threads. */
START_TEST(bits_are_the_rows_own) {
    static const int64_t lengths[5] = {100, 1, 200, 15, 17};
    static float alone[TOKENS * D], together[TOKENS * D];
    sa_layer *layer = new_layer_of(true, storage[_i]);
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
    sa_layer *layer = new_layer_of(true, storage[_i]);
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

/* Sequences that each have a cache, some of them further on than others. */
struct decoding {
    sa_sequence seqs[MOST_SEQS];
    sa_layer_tokens tokens[MOST_SEQS];
    sa_batch attention;
    sa_layer_batch batch;
    float k[MOST_SEQS][TOKENS * D_KV], v[MOST_SEQS][TOKENS * D_KV], y[MOST_SEQS][TOKENS * D];
};

static struct decoding *new_decoding(void) {
    struct decoding *d = calloc(1, sizeof *d);
    must(d, "no memory");
    memset(d->k, 0xff, sizeof d->k); /* NaN */
    memset(d->v, 0xff, sizeof d->v);
    d->attention = (sa_batch){SA_BATCH_HEAD, .n_sequences = MOST_SEQS, .sequences = d->seqs, .flags = SA_CAUSAL};
    d->batch = (sa_layer_batch){SA_LAYER_BATCH_HEAD, .attention = &d->attention, .tokens = d->tokens};
    for (int i = 0; i < MOST_SEQS; i++)
        d->seqs[i] = (sa_sequence){.k = {d->k[i], 0, 0}, .v = {d->v[i], 0, 0}};
    return d;
}

/* Sequence i goes on by n tokens of x. */
static void go_on(struct decoding *d, int i, int64_t n) {
    const int64_t done = d->seqs[i].n_k;
    d->seqs[i].n_q = n;
    d->seqs[i].n_k = done + n;
    d->tokens[i] = (sa_layer_tokens){.x = x + done * D, .y = d->y[i] + done * D};
}

/* Steps of a token, or of a few, of sequences that are not equally long: the bits of one call for each. */
START_TEST(steps_of_many_sequences) {
    static const int64_t steps[] = {0, 1, 1, 1, 1, 2, 5, 12, 13, 31};
    static float whole[TOKENS * D];
    struct dice dice = {7};
    const int64_t all = TOKENS;
    struct decoding *d = new_decoding();
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(3);
    forward(engine, layer, &all, 1, 0, whole);
    for (int step = 0; step < 100; step++) {
        for (int i = 0; i < MOST_SEQS; i++) {
            const int64_t n = steps[roll_between(&dice, 0, step < 20 ? 9 : 4)], left = TOKENS - d->seqs[i].n_k;
            go_on(d, i, n < left ? n : left);
        }
        must(sa_layer_forward(engine, layer, &d->batch) == SA_OK, "%s", sa_last_reason());
    }
    for (int i = 0; i < MOST_SEQS; i++)
        must_be_same(d->y[i], whole, d->seqs[i].n_k * D, "in steps of many");
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
    free(d);
}
END_TEST

/* Of one key y is v W_o, 96 products each of numbers up to 1, 20 and 0.2, so |y| < 400: what two orders of these sums
 * make of it differs by less than 2 * 2 * 96 * 2^-24 * 400 < 2^-6. */
static void must_be_near(const float *a, const float *b) {
    for (int i = 0; i < D; i++)
        must(fabsf(a[i] - b[i]) < 0x1p-6f, "dimension %d: %.9g, %.9g", i, (double)a[i], (double)b[i]);
}

/* Packed, the bits depend on the other rows, but on nothing else. All are the first token of a sequence. */
START_TEST(packed_steps) {
    static float y[MOST_SEQS][D], alone[D];
    const int64_t first = 1;
    struct decoding *d = new_decoding();
    sa_layer *layer = new_layer_of(true, storage[_i]);
    d->batch.flags = SA_LAYER_PACK;
    sa_engine *one = engine_of_threads(1);
    forward(one, layer, &first, 1, 0, alone);
    sa_engine_destroy(one);
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        sa_engine *engine = engine_of_threads(n_threads);
        for (int n = 1; n <= MOST_SEQS; n++) {
            d->attention.n_sequences = n;
            for (int i = 0; i < n; i++) {
                d->seqs[i].n_k = 0;
                go_on(d, i, 1);
            }
            must(sa_layer_forward(engine, layer, &d->batch) == SA_OK, "%s", sa_last_reason());
            if (n_threads == 1)
                memcpy(y[n - 1], d->y[n - 1], sizeof y[0]);
            must_be_same(d->y[n - 1], y[n - 1], D, "packed");
            must_be_near(d->y[n - 1], alone);
        }
        sa_engine_destroy(engine);
    }
    sa_layer_destroy(layer);
    free(d);
}
END_TEST

static size_t bytes_of(sa_engine *engine, const sa_layer *layer, struct decoding *d, uint32_t flags) {
    size_t bytes = 0;
    d->batch.flags = flags;
    must(sa_layer_workspace_bytes(engine, layer, &d->batch, &bytes) == SA_OK, "%s", sa_last_reason());
    return bytes;
}

/* Tokens at places that differ share a dozen: no more rows than without any places. Those at one place do not. */
START_TEST(tokens_share_dozens) {
    static const int64_t done[12] = {5, 24 + 11, 12, 9, 36 + 1, 7, 8, 24 + 6, 2, 48 + 10, 3, 4};
    struct decoding *d = new_decoding();
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(1);
    d->attention.n_sequences = 12;
    for (int i = 0; i < 12; i++) {
        d->seqs[i].n_k = done[i];
        go_on(d, i, 1);
    }
    const size_t packed = bytes_of(engine, layer, d, SA_LAYER_PACK), shared = bytes_of(engine, layer, d, 0);
    ck_assert_uint_eq(shared, packed);
    d->seqs[0].n_k += 1;
    const size_t two = bytes_of(engine, layer, d, 0); /* two of them in one place, and no other more */
    for (int i = 1; i < 12; i++)
        d->seqs[i].n_k = d->seqs[0].n_k;
    ck_assert_uint_gt(two, shared);
    ck_assert_uint_eq(bytes_of(engine, layer, d, 0) - shared, 11 * (two - shared));
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
    free(d);
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

/* Batches of several shapes, and what they give alone. */
enum { REQUESTS = 5 };

static const struct request {
    int n;
    int64_t lengths[MOST_SEQS];
} requests[REQUESTS] = {
    {1, {TOKENS}}, {5, {100, 1, 200, 15, 17}}, {8, {1, 1, 2, 1, 1, 3, 0, 1}}, {2, {7, 70}}, {1, {1}}};

struct caller {
    sa_engine *engine;
    const sa_layer *layer;
    const float *wanted[REQUESTS];
    int number;
    bool right;
};

static int64_t n_floats(const struct request *r) {
    int64_t n = 0;
    for (int i = 0; i < r->n; i++)
        n += r->lengths[i] * D;
    return n;
}

static void *call_often(void *argument) {
    struct caller *c = argument;
    float *y = malloc(TOKENS * D * sizeof *y);
    c->right = y != NULL;
    for (int i = 0; i < 20 && c->right; i++) {
        const int which = (i * 7 + c->number) % REQUESTS;
        const struct request *r = &requests[which];
        c->right = try_forward(c->engine, c->layer, r->lengths, r->n, 0, y) == SA_OK &&
                   memcmp(y, c->wanted[which], (size_t)n_floats(r) * sizeof *y) == 0;
    }
    free(y);
    return NULL;
}

/* On an engine for all, or on two. */
START_TEST(callers_at_once) {
    enum { CALLERS = 8, THREADS = 3 };
    static float wanted[REQUESTS][TOKENS * D];
    struct caller callers[CALLERS] = {{0}};
    pthread_t threads[CALLERS];
    const int before = openblas_get_num_threads ? openblas_get_num_threads() : 0, ran = count_threads();
    sa_layer *layer = new_layer(true);
    sa_engine *one = engine_of_threads(1), *engines[2] = {engine_of_threads(THREADS), engine_of_threads(THREADS)};
    for (int r = 0; r < REQUESTS; r++)
        for (int64_t i = 0, first = 0; i < requests[r].n; first += requests[r].lengths[i++])
            forward(one, layer, &requests[r].lengths[i], 1, first, wanted[r] + first * D);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.engine = engines[i % (_i + 1)], .layer = layer, .number = i};
        for (int r = 0; r < REQUESTS; r++)
            callers[i].wanted[r] = wanted[r];
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    ck_assert_int_le(count_threads(), ran + 2 + (_i + 1) * (THREADS + 1) + CALLERS);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_msg(callers[i].right, "caller %d got other bits", i);
    }
    if (openblas_get_num_threads)
        ck_assert_int_eq(openblas_get_num_threads(), before);
    sa_engine_destroy(one);
    sa_engine_destroy(engines[0]);
    sa_engine_destroy(engines[1]);
    sa_layer_destroy(layer);
}
END_TEST

/* A thread that is to end while it calls ends after the call, whose result is whole. */
static void *call_until_cancelled(void *argument) {
    struct caller *c = argument;
    static float y[TOKENS * D];
    for (;;) {
        memset(y, 0, sizeof y);
        c->right = false;
        const bool served = try_forward(c->engine, c->layer, requests[0].lengths, 1, 0, y) == SA_OK;
        c->right = served && memcmp(y, c->wanted[0], sizeof y) == 0;
        if (!c->right)
            return NULL;
        pthread_testcancel();
    }
}

START_TEST(callers_that_are_cancelled) {
    static float wanted[TOKENS * D], y[TOKENS * D];
    const int before = openblas_get_num_threads ? openblas_get_num_threads() : 0;
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(3);
    struct caller c = {.engine = engine, .layer = layer, .wanted = {wanted}};
    forward(engine, layer, requests[0].lengths, 1, 0, wanted);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *result;
        ck_assert_int_eq(pthread_create(&thread, NULL, call_until_cancelled, &c), 0);
        sleep_ms(i % 4);
        ck_assert_int_eq(pthread_cancel(thread), 0);
        ck_assert_int_eq(pthread_join(thread, &result), 0);
        ck_assert(result == PTHREAD_CANCELED && (c.right || i == 0)); /* the first may be gone before it began */
        if (openblas_get_num_threads)
            ck_assert_int_eq(openblas_get_num_threads(), before);
        forward(engine, layer, requests[0].lengths, 1, 0, y);
        must_be_same(y, wanted, TOKENS * D, "after a cancelled call");
    }
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
    tcase_add_loop_test(tcase, bits_are_the_rows_own, 0, N_STORAGES);
    tcase_add_loop_test(tcase, steps_equal_one_call, 0, N_STORAGES);
    tcase_add_test(tcase, steps_of_many_sequences);
    tcase_add_loop_test(tcase, packed_steps, 0, N_STORAGES);
    tcase_add_test(tcase, tokens_share_dozens);
    tcase_add_test(tcase, in_place_and_nan);
    tcase_add_loop_test(tcase, callers_at_once, 0, 2);
    tcase_add_test(tcase, callers_that_are_cancelled);
    tcase_add_test(tcase, settings_of_blas_stay);
    return run_suite(suite);
}
