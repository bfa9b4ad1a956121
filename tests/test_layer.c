/* SPDX-License-Identifier: MIT */
/* The whole layer against float64: every way weights are stored, MHA, GQA and MQA, d_v that is not d_qk, norms, turns,
 * self- and cross-attention, ragged batches in every type and layout, caches filled at once and step by step. */
#include <math.h>
#include <stdlib.h>

#include "elements.h"
#include "engines.h"
#include "layer_model.h"

enum { SEQS = 4, MOST_TOKENS = 70, CASES = 160 };

struct one {
    sa_layer_tokens tokens;
    sa_sequence seq;
    double *x, *memory; /* exactly; memory is x in self-attention */
    int64_t n_q, n_k, q_positions[MOST_TOKENS], k_positions[MOST_TOKENS];
    int32_t given[MOST_TOKENS];
    char *y;
    int64_t y_stride;
};

struct test {
    struct layer_model model;
    struct one ones[SEQS];
    sa_sequence seqs[SEQS];
    sa_layer_tokens tokens[SEQS];
    sa_batch attention;
    sa_layer_batch batch;
    int n;
    void *memories[8 * SEQS];
    int n_memories;
};

static int draw(struct dice *dice, int low, int high) { return (int)roll_between(dice, low, high); }

static void draw_model(struct layer_model *m, uint64_t seed) {
    memset(m, 0, sizeof *m);
    m->dice.state = seed;
    struct dice *dice = &m->dice;
    m->n_kv_heads = draw(dice, 1, 3);
    m->n_query_heads = m->n_kv_heads * draw(dice, 1, 3);
    m->d_qk = draw(dice, 1, 24);
    m->d_v = roll_one_in(dice, 2) ? m->d_qk : draw(dice, 1, 24);
    m->d_model = draw(dice, 1, 90);
    m->d_memory = roll_one_in(dice, 3) ? draw(dice, 1, 90) : m->d_model;
    m->d_out = roll_one_in(dice, 3) ? m->n_query_heads * m->d_v : draw(dice, 1, 90);
    layer_draw(m, roll_one_in(dice, 2));
}

static void *keep(struct test *t, size_t bytes) {
    void *memory = calloc(1, bytes + 64);
    must(memory && t->n_memories < 8 * SEQS, "no memory");
    return t->memories[t->n_memories++] = memory;
}

/* Rows with a gap or without, in either order, and exactly. */
static void *draw_rows(struct test *t, int type, int64_t n, int d, int64_t *stride, double **exact) {
    const int gap = draw(&t->model.dice, 0, 1) * 5, bytes = element_bytes(type);
    const bool backwards = roll_one_in(&t->model.dice, 4);
    char *rows = keep(t, (size_t)(n * (d + gap) * bytes));
    char *first = backwards && n ? rows + (n - 1) * (d + gap) * bytes : rows;
    *stride = backwards ? -(d + gap) : gap ? d + gap : 0;
    *exact = keep(t, (size_t)(n * d) * sizeof **exact);
    for (int64_t i = 0; i < n * d; i++) {
        char *at = first + (i / d * (backwards ? -(d + gap) : d + gap) + i % d) * bytes;
        element_store(type, (double)roll_unit(&t->model.dice), at);
        (*exact)[i] = element_value(type, at);
    }
    return first;
}

/* Where tokens stand: as they are counted, or anywhere up to a million. */
static void draw_positions(struct test *t, struct one *one, bool cross) {
    struct dice *dice = &t->model.dice;
    const int64_t offset = roll_one_in(dice, 2) ? roll_between(dice, -1000, 1000000) : one->n_k - one->n_q;
    for (int64_t i = 0; i < one->n_k; i++)
        one->k_positions[i] = i;
    for (int64_t i = 0; i < one->n_q; i++)
        one->q_positions[i] = offset + i;
    if (offset != one->n_k - one->n_q && t->model.turns && t->attention.flags == 0) {
        one->seq.flags = SA_SEQ_Q_OFFSET;
        one->seq.q_offset = offset;
    } else
        for (int64_t i = 0; i < one->n_q; i++)
            one->q_positions[i] = one->n_k - one->n_q + i;
    if (!roll_one_in(dice, 3))
        return;
    const int64_t n = cross ? one->n_k : one->n_q;
    for (int64_t i = 0; i < n; i++) {
        one->given[i] = draw(dice, -1000, 1000000);
        one->k_positions[i] = one->given[i];
        if (!cross)
            one->q_positions[i] = one->given[i];
    }
    *(cross ? &one->tokens.memory_positions : &one->tokens.x_positions) = one->given;
}

static void draw_one(struct test *t, struct one *one) {
    struct layer_model *m = &t->model;
    struct dice *dice = &m->dice;
    const bool cross = m->d_memory != m->d_model || roll_one_in(dice, 3);
    memset(one, 0, sizeof *one);
    one->n_q = draw(dice, 0, roll_one_in(dice, 3) ? 3 : MOST_TOKENS);
    one->n_k = cross ? draw(dice, 0, MOST_TOKENS) : one->n_q;
    one->tokens.x = draw_rows(t, t->batch.x_type, one->n_q, m->d_model, &one->tokens.x_stride, &one->x);
    one->memory = one->x;
    if (cross) {
        one->tokens.source = SA_LAYER_MEMORY;
        one->tokens.n_memory = one->n_k;
        one->tokens.memory =
            draw_rows(t, t->batch.memory_type, one->n_k, m->d_memory, &one->tokens.memory_stride, &one->memory);
    }
    draw_positions(t, one, cross);
    one->seq.n_q = one->n_q;
    one->y_stride = m->d_out + (roll_one_in(dice, 2) ? 0 : 7);
    one->y = keep(t, (size_t)(one->n_q * one->y_stride * element_bytes(t->batch.y_type)));
    memset(one->y, 0x7e, (size_t)(one->n_q * one->y_stride * element_bytes(t->batch.y_type)));
    one->tokens.y = one->y;
    one->tokens.y_stride = one->y_stride;
}

static struct test *draw_test(uint64_t seed) {
    struct test *t = calloc(1, sizeof *t);
    ck_assert_ptr_nonnull(t);
    draw_model(&t->model, seed);
    struct dice *dice = &t->model.dice;
    t->n = draw(dice, 1, SEQS);
    t->attention = (sa_batch){SA_BATCH_HEAD, .n_sequences = t->n, .sequences = t->seqs};
    t->attention.flags = roll_one_in(dice, 2) ? SA_CAUSAL : 0;
    t->batch = (sa_layer_batch){SA_LAYER_BATCH_HEAD, .attention = &t->attention, .tokens = t->tokens};
    t->batch.flags = roll_one_in(dice, 3) ? SA_LAYER_PACK : 0;
    t->batch.x_type = draw(dice, SA_F32, SA_F16);
    t->batch.memory_type = draw(dice, SA_F32, SA_F16);
    t->batch.y_type = draw(dice, SA_F32, SA_F16);
    for (int i = 0; i < t->n; i++) {
        draw_one(t, &t->ones[i]);
        t->seqs[i] = t->ones[i].seq;
        t->tokens[i] = t->ones[i].tokens;
    }
    return t;
}

static void free_test(struct test *t) {
    layer_free(&t->model);
    for (int i = 0; i < t->n_memories; i++)
        free(t->memories[i]);
    free(t);
}

/* The largest y there is, and the largest bound: a bound that is no small part of the other shows nothing. */
struct sizes {
    double y, bound;
};

static void check_one(const struct test *t, const struct one *one, uint64_t seed, struct sizes *sizes) {
    const struct layer_sequence s = {
        one->x, one->memory, one->n_q, one->n_k, one->q_positions, one->k_positions, t->attention.flags & SA_CAUSAL};
    const int d = t->model.d_out, type = t->batch.y_type, bytes = element_bytes(type);
    double *y = calloc((size_t)(one->n_q * d) + 1, sizeof *y), *bound = calloc((size_t)(one->n_q * d) + 1, sizeof *y);
    must(y && bound, "no memory");
    layer_reference(&t->model, &s, y, bound);
    for (int64_t i = 0; i < one->n_q * d; i++) {
        const double got = element_value(type, one->y + (i / d * one->y_stride + i % d) * bytes);
        const struct element_rounding r = element_rounding(type);
        const double off = bound[i] + r.relative * (fabs(y[i]) + bound[i]) + r.absolute;
        must(fabs(got - y[i]) <= off, "seed %d: token %d, dimension %d: %.9g, wanted %.9g +- %.3g", (int)seed,
             (int)(i / d), (int)(i % d), got, y[i], off);
        sizes->y = fmax(sizes->y, fabs(y[i]));
        sizes->bound = fmax(sizes->bound, bound[i]);
    }
    for (int64_t i = 0; i < one->n_q * one->y_stride; i++)
        must(i % one->y_stride < d || !memcmp(one->y + i * bytes, "~~~~", (size_t)bytes),
             "seed %d: written between rows of y", (int)seed);
    free(y);
    free(bound);
}

static sa_engine *engine_of_threads(int n_threads) {
    sa_engine *engine;
    sa_engine_options options = {.struct_size = sizeof options, .n_threads = n_threads, .binding = SA_BIND_NONE};
    must(sa_engine_create(&options, &engine) == SA_OK, "%s", sa_last_reason());
    return engine;
}

/* In memory of the layer's or in just as much as it says. */
static void forward(sa_engine *engine, const sa_layer *layer, sa_layer_batch *batch, bool in_own, uint64_t seed) {
    size_t bytes = 0;
    char *room = NULL;
    must(sa_layer_workspace_bytes(engine, layer, batch, &bytes) == SA_OK, "seed %d: %s", (int)seed, sa_last_reason());
    if (!in_own) {
        must(posix_memalign((void **)&room, 64, bytes + 64) == 0, "no memory");
        memset(room, 0xff, bytes + 64);
        batch->workspace = room;
        batch->workspace_bytes = bytes;
    }
    must(sa_layer_forward(engine, layer, batch) == SA_OK, "seed %d: %s", (int)seed, sa_last_reason());
    for (size_t i = bytes; room && i < bytes + 64; i++)
        must(room[i] == (char)0xff, "seed %d: written behind the workspace", (int)seed);
    free(room);
    batch->workspace = NULL;
    batch->workspace_bytes = 0;
}

START_TEST(equals_float64) {
    sa_engine *engines[2] = {engine_of_threads(1), engine_of_threads(3)};
    int n_loose = 0;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        struct test *t = draw_test(seed);
        struct sizes sizes = {0, 0};
        sa_layer *layer;
        must(sa_layer_create(&t->model.options, &layer) == SA_OK, "seed %d: %s", (int)seed, sa_last_reason());
        forward(engines[seed % 2], layer, &t->batch, seed % 3, seed);
        for (int i = 0; i < t->n; i++)
            check_one(t, &t->ones[i], seed, &sizes);
        n_loose += sizes.bound > 1e-2 * sizes.y;
        sa_layer_destroy(layer);
        free_test(t);
    }
    must(n_loose < CASES / 8, "%d of %d cases have a bound that is no small part of y", n_loose, CASES);
    sa_engine_destroy(engines[0]);
    sa_engine_destroy(engines[1]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("layer");
    tcase_add_test(add_case(suite, "float64"), equals_float64);
    return run_suite(suite);
}
