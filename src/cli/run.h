/* SPDX-License-Identifier: MIT */
/* The parts of `sa run`. */
#ifndef SA_CLI_RUN_H
#define SA_CLI_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

#include "attention.h"
#include "inputs.h"
#include "output.h"
#include "rows.h"
#include "store.h"

enum { MAX_KV_LENS = 65536, MAX_ROWS = 65536 };

/* The files that may be written. */
enum { OUTPUT_O, OUTPUT_LSE, OUTPUT_ROW_MAX, OUTPUT_WEIGHTS, OUTPUT_KEY_MASS, N_OUTPUTS };

struct run_options {
    struct inputs_options inputs;
    struct store_options store;
    struct attention_options attention;
    const char *paths[N_OUTPUTS]; /* all but that of o may be NULL */
    bool causal, has_offset, has_window, f16_pairs, check, json;
    int64_t q_offset, window[2], n_sink_keys, n_threads;
    float scale; /* 0: the default */
    int64_t *kv_lens;
    int n_kv_lens; /* 0: as long as the arrays */
    int64_t *rows; /* queries whose weights are wanted */
    int n_rows;
};

/* Tensors in files as a batch. */
struct run_batch {
    const struct run_options *options;
    struct inputs inputs;
    struct store store;
    struct attention attention;
    struct output outputs[N_OUTPUTS];
    sa_row *rows;   /* whose weights are wanted, of every sequence */
    sa_batch batch; /* the one that is computed, of the inputs' tensors or those in the store */
    sa_sequence *seqs;
};

/* Fills in the options; returns DONE, WRONG_USAGE, or -1 if help was asked for and printed. */
int run_parse(int argc, char **argv, struct run_options *options);

/* Opens and checks the inputs, creates the outputs. Complains and returns false if anything is wrong; close in any
 * case. */
bool run_open(const struct run_options *options, struct run_batch *run);

/* Stores q, k and v as the options want them. */
bool run_store(sa_engine *engine, struct run_batch *run);

void run_close(struct run_batch *run);

/* Creates the outputs, gives them their names, or removes what has none. */
bool run_create_outputs(struct run_batch *run);
bool run_commit(struct run_batch *run);
void run_discard_outputs(struct run_batch *run);

/* What there is to say at the end. */
struct run_report {
    sa_engine_info engine;
    sa_batch_info info;
    double seconds, peak; /* peak: flop/s */
    struct rows_check check;
};

void run_print(const struct run_batch *run, const struct run_report *report);
bool run_print_json(const struct run_batch *run, const struct run_report *report);

#endif
