/* SPDX-License-Identifier: MIT */
/* What all parts of the micro-kernels share, after a vec_<isa>.h: loops, the arrays of a pass, register tiles. */
#ifndef SA_LANES_BASE_H
#define SA_LANES_BASE_H

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

#if defined(__clang__)
#define UNROLL    _Pragma("clang loop unroll(full)")
#define UNROLL_32 UNROLL
#define UNROLL_4  _Pragma("clang loop unroll_count(4)")
#define ROLLED    _Pragma("clang loop unroll(disable)")
#else
#define UNROLL    _Pragma("GCC unroll 24")
#define UNROLL_32 _Pragma("GCC unroll 32")
#define UNROLL_4  _Pragma("GCC unroll 4")
#define ROLLED    _Pragma("GCC unroll 1")
#endif

/* What was stored there is loaded again, not kept in registers. */
#define keep_memory(p) __asm__ volatile("" ::"r"(p) : "memory")

/* An address as such, to which constants are added where it is used. */
#define keep_address(p) __asm__("" : "+r"(p))

enum {
    W = PASS_GROUPS * SA_GROUP_ROWS,       /* stride of the arrays of a pass */
    GROUP_VECTORS = SA_GROUP_ROWS / LANES, /* vectors in a group */
    MAX_VECTORS = PASS_GROUPS * GROUP_VECTORS,
    MAX_SUMS = 24 /* accumulators of a register tile */
};

/* What a term of a score or of a value adds: a product of floats, or, where the vec_<isa>.h says so, those of two pairs
 * of bf16, which stand where floats stand. */
#ifndef v_term
enum { OF_PAIRS = 0 };
#define v_term     v_fma
#define v_term_few v_fma_few
#endif

/* *sum = v_term(a, b, *sum), for a sum that stays in its register. */
#ifndef v_add_term
#define v_add_term(sum, a, b) (*(sum) = v_term(a, b, *(sum)))
#endif

/* Lane 0 of row r of a tile in an array of n x W floats a pass. */
INLINE ptrdiff_t of_row(int r, int n) { return (ptrdiff_t)(r / W) * n * W + r % W; }

/* Register tiles of n keys or dimensions: as few as the largest size allows, of two sizes that differ by one, the
 * larger first. A tile far below the largest size waits for its own sums. */
struct tiling {
    int size, n_large, n_tiles; /* n_large tiles of `size`, the others of size - 1 */
};

INLINE struct tiling tiling_of(int n, int largest) {
    int tiles = (n + largest - 1) / largest, size = tiles ? (n + tiles - 1) / tiles : 0;
    return (struct tiling){size, n - tiles * (size - 1), tiles};
}

#define EACH_SIZE_4(X, v)  X(1, v) X(2, v) X(3, v) X(4, v)
#define EACH_SIZE_6(X, v)  EACH_SIZE_4(X, v) X(5, v) X(6, v)
#define EACH_SIZE_8(X, v)  EACH_SIZE_6(X, v) X(7, v) X(8, v)
#define EACH_SIZE_12(X, v) EACH_SIZE_8(X, v) X(9, v) X(10, v) X(11, v) X(12, v)

#endif
