/* SPDX-License-Identifier: MIT */
/* Shapes: what to measure, one line of text each. The format is described in README.md. */
#ifndef BENCH_SHAPE_H
#define BENCH_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench_arena.h"
#include "bench_kinds.h"

enum { BENCH_NAME_CHARS = 40 };

struct bench_seq {
    int64_t n_q, n_k;
};

struct bench_shape {
    char name[BENCH_NAME_CHARS];
    int heads, kv_heads, d_qk, d_v;
    int64_t n_seqs;
    struct bench_seq *seqs;
    bool causal, windowed, has_offset;
    bool token_major;            /* [token][head][d] instead of [head][token][d] */
    bool warm;                   /* k and v may come from the caches, however few bytes they are */
    bool f16_pairs;              /* SA_F16_PAIRS */
    bool parts;                  /* prefills, then decodes: their time is compared with that of each alone */
    int q_type, kv_type, o_type; /* sa_type */
    int64_t page;                /* tokens of a page; 0: contiguous */
    int64_t left, right;         /* -1: no limit */
    int64_t sink, offset;
    struct bench_kinds kinds;
};

struct bench_shapes {
    struct bench_shape *at;
    int n;
};

/* Adds one line; a comment or an empty line adds nothing. False, with a message on stderr that begins with `where`, if
 * it is not a shape. */
bool bench_shapes_add_line(struct bench_shapes *shapes, const char *line, const char *where);

/* Adds the lines of a file; one without a shape is an error. A bare name that is no file here is looked for in
 * bench_shapes_directory as well. */
bool bench_shapes_add_file(struct bench_shapes *shapes, const char *path);

/* Visits the lines of a file, found likewise, until one is refused; `where` is its name and the line's number. */
bool bench_shapes_each_line(const char *path, bool (*visit)(void *context, const char *line, const char *where),
                            void *context);

void bench_shapes_free(struct bench_shapes *shapes);

/* The shapes that come with the program; NULL, the default: none do. */
extern const char *bench_shapes_directory;

/* Bytes that the tensors of all sequences take. */
struct bench_extent bench_shape_extent(const struct bench_shape *shape);

/* Tokens that there is room for where n_k stand: whole pages. */
int64_t bench_shape_tokens(const struct bench_shape *shape, int64_t n_k);

/* Visible (query, key) pairs of all heads, counted query by query and not by the library. */
double bench_shape_pairs(const struct bench_shape *shape);

/* Does a query of a sequence see a key, as far as windows say? */
bool bench_shape_sees(const struct bench_shape *shape, int64_t seq, int64_t query, int64_t key);

/* Bytes of K and V and their scales that some query sees: what has to be read at least once. */
double bench_shape_kv_bytes(const struct bench_shape *shape);

/* Where the decodes of a shape with `parts` begin; n_seqs if it has not both kinds, prefills first. */
int64_t bench_shape_first_decode(const struct bench_shape *shape);

/* Sequences with more keys than queries and few multiply-adds for each element of K and V: memory limits it, not
 * arithmetic. */
bool bench_shape_is_decode(const struct bench_shape *shape);

#endif
