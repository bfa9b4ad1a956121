/* SPDX-License-Identifier: MIT */
#include "rows.h"

#include <string.h>

int64_t sa_piece_of(const struct sa_strip *strip, int64_t row) {
    int64_t low = 0, high = strip->n_pieces;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (strip->pieces[middle].first <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void sa_strip_read(const struct sa_strip *strip, int64_t begin, int64_t end, float *to, int64_t stride) {
    int64_t piece = sa_piece_of(strip, begin);
    for (int64_t r = begin; r < end; r++, to += stride) {
        while (piece + 1 < strip->n_pieces && strip->pieces[piece + 1].first <= r)
            piece++;
        if (sa_is_in(&strip->pieces[piece], r))
            sa_elements_read(to, sa_row_of(strip, piece, r), strip->pieces[piece].type, strip->d);
        else
            memset(to, 0, (size_t)strip->d * sizeof *to);
    }
}

void sa_strip_write(const struct sa_strip *strip, int64_t begin, int64_t end, int c, int n, const float *from,
                    int64_t stride) {
    int64_t piece = sa_piece_of(strip, begin);
    for (int64_t r = begin; r < end; r++, from += stride) {
        while (piece + 1 < strip->n_pieces && strip->pieces[piece + 1].first <= r)
            piece++;
        if (!sa_is_in(&strip->pieces[piece], r))
            continue;
        const int type = strip->pieces[piece].type;
        char *row = sa_row_of(strip, piece, r);
        sa_elements_write(row + (size_t)c * sa_bytes_of(type), from, type, n);
    }
}
