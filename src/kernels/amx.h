/* SPDX-License-Identifier: MIT */
/* Registers of AMX: 16 rows of 16 words. Included by amx_dots.h and amx_int8.c, after lanes_fetch.h. */
#ifndef SA_AMX_H
#define SA_AMX_H

enum {
    SIDE = 16, /* rows of a register, words of a row */
    WORD = sizeof(float),
    ROW_BYTES = SIDE * WORD
};

typedef float square[SIDE][SIDE];

/* gcc 12 does not know that these read and write memory. */
#define load(to, from, row_bytes)                                                                                      \
    do {                                                                                                               \
        keep_memory(from);                                                                                             \
        _tile_loadd(to, from, row_bytes);                                                                              \
    } while (0)
/* What will not be looked at again soon: it takes less away from what the first-level cache has. */
#define load_once(to, from, row_bytes)                                                                                 \
    do {                                                                                                               \
        keep_memory(from);                                                                                             \
        _tile_stream_loadd(to, from, row_bytes);                                                                       \
    } while (0)
#define store(from, to, row_bytes)                                                                                     \
    do {                                                                                                               \
        _tile_stored(from, to, row_bytes);                                                                             \
        keep_memory(to);                                                                                               \
    } while (0)

struct shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
_Static_assert(sizeof(struct shapes) == 64, "as the instruction wants it");

static const struct shapes all_square = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

static int smaller(int a, int b) { return a < b ? a : b; }

static void amx_enter(void) { _tile_loadconfig(&all_square); }

static void amx_leave(void) { _tile_release(); }

/* n words, and zeros up to 16. */
INLINE __mmask16 first_words(int n) { return (__mmask16)(n < SIDE ? (1 << n) - 1 : 0xffff); }

INLINE vf load_words(__mmask16 words, const float *from) { return _mm512_maskz_loadu_ps(words, from); }

/* n rows of so many words, and zeros. */
static void copy_square(const float *from, ptrdiff_t stride, int n, __mmask16 words, square to) {
    for (int i = 0; i < SIDE; i++)
        v_store(to[i], i < n ? load_words(words, from + i * stride) : v_set1(0.0f));
}

#endif
