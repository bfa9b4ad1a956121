/* SPDX-License-Identifier: MIT */
/* The parts of `sa run`. */
#ifndef SA_CLI_RUN_H
#define SA_CLI_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

#include "npy.h"
#include "output.h"
#include "safetensors.h"

enum { MAX_KV_LENS = 65536 };

struct run_options {
    const char *files[3]; /* q, k, v as .npy, or one .safetensors */
    int n_files;
    const char *o_path, *lse_path; /* lse_path may be NULL */
    bool heads_first;              /* --layout bhsd */
    bool causal, has_offset, has_window, check, json;
    int64_t q_offset, window[2], n_sink_keys, n_threads;
    float scale; /* 0: the default */
    int64_t *kv_lens;
    int n_kv_lens; /* 0: as long as the arrays */
};

/* Tensors in files as a batch. */
struct run_batch {
    const struct run_options *options;
    struct npy npy[3];
    struct safetensors archive;
    struct output outputs[2]; /* o, lse */
    bool has_lse;
    sa_batch batch;
    sa_sequence *seqs;
    char **names; /* of the sequences in a .safetensors file, else NULL */
};

/* Fills in the options; returns DONE, WRONG_USAGE, or -1 if help was asked for and printed. */
int run_parse(int argc, char **argv, struct run_options *options);

/* Opens and checks the inputs, creates the outputs. Complains and returns false if anything is wrong; close in any
 * case. */
bool run_open(const struct run_options *options, struct run_batch *run);

/* Gives the outputs their names. */
bool run_commit(struct run_batch *run);
void run_close(struct run_batch *run);

/* What the comparison of sampled rows with the float64 reference found. */
struct run_check {
    int n_rows;
    double worst_error, worst_ratio; /* largest |o - exact|, largest |o - exact| / bound */
    bool good;
};

/* Complains and returns false if there is no memory. */
bool run_check_rows(const struct run_batch *run, struct run_check *check);

/* What there is to say at the end. */
struct run_report {
    sa_engine_info engine;
    sa_batch_info info;
    double seconds, peak; /* peak: flop/s */
    struct run_check check;
};

void run_print(const struct run_batch *run, const struct run_report *report);
bool run_print_json(const struct run_batch *run, const struct run_report *report);

#endif
