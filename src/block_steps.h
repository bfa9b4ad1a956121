/* SPDX-License-Identifier: MIT */
/* A block under way: what block.c, scores.c and squares.c know of it. */
#ifndef SA_BLOCK_STEPS_H
#define SA_BLOCK_STEPS_H

#include "block.h"

struct sa_pass {
    int index, row;
    int g0, g1;                   /* groups of the pass that see any of the block */
    const struct sa_zones *zones; /* of its groups */
    int common_begin, common_end; /* keys that every row of g0 .. g1 - 1 sees */
};

struct sa_block {
    const struct sa_tile *tile;
    int64_t at;                  /* its first key */
    const struct sa_view *view;  /* NULL: spans say what is seen */
    bool full;                   /* a view would say that every row sees every key */
    int n_keys;                  /* of the view, if there is one */
    int seen_begin, seen_end;    /* keys that any row of the tile sees */
    struct sa_rows k, v;         /* all keys of the block */
    unsigned doubtful;           /* strips of the view with values that are not finite */
    bool hides;                  /* some bias is -inf; a view has it in its bits */
    bool finite;                 /* if so: all values are finite */
    const struct sa_view *shown; /* if they are not, and multiplied in pairs: what spans and bias leave; else NULL */
    struct sa_zones zones[SA_TILE_GROUPS];
    struct sa_pass passes[SA_TILE_GROUPS];
    int n_passes;
    struct sa_ahead *ahead;
    bool fresh; /* nothing stands in o yet */
};

static inline struct sa_rows sa_part_of(const struct sa_rows *rows, int begin, int end) {
    return (struct sa_rows){rows->data + begin * rows->stride, rows->stride, end - begin, rows->d,
                            rows->scale ? rows->scale + begin : NULL};
}

static inline float *sa_s_of(const struct sa_block *b, const struct sa_pass *p, int key) {
    return b->tile->space->s + p->row * SA_BLOCK_KEYS + key * b->tile->kernels->pass_groups * SA_GROUP_ROWS;
}

static inline struct sa_lane_keys sa_keys_by(const struct sa_view *view, const struct sa_block *b,
                                             const struct sa_pass *p, int g) {
    const struct sa_workspace *space = b->tile->space;
    return (struct sa_lane_keys){space->lo + p->row, space->hi + p->row, space->sink + p->row,
                                 view ? view->lanes[p->row / SA_GROUP_ROWS + g][0] : NULL};
}

/* What a group sees, and what the key is called there that is `key` of the block. */
static inline struct sa_lane_keys sa_keys_seen(const struct sa_block *b, const struct sa_pass *p, int g) {
    return sa_keys_by(b->view, b, p, g);
}

static inline int sa_key_name(const struct sa_block *b, int key) { return b->view ? key : (int)b->at + key; }

static inline bool sa_is_empty(const struct sa_zones *z) { return z->seen_begin == z->seen_end; }

/* Of the keys begin .. end - 1 those that follow the first without a gap: how many, and where the first stands. */
static inline int sa_stretch_of(const struct sa_block *b, int begin, int end, int64_t *token) {
    const int strip = begin / SA_SUM_KEYS;
    *token = b->at + begin;
    if (!b->view || !b->view->gaps)
        return end - begin;
    const int next = (strip + sa_view_run(b->view, strip)) * SA_SUM_KEYS;
    *token += (b->view->strip[strip] - strip) * SA_SUM_KEYS;
    return (next < end ? next : end) - begin;
}

/* Has a group, which is the only one of g0 .. g1 - 1, no rows in its second half? */
static inline bool sa_is_half(const struct sa_block *b, const struct sa_pass *p, int g0, int g1) {
    return g1 - g0 == 1 && b->tile->products->half_scores &&
           b->tile->n_rows - p->row - g0 * SA_GROUP_ROWS <= SA_GROUP_ROWS / 2;
}

/* Its keys, as far as they fill squares, whatever is seen of them if they stand as they are. */
static inline int sa_whole_squares(const struct sa_block *b) {
    const int64_t left = b->tile->seq->n_k - b->at;
    const int n_keys = b->view && b->view->gaps ? b->n_keys : left < SA_BLOCK_KEYS ? (int)left : SA_BLOCK_KEYS;
    return n_keys / SA_DOT_KEYS * SA_DOT_KEYS;
}

/* Scores of all its keys, each row's maximum of them into mb. */
void sa_block_score(struct sa_block *b);

/* From scores to weights 2^(s - m), or pairs of them; m and l of the state are brought up to date, and alpha is what
 * its o has to be multiplied with. */
void sa_block_weigh(const struct sa_block *b, const struct sa_state *state, bool pairs);

/* All steps at once, where the tile's dots can. False: not possible, and nothing done. */
bool sa_block_squares(struct sa_block *b, const struct sa_state *state);

#endif
