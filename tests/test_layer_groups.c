/* SPDX-License-Identifier: MIT */
/* Batches of so many tokens that their sequences are computed in groups: the same bits, in a workspace that does not
 * grow with them. How many tokens a group has grows with the threads, so an engine of many has a single one. */
#include <pthread.h>
#include <stdlib.h>

#include "layer_calls.h"
#include "threads.h"

enum { SEQS = 160, MOST_QUERIES = 200, MOST_KEYS = 150, THREAD_TOKENS = 4608 };

/* Ragged sequences of tokens of x, any of them; also what is reported of them. */
struct many {
    sa_sequence seqs[SEQS];
    sa_layer_tokens tokens[SEQS];
    sa_batch attention;
    sa_layer_batch batch;
    int64_t n_tokens;
    float *y, *lse[SEQS], *mass[SEQS];
};

static float *floats(int64_t n) {
    float *memory = calloc((size_t)n + 1, sizeof *memory);
    must(memory, "no memory");
    return memory;
}

/* Self- or cross-attention; a call with all of them. */
static struct many *new_many(uint64_t seed, bool cross) {
    struct dice dice = {seed};
    struct many *m = calloc(1, sizeof *m);
    must(m, "no memory");
    m->attention = (sa_batch){SA_BATCH_HEAD, .n_sequences = SEQS, .sequences = m->seqs};
    m->attention.flags = cross ? 0 : SA_CAUSAL;
    m->batch = (sa_layer_batch){SA_LAYER_BATCH_HEAD, .attention = &m->attention, .tokens = m->tokens};
    m->y = floats((int64_t)SEQS * MOST_QUERIES * D);
    for (int i = 0; i < SEQS; i++) {
        const int64_t n = roll_between(&dice, 0, roll_one_in(&dice, 3) ? 3 : MOST_QUERIES);
        const int64_t n_k = cross ? roll_between(&dice, 0, MOST_KEYS) : n;
        m->lse[i] = floats(n * HEADS);
        m->mass[i] = floats(n_k);
        m->seqs[i] = (sa_sequence){.n_q = n, .lse = {m->lse[i], 0, 0}, .key_mass = {.data = m->mass[i]}};
        m->tokens[i] = (sa_layer_tokens){.x = x + roll_between(&dice, 0, TOKENS - n) * D, .y = m->y + m->n_tokens * D};
        if (cross) {
            m->tokens[i].source = SA_LAYER_MEMORY;
            m->tokens[i].memory = x + roll_between(&dice, 0, TOKENS - n_k) * D;
            m->tokens[i].n_memory = n_k;
        }
        m->n_tokens += n;
    }
    return m;
}

static void free_many(struct many *m) {
    for (int i = 0; i < SEQS; i++) {
        free(m->lse[i]);
        free(m->mass[i]);
    }
    free(m->y);
    free(m);
}

static void compute(sa_engine *engine, const sa_layer *layer, struct many *m) {
    must(sa_layer_forward(engine, layer, &m->batch) == SA_OK, "%s", sa_last_reason());
}

static void compute_one_by_one(sa_engine *engine, const sa_layer *layer, struct many *m) {
    sa_batch attention = m->attention;
    sa_layer_batch batch = m->batch;
    attention.n_sequences = 1;
    batch.attention = &attention;
    for (int i = 0; i < SEQS; i++) {
        attention.sequences = &m->seqs[i];
        batch.tokens = &m->tokens[i];
        must(sa_layer_forward(engine, layer, &batch) == SA_OK, "%s", sa_last_reason());
    }
}

static void must_equal(const struct many *a, const struct many *b) {
    must_be_same(a->y, b->y, a->n_tokens * D, "y");
    for (int i = 0; i < SEQS; i++) {
        const int64_t n_k = a->tokens[i].source == SA_LAYER_MEMORY ? a->tokens[i].n_memory : a->seqs[i].n_q;
        must(!memcmp(a->lse[i], b->lse[i], (size_t)(a->seqs[i].n_q * HEADS) * sizeof(float)), "lse of %d", i);
        must(!memcmp(a->mass[i], b->mass[i], (size_t)n_k * sizeof(float)), "key_mass of %d", i);
    }
}

/* Are there several, on an engine of one thread? */
static bool has_groups(const struct many *m) { return m->n_tokens > 2 * THREAD_TOKENS; }

/* In three groups or more, in two, in one, and a sequence a call. */
START_TEST(bits_do_not_depend_on_groups) {
    sa_layer *layer = new_layer(true);
    sa_engine *one = engine_of_threads(1);
    struct many *alone = new_many(3, _i), *together = new_many(3, _i);
    ck_assert(has_groups(alone) && alone->n_tokens < 6 * THREAD_TOKENS);
    compute_one_by_one(one, layer, alone);
    for (int n_threads = 1; n_threads <= 8; n_threads *= 2) {
        sa_engine *engine = engine_of_threads(n_threads);
        memset(together->y, 0, (size_t)together->n_tokens * D * sizeof(float));
        compute(engine, layer, together);
        must_equal(together, alone);
        sa_engine_destroy(engine);
    }
    sa_engine_destroy(one);
    sa_layer_destroy(layer);
    free_many(alone);
    free_many(together);
}
END_TEST

static void compute_packed(int n_threads, const sa_layer *layer, struct many *m) {
    sa_engine *engine = engine_of_threads(n_threads);
    m->batch.flags = SA_LAYER_PACK;
    compute(engine, layer, m);
    sa_engine_destroy(engine);
}

/* Packed, bits depend on the rest of the batch: then on the same of it in every group, which are others for other
 * numbers of threads. */
START_TEST(packed_bits_do_not_depend_on_groups) {
    sa_layer *layer = new_layer(true);
    struct many *whole = new_many(3, _i), *in_groups = new_many(3, _i);
    ck_assert(has_groups(whole) && whole->n_tokens < 6 * THREAD_TOKENS);
    compute_packed(8, layer, whole);
    for (int n_threads = 1; n_threads <= 4; n_threads *= 2) {
        compute_packed(n_threads, layer, in_groups);
        must_equal(in_groups, whole);
    }
    sa_layer_destroy(layer);
    free_many(whole);
    free_many(in_groups);
}
END_TEST

/* A sequence of several groups' tokens, which see a few others each, and then some of 3. */
enum { LONG = 2 * THREAD_TOKENS + 100, SHORT = 3 };

struct long_one {
    sa_sequence seqs[2];
    sa_layer_tokens tokens[2];
    sa_batch attention;
    sa_layer_batch batch;
    float *x, *y;
};

static struct long_one *new_long_one(int n_seqs) {
    struct dice dice = {9};
    struct long_one *l = calloc(1, sizeof *l);
    must(l, "no memory");
    l->x = floats((LONG + SHORT) * D);
    l->y = floats((LONG + SHORT) * D);
    fill(&dice, l->x, (LONG + SHORT) * D, 1);
    l->seqs[0].n_q = LONG;
    l->seqs[1].n_q = SHORT;
    l->tokens[0] = (sa_layer_tokens){.x = l->x, .y = l->y};
    l->tokens[1] = (sa_layer_tokens){.x = l->x + LONG * D, .y = l->y + LONG * D};
    l->attention = (sa_batch){SA_BATCH_HEAD, .n_sequences = n_seqs, .sequences = l->seqs};
    l->batch = (sa_layer_batch){SA_LAYER_BATCH_HEAD, .attention = &l->attention, .tokens = l->tokens};
    return l;
}

static void free_long_one(struct long_one *l) {
    free(l->x);
    free(l->y);
    free(l);
}

/* What would be multiplied row by row if there were no others, is not where they are in another group. */
START_TEST(few_packed_rows_in_a_group) {
    sa_layer *layer = new_layer(true);
    sa_engine *engines[2] = {engine_of_threads(8), engine_of_threads(1)};
    struct long_one *all[2] = {new_long_one(2), new_long_one(2)};
    for (int i = 0; i < 2; i++) {
        all[i]->attention.flags = SA_CAUSAL | SA_WINDOW;
        all[i]->attention.window_left = 20;
        all[i]->batch.flags = SA_LAYER_PACK;
        must(sa_layer_forward(engines[i], layer, &all[i]->batch) == SA_OK, "%s", sa_last_reason());
    }
    must_be_same(all[1]->y, all[0]->y, (LONG + SHORT) * D, "packed");
    for (int i = 0; i < 2; i++) {
        sa_engine_destroy(engines[i]);
        free_long_one(all[i]);
    }
    sa_layer_destroy(layer);
}
END_TEST

/* y in the place of x, all sequences the rows of one matrix. */
START_TEST(in_place) {
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(1);
    struct many *wanted = new_many(4, false), *m = new_many(4, false);
    compute_one_by_one(engine, layer, wanted);
    for (int i = 0; i < SEQS; i++) {
        memcpy(m->tokens[i].y, m->tokens[i].x, (size_t)m->seqs[i].n_q * D * sizeof(float));
        m->tokens[i].x = m->tokens[i].y;
    }
    compute(engine, layer, m);
    must_equal(m, wanted);
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
    free_many(wanted);
    free_many(m);
}
END_TEST

/* What the engine refuses of the last sequence, or the layer, is refused before the first is written. */
START_TEST(refused_as_a_whole) {
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(1);
    struct many *m = new_many(5, false);
    memset(m->y, 0x5a, (size_t)m->n_tokens * D * sizeof(float));
    m->seqs[SEQS - 1].flags = _i ? 0 : 64;
    m->tokens[SEQS - 1].source = _i ? 77 : SA_LAYER_SELF;
    ck_assert(has_groups(m) && sa_layer_forward(engine, layer, &m->batch) == SA_INVALID);
    must(strstr(sa_last_reason(), "sequence 159"), "%s", sa_last_reason());
    for (int64_t i = 0; i < m->n_tokens * D; i++)
        must(bits_of(m->y[i]) == 0x5a5a5a5a, "y was written");
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
    free_many(m);
}
END_TEST

/* ---------------------------------------------------------------- progress */

struct watch {
    int64_t progress, most, n_values; /* how many differ */
    bool stop, fell;
};

static void *watch(void *argument) {
    struct watch *w = argument;
    while (!__atomic_load_n(&w->stop, __ATOMIC_SEQ_CST)) {
        const int64_t now = __atomic_load_n(&w->progress, __ATOMIC_SEQ_CST);
        w->fell = w->fell || now < w->most;
        w->n_values += now != w->most;
        w->most = now;
    }
    return NULL;
}

/* Visible pairs of all heads, and never fewer than before. */
START_TEST(progress) {
    sa_layer *layer = new_layer(true);
    sa_engine *engines[2] = {engine_of_threads(1), engine_of_threads(8)};
    struct many *m = new_many(6, false);
    int64_t pairs = 0;
    for (int i = 0; i < SEQS; i++)
        pairs += m->seqs[i].n_q * (m->seqs[i].n_q + 1) / 2 * HEADS;
    for (int i = 0; i < 2; i++) {
        struct watch w = {.progress = -5, .most = -5};
        pthread_t thread;
        m->attention.progress = &w.progress;
        ck_assert_int_eq(pthread_create(&thread, NULL, watch, &w), 0);
        compute(engines[i], layer, m);
        ck_assert_int_eq(w.progress, pairs);
        __atomic_store_n(&w.stop, true, __ATOMIC_SEQ_CST);
        pthread_join(thread, NULL);
        ck_assert(!w.fell);
        sa_engine_destroy(engines[i]);
    }
    sa_layer_destroy(layer);
    free_many(m);
}
END_TEST

/* A sequence that is longer than a group is a single one: its pairs are counted as the engine does. */
START_TEST(progress_of_a_long_sequence) {
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(1);
    struct long_one *l = new_long_one(1);
    struct watch w = {.progress = -5, .most = -5};
    pthread_t thread;
    l->attention.progress = &w.progress;
    ck_assert_int_eq(pthread_create(&thread, NULL, watch, &w), 0);
    must(sa_layer_forward(engine, layer, &l->batch) == SA_OK, "%s", sa_last_reason());
    __atomic_store_n(&w.stop, true, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
    ck_assert_int_eq(w.progress, (int64_t)LONG * LONG * HEADS);
    must(!w.fell && w.n_values > 2, "%d values", (int)w.n_values); /* 0, some, all */
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
    free_long_one(l);
}
END_TEST

/* ---------------------------------------------------------------- the workspace */

/* Bytes for so many sequences of n tokens, x and y not the rows of a matrix. */
static int64_t bytes_for(sa_engine *engine, const sa_layer *layer, int64_t n_seqs, int64_t n) {
    sa_sequence *seqs = calloc((size_t)n_seqs, sizeof *seqs);
    sa_layer_tokens *tokens = calloc((size_t)n_seqs, sizeof *tokens);
    sa_batch attention = {SA_BATCH_HEAD, .n_sequences = n_seqs, .sequences = seqs};
    sa_layer_batch batch = {SA_LAYER_BATCH_HEAD, .attention = &attention, .tokens = tokens};
    static float y[1];
    size_t bytes = 0;
    must(seqs && tokens, "no memory");
    for (int64_t i = 0; i < n_seqs; i++) {
        seqs[i].n_q = n;
        tokens[i] = (sa_layer_tokens){.x = x, .y = y}; /* not looked at */
    }
    must(sa_layer_workspace_bytes(engine, layer, &batch, &bytes) == SA_OK, "%s", sa_last_reason());
    free(seqs);
    free(tokens);
    return (int64_t)bytes;
}

/* Of x, q, k, v and the heads' outputs a group's rows; of the sequences their descriptions. */
START_TEST(workspace_is_bounded) {
    const int64_t row = (112 + 112 + 48 + 48 + 112) * 4, described = (int64_t)sizeof(sa_sequence) + 256;
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(1);
    for (int64_t n = 1; n <= 5000; n = n * 3 + 1)
        for (int64_t n_seqs = 1; n_seqs < 8000; n_seqs = n_seqs * 2 + 1) {
            const int64_t rows = THREAD_TOKENS + (n + 11) / 12 * 12, bytes = bytes_for(engine, layer, n_seqs, n);
            must(bytes <= rows * row + n_seqs * described + 4096, "%d sequences of %d tokens: %lld bytes", (int)n_seqs,
                 (int)n, (long long)bytes);
        }
    ck_assert_int_ge(bytes_for(engine, layer, 1, 50000), 50000 * (row - 112 * 4)); /* a sequence stays whole */
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("layer_groups");
    TCase *tcase = add_case(suite, "groups");
    tcase_add_loop_test(tcase, bits_do_not_depend_on_groups, 0, 2);
    tcase_add_loop_test(tcase, packed_bits_do_not_depend_on_groups, 0, 2);
    tcase_add_test(tcase, few_packed_rows_in_a_group);
    tcase_add_test(tcase, in_place);
    tcase_add_loop_test(tcase, refused_as_a_whole, 0, 2);
    tcase_add_test(tcase, progress);
    tcase_add_test(tcase, progress_of_a_long_sequence);
    tcase_add_test(tcase, workspace_is_bounded);
    return run_suite(suite);
}
