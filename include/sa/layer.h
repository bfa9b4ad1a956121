/* SPDX-License-Identifier: MIT */
/*
 * libsa_layer: the whole attention layer, embeddings in, contextual vectors out, in one call over a ragged batch:
 *
 *     q = x W_q + b_q,   k = x W_k + b_k,   v = x W_v + b_v           y = softmax(scale * q k^T) v W_o + b_o
 *
 * with the engine of sa/sa.h between the products, which run on CBLAS (libsa itself is free of it). Read sa/sa.h first:
 * its words, rules, element types and structs hold here. This header is written to be read from top to bottom.
 *
 * 1. The shortest correct program (tests/shortest_layer.c, compiled and run by the test suite):
 *
 *     #include <sa/layer.h>
 *     #include <stdio.h>
 *     int main(void) {
 *         float one[2 * 2] = {1, 0, 0, 1}, x[3 * 2] = {9, 0, 0, 9, 0, 0}, y[3 * 2];
 *         sa_layer_options options = {.struct_size = sizeof options, .d_model = 2, .n_query_heads = 1};
 *         options.w_q.data = options.w_k.data = options.w_v.data = options.w_o.data = one;
 *         sa_engine *engine;
 *         sa_layer *layer;
 *         if (sa_engine_create(NULL, &engine) != SA_OK) return puts(sa_last_reason()), 1;
 *         if (sa_layer_create(&options, &layer) != SA_OK) return puts(sa_last_reason()), 1;
 *         sa_sequence seq = {.n_q = 3};
 *         sa_layer_tokens tokens = {.x = x, .y = y};
 *         sa_batch attention = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &seq};
 *         sa_layer_batch batch = {SA_LAYER_BATCH_HEAD, .attention = &attention, .tokens = &tokens};
 *         if (sa_layer_forward(engine, layer, &batch) != SA_OK) return puts(sa_last_reason()), 1;
 *         printf("%f %f\n", y[4], y[5]);
 *         sa_layer_destroy(layer);
 *         sa_engine_destroy(engine);
 *     }
 *
 * 2. Words beside those of sa/sa.h
 *
 *     x y            input and output of the layer, a vector a token     d_model d_out   their dimensions
 *     memory         what keys and values are made from in
 *                    cross-attention, a vector a token                   d_memory        its dimension
 *
 * 3. Rules beside those of sa/sa.h
 *
 *     Errors         sa_last_reason() tells of these functions, too.
 *     Threads        A layer is never modified once it is made: any number of threads may use it at once, with one
 *                    engine or several, except that sa_layer_destroy() must be the last call. A process may fork() at
 *                    any time, which then waits for products under way; the child may go on using its copies.
 *     One team       The products are cut into pieces that the engine's team takes like its own items, and each piece
 *                    is computed by the thread that took it: of up to 4,608 tokens times 1,024 columns, for the end of
 *                    which other calls wait, brief ones as well. While a call of this library runs the number of
 *                    threads of an OpenBLAS is 1 for the whole process, whatever its environment says; after the last
 *                    of such calls it is what it was before the first, unless the host program has set it meanwhile.
 *                    MKL and BLIS are told so for the threads of the engine only. (An OpenBLAS that makes its own
 *                    threads makes them when it is loaded. They sleep.)
 *     Bits           BLAS promises nothing. OpenBLAS, for one, computes a row of a product in another way, in a few of
 *                    its columns, if it is one of the second six of twelve rows. So products are cut at multiples of
 *                    twelve rows and at columns that depend on the layer alone, and the row of a token stands in its
 *                    dozen where its number says: the number among the keys in self-attention, with a cache or without,
 *                    and of memory, that among the queries otherwise. Tokens of several sequences share a dozen where
 *                    their places in it differ, as those of decoding steps mostly do. What is free in one is 0. So the
 *                    bits of a row depend on that row's own tokens and options only, as in sa/sa.h, for the kernels of
 *                    OpenBLAS up to AVX-512 (where it has others for small products, those go dozen by dozen);
 *                    tests/test_layer_calls.c shows it for the BLAS at hand. Elsewhere it may be otherwise: MKL
 *                    promises it in reproducible modes only. SA_LAYER_PACK does without: then bits depend on the rest
 *                    of the batch, and on nothing else. Another instruction set or version of BLAS gives other bits in
 *                    any case.
 */
#ifndef SA_LAYER_H
#define SA_LAYER_H

#include <sa/sa.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------------------------
 * Positions. These functions need no engine, run in the calling thread and allocate nothing.
 */

/* Which two dimensions of a head are turned together: number i of d_rotary / 2 pairs. */
typedef enum sa_rope_layout {
    SA_ROPE_HALF = 0,       /* i and i + d_rotary / 2: Llama, GPT-NeoX, Qwen, Mistral as published on Hugging Face */
    SA_ROPE_INTERLEAVED = 1 /* 2 i and 2 i + 1: the paper, GPT-J, Llama's original weights */
} sa_rope_layout;

/* What the frequencies base^(-2 i / d_rotary), f[i], become for texts longer than the model was trained on. */
typedef enum sa_rope_scaling {
    SA_ROPE_PLAIN = 0,  /* f[i] (Su et al., arXiv:2104.09864) */
    SA_ROPE_LINEAR = 1, /* f[i] / factor: positions interpolated (Chen et al., arXiv:2306.15595) */
    SA_ROPE_NTK = 2,    /* base * factor^(d_rotary / (d_rotary - 2)) for base: "NTK-aware", d_rotary >= 4 */
    SA_ROPE_YARN = 3,   /* by parts (Peng et al., arXiv:2309.00071): with c(b) = d_rotary ln(original_length / (2 pi b))
                           / (2 ln base), lo = floor c(beta_fast) and hi = ceil c(beta_slow), both kept within
                           0 .. d_rotary - 1 (hi + 0.001 where they are equal), r = (i - lo) / (hi - lo) kept within
                           0 .. 1: f[i] (1 - r) + f[i] / factor * r. Cosine and sine are multiplied by magnitude */
    SA_ROPE_LLAMA3 = 4  /* wavelengths w = 2 pi / f[i] below original_length / high_factor keep f[i], those above
                           original_length / low_factor get f[i] / factor, between them f[i] (1 - r) / factor + f[i] r
                           with r = (original_length / w - low_factor) / (high_factor - low_factor) */
} sa_rope_scaling;

/* Rotary embeddings: pair i of a head at position p becomes (a cos t - b sin t, a sin t + b cos t), t = p f[i].
 *
 * Frequencies, angles, cosines and sines are computed in float64 and rounded once, so that at every position the cosine
 * (sine) is off by no more than magnitude (2^-25 + |p| f[i] 2^-47) with f[i] before scaling: 3e-8 + 7e-9 at a million.
 * (Tables made in float32, as frameworks do, are off by up to 0.06 there.) The two products and their sum are those of
 * SA_F32. */
typedef struct sa_rope {
    size_t struct_size; /* sizeof(sa_rope) */
    int32_t d_rotary;   /* even: dimensions 0 .. d_rotary - 1 of a head are turned, the others stay. 0: all of them */
    int32_t layout;     /* sa_rope_layout */
    int32_t scaling;    /* sa_rope_scaling */
    int32_t reserved;   /* 0 */
    double base;        /* > 1; 0: 10000 */

    double factor;                  /* > 0; with a scaling. 0: 1 */
    double original_length;         /* > 0; YARN, LLAMA3: tokens the model was trained on */
    double beta_fast, beta_slow;    /* > 0; YARN. 0: 32 and 1 */
    double magnitude;               /* > 0; YARN. 0: 0.1 ln(factor) + 1, or 1 where factor <= 1 */
    double low_factor, high_factor; /* > 0, low < high; LLAMA3. 0: 1 and 4 */
} sa_rope;

/* What positions are put into: element (token t, head h, dimension c) at data[t * token_stride + h * head_stride + c].
 */
typedef struct sa_rows {
    size_t struct_size;                /* sizeof(sa_rows) */
    void *data;                        /* changed in place */
    int64_t n_tokens;                  /* 0 .. 2^31 - 2^20 */
    int64_t token_stride, head_stride; /* in elements; 0: packed, as in sa_tensor */
    int32_t n_heads;                   /* 1 or more; 0: 1 */
    int32_t d;                         /* dimensions of a head, 1 .. 65536 */
    int32_t type;                      /* SA_F32, SA_BF16 or SA_F16: computed in SA_F32, rounded once */
    int32_t reserved;                  /* 0 */
    const int32_t *positions; /* [n_tokens], |p| <= 2^30; NULL: token t stands at position first_position + t */
    int64_t first_position;   /* |p| <= 2^30 for all tokens */
} sa_rows;

/* The frequencies f[i] after scaling, d_rotary / 2 of them, for heads of d dimensions; *magnitude, if not NULL, what
 * cosine and sine are multiplied with. */
SA_API sa_status sa_rope_frequencies(const sa_rope *rope, int32_t d, double *frequencies, double *magnitude);

/* Turns queries or keys, all heads alike. `rope` NULL: all defaults. d_rotary may be up to 1024. */
SA_API sa_status sa_rope_apply(const sa_rope *rope, const sa_rows *rows);

/* Adds sin(p base^(-2 i / d)) to dimension 2 i and cos of it to 2 i + 1 (Vaswani et al., arXiv:1706.03762), in all
 * heads alike; base 0: 10000. As accurate as sa_rope_apply(). d up to 65536. */
SA_API sa_status sa_sinusoids_add(double base, const sa_rows *rows);

/* A learned table of n_positions vectors of d elements; that of position p at data[p * stride]. */
typedef struct sa_position_table {
    size_t struct_size; /* sizeof(sa_position_table) */
    const void *data;
    int64_t n_positions;
    int64_t stride;   /* in elements; 0: d */
    int32_t type;     /* SA_F32, SA_BF16 or SA_F16 */
    int32_t reserved; /* 0 */
} sa_position_table;

/* Adds to every token the table's vector of its position, in all heads alike. A position outside of the table is
 * SA_INVALID, nothing has been written then. */
SA_API sa_status sa_positions_add(const sa_position_table *table, const sa_rows *rows);

/* ------------------------------------------------------------------------------------------------------------------
 * Layer: the weights
 */

typedef struct sa_layer sa_layer;

/* A matrix of weights: row r, column c at data[r * stride + c]. */
typedef struct sa_matrix {
    const void *data; /* NULL: none */
    int64_t stride;   /* elements from one row to the next, >= their length; 0: packed */
} sa_matrix;

#define SA_LAYER_IN_OUT 1u /* matrices are stored [in, out], a row an input dimension; otherwise [out, in] */
#define SA_LAYER_REFERENCE                                                                                             \
    2u /* matrices are used where they stand, and must stay there unchanged while the layer lives.                     \
          16-bit ones are then converted anew by every call. Otherwise they are copied, as SA_F32                      \
          (vectors always are) */

typedef struct sa_layer_options {
    size_t struct_size;    /* sizeof(sa_layer_options) */
    int32_t d_model;       /* 1 .. 65536 */
    int32_t d_memory;      /* dimension of what k and v are made from; 0: d_model, as in self-attention */
    int32_t d_out;         /* 0: d_model, or without w_o n_query_heads * d_v */
    int32_t n_query_heads; /* a multiple of n_kv_heads, 1 .. 65536 */
    int32_t n_kv_heads;    /* 0: n_query_heads */
    int32_t d_qk;          /* 1 .. 576; 0: d_model / n_query_heads, if that is whole */
    int32_t d_v;           /* 1 .. 576; 0: d_qk */
    int32_t weight_type;   /* of the matrices: SA_F32, SA_BF16 or SA_F16 */
    int32_t vector_type;   /* of biases and norms: the same types */
    uint32_t flags;        /* SA_LAYER_IN_OUT, SA_LAYER_REFERENCE */

    /* Heads follow each other: output h * d_qk + c of w_q is dimension c of query head h. */
    sa_matrix w_q;   /* out n_query_heads * d_qk, in d_model */
    sa_matrix w_k;   /* out n_kv_heads * d_qk, in d_memory */
    sa_matrix w_v;   /* out n_kv_heads * d_v, in d_memory */
    sa_matrix w_qkv; /* instead of these three, with d_memory = d_model: their outputs one after the other, q, k, v */
    sa_matrix w_o;   /* out d_out, in n_query_heads * d_v. None: y is the heads' outputs, one after the other */

    const void *b_q, *b_k, *b_v, *b_qkv,
        *b_o; /* biases, one an output; NULL: none. b_qkv instead of the three before */

    const void *q_norm, *k_norm; /* [d_qk], NULL: none. A head's q (k), biased, becomes q / sqrt(mean q^2 + eps) * norm
                                    before it is turned. The mean is formed in float64 */
    float norm_eps;              /* finite, >= 0; 0: 1e-6 */
    uint32_t reserved;           /* 0 */
    const sa_rope *rope;         /* NULL: q and k are not turned. Copied */
} sa_layer_options;

/* Makes a layer. Weights, biases and norms that are missing, do not fit or hold NaN or inf are SA_INVALID, with the
 * place in sa_last_reason(). Computes in the calling thread. On failure *layer is NULL. */
SA_API sa_status sa_layer_create(const sa_layer_options *options, sa_layer **layer);

/* Frees everything. No call may be running. NULL is allowed. */
SA_API void sa_layer_destroy(sa_layer *layer);

/* ------------------------------------------------------------------------------------------------------------------
 * Batch: what to compute
 */

/* What the new keys and values of a sequence are made from. */
typedef enum sa_layer_source {
    SA_LAYER_SELF = 0,   /* from x: as many as there are queries */
    SA_LAYER_MEMORY = 1, /* from memory: cross-attention */
    SA_LAYER_NONE = 2    /* there are none: all are in the cache */
} sa_layer_source;

/* Vectors of one sequence, beside its sa_sequence. Element (token t, dimension c) stands at x[t * x_stride + c].
 * Strides count elements; 0 means packed. Pointers may be NULL where there are no tokens. */
typedef struct sa_layer_tokens {
    const void *x;         /* n_q tokens, d_model */
    int64_t x_stride;      /* of either sign */
    void *y;               /* n_q tokens, d_out. May be x of the same sequence, with the same type and stride, and is
                              then no input of another: y takes its place. Otherwise it must not overlap any input
                              or other output */
    int64_t y_stride;      /* of either sign */
    const void *memory;    /* n_memory tokens, d_memory */
    int64_t memory_stride; /* of either sign */
    int64_t n_memory;      /* with SA_LAYER_MEMORY, otherwise 0 */
    int32_t source;        /* sa_layer_source */
    int32_t reserved;      /* 0 */

    const int32_t *x_positions;      /* [n_q], for rotary embeddings of q, and of k with SA_LAYER_SELF. NULL: those of
                                        the sequence, q_positions or q_offset + i; of k k_positions or j */
    const int32_t *memory_positions; /* [n_memory], of k with SA_LAYER_MEMORY. NULL: those of the sequence */
} sa_layer_tokens;

/* The attention is told as to sa_batch_forward(), every option of it: `attention` and its sequences are handed on with
 * what the layer knows filled in. Of a sequence q and o are left empty; n_q is the number of tokens of x. Of the batch
 * heads and dimensions are 0 or the layer's, q_type and o_type are 0.
 *
 * Without a cache k and v of a sequence are left empty and n_k is 0 or the number of new keys, that of n_q with
 * SA_LAYER_SELF and n_memory with SA_LAYER_MEMORY; k_type and v_type are 0. SA_LAYER_SELF is causal only with
 * SA_CAUSAL.
 *
 * With a cache k and v of the sequence (pages, scales) and k_type, v_type of the batch describe it, as for
 * sa_cache_append(): the new keys and values are appended, as tokens n_k - n .. n_k - 1, then all n_k are attended to.
 * So a prefill, a chunk of one and a decoding step are the same call; a cross-attention's cache is filled by the first
 * call, with SA_LAYER_MEMORY, and then used with SA_LAYER_NONE. In a batch all sequences have a cache or none has. */

/* Rows of all sequences follow each other in products, wherever their places in a dozen are, and up to 6 rows are
 * multiplied one by one, which takes half the time for 1: up to twelve times faster for many short sequences and for
 * steps of many that are equally far. But see "Bits" at the top. */
#define SA_LAYER_PACK 1u

typedef struct sa_layer_batch {
    size_t struct_size;            /* sizeof(sa_layer_batch) */
    size_t tokens_size;            /* sizeof(sa_layer_tokens): the step from one element of `tokens` to the next */
    const sa_batch *attention;     /* the sequences and every option of their attention */
    const sa_layer_tokens *tokens; /* one for each sequence */
    int32_t x_type, memory_type, y_type; /* SA_F32, SA_BF16 or SA_F16 */
    uint32_t flags;                      /* SA_LAYER_PACK */
    void *workspace;        /* NULL: the layer's, kept for later calls. Otherwise memory of this call only, */
    size_t workspace_bytes; /* at least sa_layer_workspace_bytes() of it, on a boundary of 64 bytes */
} sa_layer_batch;

/* First initialiser of a sa_layer_batch. */
#define SA_LAYER_BATCH_HEAD sizeof(sa_layer_batch), sizeof(sa_layer_tokens)

/* Memory that a call with this batch works in, exactly, beside the engine's own (see sa_batch_info). Without a cache
 * sequences that follow each other are computed in groups of about 4600 tokens a thread of the engine, or of a single
 * sequence that is longer: q, k, v and the heads' outputs, and x and memory unless they are the rows of one matrix of
 * SA_F32 (packed ones of a group that begins within a dozen are, too), are there for one group at a time. Beside that
 * there is 1 KB at most for a sequence. So the memory grows with the longest sequence, never with products of lengths.
 * With a cache all sequences are one group. The batch's tensors are not looked at. Errors as those of
 * sa_layer_forward(), as far as they show in the structs of this header. */
SA_API sa_status sa_layer_workspace_bytes(sa_engine *engine, const sa_layer *layer, const sa_layer_batch *batch,
                                          size_t *bytes);

/* Computes y for every sequence. Intermediate results (q, k, v, the heads' outputs) are SA_F32, keys and values in a
 * cache are rounded to its type; elements of x and y are converted as in sa/sa.h. Returns when everything is written;
 * allocates nothing once a call of the same size and concurrency has been made.
 *
 * Errors: SA_INVALID and SA_UNSUPPORTED for what is wrong here, with sa_cache_append() or with sa_batch_forward():
 * everything is checked before y or a cache is written. sa_batch.progress is set to 0 first; where there are several
 * groups it goes on when one of them is done. NaN in a token of x reaches the rows of y that see it, and no
 * other. */
SA_API sa_status sa_layer_forward(sa_engine *engine, const sa_layer *layer, const sa_layer_batch *batch);

#ifdef __cplusplus
}
#endif

#endif
