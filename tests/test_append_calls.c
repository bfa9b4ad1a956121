/* SPDX-License-Identifier: MIT */
/* sa_cache_append() as a call: what is refused and why, with nothing written; memory that is shared; threads; the
 * caller's floating-point mode; and that a cache that grew answers like one that was there. */
#include <fenv.h>
#include <math.h>
#include <pthread.h>

#include "box.h"
#include "engines.h"

enum { N_K = 5, N = 2, KV_HEADS = 2, D = 4, PAGE = 2, N_PAGES = 8, ROW = KV_HEADS * D };

/* ---------------------------------------------------------------- refusals */

/* Two sequences, the first contiguous, the second in pages, to be spoilt. All of it that may be written is in front. */
struct right {
    float k[N_K * ROW], v[N_K * ROW], k_pool[N_PAGES * PAGE * ROW], v_pool[N_PAGES * PAGE * ROW];
    float new_k[2][N * ROW], new_v[2][N * ROW], scales[4][N_PAGES * PAGE * KV_HEADS];
    int32_t table[4];
    sa_sequence seqs[2];
    sa_new_tokens tokens[2];
    sa_batch batch;
    sa_append append;
};

static void make_right(struct right *r) {
    memset(r, 0, sizeof *r);
    memset(r, 0x5a, offsetof(struct right, new_k));
    memset(r->scales, 0x5a, sizeof r->scales);
    for (int i = 0; i < 2 * N * ROW; i++)
        r->new_k[i / (N * ROW)][i % (N * ROW)] = r->new_v[i / (N * ROW)][i % (N * ROW)] = (float)(i + 1);
    r->table[0] = r->table[3] = -1; /* not written to, and not there */
    r->table[1] = 7;
    r->table[2] = 2;
    r->seqs[0] = (sa_sequence){.n_k = N_K, .k = {r->k, 0, 0}, .v = {r->v, 0, 0}};
    r->seqs[1] = (sa_sequence){.n_k = N_K, .k = {r->k_pool, 0, 0}, .v = {r->v_pool, 0, 0}};
    r->seqs[1].k_pages = (sa_pages){.table = r->table, .n_pages = N_PAGES, .page_tokens = PAGE};
    for (int i = 0; i < 2; i++)
        r->tokens[i] = (sa_new_tokens){N, {r->new_k[i], 0, 0}, {r->new_v[i], 0, 0}};
    r->batch = (sa_batch){SA_BATCH_HEAD,          .n_sequences = 2, .sequences = r->seqs, .n_query_heads = 2 * KV_HEADS,
                          .n_kv_heads = KV_HEADS, .d_qk = D};
    r->append = (sa_append){SA_APPEND_HEAD, r->tokens, SA_F32, SA_F32};
}

static void to_int8(struct right *r) {
    r->batch.k_type = r->batch.v_type = SA_I8;
    for (int i = 0; i < 2; i++) {
        r->seqs[i].k_scales.data = r->scales[2 * i];
        r->seqs[i].v_scales.data = r->scales[2 * i + 1];
    }
}

static void must_refuse(sa_engine *engine, struct right *r, sa_status wanted, const char *words, const char *what) {
    struct right before = *r;
    const sa_status status = sa_cache_append(engine, &r->batch, &r->append);
    must(status == wanted, "%s: %s (%s)", what, sa_status_name(status), sa_last_reason());
    must(strstr(sa_last_reason(), words) != NULL, "%s: the reason is '%s', without '%s'", what, sa_last_reason(),
         words);
    must(memcmp(&before, r, sizeof before) == 0, "%s: something was written", what);
    make_right(r);
}

#define REFUSE(change, words)                                                                                          \
    do {                                                                                                               \
        change;                                                                                                        \
        must_refuse(engine, &r, SA_INVALID, words, #change);                                                           \
    } while (0)

START_TEST(arguments) {
    static struct right r;
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    make_right(&r);
    ck_assert(sa_cache_append(NULL, &r.batch, &r.append) == SA_INVALID);
    ck_assert(sa_cache_append(engine, NULL, &r.append) == SA_INVALID);
    ck_assert(sa_cache_append(engine, &r.batch, NULL) == SA_INVALID && strstr(sa_last_reason(), "append"));
    REFUSE(r.append.struct_size = 8, "sa_append");
    REFUSE(r.append.tokens_size = 8, "sa_new_tokens");
    REFUSE(r.append.tokens = NULL, "sa_append.tokens");
    REFUSE(r.append.k_type = SA_I8, "sa_append.k_type");
    REFUSE(r.append.v_type = 9, "sa_append.v_type");
    REFUSE(r.batch.k_type = 9, "sa_batch.k_type");
    REFUSE(r.batch.flags = 16, "sa_batch.flags");
    REFUSE(r.batch.d_qk = 0, "d_qk");
    REFUSE(r.batch.n_kv_heads = 3, "n_kv_heads");
    r.append.k_type = SA_F64;
    must_refuse(engine, &r, SA_UNSUPPORTED, "sa_append.k_type", "float64");
    ck_assert_msg(sa_cache_append(engine, &r.batch, &r.append) == SA_OK, "%s", sa_last_reason());
    ck_assert(memcmp(r.k + 3 * ROW, r.new_k[0], sizeof r.new_k[0]) == 0);
    ck_assert(memcmp(r.v_pool + (7 * PAGE + 1) * ROW, r.new_v[1], ROW * sizeof(float)) == 0);
    ck_assert(memcmp(r.v_pool + 2 * PAGE * ROW, r.new_v[1] + ROW, ROW * sizeof(float)) == 0);
    r.batch.n_sequences = 0;
    r.append.tokens = NULL;
    ck_assert(sa_cache_append(engine, &r.batch, &r.append) == SA_OK);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(fields_of_sequences) {
    static struct right r;
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    make_right(&r);
    REFUSE(r.tokens[1].n = -1, "sequence 1: sa_new_tokens.n");
    REFUSE(r.tokens[0].n = N_K + 1, "sequence 0: sa_new_tokens.n");
    REFUSE(r.seqs[1].n_k = -1, "sequence 1: n_q");
    REFUSE(r.seqs[1].flags = 8, "sequence 1: flags");
    REFUSE(r.tokens[1].k.data = NULL, "sequence 1: the new k is NULL");
    REFUSE(r.tokens[1].v.data = NULL, "sequence 1: the new v is NULL");
    REFUSE(r.tokens[1].v.data = (char *)r.new_v[1] + 2, "sequence 1: the new v is not aligned");
    REFUSE(r.tokens[1].k.token_stride = INT64_MAX / 2, "sequence 1: the new k reaches");
    REFUSE(r.seqs[0].v.data = NULL, "sequence 0: v is NULL");
    REFUSE(r.seqs[1].k.data = NULL, "sequence 1: k is NULL");
    REFUSE(r.seqs[1].k_pages.n_pages = 7, "sequence 1: k: entry 1");
    REFUSE(r.table[2] = -1, "sequence 1: k: entry 2");
    REFUSE((r.seqs[1].v_pages = r.seqs[1].k_pages, r.seqs[1].v_pages.table++), "sequence 1: v: entry 2");
    REFUSE(r.seqs[1].k_pages.page_tokens = 0, "k_pages: page_tokens");
    REFUSE(r.seqs[1].v_scales.data = r.scales, "v_scales");
    REFUSE((to_int8(&r), r.seqs[1].v_scales.data = NULL), "sequence 1: v_scales is NULL");
    REFUSE((to_int8(&r), r.batch.scale_type = SA_I8), "scale_type");
    REFUSE((to_int8(&r), r.batch.flags = SA_SCALES_PER_HEAD, r.seqs[1].k_scales.token_stride = 2), "k_scales");
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- memory that is shared */

START_TEST(overlaps) {
    static struct right r;
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    make_right(&r);
    REFUSE(r.tokens[0].k.data = r.k + 2 * ROW, "sequence 0: k overlaps the new k");
    REFUSE(r.tokens[0].v.data = r.k + 4 * ROW, "sequence 0: k overlaps the new v");
    REFUSE(r.tokens[1].k.data = r.v_pool + 2 * PAGE * ROW, "sequence 1: v overlaps the new k");
    REFUSE(r.tokens[1].v.data = r.k_pool + (7 * PAGE + 1) * ROW, "sequence 1: k overlaps the new v");
    REFUSE((to_int8(&r), r.tokens[1].k.data = r.scales[2]), "sequence 1: k_scales overlaps the new k");
    REFUSE((to_int8(&r), r.tokens[1].v.data = r.scales[3]), "sequence 1: v_scales overlaps the new v");
    REFUSE(r.seqs[0].k.token_stride = 3, "sequence 0: k overlaps itself");
    REFUSE(r.seqs[0].v.head_stride = 3, "sequence 0: v overlaps itself");
    REFUSE(r.seqs[1].k.token_stride = 3, "sequence 1: k overlaps itself");
    REFUSE((to_int8(&r), r.seqs[0].v_scales.token_stride = 1), "sequence 0: v_scales overlaps itself");
    sa_engine_destroy(engine);
}
END_TEST

static void must_take(sa_engine *engine, struct right *r, const char *what) {
    must(sa_cache_append(engine, &r->batch, &r->append) == SA_OK, "%s: %s", what, sa_last_reason());
}

/* What looks like an overlap and is none. */
START_TEST(neighbours) {
    static struct right r;
    float all[KV_HEADS * 8 * D], pair[2 * N_K * ROW];
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    make_right(&r);
    for (int i = 0; i < 3 * ROW; i++)
        r.k[i] = (float)(100 + i);
    r.tokens[0].k.data = r.k + ROW; /* of the same cache, before the new ones */
    must_take(engine, &r, "rows before");
    ck_assert(memcmp(r.k + 3 * ROW, r.k + ROW, N * ROW * sizeof(float)) == 0);

    make_right(&r);
    r.tokens[1].k.data = r.k_pool; /* another page of the pool: a page is copied */
    must_take(engine, &r, "a page is copied");
    ck_assert(memcmp(r.k_pool + 2 * PAGE * ROW, r.k_pool + ROW, ROW * sizeof(float)) == 0);

    make_right(&r); /* [head][token][d]: heads go by turns */
    for (int i = 0; i < KV_HEADS * 8 * D; i++)
        all[i] = (float)i;
    r.seqs[0].k = (sa_tensor){all, D, 8 * D};
    r.tokens[0].k = (sa_tensor){all + 5 * D, D, 8 * D};
    must_take(engine, &r, "heads by turns");
    ck_assert(memcmp(all + 11 * D, all + 13 * D, N * D * sizeof(float)) == 0);

    make_right(&r); /* [token][k v] */
    r.seqs[0].k = (sa_tensor){pair, 2 * ROW, 0};
    r.seqs[0].v = (sa_tensor){pair + ROW, 2 * ROW, 0};
    must_take(engine, &r, "k and v by turns");
    ck_assert(memcmp(pair + 9 * ROW, r.new_v[0] + ROW, ROW * sizeof(float)) == 0);

    make_right(&r); /* one token has no stride */
    r.seqs[0].n_k = r.tokens[0].n = 1;
    r.seqs[0].k.token_stride = 1;
    must_take(engine, &r, "one token");

    make_right(&r); /* nothing is written: neither pages nor rows matter */
    r.tokens[0] = r.tokens[1] = (sa_new_tokens){0, {0}, {0}};
    r.seqs[0].k.token_stride = 1;
    r.table[1] = r.table[2] = -1;
    struct right before = r;
    must_take(engine, &r, "no tokens");
    ck_assert(memcmp(&before, &r, sizeof r) == 0);
    sa_engine_destroy(engine);
}
END_TEST

/* v in the first dimensions of k, as latent attention keeps them: v is written after k. Of two sequences that write to
 * the same rows the later one is. */
START_TEST(the_last_one_wins) {
    static struct right r;
    float latent[N_K * 6];
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    make_right(&r);
    r.batch.n_query_heads = r.batch.n_kv_heads = 1;
    r.batch.d_qk = 6;
    r.batch.d_v = 4;
    r.batch.n_sequences = 1;
    r.seqs[0].k = (sa_tensor){latent, 6, 0};
    r.seqs[0].v = (sa_tensor){latent, 6, 0};
    r.tokens[0].v = (sa_tensor){r.new_k[0], 6, 0};
    must_take(engine, &r, "v in k");
    ck_assert(memcmp(latent + 3 * 6, r.new_k[0], N * 6 * sizeof(float)) == 0);
    make_right(&r);
    r.seqs[0] = r.seqs[1];
    must_take(engine, &r, "the same pages");
    ck_assert(memcmp(r.k_pool + 2 * PAGE * ROW, r.new_k[1] + ROW, ROW * sizeof(float)) == 0);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(engines_that_only_plan) {
    static struct right r;
    sa_engine *engine;
    sa_engine_options options = {sizeof options, 0, 0, 0, 0, "core:2 pu:1"};
    make_right(&r);
    ck_assert(sa_engine_create(&options, &engine) == SA_OK);
    must_refuse(engine, &r, SA_UNSUPPORTED, "topology", "an engine of another machine");
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- mode and flags */

static const int roundings[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

START_TEST(rounding_is_the_librarys) {
    static struct right r, nearest;
    static const int types[] = {SA_BF16, SA_F16, SA_I8};
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < 4 * 3; i++) {
        make_right(&r);
        if (types[i / 4] == SA_I8)
            to_int8(&r);
        r.batch.k_type = r.batch.v_type = types[i / 4];
        r.batch.scale_type = SA_F16;
        for (int c = 0; c < N * ROW; c++)
            r.new_k[0][c] = r.new_v[0][c] = r.new_k[1][c] = (float)(c - 10) / 3;
        r.new_k[0][0] = 0x1p-149f;
        fesetround(roundings[i % 4]);
        feclearexcept(FE_ALL_EXCEPT);
        feraiseexcept(FE_DIVBYZERO);
        const sa_status status = sa_cache_append(engine, &r.batch, &r.append);
        const int rounding = fegetround(), flags = fetestexcept(FE_ALL_EXCEPT);
        fesetround(FE_TONEAREST);
        must(status == SA_OK, "%s", sa_last_reason());
        must(rounding == roundings[i % 4] && flags == FE_DIVBYZERO, "type %d: mode %d, flags %d", types[i / 4],
             rounding, flags);
        if (i % 4 == 0)
            nearest = r;
        must(memcmp(&nearest, &r, offsetof(struct right, new_k)) == 0 &&
                 memcmp(nearest.scales, r.scales, sizeof r.scales) == 0,
             "type %d: other bits in mode %d", types[i / 4], i % 4);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- threads */

enum { N_THREADS = 4, TOKENS = 200 };

/* One pool, in which every thread has a sequence of its own. */
struct writer {
    sa_engine *engine;
    float *pool, row[ROW];
    int32_t table[TOKENS];
    int id, failures;
    pthread_t thread;
};

static void *write_tokens(void *argument) {
    struct writer *w = argument;
    sa_sequence seq = {.k = {w->pool, 2 * ROW, 0}, .v = {w->pool + ROW, 2 * ROW, 0}};
    sa_new_tokens tokens = {1, {w->row, 0, 0}, {w->row, 0, 0}};
    sa_batch batch = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &seq, .n_query_heads = KV_HEADS, .d_qk = D};
    sa_append append = {SA_APPEND_HEAD, &tokens, SA_F32, SA_F32};
    seq.k_pages =
        (sa_pages){.table = w->table, .n_pages = N_THREADS * TOKENS, .page_tokens = 1, .page_stride = 2 * ROW};
    seq.v_pages.page_stride = 2 * ROW;
    for (int t = 0; t < TOKENS; t++) {
        for (int c = 0; c < ROW; c++)
            w->row[c] = (float)(w->id * TOKENS + t);
        seq.n_k = t + 1;
        w->failures += sa_cache_append(w->engine, &batch, &append) != SA_OK;
    }
    return NULL;
}

START_TEST(threads_write_side_by_side) {
    static struct writer writers[N_THREADS];
    static float pool[N_THREADS * TOKENS * 2 * ROW];
    sa_engine *engine = engine_of(1);
    for (int i = 0; i < N_THREADS; i++) {
        writers[i] = (struct writer){.engine = engine, .pool = pool, .id = i};
        for (int t = 0; t < TOKENS; t++)
            writers[i].table[t] = t * N_THREADS + i;
        ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, write_tokens, &writers[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(writers[i].thread, NULL);
        ck_assert_int_eq(writers[i].failures, 0);
    }
    for (int i = 0; i < N_THREADS; i++)
        for (int t = 0; t < TOKENS; t++)
            for (int c = 0; c < 2 * ROW; c++)
                must(pool[(t * N_THREADS + i) * 2 * ROW + c] == (float)(i * TOKENS + t), "token %d of thread %d", t, i);
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- a cache that grows */

enum { STEPS = 70, HEADS = 4, WIDTH = 24, PAGE_OF_16 = 16, N_OF_16 = 5, CACHE = N_OF_16 * PAGE_OF_16 * KV_HEADS };

/* A cache of any type, contiguous or in pages that stand in it from the last to the first. */
struct grown {
    float k[CACHE * WIDTH], v[CACHE * WIDTH], k_scales[CACHE], v_scales[CACHE];
    int32_t table[N_OF_16];
    sa_sequence seq;
    sa_batch batch;
};

static void make_grown(struct grown *g, int type, bool paged) {
    memset(g, 0x7f, sizeof *g);
    g->seq = (sa_sequence){.k = {g->k, 0, 0}, .v = {g->v, 0, 0}};
    if (type == SA_I8) {
        g->seq.k_scales.data = g->k_scales;
        g->seq.v_scales.data = g->v_scales;
    }
    for (int i = 0; i < N_OF_16; i++)
        g->table[i] = N_OF_16 - 1 - i;
    if (paged)
        g->seq.k_pages = (sa_pages){.table = g->table, .n_pages = N_OF_16, .page_tokens = PAGE_OF_16};
    g->batch = (sa_batch){SA_BATCH_HEAD,          .n_sequences = 1,       .sequences = &g->seq,
                          .n_query_heads = HEADS, .n_kv_heads = KV_HEADS, .d_qk = WIDTH,
                          .k_type = type,         .v_type = type,         .flags = SA_CAUSAL};
}

/* n more tokens, and their rows of o. */
static void go_on(sa_engine *engine, struct grown *g, const float *q, const float *kv, float *o, int n) {
    const int64_t at = g->seq.n_k;
    sa_new_tokens tokens = {n,
                            {kv + at * 2 * KV_HEADS * WIDTH, 2 * KV_HEADS * WIDTH, 0},
                            {kv + (2 * at + 1) * KV_HEADS * WIDTH, 2 * KV_HEADS * WIDTH, 0}};
    sa_append append = {SA_APPEND_HEAD, &tokens, SA_F32, SA_F32};
    g->seq.n_q = n;
    g->seq.n_k += n;
    ck_assert_msg(sa_cache_append(engine, &g->batch, &append) == SA_OK, "%s", sa_last_reason());
    g->seq.q.data = q + at * HEADS * WIDTH;
    g->seq.o.data = o + at * HEADS * WIDTH;
    ck_assert_msg(sa_batch_forward(engine, &g->batch) == SA_OK, "%s", sa_last_reason());
}

static const int grown_types[] = {SA_F32, SA_BF16, SA_F16, SA_I8};

START_TEST(a_cache_that_grew_is_like_one_that_was_there) {
    static struct grown whole, grown;
    static float q[STEPS * HEADS * WIDTH], kv[STEPS * 2 * KV_HEADS * WIDTH], wanted[STEPS * HEADS * WIDTH],
        got[STEPS * HEADS * WIDTH];
    struct dice dice = {7};
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; i < STEPS * HEADS * WIDTH; i++)
        q[i] = 4 * roll_unit(&dice);
    for (int i = 0; i < STEPS * 2 * KV_HEADS * WIDTH; i++)
        kv[i] = roll_unit(&dice);
    for (int i = 0; engine && i < 2 * 4; i++) {
        make_grown(&whole, grown_types[i / 2], false);
        make_grown(&grown, grown_types[i / 2], i % 2);
        go_on(engine, &whole, q, kv, wanted, STEPS);
        for (int n; grown.seq.n_k < STEPS;) {
            n = (int)roll_between(&dice, 1, 3);
            go_on(engine, &grown, q, kv, got, n < STEPS - grown.seq.n_k ? n : STEPS - (int)grown.seq.n_k);
        }
        must(memcmp(got, wanted, sizeof got) == 0, "type %d, %s: other bits", grown_types[i / 2],
             i % 2 ? "paged" : "contiguous");
    }
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("calls of append");
    TCase *refusals = add_case(suite, "refusals");
    tcase_add_test(refusals, arguments);
    tcase_add_test(refusals, fields_of_sequences);
    tcase_add_test(refusals, overlaps);
    tcase_add_test(refusals, engines_that_only_plan);
    TCase *shared = add_case(suite, "shared memory");
    tcase_add_test(shared, neighbours);
    tcase_add_test(shared, the_last_one_wins);
    tcase_add_loop_test(add_case(suite, "mode"), rounding_is_the_librarys, ISA_FIRST, ISA_END);
    tcase_add_test(add_case(suite, "threads"), threads_write_side_by_side);
    tcase_add_loop_test(add_case(suite, "growth"), a_cache_that_grew_is_like_one_that_was_there, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
