/* SPDX-License-Identifier: MIT */
/* What libsa_layer refuses: a status, a reason that names the field, y and caches untouched. */
#include <sa/layer.h>

#include <math.h>
#include <stdlib.h>

#include "inside.h"

enum { D = 8, HEADS = 4, N = 3 };

struct right {
    float w[4][D * D], b[D], x[N * D], y[N * D], k[N * D], v[N * D];
    sa_layer_options options;
    sa_sequence seq;
    sa_layer_tokens tokens;
    sa_batch attention;
    sa_layer_batch batch;
};

static void make_right(struct right *r) {
    memset(r, 0, sizeof *r);
    memset(r->y, 0x5a, sizeof r->y);
    memset(r->k, 0x5a, sizeof r->k);
    r->options = (sa_layer_options){.struct_size = sizeof r->options,
                                    .d_model = D,
                                    .n_query_heads = HEADS,
                                    .w_q = {r->w[0], 0},
                                    .w_k = {r->w[1], 0},
                                    .w_v = {r->w[2], 0},
                                    .w_o = {r->w[3], 0},
                                    .b_q = r->b};
    r->seq = (sa_sequence){.n_q = N};
    r->tokens = (sa_layer_tokens){.x = r->x, .y = r->y};
    r->attention = (sa_batch){SA_BATCH_HEAD, .n_sequences = 1, .sequences = &r->seq};
    r->batch = (sa_layer_batch){SA_LAYER_BATCH_HEAD, .attention = &r->attention, .tokens = &r->tokens};
}

static bool all_5a(const float *a, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)a)[i] != 0x5a)
            return false;
    return true;
}

#define REFUSE_LAYER(change, wanted, word)                                                                             \
    do {                                                                                                               \
        sa_layer *made = (sa_layer *)1;                                                                                \
        make_right(r);                                                                                                 \
        change;                                                                                                        \
        must(sa_layer_create(&r->options, &made) == wanted && !made, "%s is taken", #change);                          \
        must(strstr(sa_last_reason(), word), "%s: the reason is '%s'", #change, sa_last_reason());                     \
    } while (0)

START_TEST(layers) {
    struct right *r = malloc(sizeof *r);
    const sa_rope rope = {.struct_size = sizeof rope, .d_rotary = 3};
    sa_layer *layer;
    ck_assert_ptr_nonnull(r);
    REFUSE_LAYER(r->options.struct_size = 16, SA_INVALID, "struct_size");
    REFUSE_LAYER(r->options.d_model = 0, SA_INVALID, "d_model");
    REFUSE_LAYER(r->options.d_model = -8, SA_INVALID, "d_model");
    REFUSE_LAYER(r->options.n_query_heads = 0, SA_INVALID, "n_query_heads");
    REFUSE_LAYER(r->options.n_kv_heads = 3, SA_INVALID, "multiple");
    REFUSE_LAYER(r->options.n_query_heads = 3, SA_INVALID, "d_qk");
    REFUSE_LAYER(r->options.d_qk = 577, SA_INVALID, "d_qk");
    REFUSE_LAYER(r->options.d_v = -1, SA_INVALID, "d_v");
    REFUSE_LAYER(r->options.d_out = -1, SA_INVALID, "d_out");
    REFUSE_LAYER((r->options.w_o.data = NULL, r->options.d_out = 7), SA_INVALID, "without w_o");
    REFUSE_LAYER((r->options.w_o.data = NULL, r->options.b_o = r->b), SA_INVALID, "b_o");
    REFUSE_LAYER(r->options.weight_type = 9, SA_INVALID, "weight_type");
    REFUSE_LAYER(r->options.weight_type = SA_I8, SA_UNSUPPORTED, "weight_type");
    REFUSE_LAYER(r->options.vector_type = SA_F64, SA_UNSUPPORTED, "vector_type");
    REFUSE_LAYER(r->options.flags = 4, SA_INVALID, "flags");
    REFUSE_LAYER(r->options.reserved = 1, SA_INVALID, "reserved");
    REFUSE_LAYER(r->options.norm_eps = NAN, SA_INVALID, "norm_eps");
    REFUSE_LAYER(r->options.norm_eps = -1, SA_INVALID, "norm_eps");
    REFUSE_LAYER(r->options.w_k.data = NULL, SA_INVALID, "w_k is missing");
    REFUSE_LAYER(r->options.w_v.stride = 7, SA_INVALID, "w_v has a stride");
    REFUSE_LAYER(r->options.w_v.stride = -8, SA_INVALID, "w_v has a stride");
    REFUSE_LAYER(r->options.w_q.data = (char *)r->w + 2, SA_INVALID, "w_q is not aligned");
    REFUSE_LAYER(r->options.b_q = (char *)r->b + 1, SA_INVALID, "b_q is not aligned");
    REFUSE_LAYER(r->options.w_qkv.data = r->w, SA_INVALID, "w_qkv");
    REFUSE_LAYER(r->options.b_qkv = r->b, SA_INVALID, "b_qkv");
    REFUSE_LAYER(r->w[2][3 * D + 5] = NAN, SA_INVALID, "w_v holds NaN or inf at [3][5]");
    REFUSE_LAYER(r->w[3][0] = INFINITY, SA_INVALID, "w_o holds NaN or inf at [0][0]");
    REFUSE_LAYER(r->b[7] = NAN, SA_INVALID, "b_q holds NaN or inf at [7]");
    REFUSE_LAYER(r->options.rope = &rope, SA_INVALID, "d_rotary");
    ck_assert(sa_layer_create(NULL, &layer) == SA_INVALID && sa_layer_create(&r->options, NULL) == SA_INVALID);
    sa_layer_destroy(NULL);
    free(r);
}
END_TEST

static sa_status refused(struct right *r, sa_engine *engine, const sa_layer *layer, const char *what) {
    const sa_status status = sa_layer_forward(engine, layer, &r->batch);
    must(all_5a(r->y, sizeof r->y) && all_5a(r->k, sizeof r->k), "%s: y or a cache was written", what);
    return status;
}

#define REFUSE(change, wanted, word)                                                                                   \
    do {                                                                                                               \
        make_right(r);                                                                                                 \
        change;                                                                                                        \
        must(refused(r, engine, layer, #change) == wanted, "%s: %s", #change, sa_last_reason());                       \
        must(strstr(sa_last_reason(), word), "%s: the reason is '%s'", #change, sa_last_reason());                     \
    } while (0)

#define WITH_CACHE (r->seq.k.data = r->k, r->seq.v.data = r->v, r->seq.n_k = N)

START_TEST(batches) {
    struct right *r = malloc(sizeof *r);
    static _Alignas(64) char small[128];
    static const int32_t far[N] = {0, 1, INT32_MIN};
    const sa_rope rope = {.struct_size = sizeof rope};
    sa_engine *engine;
    sa_layer *layer, *turned;
    ck_assert_ptr_nonnull(r);
    make_right(r);
    ck_assert(sa_engine_create(NULL, &engine) == SA_OK && sa_layer_create(&r->options, &layer) == SA_OK);
    r->options.rope = &rope;
    ck_assert(sa_layer_create(&r->options, &turned) == SA_OK);
    REFUSE(r->batch.struct_size = 8, SA_INVALID, "struct_size");
    REFUSE(r->batch.tokens_size = 8, SA_INVALID, "tokens_size");
    REFUSE(r->batch.attention = NULL, SA_INVALID, "attention");
    REFUSE(r->batch.tokens = NULL, SA_INVALID, "tokens");
    REFUSE(r->batch.flags = 2, SA_INVALID, "flags");
    REFUSE(r->batch.x_type = SA_I8, SA_UNSUPPORTED, "x_type");
    REFUSE(r->batch.memory_type = 9, SA_INVALID, "memory_type");
    REFUSE(r->batch.y_type = SA_F64, SA_UNSUPPORTED, "y_type");
    REFUSE((r->batch.workspace = small, r->batch.workspace_bytes = sizeof small), SA_INVALID, "workspace has 128");
    REFUSE((r->batch.workspace = small + 4, r->batch.workspace_bytes = SIZE_MAX), SA_INVALID, "64 bytes");
    REFUSE(r->attention.struct_size = 9, SA_INVALID, "sa_batch");
    REFUSE(r->attention.sequence_size = 9, SA_INVALID, "sequence_size");
    REFUSE(r->attention.n_sequences = -1, SA_INVALID, "n_sequences");
    REFUSE(r->attention.sequences = NULL, SA_INVALID, "sequences");
    REFUSE(r->attention.n_query_heads = 2, SA_INVALID, "n_query_heads");
    REFUSE(r->attention.n_kv_heads = 2, SA_INVALID, "n_kv_heads");
    REFUSE(r->attention.d_qk = 3, SA_INVALID, "d_qk");
    REFUSE(r->attention.d_v = 3, SA_INVALID, "d_v");
    REFUSE(r->attention.q_type = SA_F16, SA_INVALID, "q_type");
    REFUSE(r->attention.k_type = SA_F16, SA_INVALID, "k_type");
    REFUSE(r->attention.scale = NAN, SA_INVALID, "scale");
    REFUSE(r->attention.softcap = -1, SA_INVALID, "softcap");
    REFUSE(r->seq.n_q = -1, SA_INVALID, "n_q");
    REFUSE(r->seq.n_k = 2, SA_INVALID, "n_k is 2");
    REFUSE(r->seq.q.data = r->x, SA_INVALID, "q or o");
    REFUSE(r->seq.flags = 64, SA_INVALID, "flags");
    REFUSE((r->seq.partial = r->x, r->seq.partial_bytes = 8), SA_UNSUPPORTED, "partial");
    REFUSE(r->tokens.x = NULL, SA_INVALID, "x is NULL");
    REFUSE(r->tokens.y = NULL, SA_INVALID, "y is NULL");
    REFUSE(r->tokens.x = (char *)r->x + 2, SA_INVALID, "x is not aligned");
    REFUSE(r->tokens.x_stride = INT64_MAX / 8, SA_INVALID, "strides of x");
    REFUSE(r->tokens.source = 3, SA_INVALID, "source");
    REFUSE(r->tokens.reserved = 3, SA_INVALID, "reserved");
    REFUSE(r->tokens.n_memory = 1, SA_INVALID, "memory");
    REFUSE((r->tokens.source = SA_LAYER_MEMORY, r->tokens.n_memory = 2), SA_INVALID, "memory is NULL");
    REFUSE((r->tokens.source = SA_LAYER_MEMORY, r->tokens.n_memory = -2), SA_INVALID, "n_memory");
    REFUSE((WITH_CACHE, r->seq.n_k = 2), SA_INVALID, "3 new keys");
    REFUSE((WITH_CACHE, r->seq.v.data = NULL), SA_INVALID, "v is NULL");
    REFUSE((WITH_CACHE, r->attention.k_type = SA_I8), SA_INVALID, "scale");
    REFUSE((WITH_CACHE, r->attention.k_type = 77), SA_INVALID, "k_type");
    ck_assert(sa_layer_forward(engine, NULL, &r->batch) == SA_INVALID);
    ck_assert(sa_layer_forward(NULL, layer, &r->batch) == SA_INVALID);
    ck_assert(sa_layer_forward(engine, layer, NULL) == SA_INVALID);
    ck_assert(sa_layer_workspace_bytes(engine, layer, &r->batch, NULL) == SA_INVALID);
    sa_layer_destroy(layer);
    layer = turned;
    REFUSE(r->tokens.x_positions = far, SA_INVALID, "x_positions[2]");
    make_right(r);
    must(sa_layer_forward(engine, layer, &r->batch) == SA_OK && !all_5a(r->y, sizeof r->y), "%s", sa_last_reason());
    sa_layer_destroy(layer);
    sa_engine_destroy(engine);
    free(r);
}
END_TEST

/* So many tokens, all of one sequence's, that the bytes of a workspace for them are no 64-bit number: nothing of theirs
 * is looked at. */
START_TEST(too_many_tokens) {
    enum { MANY_HEADS = 65536, WIDE = 128, SEQS = 120 };
    static sa_sequence seqs[SEQS];
    static sa_layer_tokens tokens[SEQS];
    uint16_t *w = calloc((size_t)MANY_HEADS * WIDE, sizeof *w);
    const sa_layer_options options = {.struct_size = sizeof options,
                                      .d_model = 1,
                                      .n_query_heads = MANY_HEADS,
                                      .n_kv_heads = 1,
                                      .d_qk = WIDE,
                                      .weight_type = SA_BF16,
                                      .flags = SA_LAYER_REFERENCE,
                                      .w_q = {w, 0},
                                      .w_k = {w, 0},
                                      .w_v = {w, 0},
                                      .w_o = {w, 0}};
    sa_batch attention = {SA_BATCH_HEAD, .n_sequences = SEQS, .sequences = seqs};
    sa_layer_batch batch = {SA_LAYER_BATCH_HEAD, .attention = &attention, .tokens = tokens};
    float x[1];
    size_t bytes;
    sa_engine *engine;
    sa_layer *layer;
    ck_assert(sa_engine_create(NULL, &engine) == SA_OK && sa_layer_create(&options, &layer) == SA_OK);
    for (int i = 0; i < SEQS; i++) { /* with caches all are one group */
        seqs[i].n_q = seqs[i].n_k = (INT64_C(1) << 31) - (INT64_C(1) << 20);
        seqs[i].k.data = seqs[i].v.data = x;
        tokens[i].x = tokens[i].y = x;
    }
    ck_assert_int_eq(sa_layer_workspace_bytes(engine, layer, &batch, &bytes), SA_INVALID);
    must(strstr(sa_last_reason(), "too many tokens"), "%s", sa_last_reason());
    attention.n_sequences = 8;
    must(sa_layer_workspace_bytes(engine, layer, &batch, &bytes) == SA_OK, "%s", sa_last_reason());
    ck_assert_uint_gt(bytes, (size_t)1 << 59); /* q and the heads' outputs */
    sa_layer_destroy(layer);
    sa_engine_destroy(engine);
    free(w);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("layer_refusals");
    TCase *tcase = add_case(suite, "refusals");
    tcase_add_test(tcase, layers);
    tcase_add_test(tcase, batches);
    tcase_add_test(tcase, too_many_tokens);
    return run_suite(suite);
}
