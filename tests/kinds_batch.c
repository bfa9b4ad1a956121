/* SPDX-License-Identifier: MIT */
#include "kinds_batch.h"

#include <math.h>

#include "elements.h"
#include "paged.h"

/* A sequence that is being furnished, and the dice of what is added to it. */
struct place {
    struct drawn *drawn;
    sa_sequence *s;
    struct dice dice;
    bool far;
};

/* ---------------------------------------------------------------- who sees whom */

enum positions { SHIFTED, SCATTERED, REPEATED, BACKWARD, N_POSITIONS };

static int32_t *draw_positions(struct place *p, int64_t n, int64_t from, int64_t range) {
    int32_t *positions = drawn_map(p->drawn, (size_t)n * sizeof *positions);
    const int how = (int)(roll(&p->dice) % N_POSITIONS);
    for (int64_t i = 0; i < n; i++)
        positions[i] = (int32_t)(from + (how == SHIFTED     ? i
                                         : how == SCATTERED ? roll_between(&p->dice, 0, range)
                                         : how == REPEATED  ? i / 3
                                                            : n - i));
    return positions;
}

/* At the ends of what is allowed, too. */
static void add_positions(struct place *p) {
    sa_sequence *s = p->s;
    const bool far = roll_one_in(&p->dice, 4), of_q = roll_one_in(&p->dice, 2);
    const bool both = far || roll_one_in(&p->dice, 3);
    const int64_t range = s->n_q + s->n_k + 3;
    const int64_t base = !far ? 0 : roll_one_in(&p->dice, 2) ? -(1 << 30) : (1 << 30) - 2 * range;
    if (of_q || both)
        s->q_positions = draw_positions(
            p, s->n_q, base + (roll_one_in(&p->dice, 2) && s->n_k > s->n_q ? s->n_k - s->n_q : 0), range);
    if (!of_q || both)
        s->k_positions = draw_positions(p, s->n_k, base, range);
}

static void add_prefix(struct place *p) {
    p->s->n_prefix_keys = roll_between(&p->dice, 0, roll_one_in(&p->dice, 3) ? 20 : p->s->n_k + 2);
}

/* Positions of one side only follow the other's. */
static void move_positions(const int32_t *positions, int64_t n, int64_t by) {
    int32_t *own = (int32_t *)(uintptr_t)positions;
    for (int64_t i = 0; own && i < n; i++)
        own[i] += (int32_t)by;
}

/* Near, or as far away as keys may be. Multiples of 3 and 17 chunks, for the sake of pages. */
static void add_first_key(struct place *p) {
    sa_sequence *s = p->s;
    const int64_t step = 3 * 17 * 1024, most = (INT64_C(1) << 31) - (INT64_C(1) << 20);
    const bool one_side = !s->q_positions != !s->k_positions, far = roll_one_in(&p->dice, 4) && !one_side;
    if (s->n_tree_keys || s->blocks.q_block)
        return;
    s->first_key = step * (far ? (most - s->n_k) / step : roll_between(&p->dice, 1, 12));
    if (s->flags & SA_SEQ_Q_OFFSET && !p->far)
        s->q_offset += s->first_key;
    if (s->n_prefix_keys && !roll_one_in(&p->dice, 3))
        s->n_prefix_keys += s->first_key;
    if (one_side) {
        move_positions(s->q_positions, s->n_q, s->first_key);
        move_positions(s->k_positions, s->n_k, s->first_key);
    }
}

/* Documents one after the other, or all mixed up. */
static int32_t *draw_documents(struct place *p, int64_t n, unsigned length, bool mixed) {
    int32_t *documents = drawn_map(p->drawn, (size_t)n * sizeof *documents);
    int32_t now = roll_one_in(&p->dice, 2) ? -2 : 0;
    for (int64_t i = 0; i < n; i++) {
        now += roll_one_in(&p->dice, length);
        documents[i] = mixed ? (int32_t)roll_between(&p->dice, -1, 1) : now;
    }
    return documents;
}

static void add_documents(struct place *p) {
    const bool mixed = roll_one_in(&p->dice, 4);
    const unsigned length = roll_one_in(&p->dice, 2) ? 7 : 90;
    p->s->k_documents = draw_documents(p, p->s->n_k, length, mixed);
    if (p->s->n_q > p->s->n_k || roll_one_in(&p->dice, 2))
        p->s->q_documents = draw_documents(p, p->s->n_q, length, mixed);
}

static void add_tree(struct place *p) {
    sa_sequence *s = p->s;
    if (s->n_k < s->n_q || s->n_k == 0)
        return;
    const int64_t more = s->n_k - s->n_q;
    const int64_t n = s->n_q + roll_between(&p->dice, 0, roll_one_in(&p->dice, 2) || more < 9 ? more : 9);
    const int64_t reach = roll_one_in(&p->dice, 3) ? 1 : roll_one_in(&p->dice, 2) ? 4 : n;
    if (n == 0)
        return;
    int32_t *parents = drawn_map(p->drawn, (size_t)n * sizeof *parents);
    for (int64_t t = 0; t < n; t++)
        parents[t] =
            (int32_t)(t == 0 || roll_one_in(&p->dice, 10) ? -1
                                                          : roll_between(&p->dice, t > reach ? t - reach : 0, t - 1));
    s->tree_parents = parents;
    s->n_tree_keys = n;
}

/* ---------------------------------------------------------------- block lists */

struct listing {
    int64_t n_lists, n_blocks, n_heads, head_stride;
    unsigned one_in;
};

/* Returns the length of `blocks`, which may be NULL. */
static int64_t roll_lists(struct dice *dice, const struct listing *l, int64_t n_begins, int64_t *begin,
                          int32_t *blocks) {
    int64_t n = 0;
    for (int64_t x = 0; x < n_begins; x++) {
        begin[x] = n;
        for (int32_t b = 0; x + 1 < n_begins && b < l->n_blocks; b++)
            if (roll_one_in(dice, l->one_in)) {
                if (blocks)
                    blocks[n] = b;
                n++;
            }
    }
    return n;
}

static sa_block_list draw_lists(struct place *p, const struct listing *l) {
    const int64_t n_begins = (l->n_heads - 1) * l->head_stride + l->n_lists + 1;
    int64_t *begin = drawn_map(p->drawn, (size_t)n_begins * sizeof *begin);
    struct dice again = p->dice;
    const int64_t n = roll_lists(&p->dice, l, n_begins, begin, NULL);
    int32_t *blocks = drawn_map(p->drawn, (size_t)n * sizeof *blocks);
    roll_lists(&again, l, n_begins, begin, blocks);
    return (sa_block_list){begin, blocks, l->n_heads > 1 ? l->head_stride : 0};
}

static void add_blocks(struct place *p) {
    static const int sizes[] = {1, 3, 7, 16, 32, 33, 64, 100, 256};
    sa_sequence *s = p->s;
    struct dice *dice = &p->dice;
    sa_block_sparsity *blocks = &s->blocks;
    blocks->q_block = sizes[roll(dice) % 9];
    blocks->k_block = sizes[(s->n_k > 200 ? 3 : 0) + roll(dice) % (s->n_k > 200 ? 6 : 9)];
    struct listing l = {.n_lists = (s->n_q + blocks->q_block - 1) / blocks->q_block,
                        .n_blocks = (s->n_k + blocks->k_block - 1) / blocks->k_block,
                        .n_heads = roll_one_in(dice, 2) ? p->drawn->batch.n_query_heads : 1};
    const int which = (int)(roll(dice) % 4);
    l.head_stride = l.n_lists + roll_between(dice, 0, 2);
    l.head_stride = l.head_stride ? l.head_stride : 1;
    l.one_in = which == 3 ? 3 : 2;
    if (which != 0)
        blocks->full = draw_lists(p, &l);
    l.n_heads = roll_one_in(dice, 2) ? p->drawn->batch.n_query_heads : 1;
    l.one_in = 1 + (unsigned)(roll(dice) % 3);
    if (which != 1)
        blocks->partial = draw_lists(p, &l);
}

/* ---------------------------------------------------------------- grids */

/* A broadcast axis has stride 0; others in some order, with room between them, some backwards. */
static int64_t lay_axis(struct dice *dice, int64_t n, bool broadcast, int64_t *extent) {
    if (broadcast)
        return 0;
    const int64_t stride = *extent + (roll_one_in(dice, 4) ? roll_between(dice, 1, 5) : 0);
    *extent = stride * (n > 0 ? n : 1);
    return stride;
}

struct grid {
    sa_grid at;
    int64_t extent; /* elements */
    char *low;      /* the first one in memory */
};

static struct grid draw_grid(struct place *p, int bytes) {
    struct dice *dice = &p->dice;
    const int64_t n[3] = {p->drawn->batch.n_query_heads, p->s->n_q, p->s->n_k};
    int64_t strides[3], extent = 1, first = 0;
    const unsigned broadcast = roll_one_in(dice, 2) ? 0 : (unsigned)roll(dice) & 7;
    const int order = roll_one_in(dice, 4) ? 1 : -1, from = order > 0 ? 0 : 2;
    for (int axis = from; axis >= 0 && axis < 3; axis += order)
        strides[axis] = lay_axis(dice, n[axis], broadcast >> axis & 1, &extent);
    for (int axis = 0; axis < 3; axis++)
        if (roll_one_in(dice, 5)) {
            first += strides[axis] * (n[axis] > 0 ? n[axis] - 1 : 0);
            strides[axis] = -strides[axis];
        }
    char *low = drawn_map(p->drawn, (size_t)extent * (size_t)bytes);
    return (struct grid){{low + first * bytes, strides[0], strides[1], strides[2]}, extent, low};
}

/* Dense or thin, and whole stretches of either. */
static void add_mask(struct place *p) {
    const struct grid grid = draw_grid(p, 1);
    unsigned one_in = 2, left = 0;
    bool whole = false, value = true;
    for (int64_t i = 0; i < grid.extent; i++, left--) {
        if (left == 0) {
            left = (unsigned)roll_between(&p->dice, 1, 600);
            whole = roll_one_in(&p->dice, 3);
            value = roll_one_in(&p->dice, 2);
            one_in = 1 + (unsigned)(roll(&p->dice) % 6);
        }
        const bool set = whole ? value : roll_one_in(&p->dice, one_in);
        grid.low[i] = (char)(set ? 1 << (roll(&p->dice) & 7) : 0);
    }
    p->s->mask = grid.at;
}

static void add_bias(struct place *p) {
    const int type = p->drawn->batch.bias_type, bytes = element_bytes(type);
    const struct grid grid = draw_grid(p, bytes);
    const bool hiding = roll_one_in(&p->dice, 2);
    const double size = roll_one_in(&p->dice, 3) ? 30 : 3;
    int64_t left = 0;
    for (int64_t i = 0; i < grid.extent; i++) {
        if (hiding && left == 0 && roll_one_in(&p->dice, 40))
            left = roll_between(&p->dice, 1, roll_one_in(&p->dice, 3) ? 300 : 4);
        element_store(type, left > 0 ? -HUGE_VAL : size * (double)roll_unit(&p->dice), grid.low + i * bytes);
        left -= left > 0;
    }
    p->s->bias = grid.at;
}

/* ---------------------------------------------------------------- numbers a head */

/* In one of six cases queries stand as far away as they may: slopes are then tiny. */
static bool is_far(uint64_t seed) {
    struct dice dice = kinds_dice(seed, 700);
    return roll_one_in(&dice, 6);
}

static float *draw_slopes(struct drawn *drawn, struct dice *dice, bool far) {
    const int n = drawn->batch.n_query_heads;
    float *slopes = drawn_map(drawn, (size_t)n * sizeof *slopes);
    const bool usual = roll_one_in(dice, 2);
    const float size = far ? 0x1p-31f : 1;
    for (int h = 0; h < n; h++)
        slopes[h] = size * (usual                  ? exp2f(-8.0f * (float)(h + 1) / (float)n)
                            : roll_one_in(dice, 5) ? 0
                                                   : roll_unit(dice));
    return slopes;
}

static float *draw_sinks(struct drawn *drawn, struct dice *dice) {
    const int n = drawn->batch.n_query_heads;
    float *sinks = drawn_map(drawn, (size_t)n * sizeof *sinks);
    for (int h = 0; h < n; h++)
        sinks[h] = roll_one_in(dice, 6) ? -INFINITY : roll_unit(dice) * (roll_one_in(dice, 4) ? 300 : 6);
    return sinks;
}

/* ---------------------------------------------------------------- more outputs */

static void add_row_max(struct place *p) {
    const int64_t heads = p->drawn->batch.n_query_heads;
    float *data = drawn_map(p->drawn, (size_t)(p->s->n_q * heads) * sizeof *data);
    p->s->row_max = roll_one_in(&p->dice, 2) ? (sa_output){data, heads, 1} : (sa_output){data, 0, 0};
}

static void add_weights(struct place *p) {
    sa_sequence *s = p->s;
    const int64_t n = s->n_q == 0 ? 0 : roll_between(&p->dice, 0, roll_one_in(&p->dice, 3) ? 9 : 3);
    const int64_t stride = s->n_k + (roll_one_in(&p->dice, 2) ? roll_between(&p->dice, 0, 5) : 0);
    sa_row *rows = drawn_map(p->drawn, (size_t)n * sizeof *rows);
    for (int64_t r = 0; r < n; r++)
        rows[r] = (sa_row){.query = roll_between(&p->dice, 0, s->n_q - 1),
                           .head = (int32_t)roll_between(&p->dice, 0, p->drawn->batch.n_query_heads - 1)};
    const int64_t extent = n > 0 ? (n - 1) * stride + s->n_k : 0;
    s->weights = (sa_row_weights){drawn_map(p->drawn, (size_t)extent * sizeof(float)), rows, n,
                                  stride == s->n_k && roll_one_in(&p->dice, 2) ? 0 : stride};
}

static void add_mass(struct place *p) {
    sa_sequence *s = p->s;
    const sa_batch *b = &p->drawn->batch;
    const bool per_head = roll_one_in(&p->dice, 2) && s->n_k > 0;
    sa_key_mass *mass = &s->key_mass;
    mass->head_stride = per_head ? s->n_k + (roll_one_in(&p->dice, 2) ? roll_between(&p->dice, 0, 5) : 0) : 0;
    mass->data = drawn_map(p->drawn, (size_t)((b->n_kv_heads - 1) * mass->head_stride + s->n_k) * sizeof(float));
    if (roll_one_in(&p->dice, 2)) {
        mass->first_query = roll_between(&p->dice, 0, s->n_q);
        mass->n_queries = roll_between(&p->dice, 0, s->n_q - mass->first_query);
    }
    if (roll_one_in(&p->dice, 2)) {
        unsigned char *heads = drawn_map(p->drawn, (size_t)b->n_query_heads);
        for (int h = 0; h < b->n_query_heads; h++)
            heads[h] = (unsigned char)(roll(&p->dice) & 5);
        mass->heads = heads;
    }
}

/* ---------------------------------------------------------------- a sequence */

static void add_offset(struct place *p) {
    p->s->flags = SA_SEQ_Q_OFFSET;
    p->s->q_offset = roll_one_in(&p->dice, 4) ? 0 : roll_between(&p->dice, -p->s->n_q, p->s->n_k + 3);
    if (p->far)
        p->s->q_offset += roll_between(&p->dice, -1, 1) * ((INT64_C(1) << (roll_one_in(&p->dice, 2) ? 31 : 32)) - 9000);
}

/* Beside the batch's own, or instead of them. */
static void add_slopes(struct place *p) {
    if (!p->drawn->batch.alibi_slopes || roll_one_in(&p->dice, 2))
        p->s->alibi_slopes = draw_slopes(p->drawn, &p->dice, p->far);
}

static void add_sinks(struct place *p) {
    if (!p->drawn->batch.sink_logits || roll_one_in(&p->dice, 2))
        p->s->sink_logits = draw_sinks(p->drawn, &p->dice);
}

static void drop_lse(struct place *p) { p->s->lse = (sa_output){NULL, 0, 0}; }

static const struct {
    int feature;
    void (*add)(struct place *p);
} of_sequences[] = {{KIND_OFFSET, add_offset},   {KIND_NO_LSE, drop_lse},         {KIND_POSITIONS, add_positions},
                    {KIND_PREFIX, add_prefix},   {KIND_DOCUMENTS, add_documents}, {KIND_TREE, add_tree},
                    {KIND_BLOCKS, add_blocks},   {KIND_MASK, add_mask},           {KIND_BIAS, add_bias},
                    {KIND_ALIBI, add_slopes},    {KIND_SINK_LOGITS, add_sinks},   {KIND_ROW_MAX, add_row_max},
                    {KIND_WEIGHTS, add_weights}, {KIND_MASS, add_mass},           {KIND_FIRST_KEY, add_first_key}};

static void add_sequence(const struct kinds_case *c, struct drawn *drawn, unsigned number) {
    static const float sizes[] = {1, 4, 12};
    const int layout = kinds_has(c, KIND_LAYOUT) ? -1 : PACKED;
    struct dice dice = kinds_dice(c->seed, 200 + number);
    drawn->dice = kinds_dice(c->seed, 300 + number);
    sa_sequence *s = drawn_add(drawn, c->n_q, c->n_k, layout, sizes[roll(&dice) % 3]);
    for (size_t i = 0; i < sizeof of_sequences / sizeof of_sequences[0]; i++) {
        struct place place = {drawn, s, kinds_dice(c->seed, (unsigned)of_sequences[i].feature + 100 * number),
                              is_far(c->seed)};
        if (kinds_has(c, of_sequences[i].feature))
            of_sequences[i].add(&place);
    }
}

/* The company: small, and of the features that a sequence may have alone about half. */
static struct kinds_case company_of(const struct kinds_case *c) {
    struct dice dice = kinds_dice(c->seed, 400);
    struct kinds_case other = *c;
    for (int f = KIND_FIRST_NEW; f < N_KINDS; f++)
        if (roll_one_in(&dice, 2))
            other.features &= ~(1u << f);
    other.n_q = roll_between(&dice, 0, 20);
    other.n_k = roll_between(&dice, 0, roll_one_in(&dice, 3) ? 300 : 40);
    return other;
}

/* ---------------------------------------------------------------- the batch */

static void set_window(const struct kinds_case *c, sa_batch *b) {
    struct dice dice = kinds_dice(c->seed, KIND_WINDOW);
    const int64_t n = c->n_k > 0 ? c->n_k : 1;
    b->flags |= SA_WINDOW;
    b->window_left = roll_one_in(&dice, 4) ? -1 : roll_between(&dice, 0, roll_one_in(&dice, 2) ? n : 40);
    b->window_right = roll_one_in(&dice, 3) ? -1 : roll_between(&dice, 0, roll_one_in(&dice, 2) ? n : 40);
}

static void set_rules(const struct kinds_case *c, sa_batch *b) {
    struct dice sinks = kinds_dice(c->seed, KIND_SINK_KEYS), scale = kinds_dice(c->seed, KIND_SCALE);
    if (kinds_has(c, KIND_CAUSAL))
        b->flags |= SA_CAUSAL;
    if (kinds_has(c, KIND_WINDOW))
        set_window(c, b);
    if (kinds_has(c, KIND_SINK_KEYS))
        b->n_sink_keys = roll_between(&sinks, 0, roll_one_in(&sinks, 2) ? 5 : c->n_k + 1);
    if (kinds_has(c, KIND_SCALE))
        b->scale = roll_unit(&scale) / (c->d_qk > 80 ? sqrtf((float)c->d_qk) : 1);
}

static void set_terms(const struct kinds_case *c, struct drawn *drawn) {
    static const int types[] = {SA_F32, SA_BF16, SA_F16};
    struct dice cap = kinds_dice(c->seed, KIND_SOFTCAP), slopes = kinds_dice(c->seed, KIND_ALIBI),
                sinks = kinds_dice(c->seed, KIND_SINK_LOGITS), bias = kinds_dice(c->seed, KIND_BIAS + 500);
    if (kinds_has(c, KIND_SOFTCAP))
        drawn->batch.softcap = 0.05f + 20 * fabsf(roll_unit(&cap)) * (roll_one_in(&cap, 3) ? 3 : 0.2f);
    if (kinds_has(c, KIND_ALIBI) && !roll_one_in(&slopes, 3))
        drawn->batch.alibi_slopes = draw_slopes(drawn, &slopes, is_far(c->seed));
    if (kinds_has(c, KIND_SINK_LOGITS) && !roll_one_in(&sinks, 3))
        drawn->batch.sink_logits = draw_sinks(drawn, &sinks);
    drawn->batch.bias_type = types[roll(&bias) % 3];
}

void kinds_build(const struct kinds_case *c, struct kinds_batch *batch) {
    static const int page_sizes[] = {1, 3, 8, 16, 17, 32, 64};
    struct drawn *drawn = &batch->drawn;
    *drawn = drawn_batch(c->seed, c->n_kv_heads * c->group, c->n_kv_heads, c->d_qk, c->d_v);
    drawn->dice = kinds_dice(c->seed, KIND_TYPES);
    if (kinds_has(c, KIND_TYPES))
        drawn_types(drawn);
    set_rules(c, &drawn->batch);
    set_terms(c, drawn);
    const struct kinds_case other = company_of(c);
    batch->at = c->company && c->seed & 1;
    if (batch->at == 1)
        add_sequence(&other, drawn, 1);
    add_sequence(c, drawn, 0);
    if (c->company && batch->at == 0)
        add_sequence(&other, drawn, 1);
    drawn->batch.sequences = drawn->seqs;
    drawn->dice = kinds_dice(c->seed, KIND_PAGES);
    if (kinds_has(c, KIND_PAGES))
        drawn_page(drawn, 0, (int)drawn->batch.n_sequences,
                   paging_of(&drawn->dice, page_sizes[roll(&drawn->dice) % 7]));
}
