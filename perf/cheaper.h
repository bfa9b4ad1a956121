/* SPDX-License-Identifier: MIT */
/* Cheaper patterns of attention against the exact result, on tensors in files: the parts of `cheaper`. */
#ifndef CHEAPER_H
#define CHEAPER_H

#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

#include "bench_stats.h"
#include "inputs.h"

enum cheaper_kind {
    CHEAPER_EXACT,   /* everything */
    CHEAPER_WINDOW,  /* `size` keys around the query; with causality up to the query */
    CHEAPER_SINK,    /* the same and the first `sinks` keys */
    CHEAPER_STRIDED, /* blocks: its own and every `size`th from there */
    CHEAPER_TOP, /* the `size` blocks with most of the exact weight, which nobody knows beforehand: what any list could
                    keep at best */
    CHEAPER_MEANS, /* `size` blocks: its own and those with the largest product of mean query and mean key */
    CHEAPER_KINDS
};

struct cheaper_pattern {
    int kind;
    int64_t size, sinks;
};

extern const char *const cheaper_kind_names[CHEAPER_KINDS];

/* Does it take lists of blocks? */
bool cheaper_has_lists(const struct cheaper_pattern *pattern);

/* ---------------------------------------------------------------- command line */

enum { CHEAPER_MOST_PATTERNS = 64 };

struct cheaper_options {
    struct inputs_options inputs;
    struct cheaper_pattern patterns[CHEAPER_MOST_PATTERNS];
    int n_patterns; /* 0: a choice of them */
    int threads, repeats;
    int64_t block; /* tokens; 0: a choice */
    double seconds;
    bool causal;
};

/* 0 run, 1 help was printed, 2 usage error, reported. */
int cheaper_options_parse(struct cheaper_options *options, int argc, char **argv);

/* Fills in block and patterns, where they were left open, for sequences of up to n keys. */
void cheaper_options_choose(struct cheaper_options *options, int64_t n);

/* ---------------------------------------------------------------- cases */

/* Outputs of all rows of a batch. */
struct cheaper_outputs {
    float *o, *lse;
};

bool cheaper_outputs_open(struct cheaper_outputs *outputs, const sa_batch *batch);
void cheaper_outputs_close(struct cheaper_outputs *outputs);

/* Is there no NaN in them? Complains if there is: nothing can be compared with it. */
bool cheaper_outputs_are_numbers(const struct cheaper_outputs *outputs, const sa_batch *batch);

/* Makes the sequences write there. */
void cheaper_outputs_set(const struct cheaper_outputs *outputs, const sa_batch *batch, sa_sequence *seqs);

/* Lists of one sequence. */
struct cheaper_lists {
    int64_t *begin;
    int32_t *blocks;
};

/* The same tensors, of which queries see what a pattern leaves them. */
struct cheaper_case {
    struct cheaper_pattern pattern;
    sa_batch batch;
    sa_sequence *seqs;
    struct cheaper_lists *lists; /* one a sequence */
    double pairs;
    struct bench_samples seconds;
    double mass_mean, mass_min;   /* share of the exact weights that lies on kept keys, of the rows */
    double error_mean, error_max; /* |o - exact o| / |exact o|, of the rows */
    double error_share;           /* largest error against float64 found, as a share of its bound */
};

/* `exact`: the batch that is to be made cheaper, with outputs. Complains and returns false if it fails; close in any
 * case. */
bool cheaper_case_open(struct cheaper_case *c, const struct cheaper_pattern *pattern, const sa_batch *exact,
                       int64_t block, sa_engine *engine);
void cheaper_case_close(struct cheaper_case *c);

/* Which blocks of keys a block of queries keeps: keep[(kv_head * n_q_blocks + b) * n_k_blocks + c]. */
struct cheaper_choice {
    unsigned char *keep;
    int64_t block, n_q_blocks, n_k_blocks;
};

/* The key blocks at the positions of query block b, and the last one that it may see. */
struct cheaper_own {
    int64_t first, last, limit;
};
struct cheaper_own cheaper_own_blocks(const struct cheaper_choice *choice, const sa_batch *batch,
                                      const sa_sequence *seq, int64_t b);

/* Fills in choice->keep for a sequence of the batch. False, with a complaint: no memory, or the engine refuses. */
bool cheaper_choose(struct cheaper_choice *choice, const struct cheaper_pattern *pattern, const sa_batch *batch,
                    const sa_sequence *seq, sa_engine *engine);

/* ---------------------------------------------------------------- results */

/* Compares what a case has put out with the exact outputs, fills in mass and error. */
void cheaper_compare(struct cheaper_case *c, const struct cheaper_outputs *exact, const struct cheaper_outputs *found);

/* Checks some rows of it against float64, fills in error_share; complains and returns false if one is wrong. */
bool cheaper_check(struct cheaper_case *c);

#endif
