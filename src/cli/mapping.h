/* SPDX-License-Identifier: MIT */
/* An input file, mapped into memory and read in place. */
#ifndef SA_CLI_MAPPING_H
#define SA_CLI_MAPPING_H

#include <stddef.h>

#include "fault.h"

struct mapping {
    const char *path; /* the caller's */
    const unsigned char *bytes;
    size_t size;
    struct mapping_copy *copies;
};

/* False leaves nothing behind. */
bool mapping_open(struct mapping *mapping, const char *path, struct fault *fault);
void mapping_close(struct mapping *mapping);

/* The n elements at an offset that is known to be inside the file: in place, or a copy that lives as long as the
 * mapping where the file has them at an odd address. NULL: no memory. */
const void *mapping_elements(struct mapping *mapping, size_t offset, size_t n, size_t element_bytes,
                             struct fault *fault);

#endif
