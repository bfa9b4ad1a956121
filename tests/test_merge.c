/* SPDX-License-Identifier: MIT */
/* sa_merge(): partial results of the same rows over different keys, against the formula in float64 and against one call
 * over all keys. */
#include <math.h>
#include <stdlib.h>

#include "drawn.h"
#include "elements.h"
#include "engines.h"
#include "reference.h"

enum { MOST_PARTIALS = 5, MOST_ROWS = 7 * 4, MOST_D = 40 };

/* Random partial results, in a layout of their own each, between pages that nobody may touch. */
struct mixed {
    struct drawn memory; /* only its dice and its pages */
    sa_partial partials[MOST_PARTIALS];
    sa_merge_request request;
    float sinks[4];
};

static sa_output place(struct mixed *m, int layout, int64_t d, size_t bytes) {
    const int64_t n_q = m->request.n_q, heads = m->request.n_query_heads, gap = layout == 1 ? 3 : 0;
    const bool heads_first = layout == 2;
    sa_output out = {.head_stride = heads_first ? n_q * d + 1 : d + gap,
                     .token_stride = heads_first ? d : heads * (d + gap)};
    if (n_q > 0)
        out.data =
            drawn_map(&m->memory, (size_t)((n_q - 1) * out.token_stride + (heads - 1) * out.head_stride + d) * bytes);
    return out;
}

static sa_tensor input(sa_output o) { return (sa_tensor){o.data, o.token_stride, o.head_stride}; }

/* A row of none, a tiny one, a usual one. */
static float random_lse(struct dice *dice) {
    return roll_one_in(dice, 4) ? -INFINITY : roll_one_in(dice, 4) ? -800 + roll_unit(dice) : 20 * roll_unit(dice);
}

static float *in(const void *data, int64_t token_stride, int64_t head_stride, int64_t token, int head) {
    return (float *)(void *)(uintptr_t)data + token * token_stride + head * head_stride;
}

static void mix(struct mixed *m, uint64_t seed) {
    *m = (struct mixed){.memory = drawn_batch(seed, 1, 1, 1, 1)};
    struct dice *dice = &m->memory.dice;
    m->request = (sa_merge_request){SA_MERGE_HEAD,
                                    .n_partials = roll_between(dice, 0, MOST_PARTIALS),
                                    .partials = m->partials,
                                    .n_q = roll_between(dice, 0, 7),
                                    .n_query_heads = (int)roll_between(dice, 1, 4),
                                    .d_v = (int)roll_between(dice, 1, MOST_D),
                                    .o_type = (int)roll_between(dice, SA_F32, SA_F16)};
    sa_merge_request *r = &m->request;
    for (int64_t i = 0; i < r->n_partials; i++) {
        sa_partial *p = &m->partials[i];
        p->o = input(place(m, (int)roll_between(dice, 0, 2), r->d_v, 4));
        p->lse = input(place(m, 2, 1, 4));
        for (int64_t t = 0; t < r->n_q; t++)
            for (int h = 0; h < r->n_query_heads; h++) {
                *in(p->lse.data, p->lse.token_stride, p->lse.head_stride, t, h) = random_lse(dice);
                for (int c = 0; c < r->d_v; c++)
                    in(p->o.data, p->o.token_stride, p->o.head_stride, t, h)[c] = roll_unit(dice);
            }
    }
    for (int h = 0; h < 4; h++)
        m->sinks[h] = random_lse(dice);
    r->sink_logits = roll_one_in(dice, 2) ? m->sinks : NULL;
    r->o = place(m, (int)roll_between(dice, 0, 2), r->d_v, r->o_type == SA_F32 ? 4 : 2);
    r->lse = place(m, (int)roll_between(dice, 1, 2), 1, 4);
}

static double lse_in(const sa_partial *p, int64_t t, int h) {
    return (double)*in(p->lse.data, p->lse.token_stride, p->lse.head_stride, t, h);
}

/* The formula as it stands. */
static void check_row(const struct mixed *m, int64_t t, int h) {
    const sa_merge_request *r = &m->request;
    const double sink = r->sink_logits ? (double)r->sink_logits[h] : -HUGE_VAL;
    double most = sink, l = 0;
    for (int64_t i = 0; i < r->n_partials; i++)
        most = fmax(most, lse_in(&m->partials[i], t, h));
    for (int64_t i = 0; most > -HUGE_VAL && i < r->n_partials; i++)
        l += exp(lse_in(&m->partials[i], t, h) - most);
    l += most > -HUGE_VAL ? exp(sink - most) : 0;
    const double lse = l > 0 ? most + log(l) : -HUGE_VAL;
    const float got = *in(r->lse.data, r->lse.token_stride, r->lse.head_stride, t, h);
    must(l > 0 ? fabs((double)got - lse) <= 0x1p-24 * fabs(lse) + 1e-13 : got == -INFINITY,
         "lse of row %lld head %d is %.9g, not %.9g", (long long)t, h, (double)got, lse);
    const int bytes = r->o_type == SA_F32 ? 4 : 2;
    for (int c = 0; c < r->d_v; c++) {
        double o = 0, size = 0;
        for (int64_t i = 0; l > 0 && i < r->n_partials; i++) {
            const sa_partial *p = &m->partials[i];
            const double x =
                exp(lse_in(p, t, h) - most) / l * (double)in(p->o.data, p->o.token_stride, p->o.head_stride, t, h)[c];
            o += x;
            size += fabs(x);
        }
        const double rounded = r->o_type == SA_F32    ? 0
                               : r->o_type == SA_BF16 ? 0x1p-8 * fabs(o) + 0x1p-134
                                                      : 0x1p-11 * fabs(o) + 0x1p-25;
        const double o_got = element_value(r->o_type, (const char *)r->o.data +
                                                          (t * r->o.token_stride + h * r->o.head_stride + c) * bytes);
        must(fabs(o_got - o) <= 0x1.01p-24 * size + 0x1p-149 + rounded, "o[%d] of row %lld head %d is %.9g, not %.9g",
             c, (long long)t, h, o_got, o);
    }
}

START_TEST(against_the_formula) {
    sa_engine *engine = engine_with(_i, 1);
    if (!engine)
        return;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct mixed m;
        mix(&m, seed);
        must(sa_merge(engine, &m.request) == SA_OK, "seed %llu: %s", (unsigned long long)seed, sa_last_reason());
        for (int64_t t = 0; t < m.request.n_q; t++)
            for (int h = 0; h < m.request.n_query_heads; h++)
                check_row(&m, t, h);
        drawn_free(&m.memory);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- the result in the place of a partial */

enum { N_Q = 3, HEADS = 2, D = 5, ROWS = N_Q * HEADS };

struct pair {
    float o[2][ROWS * D], lse[2][ROWS], o_out[ROWS * D], lse_out[ROWS];
    sa_partial partials[2];
    sa_merge_request request;
};

static void make_pair(struct pair *p) {
    struct dice dice = {5};
    memset(p, 0, sizeof *p);
    for (int i = 0; i < 2; i++) {
        for (int x = 0; x < ROWS * D; x++)
            p->o[i][x] = roll_unit(&dice);
        for (int x = 0; x < ROWS; x++)
            p->lse[i][x] = roll_unit(&dice);
        p->partials[i] = (sa_partial){.o = {p->o[i], 0, 0}, .lse = {p->lse[i], 0, 0}};
    }
    p->request =
        (sa_merge_request){SA_MERGE_HEAD,          .n_partials = 2, .partials = p->partials, .n_q = N_Q,
                           .n_query_heads = HEADS, .d_v = D,        .o = {p->o_out, 0, 0},   .lse = {p->lse_out, 0, 0}};
}

START_TEST(in_place) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct pair apart, p;
    make_pair(&apart);
    ck_assert(sa_merge(engine, &apart.request) == SA_OK);
    for (int i = 0; i < 2; i++) {
        make_pair(&p);
        p.request.o.data = p.o[i];
        p.request.lse.data = p.lse[i];
        ck_assert_msg(sa_merge(engine, &p.request) == SA_OK, "%s", sa_last_reason());
        ck_assert(memcmp(p.o[i], apart.o_out, sizeof apart.o_out) == 0);
        ck_assert(memcmp(p.lse[i], apart.lse_out, sizeof apart.lse_out) == 0);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- edge values */

START_TEST(nans_stay_where_they_are) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct pair right, p;
    make_pair(&right);
    ck_assert(sa_merge(engine, &right.request) == SA_OK);
    for (int kind = 0; kind < 4; kind++) {
        make_pair(&p); /* lse[0][1] is that of head 0, token 1: row 2 of o */
        if (kind < 2)
            p.lse[0][1] = kind ? INFINITY : NAN;
        else
            p.o[0][2 * D + 3] = kind == 2 ? NAN : INFINITY;
        ck_assert(sa_merge(engine, &p.request) == SA_OK);
        for (int x = 0; x < ROWS * D; x++) {
            const bool hit = kind < 2 ? x / D == 2 : x == 2 * D + 3;
            if (hit)
                must(kind == 3 ? p.o_out[x] == INFINITY : isnan(p.o_out[x]), "kind %d: o[%d] is %g", kind, x,
                     (double)p.o_out[x]);
            else
                must(same_float(p.o_out[x], right.o_out[x]), "kind %d: o[%d] is hit", kind, x);
        }
        for (int x = 0; x < ROWS; x++)
            must(kind < 2 && x == 1 ? isnan(p.lse_out[x]) : same_float(p.lse_out[x], right.lse_out[x]),
                 "kind %d: lse[%d]", kind, x);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Empty partials are neutral, whatever stands in their o, and rows of nothing else are 0. */
START_TEST(empty_partials) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct pair p;
    make_pair(&p);
    for (int x = 0; x < ROWS; x++)
        p.lse[0][x] = -INFINITY;
    p.lse[1][4] = -INFINITY; /* row 3 */
    for (int x = 0; x < ROWS * D; x++)
        p.o[0][x] = NAN;
    for (int c = 0; c < D; c++)
        p.o[1][3 * D + c] = NAN;
    ck_assert(sa_merge(engine, &p.request) == SA_OK);
    for (int x = 0; x < ROWS * D; x++)
        must(same_float(p.o_out[x], x / D == 3 ? 0 : p.o[1][x]), "o[%d] is %g", x, (double)p.o_out[x]);
    for (int x = 0; x < ROWS; x++)
        must(same_float(p.lse_out[x], p.lse[1][x]), "lse[%d]", x);
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- against one call */

/* Keys cut anywhere; the partials' own errors add up. */
START_TEST(calls_over_some_of_the_keys) {
    sa_engine *engine = engine_with(_i, 2);
    if (!engine)
        return;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct drawn d = drawn_batch(seed, 4, 2, 16, 24);
        const int64_t n_k = roll_between(&d.dice, 2, 400), cut = roll_between(&d.dice, 1, n_k - 1);
        sa_sequence *s = drawn_add(&d, 5, n_k, PACKED, 2);
        float o[2][5 * 4 * 24], lse[2][5 * 4];
        sa_sequence parts[2] = {*s, *s};
        parts[0].n_k = cut;
        parts[1].n_k = n_k - cut;
        parts[1].k.data = (const float *)s->k.data + cut * 2 * 16;
        parts[1].v.data = (const float *)s->v.data + cut * 2 * 24;
        sa_partial partials[2];
        for (int i = 0; i < 2; i++) {
            parts[i].o = (sa_output){o[i], 0, 0};
            parts[i].lse = (sa_output){lse[i], 0, 0};
            partials[i] = (sa_partial){.o = {o[i], 0, 0}, .lse = {lse[i], 0, 0}};
        }
        d.batch.sequences = d.seqs;
        sa_batch b = d.batch;
        b.sequences = parts;
        b.n_sequences = 2;
        must(sa_batch_forward(engine, &b) == SA_OK, "%s", sa_last_reason());
        const sa_merge_request r = {SA_MERGE_HEAD, .n_partials = 2, .partials = partials, .n_q = 5, .n_query_heads = 4,
                                    .d_v = 24,     .o = s->o,       .lse = s->lse};
        must(sa_merge(engine, &r) == SA_OK, "%s", sa_last_reason());
        for (int64_t t = 0; t < 5; t++)
            for (int h = 0; h < 4; h++) {
                double exact[24], bound[24];
                struct reference_row row = {.o = exact, .bound = bound};
                must(reference_row(&d.batch, 0, t, h, &row), "no memory");
                const double got = (double)*reference_lse(&d.batch, s, t, h);
                must(fabs(got - row.lse) <= 2 * row.lse_bound, "lse");
                /* A partial's weight is off by what its lse is. */
                const double more = 4 * (row.lse_bound + (fabs(row.lse) + 1) * 0x1p-24);
                for (int c = 0; c < 24; c++)
                    must(fabs(reference_output(&d.batch, s, t, h, c) - exact[c]) <= 2 * bound[c] + more, "o");
            }
        drawn_free(&d);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- refusals */

static void must_refuse(sa_engine *engine, struct pair *p, const char *word, const char *what) {
    float zeros[ROWS * D] = {0};
    must(sa_merge(engine, &p->request) == SA_INVALID, "%s is taken", what);
    must(strstr(sa_last_reason(), word) != NULL, "%s: the reason is '%s'", what, sa_last_reason());
    must(memcmp(p->o_out, zeros, sizeof zeros) == 0, "%s: something was written", what);
    make_pair(p);
}

#define REFUSE(change, word)                                                                                           \
    do {                                                                                                               \
        change;                                                                                                        \
        must_refuse(engine, &p, word, #change);                                                                        \
    } while (0)

START_TEST(refusals) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    const float sinks[HEADS] = {0, INFINITY};
    struct pair p;
    make_pair(&p);
    REFUSE(p.request.struct_size = 8, "sa_merge_request");
    REFUSE(p.request.partial_size = 8, "sa_partial");
    REFUSE(p.request.n_partials = -1, "n_partials");
    REFUSE(p.request.partials = NULL, "partials");
    REFUSE(p.request.n_q = -1, "n_q");
    REFUSE(p.request.n_query_heads = 0, "n_query_heads");
    REFUSE(p.request.d_v = 577, "d_v");
    REFUSE(p.request.o_type = SA_I8, "o_type");
    REFUSE(p.request.reserved = 1, "reserved");
    REFUSE(p.request.sink_logits = sinks, "sink_logits[1]");
    REFUSE(p.request.o.data = NULL, "o is NULL");
    REFUSE(p.request.o.head_stride = D - 1, "overlaps itself");
    REFUSE(p.request.lse.data = p.o_out + 1, "lse overlaps o");
    REFUSE(p.partials[1].o.data = NULL, "partial 1: o is NULL");
    REFUSE(p.partials[1].lse.data = NULL, "partial 1: lse is NULL");
    REFUSE(p.partials[0].o.data = (char *)p.o + 1, "aligned");
    REFUSE(p.request.o.data = p.o[1] + 1, "shares memory"); /* p.o[0]'s end would do as well */
    REFUSE(p.request.lse.data = p.o[0], "partial 0: o shares memory");
    REFUSE((p.request.o.data = p.o[0], p.request.o_type = SA_F16), "partial 0: o shares memory");
    REFUSE((p.request.o.data = p.o[0], p.request.o.head_stride = D * N_Q, p.request.o.token_stride = D),
           "partial 0: o shares memory");
    must(sa_merge(NULL, &p.request) == SA_INVALID && sa_merge(engine, NULL) == SA_INVALID, "NULL");
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("merge");
    TCase *tcase = add_case(suite, "merge");
    tcase_add_loop_test(tcase, against_the_formula, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, calls_over_some_of_the_keys, ISA_FIRST, ISA_END);
    tcase_add_test(tcase, in_place);
    tcase_add_test(tcase, nans_stay_where_they_are);
    tcase_add_test(tcase, empty_partials);
    tcase_add_test(tcase, refusals);
    return run_suite(suite);
}
