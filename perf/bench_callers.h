/* SPDX-License-Identifier: MIT */
/* bench --callers: many threads call one engine at once, as a server does. */
#ifndef BENCH_CALLERS_H
#define BENCH_CALLERS_H

#include "bench_config.h"
#include "bench_machine.h"

/* Verifies, measures, prints and writes what was asked for. False, with the reason on stderr, if something failed. */
bool bench_callers(const struct bench_options *options, const struct bench_machine *machine);

#endif
