/* SPDX-License-Identifier: MIT */
/* What the tests of a layer's calls share: a layer of a few heads, tokens, and calls with some of them. */
#ifndef SA_TESTS_LAYER_CALLS_H
#define SA_TESTS_LAYER_CALLS_H

#include <sa/layer.h>

#include "inside.h"

enum { D = 96, HEADS = 6, KV_HEADS = 2, D_HEAD = 16, D_KV = KV_HEADS * D_HEAD, TOKENS = 600, MOST_SEQS = 16 };

/* Those of OpenBLAS, if it is the one. */
extern __attribute__((weak)) int openblas_get_num_threads(void);
extern __attribute__((weak)) void openblas_set_num_threads(int n);

static float x[TOKENS * D];

static inline sa_engine *engine_of_threads(int n_threads) {
    sa_engine *engine;
    sa_engine_options options = {.struct_size = sizeof options, .n_threads = n_threads, .binding = SA_BIND_NONE};
    must(sa_engine_create(&options, &engine) == SA_OK, "%s", sa_last_reason());
    return engine;
}

static inline void fill(struct dice *dice, float *to, int n, float size) {
    for (int i = 0; i < n; i++)
        to[i] = roll_unit(dice) * size;
}

/* With everything in it, or not normed and turned. */
static inline sa_layer *new_layer_of(bool finished, uint32_t flags) {
    static float w_qkv[(D + 2 * D_KV) * D], b_qkv[D + 2 * D_KV], w_o[D * D], norm[D_HEAD];
    struct dice dice = {5};
    sa_layer *layer;
    const sa_rope rope = {.struct_size = sizeof rope};
    fill(&dice, x, TOKENS * D, 1);
    fill(&dice, w_qkv, (D + 2 * D_KV) * D, 0.2f);
    fill(&dice, b_qkv, D + 2 * D_KV, 1);
    fill(&dice, w_o, D * D, 0.2f);
    fill(&dice, norm, D_HEAD, 2);
    sa_layer_options options = {.struct_size = sizeof options,
                                .d_model = D,
                                .n_query_heads = HEADS,
                                .n_kv_heads = KV_HEADS,
                                .d_qk = D_HEAD,
                                .flags = flags,
                                .w_qkv = {w_qkv, 0},
                                .b_qkv = b_qkv,
                                .w_o = {w_o, 0},
                                .q_norm = finished ? norm : NULL,
                                .k_norm = finished ? norm : NULL,
                                .rope = finished ? &rope : NULL};
    must(sa_layer_create(&options, &layer) == SA_OK, "%s", sa_last_reason());
    return layer;
}

static inline sa_layer *new_layer(bool finished) { return new_layer_of(finished, 0); }

/* Causal sequences of so many tokens, one after the other from token `first` of x on. */
static inline sa_status try_forward(sa_engine *engine, const sa_layer *layer, const int64_t *lengths, int n,
                                    int64_t first, float *y) {
    sa_sequence seqs[MOST_SEQS];
    sa_layer_tokens tokens[MOST_SEQS];
    sa_batch attention = {SA_BATCH_HEAD, .n_sequences = n, .sequences = seqs, .flags = SA_CAUSAL};
    const sa_layer_batch batch = {SA_LAYER_BATCH_HEAD, .attention = &attention, .tokens = tokens};
    for (int i = 0; i < n; first += lengths[i], y += lengths[i] * D, i++) {
        seqs[i] = (sa_sequence){.n_q = lengths[i]};
        tokens[i] = (sa_layer_tokens){.x = x + first * D, .y = y};
    }
    return sa_layer_forward(engine, layer, &batch);
}

static inline void forward(sa_engine *engine, const sa_layer *layer, const int64_t *lengths, int n, int64_t first,
                           float *y) {
    must(try_forward(engine, layer, lengths, n, first, y) == SA_OK, "%s", sa_last_reason());
}

static inline void must_be_same(const float *a, const float *b, int64_t n, const char *what) {
    for (int64_t i = 0; i < n; i++)
        must(bits_of(a[i]) == bits_of(b[i]), "%s: token %d, dimension %d: %.9g, %.9g", what, (int)(i / D), (int)(i % D),
             (double)a[i], (double)b[i]);
}

#endif
