/* SPDX-License-Identifier: MIT */
/* Every allocation of a layer fails once: a status and a reason, nothing leaked, layer and engine as good as before;
 * and the second call of a shape asks for no memory. */
#include "heap.h"
#include "layer_calls.h"

enum { STEP = 100 };

static const struct request {
    int n, n_threads;
    int64_t lengths[MOST_SEQS];
} requests[] = {{1, 1, {3}}, {5, 1, {100, 1, 200, 15, 17}}, {5, 3, {100, 1, 200, 15, 17}}};
enum { REQUESTS = sizeof requests / sizeof *requests };

/* Weights that are copied, and those that stay where they are: of 16 bits, so that a call converts them. */
START_TEST(making_a_layer) {
    static uint16_t w[4][D * D];
    static float b[D];
    const sa_layer_options options = {.struct_size = sizeof options,
                                      .d_model = D,
                                      .n_query_heads = HEADS,
                                      .weight_type = SA_BF16,
                                      .flags = _i ? SA_LAYER_REFERENCE : 0,
                                      .w_q = {w[0], 0},
                                      .w_k = {w[1], 0},
                                      .w_v = {w[2], 0},
                                      .w_o = {w[3], 0},
                                      .b_q = b};
    for (int n = 1;; n++) {
        sa_layer *layer = (sa_layer *)(void *)w;
        fail_at(n);
        sa_status status = sa_layer_create(&options, &layer);
        if (!has_failed()) {
            ck_assert_int_eq(status, SA_OK);
            sa_layer_destroy(layer);
            ck_assert_int_eq(live(), 0);
            ck_assert_int_ge(n, 3); /* the layer and what is copied */
            return;
        }
        check_no_memory(status);
        ck_assert_ptr_null(layer);
        ck_assert_int_eq(live(), 0);
    }
}
END_TEST

/* On a new engine and layer each time; the workspace comes before anything is written. */
START_TEST(calling) {
    static float y[TOKENS * D], wanted[TOKENS * D];
    const struct request *r = &requests[_i];
    const int before = openblas_get_num_threads ? openblas_get_num_threads() : 0;
    for (int n = 0;; n++) {
        sa_layer *layer = new_layer(true);
        sa_engine *engine = engine_of_threads(r->n_threads);
        memset(y, 0x5a, sizeof y);
        fail_at(n);
        const sa_status status = try_forward(engine, layer, r->lengths, r->n, 0, y);
        const bool failed = has_failed();
        if (failed) {
            check_no_memory(status);
            must(bits_of(y[0]) == 0x5a5a5a5a, "y was written when allocation %d failed", n);
        } else {
            ck_assert_int_eq(status, SA_OK);
        }
        if (n == 0)
            memcpy(wanted, y, sizeof y);
        memset(y, 0x5a, sizeof y);
        if (openblas_get_num_threads)
            ck_assert_int_eq(openblas_get_num_threads(), before);
        forward(engine, layer, r->lengths, r->n, 0, y);
        must(!memcmp(y, wanted, sizeof y), "other bits after allocation %d failed", n);
        sa_layer_destroy(layer);
        sa_engine_destroy(engine);
        ck_assert_int_eq(live(), 0);
        if (n > 0 && !failed) {
            ck_assert_int_ge(n, 7); /* two for the workspace, the engine's own */
            return;
        }
    }
}
END_TEST

/* Ragged batches, and steps through a cache. */
START_TEST(the_second_call) {
    static float y[TOKENS * D], k[TOKENS * D_KV], v[TOKENS * D_KV];
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(2);
    int after_first = 0;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < REQUESTS; i++)
            forward(engine, layer, requests[i].lengths, requests[i].n, 0, y);
        for (int64_t done = 0; done < TOKENS; done += STEP) {
            const int64_t n = TOKENS - done < STEP ? TOKENS - done : STEP;
            sa_sequence seq = {.n_q = n, .n_k = done + n, .k = {k, 0, 0}, .v = {v, 0, 0}};
            sa_layer_tokens tokens = {.x = x + done * D, .y = y};
            sa_batch attention = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &seq, .flags = SA_CAUSAL};
            sa_layer_batch batch = {SA_LAYER_BATCH_HEAD, .attention = &attention, .tokens = &tokens};
            must(sa_layer_forward(engine, layer, &batch) == SA_OK, "%s", sa_last_reason());
        }
        after_first = round == 0 ? asked() : after_first;
        must(asked() == after_first, "round %d: memory was asked for %d times", round, asked() - after_first);
    }
    sa_layer_destroy(layer);
    sa_engine_destroy(engine);
    ck_assert_int_eq(live(), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("layer_memory");
    TCase *tcase = add_case(suite, "memory");
    tcase_add_loop_test(tcase, making_a_layer, 0, 2);
    tcase_add_loop_test(tcase, calling, 0, REQUESTS);
    tcase_add_test(tcase, the_second_call);
    return run_suite(suite);
}
