/* SPDX-License-Identifier: MIT */
/* Attention weights of chosen rows and the mass of keys: against the float64 reference, against o, and for bits that
 * depend on nothing but the rows. test_kinds.c has them with everything else. */
#include <math.h>
#include <stdlib.h>

#include "agree.h"
#include "drawn.h"
#include "reference.h"
#include "refused.h"

/* Weights of a list of rows and the mass of a random part of the rows, between pages that nobody may touch. */
static void add_reports(struct drawn *d, sa_sequence *s, int64_t n_rows, bool in_order) {
    const sa_batch *b = &d->batch;
    const int64_t all = s->n_q * b->n_query_heads, first = roll_between(&d->dice, 0, all - 1);
    sa_row *rows = drawn_map(d, (size_t)n_rows * sizeof *rows);
    for (int64_t r = 0; r < n_rows; r++) {
        const int64_t row = in_order ? (first + r) % all : roll_between(&d->dice, 0, all - 1);
        rows[r] = (sa_row){row / b->n_query_heads, (int32_t)(row % b->n_query_heads), 0};
    }
    s->weights = (sa_row_weights){drawn_map(d, (size_t)(n_rows * s->n_k) * sizeof(float)), rows, n_rows, 0};
    const bool per_head = roll_one_in(&d->dice, 2);
    const int64_t n = per_head ? b->n_kv_heads : 1;
    s->key_mass.data = drawn_map(d, (size_t)(n * s->n_k) * sizeof(float));
    s->key_mass.head_stride = per_head ? s->n_k : 0;
    if (roll_one_in(&d->dice, 2)) {
        s->key_mass.first_query = roll_between(&d->dice, 0, s->n_q - 1);
        s->key_mass.n_queries = roll_between(&d->dice, 1, s->n_q - s->key_mass.first_query);
    }
    if (roll_one_in(&d->dice, 2)) {
        unsigned char *heads = drawn_map(d, (size_t)b->n_query_heads);
        for (int h = 0; h < b->n_query_heads; h++)
            heads[h] = roll_one_in(&d->dice, 2);
        s->key_mass.heads = heads;
    }
}

static void check_weights(const struct drawn *d, int64_t i, double *room, int64_t step) {
    const sa_sequence *s = &d->seqs[i];
    for (int64_t r = 0; r < s->weights.n_rows; r += step) {
        const sa_row *which = &s->weights.rows[r];
        struct reference_row row = {.weights = room, .weight_bounds = room + s->n_k};
        double sum = 0, bounds = 0;
        must(reference_row(&d->batch, i, which->query, which->head, &row), "no memory");
        for (int64_t j = 0; j < s->n_k; j++) {
            const float got = s->weights.data[r * s->n_k + j];
            must(fabs((double)got - row.weights[j]) <= row.weight_bounds[j], "rows[%lld], key %lld: %.9g, not %.9g",
                 (long long)r, (long long)j, (double)got, row.weights[j]);
            sum += (double)got;
            bounds += row.weight_bounds[j];
        }
        must(s->sink_logits || row.n_visible == 0 || fabs(sum - 1) <= 0x1p-17,
             "weights of rows[%lld] sum to %.9g, bound %g", (long long)r, sum, bounds);
    }
}

static void check_mass(const struct drawn *d, int64_t i, double *room) {
    const sa_sequence *s = &d->seqs[i];
    for (int g = 0; g < (s->key_mass.head_stride ? d->batch.n_kv_heads : 1); g++) {
        must(reference_key_mass(&d->batch, i, s->key_mass.head_stride ? g : -1, room, room + s->n_k), "no memory");
        for (int64_t j = 0; j < s->n_k; j++) {
            const float got = s->key_mass.data[g * s->key_mass.head_stride + j];
            must(fabs((double)got - room[j]) <= room[s->n_k + j], "mass of key %lld kv head %d: %.9g, not %.9g",
                 (long long)j, g, (double)got, room[j]);
        }
    }
}

static void forget(const struct drawn *d, const sa_sequence *s) {
    const int64_t n = s->key_mass.head_stride ? d->batch.n_kv_heads : 1;
    memset(s->weights.data, 0xff, (size_t)(s->weights.n_rows * s->n_k) * sizeof(float));
    memset(s->key_mass.data, 0xff, (size_t)(n * s->n_k) * sizeof(float));
}

/* A batch of up to three sequences about the edges of tiles and blocks. */
static struct drawn draw(uint64_t seed) {
    static const float sinks[4] = {1.5f, -INFINITY, 0.25f, -3};
    struct drawn d = drawn_batch(seed, 4, 1 << seed % 3, 12, 3);
    if (roll_one_in(&d.dice, 4))
        drawn_types(&d);
    const int n = (int)roll_between(&d.dice, 1, 3);
    for (int i = 0; i < n; i++) {
        int64_t n_q = drawn_edge(&d.dice, 70), n_k = drawn_edge(&d.dice, 2100);
        n_q = n_q > 0 ? n_q : 1;
        sa_sequence *s = drawn_add(&d, n_q, n_k > 0 ? n_k : 1, -1, 3);
        add_reports(&d, s, roll_between(&d.dice, 1, 90), roll_one_in(&d.dice, 2));
        s->sink_logits = roll_one_in(&d.dice, 3) ? sinks : NULL;
    }
    drawn_rules(&d);
    return d;
}

START_TEST(against_the_reference) {
    sa_engine *engine = engine_with(_i, 2);
    if (!engine)
        return;
    for (uint64_t seed = 0; seed < (uint64_t)isa_cases(_i, 18); seed++) {
        struct drawn d = draw(seed);
        size_t n;
        for (int64_t i = 0; i < d.batch.n_sequences; i++)
            forget(&d, &d.seqs[i]);
        free(drawn_compute(&d, engine, &n));
        for (int64_t i = 0; i < d.batch.n_sequences; i++) {
            double *room = malloc((size_t)(2 * d.seqs[i].n_k) * sizeof *room);
            check_weights(&d, i, room, 5);
            check_mass(&d, i, room);
            free(room);
        }
        drawn_free(&d);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- the same bits */

struct reports {
    float *at[2 * DRAWN_SEQS];
    size_t bytes[2 * DRAWN_SEQS];
};

static struct reports copy(const struct drawn *d) {
    struct reports r = {{NULL}, {0}};
    for (int64_t i = 0; i < d->batch.n_sequences; i++) {
        const sa_sequence *s = &d->seqs[i];
        const int64_t n = s->key_mass.head_stride ? d->batch.n_kv_heads : 1;
        const float *from[2] = {s->weights.data, s->key_mass.data};
        const int64_t floats[2] = {s->weights.n_rows * s->n_k, n * s->n_k};
        for (int x = 0; x < 2; x++) {
            r.bytes[2 * i + x] = (size_t)floats[x] * sizeof(float);
            r.at[2 * i + x] = malloc(r.bytes[2 * i + x]);
            memcpy(r.at[2 * i + x], from[x], r.bytes[2 * i + x]);
        }
    }
    return r;
}

static void drop(struct reports *r) {
    for (int x = 0; x < 2 * DRAWN_SEQS; x++)
        free(r->at[x]);
}

static void must_be_same(const struct reports *a, const struct reports *b, const char *what) {
    for (int x = 0; x < 2 * DRAWN_SEQS; x++)
        must(!a->at[x] || memcmp(a->at[x], b->at[x], a->bytes[x]) == 0, "%s: %s of sequence %d differs", what,
             x % 2 ? "mass" : "weights", x / 2);
}

/* On every instruction set, with any number of threads, and of each sequence alone. */
START_TEST(the_same_bits) {
    struct drawn d = draw((uint64_t)_i + 100);
    struct reports wanted = {{NULL}, {0}};
    bool first = true;
    size_t n;
    for (int isa = ISA_FIRST; isa < ISA_END; isa++)
        for (int threads = 1; threads <= 4; threads++) {
            sa_engine *engine = engine_with(isa, threads);
            if (!engine)
                break;
            if (threads == 1 && !first && has_bits_of_its_own(&d, isa)) {
                drop(&wanted);
                first = true;
            }
            for (int64_t i = 0; i < d.batch.n_sequences; i++)
                forget(&d, &d.seqs[i]);
            free(drawn_compute(&d, engine, &n));
            struct reports got = copy(&d);
            if (first)
                wanted = got;
            else {
                must_be_same(&wanted, &got, isa_text(isa));
                drop(&got);
            }
            first = false;
            for (int64_t i = 0; i < d.batch.n_sequences; i++) {
                sa_batch alone = d.batch;
                alone.sequences = &d.seqs[i];
                alone.n_sequences = 1;
                forget(&d, &d.seqs[i]);
                must(sa_batch_forward(engine, &alone) == SA_OK, "%s", sa_last_reason());
            }
            got = copy(&d);
            must_be_same(&wanted, &got, "alone");
            drop(&got);
            sa_engine_destroy(engine);
        }
    drop(&wanted);
    drawn_free(&d);
}
END_TEST

/* ---------------------------------------------------------------- edge values */

/* A broken row is NaN where it sees a key and 0 where not; other rows are what they were; a row of no key is 0. Query r
 * sees the r first keys, of which one is NaN, or query 4 is. */
static void break_rows(sa_engine *engine, int n_q, int bad_key) {
    enum { MOST = 40, KEYS = 300, BAD_QUERY = 4 };
    static float q[MOST * 2], k[KEYS * 2], v[KEYS * 2], o[MOST * 2], w[MOST * KEYS], mass[KEYS];
    sa_row rows[MOST];
    memset(q, 0, sizeof q);
    memset(k, 0, sizeof k);
    for (int r = 0; r < MOST; r++)
        rows[r] = (sa_row){r, 0, 0};
    *(bad_key < 0 ? &q[2 * BAD_QUERY] : &k[2 * bad_key]) = NAN;
    sa_sequence s = {.n_q = n_q,
                     .n_k = KEYS,
                     .q = {q, 0, 0},
                     .k = {k, 0, 0},
                     .v = {v, 0, 0},
                     .o = {o, 0, 0},
                     .q_offset = -1,
                     .flags = SA_SEQ_Q_OFFSET,
                     .weights = {w, rows, n_q, 0},
                     .key_mass = {mass, 0, 0, 0, NULL}};
    sa_batch b = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &s, .n_query_heads = 1, .d_qk = 2};
    b.flags = SA_CAUSAL;
    must(sa_batch_forward(engine, &b) == SA_OK, "%s", sa_last_reason());
    for (int j = 0; j < KEYS; j++) {
        bool lost = false;
        for (int r = 0; r < n_q; r++) {
            const float got = w[r * KEYS + j];
            const bool broken = j < r && (bad_key < 0 ? r == BAD_QUERY : bad_key < r);
            must(broken ? got != got : fabsf(got - (j < r ? 1 / (float)r : 0)) < 1e-6f,
                 "%d queries, bad key %d: row %d key %d: %g", n_q, bad_key, r, j, (double)got);
            lost = lost || broken;
        }
        must(lost          ? mass[j] != mass[j]
             : j < n_q - 1 ? mass[j] > 0
                           : mass[j] == 0,
             "%d queries, bad key %d: mass[%d] is %g", n_q, bad_key, j, (double)mass[j]);
    }
}

START_TEST(broken_and_empty_rows) {
    sa_engine *engine = engine_with(_i, 2);
    for (int bad_key = -1; engine && bad_key < 7; bad_key++) {
        break_rows(engine, 7, bad_key);
        break_rows(engine, 40, bad_key);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* No query, or none that counts: keys receive nothing. */
START_TEST(nobody_counts) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    float mass[N_K] = {5, 5, 5, 5, 5};
    const unsigned char nobody[HEADS] = {0};
    for (int turn = 0; turn < 2; turn++) {
        make_right(&r);
        r.seq.key_mass = (sa_key_mass){mass, 0, 0, 0, turn ? NULL : nobody};
        r.seq.n_q = turn ? 0 : N_Q;
        mass[1] = 5;
        ck_assert_msg(sa_batch_forward(engine, &r.batch) == SA_OK, "%s", sa_last_reason());
        for (int j = 0; j < N_K; j++)
            must(mass[j] == 0, "mass[%d] is %g", j, (double)mass[j]);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- refusals */

START_TEST(refusals) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    static float data[64];
    sa_row rows[2] = {{0, 0, 0}, {N_Q - 1, HEADS - 1, 0}};
    struct right r;
    make_right(&r);
#define WEIGHTS(...) r.seq.weights = (sa_row_weights){__VA_ARGS__}
    REFUSE(WEIGHTS(data, rows, 2, N_K - 1), "overlaps itself");
    REFUSE(WEIGHTS(data, NULL, 2, 0), "has no rows");
    REFUSE(WEIGHTS(data, rows, -1, 0), "has no rows");
    REFUSE(WEIGHTS(data, rows, INT64_MAX, 0), "weights reaches beyond");
    REFUSE((WEIGHTS(data, rows, 2, 0), rows[1].head = HEADS), "rows[1]");
    rows[1].head = 0;
    REFUSE((WEIGHTS(data, rows, 2, 0), rows[1].query = N_Q), "rows[1]");
    rows[1].query = 0;
    REFUSE(WEIGHTS((float *)(void *)((char *)data + 1), rows, 2, 0), "aligned");
    REFUSE(WEIGHTS(data, (sa_row *)(void *)((char *)rows + 4), 1, 0), "aligned");
    REFUSE((WEIGHTS(data, rows, 2, 0), rows[1].reserved = 1), "reserved 1");
    rows[1].reserved = 0;
    REFUSE(WEIGHTS(r.k, rows, 2, 0), "weights overlaps k");
    REFUSE(WEIGHTS(r.o, rows, 2, 0), "weights overlaps o");
#define MASS(...) r.seq.key_mass = (sa_key_mass){__VA_ARGS__}
    REFUSE(MASS(data, N_K - 1, 0, 0, NULL), "overlaps itself");
    REFUSE(MASS(data, 0, N_Q + 1, 0, NULL), "queries that there are not");
    REFUSE(MASS(data, 0, 1, N_Q, NULL), "queries that there are not");
    REFUSE(MASS(r.v, 0, 0, 0, NULL), "key_mass overlaps v");
    REFUSE((WEIGHTS(data, rows, 2, 0), MASS(data + 4, 0, 0, 0, NULL)), "key_mass overlaps weights");
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("reports");
    TCase *tcase = add_case(suite, "reports");
    tcase_add_loop_test(tcase, against_the_reference, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, the_same_bits, 0, 4);
    tcase_add_loop_test(tcase, broken_and_empty_rows, ISA_FIRST, ISA_END);
    tcase_add_test(tcase, nobody_counts);
    tcase_add_test(tcase, refusals);
    return run_suite(suite);
}
