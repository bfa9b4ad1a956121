/* SPDX-License-Identifier: MIT */
/* Which keys a query sees, rule by rule, as sa.h puts them. */
#include <math.h>
#include <stdlib.h>

#include "elements.h"
#include "reference.h"

/* ---------------------------------------------------------------- positions */

int64_t reference_q_position(const sa_sequence *seq, int64_t i) {
    const int64_t offset = seq->flags & SA_SEQ_Q_OFFSET ? seq->q_offset : seq->first_key + seq->n_k - seq->n_q;
    return seq->q_positions ? seq->q_positions[i] : offset + i;
}

int64_t reference_k_position(const sa_sequence *seq, int64_t j) {
    return seq->k_positions ? seq->k_positions[j] : seq->first_key + j;
}

/* Causality, the window, and the keys for which one of its limits does not hold. */
static bool within_limits(const sa_batch *b, const sa_sequence *seq, int64_t i, int64_t j) {
    const int64_t p = reference_q_position(seq, i), at = reference_k_position(seq, j);
    const bool window = b->flags & SA_WINDOW;
    const bool too_late =
        (b->flags & SA_CAUSAL && at > p) || (window && b->window_right >= 0 && at > p + b->window_right);
    const bool too_early = window && b->window_left >= 0 && at < p - b->window_left;
    const int64_t number = seq->first_key + j;
    return !(too_late && number >= seq->n_prefix_keys) && !(too_early && number >= b->n_sink_keys);
}

/* ---------------------------------------------------------------- documents */

static bool of_one_document(const sa_sequence *seq, int64_t i, int64_t j) {
    if (!seq->k_documents)
        return true;
    const int32_t own = seq->q_documents ? seq->q_documents[i] : seq->k_documents[seq->n_k - seq->n_q + i];
    return own == seq->k_documents[j];
}

/* ---------------------------------------------------------------- a tree of drafts */

static bool is_node(const sa_sequence *seq, int64_t j) { return j >= seq->n_k - seq->n_tree_keys; }

/* Is key j query i's own node, or an ancestor of it? */
static bool is_on_path(const sa_sequence *seq, int64_t i, int64_t j) {
    const int64_t wanted = j - (seq->n_k - seq->n_tree_keys);
    int64_t node = seq->n_tree_keys - seq->n_q + i;
    while (node > wanted)
        node = seq->tree_parents[node];
    return node == wanted;
}

/* ---------------------------------------------------------------- block lists */

static bool is_listed(const sa_block_sparsity *blocks, const sa_block_list *list, int64_t i, int head, int64_t j) {
    if (!list->begin)
        return false;
    const int64_t x = head * list->head_stride + i / blocks->q_block;
    for (int64_t at = list->begin[x]; at < list->begin[x + 1]; at++)
        if (list->blocks[at] == j / blocks->k_block)
            return true;
    return false;
}

/* ---------------------------------------------------------------- grids */

const void *reference_in_grid(const sa_grid *grid, int type, int64_t i, int head, int64_t j) {
    const int64_t at = head * grid->head_stride + i * grid->query_stride + j * grid->key_stride;
    return (const char *)grid->data + at * element_bytes(type);
}

double reference_bias(const sa_batch *batch, const sa_sequence *seq, int64_t i, int head, int64_t j) {
    if (!seq->bias.data)
        return 0;
    return element_value(batch->bias_type, reference_in_grid(&seq->bias, batch->bias_type, i, head, j));
}

static bool is_masked(const sa_sequence *seq, int64_t i, int head, int64_t j) {
    return seq->mask.data && *(const signed char *)reference_in_grid(&seq->mask, SA_I8, i, head, j) == 0;
}

/* ---------------------------------------------------------------- all of them */

/* A full block overrules everything but a bias of -inf, which is part of the score. */
bool reference_sees(const sa_batch *batch, const sa_sequence *seq, int64_t i, int head, int64_t j) {
    const sa_block_sparsity *blocks = &seq->blocks;
    if (reference_bias(batch, seq, i, head, j) == -HUGE_VAL)
        return false;
    if (is_listed(blocks, &blocks->full, i, head, j))
        return true;
    if ((blocks->full.begin || blocks->partial.begin) && !is_listed(blocks, &blocks->partial, i, head, j))
        return false;
    if (is_node(seq, j) ? !is_on_path(seq, i, j) : !within_limits(batch, seq, i, j))
        return false;
    return of_one_document(seq, i, j) && !is_masked(seq, i, head, j);
}

bool reference_visible(const sa_batch *batch, const sa_sequence *seq, int64_t i, int64_t j) {
    const bool heads_differ = seq->blocks.full.head_stride || seq->blocks.partial.head_stride ||
                              seq->mask.head_stride || seq->bias.head_stride;
    for (int head = 0; head < (heads_differ ? batch->n_query_heads : 1); head++)
        if (reference_sees(batch, seq, i, head, j))
            return true;
    return false;
}
