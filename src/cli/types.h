/* SPDX-License-Identifier: MIT */
/* Element types (sa_type) that files can hold: float32, bfloat16, float16. */
#ifndef SA_CLI_TYPES_H
#define SA_CLI_TYPES_H

#include <stdbool.h>
#include <stddef.h>

#include <sa/sa.h>

size_t type_bytes(int type);

/* "f32", "bf16", "f16", as on the command line; "i8" is the name of caches only. */
const char *type_name(int type);
bool type_named(const char *name, int *type);

#endif
