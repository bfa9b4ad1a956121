/* SPDX-License-Identifier: MIT */
#include "types.h"

#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} types[] = {[SA_F32] = {"f32", 4},     [SA_BF16] = {"bf16", 2},  [SA_F16] = {"f16", 2},     [SA_I8] = {"i8", 1},
             [TYPE_BOOL] = {"bool", 1}, [TYPE_U8] = {"uint8", 1}, [TYPE_I32] = {"int32", 4}, [TYPE_I64] = {"int64", 8}};

size_t type_bytes(int type) { return types[type].bytes; }

const char *type_name(int type) { return types[type].name; }

bool type_named(const char *name, int *type) {
    for (*type = SA_F32; *type <= SA_F16; ++*type)
        if (strcmp(name, types[*type].name) == 0)
            return true;
    return false;
}
