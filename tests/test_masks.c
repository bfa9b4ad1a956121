/* SPDX-License-Identifier: MIT */
/* What queries see beside the batch's rule: positions, prefixes, documents, trees, lists of blocks, masks, on every
 * instruction set, in every type, in pages and not. */
#include <math.h>
#include <stdlib.h>

#include "agree.h"
#include "elements.h"
#include "paged.h"
#include "reference.h"
#include "sighted.h"

/* ---------------------------------------------------------------- batches */

/* Two sequences of their own kinds; some in pages, some of types that this instruction set multiplies in pairs. */
static struct drawn roll_batch(int isa, uint64_t seed, int64_t most_q, int64_t most_k) {
    struct dice dice = {seed};
    const int n_kv_heads = (int)roll_between(&dice, 1, 2), group = (int)roll_between(&dice, 1, 5);
    struct drawn drawn = drawn_batch(seed, n_kv_heads * group, n_kv_heads, (int)roll_between(&dice, 1, 40),
                                     (int)roll_between(&dice, 1, 40));
    if (roll_one_in(&dice, 2))
        drawn_types(&drawn);
    else if (drawn.batch.d_qk % 2 == 0)
        drawn_own(&drawn, isa);
    for (int i = 0; i < 2; i++)
        drawn_add(&drawn, drawn_edge(&dice, most_q), drawn_edge(&dice, most_k), -1, 4);
    drawn_rules(&drawn);
    for (int i = 0; i < 2; i++)
        drawn_sight(&drawn, &drawn.seqs[i], roll_sight(&dice));
    if (roll_one_in(&dice, 3))
        drawn_page(&drawn, 0, 2, paging_of(&dice, 1 << roll(&dice) % 9));
    drawn.batch.sequences = drawn.seqs;
    return drawn;
}

/* ---------------------------------------------------------------- right */

START_TEST(every_kind_is_exact) {
    sa_engine *engine = engine_with(_i, 2);
    for (int seed = 1; engine && seed <= isa_cases(_i, 300); seed++) {
        struct drawn drawn = roll_batch(_i, (uint64_t)seed, 200, 1100);
        drawn_check(&drawn, engine, 25);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Both sides of the edges of groups and tiles, of blocks and chunks, one kind after the other. */
START_TEST(edges_are_exact) {
    static const int rows[] = {1, 8, 9, 15, 16, 17, 63, 64, 65}, keys[] = {255, 256, 257, 1023, 1024, 1025};
    sa_engine *engine = engine_with(_i, 2);
    for (unsigned kind = 0; engine && kind < SIGHT_KINDS; kind++)
        for (int r = 0; r < 9; r++)
            for (int k = 0; k < 6; k++) {
                if (_i == SA_ISA_GENERIC && (r + k + (int)kind) % 6)
                    continue;
                struct drawn drawn = drawn_batch(kind * 100 + (unsigned)(r * 6 + k), 2, 1 + k % 2, 18, 9);
                if ((r + k) % 2)
                    drawn_own(&drawn, _i);
                sa_sequence *s = drawn_add(&drawn, rows[r], keys[k], PACKED, 4);
                drawn_rules(&drawn);
                drawn_sight(&drawn, s, 1u << kind);
                drawn_check(&drawn, engine, 12);
                drawn_free(&drawn);
            }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(instruction_sets_agree) {
    for (int seed = 1; seed <= 40; seed++) {
        struct drawn drawn = roll_batch(SA_ISA_GENERIC, 1000 + (uint64_t)seed, 129, 1100);
        drawn_must_agree(&drawn, seed);
        drawn_free(&drawn);
    }
}
END_TEST

/* ---------------------------------------------------------------- the same bits */

START_TEST(threads_do_not_matter) {
    static const int n_threads[] = {2, 5};
    sa_engine *one = engine_with(_i, 1);
    for (int i = 0; one && i < 2; i++) {
        sa_engine *engine = engine_with(_i, n_threads[i]);
        for (int seed = 1; seed <= isa_cases(_i, 40); seed++) {
            struct drawn drawn = roll_batch(_i, 2000 + (uint64_t)seed, 65, _i == SA_ISA_GENERIC ? 1100 : 2049);
            size_t n;
            float *wanted = drawn_compute(&drawn, one, &n), *got = drawn_compute(&drawn, engine, &n);
            drawn_must_equal(got, wanted, n, "threads");
            free(wanted);
            free(got);
            drawn_free(&drawn);
        }
        sa_engine_destroy(engine);
    }
    sa_engine_destroy(one);
}
END_TEST

/* Few queries and so many keys that these are split. */
START_TEST(splits_do_not_matter) {
    sa_engine *one = engine_with(_i, 1), *many = one ? engine_with(_i, 4) : NULL;
    int64_t n_splits = 0;
    for (int seed = 1; one && seed <= isa_cases(_i, 30); seed++) {
        struct dice dice = {3000 + (uint64_t)seed};
        struct drawn drawn = drawn_batch(dice.state, 4, 1 + seed % 2, 16, 16);
        sa_sequence *s = drawn_add(&drawn, seed % 3 ? 3 : 40, roll_between(&dice, 9000, 20000), PACKED, 4);
        sa_batch_info info = {.struct_size = sizeof info};
        drawn_sight(&drawn, s, 1u << seed % SIGHT_KINDS | (seed % 4 ? 0 : SIGHT_MASK));
        drawn.batch.flags = seed % 2 ? SA_CAUSAL : 0;
        drawn.batch.sequences = drawn.seqs;
        ck_assert(sa_batch_get_info(many, &drawn.batch, &info) == SA_OK);
        n_splits += info.n_splits;
        size_t n;
        float *wanted = drawn_compute(&drawn, one, &n), *got = drawn_compute(&drawn, many, &n);
        drawn_must_equal(got, wanted, n, "splits");
        free(wanted);
        free(got);
        drawn_free(&drawn);
    }
    ck_assert(!one || n_splits > 0);
    sa_engine_destroy(one);
    sa_engine_destroy(many);
}
END_TEST

/* Queries begin .. begin + n - 1 of a sequence that stands packed. Of a tree the nodes behind them are left out. */
static sa_sequence part_of(const struct drawn *drawn, const sa_sequence *all, int64_t begin, int64_t n) {
    const int64_t heads = drawn->batch.n_query_heads, behind = all->tree_parents ? all->n_q - begin - n : 0;
    sa_sequence s = *all;
    s.n_q = n;
    s.n_k -= behind;
    s.n_tree_keys -= behind;
    s.flags = SA_SEQ_Q_OFFSET;
    s.q_offset = (all->flags ? all->q_offset : all->n_k - all->n_q) + begin;
    s.q.data = (const char *)all->q.data + begin * heads * drawn->batch.d_qk * element_bytes(drawn->batch.q_type);
    s.o.data = (float *)all->o.data + begin * heads * drawn->batch.d_v;
    s.lse = (sa_output){(float *)all->lse.data + begin, 1, all->n_q};
    if (all->q_positions)
        s.q_positions += begin;
    if (all->k_documents)
        s.q_documents = (all->q_documents ? all->q_documents : all->k_documents + all->n_k - all->n_q) + begin;
    if (all->mask.data)
        s.mask.data = (const char *)all->mask.data + begin * all->mask.query_stride;
    if (all->bias.data)
        s.bias.data =
            (const char *)all->bias.data + begin * all->bias.query_stride * element_bytes(drawn->batch.bias_type);
    if (all->blocks.full.begin)
        s.blocks.full.begin += begin / all->blocks.q_block;
    if (all->blocks.partial.begin)
        s.blocks.partial.begin += begin / all->blocks.q_block;
    return s;
}

/* Softcap, ALiBi, both, or neither; at times so far behind the keys that distances do not fit into 32 bits, but for
 * some of the queries. */
static void add_terms(struct drawn *drawn, sa_sequence *s, int kind) {
    static float slopes[2];
    if (roll_one_in(&drawn->dice, 4)) /* scores around the least normal number */
        drawn->batch.scale = 0x1p-127f;
    const bool far = kind > 4 && !s->q_positions && !s->k_positions;
    drawn->batch.softcap = kind % 2 ? 2.5f : 0;
    for (int h = 0; h < 2; h++)
        slopes[h] = (far ? 0x1p-30f : 0.1f) * roll_unit(&drawn->dice);
    if (kind % 4 > 1)
        s->alibi_slopes = slopes;
    if (!far || s->tree_parents)
        return;
    s->flags |= SA_SEQ_Q_OFFSET;
    s->q_offset = (INT64_C(1) << 31) - s->n_q / 2;
}

/* A number for each pair, -inf for some of them, at times for a whole block; then keys that only some queries see, and
 * those, are no numbers. */
static void add_bias(struct drawn *drawn, sa_sequence *s) {
    static const int types[] = {SA_F32, SA_BF16, SA_F16};
    const int heads = drawn->batch.n_query_heads, type = types[roll(&drawn->dice) % 3], bytes = element_bytes(type);
    const bool poisoned = roll_one_in(&drawn->dice, 2), block = roll_one_in(&drawn->dice, 2);
    const unsigned hides = roll_one_in(&drawn->dice, 3) ? 0 : 9;
    char *data = drawn_map(drawn, (size_t)(heads * s->n_q * s->n_k * bytes));
    for (int64_t i = 0; i < heads * s->n_q; i++)
        for (int64_t j = 0; j < s->n_k; j++) {
            const bool some = (hides && roll_one_in(&drawn->dice, hides)) || (poisoned && j % 50 == 7 && i % 3);
            element_store(type, some || (block && j < 256) ? -HUGE_VAL : (double)roll_unit(&drawn->dice),
                          data + (i * s->n_k + j) * bytes);
        }
    for (int64_t j = 7; j < s->n_k && poisoned; j += 50)
        for (int h = 0; h < drawn->batch.n_kv_heads; h++)
            drawn_poison_key(drawn, s, j, h, NAN);
    drawn->batch.bias_type = type;
    s->bias = (sa_grid){data, s->n_q * s->n_k, s->n_k, 1};
}

/* Two documents by turns, of which queries have one: whole strips are left out, others follow. */
static void add_gaps(struct drawn *drawn, sa_sequence *s) {
    int32_t *of_keys = drawn_map(drawn, (size_t)s->n_k * sizeof *of_keys);
    int32_t *of_queries = drawn_map(drawn, (size_t)s->n_q * sizeof *of_queries);
    for (int64_t j = 0; j < s->n_k; j++)
        of_keys[j] = j / 32 % 3 == 1;
    s->k_documents = of_keys;
    s->q_documents = of_queries;
}

/* In one go, and in chunks, those of 1 to 8 rows by other kernels. */
static void check_chunks(sa_engine *engine, struct drawn *drawn, sa_sequence *s, int64_t chunk) {
    size_t n;
    float *wanted = drawn_compute(drawn, engine, &n);
    drawn_forget(drawn);
    const sa_sequence all = *s;
    for (int64_t begin = 0; begin < all.n_q; begin += chunk) {
        *s = part_of(drawn, &all, begin, all.n_q - begin < chunk ? all.n_q - begin : chunk);
        must(sa_batch_forward(engine, &drawn->batch) == SA_OK, "%s", sa_last_reason());
    }
    *s = all;
    float *got = drawn_outputs(drawn, &n);
    drawn_must_equal(got, wanted, n, "chunks");
    free(got);
    free(wanted);
    drawn_free(drawn);
}

START_TEST(chunks_of_queries_do_not_matter) {
    sa_engine *engine = engine_with(_i, 2);
    for (int seed = 1; engine && seed <= isa_cases(_i, 120); seed++) {
        struct dice dice = {4000 + (uint64_t)seed};
        struct drawn drawn = drawn_batch(dice.state, 2, 1 + seed % 2, 20, 12);
        if (seed % 2)
            drawn_own(&drawn, _i);
        sa_sequence *s = drawn_add(&drawn, roll_between(&dice, 20, 90), drawn_edge(&dice, 2049), PACKED, 4);
        drawn_rules(&drawn);
        if (seed % 6 == 5)
            add_gaps(&drawn, s);
        else
            drawn_sight(&drawn, s, seed % 3 ? 1u << seed % SIGHT_KINDS : roll_sight(&dice));
        add_terms(&drawn, s, seed % 2 ? (int)roll_between(&dice, 0, 7) : 0);
        if (roll_one_in(&dice, 3))
            add_bias(&drawn, s);
        const int64_t unit = s->blocks.q_block ? s->blocks.q_block : 1;
        check_chunks(engine, &drawn, s, unit * roll_between(&dice, 1, 20));
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Bias alone, or with a rule, in what is multiplied in pairs. */
START_TEST(chunks_of_biased_queries_do_not_matter) {
    sa_engine *engine = engine_with(_i, 2);
    for (int seed = 1; engine && seed <= isa_cases(_i, 60); seed++) {
        struct dice dice = {9000 + (uint64_t)seed};
        struct drawn drawn = drawn_batch(dice.state, 2, 1 + seed % 2, 20, 12);
        drawn_own(&drawn, _i);
        sa_sequence *s = drawn_add(&drawn, roll_between(&dice, 20, 140), drawn_edge(&dice, 1025), PACKED, 4);
        if (seed % 3)
            drawn_rules(&drawn);
        add_terms(&drawn, s, (int)roll_between(&dice, 0, 3));
        add_bias(&drawn, s);
        check_chunks(engine, &drawn, s, roll_between(&dice, 1, 20));
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(company_does_not_matter) {
    sa_engine *engine = engine_with(_i, 3);
    for (int seed = 1; engine && seed <= isa_cases(_i, 40); seed++) {
        struct drawn drawn = roll_batch(_i, 5000 + (uint64_t)seed, 129, 600);
        size_t n, at = 0, one;
        float *together = drawn_compute(&drawn, engine, &n);
        for (int i = 0; i < 2; i++, at += one) {
            struct drawn alone = drawn;
            alone.seqs[0] = drawn.seqs[i];
            alone.batch.n_sequences = 1;
            float *got = drawn_compute(&alone, engine, &one);
            drawn_must_equal(got, together + at, one, "a sequence alone");
            free(got);
        }
        free(together);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- causality by other names */

static sa_sequence *draw_causal(struct drawn *drawn, int isa, int seed) {
    struct dice dice = {(uint64_t)seed};
    *drawn = drawn_batch(dice.state, 4, 2, 24, 24);
    if (seed % 2)
        drawn_own(drawn, isa);
    const int64_t n = drawn_edge(&dice, 1100);
    return drawn_add(drawn, seed % 3 ? n : (n + 3) / 4, n, PACKED, 4);
}

static void as_positions(struct drawn *drawn, sa_sequence *s) {
    int32_t *q = drawn_map(drawn, (size_t)s->n_q * 4), *k = drawn_map(drawn, (size_t)s->n_k * 4);
    for (int64_t i = 0; i < s->n_q; i++)
        q[i] = (int32_t)(2 * (s->n_k - s->n_q + i));
    for (int64_t j = 0; j < s->n_k; j++)
        k[j] = (int32_t)(2 * j);
    s->q_positions = q;
    s->k_positions = k;
    drawn->batch.flags |= SA_CAUSAL;
}

static void as_mask(struct drawn *drawn, sa_sequence *s) {
    unsigned char *mask = drawn_map(drawn, (size_t)(s->n_q * s->n_k));
    for (int64_t i = 0; i < s->n_q; i++)
        for (int64_t j = 0; j < s->n_k; j++)
            mask[i * s->n_k + j] = (unsigned char)(j <= s->n_k - s->n_q + i ? 1 + j % 255 : 0);
    s->mask = (sa_grid){mask, 0, s->n_k, 1};
}

static void as_blocks(struct drawn *drawn, sa_sequence *s) {
    int64_t *begin = drawn_map(drawn, (size_t)(s->n_q + 1) * 8), n = 0;
    int32_t *blocks = drawn_map(drawn, (size_t)(s->n_q * s->n_k) * 4);
    for (int64_t i = 0; i < s->n_q; i++) {
        begin[i] = n;
        for (int32_t j = 0; j <= s->n_k - s->n_q + i; j++)
            blocks[n++] = j;
    }
    begin[s->n_q] = n;
    s->blocks = (sa_block_sparsity){.full = {begin, blocks, 0}, .q_block = 1, .k_block = 1};
}

static void as_tree(struct drawn *drawn, sa_sequence *s) {
    int32_t *parents = drawn_map(drawn, (size_t)s->n_k * 4);
    for (int64_t t = 0; t < s->n_k; t++)
        parents[t] = (int32_t)t - 1;
    s->tree_parents = parents;
    s->n_tree_keys = s->n_k;
}

START_TEST(causality_has_many_names) {
    void (*const names[])(struct drawn *, sa_sequence *) = {as_positions, as_mask, as_blocks, as_tree};
    sa_engine *engine = engine_with(_i, 2);
    for (int seed = 1; engine && seed <= isa_cases(_i, 24); seed++)
        for (int name = 0; name < 4; name++) {
            struct drawn drawn;
            sa_sequence *s = draw_causal(&drawn, _i, seed);
            size_t n;
            drawn.batch.flags |= SA_CAUSAL;
            float *wanted = drawn_compute(&drawn, engine, &n);
            drawn.batch.flags &= ~SA_CAUSAL;
            names[name](&drawn, s);
            float *got = drawn_compute(&drawn, engine, &n);
            drawn_must_equal(got, wanted, n, "causality by another name");
            free(wanted);
            free(got);
            drawn_free(&drawn);
        }
    sa_engine_destroy(engine);
}
END_TEST

/* Documents one after the other are sequences one after the other, if they begin where blocks do. */
START_TEST(documents_are_sequences) {
    enum { N = 4, KEYS = 256, HEADS = 2, D = 16 };
    sa_engine *engine = engine_with(_i, 2);
    if (engine) {
        struct drawn drawn = drawn_batch(7, HEADS, HEADS, D, D);
        sa_sequence all = *drawn_add(&drawn, N * KEYS, N * KEYS, PACKED, 4);
        int32_t *documents = drawn_map(&drawn, N * KEYS * sizeof *documents);
        size_t n;
        for (int j = 0; j < N * KEYS; j++)
            documents[j] = j / KEYS;
        drawn.batch.flags = SA_CAUSAL;
        drawn.seqs[0].k_documents = documents;
        drawn.seqs[0].lse = all.lse = (sa_output){all.lse.data, HEADS, 1};
        float *wanted = drawn_compute(&drawn, engine, &n);
        drawn_forget(&drawn);
        drawn.batch.n_sequences = N;
        for (int i = 0; i < N; i++) {
            const int64_t at = i * KEYS * HEADS * D;
            drawn.seqs[i] = all;
            drawn.seqs[i].n_q = drawn.seqs[i].n_k = KEYS;
            drawn.seqs[i].q.data = (const float *)all.q.data + at;
            drawn.seqs[i].k.data = (const float *)all.k.data + at;
            drawn.seqs[i].v.data = (const float *)all.v.data + at;
            drawn.seqs[i].o.data = (float *)all.o.data + at;
            drawn.seqs[i].lse.data = (float *)all.lse.data + i * KEYS * HEADS;
        }
        float *got = drawn_compute(&drawn, engine, &n);
        drawn_must_equal(got, wanted, n, "documents");
        free(wanted);
        free(got);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- what nobody sees */

START_TEST(what_is_hidden_reaches_nothing) {
    static const float poison[] = {NAN, INFINITY, -INFINITY};
    sa_engine *engine = engine_with(_i, 2);
    for (int seed = 1; engine && seed <= isa_cases(_i, 120); seed++) {
        struct drawn drawn = roll_batch(_i, 6000 + (uint64_t)seed, 129, 600);
        size_t n;
        float *wanted = drawn_compute(&drawn, engine, &n);
        drawn_poison(&drawn, 0, -1, poison[seed % 3]);
        drawn_poison(&drawn, 1, -1, poison[seed % 3]);
        float *got = drawn_compute(&drawn, engine, &n);
        drawn_must_equal(got, wanted, n, "poison that nobody sees");
        free(wanted);
        free(got);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Others see it, one query does not: its rows, all heads, stay. */
START_TEST(what_others_see_reaches_no_row_that_does_not) {
    sa_engine *engine = engine_with(_i, 2);
    for (int seed = 1; engine && seed <= isa_cases(_i, 150); seed++) {
        struct dice dice = {7000 + (uint64_t)seed};
        struct drawn drawn = drawn_batch(dice.state, 3, 1, 20, 12);
        if (seed % 2)
            drawn_own(&drawn, _i);
        sa_sequence *s = drawn_add(&drawn, drawn_edge(&dice, 129), drawn_edge(&dice, 600), PACKED, 4);
        drawn_rules(&drawn);
        drawn_sight(&drawn, s, roll_sight(&dice));
        const int64_t row = roll_between(&dice, 0, s->n_q - 1);
        const size_t width = 3 * (12 + 1);
        size_t n;
        float *wanted = drawn_compute(&drawn, engine, &n);
        drawn_poison(&drawn, 0, row, seed % 2 ? NAN : INFINITY);
        float *got = drawn_compute(&drawn, engine, &n);
        drawn_must_equal(got + (size_t)row * width, wanted + (size_t)row * width, width, "poison of others");
        free(wanted);
        free(got);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- */

int main(void) {
    Suite *suite = suite_create("masks");
    TCase *right = add_case(suite, "right"), *same = add_case(suite, "same bits"), *names = add_case(suite, "names"),
          *hidden = add_case(suite, "hidden");
    tcase_add_loop_test(right, every_kind_is_exact, ISA_FIRST, ISA_END);
    tcase_add_loop_test(right, edges_are_exact, ISA_FIRST, ISA_END);
    tcase_add_test(right, instruction_sets_agree);
    tcase_add_loop_test(same, threads_do_not_matter, ISA_FIRST, ISA_END);
    tcase_add_loop_test(same, splits_do_not_matter, ISA_FIRST, ISA_END);
    tcase_add_loop_test(same, chunks_of_queries_do_not_matter, ISA_FIRST, ISA_END);
    tcase_add_loop_test(same, chunks_of_biased_queries_do_not_matter, ISA_FIRST, ISA_END);
    tcase_add_loop_test(same, company_does_not_matter, ISA_FIRST, ISA_END);
    tcase_add_loop_test(names, causality_has_many_names, ISA_FIRST, ISA_END);
    tcase_add_loop_test(names, documents_are_sequences, ISA_FIRST, ISA_END);
    tcase_add_loop_test(hidden, what_is_hidden_reaches_nothing, ISA_FIRST, ISA_END);
    tcase_add_loop_test(hidden, what_others_see_reaches_no_row_that_does_not, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
