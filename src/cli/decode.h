/* SPDX-License-Identifier: MIT */
/* The parts of `sa decode`. */
#ifndef SA_CLI_DECODE_H
#define SA_CLI_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

#include "attention.h"
#include "bench_stats.h"
#include "inputs.h"
#include "rows.h"
#include "store.h"

struct decode_options {
    struct inputs_options inputs;
    struct store_options store;
    struct attention_options attention;
    bool check, json;
    int64_t n_prompt, n_steps, n_threads; /* n_steps 0: as many as there are tokens */
    float scale;                          /* 0: the default */
};

/* Sequences of tokens whose k and v go into caches one after the other. */
struct decode {
    const struct decode_options *options;
    struct inputs inputs;
    struct attention attention;
    struct store store; /* the caches */
    sa_batch batch;     /* what the next call computes */
    sa_sequence *seqs;
    int64_t n_steps;
    void *o; /* of all tokens */
};

/* Times, and how much was read in them. */
struct decode_times {
    struct bench_samples steps; /* seconds of each token: appended and attended */
    double prompt, appending, attending;
    double bytes;                  /* of k, v and scales, in `attending` */
    double far_bytes, far_seconds; /* of the steps whose caches are larger than the last-level cache by far */
};

struct decode_check {
    int64_t n_rows, n_different; /* rows whose bits are not those of one prefill */
    struct rows_check rows;      /* of that prefill against float64 */
};

struct decode_report {
    sa_engine_info engine;
    struct decode_times times;
    struct bench_summary step;
    int64_t n_tokens;               /* that were decoded */
    double cache_bytes, last_level; /* largest caches; the last-level caches in use, 0: not known */
    double read_rate;               /* bytes a second of all threads from memory; 0: not measured */
    struct decode_check check;
};

/* Fills in the options; returns DONE, WRONG_USAGE, or -1 if help was asked for and printed. */
int decode_parse(int argc, char **argv, struct decode_options *options);

/* Opens and checks the inputs. Complains and returns false if anything is wrong; close in any case. */
bool decode_open(const struct decode_options *options, struct decode *decode);
void decode_close(struct decode *decode);

/* Makes the caches empty, takes in the prompt, then goes on token by token. */
bool decode_run(sa_engine *engine, struct decode *decode, struct decode_report *report);

/* Once more as a single prefill; complains and returns false if that fails, not if it differs. */
bool decode_compare(sa_engine *engine, const struct decode *decode, struct decode_check *check);

/* A long call, under a bar. Complains and returns false if it failed. */
bool decode_forward(sa_engine *engine, sa_batch *batch);

/* The last token (exclusive) that any step reaches, of sequence i. */
int64_t decode_end(const struct decode *decode, int64_t i);

void decode_print(const struct decode *decode, const struct decode_report *report);
bool decode_print_json(const struct decode *decode, const struct decode_report *report);

#endif
