/* SPDX-License-Identifier: MIT */
/* How the tensors of a batch are stored, for reports. */
#ifndef SA_CLI_STORED_H
#define SA_CLI_STORED_H

#include <jansson.h>

#include "store.h"

/* "types      q f32, k i8, ..." */
void stored_print(const struct store_options *options, const sa_batch *batch);
void stored_add_json(json_t *json, const struct store_options *options, const sa_batch *batch);

#endif
