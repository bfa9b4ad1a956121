/* SPDX-License-Identifier: MIT */
/* A model and a text to look at, in place of a file of tensors. */
#ifndef SA_CLI_LOOK_MODEL_H
#define SA_CLI_LOOK_MODEL_H

#include "look.h"

/* Reads the folder, runs the text through it, and fills in prefixes, words and the model. Complains and returns false
 * if anything is wrong; close it in any case. */
bool look_model_open(const char *folder, const char *text, struct look_file *file);
void look_model_close(struct look_model *model);

/* q, k or v of a layer, by the prefix that look_model_open() filled in. False: there is no such letter. */
bool look_model_array(const struct look_model *model, const char *prefix, char letter, struct array *array);

/* The token with which the word pieces of `text` begin, -1: they do not stand in the model's. What the vocabulary does
 * not know is found where the same bytes stand. *n_more: further places. */
int64_t look_model_find(const struct look_model *model, const char *text, int *n_more);

#endif
