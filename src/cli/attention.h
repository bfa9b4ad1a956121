/* SPDX-License-Identifier: MIT */
/* The kinds of attention that options and files beside q, k and v ask for. */
#ifndef SA_CLI_ATTENTION_H
#define SA_CLI_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

#include "npy.h"

enum {
    ATTENTION_BIAS,
    ATTENTION_MASK,
    ATTENTION_ALIBI,
    ATTENTION_SINKS,
    ATTENTION_Q_POS,
    ATTENTION_K_POS,
    ATTENTION_DOC_IDS,
    N_ATTENTION_FILES
};

struct attention_options {
    const char *files[N_ATTENTION_FILES]; /* NULL: not asked for */
    float softcap;                        /* 0: none */
    int64_t n_prefix;
};

struct attention {
    const struct attention_options *options;
    struct npy files[N_ATTENTION_FILES];
    float *heads[N_ATTENTION_FILES];    /* of those with a number a head */
    int32_t *tokens[N_ATTENTION_FILES]; /* of those with a number a token */
};

/* Opens the files. Complains and returns false if anything is wrong; close in any case. */
bool attention_open(const struct attention_options *options, struct attention *attention);
void attention_close(struct attention *attention);

/* Makes a batch and its sequences ask for it. Their sizes are those of whole arrays. Complains and returns false if the
 * files' shapes do not fit. The files must stay open. */
bool attention_apply(const struct attention *attention, sa_batch *batch, sa_sequence *seqs);

/* ---------------------------------------------------------------- command line */

/* What getopt_long() returns for these options; those of files follow ATTENTION_FILE. */
enum { ATTENTION_SOFTCAP = 512, ATTENTION_PREFIX, ATTENTION_FILE };

#define ATTENTION_SCORE_OPTIONS                                                                                        \
    {"softcap", required_argument, NULL, ATTENTION_SOFTCAP},                                                           \
        {"alibi", required_argument, NULL, ATTENTION_FILE + ATTENTION_ALIBI}, {                                        \
        "sinks", required_argument, NULL, ATTENTION_FILE + ATTENTION_SINKS                                             \
    }

#define ATTENTION_TOKEN_OPTIONS                                                                                        \
    {"prefix", required_argument, NULL, ATTENTION_PREFIX},                                                             \
        {"bias", required_argument, NULL, ATTENTION_FILE + ATTENTION_BIAS},                                            \
        {"mask", required_argument, NULL, ATTENTION_FILE + ATTENTION_MASK},                                            \
        {"q-pos", required_argument, NULL, ATTENTION_FILE + ATTENTION_Q_POS},                                          \
        {"k-pos", required_argument, NULL, ATTENTION_FILE + ATTENTION_K_POS}, {                                        \
        "doc-ids", required_argument, NULL, ATTENTION_FILE + ATTENTION_DOC_IDS                                         \
    }

#define ATTENTION_SCORE_HELP                                                                                           \
    "      --softcap X        scores become X tanh(score / X) before anything is added to them\n"                      \
    "      --alibi S.npy      ALiBi: a slope for each query head; score - slope * distance\n"                          \
    "      --sinks S.npy      a learnable sink logit for each query head, which takes its share of the weights\n"

#define ATTENTION_TOKEN_HELP                                                                                           \
    "      --prefix N         the first N keys are seen by every query; with --causal or a window\n"                   \
    "      --bias B.npy       float32 or float16, added to the scores; broadcast to batch, query heads, queries, "     \
    "keys\n"                                                                                                           \
    "      --mask M.npy       bool or uint8, true: the query sees the key; broadcast in the same way\n"                \
    "      --q-pos P.npy      int32 or int64, [batch,] tokens: positions of the queries, in place of N + i,\n"         \
    "      --k-pos P.npy      and of the keys; for --causal, --window and --alibi\n"                                   \
    "      --doc-ids D.npy    int32 or int64, [batch,] keys: a query sees keys of its own document only; the queries " \
    "are\n"                                                                                                            \
    "                         the last of these tokens\n"

/* Takes one of them; returns DONE, or complains as `command` and returns WRONG_USAGE. */
int attention_option(const char *command, int option, const char *text, struct attention_options *options);

#endif
