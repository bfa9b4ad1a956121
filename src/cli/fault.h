/* SPDX-License-Identifier: MIT */
/* What went wrong, in one line for people: which file, which field, what was expected, what was found. */
#ifndef SA_CLI_FAULT_H
#define SA_CLI_FAULT_H

#include <stdbool.h>

struct fault {
    char text[1024];
};

/* Control characters become '?': names in files are not to be trusted with a terminal. */
void fault_plain(char *text);
bool fault_is_plain(const char *text);

/* Always false, so that a check can end in `return fault_set(...)`. The text is plain. */
bool fault_set(struct fault *fault, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool fault_no_memory(struct fault *fault);

#endif
