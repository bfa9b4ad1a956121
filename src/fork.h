/* SPDX-License-Identifier: MIT */
/* Engines survive fork(): in the child their threads are gone and their locks free. */
#ifndef SA_FORK_H
#define SA_FORK_H

#include <stdbool.h>

struct sa_engine;

/* Puts the engine on the list of those to be mended after a fork(). False: the system refused the handlers. */
bool sa_fork_watch(struct sa_engine *engine);
void sa_fork_unwatch(struct sa_engine *engine);

#endif
