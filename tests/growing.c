/* SPDX-License-Identifier: MIT */
/* A decode loop through the public header alone: two sequences grow token by token in one pool of bf16 pages, which
 * they take when they need them. At the end one causal call over the whole of both gives the same bits. */
#include <sa/sa.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { SEQS = 2, STEPS = 40, HEADS = 4, KV_HEADS = 2, D = 64, PAGE = 16, TABLE = (STEPS + PAGE - 1) / PAGE };
enum { N_PAGES = SEQS * TABLE, K_OR_V = PAGE * KV_HEADS * D };

static uint16_t pool[N_PAGES][2][K_OR_V]; /* a page holds k and v of 16 tokens */
static int32_t table[SEQS][TABLE], n_taken;
static float q[SEQS][STEPS][HEADS * D], o[SEQS][STEPS][HEADS * D], whole[SEQS][STEPS][HEADS * D];

/* Stands for the rest of a model. */
static float number(int i) { return (float)(i * 7919 % 1000) / 500 - 1; }

static int failed(void) { return puts(sa_last_reason()), 1; }

int main(void) {
    sa_engine *engine;
    sa_sequence seqs[SEQS];
    sa_new_tokens tokens[SEQS];
    float k[SEQS][KV_HEADS * D], v[SEQS][KV_HEADS * D];
    sa_batch batch = {SA_BATCH_HEAD,          .n_sequences = SEQS,    .sequences = seqs,
                      .n_query_heads = HEADS, .n_kv_heads = KV_HEADS, .d_qk = D,
                      .k_type = SA_BF16,      .v_type = SA_BF16,      .flags = SA_CAUSAL};
    sa_append append = {SA_APPEND_HEAD, .tokens = tokens}; /* of float keys and values */
    if (sa_engine_create(NULL, &engine) != SA_OK)
        return failed();
    for (int i = 0; i < SEQS; i++)
        seqs[i] = (sa_sequence){
            .n_q = 1,
            .k = {pool[0][0], 0, 0},
            .v = {pool[0][1], 0, 0},
            .k_pages = {.table = table[i], .n_pages = N_PAGES, .page_stride = 2 * K_OR_V, .page_tokens = PAGE},
            .v_pages = {.page_stride = 2 * K_OR_V}};
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < SEQS; i++) {
            for (int c = 0; c < HEADS * D; c++)
                q[i][step][c] = number(c * 3 + step * 5 + i);
            for (int c = 0; c < KV_HEADS * D; c++) {
                k[i][c] = number(c + step * 11 + i);
                v[i][c] = number(c * 13 + step + i);
            }
            if (step % PAGE == 0)
                table[i][step / PAGE] = n_taken++;
            tokens[i] = (sa_new_tokens){.n = 1, .k = {k[i], 0, 0}, .v = {v[i], 0, 0}};
            seqs[i].n_k = step + 1;
            seqs[i].q.data = q[i][step];
            seqs[i].o.data = o[i][step];
        }
        if (sa_cache_append(engine, &batch, &append) != SA_OK || sa_batch_forward(engine, &batch) != SA_OK)
            return failed();
    }
    for (int i = 0; i < SEQS; i++) {
        seqs[i].n_q = STEPS;
        seqs[i].q.data = q[i];
        seqs[i].o.data = whole[i];
    }
    if (sa_batch_forward(engine, &batch) != SA_OK)
        return failed();
    printf("%d pages, %f, %s\n", (int)n_taken, (double)o[1][STEPS - 1][0],
           memcmp(o, whole, sizeof o) == 0 ? "the same bits" : "other bits");
    sa_engine_destroy(engine);
}
