/* SPDX-License-Identifier: MIT */
#include "kinds_split.h"

#include <math.h>
#include <stdlib.h>

#include "elements.h"
#include "reference.h"

/* Lists and positions that parts need of their own, to be freed. */
struct cut {
    const sa_batch *whole;
    const sa_sequence *s;
    int64_t at;
    bool calls; /* in two calls */
    void *made[16];
    int n_made;
};

static void *make(struct cut *cut, size_t bytes) {
    must(cut->n_made < 16, "too many lists");
    return cut->made[cut->n_made++] = calloc(1, bytes + 1);
}

/* ---------------------------------------------------------------- where */

/* Between pages and between blocks, and not within a tree. -1: nowhere. */
static int64_t place_of_cut(const sa_sequence *s, struct dice *dice) {
    const int64_t page = s->k_pages.table ? s->k_pages.page_tokens : 1;
    const int64_t step = page * (s->blocks.k_block ? s->blocks.k_block : 1);
    const int64_t most = (s->n_k - s->n_tree_keys) / step;
    return most < 1 ? -1 : step * roll_between(dice, 1, most);
}

/* ---------------------------------------------------------------- what both parts need */

static sa_block_list cut_list(struct cut *cut, const sa_block_list *list, bool second) {
    const sa_block_sparsity *blocks = &cut->s->blocks;
    const int64_t border = cut->at / blocks->k_block;
    const int64_t n_lists = (cut->s->n_q + blocks->q_block - 1) / blocks->q_block;
    const int64_t n = (cut->whole->n_query_heads - 1) * list->head_stride + n_lists;
    if (!list->begin)
        return *list;
    int64_t *begin = make(cut, (size_t)(n + 1) * sizeof *begin), to = 0;
    int32_t *kept = make(cut, (size_t)(list->begin[n] + 1) * sizeof *kept);
    for (int64_t x = 0; x < n; x++) {
        begin[x] = to;
        for (int64_t i = list->begin[x]; i < list->begin[x + 1]; i++)
            if (second == (list->blocks[i] >= border))
                kept[to++] = (int32_t)(list->blocks[i] - (second ? border : 0));
    }
    begin[n] = to;
    return (sa_block_list){begin, kept, list->head_stride};
}

/* Everything but the keys: what queries are by default is said aloud, since it counts from the end of the keys. */
static sa_sequence part_of(struct cut *cut, bool second) {
    sa_sequence part = *cut->s;
    part.q_offset = part.flags & SA_SEQ_Q_OFFSET ? part.q_offset : part.first_key + part.n_k - part.n_q;
    part.flags = SA_SEQ_Q_OFFSET;
    if (part.k_documents && !part.q_documents)
        part.q_documents = part.k_documents + (part.n_k - part.n_q);
    if (part.blocks.q_block) {
        part.blocks.full = cut_list(cut, &cut->s->blocks.full, second);
        part.blocks.partial = cut_list(cut, &cut->s->blocks.partial, second);
    }
    part.sink_logits = NULL;
    part.row_max = (sa_output){NULL, 0, 0};
    part.weights = (sa_row_weights){NULL, NULL, 0, 0};
    part.key_mass = (sa_key_mass){NULL, 0, 0, 0, NULL};
    return part;
}

/* ---------------------------------------------------------------- the second part's keys */

static void skip_grid(sa_grid *grid, int64_t keys, int bytes) {
    if (grid->data)
        grid->data = (const char *)grid->data + keys * grid->key_stride * bytes;
}

static void skip_cache(const struct cut *cut, sa_sequence *part) {
    const sa_batch *b = cut->whole;
    const bool scales = !(b->flags & SA_SCALES_PER_HEAD);
    if (part->k_pages.table) {
        part->k_pages.table += cut->at / part->k_pages.page_tokens;
        if (part->v_pages.table)
            part->v_pages.table += cut->at / part->v_pages.page_tokens;
    } else if (part->n_k > 0) {
        part->k.data = reference_k(b, cut->s, cut->at, 0);
        part->v.data = reference_v(b, cut->s, cut->at, 0);
        if (b->k_type == SA_I8 && scales)
            part->k_scales.data = reference_k_scale(b, cut->s, cut->at, 0);
        if (b->v_type == SA_I8 && scales)
            part->v_scales.data = reference_v_scale(b, cut->s, cut->at, 0);
    }
}

/* Keys stand where they stood. */
static void skip_positions(struct cut *cut, sa_sequence *part) {
    if (cut->calls)
        part->first_key += cut->at;
    if (part->k_positions) {
        part->k_positions += cut->at;
    } else if (cut->calls) {
        return;
    } else if (part->q_positions) {
        int32_t *positions = make(cut, (size_t)part->n_k * sizeof *positions);
        for (int64_t j = 0; j < part->n_k; j++)
            positions[j] = (int32_t)(cut->at + j);
        part->k_positions = positions;
    } else {
        part->q_offset -= cut->at;
    }
}

static sa_sequence second_part(struct cut *cut) {
    sa_sequence part = part_of(cut, true);
    part.n_k -= cut->at;
    if (!cut->calls)
        part.n_prefix_keys = part.n_prefix_keys > cut->at ? part.n_prefix_keys - cut->at : 0;
    part.k_documents = part.k_documents ? part.k_documents + cut->at : NULL;
    skip_cache(cut, &part);
    skip_positions(cut, &part);
    skip_grid(&part.mask, cut->at, 1);
    skip_grid(&part.bias, cut->at, element_bytes(cut->whole->bias_type));
    return part;
}

static sa_sequence first_part(struct cut *cut) {
    sa_sequence part = part_of(cut, false);
    part.n_k = cut->at;
    part.tree_parents = NULL;
    part.n_tree_keys = 0;
    return part;
}

/* ---------------------------------------------------------------- computing */

/* Where the results of a part go. */
static void set_outputs(struct cut *cut, sa_batch *b, sa_sequence *part, sa_partial *partial) {
    const int64_t rows = part->n_q * b->n_query_heads;
    if (cut->calls) {
        part->partial_bytes = sa_partial_bytes(part->n_q, b->n_query_heads, b->d_v, part->first_key, part->n_k);
        part->partial = make(cut, part->partial_bytes);
        part->o = part->lse = (sa_output){NULL, 0, 0};
        *partial = (sa_partial){.partial = part->partial};
        return;
    }
    float *o = make(cut, (size_t)(rows * b->d_v) * sizeof *o), *lse = make(cut, (size_t)rows * sizeof *lse);
    part->o = (sa_output){o, 0, 0};
    part->lse = (sa_output){lse, b->n_query_heads, 1};
    b->o_type = SA_F32;
    *partial = (sa_partial){.o = {o, 0, 0}, .lse = {lse, b->n_query_heads, 1}};
}

static sa_status compute(sa_engine *engine, struct cut *cut, bool second, sa_partial *partial) {
    sa_batch b = *cut->whole;
    sa_sequence part = second ? second_part(cut) : first_part(cut);
    set_outputs(cut, &b, &part, partial);
    b.sequences = &part;
    b.sink_logits = NULL;
    if (second && !cut->calls)
        b.n_sink_keys = b.n_sink_keys > cut->at ? b.n_sink_keys - cut->at : 0;
    return sa_batch_forward(engine, &b);
}

static float largest_lse(const sa_partial *partial, int64_t rows) {
    float largest = 0;
    for (int64_t i = 0; i < rows; i++) {
        const float lse = fabsf(((const float *)partial->lse.data)[i]);
        largest = lse < INFINITY && lse > largest ? lse : largest;
    }
    return largest;
}

static sa_status merge(sa_engine *engine, struct cut *cut, const sa_partial partials[2], struct kinds_merged *merged) {
    const sa_batch *b = cut->whole;
    const int64_t rows = cut->s->n_q * b->n_query_heads;
    const int type = cut->calls ? b->o_type : SA_F32;
    char *o = make(cut, (size_t)(rows * b->d_v * element_bytes(type)));
    merged->o = malloc((size_t)(rows * b->d_v + 1) * sizeof *merged->o);
    merged->lse = malloc((size_t)(rows + 1) * sizeof *merged->lse);
    for (int i = 0; i < 2 && !cut->calls; i++)
        merged->lse_size = fmaxf(merged->lse_size, largest_lse(&partials[i], rows));
    const sa_merge_request request = {SA_MERGE_HEAD,
                                      .n_partials = 2,
                                      .partials = partials,
                                      .n_q = cut->s->n_q,
                                      .n_query_heads = b->n_query_heads,
                                      .d_v = b->d_v,
                                      .o_type = type,
                                      .o = {o, 0, 0},
                                      .lse = {merged->lse, b->n_query_heads, 1},
                                      .sink_logits = cut->s->sink_logits ? cut->s->sink_logits : b->sink_logits};
    const sa_status status = sa_merge(engine, &request);
    for (int64_t i = 0; i < rows * b->d_v; i++)
        merged->o[i] = (float)element_value(type, o + i * element_bytes(type));
    return status;
}

static sa_status compute_both(sa_engine *engine, struct cut *cut, struct kinds_merged *merged) {
    sa_partial partials[2];
    sa_status status = compute(engine, cut, false, &partials[0]);
    if (status == SA_OK)
        status = compute(engine, cut, true, &partials[1]);
    if (status == SA_OK)
        status = merge(engine, cut, partials, merged);
    for (int i = 0; i < cut->n_made; i++)
        free(cut->made[i]);
    return status;
}

sa_status kinds_split(sa_engine *engine, const sa_batch *batch, struct dice *dice, struct kinds_merged *merged) {
    struct cut cut = {.whole = batch, .s = reference_sequence(batch, 0)};
    *merged = (struct kinds_merged){.o = NULL};
    cut.at = place_of_cut(cut.s, dice);
    if (cut.at < 0 || cut.s->first_key || cut.s->q_offset < -(INT64_C(1) << 31))
        return SA_OK;
    return compute_both(engine, &cut, merged);
}

sa_status kinds_split_calls(sa_engine *engine, const sa_batch *batch, int64_t chunk, struct kinds_merged *merged) {
    const sa_sequence *s = reference_sequence(batch, 0);
    struct cut cut = {.whole = batch, .s = s, .calls = true};
    *merged = (struct kinds_merged){.o = NULL};
    cut.at = s->n_k / 2 / chunk * chunk;
    cut.at = cut.at > 0 ? cut.at : chunk;
    if (cut.at >= s->n_k || s->n_tree_keys || s->blocks.q_block ||
        (s->k_pages.table && cut.at % s->k_pages.page_tokens))
        return SA_OK;
    return compute_both(engine, &cut, merged);
}

void kinds_drop_merged(struct kinds_merged *merged) {
    free(merged->o);
    free(merged->lse);
}
