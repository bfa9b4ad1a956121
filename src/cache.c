/* SPDX-License-Identifier: MIT */
/* New tokens into caches of keys and values. */
#include <sa/sa.h>

#include "reason.h"

sa_status sa_cache_append(sa_engine *engine, const sa_batch *batch, const sa_append *append) {
    (void)engine;
    (void)batch;
    (void)append;
    return sa_fail(SA_UNSUPPORTED, "sa_cache_append: not yet");
}
