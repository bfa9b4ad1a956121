/* SPDX-License-Identifier: MIT */
/* Keys that are dealt with in several calls and merged give the bits of one call, however they are cut. */
#include <math.h>
#include <stdlib.h>

#include "drawn.h"
#include "engines.h"

enum { CHUNK = 1024, MOST_PARTS = 12 };

struct cut {
    sa_sequence seqs[MOST_PARTS];
    sa_partial partials[MOST_PARTS];
    int n;
};

static int bytes_of(int type) { return type == SA_F32 ? 4 : type == SA_I8 ? 1 : 2; }

static void skip(const void **data, int64_t stride, int64_t packed, int64_t tokens, int type) {
    *data = (const char *)*data + tokens * (stride ? stride : packed) * bytes_of(type);
}

/* Keys begin .. end - 1 of the sequence. */
static sa_sequence part_of(const sa_batch *b, const sa_sequence *s, int64_t begin, int64_t end, void *room,
                           size_t bytes) {
    sa_sequence part = *s;
    const int64_t heads = b->n_kv_heads ? b->n_kv_heads : b->n_query_heads, d_v = b->d_v ? b->d_v : b->d_qk;
    part.q_offset = s->flags & SA_SEQ_Q_OFFSET ? s->q_offset : s->n_k - s->n_q;
    part.flags |= SA_SEQ_Q_OFFSET;
    part.first_key = begin;
    part.n_k = end - begin;
    if (s->k_pages.table) {
        part.k_pages.table += begin / s->k_pages.page_tokens;
        if (s->v_pages.table)
            part.v_pages.table += begin / s->v_pages.page_tokens;
    } else {
        skip(&part.k.data, s->k.token_stride, heads * b->d_qk, begin, b->k_type);
        skip(&part.v.data, s->v.token_stride, heads * d_v, begin, b->v_type);
        if (b->k_type == SA_I8)
            skip(&part.k_scales.data, s->k_scales.token_stride, b->flags & SA_SCALES_PER_HEAD ? 0 : heads, begin,
                 b->scale_type);
        if (b->v_type == SA_I8)
            skip(&part.v_scales.data, s->v_scales.token_stride, b->flags & SA_SCALES_PER_HEAD ? 0 : heads, begin,
                 b->scale_type);
    }
    if (s->bias.data)
        skip(&part.bias.data, s->bias.key_stride, 0, begin, b->bias_type);
    part.partial = room;
    part.partial_bytes = bytes;
    part.o.data = part.lse.data = part.row_max.data = NULL;
    part.sink_logits = NULL;
    return part;
}

/* At random chunks; some parts have no keys. */
static void cut_keys(struct drawn *d, const sa_sequence *s, struct cut *cut) {
    const sa_batch *b = &d->batch;
    int64_t at = 0;
    cut->n = 0;
    while (at < s->n_k || cut->n == 0) {
        const int64_t left = (s->n_k - at + CHUNK - 1) / CHUNK;
        int64_t n = roll_one_in(&d->dice, 6)   ? 0
                    : roll_one_in(&d->dice, 2) ? roll_between(&d->dice, 1, left)
                                               : roll_between(&d->dice, 1, left < 9 ? left : 9);
        if (cut->n + 1 == MOST_PARTS || n > left)
            n = left;
        const int64_t end = at + n * CHUNK < s->n_k ? at + n * CHUNK : s->n_k;
        const size_t bytes = sa_partial_bytes(s->n_q, b->n_query_heads, b->d_v, at, end - at);
        must(bytes > 0, "no size");
        void *room = drawn_map(d, (bytes + 7) / 8 * 8);
        cut->seqs[cut->n] = part_of(b, s, at, end, room, bytes);
        cut->partials[cut->n++] = (sa_partial){.partial = room};
        at = end;
    }
}

static void forget(const sa_batch *b, const sa_sequence *s) {
    memset(s->o.data, 0xff, (size_t)(s->n_q * b->n_query_heads * b->d_v * bytes_of(b->o_type)));
    memset(s->lse.data, 0xff, (size_t)(s->n_q * b->n_query_heads) * sizeof(float));
}

/* The sequence's own outputs, which are packed, are those of one call; they must come out again. */
static void must_come_out(sa_engine *const *engines, int n_engines, struct drawn *d, sa_sequence *s, const char *what) {
    sa_batch *b = &d->batch;
    const size_t rows = (size_t)(s->n_q * b->n_query_heads), o_bytes = rows * (size_t)(b->d_v * bytes_of(b->o_type));
    char *o = malloc(o_bytes + 1), *lse = malloc(rows * sizeof(float) + 1);
    struct cut cut;
    b->sequences = s;
    b->n_sequences = 1;
    must(sa_batch_forward(engines[0], b) == SA_OK, "%s: %s", what, sa_last_reason());
    memcpy(o, s->o.data, o_bytes);
    memcpy(lse, s->lse.data, rows * sizeof(float));
    cut_keys(d, s, &cut);
    sa_batch parts = *b;
    parts.sequences = cut.seqs;
    parts.n_sequences = cut.n;
    const float *sinks = s->sink_logits ? s->sink_logits : b->sink_logits;
    parts.sink_logits = NULL;
    must(sa_batch_forward(engines[n_engines - 1], &parts) == SA_OK, "%s: %s", what, sa_last_reason());
    forget(b, s);
    const sa_merge_request r = {SA_MERGE_HEAD,
                                .n_partials = cut.n,
                                .partials = cut.partials,
                                .n_q = s->n_q,
                                .n_query_heads = b->n_query_heads,
                                .d_v = b->d_v,
                                .o_type = b->o_type,
                                .o = s->o,
                                .lse = s->lse,
                                .sink_logits = sinks};
    must(sa_merge(engines[n_engines / 2], &r) == SA_OK, "%s: %s", what, sa_last_reason());
    must(memcmp(o, s->o.data, o_bytes) == 0, "%s: o of %d parts of %lld keys differs", what, cut.n, (long long)s->n_k);
    must(memcmp(lse, s->lse.data, rows * sizeof(float)) == 0, "%s: lse of %d parts differs", what, cut.n);
    free(o);
    free(lse);
}

static void draw_rules(struct drawn *d, sa_sequence *s) {
    static const float sinks[4] = {1.5f, -INFINITY, 0.25f, -3};
    static const float slopes[4] = {0.5f, 0.01f, 0, -0.001f};
    drawn_rules(d);
    if (roll_one_in(&d->dice, 3))
        d->batch.n_sink_keys = roll_between(&d->dice, 0, 3 * CHUNK);
    s->sink_logits = roll_one_in(&d->dice, 3) ? sinks : NULL;
    s->alibi_slopes = roll_one_in(&d->dice, 4) ? slopes : NULL;
    d->batch.softcap = roll_one_in(&d->dice, 4) ? 3 : 0;
    if (roll_one_in(&d->dice, 4)) {
        float *bias = drawn_map(d, (size_t)s->n_k * sizeof *bias);
        for (int64_t j = 0; j < s->n_k; j++)
            bias[j] = roll_unit(&d->dice);
        s->bias = (sa_grid){bias, 0, 0, 1};
    }
}

static void start(int isa, sa_engine *engines[3]) {
    for (int i = 0; i < 3; i++)
        engines[i] = engine_with(isa, 1 + i);
}

static void stop(sa_engine *engines[3]) {
    for (int i = 0; i < 3; i++)
        sa_engine_destroy(engines[i]);
}

START_TEST(cut_anywhere) {
    sa_engine *engines[3];
    start(_i, engines);
    if (!engines[0])
        return;
    for (uint64_t seed = 0; seed < (uint64_t)isa_cases(_i, 60); seed++) {
        struct drawn d = drawn_batch(seed, 4, (int)(1 << seed % 3), 8, 5);
        const bool types = roll_one_in(&d.dice, 3), long_one = roll_one_in(&d.dice, 5);
        char what[40];
        snprintf(what, sizeof what, "seed %llu", (unsigned long long)seed);
        if (types)
            drawn_types(&d);
        sa_sequence *s = drawn_add(&d, roll_between(&d.dice, 1, long_one ? 3 : 40),
                                   roll_between(&d.dice, 0, (long_one ? 80 : 12) * CHUNK), PACKED, 2);
        draw_rules(&d, s);
        must_come_out(engines, 3, &d, s, what);
        drawn_free(&d);
    }
    stop(engines);
}
END_TEST

/* Other instruction sets may compute the parts. */
START_TEST(on_other_instruction_sets) {
    sa_engine *engines[ISA_END];
    int n = 0;
    for (int isa = SA_ISA_GENERIC; isa < ISA_END; isa++)
        if ((engines[n] = engine_with(isa, 2)))
            n++;
    struct drawn d = drawn_batch(7, 4, 2, 8, 70);
    sa_sequence *s = drawn_add(&d, 21, 9 * CHUNK + 77, PACKED, 2);
    d.batch.flags |= SA_CAUSAL;
    must_come_out(engines, n, &d, s, "other instruction sets");
    drawn_free(&d);
    while (n > 0)
        sa_engine_destroy(engines[--n]);
}
END_TEST

START_TEST(in_pages) {
    sa_engine *engines[3];
    start(SA_ISA_AVX2, engines);
    if (!engines[0])
        return;
    int32_t table[64 * 5];
    struct drawn d = drawn_batch(11, 4, 2, 8, 8);
    sa_sequence *s = drawn_add(&d, 3, 5 * CHUNK, PACKED, 2);
    for (int i = 0; i < 64 * 5; i++)
        table[i] = i ^ 5; /* the packed cache as a pool of pages of 16 tokens, dealt out in another order */
    s->k_pages = s->v_pages = (sa_pages){.table = table, .n_pages = 64 * 5, .page_tokens = 16};
    must_come_out(engines, 3, &d, s, "pages");
    drawn_free(&d);
    stop(engines);
}
END_TEST

/* Part of the whole without partial: o over these keys, where they stand. */
START_TEST(positions_of_a_part) {
    sa_engine *engines[3];
    start(SA_ISA_AVX2, engines);
    if (!engines[0])
        return;
    struct drawn d = drawn_batch(13, 4, 2, 8, 8);
    sa_sequence *s = drawn_add(&d, 5, 6 * CHUNK + 9, PACKED, 2), part;
    size_t n;
    d.batch.flags |= SA_WINDOW;
    d.batch.window_left = 2 * CHUNK;
    d.batch.window_right = -1;
    float *whole = drawn_compute(&d, engines[0], &n);
    part = part_of(&d.batch, s, 3 * CHUNK, s->n_k, NULL, 0);
    part.o = s->o;
    part.lse = s->lse;
    d.seqs[0] = part;
    for (int i = 0; i < 3; i++) {
        float *got = drawn_compute(&d, engines[i], &n);
        drawn_must_equal(got, whole, n, "a part that has all that is seen");
        free(got);
    }
    free(whole);
    drawn_free(&d);
    stop(engines);
}
END_TEST

/* ---------------------------------------------------------------- refusals */

enum { N_Q = 2, D = 4, N_K = 2 * CHUNK };

struct right {
    float q[N_Q * D], k[N_K * D], v[N_K * D], o[N_Q * D];
    int64_t rooms[2][64];
    sa_sequence seq;
    sa_batch batch;
};

static void make_right(struct right *r) {
    memset(r, 0, sizeof *r);
    r->seq = (sa_sequence){.n_q = N_Q,
                           .n_k = N_K,
                           .q = {r->q, 0, 0},
                           .k = {r->k, 0, 0},
                           .v = {r->v, 0, 0},
                           .first_key = CHUNK,
                           .partial = r->rooms[0],
                           .partial_bytes = sizeof r->rooms[0]};
    r->batch = (sa_batch){SA_BATCH_HEAD, .n_sequences = 1, .sequences = &r->seq, .n_query_heads = 1, .d_qk = D};
}

/* Nothing need be where k and v are. */
START_TEST(a_part_of_no_keys) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right *r = malloc(sizeof *r);
    make_right(r);
    r->seq.n_k = 0;
    r->seq.k.data = r->seq.v.data = NULL;
    ck_assert_msg(sa_batch_forward(engine, &r->batch) == SA_OK, "%s", sa_last_reason());
    const sa_partial partial = {.partial = r->rooms[0]};
    const sa_merge_request m = {SA_MERGE_HEAD,      .n_partials = 1, .partials = &partial, .n_q = N_Q,
                                .n_query_heads = 1, .d_v = D,        .o = {r->o, 0, 0}};
    for (int i = 0; i < N_Q * D; i++)
        r->o[i] = NAN;
    ck_assert_msg(sa_merge(engine, &m) == SA_OK, "%s", sa_last_reason());
    for (int i = 0; i < N_Q * D; i++)
        must(bits_of(r->o[i]) == 0, "o is %g", (double)r->o[i]);
    free(r);
    sa_engine_destroy(engine);
}
END_TEST

#define REFUSE(change, word)                                                                                           \
    do {                                                                                                               \
        change;                                                                                                        \
        must(sa_batch_forward(engine, &r->batch) == SA_INVALID, "%s is taken", #change);                               \
        must(strstr(sa_last_reason(), word) != NULL, "%s: the reason is '%s'", #change, sa_last_reason());             \
        make_right(r);                                                                                                 \
    } while (0)

START_TEST(refused_calls) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right *r = malloc(sizeof *r);
    const float sink = 0;
    make_right(r);
    ck_assert_msg(sa_batch_forward(engine, &r->batch) == SA_OK, "%s", sa_last_reason());
    REFUSE(r->seq.first_key = 512, "first_key");
    REFUSE(r->seq.first_key = -CHUNK, "first_key");
    REFUSE(r->seq.first_key = INT64_C(1) << 40, "first_key");
    REFUSE(r->seq.first_key = INT64_MAX - (CHUNK - 1), "first_key");
    REFUSE(r->seq.n_tree_keys = 2, "first_key is given with tree_parents");
    REFUSE(r->seq.partial = NULL, "partial_bytes is given without");
    REFUSE(r->seq.partial_bytes = sa_partial_bytes(N_Q, 1, D, CHUNK, N_K) - 1, "partial_bytes");
    REFUSE(r->seq.partial = (char *)r->rooms[0] + 4, "boundary of 8");
    REFUSE(r->seq.o.data = r->o, "partial is given with o");
    REFUSE(r->batch.sink_logits = &sink, "sink_logits");
    REFUSE(r->seq.partial = r->k, "partial overlaps k");
    free(r);
    sa_engine_destroy(engine);
}
END_TEST

static void refuse(sa_engine *engine, sa_merge_request *r, const char *word) {
    must(sa_merge(engine, r) == SA_INVALID, "%s is taken", word);
    must(strstr(sa_last_reason(), word) != NULL, "the reason is '%s', without %s", sa_last_reason(), word);
}

/* First keys and ends that no call leaves, which stand side by side behind two other numbers. */
enum { FIRST_KEY = 2, N_FORGED = 5 };
static const int64_t forged[N_FORGED][2] = {
    {-CHUNK, CHUNK}, {5, CHUNK}, {CHUNK, 0}, {0, INT64_C(1) << 31}, {0, INT64_MAX}};

START_TEST(refused_merges) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right *r = malloc(sizeof *r);
    make_right(r);
    ck_assert(sa_batch_forward(engine, &r->batch) == SA_OK);
    r->seq.first_key = 0;
    r->seq.n_k = CHUNK;
    r->seq.partial = r->rooms[1];
    ck_assert_msg(sa_batch_forward(engine, &r->batch) == SA_OK, "%s", sa_last_reason());
    sa_partial partials[2] = {{.partial = r->rooms[1]}, {.partial = r->rooms[0]}};
    const sa_merge_request right = {SA_MERGE_HEAD,      .n_partials = 2, .partials = partials, .n_q = N_Q,
                                    .n_query_heads = 1, .d_v = D,        .o = {r->o, 0, 0}};
    sa_merge_request m = right;
    ck_assert_msg(sa_merge(engine, &m) == SA_OK, "%s", sa_last_reason());
    m.n_q = N_Q - 1;
    refuse(engine, &m, "partial 0: has another n_q");
    m = right;
    m.o.data = (char *)r->rooms[0] + 64;
    refuse(engine, &m, "partial 1: partial shares memory");
    m = right;
    partials[0].partial = r->rooms[0];
    refuse(engine, &m, "partial 1: has keys that are not behind");
    partials[0] = (sa_partial){.o = {r->v, 0, 0}, .lse = {r->k, 0, 0}};
    refuse(engine, &m, "partial 1: is of another kind");
    partials[0] = (sa_partial){.o = {r->v, 0, 0}, .partial = r->rooms[1]};
    refuse(engine, &m, "partial 0: has o or lse");
    partials[0] = (sa_partial){.partial = r->k};
    refuse(engine, &m, "partial 0: is not what a call left");
    const size_t bytes = sa_partial_bytes(N_Q, 1, D, 0, CHUNK);
    partials[0] = (sa_partial){.partial = r->rooms[1], .partial_bytes = bytes - 1};
    refuse(engine, &m, "partial 0: has more bytes");
    partials[0].partial_bytes = 63;
    refuse(engine, &m, "partial 0: is not what a call left");
    partials[0] = (sa_partial){.partial = r->rooms[1]};
    for (int i = 0; i < N_FORGED; i++) {
        int64_t kept[2];
        memcpy(kept, r->rooms[1] + FIRST_KEY, sizeof kept);
        memcpy(r->rooms[1] + FIRST_KEY, forged[i], sizeof kept);
        refuse(engine, &m, "partial 0: is not what a call left");
        memcpy(r->rooms[1] + FIRST_KEY, kept, sizeof kept);
    }
    ck_assert(sa_partial_bytes(-1, 1, 1, 0, 0) == 0 && sa_partial_bytes(1, 1, 1, 5, 1) == 0);
    ck_assert(sa_partial_bytes(1, 1, 1, 0, 8 * CHUNK) == 64 + 12 && sa_partial_bytes(1, 1, 1, 0, CHUNK + 1) == 64 + 24);
    free(r);
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("merge keys");
    TCase *tcase = add_case(suite, "merge keys");
    tcase_add_loop_test(tcase, cut_anywhere, ISA_FIRST, ISA_END);
    tcase_add_test(tcase, on_other_instruction_sets);
    tcase_add_test(tcase, in_pages);
    tcase_add_test(tcase, positions_of_a_part);
    tcase_add_test(tcase, a_part_of_no_keys);
    tcase_add_test(tcase, refused_calls);
    tcase_add_test(tcase, refused_merges);
    return run_suite(suite);
}
