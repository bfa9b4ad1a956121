/* SPDX-License-Identifier: MIT */
/* Memory full of random elements of every type, which shapes are placed in. */
#ifndef BENCH_ARENA_H
#define BENCH_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include <sa/sa.h>

enum bench_tensor { BENCH_Q, BENCH_K, BENCH_V, BENCH_K_SCALES, BENCH_V_SCALES, BENCH_O, BENCH_TENSORS };
enum { BENCH_TYPES = SA_I8 + 1 };

/* Bytes for each sa_type. */
struct bench_extent {
    size_t bytes[BENCH_TENSORS][BENCH_TYPES];
};

size_t bench_extent_bytes(struct bench_extent extent);
struct bench_extent bench_extent_max(struct bench_extent a, struct bench_extent b);

/* b behind a, on a boundary of 64 bytes. */
struct bench_extent bench_extent_add(struct bench_extent a, struct bench_extent b);

struct bench_arena {
    char *at[BENCH_TENSORS][BENCH_TYPES];
    struct bench_extent extent;
};

/* q, k and v standard normal, rounded to their types, the same on every machine; those of SA_I8 have scales that differ
 * between 0.5 and 1 of what makes them so. From 4 Mi elements on they repeat. False: no memory. */
bool bench_arena_open(struct bench_arena *arena, struct bench_extent extent);
void bench_arena_close(struct bench_arena *arena);

/* Memory to be freed, in huge pages if the system has some: what is measured is not the translation of addresses. NULL:
 * there is none. */
char *bench_new_bytes(size_t bytes);

/* "f32", "bf16", "f16", "int8". */
const char *bench_type_name(int type);
bool bench_type_named(const char *name, int *type);

#endif
