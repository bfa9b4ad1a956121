/* SPDX-License-Identifier: MIT */
/* What is refused: a status, a reason that names the field, outputs untouched. And layouts that look odd but are right.
 */
#include <math.h>

#include "refused.h"

START_TEST(fields_of_a_batch) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    make_right(&r);
    REFUSE(r.batch.n_sequences = -1, "n_sequences");
    REFUSE(r.batch.sequences = NULL, "sequences");
    REFUSE(r.batch.n_query_heads = 0, "n_query_heads");
    REFUSE(r.batch.n_query_heads = -4, "n_query_heads");
    REFUSE(r.batch.n_kv_heads = -2, "n_kv_heads");
    REFUSE(r.batch.n_kv_heads = 3, "multiple");
    REFUSE(r.batch.n_kv_heads = 8, "n_kv_heads");
    REFUSE(r.batch.d_qk = 0, "d_qk");
    REFUSE(r.batch.d_qk = 577, "d_qk");
    REFUSE(r.batch.d_v = -1, "d_v");
    REFUSE(r.batch.d_v = 577, "d_v");
    REFUSE(r.batch.q_type = 5, "q_type");
    REFUSE(r.batch.o_type = -1, "o_type");
    REFUSE(r.batch.scale = NAN, "scale");
    REFUSE(r.batch.scale = -INFINITY, "scale");
    REFUSE(r.batch.flags = 16, "flags");
    REFUSE(r.batch.window_left = 3, "SA_WINDOW");
    REFUSE((r.batch.flags = SA_WINDOW, r.batch.window_left = -2), "window_left");
    REFUSE((r.batch.flags = SA_WINDOW, r.batch.window_right = -2), "window_right");
    REFUSE(r.batch.n_sink_keys = -1, "n_sink_keys");
    r.batch.k_type = SA_F64;
    must_refuse(engine, &r, SA_UNSUPPORTED, "k_type", "float64");
    ck_assert(sa_batch_forward(engine, NULL) == SA_INVALID);
    ck_assert(sa_batch_forward(NULL, &r.batch) == SA_INVALID);
    ck_assert(sa_batch_forward(engine, &r.batch) == SA_OK && !untouched(&r));
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(fields_of_a_sequence) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    make_right(&r);
    REFUSE(r.seq.n_q = -1, "n_q");
    REFUSE(r.seq.n_k = INT64_C(1) << 31, "n_k");
    REFUSE(r.seq.q.data = NULL, "q is NULL");
    REFUSE(r.seq.k.data = NULL, "k is NULL");
    REFUSE(r.seq.v.data = NULL, "v is NULL");
    REFUSE(r.seq.o.data = NULL, "o is NULL");
    REFUSE(r.seq.q.data = (char *)r.q + 2, "aligned");
    REFUSE(r.seq.q_offset = 1, "SA_SEQ_Q_OFFSET");
    REFUSE((r.seq.flags = SA_SEQ_Q_OFFSET, r.seq.q_offset = INT64_MIN), "q_offset");
    REFUSE(r.seq.flags = 2, "flags");
    REFUSE(r.seq.reserved = 1, "reserved");
    REFUSE(r.seq.k.token_stride = INT64_MAX / 2, "strides");
    REFUSE(r.seq.k.token_stride = INT64_MIN / 2, "strides");
    REFUSE(r.seq.v.head_stride = INT64_C(1) << 61, "strides");
    sa_engine_destroy(engine);
}
END_TEST

/* Numbers that are scores are multiplied by log2(e). */
START_TEST(what_happens_to_scores) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    float numbers[HEADS] = {0, 1, 2, 3};
    struct right r;
    make_right(&r);
    REFUSE(r.batch.softcap = NAN, "softcap is");
    REFUSE(r.batch.softcap = -1, "softcap is -1");
    REFUSE(r.batch.softcap = 0x1p127f, "softcap is 1.7");
    REFUSE(r.batch.scale = -0x1p127f, "scale is -1.7");
    REFUSE(r.batch.scale = INFINITY, "scale is inf");
    REFUSE((numbers[2] = NAN, r.seq.alibi_slopes = numbers), "alibi_slopes[2]");
    REFUSE((numbers[2] = -3e38f, r.batch.alibi_slopes = numbers), "alibi_slopes[2]");
    REFUSE((numbers[2] = -INFINITY, r.seq.alibi_slopes = numbers), "alibi_slopes[2]");
    REFUSE((numbers[2] = INFINITY, r.seq.sink_logits = numbers), "sink_logits[2]");
    REFUSE((numbers[2] = 3e38f, r.batch.sink_logits = numbers), "sink_logits[2]");
    REFUSE(r.seq.bias = ((sa_grid){(char *)r.v + 2, 0, 0, 0}), "bias is not aligned");
    REFUSE(r.seq.bias = ((sa_grid){r.v, INT64_MAX / 2, 0, 0}), "bias reaches beyond");
    REFUSE(r.seq.bias = ((sa_grid){NULL, 0, 1, 0}), "bias has strides");
    numbers[2] = -INFINITY;
    r.seq.sink_logits = numbers;
    r.seq.bias = (sa_grid){r.v, 0, 0, 0};
    r.batch.softcap = 1;
    ck_assert_msg(sa_batch_forward(engine, &r.batch) == SA_OK, "%s", sa_last_reason());
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(memory_that_is_shared) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    make_right(&r);
    REFUSE(r.seq.o.data = r.q, "overlaps");
    REFUSE(r.seq.o.data = r.k + 3, "overlaps");
    REFUSE(r.seq.lse.data = r.v, "overlaps");
    REFUSE(r.seq.lse.data = r.o + 1, "overlaps");
    REFUSE(r.seq.o.token_stride = 2, "overlaps itself");
    REFUSE(r.seq.o.head_stride = 3, "overlaps itself");
    REFUSE(r.seq.lse.head_stride = 1, "overlaps itself");
    r.seq.k.data = r.v; /* inputs may share */
    ck_assert(sa_batch_forward(engine, &r.batch) == SA_OK);
    sa_engine_destroy(engine);
}
END_TEST

/* What is read beside q, k and v may not be written either. */
START_TEST(arrays_that_are_shared) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    const sa_row rows[1] = {{0, 0, 0}};
    float weights[HEADS * N_K], mass[N_K];
    struct right r;
    make_right(&r);
    REFUSE(r.seq.mask = ((sa_grid){r.o, 0, 0, 1}), "o overlaps mask");
    REFUSE(r.seq.mask = ((sa_grid){r.lse + N_Q * HEADS, 0, 0, -1}), "lse overlaps mask");
    REFUSE((r.seq.bias = (sa_grid){weights, 1, 0, 0}, r.seq.weights = (sa_row_weights){weights, rows, 1, 0}),
           "weights overlaps bias");
    REFUSE(r.seq.q_positions = (int32_t *)r.o, "o overlaps q_positions");
    REFUSE(r.seq.k_positions = (int32_t *)r.lse, "lse overlaps k_positions");
    REFUSE(r.seq.k_documents = (int32_t *)r.o, "o overlaps k_documents");
    REFUSE((r.seq.k_documents = r.table, r.seq.q_documents = (int32_t *)r.o), "o overlaps q_documents");
    REFUSE((r.seq.tree_parents = (int32_t *)r.o, r.seq.n_tree_keys = N_Q), "o overlaps tree_parents");
    REFUSE(r.seq.alibi_slopes = r.lse, "lse overlaps alibi_slopes");
    REFUSE((r.batch.sink_logits = mass, r.seq.key_mass.data = mass), "key_mass overlaps sink_logits");
    REFUSE(r.seq.weights = ((sa_row_weights){weights, (sa_row *)(void *)weights, 1, 0}),
           "weights overlaps weights.rows");
    REFUSE((r.seq.key_mass.data = mass, r.seq.key_mass.heads = (unsigned char *)mass),
           "key_mass overlaps key_mass.heads");
    r.seq.mask = (sa_grid){r.k, 0, 0, 1}; /* inputs may share */
    r.seq.alibi_slopes = r.q;
    ck_assert_msg(sa_batch_forward(engine, &r.batch) == SA_OK, "%s", sa_last_reason());
    sa_engine_destroy(engine);
}
END_TEST

/* A list is not read further than it can be right. */
START_TEST(lists_that_are_too_long) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    const int32_t blocks[3] = {0, 1, 2};
    const int64_t begin[2] = {0, INT64_MAX}, right[2] = {0, 3};
    struct right r;
    make_right(&r);
    REFUSE(r.seq.blocks = ((sa_block_sparsity){{begin, blocks, 0}, {NULL, NULL, 0}, N_Q, 2}), "there are 3");
    r.seq.blocks = (sa_block_sparsity){{right, blocks, 0}, {NULL, NULL, 0}, N_Q, 2};
    ck_assert_msg(sa_batch_forward(engine, &r.batch) == SA_OK, "%s", sa_last_reason());
    sa_engine_destroy(engine);
}
END_TEST

/* Nobody goes along an axis of one element, nor of none. */
START_TEST(grids_of_one_key) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    float bias = 1;
    struct right r;
    for (int64_t n_k = 0; n_k < 2; n_k++) {
        make_right(&r);
        r.seq.n_k = n_k;
        r.seq.n_q = 1;
        r.seq.first_key = 1024;
        r.seq.bias = (sa_grid){&bias, 0, INT64_MAX / 4, INT64_MIN / 4};
        r.seq.mask = (sa_grid){&bias, 0, INT64_MAX, INT64_MIN};
        ck_assert_msg(sa_batch_forward(engine, &r.batch) == SA_OK, "%s", sa_last_reason());
        r.seq.n_q = 0;
        r.seq.n_k = 3;
        ck_assert_msg(sa_batch_forward(engine, &r.batch) == SA_OK, "%s", sa_last_reason());
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Strides that look odd and are right. */
START_TEST(memory_that_is_interleaved) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    float all[N_K * 64], plain[N_Q * HEADS * D];
    for (int i = 0; i < N_K * 64; i++)
        all[i] = (float)(i * 7 % 11);
    sa_sequence seq = {
        .n_q = N_Q, .n_k = N_Q, .q = {all, 64, 4}, .k = {all + 16, 64, 4}, .v = {all + 24, 64, 4}, .o = {plain, 0, 0}};
    sa_batch batch = {SA_BATCH_HEAD,          .n_sequences = 1,       .sequences = &seq,
                      .n_query_heads = HEADS, .n_kv_heads = KV_HEADS, .d_qk = D};
    ck_assert_msg(sa_batch_forward(engine, &batch) == SA_OK, "%s", sa_last_reason());
    seq.o = (sa_output){all + 32, 64, 4}; /* [token][q k v o] */
    ck_assert_msg(sa_batch_forward(engine, &batch) == SA_OK, "%s", sa_last_reason());
    for (int t = 0; t < N_Q; t++)
        ck_assert_int_eq(memcmp(all + t * 64 + 32, plain + t * 16, 16 * sizeof(float)), 0);
    seq.o = (sa_output){all + 30, 64, 4}; /* two floats into v */
    ck_assert(sa_batch_forward(engine, &batch) == SA_INVALID);
    seq.k = (sa_tensor){all + 16, 64, 4};
    seq.n_q = 1; /* one token: its stride does not matter */
    seq.o = (sa_output){plain, 1, 0};
    ck_assert_msg(sa_batch_forward(engine, &batch) == SA_OK, "%s", sa_last_reason());
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- versions of structs */

/* The struct at the end of a larger zeroed one, so that the size says more than there is. */
START_TEST(sizes_of_structs) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct {
        sa_batch batch;
        unsigned char more[64];
    } large;
    struct right r;
    make_right(&r);
    for (size_t size = 0; size < sizeof(sa_batch); size++) {
        if (size == offsetof(sa_batch, scale_type) || size == offsetof(sa_batch, softcap)) /* as it has been */
            continue;
        r.batch.struct_size = size;
        must_refuse(engine, &r, SA_INVALID, "sa_batch", "a truncated sa_batch");
    }
    for (size_t size = 0; size < sizeof(sa_sequence); size++) {
        if (size == offsetof(sa_sequence, k_pages) || size == offsetof(sa_sequence, q_positions))
            continue;
        r.batch.sequence_size = size;
        must_refuse(engine, &r, SA_INVALID, "sa_sequence", "a truncated sa_sequence");
    }
    memset(&large, 0, sizeof large);
    for (size_t more = 1; more <= 64; more++) {
        large.batch = r.batch;
        large.batch.struct_size = sizeof(sa_batch) + more;
        ck_assert(sa_batch_forward(engine, &large.batch) == SA_OK);
        large.more[more - 1] = 1;
        ck_assert(sa_batch_forward(engine, &large.batch) == SA_UNSUPPORTED);
        large.more[more - 1] = 0;
    }
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(larger_sequences) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct {
        sa_sequence seq;
        uint64_t more;
    } two[2];
    struct right r, s;
    make_right(&r);
    make_right(&s);
    memset(two, 0, sizeof two);
    two[0].seq = r.seq;
    two[1].seq = s.seq;
    r.batch.n_sequences = 2;
    r.batch.sequences = &two[0].seq;
    r.batch.sequence_size = sizeof two[0];
    ck_assert(sa_batch_forward(engine, &r.batch) == SA_OK);
    ck_assert(!untouched(&r) && !untouched(&s));
    two[1].more = 1;
    ck_assert(sa_batch_forward(engine, &r.batch) == SA_UNSUPPORTED);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(options_of_an_engine) {
    sa_engine *engine;
    sa_engine_options o = {.struct_size = sizeof o};
    for (size_t size = 0; size < sizeof o; size++) {
        if (size == offsetof(sa_engine_options, topology)) /* what it was before that field came */
            continue;
        o.struct_size = size;
        ck_assert(sa_engine_create(&o, &engine) == SA_INVALID && engine == NULL);
    }
    static const sa_engine_options wrong[] = {{sizeof o, -1, 0, 0, 0, NULL},      {sizeof o, 1025, 0, 0, 0, NULL},
                                              {sizeof o, 0, 4, 0, 0, NULL},       {sizeof o, 0, -1, 0, 0, NULL},
                                              {sizeof o, 0, 0, 6, 0, NULL},       {sizeof o, 0, 0, 0, 1, NULL},
                                              {sizeof o, 0, 0, 0, 0, "nonsense"}, {sizeof o, 0, 0, 0, 0, "/none.xml"}};
    for (int i = 0; i < 8; i++)
        ck_assert(sa_engine_create(&wrong[i], &engine) == SA_INVALID && engine == NULL && *sa_last_reason());
    ck_assert(sa_engine_create(NULL, NULL) == SA_INVALID);
    ck_assert(sa_engine_create(NULL, &engine) == SA_OK);
    sa_engine_destroy(engine);
    sa_engine_destroy(NULL);
}
END_TEST

START_TEST(descriptions_of_any_length) {
    sa_engine *engine = engine_with(SA_ISA_GENERIC, 1);
    struct right r;
    make_right(&r);
    size_t length, again;
    char text[4096], part[64];
    ck_assert(sa_engine_describe(engine, NULL, 0, &length) == SA_OK && length > 100);
    ck_assert(sa_engine_describe(engine, text, sizeof text, &again) == SA_OK && again == length &&
              strlen(text) == length);
    for (size_t room = 1; room < sizeof part; room++) {
        memset(part, 'x', sizeof part);
        ck_assert(sa_engine_describe(engine, part, room, NULL) == SA_OK);
        ck_assert(strlen(part) == room - 1 && memcmp(part, text, room - 1) == 0);
    }
    ck_assert(sa_engine_describe(engine, NULL, 5, NULL) == SA_INVALID);
    ck_assert(sa_batch_describe(engine, &r.batch, text, sizeof text, &length) == SA_OK && strstr(text, "kernel"));
    ck_assert_ptr_null(strstr(text, "hide")); /* all pairs that are counted are visible, but for a mask */
    r.seq.mask = (sa_grid){r.k, 0, 0, 1};
    ck_assert(sa_batch_describe(engine, &r.batch, text, sizeof text, &length) == SA_OK && strstr(text, "hide"));
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("refusals");
    TCase *tcase = add_case(suite, "refusals");
    tcase_add_test(tcase, fields_of_a_batch);
    tcase_add_test(tcase, fields_of_a_sequence);
    tcase_add_test(tcase, what_happens_to_scores);
    tcase_add_test(tcase, memory_that_is_shared);
    tcase_add_test(tcase, arrays_that_are_shared);
    tcase_add_test(tcase, lists_that_are_too_long);
    tcase_add_test(tcase, grids_of_one_key);
    tcase_add_test(tcase, memory_that_is_interleaved);
    tcase_add_test(tcase, sizes_of_structs);
    tcase_add_test(tcase, larger_sequences);
    tcase_add_test(tcase, options_of_an_engine);
    tcase_add_test(tcase, descriptions_of_any_length);
    return run_suite(suite);
}
