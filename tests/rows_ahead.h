/* SPDX-License-Identifier: MIT */
/* Something for kernels to fetch ahead: the rows at hand. What they fetch shows in no result. */
#ifndef SA_TESTS_ROWS_AHEAD_H
#define SA_TESTS_ROWS_AHEAD_H

#include "kernels/kernels.h"

/* As lines that follow each other, or first in columns; for any number of calls. */
static inline struct sa_ahead ahead_of(struct sa_rows rows) {
    const int columns = (rows.d + SA_LINE_FLOATS - 1) / SA_LINE_FLOATS;
    const char *data = (const char *)rows.data;
    struct sa_ahead ahead;
    sa_ahead_open(&ahead);
    ahead.calls = rows.n % 3;
    ahead.afar = rows.n % 4 > 1;
    if (rows.n % 2)
        sa_ahead_add(&ahead, (struct sa_lines){data, rows.stride * (ptrdiff_t)sizeof(float), rows.n, columns});
    sa_ahead_add(&ahead, (struct sa_lines){data, SA_LINE_BYTES, rows.n * columns, 1});
    return ahead;
}

#endif
