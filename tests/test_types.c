/* SPDX-License-Identifier: MIT */
/* Elements of every type, chosen apart for q, k, v and o: against float64 within the bound, and bit for bit against
 * their floats. On every instruction set, between guard pages, at any alignment of an element. */
#include <math.h>

#include "agree.h"
#include "elements.h"
#include "reference.h"

static const int types[] = {SA_F32, SA_BF16, SA_F16, SA_I8};

/* ---------------------------------------------------------------- against float64 */

enum { N_COMBINATIONS = 3 * 4 * 4 * 3 };

/* Each combination of q, k, v and o once in so many numbers. */
static void combine(struct drawn *drawn, int i) {
    sa_batch *b = &drawn->batch;
    drawn_types(drawn);
    b->q_type = types[i % 3];
    b->k_type = types[i / 3 % 4];
    b->v_type = types[i / 12 % 4];
    b->o_type = types[i / 48 % 3];
}

START_TEST(every_combination) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < N_COMBINATIONS; i++) {
        struct dice dice = {(uint64_t)i};
        const int64_t most = i % 12 ? 257 : _i == SA_ISA_GENERIC ? 513 : 2049;
        struct drawn drawn =
            drawn_batch((uint64_t)i, 4, 2, (int)roll_between(&dice, 1, 40), (int)roll_between(&dice, 1, 40));
        combine(&drawn, i);
        drawn_add(&drawn, drawn_edge(&dice, 65), drawn_edge(&dice, most), -1, 3);
        drawn_add(&drawn, roll_between(&dice, 1, 8), drawn_edge(&dice, most), -1, 3);
        if (i % 2)
            drawn.batch.flags |= SA_CAUSAL;
        drawn_check(&drawn, engine, 12);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Lengths of the last vector of a row, and rows far apart. */
START_TEST(every_head_dimension) {
    sa_engine *engine = engine_with(_i, 1);
    for (int d = 1; engine && d <= 576; d += d < 70 ? 1 : 5) {
        struct drawn drawn = drawn_batch((uint64_t)d, 2, 1, d, 577 - d);
        drawn_types(&drawn);
        drawn_add(&drawn, 1 + d % 3, 5 + d % 37, -1, 2);
        drawn_check(&drawn, engine, 4);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(any_rule_on_a_ragged_batch) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 120); i++) {
        struct dice dice = {(uint64_t)(1000 + i)};
        const int kv_heads = (int)roll_between(&dice, 1, 3), n = (int)roll_between(&dice, 1, DRAWN_SEQS);
        struct drawn drawn = drawn_batch((uint64_t)i, kv_heads * (int)roll_between(&dice, 1, 4), kv_heads,
                                         (int)roll_between(&dice, 1, 40), (int)roll_between(&dice, 1, 40));
        drawn_types(&drawn);
        for (int s = 0; s < n; s++)
            drawn_add(&drawn, roll_between(&dice, 0, roll_one_in(&dice, 2) ? 8 : 130), roll_between(&dice, 0, 600), -1,
                      4);
        drawn_rules(&drawn);
        for (int s = 0; s < n; s++)
            drawn_poison(&drawn, s, -1, roll_one_in(&dice, 2) ? NAN : -INFINITY);
        drawn_check(&drawn, engine, 30);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(any_rule_over_chunks) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 24); i++) {
        struct dice dice = {(uint64_t)(2000 + i)};
        struct drawn drawn = drawn_batch((uint64_t)i, 2, 1, 8, 8);
        drawn_types(&drawn);
        drawn_add(&drawn, roll_between(&dice, 1, 100), roll_between(&dice, 900, _i == SA_ISA_GENERIC ? 2500 : 12000),
                  -1, 6);
        drawn_rules(&drawn);
        drawn_check(&drawn, engine, 10);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- against floats */

/* Whatever stands at a place, as what it stands for. */
static double meant(const sa_batch *b, int type, const void *at, const void *scale) {
    return element_value(type, at) * (type == SA_I8 ? element_value(b->scale_type, scale) : 1);
}

static void copy_row(const sa_batch *b, int type, const void *from, const void *scale, const void *to, int d) {
    for (int c = 0; c < d; c++)
        ((float *)(uintptr_t)to)[c] = (float)meant(b, type, (const char *)from + c * element_bytes(type), scale);
}

static void copy_rows(const sa_batch *b, const sa_sequence *from, const sa_batch *floats, const sa_sequence *to) {
    for (int64_t t = 0; t < from->n_q; t++)
        for (int h = 0; h < b->n_query_heads; h++)
            copy_row(b, b->q_type, reference_q(b, from, t, h), NULL, reference_q(floats, to, t, h), b->d_qk);
    for (int64_t t = 0; t < from->n_k; t++)
        for (int h = 0; h < b->n_kv_heads; h++) {
            const void *k_scale = b->k_type == SA_I8 ? reference_k_scale(b, from, t, h) : NULL,
                       *v_scale = b->v_type == SA_I8 ? reference_v_scale(b, from, t, h) : NULL;
            copy_row(b, b->k_type, reference_k(b, from, t, h), k_scale, reference_k(floats, to, t, h), b->d_qk);
            copy_row(b, b->v_type, reference_v(b, from, t, h), v_scale, reference_v(floats, to, t, h), b->d_v);
        }
}

/* The same numbers as SA_F32, in layouts of their own. */
static struct drawn as_floats(const struct drawn *drawn) {
    const sa_batch *b = &drawn->batch;
    struct drawn floats = drawn_batch(77, b->n_query_heads, b->n_kv_heads, b->d_qk, b->d_v);
    for (int64_t i = 0; i < b->n_sequences; i++) {
        sa_sequence *s = drawn_add(&floats, drawn->seqs[i].n_q, drawn->seqs[i].n_k, -1, 1);
        s->flags = drawn->seqs[i].flags;
        s->q_offset = drawn->seqs[i].q_offset;
        copy_rows(b, &drawn->seqs[i], &floats.batch, s);
    }
    floats.batch.flags = b->flags & ~SA_SCALES_PER_HEAD;
    floats.batch.scale = b->scale;
    floats.batch.window_left = b->window_left;
    floats.batch.window_right = b->window_right;
    floats.batch.n_sink_keys = b->n_sink_keys;
    return floats;
}

/* Rounds all elements of o, not lse, which stands behind each row. */
static void round_outputs(const sa_batch *b, float *outputs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t rounded;
        if (i % ((size_t)b->d_v + 1) == (size_t)b->d_v)
            continue;
        element_store(b->o_type, (double)outputs[i], &rounded);
        outputs[i] = (float)element_value(b->o_type, &rounded);
    }
}

static void check_against_floats(struct drawn *drawn, sa_engine *engine, const char *what) {
    struct drawn floats = as_floats(drawn);
    size_t n;
    float *wanted = drawn_compute(&floats, engine, &n), *got = drawn_compute(drawn, engine, &n);
    round_outputs(&drawn->batch, wanted, n);
    drawn_must_equal(got, wanted, n, what);
    free(wanted);
    free(got);
    drawn_free(&floats);
}

static struct drawn draw_ragged(uint64_t seed, struct dice *dice) {
    struct drawn drawn = drawn_batch(seed, 6, 2, (int)roll_between(dice, 1, 50), (int)roll_between(dice, 1, 50));
    drawn_types(&drawn);
    return drawn;
}

static void add_ragged(struct drawn *drawn, struct dice *dice, int isa) {
    for (int s = 0; s < 3; s++)
        drawn_add(drawn, roll_between(dice, 1, s ? 9 : 90), roll_between(dice, 1, isa == SA_ISA_GENERIC ? 300 : 1500),
                  -1, 3);
    drawn_rules(drawn);
}

START_TEST(sixteen_bits_are_their_floats) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 36); i++) {
        struct dice dice = {(uint64_t)(3000 + i)};
        struct drawn drawn = draw_ragged((uint64_t)i, &dice);
        drawn.batch.k_type = types[i % 3];
        drawn.batch.v_type = types[i / 3 % 3];
        add_ragged(&drawn, &dice, _i);
        if (!has_bits_of_its_own(&drawn, _i))
            check_against_floats(&drawn, engine, "16 bits");
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

static void set_scales(struct drawn *drawn,
                       const void *(*scale_of)(const sa_batch *, const sa_sequence *, int64_t, int)) {
    const sa_batch *b = &drawn->batch;
    for (int64_t i = 0; i < b->n_sequences; i++)
        for (int64_t t = 0; t < drawn->seqs[i].n_k; t++)
            for (int h = 0; h < b->n_kv_heads; h++) {
                const double scale =
                    ldexp(roll_one_in(&drawn->dice, 4) ? -1 : 1, (int)roll_between(&drawn->dice, -10, -5));
                element_store(b->scale_type, scale, (void *)(uintptr_t)scale_of(b, &drawn->seqs[i], t, h));
            }
}

/* A power of two may be multiplied sooner or later. */
START_TEST(int8_by_a_power_of_two_is_its_floats) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 36); i++) {
        struct dice dice = {(uint64_t)(4000 + i)};
        struct drawn drawn = draw_ragged((uint64_t)i, &dice);
        drawn.batch.k_type = i % 3 == 0 ? types[i / 3 % 4] : SA_I8;
        drawn.batch.v_type = i % 3 == 1 ? types[i / 3 % 4] : SA_I8;
        add_ragged(&drawn, &dice, _i);
        if (drawn.batch.k_type == SA_I8)
            set_scales(&drawn, reference_k_scale);
        if (drawn.batch.v_type == SA_I8)
            set_scales(&drawn, reference_v_scale);
        if (!has_bits_of_its_own(&drawn, _i))
            check_against_floats(&drawn, engine, "int8");
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- between instruction sets, threads and companies */

START_TEST(instruction_sets_and_threads_do_not_matter) {
    for (int i = 0; i < 24; i++) {
        struct dice dice = {(uint64_t)(5000 + i)};
        struct drawn drawn = draw_ragged((uint64_t)i, &dice);
        combine(&drawn, i * 43 % N_COMBINATIONS);
        add_ragged(&drawn, &dice, i % 8 ? SA_ISA_GENERIC : SA_ISA_AVX2);
        drawn_must_agree(&drawn, i);
        drawn_free(&drawn);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("types");
    TCase *tcase = add_case(suite, "types");
    tcase_add_loop_test(tcase, every_combination, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, every_head_dimension, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, any_rule_on_a_ragged_batch, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, any_rule_over_chunks, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, sixteen_bits_are_their_floats, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, int8_by_a_power_of_two_is_its_floats, ISA_FIRST, ISA_END);
    tcase_add_test(tcase, instruction_sets_and_threads_do_not_matter);
    return run_suite(suite);
}
