/* SPDX-License-Identifier: MIT */
/* Types, scales and pages that are refused, each with its reason; those that look odd and are right; structs as they
 * were before there were any. */
#include "refused.h"

/* Int8 keys and values in pages, scales of float32: all arrays are as large as that needs. */
static void make_paged(struct right *r) {
    static const int32_t table[] = {3, 0, 6, 1, 5, 2, 4, 4};
    make_right(r);
    memcpy(r->table, table, sizeof table);
    r->batch.k_type = r->batch.v_type = SA_I8;
    r->seq.k_scales.data = r->k_scale;
    r->seq.v_scales.data = r->v_scale;
    r->seq.k_pages = (sa_pages){.table = r->table, .n_pages = N_PAGES, .page_tokens = PAGE_TOKENS};
    r->make = make_paged;
}

static void make_int8(struct right *r) {
    make_paged(r);
    r->seq.k_pages = (sa_pages){0};
    r->make = make_int8;
}

static void must_take(sa_engine *engine, struct right *r, const char *what) {
    must(sa_batch_forward(engine, &r->batch) == SA_OK, "%s: %s", what, sa_last_reason());
    r->make(r);
}

#define TAKE(change)                                                                                                   \
    do {                                                                                                               \
        change;                                                                                                        \
        must_take(engine, &r, #change);                                                                                \
    } while (0)

#define UNSUPPORTED(change, word)                                                                                      \
    do {                                                                                                               \
        change;                                                                                                        \
        must_refuse(engine, &r, SA_UNSUPPORTED, word, #change);                                                        \
    } while (0)

START_TEST(types) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    make_right(&r);
    REFUSE(r.batch.q_type = SA_I8, "q_type is 4, expected SA_F32, SA_BF16 or SA_F16");
    REFUSE(r.batch.o_type = SA_I8, "o_type is 4, expected SA_F32, SA_BF16 or SA_F16");
    REFUSE(r.batch.scale_type = SA_I8, "scale_type is 4, expected SA_F32, SA_BF16 or SA_F16");
    REFUSE(r.batch.k_type = 5, "k_type is 5, expected SA_F32, SA_BF16, SA_F16 or SA_I8");
    REFUSE(r.batch.v_type = -1, "v_type is -1, expected SA_F32, SA_BF16, SA_F16 or SA_I8");
    UNSUPPORTED(r.batch.q_type = SA_F64, "q_type");
    UNSUPPORTED(r.batch.k_type = SA_F64, "k_type");
    UNSUPPORTED(r.batch.v_type = SA_F64, "v_type");
    UNSUPPORTED(r.batch.o_type = SA_F64, "o_type");
    UNSUPPORTED(r.batch.scale_type = SA_F64, "scale_type");
    UNSUPPORTED(r.batch.bias_type = SA_F64, "bias_type");
    REFUSE(r.batch.bias_type = SA_I8, "bias_type");
    REFUSE(r.batch.reserved = 1, "reserved");
    TAKE(r.batch.flags = SA_SCALES_PER_HEAD);
    TAKE(r.batch.scale_type = SA_BF16);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(alignment_is_that_of_the_element) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    make_right(&r);
    REFUSE((r.batch.q_type = SA_BF16, r.seq.q.data = (char *)r.q + 1), "q is not aligned");
    REFUSE((r.batch.k_type = SA_F16, r.seq.k.data = (char *)r.k + 1), "k is not aligned");
    REFUSE((r.batch.o_type = SA_F16, r.seq.o.data = (char *)r.o + 1), "o is not aligned");
    REFUSE((r.batch.o_type = SA_F16, r.seq.lse.data = (char *)r.lse + 2), "lse is not aligned");
    TAKE((r.batch.q_type = SA_BF16, r.seq.q.data = (char *)r.q + 2));
    TAKE((r.batch.v_type = SA_F16, r.seq.v.data = (char *)r.v + 2));
    TAKE((r.batch.o_type = SA_BF16, r.seq.o.data = (char *)r.o + 2));
    make_int8(&r);
    TAKE((r.seq.k.data = (char *)r.k + 1, r.seq.v.data = (char *)r.v + 3));
    REFUSE(r.seq.k_scales.data = (char *)r.k_scale + 2, "k_scales is not aligned");
    REFUSE((r.batch.scale_type = SA_F16, r.seq.v_scales.data = (char *)r.v_scale + 1), "v_scales is not aligned");
    TAKE((r.batch.scale_type = SA_F16, r.seq.k_scales.data = (char *)r.k_scale + 2));
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(scales) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    make_right(&r);
    REFUSE(r.seq.k_scales.data = r.k_scale, "k_scales are given, but its elements are not SA_I8");
    REFUSE(r.seq.v_scales.token_stride = 1, "v_scales are given, but its elements are not SA_I8");
    REFUSE(r.seq.k_scales.head_stride = 1, "k_scales are given");
    REFUSE(r.seq.v_scales.page_stride = 1, "v_scales are given");
    make_int8(&r);
    REFUSE(r.seq.k_scales.data = NULL, "k_scales is NULL");
    REFUSE(r.seq.v_scales.data = NULL, "v_scales is NULL");
    REFUSE(r.seq.k_scales.token_stride = INT64_MAX / 2, "k_scales reaches beyond the address space");
    REFUSE((r.batch.flags = SA_SCALES_PER_HEAD, r.seq.k_scales.token_stride = 2),
           "k_scales have a token or page stride");
    REFUSE((r.batch.flags = SA_SCALES_PER_HEAD, r.seq.v_scales.page_stride = 2),
           "v_scales have a token or page stride");
    REFUSE((r.batch.flags = SA_SCALES_PER_HEAD, r.seq.k_scales.data = NULL), "k_scales is NULL");
    REFUSE((r.batch.k_type = SA_F32), "k_scales are given");
    TAKE((r.batch.flags = SA_SCALES_PER_HEAD, r.seq.k_scales.head_stride = 3));
    TAKE((r.batch.flags = SA_SCALES_PER_HEAD, r.seq.v_scales.data = r.k_scale));
    TAKE(r.seq.v_scales = r.seq.k_scales);
    TAKE((r.seq.n_k = 0, r.seq.k_scales.data = r.seq.v_scales.data = NULL));
    make_paged(&r);
    REFUSE(r.seq.v_scales.page_stride = INT64_MIN / 2, "v_scales reaches beyond the address space");
    TAKE((r.batch.flags = SA_SCALES_PER_HEAD));
    sa_engine_destroy(engine);
}
END_TEST

/* v_pages without a table are those of k; its page_stride is its own. */
START_TEST(pages) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    make_right(&r);
    REFUSE(r.seq.k_pages.head_step = 1, "k_pages: fields are given without a table");
    REFUSE(r.seq.k_pages.n_pages = 1, "k_pages: fields are given without a table");
    REFUSE(r.seq.v_pages.page_tokens = 1, "v_pages: fields are given without a table");
    REFUSE(r.seq.k_pages.page_stride = 1, "k_pages: page_stride is given without a table");
    REFUSE(r.seq.v_pages.page_stride = 1, "v_pages: page_stride is given without a table");
    REFUSE(r.seq.v_pages.reserved = 1, "v_pages: reserved");
    make_paged(&r);
    REFUSE(r.seq.k_pages.reserved = 1, "k_pages: reserved");
    REFUSE(r.seq.k_pages.table = (const int32_t *)(const void *)((char *)r.table + 2), "k_pages: table is not aligned");
    REFUSE(r.seq.k_pages.page_tokens = 0, "k_pages: page_tokens is less than 1");
    REFUSE(r.seq.k_pages.page_tokens = -2, "k_pages: page_tokens is less than 1");
    REFUSE(r.seq.k_pages.n_pages = -1, "k_pages: n_pages is not 0 to 2^31 - 1");
    REFUSE(r.seq.k_pages.n_pages = INT64_C(1) << 31, "k_pages: n_pages is not 0 to 2^31 - 1");
    REFUSE(r.seq.k_pages.head_step = -1, "k_pages: head_step is not 0 to 2^31 - 1");
    REFUSE(r.seq.k_pages.head_step = INT64_C(1) << 31, "k_pages: head_step is not 0 to 2^31 - 1");
    REFUSE(r.seq.v_pages.n_pages = N_PAGES, "v_pages: fields are given without a table");
    REFUSE((r.seq.v_pages = r.seq.k_pages, r.seq.v_pages.page_tokens = 0), "v_pages: page_tokens");
    REFUSE(r.seq.k.data = NULL, "k is NULL");
    REFUSE(r.seq.k_pages.page_stride = INT64_MAX / 4, "k reaches beyond the address space");
    REFUSE(r.seq.v_pages.page_stride = INT64_MIN, "v reaches beyond the address space");
    REFUSE(r.seq.k.token_stride = INT64_MAX, "k reaches beyond the address space");
    REFUSE(r.seq.k_pages.n_pages = 3, "k: entry 0 of the page table is 3, the pool has 3");
    REFUSE(r.seq.k_pages.n_pages = 6, "k: entry 2 of the page table is 6, the pool has 6");
    REFUSE(r.seq.k_pages.n_pages = 0, "entry 0 of the page table is 3, the pool has 0");
    REFUSE((r.seq.v_pages = r.seq.k_pages, r.seq.v_pages.n_pages = 2), "v: entry 0 of the page table is 3");
    REFUSE((r.seq.k_pages.head_step = 4, r.table[5] = -9), "k: entry 5 of the page tables is -9");
    TAKE((r.seq.k_pages.head_step = 4, r.table[3] = -9, r.table[7] = -9));
    TAKE(r.seq.v_pages = r.seq.k_pages);
    TAKE((r.seq.n_k = 0, r.seq.k.data = r.seq.v.data = NULL));
    TAKE((r.seq.n_q = 0, r.table[0] = -1));
    sa_engine_destroy(engine);
}
END_TEST

/* A pool counts as a whole: what is written may not lie in a page that the sequence does not use. */
START_TEST(outputs_in_a_cache) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    make_paged(&r);
    char *pool = (char *)r.k;
    REFUSE((r.table[0] = 0, r.table[1] = 1, r.table[2] = 2, r.seq.o.data = pool + 100), "o overlaps k");
    REFUSE(r.seq.lse.data = pool + N_PAGES * PAGE_TOKENS * KV_HEADS * D - 4, "lse overlaps k");
    REFUSE(r.seq.o.data = r.k_scale + 8, "o overlaps k_scales");
    REFUSE(r.seq.lse.data = r.v_scale, "lse overlaps v_scales");
    TAKE((r.batch.o_type = SA_F16, r.seq.o.data = pool + N_PAGES * PAGE_TOKENS * KV_HEADS * D));
    make_int8(&r);
    REFUSE(r.seq.lse.data = r.v_scale + 1, "lse overlaps v_scales");
    REFUSE((r.batch.o_type = SA_F16, r.seq.o.data = (char *)r.q + sizeof r.q - 2), "o overlaps");
    REFUSE((r.batch.o_type = SA_F16, r.seq.o.token_stride = 3), "overlaps itself");
    sa_engine_destroy(engine);
}
END_TEST

/* Rows of o between those of a page, at the same stride, meet those of the next page. */
START_TEST(outputs_between_the_rows_of_a_page) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    make_right(&r);
    r.seq.n_k = 4;
    r.seq.k.token_stride = 32;
    r.seq.o = (sa_output){r.k + KV_HEADS * D, 32, D};
    r.table[1] = 1;
    r.seq.k_pages = (sa_pages){.table = r.table, .n_pages = 2, .page_stride = 72, .page_tokens = PAGE_TOKENS};
    must_refuse(engine, &r, SA_INVALID, "o overlaps k", "o between the rows of a page");
    sa_engine_destroy(engine);
}
END_TEST

/* Callers of version 0.1 hand over shorter structs; what happens to lie behind them does not count. */
START_TEST(structs_without_types_and_pages) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    make_right(&r);
    r.batch.struct_size = offsetof(sa_batch, scale_type);
    r.batch.sequence_size = offsetof(sa_sequence, k_pages);
    memset((char *)&r.batch + r.batch.struct_size, 0xee, sizeof r.batch - r.batch.struct_size);
    memset((char *)&r.seq + r.batch.sequence_size, 0xee, sizeof r.seq - r.batch.sequence_size);
    ck_assert_msg(sa_batch_forward(engine, &r.batch) == SA_OK, "%s", sa_last_reason());
    ck_assert(!untouched(&r));
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("refused storage");
    TCase *tcase = add_case(suite, "refused storage");
    tcase_add_test(tcase, types);
    tcase_add_test(tcase, alignment_is_that_of_the_element);
    tcase_add_test(tcase, scales);
    tcase_add_test(tcase, pages);
    tcase_add_test(tcase, outputs_in_a_cache);
    tcase_add_test(tcase, outputs_between_the_rows_of_a_page);
    tcase_add_test(tcase, structs_without_types_and_pages);
    return run_suite(suite);
}
