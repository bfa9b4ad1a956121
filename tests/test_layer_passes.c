/* SPDX-License-Identifier: MIT */
/* What a layer hands on: with a matrix of ones on the diagonal for its weights, q, k and v are parts of x, and y is
 * what sa_batch_forward() makes of them, bit for bit, whatever else is asked for. */
#include <sa/layer.h>

#include <stdlib.h>

#include "engines.h"

enum { HEADS = 4, KV_HEADS = 2, D_QK = 12, D_V = 20, N_Q = HEADS * D_QK, N_K = KV_HEADS * D_QK, N_V = KV_HEADS * D_V };
enum { D = N_Q + N_K + N_V, D_OUT = HEADS * D_V, SEQS = 3, TOKENS = 150 };

struct layers {
    sa_engine *engine;
    sa_layer *layer;
    struct dice dice;
    float x[SEQS * TOKENS * D], y[SEQS * TOKENS * D_OUT], o[SEQS * TOKENS * D_OUT];
    float lse[2][SEQS][HEADS * TOKENS], mass[2][SEQS][TOKENS], m[2][SEQS][HEADS * TOKENS];
    sa_sequence seqs[2][SEQS]; /* the layer's, the engine's */
    sa_layer_tokens tokens[SEQS];
    sa_batch attention[2];
    sa_layer_batch batch;
};

static sa_layer *diagonal(void) {
    static float w[D * D];
    sa_layer *layer;
    memset(w, 0, sizeof w);
    for (int i = 0; i < D; i++)
        w[i * D + i] = 1;
    sa_layer_options options = {.struct_size = sizeof options,
                                .d_model = D,
                                .n_query_heads = HEADS,
                                .n_kv_heads = KV_HEADS,
                                .d_qk = D_QK,
                                .d_v = D_V,
                                .w_qkv = {w, 0}};
    must(sa_layer_create(&options, &layer) == SA_OK, "%s", sa_last_reason());
    return layer;
}

static struct layers *make(uint64_t seed, int n_threads) {
    static const int64_t lengths[SEQS] = {TOKENS, 7, 64};
    struct layers *l = calloc(1, sizeof *l);
    sa_engine_options options = {.struct_size = sizeof options, .n_threads = n_threads, .binding = SA_BIND_NONE};
    must(l && sa_engine_create(&options, &l->engine) == SA_OK, "%s", sa_last_reason());
    l->layer = diagonal();
    l->dice.state = seed;
    for (int i = 0; i < SEQS * TOKENS * D; i++)
        l->x[i] = roll_unit(&l->dice);
    for (int i = 0; i < SEQS; i++) {
        const int64_t n = lengths[i];
        float *x = l->x + (size_t)i * TOKENS * D;
        l->tokens[i] = (sa_layer_tokens){.x = x, .y = l->y + (size_t)i * TOKENS * D_OUT};
        for (int which = 0; which < 2; which++)
            l->seqs[which][i] = (sa_sequence){.n_q = n,
                                              .n_k = n,
                                              .lse = {l->lse[which][i], 0, 0},
                                              .row_max = {l->m[which][i], 0, 0},
                                              .key_mass = {.data = l->mass[which][i]}};
        l->seqs[1][i].q = (sa_tensor){x, D, D_QK};
        l->seqs[1][i].k = (sa_tensor){x + N_Q, D, D_QK};
        l->seqs[1][i].v = (sa_tensor){x + N_Q + N_K, D, D_V};
        l->seqs[1][i].o = (sa_output){l->o + (size_t)i * TOKENS * D_OUT, 0, 0};
    }
    for (int which = 0; which < 2; which++)
        l->attention[which] = (sa_batch){SA_BATCH_HEAD, .n_sequences = SEQS, .sequences = l->seqs[which]};
    l->attention[1].n_query_heads = HEADS;
    l->attention[1].n_kv_heads = KV_HEADS;
    l->attention[1].d_qk = D_QK;
    l->attention[1].d_v = D_V;
    l->batch = (sa_layer_batch){SA_LAYER_BATCH_HEAD, .attention = &l->attention[0], .tokens = l->tokens};
    return l;
}

static void free_layers(struct layers *l) {
    sa_layer_destroy(l->layer);
    sa_engine_destroy(l->engine);
    free(l);
}

/* What the engine does not serve the layer does not, for the engine's reason; y stays. */
static bool must_refuse(struct layers *l, const char *what) {
    char reason[256];
    if (sa_batch_forward(l->engine, &l->attention[1]) != SA_UNSUPPORTED)
        return false;
    strcpy(reason, sa_last_reason());
    memcpy(l->o, l->y, sizeof l->y);
    must(sa_layer_forward(l->engine, l->layer, &l->batch) == SA_UNSUPPORTED, "%s: %s", what, sa_last_reason());
    must(!strcmp(reason, sa_last_reason()), "%s: %s, the engine says %s", what, sa_last_reason(), reason);
    must(!memcmp(l->o, l->y, sizeof l->y), "%s: y was written", what);
    return true;
}

static void must_agree(struct layers *l, const char *what) {
    must(sa_layer_forward(l->engine, l->layer, &l->batch) == SA_OK, "%s: %s", what, sa_last_reason());
    must(sa_batch_forward(l->engine, &l->attention[1]) == SA_OK, "%s: %s", what, sa_last_reason());
    must(!memcmp(l->y, l->o, sizeof l->y), "%s: y", what);
    must(!memcmp(l->lse[0], l->lse[1], sizeof l->lse[0]), "%s: lse", what);
    must(!memcmp(l->m[0], l->m[1], sizeof l->m[0]), "%s: row_max", what);
    must(!memcmp(l->mass[0], l->mass[1], sizeof l->mass[0]), "%s: key_mass", what);
}

#define WITH(change)                                                                                                   \
    do {                                                                                                               \
        sa_batch old_batch[2];                                                                                         \
        sa_sequence old_seqs[2][SEQS];                                                                                 \
        memcpy(old_batch, l->attention, sizeof old_batch);                                                             \
        memcpy(old_seqs, l->seqs, sizeof old_seqs);                                                                    \
        for (int which = 0; which < 2; which++) {                                                                      \
            sa_batch *b = &l->attention[which];                                                                        \
            sa_sequence *s = l->seqs[which];                                                                           \
            (void)b, (void)s;                                                                                          \
            change;                                                                                                    \
        }                                                                                                              \
        if (must_refuse(l, #change)) {                                                                                 \
            memcpy(l->attention, old_batch, sizeof old_batch);                                                         \
            memcpy(l->seqs, old_seqs, sizeof old_seqs);                                                                \
        } else                                                                                                         \
            must_agree(l, #change);                                                                                    \
    } while (0)

START_TEST(every_option) {
    static const float slopes[HEADS] = {0.5f, 0.25f, 0.125f, 0.0625f}, sinks[HEADS] = {0.5f, -1, 2, 0};
    static float bias[TOKENS * TOKENS];
    static unsigned char mask[TOKENS * TOKENS];
    static int32_t documents[TOKENS], positions[TOKENS];
    struct layers *l = make(1, 2);
    for (int i = 0; i < TOKENS * TOKENS; i++) {
        bias[i] = roll_unit(&l->dice);
        mask[i] = !roll_one_in(&l->dice, 3);
    }
    for (int i = 0; i < TOKENS; i++) {
        documents[i] = i / 40;
        positions[i] = 3 * i - 20;
    }
    must_agree(l, "nothing");
    WITH(b->flags |= SA_CAUSAL);
    WITH(b->scale = 0.7f);
    WITH(b->softcap = 3);
    WITH(b->alibi_slopes = slopes);
    WITH(b->sink_logits = sinks);
    WITH((s[0].bias = (sa_grid){bias, 0, TOKENS, 1}));
    WITH((s[2].mask = (sa_grid){mask, 0, TOKENS, 1}));
    WITH((b->flags |= SA_WINDOW, b->window_left = 20, b->window_right = 0));
    WITH(b->n_sink_keys = 2);
    WITH(s[0].k_documents = documents);
    WITH(s[2].n_prefix_keys = 9);
    WITH((s[2].q_positions = positions, s[2].k_positions = positions));
    WITH((s[1].flags = SA_SEQ_Q_OFFSET, s[1].q_offset = 2));
    free_layers(l);
}
END_TEST

/* Keys and values from other tokens than the queries: the first 40 of the same sequence. */
START_TEST(memory) {
    struct layers *l = make(2, 1);
    l->tokens[0].source = SA_LAYER_MEMORY;
    l->tokens[0].memory = l->tokens[0].x;
    l->tokens[0].n_memory = 40;
    l->seqs[0][0].n_k = 0;
    l->seqs[1][0].n_k = 40;
    must_agree(l, "memory");
    WITH(b->flags = SA_CAUSAL);
    free_layers(l);
}
END_TEST

/* 16-bit x and y are the same as their copies as floats, y rounded. */
START_TEST(types) {
    struct layers *l = make(3, 1);
    static uint16_t x[SEQS * TOKENS * D], y[SEQS * TOKENS * D_OUT], o[SEQS * TOKENS * D_OUT];
    for (int i = 0; i < SEQS * TOKENS * D; i++) {
        x[i] = (uint16_t)(bits_of(l->x[i]) >> 16);
        l->x[i] = float_of((uint32_t)x[i] << 16);
    }
    for (int i = 0; i < SEQS; i++) {
        l->tokens[i].x = x + (size_t)i * TOKENS * D;
        l->tokens[i].y = y + (size_t)i * TOKENS * D_OUT;
        l->seqs[1][i].o.data = o + (size_t)i * TOKENS * D_OUT;
    }
    l->batch.x_type = SA_BF16;
    l->batch.y_type = l->attention[1].o_type = SA_F16;
    must_agree(l, "16 bits");
    ck_assert(!memcmp(y, o, sizeof y) && y[0] != 0);
    free_layers(l);
}
END_TEST

/* In chunks through caches of bf16 in pages: what a call over all of the rounded keys gives. */
START_TEST(caches) {
    enum { PAGE = 16, N_PAGES = 10, STEP = 37, N = 150 };
    static uint16_t k_pool[N_PAGES * PAGE * N_K], v_pool[N_PAGES * PAGE * N_V];
    static const int32_t table[N_PAGES] = {3, 9, 1, 0, 7, 2, 8, 5, 6, 4};
    static float whole[N * D_OUT];
    struct layers *l = make(4, 2);
    sa_sequence *s = &l->seqs[0][0];
    l->attention[0].n_sequences = 1;
    l->attention[0].k_type = l->attention[0].v_type = SA_BF16;
    l->attention[0].flags = SA_CAUSAL;
    s->k = (sa_tensor){k_pool, 0, 0};
    s->v = (sa_tensor){v_pool, 0, 0};
    s->k_pages = (sa_pages){.table = table, .n_pages = N_PAGES, .page_tokens = PAGE};
    s->lse = s->row_max = (sa_output){NULL, 0, 0};
    s->key_mass.data = NULL;
    must(sa_layer_forward(l->engine, l->layer, &l->batch) == SA_OK, "%s", sa_last_reason());
    memcpy(whole, l->y, sizeof whole);
    memset(k_pool, 0xff, sizeof k_pool);
    memset(v_pool, 0xff, sizeof v_pool);
    memset(l->y, 0, sizeof l->y);
    for (int64_t done = 0; done < N; done += STEP) {
        s->n_q = N - done < STEP ? N - done : STEP;
        s->n_k = done + s->n_q;
        l->tokens[0].x = l->x + done * D;
        l->tokens[0].y = l->y + done * D_OUT;
        must(sa_layer_forward(l->engine, l->layer, &l->batch) == SA_OK, "%s", sa_last_reason());
    }
    ck_assert(!memcmp(whole, l->y, sizeof whole));
    /* Nothing new: the last 5 queries once more. */
    s->n_q = 5;
    l->tokens[0] = (sa_layer_tokens){.x = l->x + (N - 5) * D, .y = l->y, .source = SA_LAYER_NONE};
    must(sa_layer_forward(l->engine, l->layer, &l->batch) == SA_OK, "%s", sa_last_reason());
    ck_assert(!memcmp(whole + (N - 5) * D_OUT, l->y, 5 * D_OUT * sizeof *whole));
    /* And the engine alone agrees about the rounded keys. */
    sa_sequence alone = *s;
    alone.q = (sa_tensor){l->tokens[0].x, D, D_QK};
    alone.o = (sa_output){l->o, 0, 0};
    sa_batch batch = l->attention[1];
    batch.k_type = batch.v_type = SA_BF16;
    batch.flags = SA_CAUSAL;
    batch.sequences = &alone;
    batch.n_sequences = 1;
    must(sa_batch_forward(l->engine, &batch) == SA_OK, "%s", sa_last_reason());
    ck_assert(!memcmp(l->o, l->y, 5 * D_OUT * sizeof *whole));
    free_layers(l);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("layer_passes");
    TCase *tcase = add_case(suite, "options");
    tcase_add_test(tcase, every_option);
    tcase_add_test(tcase, memory);
    tcase_add_test(tcase, types);
    tcase_add_test(tcase, caches);
    return run_suite(suite);
}
