/* SPDX-License-Identifier: MIT */
/* Tensors in files as a batch: three .npy files, or a sequence for every prefix in a .safetensors file. */
#ifndef SA_CLI_INPUTS_H
#define SA_CLI_INPUTS_H

#include <stdbool.h>
#include <stdint.h>

#include <sa/sa.h>

#include "npy.h"
#include "safetensors.h"

struct inputs_options {
    const char *files[3]; /* q, k, v as .npy, or one .safetensors */
    int n_files;
    bool heads_first; /* heads before tokens */
};

struct inputs {
    const struct inputs_options *options;
    struct npy npy[3];
    struct safetensors archive;
    char **names;      /* of the sequences in a .safetensors file, else NULL */
    sa_batch batch;    /* sizes and types, no rule; o is of the type of q */
    sa_sequence *seqs; /* without outputs */
};

/* Opens the files and checks their shapes against each other. Complains and returns false if anything is wrong; close
 * in any case. */
bool inputs_open(const struct inputs_options *options, struct inputs *inputs);
void inputs_close(struct inputs *inputs);

/* "PREFIX.SUFFIX", to be freed; NULL if there is no memory. */
char *tensor_name(const char *prefix, const char *suffix);

#endif
