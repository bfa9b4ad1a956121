/* SPDX-License-Identifier: MIT */
/* Heads whose rows stand side by side go through the keys abreast where that pays, and have the bits that each has
 * alone. */
#include <math.h>

#include "abreast.h"
#include "engines.h"
#include "paged.h"
#include "validate.h"

/* ---------------------------------------------------------------- when they do */

static struct sa_problem problem_of(const sa_batch *batch, struct sa_seq *seqs) {
    struct sa_problem problem = {.seqs = seqs};
    sa_batch own;
    ck_assert_msg(sa_validate_batch(batch, &own) == SA_OK && sa_validate_sequences(&own, &problem) == SA_OK, "%s",
                  sa_last_reason());
    return problem;
}

/* What is looked at of a decode of one sequence of 300 keys. */
struct shape {
    int heads, kv_heads, d_qk, d_v, type, n_q;
    int64_t k_token, k_head, v_token, v_head; /* strides, 0: packed */
};

static int abreast_of(const struct shape *shape, const sa_batch *more, const sa_sequence *more_of_it) {
    static float q[3 * 80 * 512], o[3 * 80 * 512], caches[2 * 300 * 32 * 128], scales[300 * 80]; /* nothing is read */
    float *middle = caches + 300 * 32 * 128;
    static struct sa_seq seq;
    sa_batch b = *more;
    sa_sequence s = *more_of_it;
    b.struct_size = sizeof b;
    b.sequence_size = sizeof s;
    b.n_sequences = 1;
    b.sequences = &s;
    b.n_query_heads = shape->heads;
    b.n_kv_heads = shape->kv_heads;
    b.d_qk = shape->d_qk;
    b.d_v = shape->d_v;
    b.k_type = b.v_type = shape->type;
    s.n_q = shape->n_q;
    s.n_k = 300;
    s.q = (sa_tensor){q, 0, 0};
    s.k = (sa_tensor){middle, shape->k_token, shape->k_head};
    s.v = (sa_tensor){middle, shape->v_token, shape->v_head};
    s.o = (sa_output){o, 0, 0};
    s.k_scales.data = s.v_scales.data = shape->type == SA_I8 ? scales : NULL;
    const struct sa_problem problem = problem_of(&b, &seq);
    ck_assert_int_eq(problem.most_abreast, sa_abreast(&seq));
    ck_assert_int_eq(shape->kv_heads % problem.most_abreast, 0);
    return problem.most_abreast;
}

START_TEST(as_many_as_make_a_run_of_memory) {
    static const struct {
        struct shape shape;
        int abreast;
    } cases[] = {
        {{1, 1, 64, 64, SA_F32, 1, 0, 0, 0, 0}, 1},
        {{2, 2, 64, 64, SA_F32, 1, 0, 0, 0, 0}, 2},
        {{12, 12, 64, 64, SA_F32, 1, 0, 0, 0, 0}, 12},
        {{8, 8, 128, 128, SA_F32, 1, 0, 0, 0, 0}, 8},
        {{32, 32, 128, 128, SA_F32, 1, 0, 0, 0, 0}, 8}, /* a page of 4 KiB */
        {{32, 32, 64, 64, SA_I8, 1, 0, 0, 0, 0}, 16},   /* as many as go at most */
        {{8, 8, 128, 256, SA_F32, 1, 0, 0, 0, 0}, 4},   /* the longer rows count */
        {{8, 8, 512, 512, SA_F32, 1, 0, 0, 0, 0}, 2},   /* of 2 KiB */
        {{11, 11, 256, 256, SA_F32, 1, 0, 0, 0, 0}, 1}, /* no divisor small enough */
        {{32, 8, 128, 128, SA_BF16, 1, 0, 0, 0, 0}, 8},
        {{64, 16, 64, 64, SA_BF16, 1, 0, 0, 0, 0}, 16}, /* 4 rows each fill the tile's 64 */
        {{48, 16, 64, 64, SA_BF16, 1, 0, 0, 0, 0}, 16}, /* 3 rows have the room of 4 */
        {{80, 16, 64, 64, SA_BF16, 1, 0, 0, 0, 0}, 8},  /* 5 that of 8 */
        {{32, 8, 128, 128, SA_BF16, 2, 0, 0, 0, 0}, 8},
        {{32, 8, 128, 128, SA_BF16, 3, 0, 0, 0, 0}, 1},             /* 12 rows are no tile of few */
        {{8, 8, 64, 64, SA_F32, 1, 64, 64 * 300, 64, 64 * 300}, 4}, /* heads first: blocks */
        {{6, 6, 64, 64, SA_F32, 1, 64, 64 * 300, 64, 64 * 300}, 2},
        {{9, 9, 64, 64, SA_F32, 1, 64, 64 * 300, 64, 64 * 300}, 1}, /* not three */
        {{8, 8, 64, 64, SA_F32, 1, 0, 0, 64, 64 * 300}, 4},         /* one of the two */
        {{8, 8, 64, 64, SA_F32, 1, 80 * 8, 80, 80 * 8, 80}, 8},     /* gaps between heads */
        {{8, 8, 64, 64, SA_F32, 1, 128 * 8, 128, 0, 0}, 4},         /* larger ones */
        {{8, 8, 64, 64, SA_F32, 1, -64 * 8, 64, 0, 0}, 8},          /* the last token first */
    };
    const sa_batch batch = {.flags = 0};
    const sa_sequence sequence = {.flags = 0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        must(abreast_of(&cases[i].shape, &batch, &sequence) == cases[i].abreast, "case %zu", i);
}
END_TEST

START_TEST(not_where_each_head_has_more_to_do) {
    static const struct shape shape = {8, 8, 64, 64, SA_F32, 1, 0, 0, 0, 0};
    static float floats[8 * 300], slopes[8];
    static int32_t numbers[300];
    const sa_sequence sequences[] = {{.k_documents = numbers, .q_documents = numbers},
                                     {.mask = {.data = floats}},
                                     {.bias = {.data = floats}},
                                     {.weights = {.data = floats, .n_rows = 0}, .key_mass = {.data = floats}}};
    const sa_batch plain = {.flags = SA_CAUSAL | SA_WINDOW,
                            .window_left = 100,
                            .n_sink_keys = 4,
                            .softcap = 30,
                            .alibi_slopes = slopes,
                            .sink_logits = slopes};
    const sa_sequence nothing = {.flags = 0};
    ck_assert_int_eq(abreast_of(&shape, &plain, &nothing), 8);
    for (size_t i = 0; i < sizeof sequences / sizeof sequences[0]; i++)
        must(abreast_of(&shape, &plain, &sequences[i]) == 1, "sequence %zu", i);
}
END_TEST

/* Blocks of several heads, if chunks that are not whole have a sixth of what is seen or more. */
START_TEST(blocks_where_chunks_are_not_whole) {
    static const struct {
        int64_t n_k, left, first_key;
        int abreast;
    } cases[] = {
        {31, 0, 0, 1},
        {32, 0, 0, 4},
        {1023, 0, 0, 4},
        {1024, 0, 0, 1},
        {1024 + 204, 0, 0, 1},
        {1024 + 205, 0, 0, 4},
        {5 * 1024, 0, 0, 1},
        {4 * 1024 + 1000, 0, 0, 4},
        {6 * 1024 + 1000, 0, 0, 1},
        {65536, 1023, 0, 1},
        {65536, 511, 0, 4},
        {65536 + 30, 1023, 0, 4},
        {8 * 1024, 0, 7 * 1024, 1},
        {8 * 1024, 0, 7 * 1024 + 256, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sa_problem problem = {.n_kv_heads = 4, .group = 1};
        problem.rule = (struct sa_rule){cases[i].left ? cases[i].left : SA_UNLIMITED, 0, 0};
        const struct sa_cache cache = {.token = 64, .head = 64 * 70000, .d = 16, .d_bytes = 64};
        const struct sa_seq seq = {.n_q = 1,
                                   .n_k = cases[i].n_k,
                                   .q_offset = cases[i].n_k - 1,
                                   .first_key = cases[i].first_key,
                                   .k = cache,
                                   .v = cache};
        must(sa_choose_abreast(&problem, &seq) == cases[i].abreast, "case %zu: %d", i,
             sa_choose_abreast(&problem, &seq));
    }
}
END_TEST

/* ---------------------------------------------------------------- fewer for many threads */

START_TEST(threads_are_kept_busy) {
    static const struct {
        int64_t n_k[2];
        int n_threads, abreast[2];
        int64_t left, first_key; /* left: 0: no window */
        bool blocks;
    } cases[] = {
        {{1000, 1000}, 1, {8, 8}, 0, 0, false},
        {{1000, 1000}, 2, {8, 8}, 0, 0, false},
        {{1000, 1000}, 4, {4, 4}, 0, 0, false},
        {{1000, 1000}, 3, {2, 2}, 0, 0, false},
        {{5000, 1000}, 3, {8, 8}, 0, 0, false}, /* six chunks */
        {{65536, 65536}, 48, {8, 8}, 0, 0, false},
        {{65536, 65536}, 200, {2, 2}, 0, 0, false},
        {{1, 1}, 1000, {1, 1}, 0, 0, false},
        {{65536, 0}, 64, {8, 1}, 0, 0, false},                   /* without keys there is nothing to go through */
        {{65536, 65536}, 4, {4, 4}, 1023, 0, false},             /* a chunk each in the window */
        {{65536, 65536}, 4, {4, 4}, 0, 64 * 1024 - 1024, false}, /* or of the whole */
        {{65536, 65536}, 16, {1, 1}, 900, 0, false},
        {{1000, 1000}, 4, {4, 4}, 0, 0, true},
        {{1000, 1000}, 3, {2, 2}, 0, 0, true},
        {{9100, 0}, 11, {8, 1}, 0, 0, false}, /* 8 chunks of a head in place of 7: too much for blocks */
        {{9100, 0}, 11, {1, 1}, 0, 0, true},
    };
    const struct sa_cache near = {.token = 512, .head = 64, .d_bytes = 64},
                          apart = {.token = 64, .head = 64 * 70000, .d_bytes = 64};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sa_seq seqs[2];
        struct sa_problem problem = {.seqs = seqs, .n_seqs = 2, .n_kv_heads = 8, .group = 1};
        problem.most_abreast = cases[i].blocks ? 4 : 8;
        problem.rule = (struct sa_rule){cases[i].left ? cases[i].left : SA_UNLIMITED, SA_UNLIMITED, 4};
        for (int s = 0; s < 2; s++)
            seqs[s] = (struct sa_seq){.n_q = 1,
                                      .n_k = cases[i].n_k[s],
                                      .q_offset = cases[i].n_k[s] - 1,
                                      .first_key = cases[i].first_key,
                                      .k = cases[i].blocks ? apart : near,
                                      .v = cases[i].blocks ? apart : near,
                                      .beside = cases[i].n_k[s] ? cases[i].blocks ? 3 : 7 : 0};
        sa_limit_abreast(&problem, cases[i].n_threads);
        for (int s = 0; s < 2; s++)
            must(sa_abreast(&seqs[s]) == cases[i].abreast[s], "case %zu: %d abreast", i, sa_abreast(&seqs[s]));
        ck_assert_int_eq(problem.most_abreast, cases[i].abreast[0]);
    }
}
END_TEST

/* ---------------------------------------------------------------- what comes out of it */

enum storage { CONTIGUOUS, PAGES, SMALL_PAGES, PAGES_OF_A_HEAD, N_STORAGES };

static const char *const names[] = {"contiguous", "in pages", "in pages, heads first", "in pages of a head"};

static void page(struct drawn *drawn, struct dice *dice, enum storage storage, int n_seqs, int layout) {
    static const int of_any[] = {16, 48, 256, 17}, small[] = {16, 32, 16, 64};
    struct paging how = paging_of(dice, storage == SMALL_PAGES ? small[roll(dice) % 4] : of_any[roll(dice) % 4]);
    how.per_head = storage == PAGES_OF_A_HEAD;
    how.layout = storage == SMALL_PAGES ? HEADS_FIRST : layout;
    if (storage != CONTIGUOUS)
        drawn_page(drawn, 0, n_seqs, how);
}

/* The same numbers for the same i, one sequence or several. */
static struct drawn draw(int i, int isa, int64_t most, enum storage storage) {
    static const int kv_heads[] = {2, 3, 4, 6, 8, 12, 16}, groups[] = {1, 2, 4, 3, 5, 8, 1};
    static float per_head[16 * 8];
    struct dice dice = {(uint64_t)(1000 + i)};
    const int kv = kv_heads[i % 7], group = groups[roll(&dice) % 7], layout = i % 2 ? PACKED : TOKENS_GAPS;
    const int n_seqs = (int)roll_between(&dice, 1, 3);
    struct drawn drawn =
        drawn_batch((uint64_t)i, kv * group, kv, (int)roll_between(&dice, 1, 70), (int)roll_between(&dice, 1, 70));
    drawn_types(&drawn);
    if (i % 3 == 0)
        drawn_own(&drawn, isa);
    for (int s = 0; s < n_seqs; s++)
        drawn_add(&drawn, roll_between(&dice, 1, 8 / group),
                  roll_one_in(&dice, 3) ? drawn_edge(&dice, most) : roll_between(&dice, 1, most), layout, 3);
    if (roll_one_in(&dice, 2))
        drawn_rules(&drawn);
    for (int h = 0; h < kv * group; h++)
        per_head[h] = roll_unit(&dice);
    drawn.batch.softcap = roll_one_in(&dice, 4) ? 2.0f : 0.0f;
    drawn.batch.alibi_slopes = roll_one_in(&dice, 4) ? per_head : NULL;
    drawn.batch.sink_logits = roll_one_in(&dice, 4) ? per_head : NULL;
    for (int s = 0; s < n_seqs; s++)
        drawn_poison(&drawn, s, -1, NAN);
    page(&drawn, &dice, storage, n_seqs, layout);
    return drawn;
}

/* What documents hide is looked up head by head; these are all one. */
static void keep_heads_apart(struct drawn *drawn) {
    static const int32_t zeros[2000];
    for (int64_t s = 0; s < drawn->batch.n_sequences; s++)
        drawn->seqs[s].q_documents = drawn->seqs[s].k_documents = zeros;
}

static float *compute(int i, int isa, sa_engine *engine, int64_t most, enum storage storage, bool alone, size_t *n,
                      int *abreast) {
    struct sa_seq seqs[DRAWN_SEQS];
    struct drawn drawn = draw(i, isa, most, storage);
    if (alone)
        keep_heads_apart(&drawn);
    float *outputs = drawn_compute(&drawn, engine, n);
    *abreast = problem_of(&drawn.batch, seqs).most_abreast;
    if (storage == PAGES_OF_A_HEAD && i % 4 == 0)
        drawn_check(&drawn, engine, 20);
    drawn_free(&drawn);
    return outputs;
}

START_TEST(bits_are_those_of_each_head_alone) {
    const int64_t most = _i == SA_ISA_GENERIC ? 300 : 1100;
    sa_engine *engines[2] = {engine_with(_i, 1), engine_with(_i, 4)};
    int n_abreast[N_STORAGES] = {0}, n_cases = engines[0] ? isa_cases(_i, 42) : 0;
    for (int i = 0; i < n_cases; i++) {
        int abreast;
        size_t n;
        float *wanted = compute(i, _i, engines[0], most, PAGES_OF_A_HEAD, true, &n, &abreast);
        ck_assert_int_eq(abreast, 1);
        for (int storage = CONTIGUOUS; storage < N_STORAGES; storage++) {
            float *got = compute(i, _i, engines[i % 2], most, (enum storage)storage, false, &n, &abreast);
            drawn_must_equal(got, wanted, n, names[storage]);
            n_abreast[storage] += abreast > 1;
            free(got);
        }
        free(wanted);
    }
    for (int i = 0; i < N_STORAGES; i++)
        must(3 * n_abreast[i] >= n_cases, "%s, only %d of %d cases had heads abreast", names[i], n_abreast[i], n_cases);
    for (int i = 0; i < 2; i++)
        sa_engine_destroy(engines[i]);
}
END_TEST

/* ---------------------------------------------------------------- runs */

START_TEST(what_follows_in_memory) {
    static const int32_t table[1] = {0};
    static const struct {
        struct sa_cache cache;
        struct sa_heads_run run; /* of 4 heads */
    } cases[] = {
        {{.token = 512, .head = 128, .d_bytes = 128}, {1, 512}},
        {{.token = 600, .head = 140, .d_bytes = 128}, {1, 548}},
        {{.token = -512, .head = 128, .d_bytes = 128}, {1, 512}},
        {{.token = 128, .head = 128 * 50, .d_bytes = 128}, {0, 0}},
        {{.token = 512, .head = 256, .d_bytes = 128}, {0, 0}},
        {{.token = 512, .head = 0, .d_bytes = 128}, {0, 0}}, /* one head's rows for all */
        {{.token = 512, .head = 128, .d_bytes = 128, .table = table, .page_tokens = 256}, {1, 512}},
        {{.token = 512, .head = 128, .d_bytes = 128, .table = table, .page_tokens = 8}, {0, 0}},
        {{.token = 512, .head = 128, .d_bytes = 128, .table = table, .page_tokens = 16, .table_head = 9}, {0, 0}},
        {{.token = 128, .head = 2048, .d_bytes = 128, .table = table, .page_tokens = 16}, {16, 8192}},
        {{.token = 130, .head = 5000, .d_bytes = 128, .table = table, .page_tokens = 32}, {32, 19160}},
        {{.token = 128, .head = 8192, .d_bytes = 128, .table = table, .page_tokens = 64}, {0, 0}},
        {{.token = 128, .head = 6144, .d_bytes = 128, .table = table, .page_tokens = 48}, {0, 0}},
        {{.token = PTRDIFF_MAX / 3 * 2, .d_bytes = 128, .table = table, .page_tokens = 2}, {0, 0}}, /* of one token */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct sa_heads_run run = sa_heads_run_of(&cases[i].cache, 4);
        must(run.tokens == cases[i].run.tokens && run.bytes == cases[i].run.bytes, "case %zu: %d tokens, %d bytes", i,
             run.tokens, run.bytes);
    }
}
END_TEST

START_TEST(windows_are_of_tokens_or_of_pages) {
    static const int32_t table[1] = {0};
    const struct sa_cache tokens = {.token = 512, .head = 128, .d_bytes = 128},
                          wide = {.token = 2048, .head = 512, .d_bytes = 512},
                          heads = {.token = 128, .head = 128 * 50, .d_bytes = 128},
                          pages = {.token = 128, .head = 2048, .d_bytes = 128, .table = table, .page_tokens = 16};
    const struct {
        const struct sa_cache *k, *v;
        int n_keys, window; /* 0: none */
        bool pages;
    } cases[] = {
        {&tokens, &tokens, 256, 64, false}, {&tokens, &tokens, 240, 16, false}, {&wide, &tokens, 256, 16, false},
        {&tokens, &wide, 96, 16, false},    {&pages, &pages, 256, 64, true},    {&pages, &pages, 240, 64, true},
        {&pages, &tokens, 256, 0, false},   {&tokens, &pages, 256, 0, false},   {&heads, &tokens, 256, 0, false},
        {&pages, &heads, 256, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct sa_seq seq = {.k = *cases[i].k, .v = *cases[i].v, .beside = 3};
        const int window = sa_in_windows(&seq) ? sa_window_of(&seq, cases[i].n_keys) : 0;
        must(window == cases[i].window && sa_in_pages(&seq) == cases[i].pages, "case %zu: %d tokens", i, window);
    }
}
END_TEST

/* Long enough for parts of a few chunks, each of several heads. */
START_TEST(parts_are_merged_head_by_head) {
    sa_engine *engines[2] = {engine_with(_i, 1), engine_with(_i, 4)};
    for (int i = 0; engines[0] && _i != SA_ISA_GENERIC && i < 3; i++) {
        sa_batch_info info = {.struct_size = sizeof info};
        struct drawn drawn = drawn_batch((uint64_t)(70 + i), 16, i % 2 ? 8 : 4, 64, 40);
        drawn_types(&drawn);
        drawn_add(&drawn, 1, 9000 + 700 * i, PACKED, 3);
        size_t n;
        float *wanted = drawn_compute(&drawn, engines[0], &n), *got = drawn_compute(&drawn, engines[1], &n);
        ck_assert(sa_batch_get_info(engines[1], &drawn.batch, &info) == SA_OK && info.n_splits > 1);
        drawn_must_equal(got, wanted, n, "in parts");
        drawn_check(&drawn, engines[1], 20);
        free(wanted);
        free(got);
        drawn_free(&drawn);
    }
    for (int i = 0; i < 2; i++)
        sa_engine_destroy(engines[i]);
}
END_TEST

/* Their rows fill the tile, of which nothing outside is touched, as AddressSanitizer tells. */
START_TEST(a_tile_is_filled) {
    sa_engine *engine = engine_with(_i, 1);
    for (int group = 1; engine && group <= 4; group++) {
        struct sa_seq seq;
        struct drawn drawn = drawn_batch((uint64_t)group, 16 * group, 16, 30, 10);
        drawn_add(&drawn, 1, 70, PACKED, 3);
        drawn_check(&drawn, engine, 20);
        ck_assert_int_eq(problem_of(&drawn.batch, &seq).most_abreast, 16);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("abreast");
    TCase *tcase = add_case(suite, "abreast");
    tcase_add_test(tcase, as_many_as_make_a_run_of_memory);
    tcase_add_test(tcase, not_where_each_head_has_more_to_do);
    tcase_add_test(tcase, blocks_where_chunks_are_not_whole);
    tcase_add_test(tcase, threads_are_kept_busy);
    tcase_add_test(tcase, what_follows_in_memory);
    tcase_add_test(add_case(suite, "windows"), windows_are_of_tokens_or_of_pages);
    tcase_add_loop_test(tcase, bits_are_those_of_each_head_alone, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, a_tile_is_filled, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, parts_are_merged_head_by_head, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
