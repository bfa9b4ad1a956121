/* SPDX-License-Identifier: MIT */
/* The inputs under the rule that the options give. */
#include <stdlib.h>

#include "cli.h"
#include "run.h"

/* ---------------------------------------------------------------- the rule */

static bool apply_kv_lens(struct run_batch *run) {
    const struct run_options *o = run->options;
    const int64_t n_items = run->batch.n_sequences;
    if (o->n_kv_lens && o->n_kv_lens != n_items)
        return complain("--kv-lens: %d lengths, but the batch has %lld item%s", o->n_kv_lens, (long long)n_items,
                        n_items == 1 ? "" : "s");
    for (int i = 0; i < o->n_kv_lens; i++) {
        if (o->kv_lens[i] > run->seqs[i].n_k)
            return complain("--kv-lens: length %d is %lld, but %s has %lld tokens", i + 1, (long long)o->kv_lens[i],
                            o->inputs.files[1], (long long)run->seqs[i].n_k);
        run->seqs[i].n_k = o->kv_lens[i];
    }
    return true;
}

static void set_rule(struct run_batch *run) {
    const struct run_options *o = run->options;
    sa_batch *b = &run->batch;
    b->flags = (o->causal ? SA_CAUSAL : 0) | (o->has_window ? SA_WINDOW : 0) | (o->f16_pairs ? SA_F16_PAIRS : 0);
    b->window_left = o->window[0];
    b->window_right = o->window[1];
    b->n_sink_keys = o->n_sink_keys;
    b->scale = o->scale;
    if (o->store.has_type)
        b->o_type = o->store.type;
    for (int64_t i = 0; i < b->n_sequences && o->has_offset; i++) {
        run->seqs[i].q_offset = o->q_offset;
        run->seqs[i].flags = SA_SEQ_Q_OFFSET;
    }
}

/* ---------------------------------------------------------------- open and close */

bool run_open(const struct run_options *options, struct run_batch *run) {
    *run = (struct run_batch){.options = options};
    if (!attention_open(&options->attention, &run->attention) || !inputs_open(&options->inputs, &run->inputs))
        return false;
    run->batch = run->inputs.batch;
    run->seqs = run->inputs.seqs;
    if (!attention_apply(&run->attention, &run->batch, run->seqs) || !apply_kv_lens(run))
        return false;
    set_rule(run);
    return run_create_outputs(run);
}

bool run_store(sa_engine *engine, struct run_batch *run) {
    const struct store_options *options = &run->options->store;
    if (!store_wanted(options))
        return true;
    if (!store_open(engine, options, &run->batch, &run->store) || !store_fill(engine, &run->store, &run->batch))
        return false;
    run->batch = run->store.batch;
    run->seqs = run->store.seqs;
    return true;
}

void run_close(struct run_batch *run) {
    run_discard_outputs(run);
    store_close(&run->store);
    inputs_close(&run->inputs);
    attention_close(&run->attention);
}
