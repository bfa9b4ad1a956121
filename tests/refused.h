/* SPDX-License-Identifier: MIT */
/* A right batch, to be spoilt: what is refused gives a status and a reason that names the field, and leaves the outputs
 * untouched. */
#ifndef SA_TESTS_REFUSED_H
#define SA_TESTS_REFUSED_H

#include "engines.h"

enum { N_Q = 3, N_K = 5, HEADS = 4, KV_HEADS = 2, D = 4, PAGE_TOKENS = 2, N_PAGES = 7 };

struct right {
    float q[N_Q * HEADS * D], k[N_PAGES * PAGE_TOKENS * KV_HEADS * D], v[N_PAGES * PAGE_TOKENS * KV_HEADS * D],
        o[N_Q * HEADS * D], lse[N_Q * HEADS];
    float k_scale[N_PAGES * PAGE_TOKENS * KV_HEADS], v_scale[N_PAGES * PAGE_TOKENS * KV_HEADS];
    int32_t table[8];
    sa_sequence seq;
    sa_batch batch;
    void (*make)(struct right *right); /* makes it right again */
};

static inline void make_right(struct right *r) {
    memset(r, 0, sizeof *r);
    memset(r->o, 0x5a, sizeof r->o);
    memset(r->lse, 0x5a, sizeof r->lse);
    r->seq = (sa_sequence){.n_q = N_Q,
                           .n_k = N_K,
                           .q = {r->q, 0, 0},
                           .k = {r->k, 0, 0},
                           .v = {r->v, 0, 0},
                           .o = {r->o, 0, 0},
                           .lse = {r->lse, 0, 0}};
    r->batch = (sa_batch){SA_BATCH_HEAD,          .n_sequences = 1,       .sequences = &r->seq,
                          .n_query_heads = HEADS, .n_kv_heads = KV_HEADS, .d_qk = D};
    r->make = make_right;
}

static inline bool untouched(const struct right *r) {
    const unsigned char *o = (const unsigned char *)r->o, *lse = (const unsigned char *)r->lse;
    for (size_t i = 0; i < sizeof r->o; i++)
        if (o[i] != 0x5a)
            return false;
    for (size_t i = 0; i < sizeof r->lse; i++)
        if (lse[i] != 0x5a)
            return false;
    return true;
}

static inline void must_refuse(sa_engine *engine, struct right *r, sa_status wanted, const char *word,
                               const char *what) {
    sa_batch_info info = {.struct_size = sizeof info};
    sa_status status = sa_batch_forward(engine, &r->batch);
    must(status == wanted, "%s: %s (%s)", what, sa_status_name(status), sa_last_reason());
    must(strstr(sa_last_reason(), word) != NULL, "%s: the reason is '%s', without '%s'", what, sa_last_reason(), word);
    must(untouched(r), "%s: an output was written", what);
    must(sa_batch_get_info(engine, &r->batch, &info) == wanted, "%s: get_info takes it", what);
    r->make(r);
}

#define REFUSE(change, word)                                                                                           \
    do {                                                                                                               \
        change;                                                                                                        \
        must_refuse(engine, &r, SA_INVALID, word, #change);                                                            \
    } while (0)

#endif
