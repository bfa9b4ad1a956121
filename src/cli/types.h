/* SPDX-License-Identifier: MIT */
/* Element types that files can hold: those of sa_type that are numbers with a fraction, and a few that only files have.
 */
#ifndef SA_CLI_TYPES_H
#define SA_CLI_TYPES_H

#include <stdbool.h>
#include <stddef.h>

#include <sa/sa.h>

/* Beside those of sa_type. */
enum { TYPE_BOOL = 16, TYPE_U8, TYPE_I32, TYPE_I64 };

size_t type_bytes(int type);

/* "f32", "bf16", "f16", as on the command line; "i8" is the name of caches only.
 * type_named() knows only those. */
const char *type_name(int type);
bool type_named(const char *name, int *type);

#endif
