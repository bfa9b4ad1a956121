/* SPDX-License-Identifier: MIT */
/* The parts of `sa encode`. */
#ifndef SA_CLI_ENCODE_H
#define SA_CLI_ENCODE_H

#include "encoder.h"

struct encode_options {
    const char *folder, *lines, *out_path, *query; /* lines NULL: standard input */
    int64_t n_threads, most_tokens, top;           /* 0: not given */
    bool json;
};

/* DONE, WRONG_USAGE, or -1 after the help. */
int encode_parse(int argc, char **argv, struct encode_options *options);

struct encode_line {
    const char *text; /* without an end mark */
    size_t length;
};

/* A text in memory, and where its lines are. */
struct encode_text {
    char *bytes;
    size_t size;
    struct encode_line *lines;
    int64_t n;
};

/* path NULL: standard input. Complains and returns false if it cannot be read; free it in any case. */
bool encode_read_text(const char *path, struct encode_text *text);
void encode_free_text(struct encode_text *text);

struct encode_counts {
    int64_t n_lines, n_tokens, n_cut; /* n_cut: lines that were longer than they may be */
    int n_threads;
    double seconds;
};

/* vectors [n, d_model] of the lines. Complains and returns false if it fails. */
bool encode_lines(const struct encoder *encoder, const struct encode_options *options, const struct encode_line *lines,
                  int64_t n, float *vectors, struct encode_counts *counts);

/* Prints the `top` lines whose vectors are nearest to the query's. */
bool encode_print_similar(const struct encode_text *text, const float *vectors, const float *query, int64_t d,
                          int64_t top);

#endif
