/* SPDX-License-Identifier: MIT */
/* A prepared call, played through on the engine's team or on one of other speeds. */
#ifndef SA_WHAT_IF_H
#define SA_WHAT_IF_H

#include "engine.h"

/* Fills in everything but result->struct_size. `request` as the caller gave it, or NULL. May plan the call anew. */
sa_status sa_what_if(const struct sa_engine *engine, struct sa_call *call, const sa_simulation_request *request,
                     sa_simulation *result);

#endif
