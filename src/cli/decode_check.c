/* SPDX-License-Identifier: MIT */
/* All tokens once more, as one causal prefill over tensors that were never appended to, and what differs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "decode.h"
#include "elements.h"
#include "types.h"

/* Rows of the type with the same bits; the payload of a NaN is nobody's. */
static bool same_row(const char *a, const char *b, int64_t d, int type) {
    const size_t bytes = type_bytes(type);
    for (int64_t c = 0; c < d; c++, a += bytes, b += bytes)
        if (memcmp(a, b, bytes) != 0 && !(isnan(element_value(type, a)) && isnan(element_value(type, b))))
            return false;
    return true;
}

static void compare(const struct decode *decode, const sa_batch *prefill, struct decode_check *check) {
    const int64_t d = prefill->d_v, bytes = d * (int64_t)type_bytes(prefill->o_type);
    for (int64_t i = 0; i < prefill->n_sequences; i++) {
        const sa_sequence *seq = &prefill->sequences[i];
        const char *a = decode->inputs.seqs[i].o.data, *b = seq->o.data;
        const int64_t n = seq->n_q * prefill->n_query_heads;
        for (int64_t row = 0; row < n; row++, a += bytes, b += bytes)
            check->n_different += !same_row(a, b, d, prefill->o_type);
        check->n_rows += n;
    }
}

static bool prefill(sa_engine *engine, const struct decode *decode, sa_batch *batch, struct decode_check *check) {
    sa_engine_info info = {.struct_size = sizeof info};
    if (!decode_forward(engine, batch))
        return false;
    compare(decode, batch, check);
    if (sa_engine_get_info(engine, &info) != SA_OK)
        return complain("%s", sa_last_reason());
    return rows_compare(batch, info.isa, &check->rows);
}

/* The inputs as far as they were decoded, with other outputs. */
static void cut(const struct decode *decode, sa_sequence *seqs, char *o) {
    const sa_batch *b = &decode->inputs.batch;
    for (int64_t i = 0; i < b->n_sequences; i++) {
        seqs[i] = decode->inputs.seqs[i];
        seqs[i].n_q = seqs[i].n_k = decode_end(decode, i);
        seqs[i].o.data = o;
        o += seqs[i].n_q * b->n_query_heads * b->d_v * (int64_t)type_bytes(b->o_type);
    }
}

static bool store_and_prefill(sa_engine *engine, const struct decode *decode, sa_batch *from,
                              struct decode_check *check) {
    struct store_options options = decode->options->store;
    struct store store = {0};
    options.page_tokens = 0;
    if (!store_wanted(&options))
        return prefill(engine, decode, from, check);
    bool good = store_open(engine, &options, from, &store) && store_fill(engine, &store, from) &&
                prefill(engine, decode, &store.batch, check);
    store_close(&store);
    return good;
}

bool decode_compare(sa_engine *engine, const struct decode *decode, struct decode_check *check) {
    sa_batch from = decode->inputs.batch;
    int64_t n_rows = 0;
    for (int64_t i = 0; i < from.n_sequences; i++)
        n_rows += decode_end(decode, i) * from.n_query_heads;
    sa_sequence *seqs = calloc((size_t)from.n_sequences, sizeof *seqs);
    char *o = malloc((size_t)n_rows * (size_t)from.d_v * type_bytes(from.o_type));
    bool good = (seqs && o) || complain("no memory for a prefill to compare with");
    if (good) {
        cut(decode, seqs, o);
        from.sequences = seqs;
        good = store_and_prefill(engine, decode, &from, check);
    }
    free(seqs);
    free(o);
    return good;
}
