/* SPDX-License-Identifier: MIT */
/*
 * How the operator Attention of ONNX, opsets 23 to 25, maps onto sa_batch_forward(). A runtime would do the same with
 * its own tensors.
 *
 * What the operator says, after its errata of 2026, and what becomes of it:
 *
 *     3-D inputs [batch, tokens, heads * d], 4-D ones [batch, heads, tokens, d]     strides
 *     past_key, past_value, present_key, present_value   what is new is appended to a cache: sa_cache_append()
 *     nonpad_kv_seqlen          keys from there on are padding: n_k of the sequence
 *     position of query i       i + past length; with nonpad_kv_seqlen i + that - q length; else i:     q_offset
 *     is_causal                 no key after that position: SA_CAUSAL. So it is aligned to the top left without a cache
 *     left_, right_window_size  of opset 25, both inclusive, -1: none: SA_WINDOW
 *     attn_mask                 1-D to 4-D, broadcast from the right. bool, true = attend: mask; of numbers: bias.
 *                               Shorter than the keys it hides the rest of them: n_k again
 *     softcap                   before the mask: softcap
 *     qk_matmul_output          mode 3, after softmax: weights of all rows. Modes 0 to 2 are scores, which the engine
 *                               never keeps: refused
 *     a query that sees no key  is NaN by the operator's formula, and 0 here
 */
#ifndef SA_TESTS_ONNX_ATTENTION_H
#define SA_TESTS_ONNX_ATTENTION_H

#include <sa/sa.h>

enum { ONNX_BOOL = 100 }; /* a type beside those of sa_type */

/* Dense, the last axis first in memory. data NULL: not given, not wanted. */
struct onnx_tensor {
    void *data;
    int type, rank;
    int64_t dims[4];
};

struct onnx_attention {
    int is_causal, q_num_heads, kv_num_heads, qk_matmul_output_mode; /* heads: of 3-D inputs only */
    float scale;                                                     /* 0: not given */
    float softcap;
    int64_t left_window_size, right_window_size;

    struct onnx_tensor q, k, v, attn_mask, past_key, past_value;
    const int64_t *nonpad_kv_seqlen; /* [batch] */

    /* y has the shape of q, but for d. The present ones must be given where the past ones are: attention reads them. */
    struct onnx_tensor y, present_key, present_value, qk_matmul_output;
};

/* First initialisers: what is not 0 by default. */
#define ONNX_ATTENTION_DEFAULTS .left_window_size = -1, .right_window_size = -1

/* Computes y and the other outputs. On failure *why says why, in a text that is valid until the thread's next call. */
sa_status onnx_attention(sa_engine *engine, const struct onnx_attention *node, const char **why);

#endif
