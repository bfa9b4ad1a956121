/* SPDX-License-Identifier: MIT */
/* Rows of several sequences as the rows of one matrix: in place where they stand like one, otherwise brought together.
 */
#ifndef SA_LAYER_ROWS_H
#define SA_LAYER_ROWS_H

#include "elements.h"

/* Products are cut at multiples of so many rows, see "Bits" in layer.h. */
enum { SA_ROW_GRAIN = 12 };

static inline int64_t sa_padded(int64_t n_rows) { return (n_rows + SA_ROW_GRAIN - 1) / SA_ROW_GRAIN * SA_ROW_GRAIN; }

/* Floats from one row of our own to the next: an odd number of cache lines, see create.c. */
static inline int64_t sa_own_stride(int64_t length) { return (length + 31) / 32 * 32 + 16; }

/* Rows that stand in place are multiplied there by pieces of `cut` rows, but for a last piece that has to be padded:
 * it goes over a stage. This is the first row of the stage. */
static inline int64_t sa_stage_begin(bool in_place, int64_t n_rows, int cut) {
    return !in_place ? 0 : n_rows == sa_padded(n_rows) ? n_rows : n_rows / cut * cut;
}

/* The rows of one sequence; those of all are numbered one after the other, and some numbers are not used. Pieces have
 * rows, and stand in the order of these. */
struct sa_piece {
    char *data;
    int64_t stride; /* bytes */
    int64_t first, n;
    int64_t sequence;
    int type;
};

struct sa_strip {
    struct sa_piece *pieces;
    int64_t n_pieces, n_rows;
    int d;
};

/* The piece that a row is in, or behind which. */
int64_t sa_piece_of(const struct sa_strip *strip, int64_t row);

static inline bool sa_is_in(const struct sa_piece *piece, int64_t row) {
    return row >= piece->first && row < piece->first + piece->n;
}

static inline void *sa_row_of(const struct sa_strip *strip, int64_t piece, int64_t row) {
    const struct sa_piece *p = &strip->pieces[piece];
    return p->data + (row - p->first) * p->stride;
}

/* Rows begin .. end - 1 as floats, zeros where there is none. */
void sa_strip_read(const struct sa_strip *strip, int64_t begin, int64_t end, float *to, int64_t stride);

/* Columns c .. c + n - 1 of the rows begin .. end - 1 that there are, from floats. */
void sa_strip_write(const struct sa_strip *strip, int64_t begin, int64_t end, int c, int n, const float *from,
                    int64_t stride);

#endif
