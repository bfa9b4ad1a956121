/* SPDX-License-Identifier: MIT */
/* Options that several subcommands take. Each returns DONE, or complains as `command` and returns WRONG_USAGE. */
#ifndef SA_CLI_OPTIONS_H
#define SA_CLI_OPTIONS_H

#include "inputs.h"
#include "store.h"

/* What getopt_long() answers with '?' or ':', whose options begin with ':'; argv as it got it. */
int option_misused(const char *command, int answer, char **argv);

int option_count(const char *command, const char *name, const char *text, int64_t low, int64_t high, int64_t *value);
int option_scale(const char *command, const char *text, float *scale);
int option_layout(const char *command, const char *text, bool *heads_first);

/* --dtype, --kv-scales, --page-size */
int option_dtype(const char *command, const char *text, struct store_options *store);
int option_kv_scales(const char *command, const char *text, struct store_options *store);
int option_page_size(const char *command, const char *text, struct store_options *store);

/* The input files: three .npy or one .safetensors. */
int option_files(const char *command, int n, char **files, struct inputs_options *inputs);
bool is_archive(const struct inputs_options *inputs);

/* Results are written in the format of the inputs: refuses a path that promises the other one. */
int option_result(const char *command, const char *name, const char *path, const struct inputs_options *inputs);

#endif
