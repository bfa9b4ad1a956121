/* SPDX-License-Identifier: MIT */
#include "bench_arena.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench_dice.h"
#include "elements.h"

/* ---------------------------------------------------------------- types */

static const char *const type_names[BENCH_TYPES] = {
    [SA_F32] = "f32", [SA_BF16] = "bf16", [SA_F16] = "f16", [SA_I8] = "int8"};

const char *bench_type_name(int type) { return type_names[type]; }

bool bench_type_named(const char *name, int *type) {
    for (*type = 0; *type < BENCH_TYPES; ++*type)
        if (type_names[*type] && strcmp(name, type_names[*type]) == 0)
            return true;
    return false;
}

/* ---------------------------------------------------------------- extents */

enum { N_BLOCKS = BENCH_TENSORS * BENCH_TYPES };

size_t bench_extent_bytes(struct bench_extent extent) {
    size_t bytes = 0;
    for (int i = 0; i < N_BLOCKS; i++)
        bytes += extent.bytes[i / BENCH_TYPES][i % BENCH_TYPES];
    return bytes;
}

struct bench_extent bench_extent_max(struct bench_extent a, struct bench_extent b) {
    for (int i = 0; i < N_BLOCKS; i++) {
        size_t *of_a = &a.bytes[i / BENCH_TYPES][i % BENCH_TYPES];
        const size_t of_b = b.bytes[i / BENCH_TYPES][i % BENCH_TYPES];
        *of_a = *of_a > of_b ? *of_a : of_b;
    }
    return a;
}

struct bench_extent bench_extent_add(struct bench_extent a, struct bench_extent b) {
    for (int i = 0; i < N_BLOCKS; i++) {
        size_t *of_a = &a.bytes[i / BENCH_TYPES][i % BENCH_TYPES];
        *of_a = (*of_a + b.bytes[i / BENCH_TYPES][i % BENCH_TYPES] + 63) / 64 * 64;
    }
    return a;
}

/* ---------------------------------------------------------------- memory */

/* Whole huge pages, but for what is small beside one. */
char *bench_new_bytes(size_t bytes) {
    static const size_t huge = (size_t)2 << 20, small = (size_t)64 << 10;
    const size_t whole = bytes < small ? bytes : (bytes + huge - 1) / huge * huge;
    void *memory = NULL;
    if (posix_memalign(&memory, bytes < small ? 64 : huge, whole) != 0)
        return NULL;
    if (bytes >= small)
        madvise(memory, whole, MADV_HUGEPAGE);
    return memory;
}

static const double int8_unit = 3.5 / 127; /* bench_roll_normal() stays below 3.5 */

static void store(int tensor, int type, char *at, struct bench_dice *dice) {
    const float x = bench_roll_normal(dice);
    if (type == SA_F32 && tensor <= BENCH_V)
        memcpy(at, &x, sizeof x);
    else if (tensor <= BENCH_V)
        element_store(type, type == SA_I8 ? rint((double)x / int8_unit) : (double)x, at);
    else
        element_store(type, int8_unit * (0.5 + fabs((double)x) / 7), at);
}

/* The rest repeats the beginning. */
static void fill(int tensor, int type, char *at, size_t bytes) {
    const size_t size = (size_t)element_bytes(type), longest = size << 22;
    struct bench_dice dice = {(uint64_t)tensor + 1};
    size_t done = 0;
    for (; done < bytes && done < longest; done += size)
        store(tensor, type, at + done, &dice);
    for (size_t n; done < bytes; done += n) {
        n = bytes - done < longest ? bytes - done : longest;
        memcpy(at + done, at, n);
    }
}

static bool open_block(struct bench_arena *arena, int tensor, int type) {
    const size_t bytes = arena->extent.bytes[tensor][type];
    char *at = bytes ? bench_new_bytes(bytes) : NULL;
    arena->at[tensor][type] = at;
    if (at && tensor == BENCH_O)
        memset(at, 0, bytes); /* no page faults while the clock runs */
    else if (at)
        fill(tensor, type, at, bytes);
    return at || !bytes;
}

bool bench_arena_open(struct bench_arena *arena, struct bench_extent extent) {
    *arena = (struct bench_arena){.extent = extent};
    for (int i = 0; i < N_BLOCKS; i++)
        if (!open_block(arena, i / BENCH_TYPES, i % BENCH_TYPES))
            return bench_arena_close(arena), false;
    return true;
}

void bench_arena_close(struct bench_arena *arena) {
    for (int i = 0; i < N_BLOCKS; i++)
        free(arena->at[i / BENCH_TYPES][i % BENCH_TYPES]);
    *arena = (struct bench_arena){0};
}
