/* SPDX-License-Identifier: MIT */
/* Softcap, ALiBi, bias, sinks and row maxima: against float64 within the bound at every edge, and bit for bit where one
 * thing says the same as another. On every instruction set; every array between pages that nobody may touch. */
#include <math.h>
#include <stdlib.h>

#include "agree.h"
#include "elements.h"
#include "reference.h"

enum { SOFTCAP = 1, ALIBI = 2, BIAS = 4, SINKS = 8, ROW_MAX = 16, ALL = 31 };

/* How the axes of bias lie in memory. */
enum axes { DENSE, OF_ALL_HEADS, OF_ALL_QUERIES, OF_ALL_KEYS, KEYS_APART, BACKWARD_KEYS, OF_KEYS_ALONE, ONE, N_AXES };

/* ---------------------------------------------------------------- what a sequence is given */

static float *floats(struct drawn *drawn, int64_t n) { return drawn_map(drawn, (size_t)n * sizeof(float)); }

static const float *roll_heads(struct drawn *drawn, float size) {
    float *numbers = floats(drawn, drawn->batch.n_query_heads);
    for (int h = 0; h < drawn->batch.n_query_heads; h++)
        numbers[h] = roll_one_in(&drawn->dice, 6) ? 0 : size * roll_unit(&drawn->dice);
    return numbers;
}

/* Elements along each axis, and the stride of the outermost. */
static sa_grid lay_out(const sa_batch *b, const sa_sequence *s, int axes, int64_t *n) {
    const int64_t n_q = axes == OF_ALL_QUERIES || axes == OF_KEYS_ALONE || axes == ONE ? 1 : s->n_q;
    const int64_t n_k = axes == OF_ALL_KEYS || axes == ONE ? 1 : s->n_k;
    const int64_t heads = axes == OF_ALL_HEADS || axes == OF_KEYS_ALONE || axes == ONE ? 1 : b->n_query_heads;
    const int64_t key = n_k == 1 ? 0 : axes == KEYS_APART ? heads * n_q : axes == BACKWARD_KEYS ? -1 : 1;
    const int64_t query = n_q == 1 ? 0 : axes == KEYS_APART ? heads : n_k;
    *n = heads * n_q * n_k;
    return (sa_grid){NULL, heads == 1 ? 0 : axes == KEYS_APART ? 1 : n_q * n_k, query, key};
}

/* -inf hides one key in so many. */
static void add_bias(struct drawn *drawn, sa_sequence *s, int axes, unsigned hides) {
    const int type = drawn->batch.bias_type, bytes = element_bytes(type);
    int64_t n;
    s->bias = lay_out(&drawn->batch, s, axes, &n);
    char *data = drawn_map(drawn, (size_t)(n * bytes));
    for (int64_t i = 0; i < n; i++)
        element_store(type, hides && roll_one_in(&drawn->dice, hides) ? -HUGE_VAL : 2 * (double)roll_unit(&drawn->dice),
                      data + i * bytes);
    s->bias.data = data + (s->bias.key_stride < 0 ? (s->n_k - 1) * bytes : 0);
}

static void add_terms(struct drawn *drawn, sa_sequence *s, int what) {
    sa_batch *b = &drawn->batch;
    if (what & SOFTCAP)
        b->softcap = 2.5f;
    if (what & ALIBI)
        s->alibi_slopes = roll_heads(drawn, 0.1f);
    if (what & BIAS) {
        static const int types[] = {SA_F32, SA_BF16, SA_F16};
        if (b->n_sequences == 1) /* one for all */
            b->bias_type = types[roll(&drawn->dice) % 3];
        add_bias(drawn, s, (int)(roll(&drawn->dice) % N_AXES), roll_one_in(&drawn->dice, 2) ? 5 : 0);
    }
    if (what & SINKS)
        s->sink_logits = roll_heads(drawn, 4);
    if (what & ROW_MAX)
        s->row_max.data = floats(drawn, s->n_q * b->n_query_heads);
}

static float *row_max_at(const sa_sequence *s, int64_t token, int head) {
    return (float *)s->row_max.data + head * s->n_q + token;
}

/* ---------------------------------------------------------------- against float64 */

static void check_row_max(const struct drawn *drawn, const sa_sequence *s) {
    for (int64_t token = 0; s->row_max.data && token < s->n_q; token += 1 + s->n_q / 5)
        for (int head = 0; head < drawn->batch.n_query_heads; head++) {
            struct reference_row row = {.o = NULL};
            const double m = (double)*row_max_at(s, token, head);
            must(reference_row(&drawn->batch, s - drawn->seqs, token, head, &row), "no memory");
            must(m == row.m || fabs(m - row.m) <= row.m_bound, "row_max of token %lld head %d is %.9g, exactly %.9g",
                 (long long)token, head, m, row.m);
        }
}

static void check_size(sa_engine *engine, uint64_t seed, int what, int64_t n_q, int64_t n_k, int d) {
    struct drawn drawn = drawn_batch(seed, 4, 2, d, d);
    sa_sequence *s = drawn_add(&drawn, n_q, n_k, -1, 2);
    if (seed % 3 == 0)
        drawn.batch.flags = SA_CAUSAL;
    add_terms(&drawn, s, what);
    drawn_check(&drawn, engine, 7);
    check_row_max(&drawn, s);
    drawn_free(&drawn);
}

static const int64_t row_edges[] = {1, 2, 4, 8, 15, 16, 17, 33};
static const int64_t key_edges[] = {1, 15, 16, 17, 255, 256, 257, 1023, 1024, 1025};
static const int dims[] = {1, 7, 64, 128};

START_TEST(every_edge) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 640); i++) {
        struct dice dice = {(uint64_t)(i + 1)};
        const int64_t n_k = key_edges[_i == SA_ISA_GENERIC ? i % 7 : i % 10];
        check_size(engine, (uint64_t)i, 1 + i % ALL, row_edges[roll(&dice) % 8], n_k, dims[roll(&dice) % 4]);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Heads of 7 dimensions in every type and layout, with rules, pages left to others. */
START_TEST(any_rule_and_type_on_a_ragged_batch) {
    sa_engine *engine = engine_with(_i, 3);
    for (int i = 0; engine && i < isa_cases(_i, 90); i++) {
        struct dice dice = {(uint64_t)(100 + i)};
        struct drawn drawn = drawn_batch((uint64_t)i, 6, 2, 7, 12);
        drawn_types(&drawn);
        for (int s = 0; s < 3; s++)
            add_terms(&drawn, drawn_add(&drawn, roll_between(&dice, 0, s ? 9 : 70), roll_between(&dice, 0, 500), -1, 2),
                      1 + (i + 7 * s) % ALL);
        drawn_rules(&drawn);
        for (int s = 0; s < 3; s++)
            drawn_poison(&drawn, s, -1, i % 2 ? NAN : INFINITY);
        drawn_check(&drawn, engine, 20);
        for (int s = 0; s < 3; s++)
            check_row_max(&drawn, &drawn.seqs[s]);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Positions that only a q_offset reaches, where distances take more than 32 bits. */
START_TEST(distances_of_any_size) {
    static const int64_t offsets[] = {-(INT64_C(1) << 32),
                                      INT64_C(1) << 32,
                                      (INT64_C(1) << 31) - 20,
                                      -(INT64_C(1) << 31),
                                      INT64_C(1) << 31,
                                      (INT64_C(1) << 30) + 1,
                                      -300,
                                      (1 << 24) + 3};
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 16; i++) {
        struct drawn drawn = drawn_batch((uint64_t)i, 2, 1, 8, 8);
        sa_sequence *s = drawn_add(&drawn, i < 8 ? 3 : 40, 300, PACKED, 1);
        add_terms(&drawn, s, i % 2 ? ALIBI | SOFTCAP | BIAS | ROW_MAX : ALIBI | ROW_MAX);
        float slopes[2] = {1e-10f, -3e-10f}; /* what remains when the maximum is subtracted is of any size */
        s->alibi_slopes = slopes;
        s->flags = SA_SEQ_Q_OFFSET;
        s->q_offset = offsets[i % 8];
        drawn_check(&drawn, engine, 100);
        check_row_max(&drawn, s);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- the same bits */

/* o, lse and row_max of a batch of one sequence. */
static float *outputs_of(struct drawn *drawn, sa_engine *engine, size_t *n) {
    const sa_sequence *s = &drawn->seqs[0];
    const size_t n_max = s->row_max.data ? (size_t)(s->n_q * drawn->batch.n_query_heads) : 0;
    float *outputs = drawn_compute(drawn, engine, n);
    outputs = realloc(outputs, (*n + n_max + 1) * sizeof *outputs);
    memcpy(outputs + *n, s->row_max.data ? s->row_max.data : outputs, n_max * sizeof *outputs);
    *n += n_max;
    return outputs;
}

typedef void change(struct drawn *drawn, sa_sequence *s);

/* Does a change leave all bits as they are? */
static void check_change(sa_engine *engine, uint64_t seed, int what, change *one, change *other, const char *name) {
    struct dice dice = {seed};
    struct drawn drawn = drawn_batch(seed, 4, 2, 16, 9);
    sa_sequence *s = drawn_add(&drawn, seed % 2 ? 2 : roll_between(&dice, 5, 50), roll_between(&dice, 50, 400), -1, 3);
    size_t n;
    add_terms(&drawn, s, what | ROW_MAX);
    if (one)
        one(&drawn, s);
    float *wanted = outputs_of(&drawn, engine, &n);
    other(&drawn, s);
    float *got = outputs_of(&drawn, engine, &n);
    drawn_must_equal(got, wanted, n, name);
    free(wanted);
    free(got);
    drawn_free(&drawn);
}

static void no_bias(struct drawn *drawn, sa_sequence *s) {
    (void)drawn;
    s->bias = (sa_grid){NULL, 0, 0, 0};
}

static void zero_bias(struct drawn *drawn, sa_sequence *s) {
    int64_t n;
    s->bias = lay_out(&drawn->batch, s, OF_ALL_HEADS, &n);
    float *data = floats(drawn, n);
    for (int64_t i = 0; i < n; i++)
        data[i] = i % 3 ? 0.0f : -0.0f;
    s->bias.data = data;
    drawn->batch.bias_type = SA_F32;
}

static void no_sinks(struct drawn *drawn, sa_sequence *s) {
    (void)drawn;
    s->sink_logits = NULL;
}

static void sinks_of_none(struct drawn *drawn, sa_sequence *s) {
    float *sinks = floats(drawn, drawn->batch.n_query_heads);
    for (int h = 0; h < drawn->batch.n_query_heads; h++)
        sinks[h] = -INFINITY;
    s->sink_logits = sinks;
}

/* Scores far below the cap are what they are. */
static void no_softcap(struct drawn *drawn, sa_sequence *s) {
    (void)s;
    drawn->batch.softcap = 0;
}

static void huge_softcap(struct drawn *drawn, sa_sequence *s) { drawn->batch.softcap = s->n_q % 2 ? 1e30f : 1e7f; }

static void no_slopes(struct drawn *drawn, sa_sequence *s) {
    (void)drawn;
    s->alibi_slopes = NULL;
}

static void zero_slopes(struct drawn *drawn, sa_sequence *s) {
    s->alibi_slopes = floats(drawn, drawn->batch.n_query_heads);
}

/* Every query's bias is -inf from where it would look ahead. */
static void causal(struct drawn *drawn, sa_sequence *s) {
    no_bias(drawn, s);
    drawn->batch.flags = SA_CAUSAL;
}

static void causal_bias(struct drawn *drawn, sa_sequence *s) {
    zero_bias(drawn, s);
    for (int64_t i = 0; i < s->n_q; i++)
        for (int64_t j = s->n_k - s->n_q + i + 1; j < s->n_k; j++)
            if (j >= 0)
                ((float *)(uintptr_t)s->bias.data)[i * s->n_k + j] = -INFINITY;
    drawn->batch.flags = 0;
}

/* The same positions, said key by key. */
static void positions(struct drawn *drawn, sa_sequence *s) {
    int32_t *q_at = drawn_map(drawn, (size_t)s->n_q * sizeof *q_at);
    int32_t *k_at = drawn_map(drawn, (size_t)s->n_k * sizeof *k_at);
    for (int64_t i = 0; i < s->n_q; i++)
        q_at[i] = (int32_t)(s->n_k - s->n_q + i) - 77;
    for (int64_t j = 0; j < s->n_k; j++)
        k_at[j] = (int32_t)j - 77;
    s->q_positions = q_at;
    s->k_positions = k_at;
}

/* Queries behind the keys, and all of them moved to where positions no longer fit into 32 bits but distances do. */
static void far_behind(struct drawn *drawn, sa_sequence *s) {
    (void)drawn;
    s->flags |= SA_SEQ_Q_OFFSET;
    s->q_offset = (1 << 20) + 1500;
}

static void far_behind_at_the_end(struct drawn *drawn, sa_sequence *s) {
    (void)drawn;
    s->first_key = ((INT64_C(1) << 31) - (1 << 20) - s->n_k) / 1024 * 1024;
    s->q_offset += s->first_key;
}

static const struct {
    const char *name;
    int beside; /* what there may be as well */
    change *one, *other;
} changes[] = {
    {"bias of zeros", SOFTCAP | ALIBI | SINKS, no_bias, zero_bias},
    {"sinks of -inf", SOFTCAP | ALIBI | BIAS, no_sinks, sinks_of_none},
    {"a huge softcap", ALIBI | BIAS | SINKS, no_softcap, huge_softcap},
    {"slopes of zero", SOFTCAP | BIAS | SINKS, no_slopes, zero_slopes},
    {"causality by bias", SOFTCAP | ALIBI | SINKS, causal, causal_bias},
    {"positions", ALL, NULL, positions},
    {"the last positions there are", ALL, far_behind, far_behind_at_the_end},
};
enum { N_CHANGES = sizeof changes / sizeof changes[0] };

START_TEST(what_changes_nothing) {
    sa_engine *engine = engine_with(_i, 1);
    for (int c = 0; engine && c < N_CHANGES; c++)
        for (int i = 0; i < 16; i++)
            check_change(engine, (uint64_t)i, changes[c].beside & (i * 5), changes[c].one, changes[c].other,
                         changes[c].name);
    sa_engine_destroy(engine);
}
END_TEST

/* However it lies in memory, and of whatever type, bias is its numbers. */
static void spread_bias(struct drawn *drawn, sa_sequence *s) {
    const sa_batch *b = &drawn->batch;
    const int64_t n = b->n_query_heads * s->n_q * s->n_k;
    float *data = floats(drawn, n);
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = i / s->n_k;
        data[i] = (float)reference_bias(b, s, row % s->n_q, (int)(row / s->n_q), i % s->n_k);
    }
    s->bias = (sa_grid){data, s->n_q * s->n_k, s->n_k, 1};
    drawn->batch.bias_type = SA_F32;
}

START_TEST(bias_is_its_numbers) {
    static const int types[] = {SA_F32, SA_BF16, SA_F16};
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 6 * N_AXES; i++) {
        struct drawn drawn = drawn_batch((uint64_t)i, 6, 3, 5, 5);
        sa_sequence *s = drawn_add(&drawn, i / N_AXES % 2 ? 4 : 37, 290 + i, -1, 2);
        size_t n;
        drawn.batch.bias_type = types[i / N_AXES % 3];
        add_bias(&drawn, s, i % N_AXES, i % 5);
        float *wanted = outputs_of(&drawn, engine, &n);
        spread_bias(&drawn, s);
        float *got = outputs_of(&drawn, engine, &n);
        drawn_must_equal(got, wanted, n, "bias");
        free(wanted);
        free(got);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Query by query, by the kernels for few rows, where a tile of many had it. */
static void check_one_by_one(sa_engine *engine, uint64_t seed) {
    struct drawn drawn = drawn_batch(seed, 4, 2, 11, 6);
    sa_sequence *s = drawn_add(&drawn, 20, 300 + 70 * (int64_t)seed, PACKED, 2);
    size_t n;
    drawn.batch.flags = seed % 2 ? SA_CAUSAL : 0;
    add_terms(&drawn, s, (ALL - (int)(seed % 3)) & ~ROW_MAX);
    float *whole = outputs_of(&drawn, engine, &n);
    const sa_sequence all = *s;
    for (int64_t token = 0; token < all.n_q; token++) {
        s->n_q = 1;
        s->flags = SA_SEQ_Q_OFFSET;
        s->q_offset = all.n_k - all.n_q + token;
        s->q.data = (const float *)all.q.data + token * 4 * 11;
        if (all.bias.data)
            s->bias.data =
                (const char *)all.bias.data + token * all.bias.query_stride * element_bytes(drawn.batch.bias_type);
        size_t n_row;
        float *row = outputs_of(&drawn, engine, &n_row);
        drawn_must_equal(row, whole + (size_t)token * n_row, n_row, "a query alone");
        free(row);
    }
    free(whole);
    drawn_free(&drawn);
}

START_TEST(few_rows_are_many) {
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 12; i++)
        check_one_by_one(engine, (uint64_t)i);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(instruction_sets_and_threads_do_not_matter) {
    for (int i = 0; i < 40; i++) {
        struct dice dice = {(uint64_t)(500 + i)};
        struct drawn drawn = drawn_batch((uint64_t)i, 6, 2, 9, 10);
        drawn_types(&drawn);
        for (int s = 0; s < 3; s++)
            add_terms(&drawn, drawn_add(&drawn, roll_between(&dice, 1, s ? 8 : 70), roll_between(&dice, 1, 700), -1, 3),
                      1 + (i * 11 + s) % ALL);
        drawn_rules(&drawn);
        drawn_must_agree(&drawn, i);
        drawn_free(&drawn);
    }
}
END_TEST

/* ---------------------------------------------------------------- edge values */

static bool row_is(const struct drawn *drawn, int64_t token, bool (*is)(double x)) {
    const sa_sequence *s = &drawn->seqs[0];
    bool all = is((double)*reference_lse(&drawn->batch, s, token, 0));
    for (int c = 0; c < drawn->batch.d_v; c++)
        all = all && is(reference_output(&drawn->batch, s, token, 0, c));
    return all && is((double)*row_max_at(s, token, 0));
}

static bool is_nan(double x) { return isnan(x); }
static bool is_finite(double x) { return isfinite(x); }

/* Causal: key j is seen by the queries from j - offset on. -inf hides it from one of them, what is behind as well. */
START_TEST(bias_that_is_no_number) {
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 60; i++) {
        const int64_t n_q = i % 2 ? 5 : 40, j = 100 - n_q + i % n_q, at = i % n_q;
        struct drawn drawn = drawn_batch((uint64_t)i, 1, 1, 6, 7);
        sa_sequence *s = drawn_add(&drawn, n_q, 100, PACKED, 2);
        add_terms(&drawn, s, ROW_MAX);
        drawn.batch.flags = SA_CAUSAL;
        zero_bias(&drawn, s);
        for (int64_t token = 0; token < n_q; token++)
            ((float *)(uintptr_t)s->bias.data)[token * 100 + j] = i % 3 ? NAN : INFINITY;
        ((float *)(uintptr_t)s->bias.data)[at * 100 + j] = -INFINITY;
        size_t n;
        free(outputs_of(&drawn, engine, &n));
        for (int64_t token = 0; token < n_q; token++)
            must(row_is(&drawn, token, token > at && token >= i % n_q ? is_nan : is_finite),
                 "bias of key %lld: row %lld of %lld", (long long)j, (long long)token, (long long)n_q);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* What programs without -inf mask with: the lowest number of a type. A row that has no other has the mean of v, others
 * are as if it were -inf. */
static void check_lowest(sa_engine *engine, int seed) {
    const int type = seed % 2 ? SA_BF16 : SA_F32, bytes = element_bytes(type);
    const int64_t n_q = seed / 2 % 2 ? 3 : 40, n_k = seed % 3 ? 300 : 30, all = seed % n_q;
    struct drawn drawn = drawn_batch((uint64_t)seed, 2, 1, 6, 7);
    sa_sequence *s = drawn_add(&drawn, n_q, n_k, PACKED, 2);
    drawn.batch.bias_type = type;
    add_bias(&drawn, s, OF_ALL_HEADS, 3);
    char *data = (char *)(uintptr_t)s->bias.data;
    const double lowest = type == SA_F32 ? -0x1.fffffep127 : -0x1.fep127;
    size_t n;
    float *wanted = outputs_of(&drawn, engine, &n);
    for (int64_t i = 0; i < n_q * n_k; i++)
        if (i / n_k == all || isinf(reference_bias(&drawn.batch, s, i / n_k, 0, i % n_k)))
            element_store(type, lowest, data + i * bytes);
    float *got = outputs_of(&drawn, engine, &n);
    for (int c = 0; c < 7; c++) {
        double mean = 0;
        for (int64_t j = 0; j < n_k; j++)
            mean += (double)((const float *)reference_v(&drawn.batch, s, j, 0))[c] / (double)n_k;
        must(fabs(reference_output(&drawn.batch, s, all, 0, c) - mean) < 1e-6, "no mean in dimension %d", c);
    }
    ck_assert(isfinite(*reference_lse(&drawn.batch, s, all, 0)));
    const size_t row = 2 * 8, behind = (size_t)(all + 1) * row;
    drawn_must_equal(got, wanted, (size_t)all * row, "rows before");
    drawn_must_equal(got + behind, wanted + behind, n - behind, "rows behind");
    free(wanted);
    free(got);
    drawn_free(&drawn);
}

START_TEST(bias_of_the_lowest_number) {
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 48; i++)
        check_lowest(engine, i);
    sa_engine_destroy(engine);
}
END_TEST

/* What bias hides from every row may be anything, in some rows of a type as well. */
START_TEST(poison_that_bias_hides) {
    static const int types[] = {SA_F32, SA_BF16, SA_I8};
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < 90; i++) {
        struct drawn drawn = drawn_batch((uint64_t)i, 4, 2, 6, 7);
        drawn.batch.k_type = types[i % 3];
        drawn.batch.v_type = types[i / 3 % 3];
        sa_sequence *s = drawn_add(&drawn, i % 2 ? 2 : 40, 280, -1, 2);
        size_t n;
        add_terms(&drawn, s, ROW_MAX | (i % 5 ? SOFTCAP : 0));
        add_bias(&drawn, s, i % 4 ? OF_KEYS_ALONE : OF_ALL_HEADS, i % 4 ? 3 : 2);
        const int64_t row = i % 2;
        float *clean = outputs_of(&drawn, engine, &n);
        drawn_poison(&drawn, 0, row, i % 7 ? NAN : INFINITY);
        float *poisoned = outputs_of(&drawn, engine, &n);
        const size_t width = 8, begin = (size_t)row * 4 * width;
        drawn_must_equal(poisoned + begin, clean + begin, 4 * width, "poison behind bias");
        free(clean);
        free(poisoned);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* NaN where a row sees it is NaN still, though other keys of the block are hidden. */
START_TEST(values_that_bias_does_not_hide) {
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 40; i++) {
        struct drawn drawn = drawn_batch((uint64_t)i, 1, 1, 6, 7);
        sa_sequence *s = drawn_add(&drawn, i % 2 ? 3 : 40, 280, PACKED, 2);
        const int64_t j = 7 * i;
        add_terms(&drawn, s, ROW_MAX);
        add_bias(&drawn, s, DENSE, 2);
        ((float *)(uintptr_t)reference_v(&drawn.batch, s, j, 0))[i % 7] = NAN;
        size_t n;
        free(outputs_of(&drawn, engine, &n));
        for (int64_t token = 0; token < s->n_q; token++)
            for (int c = 0; c < 7; c++)
                must(isnan(reference_output(&drawn.batch, s, token, 0, c)) ==
                         (c == i % 7 && reference_bias(&drawn.batch, s, token, 0, j) > -HUGE_VAL),
                     "NaN in value %lld: row %lld dimension %d", (long long)j, (long long)token, c);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(sinks_where_nothing_is_seen) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < 12; i++) {
        struct drawn drawn = drawn_batch((uint64_t)i, 3, 1, 16, 16);
        sa_sequence *s = drawn_add(&drawn, i % 2 ? 2 : 90, i % 3 ? 40 + 30 * i : 0, -1, 2);
        drawn.batch.flags = SA_CAUSAL;
        s->flags = SA_SEQ_Q_OFFSET;
        s->q_offset = -20 - i;
        add_terms(&drawn, s, SINKS | ROW_MAX);
        drawn_check(&drawn, engine, 300);
        check_row_max(&drawn, s);
        for (int h = 0; h < 3; h++) {
            const float sink = s->sink_logits[h], lse = *reference_lse(&drawn.batch, s, 1, h);
            must(fabsf(lse - sink) <= 0x1p-22f * fabsf(sink), "lse is %g, the sink %g", (double)lse, (double)sink);
            ck_assert_uint_eq(bits_of(reference_o(&drawn.batch, s, 1, h)[0]), 0);
            ck_assert(*row_max_at(s, 1, h) == -INFINITY);
        }
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* A cap makes of huge and of infinite scores what can be told apart from nothing else. */
START_TEST(softcap_of_huge_scores) {
    static const float sizes[] = {1e6f, 1e30f, INFINITY};
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 6; i++) {
        struct drawn drawn = drawn_batch(7, 1, 1, 1, 3);
        sa_sequence *s = drawn_add(&drawn, i < 3 ? 1 : 9, 290, PACKED, 1);
        drawn.batch.scale = 1;
        drawn.batch.softcap = 5;
        for (int64_t token = 0; token < s->n_q; token++)
            *(float *)(uintptr_t)reference_q(&drawn.batch, s, token, 0) = 1;
        for (int64_t j = 0; j < 290; j++) {
            *(float *)(uintptr_t)reference_k(&drawn.batch, s, j, 0) = j == 100 ? sizes[i % 3] : -sizes[i % 3];
            for (int c = 0; c < 3; c++)
                ((float *)(uintptr_t)reference_v(&drawn.batch, s, j, 0))[c] = j == 100;
        }
        size_t n;
        free(outputs_of(&drawn, engine, &n));
        const double wanted = 1 / (1 + 289 * exp(-10)), o = (double)*reference_o(&drawn.batch, s, s->n_q - 1, 0);
        must(fabs(o - wanted) < 1e-6, "scores of %g: %g, not %g", (double)sizes[i % 3], o, wanted);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("terms");
    TCase *near = add_case(suite, "float64"), *bits = add_case(suite, "bits"), *values = add_case(suite, "values");
    tcase_add_loop_test(near, every_edge, ISA_FIRST, ISA_END);
    tcase_add_loop_test(near, any_rule_and_type_on_a_ragged_batch, ISA_FIRST, ISA_END);
    tcase_add_loop_test(near, distances_of_any_size, ISA_FIRST, ISA_END);
    tcase_add_loop_test(bits, what_changes_nothing, ISA_FIRST, ISA_END);
    tcase_add_loop_test(bits, bias_is_its_numbers, ISA_FIRST, ISA_END);
    tcase_add_loop_test(bits, few_rows_are_many, ISA_FIRST, ISA_END);
    tcase_add_test(bits, instruction_sets_and_threads_do_not_matter);
    tcase_add_loop_test(values, bias_that_is_no_number, ISA_FIRST, ISA_END);
    tcase_add_loop_test(values, bias_of_the_lowest_number, ISA_FIRST, ISA_END);
    tcase_add_loop_test(values, poison_that_bias_hides, ISA_FIRST, ISA_END);
    tcase_add_loop_test(values, values_that_bias_does_not_hide, ISA_FIRST, ISA_END);
    tcase_add_loop_test(values, sinks_where_nothing_is_seen, ISA_FIRST, ISA_END);
    tcase_add_loop_test(values, softcap_of_huge_scores, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
