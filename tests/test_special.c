/* SPDX-License-Identifier: MIT */
/* NaN, inf, subnormal numbers and zeros in elements of 16 bits, and in scales: where they are seen, and where not. */
#include <math.h>

#include "elements.h"
#include "engines.h"
#include "paged.h"
#include "reference.h"

static const int halves[2] = {SA_BF16, SA_F16};
enum { N_HALVES = 1 << 16 };

static void run(sa_engine *engine, const sa_batch *batch) {
    must(sa_batch_forward(engine, batch) == SA_OK, "%s", sa_last_reason());
}

/* ---------------------------------------------------------------- every value through a call */

/* One key a head: its value comes out as it went in, but -0 as +0. */
START_TEST(every_value_comes_out) {
    enum { D_V = 512, HEADS = N_HALVES / D_V };
    static uint16_t v[N_HALVES], o[N_HALVES], ones[HEADS];
    sa_engine *engine = engine_with(_i, 1);
    for (int t = 0; engine && t < 2; t++) {
        for (int i = 0; i < N_HALVES; i++)
            v[i] = (uint16_t)i;
        for (int h = 0; h < HEADS; h++)
            element_store(halves[t], 1, &ones[h]);
        sa_sequence s = {.n_q = 1, .n_k = 1, .q = {ones, 0, 0}, .k = {ones, 0, 0}, .v = {v, 0, 0}, .o = {o, 0, 0}};
        sa_batch b = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &s, .n_query_heads = HEADS, .d_qk = 1, .d_v = D_V};
        b.q_type = b.k_type = b.v_type = b.o_type = halves[t];
        run(engine, &b);
        for (int i = 0; i < N_HALVES; i++) {
            const double value = element_value(halves[t], &v[i]);
            must(isnan(value) ? isnan(element_value(halves[t], &o[i])) : o[i] == (value == 0 ? 0 : v[i]),
                 "type %d: 0x%04x comes out as 0x%04x", halves[t], (unsigned)i, (unsigned)o[i]);
        }
    }
    sa_engine_destroy(engine);
}
END_TEST

/* One key of one dimension a head: lse is its score. */
START_TEST(every_query_and_key_counts) {
    static uint16_t all[N_HALVES];
    static float floats[N_HALVES], ones[N_HALVES], o[N_HALVES], wanted[N_HALVES], got[N_HALVES];
    sa_engine *engine = engine_with(_i, 1);
    for (int t = 0; engine && t < 4; t++) {
        const int type = halves[t % 2];
        for (int i = 0; i < N_HALVES; i++) {
            all[i] = (uint16_t)i;
            floats[i] = (float)element_value(type, &all[i]);
            ones[i] = 1;
        }
        sa_sequence s = {.n_q = 1, .n_k = 1, .v = {ones, 0, 0}, .o = {o, 0, 0}, .lse = {wanted, 0, 0}};
        sa_batch b = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &s, .n_query_heads = N_HALVES,
                      .d_qk = 1,     .scale = 1};
        s.q = s.k = (sa_tensor){ones, 0, 0};
        *(t < 2 ? &s.q : &s.k) = (sa_tensor){floats, 0, 0};
        run(engine, &b);
        *(t < 2 ? &s.q : &s.k) = (sa_tensor){all, 0, 0};
        *(t < 2 ? &b.q_type : &b.k_type) = type;
        s.lse.data = got;
        run(engine, &b);
        for (int i = 0; i < N_HALVES; i++) {
            const bool exact = fabsf(floats[i]) < 0x1p126f, nan = isnan(floats[i]) || floats[i] == INFINITY;
            must(same_float(got[i], wanted[i]) && !(exact && isnan(got[i])) && !(nan && !isnan(got[i])),
                 "type %d: 0x%04x scores %a, expected %a", type, (unsigned)i, (double)got[i], (double)wanted[i]);
        }
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- o of 16 bits */

/* One key and one dimension: o is v, rounded. */
static uint16_t rounded_by(sa_engine *engine, int type, float v) {
    float one = 1;
    uint16_t o = 0x1234;
    sa_sequence s = {.n_q = 1, .n_k = 1, .q = {&one, 0, 0}, .k = {&one, 0, 0}, .v = {&v, 0, 0}, .o = {&o, 0, 0}};
    sa_batch b = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &s, .n_query_heads = 1, .d_qk = 1, .o_type = type};
    run(engine, &b);
    return o;
}

START_TEST(outputs_are_rounded_once) {
    static const struct {
        int type;
        float v;
        uint16_t o;
    } known[] = {{SA_F16, 65504, 0x7bff},        {SA_F16, 65519.99f, 0x7bff},    {SA_F16, 65520, 0x7c00},
                 {SA_F16, -1e30f, 0xfc00},       {SA_F16, 0x1p-24f, 0x0001},     {SA_F16, 0x1p-25f, 0x0000},
                 {SA_F16, 0x1.8p-25f, 0x0001},   {SA_F16, -0x1p-26f, 0x8000},    {SA_F16, 0x1.002p0f, 0x3c00},
                 {SA_F16, 0x1.006p0f, 0x3c02},   {SA_BF16, 0x1.01p0f, 0x3f80},   {SA_BF16, 0x1.03p0f, 0x3f82},
                 {SA_BF16, 0x1.fep127f, 0x7f7f}, {SA_BF16, 0x1.ffp127f, 0x7f80}, {SA_BF16, 0x1p-133f, 0x0001},
                 {SA_BF16, 0x1p-134f, 0x0000},   {SA_BF16, -0x1p-135f, 0x8000},  {SA_BF16, -0.0f, 0x0000}};
    sa_engine *engine = engine_with(_i, 1);
    for (size_t i = 0; engine && i < sizeof known / sizeof *known; i++) {
        const uint16_t o = rounded_by(engine, known[i].type, known[i].v);
        must(o == known[i].o, "type %d: %a becomes 0x%04x, expected 0x%04x", known[i].type, (double)known[i].v,
             (unsigned)o, (unsigned)known[i].o);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(rows_that_see_nothing) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < 24; i++) {
        struct drawn drawn = drawn_batch((uint64_t)i, 3, 1, 16, 16);
        drawn_types(&drawn);
        sa_sequence *s = drawn_add(&drawn, i % 3 ? 30 : 3, i % 4 ? 40 + 30 * i : 0, -1, 2);
        drawn.batch.flags |= SA_CAUSAL;
        s->flags = SA_SEQ_Q_OFFSET;
        s->q_offset = -20; /* rows 0 .. 19 stand before the first key */
        if (i % 2)
            drawn_page(&drawn, 0, 1, paging_of(&drawn.dice, 7));
        drawn_check(&drawn, engine, 300);
        for (int c = 0; c < 16; c++) {
            const double o = reference_output(&drawn.batch, s, 2, 2, c);
            must(o == 0 && !signbit(o), "o of a row that sees nothing is %g", o);
        }
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- what others see */

static void copy_row(const struct drawn *drawn, const sa_sequence *s, int64_t token, int head, double row[41]) {
    for (int c = 0; c < drawn->batch.d_v; c++)
        row[c] = reference_output(&drawn->batch, s, token, head, c);
    row[drawn->batch.d_v] = (double)*reference_lse(&drawn->batch, s, token, head);
}

/* Poison in all keys, values and scales that a row does not see, but others of its tile do. */
START_TEST(poison_that_other_rows_see) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 120); i++) {
        struct dice dice = {(uint64_t)(100 + i)};
        const int d = (int)roll_between(&dice, 1, 40);
        struct drawn drawn = drawn_batch((uint64_t)i, 4, 2, 9, d);
        drawn_types(&drawn);
        const int64_t n_q = roll_one_in(&dice, 2) ? 70 : roll_between(&dice, 2, 8);
        sa_sequence *s = drawn_add(&drawn, n_q, 90 + 4 * i, -1, 3);
        drawn_rules(&drawn);
        drawn.batch.flags |= SA_CAUSAL;
        if (i % 2)
            drawn_page(&drawn, 0, 1, paging_of(&dice, (int)roll_between(&dice, 1, 40)));
        const int64_t row = roll_between(&dice, 0, n_q - 1);
        double before[4][41], after[41];
        free(drawn_compute(&drawn, engine, &(size_t){0}));
        for (int h = 0; h < 4; h++)
            copy_row(&drawn, s, row, h, before[h]);
        drawn_poison(&drawn, 0, row, i % 3 == 0 ? -INFINITY : NAN);
        free(drawn_compute(&drawn, engine, &(size_t){0}));
        for (int h = 0; h < 4; h++) {
            copy_row(&drawn, s, row, h, after);
            must(memcmp(after, before[h], (size_t)(d + 1) * sizeof *after) == 0, "case %d: row %lld saw the poison", i,
                 (long long)row);
        }
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Poison in all keys and values ahead of a window, wherever in a block it begins. */
START_TEST(poison_ahead_of_a_window) {
    enum { N_KEYS = 1024 };
    sa_engine *engine = engine_with(_i, 1);
    for (int begin = 240; engine && begin < 290; begin++) {
        struct drawn drawn = drawn_batch((uint64_t)begin, 4, 2, 9, 17);
        drawn_types(&drawn);
        drawn_add(&drawn, 1, N_KEYS, -1, 3);
        drawn.batch.flags |= SA_WINDOW | SA_CAUSAL;
        drawn.batch.window_left = N_KEYS - 1 - begin;
        size_t n;
        float *before = drawn_compute(&drawn, engine, &n);
        drawn_poison(&drawn, 0, -1, begin % 3 ? NAN : INFINITY);
        float *after = drawn_compute(&drawn, engine, &n);
        drawn_must_equal(after, before, n, "poison ahead of a window");
        free(before);
        free(after);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- NaN that is seen */

enum part { OF_QUERY, OF_KEY, OF_VALUE, OF_KEY_SCALE, OF_VALUE_SCALE, N_PARTS };

/* Every NaN of a type in turn, those with a single bit in the lowest place among them. */
static uint16_t nan_of(int type, int i) {
    const int bits = type == SA_BF16 ? 7 : 10;
    const uint16_t inf = type == SA_BF16 ? 0x7f80 : 0x7c00;
    return (uint16_t)(inf | (i % 2 ? 1 << i / 2 % bits : 1 + i % ((1 << bits) - 1)) | (i / 3 % 2) << 15);
}

/* Puts a NaN into token `at` of head 0; returns the dimension, or -1 for all. */
static int strike(struct drawn *drawn, enum part part, int64_t at, int i) {
    const sa_batch *b = &drawn->batch;
    const sa_sequence *s = &drawn->seqs[0];
    const int type = b->q_type, c = i % (part == OF_VALUE ? b->d_v : b->d_qk);
    const uint16_t nan = nan_of(type, i);
    const void *where = part == OF_QUERY       ? reference_q(b, s, at, 0)
                        : part == OF_KEY       ? reference_k(b, s, at, 0)
                        : part == OF_VALUE     ? reference_v(b, s, at, 0)
                        : part == OF_KEY_SCALE ? reference_k_scale(b, s, at, 0)
                                               : reference_v_scale(b, s, at, 0);
    const bool scale = part == OF_KEY_SCALE || part == OF_VALUE_SCALE;
    memcpy((char *)(uintptr_t)where + (scale ? 0 : 2 * c), &nan, sizeof nan);
    return part == OF_VALUE ? c : -1;
}

static void check_struck(const struct drawn *drawn, enum part part, int64_t at, int column) {
    const sa_batch *b = &drawn->batch;
    const sa_sequence *s = &drawn->seqs[0];
    for (int64_t t = 0; t < s->n_q; t++) {
        const bool struck = part == OF_QUERY ? t == at : reference_visible(b, s, t, at);
        for (int c = 0; c < b->d_v; c++)
            must(isnan(reference_output(b, s, t, 0, c)) == (struck && (column < 0 || column == c)),
                 "part %d, token %lld: row %lld dimension %d is %g", (int)part, (long long)at, (long long)t, c,
                 reference_output(b, s, t, 0, c));
        const bool in_score = part == OF_QUERY || part == OF_KEY || part == OF_KEY_SCALE;
        must(isnan(*reference_lse(b, s, t, 0)) == (struck && in_score), "part %d: lse of row %lld", (int)part,
             (long long)t);
    }
}

START_TEST(nan_strikes_what_sees_it) {
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < isa_cases(_i, 40 * N_PARTS); i++) {
        const enum part part = (enum part)(i % N_PARTS);
        struct drawn drawn = drawn_batch((uint64_t)i, 1, 1, 7, 11);
        drawn.batch.q_type = drawn.batch.k_type = drawn.batch.v_type = drawn.batch.scale_type = halves[i / N_PARTS % 2];
        drawn.batch.o_type = i / N_PARTS % 3;
        if (part == OF_KEY_SCALE)
            drawn.batch.k_type = SA_I8;
        if (part == OF_VALUE_SCALE)
            drawn.batch.v_type = SA_I8;
        const int64_t n_q = i % 4 ? 70 : 5, n_k = 60 + 2 * i;
        drawn_add(&drawn, n_q, n_k, -1, 1);
        drawn.batch.flags |= SA_CAUSAL;
        if (i % 3 == 0)
            drawn_page(&drawn, 0, 1, paging_of(&drawn.dice, 5));
        const int64_t at = part == OF_QUERY ? i % n_q : n_k - 1 - i * 7 % (n_q + 3 < n_k ? n_q + 3 : n_k);
        const int column = strike(&drawn, part, at, i);
        free(drawn_compute(&drawn, engine, &(size_t){0}));
        check_struck(&drawn, part, at, column);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- scales */

enum { N_K = 40, D = 24 };

/* One query, N_K int8 keys and values; all that matters is in the scales. */
struct scaled {
    float q[D], o[D], lse, k_scale[N_K], v_scale[N_K];
    int8_t k[N_K * D], v[N_K * D];
    sa_sequence s;
    sa_batch b;
};

static void make_scaled(struct scaled *x) {
    *x = (struct scaled){.s = {.n_q = 1, .n_k = N_K}};
    for (int i = 0; i < N_K * D; i++) {
        x->k[i] = (int8_t)(i * 37 % 255 - 127);
        x->v[i] = (int8_t)(i % D - 12);
    }
    for (int j = 0; j < N_K; j++)
        x->k_scale[j] = x->v_scale[j] = 0.01f;
    for (int c = 0; c < D; c++)
        x->q[c] = (float)(c % 5) - 2;
    x->s.q.data = x->q, x->s.k.data = x->k, x->s.v.data = x->v, x->s.o.data = x->o, x->s.lse.data = &x->lse;
    x->s.k_scales.data = x->k_scale, x->s.v_scales.data = x->v_scale;
    x->b = (sa_batch){SA_BATCH_HEAD, .n_sequences = 1, .sequences = &x->s, .n_query_heads = 1, .d_qk = D};
    x->b.k_type = x->b.v_type = SA_I8;
}

/* Scores of 0 are all alike; values of scale 0 are 0, whatever their sign. */
START_TEST(scales_of_zero) {
    sa_engine *engine = engine_with(_i, 1);
    struct scaled x;
    make_scaled(&x);
    if (engine) {
        for (int j = 0; j < N_K; j++)
            x.k_scale[j] = j % 2 ? 0.0f : -0.0f;
        run(engine, &x.b);
        ck_assert(fabsf(x.lse - logf(N_K)) < 1e-6f);
        for (int c = 0; c < D; c++) {
            double mean = 0;
            for (int j = 0; j < N_K; j++)
                mean += 0.01 * x.v[j * D + c] / N_K;
            ck_assert(fabs((double)x.o[c] - mean) < 1e-7);
        }
        for (int j = 0; j < N_K; j++)
            x.v_scale[j] = j % 3 ? 0.0f : -0.0f;
        run(engine, &x.b);
        for (int c = 0; c < D; c++)
            ck_assert_uint_eq(bits_of(x.o[c]), 0);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* A score of +inf is NaN in its row, one of -inf no key at all; inf times 0 is NaN. */
START_TEST(scales_of_inf) {
    sa_engine *engine = engine_with(_i, 1);
    struct scaled x, without;
    make_scaled(&x);
    if (engine) {
        memset(x.k + 7 * D, 0, D);
        x.k[7 * D] = 1; /* its dot product with q is -2 */
        x.k_scale[7] = INFINITY;
        without = x;
        without.s.q.data = without.q, without.s.k.data = without.k, without.s.v.data = without.v;
        without.s.o.data = without.o, without.s.lse.data = &without.lse;
        without.s.k_scales.data = without.k_scale, without.s.v_scales.data = without.v_scale;
        without.b.sequences = &without.s;
        without.k_scale[7] = 1e30f;
        run(engine, &x.b);
        run(engine, &without.b);
        ck_assert(isfinite(x.lse) && x.lse == without.lse && memcmp(x.o, without.o, sizeof x.o) == 0);
        x.k_scale[7] = -INFINITY;
        run(engine, &x.b);
        ck_assert(isnan(x.lse) && isnan(x.o[0]));
        x.k_scale[7] = INFINITY;
        x.k[7 * D] = 0;
        run(engine, &x.b);
        ck_assert(isnan(x.lse) && isnan(x.o[D - 1]));
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Of keys that a window leaves out, within what is read of its first block, and behind its end. */
START_TEST(scales_that_are_not_seen) {
    sa_engine *engine = engine_with(_i, 1);
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct scaled x, poisoned;
    make_scaled(&x);
    x.b.flags = SA_CAUSAL | SA_WINDOW;
    x.b.window_left = 3;
    x.s.q_offset = N_K - 3;
    x.s.flags = SA_SEQ_Q_OFFSET;
    for (int i = 0; engine && i < 3; i++) {
        x.s.k_scales.data = x.k_scale, x.s.v_scales.data = x.v_scale;
        run(engine, &x.b);
        poisoned = x;
        for (int j = 0; j < N_K; j++)
            if (j < N_K - 3 - 3 || j > N_K - 3)
                poisoned.k_scale[j] = poisoned.v_scale[j] = bad[i];
        x.s.k_scales.data = poisoned.k_scale, x.s.v_scales.data = poisoned.v_scale;
        x.o[0] = x.lse = NAN;
        run(engine, &x.b);
        ck_assert(isfinite(x.lse) && x.lse == poisoned.lse && memcmp(x.o, poisoned.o, sizeof x.o) == 0);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Subnormal scales and products are honoured; so is -128. */
START_TEST(scales_of_any_size) {
    sa_engine *engine = engine_with(_i, 1);
    static const float scales[] = {0x1p-149f, 0x1p-130f, 0x1p-126f, 1, 0x1p100f, 0x1p120f};
    struct scaled x;
    make_scaled(&x);
    for (int i = 0; engine && i < 6; i++) {
        for (int j = 0; j < N_K; j++)
            x.v_scale[j] = scales[i], x.k_scale[j] = 0, x.v[j * D] = -128;
        x.s.n_k = 1;
        run(engine, &x.b);
        for (int c = 0; c < D; c++)
            must(x.o[c] == scales[i] * (float)x.v[c], "scale %a: %a", (double)scales[i], (double)x.o[c]);
    }
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("special");
    TCase *tcase = add_case(suite, "special");
    tcase_add_loop_test(tcase, every_value_comes_out, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, every_query_and_key_counts, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, outputs_are_rounded_once, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, rows_that_see_nothing, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, poison_that_other_rows_see, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, poison_ahead_of_a_window, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, nan_strikes_what_sees_it, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, scales_of_zero, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, scales_of_inf, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, scales_that_are_not_seen, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, scales_of_any_size, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
