/* SPDX-License-Identifier: MIT */
/* What kernels fetch ahead shows in no result: here, that lists of lines are gone through to their end, every line of
 * them and no other, however many are taken at once, and that each block's values are in its list. */
#include "abreast.h"
#include "each_kernel.h"
#include "engine.h"
#include "inside.h"

#define INLINE static inline /* as an instruction set's file would have it */
#include "kernels/lanes_fetch.h"

enum { MAX_LINES = 40, MAX_COLUMNS = 5, N_SETS = 3 };

/* Set i has its lines from i * SET_BYTES on, rows STRIDE bytes apart. */
enum { STRIDE = 512, SET_BYTES = STRIDE * MAX_LINES };

static char memory[N_SETS * SET_BYTES];
static int fetched[N_SETS * SET_BYTES / SA_LINE_BYTES];

static int number_of(const char *line) { return (int)((line - memory) / SA_LINE_BYTES); }

static struct sa_lines roll_lines(struct dice *dice, int set) {
    const int columns = (int)roll_between(dice, 1, MAX_COLUMNS);
    return (struct sa_lines){memory + set * SET_BYTES, columns == 1 && roll_one_in(dice, 2) ? SA_LINE_BYTES : STRIDE,
                             (int)roll_between(dice, 1, MAX_LINES), columns};
}

static struct sa_ahead roll_ahead(struct dice *dice) {
    struct sa_ahead ahead;
    sa_ahead_open(&ahead);
    for (int set = 0; set < N_SETS; set++)
        sa_ahead_add(&ahead, roll_lines(dice, set));
    memset(fetched, 0, sizeof fetched);
    return ahead;
}

static void fetch(struct run run) {
    for (int i = 0; i < run.n; i++)
        fetched[number_of(run.at + i * run.step)]++;
}

/* Times that each line of the lists was fetched, and that others were: never. */
static void check_lines(const struct sa_ahead *ahead, int most) {
    for (int set = 0; set < ahead->n_sets; set++) {
        const struct sa_lines *lines = &ahead->sets[set];
        for (int column = 0; column < lines->columns; column++)
            for (int i = 0; i < lines->n; i++) {
                int *times = &fetched[number_of(lines->data + column * SA_LINE_BYTES + i * lines->stride)];
                must(*times >= 1 && *times <= most, "line %d of column %d of set %d was fetched %d times", i, column,
                     set, *times);
                *times = 0;
            }
    }
    for (size_t i = 0; i < sizeof fetched / sizeof *fetched; i++)
        must(fetched[i] == 0, "line %zu is in no list", i);
}

START_TEST(runs_go_through_all_lines_once) {
    struct dice dice = {1};
    for (int i = 0; i < 2000; i++) {
        struct sa_ahead ahead = roll_ahead(&dice);
        while (ahead.left > 0) {
            const int n = (int)roll_between(&dice, 1, MAX_LINES);
            const struct run run = next_run(&ahead, n);
            must(run.n >= 1 && run.n <= n, "%d lines of at most %d", run.n, n);
            fetch(run);
        }
        check_lines(&ahead, 1);
        must(next_run(&ahead, 5).n == 0, "lines beyond the last");
    }
}
END_TEST

/* Always as many as there are turns; those that a column does not have are fetched twice. What is left to columns that
 * are shorter, runs take. */
START_TEST(turns_leave_no_line_out) {
    struct dice dice = {2};
    for (int i = 0; i < 2000; i++) {
        const int turns = (int)roll_between(&dice, 1, MAX_LINES);
        struct sa_ahead ahead = roll_ahead(&dice);
        while (ahead.left > 0) {
            const int left = ahead.left;
            const struct run run = next_turns(&ahead, turns, NULL);
            must(run.n == turns, "%d lines in %d turns", run.n, turns);
            must(run.at || run.step == 0, "steps from nowhere");
            if (run.at)
                fetch(run);
            must(!run.at == (ahead.left == left), "%d lines are left of %d", ahead.left, left);
            if (!run.at)
                fetch(next_run(&ahead, MAX_LINES));
        }
        check_lines(&ahead, 2);
        must(next_turns(&ahead, turns, memory).at == memory, "lines beyond the last");
    }
}
END_TEST

/* ---------------------------------------------------------------- lists of an engine */

enum { N_Q = 16, BLOCKS = 8, N_K = BLOCKS * SA_BLOCK_KEYS, D = 8 };

static float q[N_Q * D], k[N_K * D], v[N_K * D], o[N_Q * D];
static const struct sa_kernels *true_kernels;
static int lists_with_values; /* of those that scores() was given, before it has taken any line */

/* One whose kernels are `watching`, a copy for spies to be put into. */
static sa_engine *watched_engine(struct sa_kernels *watching) {
    const sa_engine_options options = {.struct_size = sizeof options, .n_threads = 1};
    sa_engine *engine;
    must(sa_engine_create(&options, &engine) == SA_OK, "%s", sa_last_reason());
    *watching = *(true_kernels = engine->cpu.kernels);
    engine->cpu.kernels = watching;
    return engine;
}

static void free_watched(sa_engine *engine) {
    engine->cpu.kernels = true_kernels;
    sa_engine_destroy(engine);
}

static bool has_values(const struct sa_ahead *ahead) {
    for (int set = 0; set < ahead->n_sets; set++)
        if (ahead->sets[set].data >= (const char *)v && ahead->sets[set].data < (const char *)v + sizeof v)
            return true;
    return false;
}

static void counting_scores(const float *qt, int g0, int g1, struct sa_rows rows, float *s, float *mb,
                            struct sa_ahead *ahead) {
    lists_with_values += ahead->set == 0 && ahead->column == 0 && ahead->line == 0 && has_values(ahead);
    true_kernels->floats.scores(qt, g0, g1, rows, s, mb, ahead);
}

static void attend(sa_engine *engine) {
    sa_sequence seq = {.n_q = N_Q, .n_k = N_K, .q = {q, 0, 0}, .k = {k, 0, 0}, .v = {v, 0, 0}, .o = {o, 0, 0}};
    const sa_batch batch = {SA_BATCH_HEAD,   .n_sequences = 1, .sequences = &seq, .n_query_heads = 1,
                            .n_kv_heads = 1, .d_qk = D,        .d_v = D};
    must(sa_batch_forward(engine, &batch) == SA_OK, "%s", sa_last_reason());
}

/* A tile fetches a block for the tile that will probably come next. Where another one does, that one has lost a block,
 * not all that stand before. */
START_TEST(a_wrong_guess_costs_one_block) {
    struct sa_kernels counting;
    sa_engine *engine = watched_engine(&counting);
    counting.floats.scores = counting_scores;
    for (int guess = 0; guess <= 2 * BLOCKS; guess++) {
        attend(engine); /* there is a workspace now */
        must(engine->free_calls != NULL, "no call is kept");
        engine->team.spaces[0].fetched_end = engine->free_calls->space.fetched_end = guess * SA_BLOCK_KEYS;
        lists_with_values = 0;
        attend(engine);
        const int wanted = guess >= 1 && guess <= BLOCKS ? BLOCKS - 1 : BLOCKS;
        must(lists_with_values == wanted, "values of %d blocks after a guess of block %d", lists_with_values, guess);
    }
    free_watched(engine);
}
END_TEST

enum { LONG = 2048 };

/* Of two sequences. */
static float long_q[2 * LONG * D], long_k[2 * LONG * D], long_v[2 * LONG * D], long_o[2 * LONG * D];
static bool is_listed[2 * LONG / SA_BLOCK_KEYS];
static int n_scored, n_unlisted; /* runs of keys; those of blocks that no list had before, but for the first one */

static void watching_scores(const float *qt, int g0, int g1, struct sa_rows rows, float *s, float *mb,
                            struct sa_ahead *ahead) {
    const int64_t block = (rows.data - long_k) / D / SA_BLOCK_KEYS;
    n_unlisted += n_scored++ > 0 && !is_listed[block];
    is_listed[block] = true;
    for (int set = 0; set < ahead->n_sets; set++) {
        const float *data = (const float *)(const void *)ahead->sets[set].data;
        if (data >= long_k && data < long_k + 2 * LONG * D)
            is_listed[(data - long_k) / D / SA_BLOCK_KEYS] = true;
    }
    true_kernels->floats.scores(qt, g0, g1, rows, s, mb, ahead);
}

/* The first block of the next tile, and the one behind a gap, are where the window says. */
START_TEST(windows_are_fetched_before_they_are_read) {
    struct sa_kernels watching;
    sa_engine *engine = watched_engine(&watching);
    watching.floats.scores = watching_scores;
    for (int sinks = 0; sinks < 8; sinks += 4) {
        sa_sequence seqs[2];
        for (int i = 0, at = 0; i < 2; i++, at = LONG * D)
            seqs[i] = (sa_sequence){.n_q = LONG,
                                    .n_k = LONG,
                                    .q = {long_q + at, 0, 0},
                                    .k = {long_k + at, 0, 0},
                                    .v = {long_v + at, 0, 0},
                                    .o = {long_o + at, 0, 0}};
        const sa_batch batch = {
            SA_BATCH_HEAD,      .n_sequences = 2,    .sequences = seqs, .n_query_heads = 1,
            .n_kv_heads = 1,    .d_qk = D,           .d_v = D,          .flags = SA_CAUSAL | SA_WINDOW,
            .window_left = 100, .n_sink_keys = sinks};
        memset(is_listed, 0, sizeof is_listed);
        n_scored = n_unlisted = 0;
        must(sa_batch_forward(engine, &batch) == SA_OK, "%s", sa_last_reason());
        must(n_scored > LONG / SA_BLOCK_KEYS && n_unlisted == 0, "%d sinks: %d of %d runs were in no list", sinks,
             n_unlisted, n_scored);
    }
    free_watched(engine);
}
END_TEST

/* ---------------------------------------------------------------- keys from afar */

enum { FAR_D = 64, FAR_Q = SA_GROUP_ROWS, FAR_K = 8192 }; /* keys and values of 4 MiB */

static float far_q[2 * FAR_Q * FAR_D], far_k[2 * FAR_K * FAR_D], far_v[FAR_K * FAR_D], far_o[2 * FAR_Q * FAR_D];
static int n_afar, n_near;

static void counting_afar(const float *qt, int g0, int g1, struct sa_rows rows, float *s, float *mb,
                          struct sa_ahead *ahead) {
    n_afar += ahead->afar;
    n_near += !ahead->afar;
    true_kernels->floats.scores(qt, g0, g1, rows, s, mb, ahead);
}

static void attend_afar(sa_engine *engine, int n_q, int n_k, int64_t token_stride, bool afar) {
    sa_sequence seq = {.n_q = n_q,
                       .n_k = n_k,
                       .q = {far_q, 0, 0},
                       .k = {.data = far_k, .token_stride = token_stride},
                       .v = {far_v, 0, 0},
                       .o = {far_o, 0, 0}};
    const sa_batch batch = {SA_BATCH_HEAD,   .n_sequences = 1, .sequences = &seq, .n_query_heads = 1,
                            .n_kv_heads = 1, .d_qk = FAR_D,    .d_v = FAR_D};
    n_afar = n_near = 0;
    must(sa_batch_forward(engine, &batch) == SA_OK, "%s", sa_last_reason());
    must(afar ? n_near == 0 && n_afar > 0 : n_afar == 0 && n_near > 0,
         "%d queries, %d keys %d floats apart: fetched %d times of %d", n_q, n_k, (int)token_stride, n_afar,
         n_afar + n_near);
}

/* One group of rows, and much that follows each other. */
START_TEST(keys_from_afar_are_fetched_besides) {
    struct sa_kernels counting;
    sa_engine *engine = watched_engine(&counting);
    counting.floats.scores = counting_afar;
    counting.floats.half_scores = NULL;
    attend_afar(engine, FAR_Q, FAR_K, 0, true);
    attend_afar(engine, SA_FEW_ROWS + 1, FAR_K, FAR_D, true);
    attend_afar(engine, FAR_Q + 1, FAR_K, 0, false);
    attend_afar(engine, FAR_Q, FAR_K - 1, 0, false);
    attend_afar(engine, FAR_Q, FAR_K, 2 * FAR_D, false);
    free_watched(engine);
}
END_TEST

/* ---------------------------------------------------------------- heads abreast */

enum { HEADS = 4, HEAD_D = 16, PAGE = 16, TOKENS = 1168, TOKEN_LINES = HEADS * HEAD_D / SA_LINE_FLOATS };

static _Alignas(64) float k_cache[TOKENS * HEADS * HEAD_D], v_cache[TOKENS * HEADS * HEAD_D];
static int lines_of[2][TOKENS * TOKEN_LINES]; /* how often each line of k, of v was asked for */

static void watch_far(const struct sa_fetched *ahead) {
    for (int p = 0; p < SA_FETCH_PLACES; p++)
        for (int i = 0; i < ahead->n; i++)
            for (int at = 0; at < ahead->bytes; at += SA_LINE_BYTES) {
                const uintptr_t line = (uintptr_t)(ahead->row[p][i] + at), k_at = line - (uintptr_t)k_cache,
                                v_at = line - (uintptr_t)v_cache;
                must(k_at < sizeof k_cache || v_at < sizeof v_cache, "a line of no cache");
                lines_of[k_at >= sizeof k_cache][(k_at < sizeof k_cache ? k_at : v_at) / SA_LINE_BYTES]++;
            }
}

static void watching_few_scores(const float *qt, int n_rows, struct sa_pointed keys, float *s) {
    watch_far(&keys.ahead);
    true_kernels->floats.few_scores(qt, n_rows, keys, s);
}

static void watching_few_values(const float *p, int n_rows, struct sa_pointed values, float *sums) {
    watch_far(&values.ahead);
    true_kernels->floats.few_values(p, n_rows, values, sums);
}

/* Is the line one of those that the first call of few_scores() begins with: a window of tokens, or in pages the first
 * head's rows there? */
static bool is_first(int line, bool paged) {
    enum { ROW_LINES = HEAD_D / SA_LINE_FLOATS };
    return line < SA_MOST_WINDOW * TOKEN_LINES && (!paged || line / (PAGE * ROW_LINES) % HEADS == 0);
}

/* All but these are asked for before they are read; of what is read once, hardly any twice. */
static void check_far(int n_keys, bool paged) {
    const char *what = paged ? "pages, heads first" : "tokens";
    int missing = 0, late = 0, asked = 0;
    for (int i = 0; i < n_keys * TOKEN_LINES; i++) {
        missing += (!is_first(i, paged) && lines_of[0][i] == 0) + (lines_of[1][i] == 0);
        late += is_first(i, paged) && lines_of[0][i] > 0;
        asked += lines_of[0][i] + lines_of[1][i];
    }
    must(missing == 0, "%s: %d of %d lines were never asked for", what, missing, 2 * n_keys * TOKEN_LINES);
    must(late == 0, "%s: %d lines were asked for that are read meanwhile", what, late);
    must(asked < 9 * n_keys * TOKEN_LINES / 4, "%s: %d lines were asked for", what, asked);
}

START_TEST(all_heads_of_later_tokens_are_fetched) {
    int32_t table[TOKENS / PAGE];
    for (int i = 0; i < TOKENS / PAGE; i++)
        table[i] = i;
    struct sa_kernels watching;
    sa_engine *engine = watched_engine(&watching);
    watching.floats.few_scores = watching_few_scores;
    watching.floats.few_values = watching_few_values;
    for (int paged = 0; paged < 2; paged++) {
        sa_sequence seq = {.n_q = 1,
                           .n_k = TOKENS,
                           .q = {q, 0, 0},
                           .k = {k_cache, paged ? HEAD_D : 0, paged ? PAGE * HEAD_D : 0},
                           .v = {v_cache, paged ? HEAD_D : 0, paged ? PAGE * HEAD_D : 0},
                           .o = {o, 0, 0}};
        if (paged)
            seq.k_pages = (sa_pages){.table = table, .n_pages = TOKENS / PAGE, .page_tokens = PAGE};
        const sa_batch batch = {SA_BATCH_HEAD,       .n_sequences = 1, .sequences = &seq, .n_query_heads = HEADS,
                                .n_kv_heads = HEADS, .d_qk = HEAD_D,   .d_v = HEAD_D};
        memset(lines_of, 0, sizeof lines_of);
        must(sa_batch_forward(engine, &batch) == SA_OK, "%s", sa_last_reason());
        check_far(TOKENS, paged);
    }
    free_watched(engine);
}
END_TEST

/* ---------------------------------------------------------------- from item to item */

static int n_cold; /* calls that began with keys that nobody had asked for */

static bool is_cold(const char *row) {
    const uintptr_t at = (uintptr_t)row - (uintptr_t)k_cache;
    return at < sizeof k_cache && lines_of[0][at / SA_LINE_BYTES] == 0; /* elsewhere: a copy */
}

static void counting_few_scores(const float *qt, int n_rows, struct sa_pointed keys, float *s) {
    bool cold = false;
    for (int p = 0; p < keys.places; p++)
        for (int j = 0; j < keys.turn && j < keys.n; j++)
            cold = cold || is_cold(keys.row[p * keys.apart + j]);
    n_cold += cold;
    watching_few_scores(qt, n_rows, keys, s);
}

/* Sequences behind each other, of n tokens each. */
static void attend_some(sa_engine *engine, int n_seqs, int64_t n, bool tokens) {
    sa_sequence seqs[2];
    for (int64_t i = 0, at = 0; i < n_seqs; i++, at += n * HEADS * HEAD_D)
        seqs[i] = (sa_sequence){.n_q = 1,
                                .n_k = n,
                                .q = {q, 0, 0},
                                .k = {k_cache + at, tokens ? 0 : HEAD_D, tokens ? 0 : n * HEAD_D},
                                .v = {v_cache + at, tokens ? 0 : HEAD_D, tokens ? 0 : n * HEAD_D},
                                .o = {o, 0, 0}};
    const sa_batch batch = {SA_BATCH_HEAD,       .n_sequences = n_seqs, .sequences = seqs, .n_query_heads = HEADS,
                            .n_kv_heads = HEADS, .d_qk = HEAD_D,        .d_v = HEAD_D};
    memset(lines_of, 0, sizeof lines_of);
    n_cold = 0;
    must(sa_batch_forward(engine, &batch) == SA_OK, "%s", sa_last_reason());
}

/* Of a head, of blocks of all heads, of windows of all heads. */
START_TEST(what_the_next_item_begins_with_is_fetched) {
    struct sa_kernels watching;
    sa_engine *engine = watched_engine(&watching);
    watching.floats.few_scores = counting_few_scores;
    watching.floats.few_values = watching_few_values;
    static const struct {
        int n_seqs, n;
        bool tokens;
    } cases[] = {{1, 1024, false}, {2, 512, false}, {2, 576, false}, {2, 576, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        attend_some(engine, cases[i].n_seqs, cases[i].n, cases[i].tokens);
        must(n_cold == 1, "case %zu: %d calls began with keys that were not asked for", i, n_cold);
    }
    free_watched(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("fetch");
    tcase_add_test(add_case(suite, "runs"), runs_go_through_all_lines_once);
    tcase_add_test(add_case(suite, "turns"), turns_leave_no_line_out);
    tcase_add_test(add_case(suite, "guesses"), a_wrong_guess_costs_one_block);
    tcase_add_test(add_case(suite, "guesses"), windows_are_fetched_before_they_are_read);
    tcase_add_test(add_case(suite, "afar"), keys_from_afar_are_fetched_besides);
    tcase_add_test(add_case(suite, "abreast"), all_heads_of_later_tokens_are_fetched);
    tcase_add_test(add_case(suite, "items"), what_the_next_item_begins_with_is_fetched);
    return run_suite(suite);
}
