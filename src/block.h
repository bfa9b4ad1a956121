/* SPDX-License-Identifier: MIT */
/* One tile against one block of 256 keys: scores, weights, values. */
#ifndef SA_BLOCK_H
#define SA_BLOCK_H

#include "kernels/kernels.h"
#include "problem.h"
#include "sight.h"
#include "view.h"
#include "workspace.h"

/* Keys begin .. end - 1 of a kv head; none if these are equal. Those of so many heads are begun with side by side. */
struct sa_first_keys {
    struct sa_cache k;
    int64_t begin, end;
    int n_heads;
};

/* Rows of a (sequence, kv head) under way. Its groups are handled in passes of as many as the kernels take at once. */
struct sa_tile {
    const struct sa_kernels *kernels;
    const struct sa_problem *problem;
    struct sa_workspace *space;
    const struct sa_seq *seq;
    int n_abreast;        /* tiles from this one on, in an array, that go through their keys together: see abreast.h */
    struct sa_cache k, v; /* of the kv head */
    const struct sa_products *products; /* of floats, or those of the dots, or of the bytes */
    const struct sa_dots *dots;         /* NULL, or q, k and v are multiplied in pairs; k is words of SA_F32 then */
    const struct sa_bytes *bytes;       /* NULL, or k and v are multiplied as int8 */
    int64_t first_row;                  /* of the kv head's, see sa_seq_rows() */
    int n_rows, n_groups;
    int64_t first_position, last_position;
    struct sa_span group_first[SA_TILE_GROUPS],
        group_last[SA_TILE_GROUPS]; /* what the first and last row of a group see */
    struct sa_ahead *after;         /* o, and what will be needed when the tile is done: see ahead.h */
    int64_t after_end;              /* the values in it are of keys below this; 0: there are none */
    int64_t fetched_end;            /* the same of what the tile before has fetched */
    struct sa_first_keys next_keys; /* of a tile of few rows: what the item behind it, also of few, begins with */
    struct sa_viewer viewer;        /* of a sequence with any struct sa_sight, or a bias and dots */
};

_Static_assert(sizeof(struct sa_tile) <= SA_TILE_BYTES, "tiles have room in a workspace");

/* Of the tile with that number. */
static inline int sa_tile_rows(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile) {
    const int64_t left = sa_seq_rows(problem, seq) - tile * SA_TILE_ROWS;
    return left < SA_TILE_ROWS ? (int)left : SA_TILE_ROWS;
}

/* May any row see any of the keys begin .. end - 1? False is certain; so is true where spans say all. */
static inline bool sa_tile_sees_any(const struct sa_tile *t, int64_t begin, int64_t end) {
    return sa_visible_any(sa_rule_of(t->problem, t->seq), t->first_position, t->last_position, t->seq->n_k, begin,
                          end) &&
           (!t->seq->sight.any || sa_viewer_may_see(&t->viewer, begin, end));
}

/* Those that multiply the sequence's elements; NULL: as floats they are. What a thread does with them stands between
 * sa_enter_products() and sa_leave_products(). */
static inline const struct sa_dots *sa_dots_of(const struct sa_kernels *kernels, const struct sa_problem *problem,
                                               const struct sa_seq *seq) {
    if (kernels->dots && sa_in_pairs(problem, seq, SA_BF16))
        return kernels->dots;
    return kernels->dots_f16 && sa_in_pairs(problem, seq, SA_F16) ? kernels->dots_f16 : NULL;
}

static inline const struct sa_bytes *sa_bytes_of(const struct sa_kernels *kernels, const struct sa_problem *problem,
                                                 const struct sa_seq *seq) {
    return kernels->bytes && sa_in_bytes(problem, seq) ? kernels->bytes : NULL;
}

static inline void sa_enter_products(const struct sa_dots *dots, const struct sa_bytes *bytes) {
    if (dots && dots->enter)
        dots->enter();
    if (bytes && bytes->enter)
        bytes->enter();
}

static inline void sa_leave_products(const struct sa_dots *dots, const struct sa_bytes *bytes) {
    if (dots && dots->leave)
        dots->leave();
    if (bytes && bytes->leave)
        bytes->leave();
}

/* Between blocks, when all that is needed of the tile is in its workspace. What is played uses another
 * one, but maybe other products: these are left and entered again. */
static inline void sa_play_interlude(const struct sa_tile *t) {
    const struct sa_interlude *interlude = t->space->interlude;
    if (!interlude || !interlude->is_due(interlude->argument))
        return;
    sa_leave_products(t->dots, t->bytes);
    interlude->play(interlude->argument);
    sa_enter_products(t->dots, t->bytes);
}

/* For sa_view_open(): whose weights are reported key by key leaves no strips out. */
static inline struct sa_gaps sa_gaps_of(const struct sa_tile *t, int least) {
    const bool reported = t->seq->reports.weights.data || t->seq->reports.mass.data;
    return (struct sa_gaps){reported ? SA_STRIPS : least, t->dots != NULL};
}

/* The block to look at from key `at` on, a look ahead. Between sink keys and a window there is none. */
static inline int64_t sa_tile_next(const struct sa_tile *t, int64_t at) {
    enum { N_BLOCKS = 16 };
    if (t->seq->sight.any)
        return sa_viewer_next(&t->viewer, at, N_BLOCKS);
    const int64_t lo = t->group_first[0].lo, sink = t->group_last[t->n_groups - 1].sink;
    return at >= sink && at + SA_BLOCK_KEYS <= lo ? lo - lo % SA_BLOCK_KEYS : at;
}

static inline int sa_tile_passes(const struct sa_tile *t) {
    return (t->n_groups + t->kernels->pass_groups - 1) / t->kernels->pass_groups;
}

/* Groups of a pass: all of them but in the last one. */
static inline int sa_pass_groups(const struct sa_tile *t, int pass) {
    const int left = t->n_groups - pass * t->kernels->pass_groups;
    return left < t->kernels->pass_groups ? left : t->kernels->pass_groups;
}

/* First row of a pass, where its part of m, l, mb, alpha begins. */
static inline int sa_pass_row(const struct sa_tile *t, int pass) {
    return pass * t->kernels->pass_groups * SA_GROUP_ROWS;
}

static inline struct sa_state sa_state_of_pass(const struct sa_tile *t, const struct sa_state *state, int pass) {
    const int row = sa_pass_row(t, pass);
    return (struct sa_state){state->m + row, state->l + row, state->o + row * t->problem->d_v};
}

/* Weights 2^(s - m) of a block, or scores, where a kernel left them. */
struct sa_scored {
    float *s;
    int key_step, row_step, pass_rows, pass_step;   /* from a key to the next, a row of a pass, a pass */
    int begin[SA_TILE_GROUPS], end[SA_TILE_GROUPS]; /* the keys that any row of a group sees */
};

/* Those of row r, key 0 of the block on. */
static inline float *sa_scored_row(const struct sa_scored *scored, int r) {
    return scored->s + r / scored->pass_rows * scored->pass_step + r % scored->pass_rows * scored->row_step;
}

/* Weights of the block that begins at key `at` to maxima that are known, one a row; of a broken row, whose maximum is
 * given as 0, NaN for each key that it sees. False: no row sees any. */
bool sa_weigh_block(const struct sa_tile *tile, int64_t at, const float m[SA_TILE_ROWS],
                    const bool broken[SA_TILE_ROWS], struct sa_scored *scored);

/* Tiles of few rows are attended to by few.c, and o of their states is laid out for it. */
static inline bool sa_is_few(const struct sa_tile *t) { return t->n_rows <= SA_FEW_ROWS; }

/* rows[r] = row r of o, divided. */
static inline void sa_finish(const struct sa_tile *t, const struct sa_state *state, float *const rows[SA_TILE_ROWS]) {
    (sa_is_few(t) ? t->kernels->few_finish : t->kernels->finish)(state, t->n_rows, t->problem->d_v, rows);
}

/* The state of a tile that has met no key. */
void sa_clear_state(const struct sa_tile *tile, const struct sa_state *state);

/* The turn of a tile among those that go through a block one after the other. */
enum { SA_FIRST_TURN = 1, SA_LAST_TURN = 2 };

/* Adds the block that begins at key `at` to the state, of which nothing is kept if it is `fresh`. False, and nothing
 * done: no row sees any key. */
bool sa_attend_block(const struct sa_tile *tile, int64_t at, const struct sa_state *state, bool fresh, int turn);

#endif
