/* SPDX-License-Identifier: MIT */
/* An engine and a planned call, in words. */
#ifndef SA_DESCRIBE_H
#define SA_DESCRIBE_H

#include <stddef.h>

#include "engine.h"

/* Text that counts what it would need when it does not fit. */
struct sa_text {
    char *at;
    size_t capacity, length;
};

void sa_describe_engine(struct sa_text *text, const struct sa_engine *engine);
void sa_describe_call(struct sa_text *text, const struct sa_engine *engine, const struct sa_call *call);

/* One line about a finished call on standard error, for SA_VERBOSE=1. */
void sa_describe_verbose(const struct sa_engine *engine, const struct sa_call *call, double seconds);

sa_batch_info sa_describe_batch_info(const struct sa_engine *engine, const struct sa_call *call);

#endif
