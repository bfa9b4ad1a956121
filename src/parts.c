/* SPDX-License-Identifier: MIT */
#include "parts.h"

#include <math.h>

#include "kernels/kernels.h"

/* ---------------------------------------------------------------- where parts are */

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* A part in which sink keys end and the others begin is one of the others, if there are any. */
static void number_parts(struct sa_split *split) {
    const struct sa_span *s = &split->span;
    const int64_t keys = sa_split_keys(split), sinks = (s->sink + keys - 1) / keys;
    const bool others = s->lo < s->hi;
    split->first = others ? s->lo / keys : sinks;
    split->sink_parts = min64(sinks, split->first);
    split->n_parts = (int32_t)(split->sink_parts + (others ? (s->hi + keys - 1) / keys - split->first : 0));
}

int sa_parts_below(const struct sa_split *split, int64_t key) {
    const int64_t number = key / sa_split_keys(split), others = split->n_parts - split->sink_parts;
    return (int)(min64(number, split->sink_parts) + sa_clamp(number - split->first, 0, others));
}

int64_t sa_split_slot(const struct sa_split *split, int kv_head, int64_t begin) {
    const int64_t seen = begin < split->span.sink ? begin : max64(begin, split->span.lo);
    const int64_t part = kv_head * (int64_t)split->n_parts + sa_parts_below(split, seen);
    const int64_t node = seen % sa_split_keys(split) / sa_node_keys(sa_split_level(split));
    return split->first_slot + part * sa_part_nodes(split) + node;
}

/* ---------------------------------------------------------------- which tiles, and how fine */

/* The power of two that is nearest, as a factor. */
static int nearest_log2(double x) { return x > 1 ? (int)(log2(x) + 0.5) : 0; }

static struct sa_split split_tile(const struct sa_problem *problem, int32_t seq, int64_t tile, double n_parts) {
    const struct sa_seq *s = &problem->seqs[seq];
    struct sa_split split = {.tile = tile, .n_k = s->n_k, .span = sa_tile_span(problem, s, tile), .seq = seq};
    const struct sa_span common = sa_tile_common(problem, s, tile);
    const int64_t keys = split.span.sink + split.span.hi - split.span.lo;
    split.full_begin = common.lo;
    split.full_end = common.hi;
    split.log2_chunks = nearest_log2((double)keys / SA_CHUNK_KEYS / ceil(n_parts));
    number_parts(&split);
    return split;
}

/* The cost of a part that all rows see; any will do. */
static void set_full_cost(struct sa_split *split, const struct sa_problem *problem, const struct sa_cost_model *model) {
    const int64_t keys = sa_split_keys(split), begin = (split->full_begin + keys - 1) / keys * keys;
    split->full_cost = sa_part_cost(model, problem, &problem->seqs[split->seq], split->tile, begin, begin + keys);
}

static bool add_split(struct sa_splits *splits, const struct sa_problem *problem, struct sa_split split) {
    const size_t used = (size_t)splits->n * sizeof split;
    if (!sa_buffer_extend(&splits->buffer, used, used + sizeof split))
        return false;
    const struct sa_seq *seq = &problem->seqs[split.seq];
    const int64_t rows = sa_seq_rows(problem, seq) - split.tile * SA_TILE_ROWS;
    const int64_t parts = (int64_t)split.n_parts * problem->n_kv_heads;
    splits->at = splits->buffer.data;
    split.first_slot = splits->n_slots;
    split.parts_before = sa_splits_parts_before(splits, split.seq, split.tile);
    splits->at[splits->n++] = split;
    splits->n_parts += parts / sa_abreast(seq);
    splits->n_slots += parts * sa_part_nodes(&split);
    splits->most_rows = (int)max64(splits->most_rows, min64(rows, SA_TILE_ROWS));
    return true;
}

static bool split_seq(struct sa_splits *splits, const struct sa_problem *problem, const struct sa_cost_model *model,
                      int32_t seq, double part_cost) {
    const struct sa_seq *s = &problem->seqs[seq];
    const bool odd = s->kept || (s->first_key > 0 && problem->rule.sink > s->first_key);
    if (odd || s->n_k <= SA_CHUNK_KEYS)
        return true;
    for (int64_t tile = 0; tile < sa_seq_tiles(problem, s); tile++) {
        const double n_parts = sa_tile_cost(model, problem, s, tile) / part_cost;
        if (n_parts < SA_LEAST_PARTS)
            continue;
        struct sa_split split = split_tile(problem, seq, tile, n_parts);
        if (split.n_parts < 2)
            continue;
        set_full_cost(&split, problem, model);
        if (!add_split(splits, problem, split))
            return false;
    }
    return true;
}

bool sa_splits_make(struct sa_splits *splits, const struct sa_problem *problem, const struct sa_cost_model *model,
                    double part_cost) {
    splits->n = splits->n_parts = splits->n_slots = 0;
    splits->most_rows = 0;
    for (int32_t seq = 0; part_cost > 0 && seq < problem->n_seqs; seq++)
        if (!split_seq(splits, problem, model, seq, part_cost))
            return false;
    return true;
}

void sa_splits_free(struct sa_splits *splits) { sa_buffer_free(&splits->buffer); }

/* ---------------------------------------------------------------- looking them up */

/* Splits that stand before (seq, tile). */
static int64_t count_before(const struct sa_splits *splits, int32_t seq, int64_t tile) {
    int64_t low = 0, high = splits->n;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        const struct sa_split *s = &splits->at[middle];
        if (s->seq < seq || (s->seq == seq && s->tile < tile))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct sa_split *sa_splits_look_up(const struct sa_splits *splits, int32_t seq, int64_t tile) {
    const int64_t at = count_before(splits, seq, tile);
    const struct sa_split *split = &splits->at[at];
    return at < splits->n && split->seq == seq && split->tile == tile ? split : NULL;
}

int64_t sa_splits_parts_before(const struct sa_splits *splits, int32_t seq, int64_t tile) {
    const int64_t at = splits->n ? count_before(splits, seq, tile) : 0;
    const struct sa_split *last = at > 0 ? &splits->at[at - 1] : NULL;
    return last && last->seq == seq ? last->parts_before + last->n_parts - 1 : 0;
}
