/* SPDX-License-Identifier: MIT */
/* A few rows against many keys, as in a decode, have the bits that the same rows have in a large prefill: all types,
 * contiguous and paged, every rule, whatever else they see. */
#include <math.h>

#include "elements.h"
#include "engines.h"
#include "paged.h"
#include "reference.h"

enum { N_Q = 24, MAX_SLICE = 8 };

static const int groups[] = {1, 4, 8, 2, 3, 16};
static const int dims[] = {64, 128, 1, 3, 8, 17, 33, 65, 96, 130, 20, 200};
enum { N_GROUPS = sizeof groups / sizeof groups[0], N_DIMS = sizeof dims / sizeof dims[0] };

/* One sequence; its keys are paged or not. */
static struct drawn draw(int i, int isa, struct dice *dice, int64_t most) {
    const int kv_heads = (int)roll_between(dice, 1, 2);
    struct drawn drawn = drawn_batch((uint64_t)i, kv_heads * groups[i % N_GROUPS], kv_heads, dims[i % N_DIMS],
                                     dims[roll(dice) % N_DIMS]);
    drawn_types(&drawn);
    if (i % 2)
        drawn_own(&drawn, isa);
    sa_sequence *s = drawn_add(&drawn, N_Q, roll_one_in(dice, 3) ? drawn_edge(dice, most) : roll_between(dice, 1, most),
                               -1, i % 3 ? 2 : 80); /* weights down to subnormal ones */
    drawn_rules(&drawn);
    if (roll_one_in(dice, 3)) /* sink keys and a window that meet */
        drawn.batch.n_sink_keys = roll_between(dice, 0, s->n_k);
    if (i % 4 > 1)
        drawn_widen(&drawn, s);
    s->lse = (sa_output){s->lse.data, 1, N_Q};
    s->q_offset = s->flags & SA_SEQ_Q_OFFSET ? s->q_offset : s->n_k - s->n_q;
    s->flags = SA_SEQ_Q_OFFSET;
    if (roll_one_in(dice, 2))
        drawn_page(&drawn, 0, 1, paging_of(dice, (int)roll_between(dice, 1, 70)));
    return drawn;
}

/* The queries begin .. begin + n - 1, written where the whole writes them. */
static sa_sequence slice_of(const struct drawn *drawn, int begin, int n) {
    const sa_sequence *whole = &drawn->seqs[0];
    sa_sequence slice = *whole;
    slice.n_q = n;
    slice.q_offset += begin;
    slice.q.data = reference_q(&drawn->batch, whole, begin, 0);
    slice.o.data = reference_o_row(&drawn->batch, whole, begin, 0);
    slice.lse.data = reference_lse(&drawn->batch, whole, begin, 0);
    return slice;
}

/* All queries in slices of 1 to 8, in every order of sizes. */
static int cut(const struct drawn *drawn, struct dice *dice, sa_sequence slices[N_Q]) {
    int n_slices = 0;
    for (int begin = 0, n; begin < N_Q; begin += n, n_slices++) {
        n = roll_one_in(dice, 3) ? 1 : (int)roll_between(dice, 1, MAX_SLICE);
        n = n < N_Q - begin ? n : N_Q - begin;
        slices[n_slices] = slice_of(drawn, begin, n);
    }
    return n_slices;
}

static void run(const sa_batch *batch, sa_engine *engine) {
    must(sa_batch_forward(engine, batch) == SA_OK, "%s", sa_last_reason());
}

static void must_be_same(const struct drawn *drawn, const float *wanted, const char *what) {
    size_t n;
    float *got = drawn_outputs(drawn, &n);
    for (size_t i = 0; i < n; i++)
        must(same_float(got[i], wanted[i]),
             "%s: output %zu is %.9g, expected %.9g (d %d, %d, group %d, types %d %d %d)", what, i, (double)got[i],
             (double)wanted[i], (int)drawn->batch.d_qk, (int)drawn->batch.d_v,
             (int)(drawn->batch.n_query_heads / drawn->batch.n_kv_heads), (int)drawn->batch.q_type,
             (int)drawn->batch.k_type, (int)drawn->batch.v_type);
    free(got);
}

/* The slices one by one, then all in one batch. */
static void check_slices(struct drawn *drawn, sa_engine *engine, struct dice *dice) {
    sa_sequence slices[N_Q];
    size_t n;
    float *wanted = drawn_compute(drawn, engine, &n);
    sa_batch batch = drawn->batch;
    const int n_slices = cut(drawn, dice, slices);
    drawn_forget(drawn);
    batch.n_sequences = 1;
    for (int s = 0; s < n_slices; s++) {
        batch.sequences = &slices[s];
        run(&batch, engine);
    }
    must_be_same(drawn, wanted, "alone");
    drawn_forget(drawn);
    batch.n_sequences = n_slices;
    batch.sequences = slices;
    run(&batch, engine);
    must_be_same(drawn, wanted, "in a batch");
    free(wanted);
}

static int64_t most_keys(int isa, int i) { return isa == SA_ISA_GENERIC ? 300 : i % 12 ? 600 : 5000; }

START_TEST(few_rows_are_rows_of_a_prefill) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 60); i++) {
        struct dice dice = {(uint64_t)(100 + i)};
        struct drawn drawn = draw(i, _i, &dice, most_keys(_i, i));
        check_slices(&drawn, engine, &dice);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* NaN and inf in some keys, values and scales: the same rows are struck, the same columns. */
static void spoil(struct drawn *drawn, struct dice *dice) {
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    const sa_batch *b = &drawn->batch;
    const sa_sequence *s = &drawn->seqs[0];
    for (int n = 0; n < 3; n++) {
        const int64_t j = roll_between(dice, 0, s->n_k - 1);
        const int h = (int)roll_between(dice, 0, b->n_kv_heads - 1), v = (int)(roll(dice) % 2);
        const int type = v ? b->v_type : b->k_type, d = v ? b->d_v : b->d_qk;
        const void *row = v ? reference_v(b, s, j, h) : reference_k(b, s, j, h);
        const double value = (double)bad[roll(dice) % 3];
        if (type == SA_I8)
            element_store(b->scale_type, value,
                          (void *)(uintptr_t)(v ? reference_v_scale(b, s, j, h) : reference_k_scale(b, s, j, h)));
        else
            element_store(type, value, (char *)(uintptr_t)row + roll_between(dice, 0, d - 1) * element_bytes(type));
    }
}

START_TEST(few_rows_meet_nan_and_inf_as_many_do) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 60); i++) {
        struct dice dice = {(uint64_t)(200 + i)};
        struct drawn drawn = draw(i, _i, &dice, most_keys(_i, i + 1));
        spoil(&drawn, &dice);
        check_slices(&drawn, engine, &dice);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* One query against long caches, within the bound. */
START_TEST(one_query_against_the_reference) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 30); i++) {
        struct dice dice = {(uint64_t)(300 + i)};
        struct drawn drawn =
            drawn_batch((uint64_t)i, 2 * groups[i % N_GROUPS], 2, dims[i % N_DIMS], dims[i * 5 % N_DIMS]);
        drawn_types(&drawn);
        for (int s = 0; s < 3; s++)
            drawn_add(&drawn, roll_between(&dice, 1, s ? 1 : MAX_SLICE), roll_between(&dice, 1, most_keys(_i, s)), -1,
                      1);
        if (i % 2)
            drawn_page(&drawn, 0, 3, paging_of(&dice, (int)roll_between(&dice, 1, 40)));
        drawn_check(&drawn, engine, 6);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- what once went wrong, in pairs of bf16 */

static uint16_t bf16(double x) {
    uint16_t bits;
    element_store(SA_BF16, x, &bits);
    return bits;
}

/* The first of nine equal queries (1, 0) against keys (k[j], 0), and alone. */
static void must_be_the_first_of_nine(sa_engine *engine, sa_batch b, int n_keys, const double *keys,
                                      const double *values) {
    enum { MOST = 9 };
    uint16_t q[MOST * 2], k[MOST * 2] = {0}, v[MOST] = {0};
    float o[2][MOST];
    for (int j = 0; j < MOST; j++) {
        q[2 * j] = bf16(1);
        q[2 * j + 1] = 0;
        k[2 * j] = bf16(j < n_keys ? keys[j] : 0);
        v[j] = bf16(j < n_keys ? values[j] : 0);
    }
    b.q_type = b.k_type = b.v_type = SA_BF16;
    b.n_sequences = b.n_query_heads = b.d_v = 1;
    b.d_qk = 2;
    for (int few = 0; few < 2; few++) {
        const sa_sequence s = {.n_q = few ? 1 : MOST,
                               .n_k = n_keys,
                               .q = {q, 0, 0},
                               .k = {k, 0, 0},
                               .v = {v, 0, 0},
                               .o = {o[few], 0, 0},
                               .q_offset = n_keys - 1,
                               .flags = SA_SEQ_Q_OFFSET};
        b.sequences = &s;
        run(&b, engine);
    }
    must(bits_of(o[0][0]) == bits_of(o[1][0]), "alone %.9g, the first of nine %.9g", (double)o[1][0], (double)o[0][0]);
}

/* A weight that is subnormal, and would not be if it were rounded. */
START_TEST(a_weight_of_nearly_nothing) {
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 64; i++) {
        const double keys[] = {0, 1}, values[] = {0, 0x1p126};
        const sa_batch b = {SA_BATCH_HEAD, .scale = -87.34f + (float)i * 0x1p-12f};
        must_be_the_first_of_nine(engine, b, 2, keys, values);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Sink keys up to where the window begins, between the two of a pair: which of them comes first shows. */
START_TEST(sink_keys_that_meet_a_window) {
    sa_engine *engine = engine_with(_i, 1);
    for (int left = 0; engine && left < 6; left++)
        for (int n_sinks = 0; n_sinks < 7; n_sinks++) {
            const double keys[6] = {0}, values[] = {0x1p24, 0, 1, 2, 0, 3};
            const sa_batch b = {SA_BATCH_HEAD, .flags = SA_WINDOW, .window_left = left, .window_right = -1,
                                .n_sink_keys = n_sinks};
            must_be_the_first_of_nine(engine, b, 6, keys, values);
        }
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("decode");
    TCase *tcase = add_case(suite, "decode");
    tcase_add_loop_test(tcase, few_rows_are_rows_of_a_prefill, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, few_rows_meet_nan_and_inf_as_many_do, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, one_query_against_the_reference, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, a_weight_of_nearly_nothing, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, sink_keys_that_meet_a_window, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
