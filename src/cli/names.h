/* SPDX-License-Identifier: MIT */
#ifndef SA_CLI_NAMES_H
#define SA_CLI_NAMES_H

#include <sa/sa.h>

#include "isa.h"

static inline const char *isa_name(int isa) { return isa_names[isa > 0 && isa < N_ISA_NAMES ? isa : SA_ISA_GENERIC]; }

static inline const char *binding_name(int binding) {
    return binding == SA_BIND_CLOSE ? "close" : binding == SA_BIND_SPREAD ? "spread" : "none";
}

#endif
