/* SPDX-License-Identifier: MIT */
/* Paged keys and values give the bits of contiguous ones, whatever the pages, and what nobody sees is not looked at. */
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "elements.h"
#include "engines.h"
#include "fenced.h"
#include "paged.h"
#include "reference.h"

static const int page_sizes[] = {1, 2, 3, 16, 17, 64, 256, 300};
enum { N_PAGE_SIZES = sizeof page_sizes / sizeof page_sizes[0] };

static struct drawn draw(uint64_t seed, struct dice *dice) {
    const int kv_heads = (int)roll_between(dice, 1, 3);
    struct drawn drawn = drawn_batch(seed, kv_heads * (int)roll_between(dice, 1, 4), kv_heads,
                                     (int)roll_between(dice, 1, 40), (int)roll_between(dice, 1, 40));
    drawn_types(&drawn);
    return drawn;
}

/* Few and many queries against keys of up to `most`. */
static void add_some(struct drawn *drawn, struct dice *dice, int n, int64_t most) {
    for (int i = 0; i < n; i++)
        drawn_add(drawn, roll_between(dice, 0, roll_one_in(dice, 2) ? 8 : 100),
                  roll_one_in(dice, 2) ? drawn_edge(dice, most) : roll_between(dice, 0, most), -1, 3);
}

static int64_t most_keys(int isa) { return isa == SA_ISA_GENERIC ? 400 : 2100; }

/* The bits that came out before come out again. */
static void check_again(struct drawn *drawn, sa_engine *engine, const float *wanted, const char *what) {
    size_t n;
    float *got = drawn_compute(drawn, engine, &n);
    drawn_must_equal(got, wanted, n, what);
    free(got);
}

START_TEST(pages_do_not_matter) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 12 * N_PAGE_SIZES); i++) {
        struct dice dice = {(uint64_t)(100 + i)};
        struct drawn drawn = draw((uint64_t)i, &dice);
        add_some(&drawn, &dice, 3, most_keys(_i));
        drawn_rules(&drawn);
        size_t n;
        float *wanted = drawn_compute(&drawn, engine, &n);
        drawn_page(&drawn, 0, 3, paging_of(&dice, page_sizes[i % N_PAGE_SIZES]));
        check_again(&drawn, engine, wanted, "paged");
        free(wanted);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* The reference reads pages, too; float32 in whole blocks is used where it stands. */
START_TEST(pages_against_the_reference) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 3 * N_PAGE_SIZES); i++) {
        struct dice dice = {(uint64_t)(200 + i)};
        struct drawn drawn = draw((uint64_t)i, &dice);
        if (i % 2)
            drawn.batch.k_type = drawn.batch.v_type = SA_F32;
        add_some(&drawn, &dice, 2, 700);
        drawn_rules(&drawn);
        drawn_page(&drawn, 0, 2, paging_of(&dice, i % 3 ? page_sizes[i % N_PAGE_SIZES] : 512));
        drawn_check(&drawn, engine, 15);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(a_common_prefix_is_stored_once) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 2 * N_PAGE_SIZES); i++) {
        struct dice dice = {(uint64_t)(300 + i)};
        struct drawn drawn = draw((uint64_t)i, &dice);
        const int64_t prefix = roll_between(&dice, 100, 350);
        for (int s = 0; s < 4; s++)
            drawn_add(&drawn, roll_between(&dice, 1, 20), prefix + roll_between(&dice, 0, 300), -1, 3);
        drawn_share(&drawn, prefix);
        drawn_rules(&drawn);
        size_t n;
        float *wanted = drawn_compute(&drawn, engine, &n);
        struct paging how = paging_of(&dice, page_sizes[i % N_PAGE_SIZES]);
        how.shared_tokens = prefix;
        drawn_page(&drawn, 0, 4, how);
        if (prefix >= how.page_tokens)
            ck_assert_int_eq(drawn.seqs[0].k_pages.table[0], drawn.seqs[3].k_pages.table[0]);
        check_again(&drawn, engine, wanted, "shared pages");
        free(wanted);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Each sequence in pools and pages of its own, or in none; v alone in pages. */
START_TEST(paged_beside_contiguous) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 24); i++) {
        struct dice dice = {(uint64_t)(400 + i)};
        struct drawn drawn = draw((uint64_t)i, &dice);
        add_some(&drawn, &dice, DRAWN_SEQS, 500);
        drawn_rules(&drawn);
        size_t n;
        float *wanted = drawn_compute(&drawn, engine, &n);
        for (int s = 0; s < DRAWN_SEQS; s++)
            if (s != i % DRAWN_SEQS)
                drawn_page(&drawn, s, s + 1, paging_of(&dice, page_sizes[roll(&dice) % N_PAGE_SIZES]));
        check_again(&drawn, engine, wanted, "paged beside contiguous");
        free(wanted);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(values_alone_in_pages) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < N_PAGE_SIZES; i++) {
        struct dice dice = {(uint64_t)(500 + i)};
        struct drawn drawn = draw((uint64_t)i, &dice);
        add_some(&drawn, &dice, 1, 500);
        drawn_rules(&drawn);
        size_t n;
        float *wanted = drawn_compute(&drawn, engine, &n);
        const sa_sequence plain = drawn.seqs[0];
        struct paging how = paging_of(&dice, page_sizes[i]);
        how.pools = TWO_POOLS;
        how.two_tables = true;
        drawn_page(&drawn, 0, 1, how);
        drawn.seqs[0].k = plain.k;
        drawn.seqs[0].k_scales = plain.k_scales;
        drawn.seqs[0].k_pages = (sa_pages){0};
        check_again(&drawn, engine, wanted, "values alone in pages");
        free(wanted);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- what nobody sees */

/* Entries that are no pages, poison in the tokens nobody sees, in scales as well. */
START_TEST(pages_that_nobody_sees_are_not_looked_at) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 8 * N_PAGE_SIZES); i++) {
        struct dice dice = {(uint64_t)(600 + i)};
        struct drawn drawn = draw((uint64_t)i, &dice);
        add_some(&drawn, &dice, 2, i % 4 ? 600 : most_keys(_i));
        drawn_rules(&drawn);
        if (i % 2) { /* sink keys and a window in the same block, and in different ones */
            drawn.batch.flags |= SA_WINDOW | SA_CAUSAL;
            drawn.batch.window_left = roll_between(&dice, 0, 60);
            drawn.batch.window_right = -1;
            drawn.batch.n_sink_keys = roll_between(&dice, 0, 20);
        }
        size_t n;
        float *wanted = drawn_compute(&drawn, engine, &n);
        drawn_page(&drawn, 0, 2, paging_of(&dice, page_sizes[i % N_PAGE_SIZES]));
        for (int s = 0; s < 2; s++) {
            drawn_poison(&drawn, s, -1, i % 3 ? NAN : INFINITY);
            drawn_forget_pages(&drawn, s);
        }
        check_again(&drawn, engine, wanted, "what nobody sees");
        free(wanted);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Pages of a cache so large that each is one of the system's: those that nobody sees may not be touched at all. */
static void forbid_unseen(struct drawn *drawn, const sa_sequence *s, bool v, int page_bytes) {
    const sa_pages *pages = &s->k_pages;
    for (int64_t i = 0; i * pages->page_tokens < s->n_k; i++)
        if (!drawn_sees_page(drawn, s, pages, i)) {
            const int64_t token = i * pages->page_tokens;
            const void *at = v ? reference_v(&drawn->batch, s, token, 0) : reference_k(&drawn->batch, s, token, 0);
            must(mprotect((void *)(uintptr_t)at, (size_t)page_bytes, PROT_NONE) == 0, "mprotect");
        }
}

START_TEST(pages_that_were_given_up_are_not_touched) {
    const int page_bytes = (int)sysconf(_SC_PAGESIZE);
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < 12; i++) {
        const int type = i % 2 ? SA_F16 : SA_F32, tokens = i % 3 ? 16 : 256;
        const int d = page_bytes / tokens / element_bytes(type);
        struct drawn drawn = drawn_batch((uint64_t)i, 2, 1, d, d);
        drawn.batch.k_type = drawn.batch.v_type = type;
        drawn_add(&drawn, i % 4 ? 1 : 70, i % 2 ? 1500 + i : 250, PACKED, 2);
        drawn.batch.flags = SA_CAUSAL | SA_WINDOW;
        drawn.batch.window_left = 20 * i;
        drawn.batch.n_sink_keys = i % 3 * 9;
        size_t n;
        float *wanted = drawn_compute(&drawn, engine, &n);
        drawn_page(&drawn, 0, 1, (struct paging){.page_tokens = tokens, .pools = TWO_POOLS, .layout = PACKED});
        for (int v = 0; v < 2; v++)
            forbid_unseen(&drawn, &drawn.seqs[0], v, page_bytes);
        check_again(&drawn, engine, wanted, "pages given up");
        free(wanted);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- entries that are no pages */

static void check_refusal(struct drawn *drawn, sa_engine *engine, const char *name) {
    sa_batch_info info = {.struct_size = sizeof info};
    size_t n;
    drawn_forget(drawn);
    float *before = drawn_outputs(drawn, &n), *after;
    must(sa_batch_forward(engine, &drawn->batch) == SA_INVALID, "an entry that is no page is taken");
    must(strstr(sa_last_reason(), name) != NULL && strstr(sa_last_reason(), "page table"), "the reason is '%s'",
         sa_last_reason());
    must(sa_batch_get_info(engine, &drawn->batch, &info) == SA_INVALID, "get_info takes it");
    after = drawn_outputs(drawn, &n);
    must(memcmp(before, after, n * sizeof *before) == 0, "an output was written");
    free(before);
    free(after);
}

/* Sets each entry in turn to what is no page: refused if any query sees a key of it, taken otherwise. */
static void check_entries(struct drawn *drawn, sa_engine *engine, const sa_sequence *s, const sa_pages *pages,
                          const char *name) {
    const int32_t no_pages[] = {-1, INT32_MIN, INT32_MAX, (int32_t)pages->n_pages};
    const int tables = pages->head_step ? drawn->batch.n_kv_heads : 1;
    for (int64_t i = 0; i * pages->page_tokens < s->n_k; i++)
        for (int h = 0; h < tables; h++) {
            int32_t *entry = (int32_t *)(uintptr_t)&pages->table[h * pages->head_step + i], right = *entry;
            *entry = no_pages[(i + h) % 4];
            if (drawn_sees_page(drawn, s, pages, i))
                check_refusal(drawn, engine, name);
            else
                must(sa_batch_forward(engine, &drawn->batch) == SA_OK, "an unseen entry: %s", sa_last_reason());
            *entry = right;
        }
}

/* A causal chunk in the middle of a cache, the table of which ends with the last page that a query sees. */
enum { CHUNK = 64, CHUNK_KEYS = 512, CHUNK_D = 64 };

static sa_status attend_chunk(sa_engine *engine, const uint16_t *x, int64_t offset, int page, const int32_t *table,
                              float *o) {
    const sa_tensor rows = {x, 0, 0};
    const sa_sequence sequence = {
        .n_q = CHUNK,
        .n_k = CHUNK_KEYS,
        .q = rows,
        .k = rows,
        .v = rows,
        .o = {o, 0, 0},
        .flags = SA_SEQ_Q_OFFSET,
        .q_offset = offset,
        .k_pages = {.table = table, .n_pages = table ? CHUNK_KEYS / page : 0, .page_tokens = table ? page : 0}};
    const sa_batch batch = {SA_BATCH_HEAD,      .n_sequences = 1,  .sequences = &sequence,
                            .n_query_heads = 1, .d_qk = CHUNK_D,   .q_type = SA_BF16,
                            .k_type = SA_BF16,  .v_type = SA_BF16, .flags = SA_CAUSAL};
    return sa_batch_forward(engine, &batch);
}

START_TEST(entries_that_nobody_needs_may_be_missing) {
    static uint16_t x[CHUNK_KEYS * CHUNK_D];
    static float wanted[CHUNK * CHUNK_D], got[CHUNK * CHUNK_D];
    sa_engine *engine = engine_with(_i, 1);
    struct dice dice = {7};
    struct fenced memory = fenced_map(CHUNK_KEYS);
    for (int i = 0; i < CHUNK_KEYS * CHUNK_D; i++)
        x[i] = (uint16_t)(0x3e80 + (roll(&dice) & 0x807f)); /* 0.25 to 0.5, either sign */
    for (int page = 1; engine && page <= 64; page *= 4)
        for (int64_t offset = 0; offset + CHUNK <= CHUNK_KEYS; offset += 37) {
            const int n = (int)(offset + CHUNK - 1) / page + 1;
            int32_t *table = (int32_t *)memory.end - n;
            for (int i = 0; i < n; i++)
                table[i] = i;
            must(attend_chunk(engine, x, offset, page, NULL, wanted) == SA_OK, "%s", sa_last_reason());
            must(attend_chunk(engine, x, offset, page, table, got) == SA_OK, "%s", sa_last_reason());
            must(memcmp(got, wanted, sizeof got) == 0, "pages of %d, offset %d", page, (int)offset);
        }
    fenced_unmap(&memory);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(entries_that_are_no_pages_are_refused) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 2);
    for (int i = 0; engine && i < 40; i++) {
        struct dice dice = {(uint64_t)(800 + i)};
        struct drawn drawn = draw((uint64_t)i, &dice);
        for (int s = 0; s < 2; s++)
            drawn_add(&drawn, roll_between(&dice, 0, 9), roll_between(&dice, 0, 90), -1, 1);
        drawn_rules(&drawn);
        struct paging how = paging_of(&dice, page_sizes[i % 5]);
        drawn_page(&drawn, 0, 2, how);
        drawn.batch.sequences = drawn.seqs;
        for (int s = 0; s < 2; s++) {
            check_entries(&drawn, engine, &drawn.seqs[s], &drawn.seqs[s].k_pages,
                          s ? "sequence 1: k" : "sequence 0: k");
            if (drawn.seqs[s].v_pages.table)
                check_entries(&drawn, engine, &drawn.seqs[s], &drawn.seqs[s].v_pages,
                              s ? "sequence 1: v" : "sequence 0: v");
        }
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("pages");
    TCase *tcase = add_case(suite, "pages");
    tcase_add_loop_test(tcase, pages_do_not_matter, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, pages_against_the_reference, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, a_common_prefix_is_stored_once, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, paged_beside_contiguous, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, values_alone_in_pages, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, pages_that_nobody_sees_are_not_looked_at, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, pages_that_were_given_up_are_not_touched, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, entries_that_nobody_needs_may_be_missing, ISA_FIRST, ISA_END);
    tcase_add_test(tcase, entries_that_are_no_pages_are_refused);
    return run_suite(suite);
}
