/* SPDX-License-Identifier: MIT */
/* What must hold without a reference: bits that do not depend on threads, batch, chunks, strides or instruction set,
 * and what softmax does to constant, scaled and permuted values. */
#include <math.h>

#include "agree.h"
#include "elements.h"
#include "reference.h"

/* A ragged batch under some rule. */
static struct drawn mixed(uint64_t seed, int64_t longest, int isa) {
    struct dice dice = {seed};
    struct drawn drawn = drawn_batch(seed, 6, 2, 24, 17);
    drawn_own(&drawn, isa);
    for (int s = 0; s < DRAWN_SEQS; s++)
        drawn_add(&drawn, roll_between(&dice, 0, 200), roll_between(&dice, 0, longest), -1, 4);
    drawn_rules(&drawn);
    return drawn;
}

/* ---------------------------------------------------------------- bits */

START_TEST(threads_do_not_matter) {
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct drawn drawn = mixed(seed, 2500, SA_ISA_AVX2);
        float *wanted = NULL;
        size_t n;
        for (int threads = 1; threads <= 8; threads++) {
            sa_engine *engine = engine_with(SA_ISA_AVX2, threads);
            for (int repeat = 0; engine && repeat < 3; repeat++) {
                float *got = drawn_compute(&drawn, engine, &n);
                if (wanted)
                    drawn_must_equal(got, wanted, n, "threads");
                free(wanted);
                wanted = got;
            }
            sa_engine_destroy(engine);
        }
        free(wanted);
        drawn_free(&drawn);
    }
}
END_TEST

START_TEST(instruction_sets_do_not_matter) {
    for (uint64_t seed = 10; seed < 40; seed++) {
        struct drawn drawn = mixed(seed, seed % 10 ? 150 : 2200, SA_ISA_AVX2);
        drawn_must_agree(&drawn, (int)seed);
        drawn_free(&drawn);
    }
}
END_TEST

/* Each sequence alone, and the batch backwards. */
START_TEST(company_does_not_matter) {
    sa_engine *engine = engine_with(_i, 2);
    for (uint64_t seed = 50; engine && seed < 58; seed++) {
        struct drawn drawn = mixed(seed, 400, _i), alone = drawn;
        size_t n, one, at = 0;
        float *together = drawn_compute(&drawn, engine, &n);
        for (int s = 0; s < DRAWN_SEQS; s++) {
            alone.seqs[0] = drawn.seqs[s];
            alone.batch.n_sequences = 1;
            float *got = drawn_compute(&alone, engine, &one);
            drawn_must_equal(got, together + at, one, "a sequence alone");
            at += one;
            free(got);
        }
        struct drawn backwards = drawn;
        for (int s = 0; s < DRAWN_SEQS; s++)
            backwards.seqs[s] = drawn.seqs[DRAWN_SEQS - 1 - s];
        free(drawn_compute(&backwards, engine, &n));
        float *again = drawn_outputs(&drawn, &n);
        drawn_must_equal(again, together, n, "the batch backwards");
        free(again);
        free(together);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* A prefill in one go, in chunks of any size, and token by token like a decode. */
START_TEST(chunks_of_queries_do_not_matter) {
    sa_engine *engine = engine_with(_i, 2);
    for (int chunk = 1; engine && chunk < 140; chunk += 1 + chunk / 2) {
        struct drawn drawn = drawn_batch((uint64_t)chunk, 6, 2, 20, 12);
        drawn_own(&drawn, _i);
        sa_sequence *whole = drawn_add(&drawn, 140, _i == SA_ISA_GENERIC ? 300 : 2100, PACKED, 4);
        drawn_rules(&drawn);
        whole->q_offset = whole->flags & SA_SEQ_Q_OFFSET ? whole->q_offset : whole->n_k - whole->n_q;
        whole->flags = SA_SEQ_Q_OFFSET;
        size_t n;
        float *wanted = drawn_compute(&drawn, engine, &n);
        drawn_forget(&drawn);
        sa_sequence all = *whole;
        for (int64_t begin = 0; begin < 140; begin += chunk) {
            *whole = all;
            whole->n_q = 140 - begin < chunk ? 140 - begin : chunk;
            whole->q_offset = all.q_offset + begin;
            whole->q.data = (const char *)all.q.data + begin * 6 * 20 * element_bytes(drawn.batch.q_type);
            whole->o.data = (float *)all.o.data + begin * 6 * 12;
            whole->lse = (sa_output){(float *)all.lse.data + begin, 1, 140};
            ck_assert(sa_batch_forward(engine, &drawn.batch) == SA_OK);
        }
        *whole = all;
        float *got = drawn_outputs(&drawn, &n);
        drawn_must_equal(got, wanted, n, "chunks");
        free(got);
        free(wanted);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Under causality a longer sequence begins like the shorter one. */
START_TEST(a_causal_prefix_stays) {
    sa_engine *engine = engine_with(_i, 2);
    for (int64_t n_short = 1; engine && n_short < 290; n_short += 31) {
        struct drawn drawn = drawn_batch(5, 2, 1, 16, 16);
        sa_sequence *s = drawn_add(&drawn, 300, 300, PACKED, 3);
        s->lse = (sa_output){s->lse.data, 2, 1};
        drawn.batch.flags = SA_CAUSAL;
        size_t n, prefix;
        float *whole = drawn_compute(&drawn, engine, &n);
        s->n_q = s->n_k = n_short;
        float *got = drawn_compute(&drawn, engine, &prefix);
        drawn_must_equal(got, whole, prefix, "causal prefix");
        free(got);
        free(whole);
        s->n_q = s->n_k = 300;
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* The same numbers (the same seed) in other layouts. */
START_TEST(strides_do_not_matter) {
    sa_engine *engine = engine_with(_i, 2);
    float *wanted = NULL;
    size_t n;
    for (int layout = 0; engine && layout < N_LAYOUTS; layout++) {
        struct drawn packed = drawn_batch(9, 4, 2, 19, 23), drawn = drawn_batch(1, 4, 2, 19, 23);
        sa_sequence *from = drawn_add(&packed, 77, 130, PACKED, 3), *to = drawn_add(&drawn, 77, 130, layout, 3);
        for (int64_t t = 0; t < 130; t++)
            for (int h = 0; h < 4; h++) {
                if (t < 77)
                    memcpy((void *)(uintptr_t)reference_q(&drawn.batch, to, t, h),
                           reference_q(&packed.batch, from, t, h), 19 * 4);
                if (h < 2) {
                    memcpy((void *)(uintptr_t)reference_k(&drawn.batch, to, t, h),
                           reference_k(&packed.batch, from, t, h), 19 * 4);
                    memcpy((void *)(uintptr_t)reference_v(&drawn.batch, to, t, h),
                           reference_v(&packed.batch, from, t, h), 23 * 4);
                }
            }
        float *got = drawn_compute(&drawn, engine, &n);
        if (wanted)
            drawn_must_equal(got, wanted, n, "layout");
        free(wanted);
        wanted = got;
        drawn_free(&packed);
        drawn_free(&drawn);
    }
    free(wanted);
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- what softmax does */

static void set_values(struct drawn *drawn, const sa_sequence *s, float (*value)(int64_t j, int c)) {
    for (int64_t j = 0; j < s->n_k; j++)
        for (int c = 0; c < drawn->batch.d_v; c++)
            ((float *)(uintptr_t)reference_v(&drawn->batch, s, j, 0))[c] = value(j, c);
}

static float same_for_all_keys(int64_t j, int c) { return (float)(c + 1) + 0.0f * (float)j; }

START_TEST(constant_values_come_out) {
    sa_engine *engine = engine_with(_i, 2);
    if (engine) {
        struct drawn drawn = drawn_batch(3, 1, 1, 16, 9);
        sa_sequence *s = drawn_add(&drawn, 100, 700, PACKED, 5);
        set_values(&drawn, s, same_for_all_keys);
        drawn_check(&drawn, engine, 100);
        for (int64_t t = 0; t < 100; t++)
            for (int c = 0; c < 9; c++)
                must(fabsf(reference_o(&drawn.batch, s, t, 0)[c] - (float)(c + 1)) < 4e-5f, "row %lld", (long long)t);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Doubling is exact in binary: so must be its effect. */
START_TEST(twice_the_values_twice_the_output) {
    sa_engine *engine = engine_with(_i, 2);
    if (engine) {
        struct drawn drawn = drawn_batch(4, 1, 1, 16, 9);
        sa_sequence *s = drawn_add(&drawn, 60, 500, PACKED, 5);
        size_t n;
        float *once = drawn_compute(&drawn, engine, &n);
        for (int64_t i = 0; i < 500 * 9; i++)
            ((float *)(uintptr_t)s->v.data)[i] *= 2;
        float *twice = drawn_compute(&drawn, engine, &n);
        for (size_t i = 0; i < n; i++)
            must(twice[i] == (i % 10 == 9 ? once[i] : 2 * once[i]), "output %zu", i);
        free(once);
        free(twice);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Keys in another order: the same within the bound, which drawn_check() holds it to. */
START_TEST(the_order_of_keys_hardly_matters) {
    sa_engine *engine = engine_with(_i, 2);
    if (engine) {
        struct drawn drawn = drawn_batch(6, 1, 1, 8, 8);
        sa_sequence *s = drawn_add(&drawn, 33, 400, PACKED, 4);
        size_t n;
        float *wanted = drawn_compute(&drawn, engine, &n);
        s->k = (sa_tensor){(const float *)s->k.data + 399 * 8, -8, 0};
        s->v = (sa_tensor){(const float *)s->v.data + 399 * 8, -8, 0};
        drawn_check(&drawn, engine, 33);
        float *got = drawn_outputs(&drawn, &n);
        for (size_t i = 0; i < n; i++)
            must(fabsf(got[i] - wanted[i]) < 1e-5f, "output %zu", i);
        free(got);
        free(wanted);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("properties");
    TCase *tcase = add_case(suite, "properties");
    tcase_add_test(tcase, threads_do_not_matter);
    tcase_add_test(tcase, instruction_sets_do_not_matter);
    tcase_add_loop_test(tcase, company_does_not_matter, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, chunks_of_queries_do_not_matter, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, a_causal_prefix_stays, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, strides_do_not_matter, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, constant_values_come_out, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, twice_the_values_twice_the_output, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, the_order_of_keys_hardly_matters, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
