/* SPDX-License-Identifier: MIT */
/*
 * Loops over keys go by words of 64 of them that are still in question, without branches: compilers turn the
 * comparisons into vectors of bytes, eight of which a multiplication packs into bits. Heads of one query share what
 * does not depend on the head.
 */
#include "sight.h"

#include <string.h>

enum { WORD_KEYS = 64 };

/* ---------------------------------------------------------------- sets */

static uint64_t below(int64_t n) { return n < WORD_KEYS ? (UINT64_C(1) << n) - 1 : ~UINT64_C(0); }

void sa_key_set_add(struct sa_key_set *set, int64_t begin, int64_t end) {
    for (int w = 0; w < SA_KEY_WORDS; w++) {
        const int64_t from = sa_clamp(begin - w * WORD_KEYS, 0, WORD_KEYS);
        const int64_t to = sa_clamp(end - w * WORD_KEYS, 0, WORD_KEYS);
        if (from < to)
            set->words[w] |= below(to) & ~below(from);
    }
}

static struct sa_key_set range(int64_t begin, int64_t end) {
    struct sa_key_set set = {{0}};
    sa_key_set_add(&set, begin, end);
    return set;
}

static void keep(struct sa_key_set *set, const struct sa_key_set *other) {
    for (int w = 0; w < SA_KEY_WORDS; w++)
        set->words[w] &= other->words[w];
}

static void add(struct sa_key_set *set, const struct sa_key_set *other) {
    for (int w = 0; w < SA_KEY_WORDS; w++)
        set->words[w] |= other->words[w];
}

/* Those of `a` outside `where`, those of `b` within. */
static struct sa_key_set choose(const struct sa_key_set *where, const struct sa_key_set *b,
                                const struct sa_key_set *a) {
    struct sa_key_set set;
    for (int w = 0; w < SA_KEY_WORDS; w++)
        set.words[w] = (where->words[w] & b->words[w]) | (~where->words[w] & a->words[w]);
    return set;
}

/* The first byte is the lowest. */
static uint64_t eight_bytes(const unsigned char *bytes) {
    uint64_t eight;
    memcpy(&eight, bytes, sizeof eight);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    eight = __builtin_bswap64(eight);
#endif
    return eight;
}

/* Bit j is byte j, each 0 or 1. */
static uint64_t word_of(const unsigned char bytes[WORD_KEYS]) {
    uint64_t word = 0;
    for (int i = 0; i < WORD_KEYS / 8; i++)
        word |= (eight_bytes(bytes + 8 * i) * UINT64_C(0x0102040810204080)) >> 56 << (8 * i);
    return word;
}

/* Keeps the keys whose number lies within low .. high. */
static void keep_between(struct sa_key_set *set, const int32_t *numbers, int n, int64_t low, int64_t high) {
    const int32_t least = (int32_t)sa_clamp(low, INT32_MIN, INT32_MAX);
    const int32_t largest = (int32_t)sa_clamp(high, INT32_MIN, INT32_MAX);
    for (int w = 0; w < SA_KEY_WORDS; w++) {
        const int32_t *x = numbers + w * WORD_KEYS;
        int32_t last[WORD_KEYS] = {0};
        unsigned char in[WORD_KEYS];
        if (!set->words[w])
            continue;
        if (n < (w + 1) * WORD_KEYS) {
            memcpy(last, x, (size_t)(n - w * WORD_KEYS) * sizeof *x);
            x = last;
        }
        for (int j = 0; j < WORD_KEYS; j++)
            in[j] = (x[j] >= least) & (x[j] <= largest);
        set->words[w] &= word_of(in);
    }
}

/* ---------------------------------------------------------------- extents */

/* The blocks that have keys. */
static int64_t first_block(const struct sa_seq *seq) { return seq->first_key / SA_BLOCK_KEYS; }
static int64_t end_block(const struct sa_seq *seq) { return (seq->n_k + SA_BLOCK_KEYS - 1) / SA_BLOCK_KEYS; }

/* Of a block; without a summary it may hold anything. */
static struct sa_extent extent_of(const struct sa_extent *extents, int64_t block) {
    return extents ? extents[block] : (struct sa_extent){INT32_MIN, INT32_MAX};
}

static bool meets(struct sa_extent a, int64_t low, int64_t high) { return a.least <= high && a.largest >= low; }

static struct sa_extent extent_of_numbers(const int32_t *x, int64_t n) {
    struct sa_extent extent = {INT32_MAX, INT32_MIN};
    for (int64_t j = 0; j < n; j++) {
        extent.least = x[j] < extent.least ? x[j] : extent.least;
        extent.largest = x[j] > extent.largest ? x[j] : extent.largest;
    }
    return extent;
}

int64_t sa_sight_count_extents(const struct sa_problem *problem) {
    int64_t n = 0;
    for (int64_t i = 0; i < problem->n_seqs; i++) {
        const struct sa_seq *seq = &problem->seqs[i];
        n +=
            ((seq->sight.k_documents != NULL) + (seq->sight.k_positions != NULL)) * (end_block(seq) - first_block(seq));
    }
    return n;
}

static struct sa_extent *summarise(const struct sa_seq *seq, const int32_t *numbers, struct sa_extent *to) {
    for (int64_t at = seq->first_key; at < seq->n_k; at += SA_BLOCK_KEYS)
        *to++ = extent_of_numbers(numbers + at, seq->n_k - at < SA_BLOCK_KEYS ? seq->n_k - at : SA_BLOCK_KEYS);
    return to;
}

static bool ascend(const struct sa_extent *extents, int64_t begin, int64_t end) {
    bool all = true;
    for (int64_t i = begin + 1; i < end; i++)
        all = all && extents[i - 1].largest <= extents[i].least;
    return all;
}

void sa_sight_find_extents(const struct sa_problem *problem, struct sa_extent *extents) {
    for (int64_t i = 0; i < problem->n_seqs; i++) {
        struct sa_seq *seq = &problem->seqs[i];
        struct sa_sight *sight = &seq->sight;
        if (sight->k_documents) {
            sight->document_extents = extents - first_block(seq);
            extents = summarise(seq, sight->k_documents, extents);
            sight->documents_ascend = ascend(sight->document_extents, first_block(seq), end_block(seq));
        }
        if (sight->k_positions) {
            sight->position_extents = extents - first_block(seq);
            extents = summarise(seq, sight->k_positions, extents);
        }
    }
}

/* The first block from which on all have a largest document (least: a least one) of x or more. */
static int64_t first_from(const struct sa_seq *seq, int64_t x, bool least) {
    const struct sa_extent *extents = seq->sight.document_extents;
    int64_t low = first_block(seq), high = end_block(seq);
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if ((least ? extents[middle].least : extents[middle].largest) < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---------------------------------------------------------------- the rows */

static int64_t token_of(const struct sa_viewer *v, int r) { return v->token + v->later[r]; }

static int64_t position_of(const struct sa_seq *seq, int64_t token) {
    return seq->sight.q_positions ? seq->sight.q_positions[token] : seq->q_offset + token;
}

/* Where documents come one after the other, those of the rows lie in between. */
static void bound_documents(struct sa_viewer *v) {
    if (!v->seq->sight.documents_ascend)
        return;
    v->document_begin = first_from(v->seq, v->documents.least, false) * SA_BLOCK_KEYS;
    v->document_end = first_from(v->seq, (int64_t)v->documents.largest + 1, true) * SA_BLOCK_KEYS;
}

static void number_rows(struct sa_viewer *v, int kv_head, int head) {
    const int group = v->problem->group;
    int later = 0;
    for (int r = 0; r < v->n_rows; r++) {
        v->later[r] = (uint8_t)later;
        v->head[r] = kv_head * group + head;
        head = head + 1 < group ? head + 1 : 0;
        later += head == 0;
    }
}

struct sa_viewer sa_viewer_of(const struct sa_problem *problem, const struct sa_seq *seq, int kv_head, int64_t row,
                              int n_rows) {
    struct sa_viewer v = {
        .problem = problem, .seq = seq, .token = row / problem->group, .n_rows = n_rows, .document_end = seq->n_k};
    number_rows(&v, kv_head, (int)(row % problem->group));
    const int64_t n_tokens = v.later[n_rows - 1] + 1;
    v.first_position = v.last_position = position_of(seq, v.token);
    for (int64_t i = 1; i < n_tokens; i++) {
        const int64_t position = position_of(seq, v.token + i);
        v.first_position = position < v.first_position ? position : v.first_position;
        v.last_position = position > v.last_position ? position : v.last_position;
    }
    if (seq->sight.q_documents) {
        v.documents = extent_of_numbers(seq->sight.q_documents + v.token, n_tokens);
        bound_documents(&v);
    }
    return v;
}

/* ---------------------------------------------------------------- blocks that nobody sees */

static bool is_limited(const struct sa_viewer *v) {
    const struct sa_rule *rule = &v->problem->rule;
    return v->seq->unruled && (rule->left < SA_UNLIMITED || rule->right < SA_UNLIMITED);
}

static bool positions_meet(const struct sa_viewer *v, int64_t begin, int64_t end) {
    const struct sa_sight *sight = &v->seq->sight;
    const struct sa_rule *rule = &v->problem->rule;
    const int64_t low = v->first_position - rule->left, high = v->last_position + rule->right;
    if (begin < rule->sink || begin < sight->n_prefix || (sight->parents && end > sight->tree_begin))
        return true;
    if (!sight->k_positions)
        return begin <= high && end > low;
    return meets(extent_of(sight->position_extents, begin / SA_BLOCK_KEYS), low, high);
}

static bool documents_meet(const struct sa_viewer *v, int64_t begin) {
    const struct sa_extent keys = extent_of(v->seq->sight.document_extents, begin / SA_BLOCK_KEYS);
    return meets(keys, v->documents.least, v->documents.largest);
}

/* Long ranges are parts of the tree of chunks, whose blocks will be asked for one by one. */
bool sa_viewer_may_see(const struct sa_viewer *v, int64_t begin, int64_t end) {
    enum { FEW_BLOCKS = 4 };
    const struct sa_sight *sight = &v->seq->sight;
    begin = begin > v->seq->first_key ? begin : v->seq->first_key;
    end = end < v->seq->n_k ? end : v->seq->n_k;
    if (sight->blocks.full.begin)
        return begin < end;
    if (begin >= v->document_end || end <= v->document_begin)
        return false;
    if (end - begin > FEW_BLOCKS * SA_BLOCK_KEYS)
        return true;
    for (int64_t at = begin; at < end; at += SA_BLOCK_KEYS) {
        const int64_t block_end = at + SA_BLOCK_KEYS < end ? at + SA_BLOCK_KEYS : end;
        if ((!sight->q_documents || documents_meet(v, at)) && (!is_limited(v) || positions_meet(v, at, block_end)))
            return true;
    }
    return false;
}

int64_t sa_viewer_next(const struct sa_viewer *v, int64_t at, int n_blocks) {
    if (at < v->document_begin && !v->seq->sight.blocks.full.begin)
        at = v->document_begin;
    for (int i = 0; i < n_blocks && at < v->seq->n_k; i++, at += SA_BLOCK_KEYS)
        if (sa_viewer_may_see(v, at, at + SA_BLOCK_KEYS))
            return at;
    return v->seq->n_k;
}

/* ---------------------------------------------------------------- rules of a query */

/* A block being looked at. */
struct look {
    const struct sa_viewer *viewer;
    int64_t at;
    int n;
    struct sa_key_set tree[SA_TILE_ROWS]; /* by token of the tile: what its node sees of the tree */
    struct sa_key_set document;           /* keys of the document `current`, once one is known */
    int32_t current;
    bool known;
};

/* Queries of one document mostly follow each other. */
static void keep_document(struct look *l, int64_t token, struct sa_key_set *set) {
    const struct sa_sight *sight = &l->viewer->seq->sight;
    const int32_t document = sight->q_documents[token];
    const struct sa_extent keys = extent_of(sight->document_extents, l->at / SA_BLOCK_KEYS);
    if (!l->known || l->current != document) {
        l->known = true;
        l->current = document;
        l->document = range(0, meets(keys, document, document) ? l->n : 0);
        if (keys.least != document || keys.largest != document)
            keep_between(&l->document, sight->k_documents + l->at, l->n, document, document);
    }
    keep(set, &l->document);
}

/* Keys at positions low .. high. */
static void keep_positions(const struct look *l, int64_t low, int64_t high, struct sa_key_set *set) {
    const struct sa_sight *sight = &l->viewer->seq->sight;
    if (!sight->k_positions) {
        const struct sa_key_set within = range(low - l->at, high + 1 - l->at);
        keep(set, &within);
        return;
    }
    const struct sa_extent keys = extent_of(sight->position_extents, l->at / SA_BLOCK_KEYS);
    if (!meets(keys, low, high))
        *set = (struct sa_key_set){{0}};
    else if (keys.least < low || keys.largest > high)
        keep_between(set, sight->k_positions + l->at, l->n, low, high);
}

/* Keys to which a limit does not apply are kept anyway. */
static void keep_limited(const struct look *l, int64_t position, struct sa_key_set *set) {
    const struct sa_rule *rule = &l->viewer->problem->rule;
    const int64_t far = INT64_C(1) << 50, low = position - rule->left, high = position + rule->right;
    const struct sa_key_set any_left = range(0, rule->sink - l->at),
                            any_right = range(0, l->viewer->seq->sight.n_prefix - l->at);
    if (sa_key_set_is_empty(&any_left) && sa_key_set_is_empty(&any_right)) {
        keep_positions(l, low, high, set);
        return;
    }
    struct sa_key_set left = *set, right = *set;
    keep_positions(l, low, far, &left);
    keep_positions(l, -far, high, &right);
    add(&left, &any_left);
    add(&right, &any_right);
    keep(set, &left);
    keep(set, &right);
}

/* The node of a token and its ancestors, as far as they are in the block. A parent that is a query of the tile as well
 * has been here before. */
static void find_ancestors(struct look *l, int64_t token, struct sa_key_set *set) {
    const struct sa_viewer *v = l->viewer;
    const struct sa_sight *sight = &v->seq->sight;
    const int64_t first_node = sight->n_tree - v->seq->n_q, begin = l->at - sight->tree_begin, end = begin + l->n;
    struct sa_key_set found = {{0}};
    for (int64_t node = first_node + token; node >= 0 && node >= begin; node = sight->parents[node]) {
        if (node < first_node + token && node >= first_node + v->token) {
            add(&found, &l->tree[node - first_node - v->token]);
            break;
        }
        if (node < end)
            sa_key_set_add(&found, node - begin, node - begin + 1);
    }
    *set = l->tree[token - v->token] = found;
}

/* What a query sees by all rules that do not depend on the head. */
static struct sa_key_set ruled(struct look *l, int64_t token) {
    const struct sa_viewer *v = l->viewer;
    const struct sa_seq *seq = v->seq;
    struct sa_key_set set = range(0, l->n);
    if (!seq->unruled) {
        const struct sa_span span = sa_visible(&v->problem->rule, seq->q_offset + token, seq->n_k);
        set = range(span.lo - l->at, span.hi - l->at);
        sa_key_set_add(&set, 0, span.sink - l->at);
    } else if (is_limited(v)) {
        keep_limited(l, position_of(seq, token), &set);
    }
    if (seq->sight.parents && l->at + l->n > seq->sight.tree_begin) {
        const struct sa_key_set nodes = range(seq->sight.tree_begin - l->at, l->n);
        struct sa_key_set ancestors;
        find_ancestors(l, token, &ancestors);
        set = choose(&nodes, &ancestors, &set);
    }
    if (seq->sight.q_documents)
        keep_document(l, token, &set);
    return set;
}

static void keep_ruled(struct look *l, struct sa_key_set *seen) {
    const struct sa_viewer *v = l->viewer;
    struct sa_key_set rules = {{0}};
    for (int r = 0; r < v->n_rows; r++) {
        if (r == 0 || v->later[r] != v->later[r - 1])
            rules = ruled(l, token_of(v, r));
        keep(&seen[r], &rules);
    }
}

/* ---------------------------------------------------------------- masks */

static void keep_unmasked_word(const unsigned char *mask, ptrdiff_t step, int n, uint64_t *word) {
    unsigned char in[WORD_KEYS] = {0};
    if (step == 1 && n == WORD_KEYS)
        for (int j = 0; j < WORD_KEYS; j++)
            in[j] = mask[j] != 0;
    else
        for (int j = 0; j < n; j++)
            in[j] = mask[j * step] != 0;
    *word &= word_of(in);
}

static struct sa_key_set unmasked(const struct look *l, const unsigned char *mask) {
    const ptrdiff_t step = l->viewer->seq->sight.mask.key;
    struct sa_key_set set = range(0, l->n);
    if (step == 0)
        return *mask ? set : (struct sa_key_set){{0}};
    for (int w = 0; w < SA_KEY_WORDS && w * WORD_KEYS < l->n; w++)
        keep_unmasked_word(mask + w * WORD_KEYS * step, step,
                           l->n - w * WORD_KEYS < WORD_KEYS ? l->n - w * WORD_KEYS : WORD_KEYS, &set.words[w]);
    return set;
}

static const char *mask_of(const struct sa_viewer *v, int r) {
    const struct sa_field *field = &v->seq->sight.mask;
    return field->data + v->head[r] * field->head + token_of(v, r) * field->query;
}

/* A block's keys from `at` on. Lines of a mask lie far apart: nobody but us sees to them. */
static void fetch_mask(const struct look *l, const char *line, int64_t at) {
    const int64_t left = l->viewer->seq->n_k - at, key = l->viewer->seq->sight.mask.key;
    const int64_t n = left < SA_BLOCK_KEYS ? left : SA_BLOCK_KEYS;
    for (int64_t j = 0; j < n && key; j += SA_LINE_BYTES)
        __builtin_prefetch(line + (at + j) * key);
}

/* Rows that share a line of the mask share its bits. The next block's are fetched, and since they will have left the
 * first-level cache by then, or are a tile's first ones, those of some rows further on. */
static void keep_masked(const struct look *l, struct sa_key_set *seen) {
    enum { ROWS_AHEAD = 8 };
    const struct sa_viewer *v = l->viewer;
    const char *before = NULL, *fetched = NULL;
    struct sa_key_set line = {{0}};
    for (int r = 0; r < v->n_rows; r++) {
        const char *at = mask_of(v, r), *ahead = r + ROWS_AHEAD < v->n_rows ? mask_of(v, r + ROWS_AHEAD) : fetched;
        if (ahead != fetched)
            fetch_mask(l, ahead, l->at);
        fetched = ahead;
        if (sa_key_set_is_empty(&seen[r]))
            continue;
        if (at != before) {
            line = unmasked(l, (const unsigned char *)at + l->at * v->seq->sight.mask.key);
            fetch_mask(l, at, l->at + SA_BLOCK_KEYS);
        }
        before = at;
        keep(&seen[r], &line);
    }
}

/* ---------------------------------------------------------------- bias */

/* Is any of n numbers that follow each other -inf? The whole of them, which compilers make vectors of. */
static bool has_hidden_half(const uint16_t *half, uint16_t hidden, int n) {
    uint16_t any = 0;
    for (int j = 0; j < n; j++)
        any |= half[j] == hidden;
    return any;
}

static bool has_hidden_float(const uint32_t *wide, int n) {
    uint32_t any = 0;
    for (int j = 0; j < n; j++)
        any |= wide[j] == 0xff800000u;
    return any;
}

static bool has_hidden(const char *bias, ptrdiff_t step, int type, int n) {
    if (step == sizeof(uint32_t) && type == SA_F32)
        return has_hidden_float((const uint32_t *)(const void *)bias, n);
    if (step == sizeof(uint16_t) && type != SA_F32)
        return has_hidden_half((const uint16_t *)(const void *)bias, type == SA_BF16 ? 0xff80 : 0xfc00, n);
    return true;
}

/* Keeps the keys whose bias is not -inf, which is told by its bits. */
static void keep_unhidden_word(const char *bias, ptrdiff_t step, int type, int n, uint64_t *word) {
    unsigned char in[WORD_KEYS] = {0};
    for (int j = 0; j < n; j++) {
        uint32_t wide;
        uint16_t half;
        memcpy(&half, bias + j * step, sizeof half);
        if (type == SA_F32)
            memcpy(&wide, bias + j * step, sizeof wide);
        in[j] = type == SA_F32 ? wide != 0xff800000u : half != (type == SA_BF16 ? 0xff80 : 0xfc00);
    }
    *word &= word_of(in);
}

static void keep_unhidden(const struct look *l, struct sa_key_set *seen) {
    const struct sa_viewer *v = l->viewer;
    const struct sa_field *bias = &v->seq->terms.bias;
    for (int r = 0; r < v->n_rows; r++) {
        const char *row = bias->data + v->head[r] * bias->head + token_of(v, r) * bias->query;
        for (int w = 0; w < SA_KEY_WORDS; w++) {
            const int64_t at = l->at + w * WORD_KEYS;
            const char *from = row + at * bias->key;
            const int n = l->n - w * WORD_KEYS < WORD_KEYS ? l->n - w * WORD_KEYS : WORD_KEYS;
            if (seen[r].words[w] && has_hidden(from, bias->key, v->problem->bias_type, n))
                keep_unhidden_word(from, bias->key, v->problem->bias_type, n, &seen[r].words[w]);
        }
    }
}

/* ---------------------------------------------------------------- lists of blocks */

static int64_t list_of(const struct sa_viewer *v, const sa_block_list *list, int r) {
    return v->head[r] * list->head_stride + token_of(v, r) / v->seq->sight.blocks.q_block;
}

static int64_t first_listed(const sa_block_list *list, int64_t x, int64_t block) {
    int64_t low = list->begin[x], high = list->begin[x + 1];
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (list->blocks[middle] < block)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct sa_key_set listed(const struct look *l, const sa_block_list *list, int64_t x) {
    const int64_t step = l->viewer->seq->sight.blocks.k_block, last = (l->at + l->n - 1) / step;
    const struct sa_key_set all = range(0, l->n);
    struct sa_key_set set = {{0}};
    for (int64_t i = first_listed(list, x, l->at / step); i < list->begin[x + 1] && list->blocks[i] <= last; i++)
        sa_key_set_add(&set, list->blocks[i] * step - l->at, (list->blocks[i] + 1) * step - l->at);
    keep(&set, &all);
    return set;
}

/* Rows of one list mostly stand side by side, or a query apart. False: nothing is listed. */
static bool look_up(const struct look *l, const sa_block_list *list, struct sa_key_set *set) {
    const struct sa_viewer *v = l->viewer;
    const int group = v->problem->group;
    bool any = false;
    for (int r = 0; r < v->n_rows; r++) {
        const int64_t x = list->begin ? list_of(v, list, r) : 0;
        if (!list->begin)
            set[r] = (struct sa_key_set){{0}};
        else if (r > 0 && list_of(v, list, r - 1) == x)
            set[r] = set[r - 1];
        else if (r >= group && list_of(v, list, r - group) == x)
            set[r] = set[r - group];
        else
            set[r] = listed(l, list, x);
        any = any || !sa_key_set_is_empty(&set[r]);
    }
    return any;
}

/* ---------------------------------------------------------------- all rules */

static bool look(struct look *l, struct sa_key_set *seen) {
    const struct sa_viewer *v = l->viewer;
    const sa_block_sparsity *blocks = &v->seq->sight.blocks;
    struct sa_key_set full[SA_TILE_ROWS];
    bool any_full = false, any = false;
    if (blocks->full.begin || blocks->partial.begin) {
        any_full = look_up(l, &blocks->full, full);
        if (!look_up(l, &blocks->partial, seen) && !any_full)
            return false;
    } else {
        for (int r = 0; r < v->n_rows; r++)
            seen[r] = range(0, l->n);
    }
    keep_ruled(l, seen);
    if (v->seq->sight.mask.data)
        keep_masked(l, seen);
    for (int r = 0; r < v->n_rows && any_full; r++)
        add(&seen[r], &full[r]);
    if (v->seq->terms.bias.data)
        keep_unhidden(l, seen);
    for (int r = 0; r < v->n_rows; r++)
        any = any || !sa_key_set_is_empty(&seen[r]);
    return any;
}

bool sa_viewer_look(const struct sa_viewer *viewer, int64_t at, int n_keys, struct sa_key_set seen[SA_TILE_ROWS]) {
    struct look l;
    l.viewer = viewer;
    l.at = at;
    l.n = n_keys;
    l.known = false;
    return look(&l, seen);
}
