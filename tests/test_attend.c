/* SPDX-License-Identifier: MIT */
/* sa_batch_forward() against the float64 reference, within the bound of the header, on every instruction set, between
 * guard pages. */
#include <math.h>

#include "drawn.h"
#include "engines.h"
#include "reference.h"

START_TEST(sizes_around_the_edges) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 60); i++) {
        struct dice dice = {(uint64_t)i};
        int64_t most = _i == SA_ISA_GENERIC ? 257 : 2049;
        struct drawn drawn = drawn_batch((uint64_t)i, 2, 1, 8 + i % 5, 12);
        drawn_own(&drawn, _i);
        drawn_add(&drawn, drawn_edge(&dice, 257), drawn_edge(&dice, most), -1, 3);
        if (i % 2)
            drawn.batch.flags = SA_CAUSAL;
        drawn_check(&drawn, engine, 80);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(every_head_dimension) {
    sa_engine *engine = engine_with(_i, 1);
    for (int d = 1; engine && d <= 576; d++) {
        struct drawn drawn = drawn_batch((uint64_t)d, 1, 1, d, 577 - d);
        drawn_add(&drawn, 1 + d % 3, 5 + d % 16, -1, 2);
        drawn_check(&drawn, engine, 8);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(heads_that_share_keys) {
    static const int heads[][2] = {{1, 1}, {3, 1}, {14, 2}, {5, 5}, {32, 8}, {64, 1}, {65, 1}, {130, 1}};
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < 16; i++) {
        struct drawn drawn = drawn_batch((uint64_t)i, heads[i / 2][0], heads[i / 2][1], 24, 16);
        drawn_own(&drawn, _i);
        drawn_add(&drawn, i % 2 ? 1 : 37, 70, -1, 3);
        drawn.batch.flags = SA_CAUSAL;
        drawn_check(&drawn, engine, 150);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(any_rule_on_a_ragged_batch) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 240); i++) {
        struct dice dice = {(uint64_t)(1000 + i)};
        int kv_heads = (int)roll_between(&dice, 1, 3);
        struct drawn drawn = drawn_batch((uint64_t)i, kv_heads * (int)roll_between(&dice, 1, 4), kv_heads,
                                         (int)roll_between(&dice, 1, 40), (int)roll_between(&dice, 1, 40));
        drawn_own(&drawn, _i);
        int n = (int)roll_between(&dice, 1, DRAWN_SEQS);
        for (int s = 0; s < n; s++)
            drawn_add(&drawn, roll_between(&dice, 0, 130), roll_between(&dice, 0, 330), -1, 4);
        drawn_rules(&drawn);
        drawn_check(&drawn, engine, 60);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(any_rule_over_chunks) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 40); i++) {
        struct dice dice = {(uint64_t)(2000 + i)};
        struct drawn drawn = drawn_batch((uint64_t)i, 2, 1, 8, 8);
        drawn_own(&drawn, _i);
        drawn_add(&drawn, roll_between(&dice, 1, 200), roll_between(&dice, 900, _i == SA_ISA_GENERIC ? 2500 : 18000),
                  -1, 6);
        drawn_rules(&drawn);
        drawn_check(&drawn, engine, 20);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Packed tokens of so many heads that rows of k, of v or of both are a multiple of 2048 bytes apart. */
START_TEST(rows_that_stand_badly) {
    static const int dims[][3] = {{8, 64, 64}, {4, 128, 64}, {4, 64, 128}, {1, 512, 512}, {16, 32, 96}, {1, 512, 3}};
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 36); i++) {
        struct dice dice = {(uint64_t)(3000 + i)};
        const int *d = dims[i % 6];
        struct drawn drawn = drawn_batch((uint64_t)i, d[0], d[0], d[1], d[2]);
        drawn_own(&drawn, _i);
        drawn_add(&drawn, roll_between(&dice, 1, 70), roll_between(&dice, 1, 600), i % 4 ? PACKED : BACKWARDS, 0.5f);
        drawn_rules(&drawn);
        drawn_poison(&drawn, 0, -1, NAN);
        drawn_check(&drawn, engine, 40);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(nothing_to_do) {
    sa_engine *engine = engine_with(_i, 2);
    static const int64_t sizes[][2] = {{0, 0}, {0, 5}, {5, 0}};
    for (int i = 0; engine && i < 4; i++) {
        struct drawn drawn = drawn_batch(1, 2, 2, 8, 8);
        for (int s = 0; s < i; s++)
            drawn_add(&drawn, sizes[s][0], sizes[s][1], -1, 1);
        drawn_check(&drawn, engine, 50);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* The error does not grow with the number of keys. */
START_TEST(a_hundred_thousand_keys) {
    sa_engine *engine = engine_with(_i, 2);
    double worst[3] = {0};
    for (int i = 0; engine && _i != SA_ISA_GENERIC && i < 3; i++) {
        static const int64_t n_k[] = {1000, 10000, 100000};
        struct drawn drawn = drawn_batch(3, 1, 1, 16, 16);
        double values[32];
        struct reference_row row = {.o = values, .bound = values + 16};
        const sa_sequence *s = drawn_add(&drawn, 16, n_k[i], PACKED, 1);
        drawn_check(&drawn, engine, 16);
        for (int64_t t = 0; t < 16; t++) {
            reference_row(&drawn.batch, 0, t, 0, &row);
            for (int c = 0; c < 16; c++)
                worst[i] = fmax(worst[i], fabs((double)reference_o(&drawn.batch, s, t, 0)[c] - row.o[c]));
        }
        drawn_free(&drawn);
    }
    ck_assert_msg(worst[2] <= 2 * worst[0], "largest errors %g, %g, %g", worst[0], worst[1], worst[2]);
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("attend");
    TCase *tcase = add_case(suite, "reference");
    tcase_add_loop_test(tcase, sizes_around_the_edges, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, every_head_dimension, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, heads_that_share_keys, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, any_rule_on_a_ragged_batch, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, any_rule_over_chunks, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, rows_that_stand_badly, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, nothing_to_do, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, a_hundred_thousand_keys, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
