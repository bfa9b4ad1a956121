/* SPDX-License-Identifier: MIT */
/* What a layer is made of. */
#ifndef SA_LAYER_LAYER_H
#define SA_LAYER_LAYER_H

#include "memory.h"
#include "turn.h"

/* One product's weights: n_in rows of n_out, or the other way round if `turned`. */
struct sa_weights {
    const void *data;
    int64_t stride;
    const float *bias; /* [n_out]; NULL: none */
    int type, n_in, n_out;
    bool turned;
};

/* Memory of a call, kept for the next one. */
struct sa_spare {
    struct sa_buffer buffer;
};

enum { SA_SPARES = 64 };

struct sa_layer {
    int d_model, d_memory, d_out;
    int n_query_heads, n_kv_heads, d_qk, d_v;
    struct sa_weights q, k, v, o; /* o.data NULL: none */
    const float *q_norm, *k_norm; /* NULL: none */
    float norm_eps;
    bool turns;
    struct sa_turn turn;
    void *memory; /* of what is copied */

    struct sa_spare *spares[SA_SPARES]; /* taken and given back by exchange, so that no fork() can leave them locked */
};

/* Memory for a call, NULL if there is none. */
struct sa_spare *sa_spare_take(struct sa_layer *layer, size_t bytes);
void sa_spare_give_back(struct sa_layer *layer, struct sa_spare *spare);

#endif
