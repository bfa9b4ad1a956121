/* SPDX-License-Identifier: MIT */
/* A tile whose keys are split over threads gives the bits of a tile that is not: the same chunks, the same tree. */
#include <math.h>
#include <pthread.h>

#include "box.h"
#include "drawn.h"
#include "engine.h"
#include "engines.h"
#include "paged.h"

/* ---------------------------------------------------------------- teams that split as they are told */

static const int team_sizes[] = {1, 2, 3, 7, 16};
enum { N_TEAMS = sizeof team_sizes / sizeof team_sizes[0] };

struct teams {
    sa_engine *at[N_TEAMS];
};

/* False: this machine lacks the instruction set. */
static bool open_teams(struct teams *teams, int isa) {
    for (int i = 0; i < N_TEAMS; i++)
        if (!(teams->at[i] = engine_with(isa, team_sizes[i])))
            return false;
    return true;
}

static void close_teams(struct teams *teams) {
    for (int i = 0; i < N_TEAMS; i++)
        sa_engine_destroy(teams->at[i]); /* or NULL */
}

static sa_batch_info info_of(sa_engine *engine, const sa_batch *batch) {
    sa_batch_info info = {.struct_size = sizeof info};
    must(sa_batch_get_info(engine, batch, &info) == SA_OK, "%s", sa_last_reason());
    return info;
}

/* Parts of which a batch's longest tile makes about so many. */
static void split_into(sa_engine *engine, const sa_batch *batch, int n_parts) {
    sa_simulation whole = {.struct_size = sizeof whole};
    engine->team.shape.part_cost = HUGE_VAL;
    must(sa_batch_simulate(engine, batch, NULL, &whole) == SA_OK, "%s", sa_last_reason());
    engine->team.shape.part_cost = whole.longest_seconds / engine->team.shape.model->unit_seconds / n_parts;
}

enum { CHUNKS = 1 << 20 }; /* so many parts that each is a chunk */

/* The right bits, and all pairs counted. Returns the number of parts. */
static int64_t check_bits(struct drawn *drawn, sa_engine *engine, int n_parts, const float *right) {
    size_t n;
    int64_t progress = -1;
    split_into(engine, &drawn->batch, n_parts);
    drawn_forget(drawn);
    drawn->batch.progress = &progress;
    const sa_batch_info info = info_of(engine, &drawn->batch);
    must(sa_batch_forward(engine, &drawn->batch) == SA_OK, "%s", sa_last_reason());
    must(progress == info.n_pairs, "progress %lld of %lld", (long long)progress, (long long)info.n_pairs);
    drawn->batch.progress = NULL;
    float *outputs = drawn_outputs(drawn, &n);
    for (size_t i = 0; i < n; i++)
        must(same_float(outputs[i], right[i]), "%d threads, %lld parts: float %zu of the outputs is %.9g, not %.9g",
             engine->team.shape.n_threads, (long long)info.n_splits, i, (double)outputs[i], (double)right[i]);
    free(outputs);
    return info.n_splits;
}

/* By all teams, in chunks and coarser. Returns the largest number of parts. */
static int64_t check_teams(struct drawn *drawn, const struct teams *teams) {
    size_t n;
    int64_t most = 0;
    teams->at[0]->team.shape.part_cost = HUGE_VAL;
    drawn_forget(drawn);
    must(sa_batch_forward(teams->at[0], &drawn->batch) == SA_OK, "%s", sa_last_reason());
    float *right = drawn_outputs(drawn, &n);
    for (int i = 0; i < N_TEAMS; i++) {
        int64_t parts = check_bits(drawn, teams->at[i], i % 2 ? CHUNKS : 2 + 3 * i, right);
        most = parts > most ? parts : most;
    }
    free(right);
    return most;
}

/* ---------------------------------------------------------------- bits */

static const struct {
    uint32_t flags;
    int64_t left, right, sink;
} rules[] = {
    {0, 0, 0, 0},
    {SA_CAUSAL, 0, 0, 0},
    {SA_WINDOW, 3000, -1, 0},
    {SA_WINDOW | SA_CAUSAL, 1500, 0, 4},
    {SA_WINDOW, 2047, 0, 1025},
    {SA_WINDOW | SA_CAUSAL, 20000, 0, 9000},
};
enum { N_RULES = sizeof rules / sizeof rules[0] };

/* Both sides of the tree's edges: a chunk, a node of the first and of the second level. */
static const int64_t lengths[] = {1023, 1024, 1025, 8191, 8192, 8193, 65537, 70000};
enum { N_LENGTHS = sizeof lengths / sizeof lengths[0] };

static void set_rule(struct drawn *drawn, int rule) {
    drawn->batch.flags = rules[rule].flags;
    drawn->batch.window_left = rules[rule].left;
    drawn->batch.window_right = rules[rule].right;
    drawn->batch.n_sink_keys = rules[rule].sink;
}

/* All rows stand so far behind the keys that they see sink keys only. */
static void set_behind(struct drawn *drawn, int64_t n_k) {
    drawn->batch.flags = SA_WINDOW;
    drawn->batch.window_left = 30;
    drawn->batch.window_right = 0;
    drawn->batch.n_sink_keys = n_k * 9 / 10;
    drawn->seqs[0].flags = SA_SEQ_Q_OFFSET;
    drawn->seqs[0].q_offset = n_k + 100;
}

/* One sequence for all rules and numbers of queries: to draw the keys takes longer than to compute with them. */
static void check_length(const struct teams *teams, int isa, int64_t n_k, int group) {
    struct drawn drawn = drawn_batch((uint64_t)(n_k + group), group, 1, isa >= SA_ISA_AVX512_BF16 ? 4 : 3, 5);
    drawn_own(&drawn, isa);
    sa_sequence *seq = drawn_add(&drawn, 3, n_k, PACKED, 4);
    for (int rule = 0; rule < N_RULES; rule++)
        for (seq->n_q = 1; seq->n_q <= 3; seq->n_q++) {
            set_rule(&drawn, rule);
            const int64_t parts = check_teams(&drawn, teams);
            must(n_k > 1024 ? parts >= 2 : parts == 0, "%lld keys, rule %d: %lld parts", (long long)n_k, rule,
                 (long long)parts);
        }
    seq->n_q = 3;
    set_behind(&drawn, n_k);
    check_teams(&drawn, teams);
    drawn_free(&drawn);
}

#if defined(TEST_AVX512_IS_EMULATED)
enum { IS_EMULATED = 1 };
#else
enum { IS_EMULATED = 0 };
#endif

static bool is_slow(int isa) { return IS_EMULATED || isa == SA_ISA_GENERIC; }

START_TEST(split_is_unsplit_at_the_edges_of_the_tree) {
    struct teams teams = {{NULL}};
    const int64_t most = !is_slow(_i) ? 70000 : _i == SA_ISA_GENERIC ? 1025 : 8193;
    const bool opened = open_teams(&teams, _i);
    for (int i = 0; opened && i < N_LENGTHS; i++)
        for (int group = 1; group <= 8 && lengths[i] <= most; group += group == 1 ? 3 : 4)
            check_length(&teams, _i, lengths[i], group);
    close_teams(&teams);
}
END_TEST

/* What happens to scores, in some batches: sinks in one of two, for they are merged where all parts are. */
static void set_terms(struct drawn *drawn, int i) {
    static const float numbers[10] = {1, 0.25f, -0.5f, 2, 0.01f, 0, -3, 1.5f, 0.125f, 0.75f};
    drawn->batch.softcap = i % 3 ? 0 : 2;
    drawn->batch.alibi_slopes = i % 4 == 1 ? numbers : NULL;
    drawn->batch.sink_logits = i % 2 ? numbers : NULL;
}

/* Prefill tiles, several heads and sequences, any rule, offset and layout. What nobody sees is NaN. */
START_TEST(split_is_unsplit_in_any_batch) {
    struct teams teams = {{NULL}};
    int64_t parts = 0;
    bool opened = open_teams(&teams, _i);
    for (int i = 0; opened && i < (is_slow(_i) ? 5 : 30); i++) {
        struct dice dice = {(uint64_t)(100 * _i + i)};
        const int kv_heads = (int)roll_between(&dice, 1, 2);
        struct drawn drawn = drawn_batch((uint64_t)i, kv_heads * (int)roll_between(&dice, 1, 5), kv_heads,
                                         (int)roll_between(&dice, 1, 20), (int)roll_between(&dice, 1, 20));
        drawn_own(&drawn, _i);
        for (int s = 0; s < 3; s++)
            drawn_add(&drawn, roll_between(&dice, 0, roll_one_in(&dice, 2) ? 3 : 60), roll_between(&dice, 0, 12000), -1,
                      4);
        drawn_rules(&drawn);
        set_terms(&drawn, i);
        for (int s = 0; s < 3; s++)
            drawn_poison(&drawn, s, -1, NAN);
        parts += check_teams(&drawn, &teams);
        drawn_free(&drawn);
    }
    ck_assert(!opened || parts > (is_slow(_i) ? 40 : 400));
    close_teams(&teams);
}
END_TEST

/* Every type that keys and values are stored in, and pages of either kind, few rows and more, by every team. */
static const struct {
    int q, kv, scale, page;
} storages[] = {{SA_BF16, SA_BF16, SA_F32, 0}, {SA_F16, SA_F16, SA_F32, 0},   {SA_BF16, SA_I8, SA_F32, 0},
                {SA_F32, SA_F32, SA_F32, 16},  {SA_BF16, SA_BF16, SA_F32, 5}, {SA_F16, SA_F16, SA_F32, 64},
                {SA_F32, SA_I8, SA_F16, 16}};
enum { N_STORAGES = sizeof storages / sizeof storages[0] };

static int64_t check_storage(const struct teams *teams, int i, int64_t n_k, int64_t n_q) {
    struct drawn drawn = drawn_batch((uint64_t)(10 * i + n_q), 4, 2, 20, 17);
    drawn.batch.q_type = drawn.batch.o_type = storages[i].q;
    drawn.batch.k_type = drawn.batch.v_type = storages[i].kv;
    drawn.batch.scale_type = storages[i].scale;
    drawn_add(&drawn, n_q, n_k, -1, 4);
    drawn_add(&drawn, 1, n_k / 3, -1, 4);
    drawn.batch.flags |= SA_CAUSAL;
    if (storages[i].page)
        drawn_page(&drawn, 0, 2, paging_of(&drawn.dice, storages[i].page));
    const int64_t parts = check_teams(&drawn, teams);
    drawn_free(&drawn);
    return parts;
}

START_TEST(split_is_unsplit_however_it_is_stored) {
    struct teams teams = {{NULL}};
    const bool opened = open_teams(&teams, _i);
    for (int i = 0; opened && i < N_STORAGES; i++)
        for (int64_t n_q = 1; n_q <= 21; n_q += 10) /* 2, 22 and 42 rows of a kv head */
            must(check_storage(&teams, i, is_slow(_i) ? 2500 : 12000, n_q) >= 2, "storage %d: nothing is split", i);
    close_teams(&teams);
}
END_TEST

/* ---------------------------------------------------------------- calls at once */

enum { N_CALLERS = 4 };

struct caller {
    sa_engine *engine;
    struct box *box;
};

static void *call_again_and_again(void *argument) {
    struct caller *caller = argument;
    for (int i = 0; i < 20; i++)
        check_forward(caller->engine, caller->box);
    return NULL;
}

START_TEST(callers_at_once_have_parts_of_their_own) {
    pthread_t threads[N_CALLERS];
    struct caller callers[N_CALLERS];
    sa_engine *engine = engine_of(3);
    for (int i = 0; i < N_CALLERS; i++) {
        struct box_shape shape = {1 + i % 2, 4, 1 + i % 2, 16, 24 + i, 1 + 20 * i, 9000 + 1000 * i};
        callers[i] = (struct caller){engine, box_with_answer((uint64_t)i, shape)};
    }
    split_into(engine, &callers[0].box->batch, 9);
    for (int i = 0; i < N_CALLERS; i++)
        ck_assert_int_ge(info_of(engine, &callers[i].box->batch).n_splits, 6);
    for (int i = 0; i < N_CALLERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_again_and_again, &callers[i]), 0);
    for (int i = 0; i < N_CALLERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < N_CALLERS; i++)
        box_free(callers[i].box);
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- what the planner does by itself */

static bool says(sa_engine *engine, const struct box *box, const char *words) {
    char text[2000];
    ck_assert_int_eq(sa_batch_describe(engine, &box->batch, text, sizeof text, NULL), SA_OK);
    return strstr(text, words) != NULL;
}

/* Long keys are split where a team would be idle, not in one thread, nor in calls that stay in the caller. */
START_TEST(tiles_are_split_where_it_helps) {
    struct box *longest = box_new(1, (struct box_shape){1, 1, 1, 64, 64, 1, 300000}),
               *brief = box_new(2, (struct box_shape){1, 1, 1, 1, 1, 1, 1200}),
               *many = box_new(3, (struct box_shape){1, 64, 64, 8, 8, 1, 4000});
    sa_engine *one = engine_of(1), *two = engine_of(2);
    ck_assert_int_eq(info_of(one, &longest->batch).n_splits, 0);
    const sa_batch_info whole = info_of(one, &longest->batch), parts = info_of(two, &longest->batch);
    ck_assert_int_ge(parts.n_splits, 4);
    ck_assert_int_eq(parts.n_splits, parts.n_items);
    ck_assert_int_gt(parts.workspace_bytes, 2 * whole.workspace_bytes);
    ck_assert_int_eq(info_of(two, &brief->batch).in_caller, 1);
    ck_assert_int_eq(info_of(two, &brief->batch).n_splits, 0);
    ck_assert_int_eq(info_of(two, &many->batch).n_splits, 0);
    ck_assert(says(two, longest, "have a part of the keys of one of 1 tiles"));
    ck_assert(says(two, longest, "for results of parts"));
    ck_assert(says(one, longest, "no key range is split"));
    box_answer(longest, one);
    check_forward(two, longest);
    sa_engine_destroy(one);
    sa_engine_destroy(two);
    box_free(longest);
    box_free(brief);
    box_free(many);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("splits");
    TCase *bits = add_case(suite, "bits");
    tcase_add_loop_test(bits, split_is_unsplit_at_the_edges_of_the_tree, ISA_FIRST, ISA_END);
    tcase_add_loop_test(bits, split_is_unsplit_in_any_batch, ISA_FIRST, ISA_END);
    tcase_add_loop_test(bits, split_is_unsplit_however_it_is_stored, ISA_FIRST, ISA_END);
    tcase_add_test(add_case(suite, "callers"), callers_at_once_have_parts_of_their_own);
    tcase_add_test(add_case(suite, "choice"), tiles_are_split_where_it_helps);
    return run_suite(suite);
}
