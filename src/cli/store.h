/* SPDX-License-Identifier: MIT */
/* q, k and v of a batch once more, as a server would keep them: in another element type, quantised to int8, in the
 * shuffled pages of a pool. */
#ifndef SA_CLI_STORE_H
#define SA_CLI_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

struct store_options {
    bool has_type, kv_int8, heads_first;
    int type;            /* sa_type of q, k, v and o, with has_type; otherwise they are what they were */
    int scale_type;      /* of int8 */
    int64_t page_tokens; /* 0: no pages */
};

struct store {
    sa_batch batch;
    sa_sequence *seqs;
    sa_new_tokens *tokens;       /* one for each sequence, for whatever is appended next */
    void *q, *kv[2], *scales[2]; /* of all sequences; q NULL: it is used where it was */
    int32_t *table;
};

/* Is anything to be stored otherwise than it was? */
bool store_wanted(const struct store_options *options);

/* store->batch becomes a batch like `from`, the outputs included, with q in its type and empty caches that have room
 * for the tokens of `from`. Complains and returns false if that fails; close in any case. */
bool store_open(sa_engine *engine, const struct store_options *options, const sa_batch *from, struct store *store);

/* Appends the tokens of `from` to all sequences, which then have n_k tokens. */
bool store_fill(sa_engine *engine, struct store *store, const sa_batch *from);

/* Appends tokens of these types to the caches of `to`; complains and returns false if the engine refuses. */
bool store_append(sa_engine *engine, const sa_batch *to, const sa_new_tokens *tokens, int k_type, int v_type);

void store_close(struct store *store);

#endif
