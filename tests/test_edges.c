/* SPDX-License-Identifier: MIT */
/* The edge values that the header promises, on every instruction set. */
#include <math.h>

#include "drawn.h"
#include "engines.h"
#include "reference.h"

static void run(struct drawn *drawn, sa_engine *engine) {
    drawn_forget(drawn);
    must(sa_batch_forward(engine, &drawn->batch) == SA_OK, "%s", sa_last_reason());
}

/* ---------------------------------------------------------------- what nobody sees */

static void check_poison(sa_engine *engine, int isa, uint64_t seed, int64_t n_k_most, float poison) {
    struct dice dice = {seed};
    struct drawn drawn = drawn_batch(seed, 6, 2, 20, 13);
    drawn_own(&drawn, isa);
    drawn_add(&drawn, roll_between(&dice, 1, 100), roll_between(&dice, 1, n_k_most), -1, 3);
    drawn_add(&drawn, roll_between(&dice, 1, 30), roll_between(&dice, 1, 40), -1, 3);
    drawn_rules(&drawn);
    size_t n;
    float *clean = drawn_compute(&drawn, engine, &n);
    for (int s = 0; s < 2; s++)
        drawn_poison(&drawn, s, -1, poison);
    float *poisoned = drawn_compute(&drawn, engine, &n);
    drawn_must_equal(poisoned, clean, n, "poison that no row sees");
    free(clean);
    free(poisoned);
    drawn_free(&drawn);
}

START_TEST(poison_that_no_row_sees) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < 60; i++)
        check_poison(engine, _i, (uint64_t)i, _i != SA_ISA_GENERIC && i % 6 == 0 ? 3000 : 300, i % 2 ? NAN : INFINITY);
    sa_engine_destroy(engine);
}
END_TEST

/* o as floats, and lse. */
static void copy_heads(const struct drawn *drawn, int64_t row, float to[2][22]) {
    const sa_batch *b = &drawn->batch;
    for (int h = 0; h < 2; h++) {
        const int head = h * (b->n_query_heads - 1);
        for (int c = 0; c < 21; c++)
            to[h][c] = (float)reference_output(b, drawn->seqs, row, head, c);
        to[h][21] = *reference_lse(b, drawn->seqs, row, head);
    }
}

/* Other rows of the same tile see the poison; this one must not notice. In bf16, of which keys may be multiplied two by
 * two, sixteen heads are a group that sees either both of a pair or one. */
static void check_poison_of_others(sa_engine *engine, uint64_t seed, bool bf16) {
    struct drawn drawn = drawn_batch(seed, bf16 ? 32 : 2, 2, bf16 ? 10 : 9, 21);
    if (bf16)
        drawn.batch.q_type = drawn.batch.k_type = drawn.batch.v_type = SA_BF16;
    drawn_add(&drawn, 70, 90 + 7 * (int64_t)seed, -1, 3);
    drawn_rules(&drawn);
    drawn.batch.flags |= SA_CAUSAL;
    const int64_t row = roll_between(&drawn.dice, 0, 69);
    float before[2][22], after[2][22];
    run(&drawn, engine);
    copy_heads(&drawn, row, before);
    drawn_poison(&drawn, 0, row, seed % 3 == 0 ? -INFINITY : NAN);
    run(&drawn, engine);
    copy_heads(&drawn, row, after);
    drawn_must_equal(after[0], before[0], 2 * 22, "poison that other rows see");
    drawn_free(&drawn);
}

START_TEST(poison_that_other_rows_see) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < 120; i++)
        check_poison_of_others(engine, (uint64_t)i / 2, i % 2);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(rows_that_see_nothing) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < 12; i++) {
        struct drawn drawn = drawn_batch((uint64_t)i, 3, 1, 16, 16);
        sa_sequence *s = drawn_add(&drawn, 90, 40 + 30 * i, -1, 2);
        drawn.batch.flags = SA_CAUSAL;
        s->flags = SA_SEQ_Q_OFFSET;
        s->q_offset = -20 - i; /* rows 0 .. 19 + i stand before the first key */
        drawn_check(&drawn, engine, 300);
        for (int c = 0; c < 16; c++)
            ck_assert_uint_eq(bits_of(reference_o(&drawn.batch, s, 19, 2)[c]), 0);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- NaN and inf that are seen */

static bool row_is_nan(const struct drawn *drawn, const sa_sequence *s, int64_t token, int head) {
    bool all = true;
    for (int c = 0; c < drawn->batch.d_v; c++)
        all = all && isnan(reference_o(&drawn->batch, s, token, head)[c]);
    return all && isnan(*reference_lse(&drawn->batch, s, token, head));
}

static bool row_is_finite(const struct drawn *drawn, const sa_sequence *s, int64_t token, int head) {
    bool all = isfinite(*reference_lse(&drawn->batch, s, token, head));
    for (int c = 0; c < drawn->batch.d_v; c++)
        all = all && isfinite(reference_o(&drawn->batch, s, token, head)[c]);
    return all;
}

/* A NaN that carries anything in its low bits must stay one. */
static float nan_with(uint32_t payload) { return float_of(0x7fc00000u | payload); }

START_TEST(nan_in_a_query_is_nan_in_its_row) {
    sa_engine *engine = engine_with(_i, 1);
    for (int64_t token = 0; engine && token < 67; token++) {
        struct drawn drawn = drawn_batch((uint64_t)token, 1, 1, 10, 5);
        sa_sequence *s = drawn_add(&drawn, 67, 300, PACKED, 2);
        ((float *)(uintptr_t)reference_q(&drawn.batch, s, token, 0))[token % 10] = nan_with((uint32_t)(token * 37 + 1));
        run(&drawn, engine);
        for (int64_t i = 0; i < 67; i++)
            must(i == token ? row_is_nan(&drawn, s, i, 0) : row_is_finite(&drawn, s, i, 0),
                 "NaN in row %lld shows in %lld", (long long)token, (long long)i);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Key j is seen by the rows from j - offset on; +inf in a key gives +-inf or NaN scores: never a finite row with +inf.
 */
START_TEST(nan_in_a_key_is_nan_in_the_rows_that_see_it) {
    sa_engine *engine = engine_with(_i, 1);
    for (int64_t j = 0; engine && j < 280; j += 1 + j / 20) {
        struct drawn drawn = drawn_batch((uint64_t)j, 1, 1, 7, 5);
        sa_sequence *s = drawn_add(&drawn, 280, 280, PACKED, 2);
        drawn.batch.flags = SA_CAUSAL;
        ((float *)(uintptr_t)reference_k(&drawn.batch, s, j, 0))[j % 7] = nan_with((uint32_t)(j * 513 + 1));
        run(&drawn, engine);
        for (int64_t i = 0; i < 280; i++)
            must(i >= j ? row_is_nan(&drawn, s, i, 0) : row_is_finite(&drawn, s, i, 0), "NaN in key %lld, row %lld",
                 (long long)j, (long long)i);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(nan_in_a_value_is_nan_in_its_column) {
    sa_engine *engine = engine_with(_i, 1);
    for (int64_t j = 0; engine && j < 90; j++) {
        struct drawn drawn = drawn_batch((uint64_t)j, 1, 1, 7, 11);
        sa_sequence *s = drawn_add(&drawn, 90, 90, PACKED, 2);
        drawn.batch.flags = SA_CAUSAL;
        ((float *)(uintptr_t)reference_v(&drawn.batch, s, j, 0))[j % 11] = nan_with((uint32_t)j);
        run(&drawn, engine);
        for (int64_t i = 0; i < 90; i++)
            for (int c = 0; c < 11; c++)
                must(isnan(reference_o(&drawn.batch, s, i, 0)[c]) == (i >= j && c == j % 11),
                     "NaN in value %lld dimension %lld: row %lld dimension %d", (long long)j, (long long)j % 11,
                     (long long)i, c);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- large and small scores */

/* One dimension: scores are q k, so that they can be named. */
static sa_sequence *one_row(struct drawn *drawn, int64_t n_k, float q) {
    *drawn = drawn_batch(7, 1, 1, 1, 3);
    sa_sequence *s = drawn_add(drawn, 1, n_k, PACKED, 1);
    drawn->batch.scale = 1;
    *(float *)(uintptr_t)s->q.data = q;
    return s;
}

START_TEST(scores_that_are_all_alike_and_huge) {
    static const float sizes[] = {0, 1e6f, -1e6f, 1e30f, -1e30f, 2e38f, -2e38f, 1e-40f};
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 8; i++) {
        struct drawn drawn;
        sa_sequence *s = one_row(&drawn, 300, 1);
        double mean[3] = {0};
        for (int64_t j = 0; j < 300; j++) {
            *(float *)(uintptr_t)reference_k(&drawn.batch, s, j, 0) = sizes[i];
            for (int c = 0; c < 3; c++)
                mean[c] += (double)((const float *)reference_v(&drawn.batch, s, j, 0))[c] / 300;
        }
        run(&drawn, engine);
        for (int c = 0; c < 3; c++)
            must(fabs((double)((float *)s->o.data)[c] - mean[c]) < 1e-6, "scores of %g: %g, not the mean %g",
                 (double)sizes[i], (double)((float *)s->o.data)[c], mean[c]);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* The largest of scores a million apart takes all; no finite sentinel is mistaken for it. */
START_TEST(scores_that_differ_by_a_million) {
    sa_engine *engine = engine_with(_i, 1);
    for (int64_t best = 0; engine && best < 290; best += 17) {
        struct drawn drawn;
        sa_sequence *s = one_row(&drawn, 290, 1);
        for (int64_t j = 0; j < 290; j++)
            *(float *)(uintptr_t)reference_k(&drawn.batch, s, j, 0) = -3e6f - (float)(j % 5) * 1e6f;
        *(float *)(uintptr_t)reference_k(&drawn.batch, s, best, 0) = -2e6f;
        run(&drawn, engine);
        for (int c = 0; c < 3; c++)
            ck_assert(((float *)s->o.data)[c] == ((const float *)reference_v(&drawn.batch, s, best, 0))[c]);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(an_infinite_score) {
    sa_engine *engine = engine_with(_i, 1);
    for (int64_t at = 0; engine && at < 290; at += 29) {
        struct drawn drawn;
        sa_sequence *s = one_row(&drawn, 290, 1);
        float *k = (float *)(uintptr_t)reference_k(&drawn.batch, s, at, 0);
        *k = INFINITY;
        run(&drawn, engine);
        ck_assert(row_is_nan(&drawn, s, 0, 0));
        *k = -INFINITY; /* a weight of 0 */
        run(&drawn, engine);
        ck_assert(row_is_finite(&drawn, s, 0, 0));
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(subnormals_are_honoured) {
    sa_engine *engine = engine_with(_i, 1);
    if (engine) {
        struct drawn drawn;
        sa_sequence *s = one_row(&drawn, 2, 0);
        for (int64_t j = 0; j < 2; j++)
            for (int c = 0; c < 3; c++)
                ((float *)(uintptr_t)reference_v(&drawn.batch, s, j, 0))[c] = 0x1p-140f;
        run(&drawn, engine);
        for (int c = 0; c < 3; c++)
            ck_assert(((float *)s->o.data)[c] == 0x1p-140f);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Values of -0, and one so small that its share of the mean rounds to zero from below. */
START_TEST(zeros_are_positive) {
    static const float values[] = {-0.0f, -0x1p-149f};
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 2; i++) {
        struct drawn drawn = drawn_batch(1, 1, 1, 4, 6);
        sa_sequence *s = drawn_add(&drawn, 40, 60, PACKED, 1);
        for (int64_t j = 0; j < 60; j++)
            for (int c = 0; c < 6; c++)
                ((float *)(uintptr_t)reference_v(&drawn.batch, s, j, 0))[c] = j == 0 ? values[i] : -0.0f;
        run(&drawn, engine);
        for (int e = 0; e < 240; e++)
            ck_assert_uint_eq(bits_of(((float *)s->o.data)[e]), 0);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- strides that lead nowhere */

/* A second token there is not; the sanitizers watch where pointers go. Twenty heads are two groups of rows. */
START_TEST(the_stride_of_a_single_token_may_be_anything) {
    static const int64_t strides[] = {1, INT64_MAX, INT64_MIN, INT64_C(1) << 61, -(INT64_C(1) << 62)};
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 5; i++) {
        struct drawn drawn = drawn_batch(3, 20, 1, 17, 33);
        sa_sequence *s = drawn_add(&drawn, 1, 1, PACKED, 1);
        s->q.head_stride = 17, s->o.head_stride = 33, s->lse.head_stride = 1;
        s->q.token_stride = s->k.token_stride = s->v.token_stride = strides[i];
        s->o.token_stride = s->lse.token_stride = strides[i];
        drawn_check(&drawn, engine, 20);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("edges");
    TCase *tcase = add_case(suite, "edges");
    tcase_add_loop_test(tcase, poison_that_no_row_sees, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, poison_that_other_rows_see, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, rows_that_see_nothing, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, nan_in_a_query_is_nan_in_its_row, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, nan_in_a_key_is_nan_in_the_rows_that_see_it, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, nan_in_a_value_is_nan_in_its_column, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, scores_that_are_all_alike_and_huge, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, scores_that_differ_by_a_million, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, an_infinite_score, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, subnormals_are_honoured, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, zeros_are_positive, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, the_stride_of_a_single_token_may_be_anything, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
