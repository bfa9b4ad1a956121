/* SPDX-License-Identifier: MIT */
/* What a tile sees of a block, bit by bit, against the rules taken key by key; and the strips that are made of it. */
#include "inside.h"

#include <stdlib.h>

#include "reference.h"
#include "sighted.h"
#include "validate.h"
#include "view.h"

/* ---------------------------------------------------------------- a sequence with rules */

struct world {
    struct drawn drawn;
    struct sa_seq seq;
    struct sa_problem problem;
    struct sa_extent *extents;
};

static void resolve_world(struct world *w, bool with_extents) {
    sa_batch own;
    w->drawn.batch.sequences = w->drawn.seqs;
    w->problem.seqs = &w->seq;
    ck_assert(sa_validate_batch(&w->drawn.batch, &own) == SA_OK);
    must(sa_validate_sequences(&own, &w->problem) == SA_OK, "invalid");
    w->extents = malloc((size_t)(sa_sight_count_extents(&w->problem) + 1) * sizeof *w->extents);
    if (with_extents)
        sa_sight_find_extents(&w->problem, w->extents);
}

static void open_world(struct world *w, uint64_t seed, bool with_extents) {
    struct dice dice = {seed};
    const int n_kv_heads = (int)roll_between(&dice, 1, 2), group = (int)roll_between(&dice, 1, 5);
    w->drawn = drawn_batch(seed, n_kv_heads * group, n_kv_heads, 1, 1);
    sa_sequence *s = drawn_add(&w->drawn, drawn_edge(&dice, 129), drawn_edge(&dice, 1025), PACKED, 1);
    drawn_rules(&w->drawn);
    drawn_sight(&w->drawn, s, roll_sight(&dice));
    resolve_world(w, with_extents);
}

static void close_world(struct world *w) {
    drawn_free(&w->drawn);
    free(w->extents);
}

/* ---------------------------------------------------------------- bits */

struct tile {
    struct sa_viewer viewer;
    int kv_head, n_rows;
    int64_t row;
};

static struct tile roll_tile(const struct world *w, struct dice *dice) {
    const int64_t rows = sa_seq_rows(&w->problem, &w->seq), n_tiles = (rows + SA_TILE_ROWS - 1) / SA_TILE_ROWS;
    struct tile t = {.kv_head = (int)roll_between(dice, 0, w->problem.n_kv_heads - 1)};
    t.row = roll_between(dice, 0, n_tiles - 1) * SA_TILE_ROWS;
    t.n_rows = (int)(rows - t.row < SA_TILE_ROWS ? rows - t.row : SA_TILE_ROWS);
    t.viewer = sa_viewer_of(&w->problem, &w->seq, t.kv_head, t.row, t.n_rows);
    return t;
}

static bool defined(const struct world *w, const struct tile *t, int r, int64_t j) {
    const int64_t row = t->row + r;
    return reference_sees(&w->drawn.batch, &w->drawn.seqs[0], row / w->problem.group,
                          t->kv_head * w->problem.group + (int)(row % w->problem.group), j);
}

static bool has(const struct sa_key_set *set, int j) { return set->words[j / 64] >> j % 64 & 1; }

static void check_block(const struct world *w, const struct tile *t, int64_t at, uint64_t seed) {
    const int n = w->seq.n_k - at < SA_BLOCK_KEYS ? (int)(w->seq.n_k - at) : SA_BLOCK_KEYS;
    struct sa_key_set seen[SA_TILE_ROWS];
    const bool any = sa_viewer_look(&t->viewer, at, n, seen);
    bool wanted_any = false;
    for (int r = 0; r < t->n_rows; r++)
        for (int j = 0; j < SA_BLOCK_KEYS; j++) {
            const bool wanted = j < n && defined(w, t, r, at + j);
            wanted_any = wanted_any || wanted;
            must((any && has(&seen[r], j)) == wanted, "world %llu, row %d of %d, key %lld: %s",
                 (unsigned long long)seed, r, t->n_rows, (long long)(at + j), wanted ? "not seen" : "seen");
        }
    must(any == wanted_any, "world %llu: any", (unsigned long long)seed);
    must(sa_viewer_may_see(&t->viewer, at, at + n) || !any, "world %llu: passed by", (unsigned long long)seed);
}

START_TEST(bits_are_what_the_rules_say) {
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        struct world w;
        open_world(&w, seed, seed % 4 != 0);
        struct dice dice = {seed};
        const struct tile t = roll_tile(&w, &dice);
        for (int64_t at = 0; at < w.seq.n_k; at += SA_BLOCK_KEYS)
            check_block(&w, &t, at, seed);
        close_world(&w);
    }
}
END_TEST

/* A range of which something is seen is never passed by. */
START_TEST(ranges_are_passed_by_only_if_nobody_sees_them) {
    int n_passed = 0;
    for (uint64_t seed = 2000; seed < 3000; seed++) {
        struct world w;
        open_world(&w, seed, true);
        struct dice dice = {seed};
        const struct tile t = roll_tile(&w, &dice);
        for (int64_t at = 0, n = SA_BLOCK_KEYS << roll(&dice) % 4; at < w.seq.n_k; at += n) {
            bool any = false;
            for (int64_t j = at; j < at + n && j < w.seq.n_k && !any; j++)
                for (int r = 0; r < t.n_rows && !any; r++)
                    any = defined(&w, &t, r, j);
            const bool may = sa_viewer_may_see(&t.viewer, at, at + n);
            must(may || !any, "world %llu: keys from %lld", (unsigned long long)seed, (long long)at);
            n_passed += !may;
        }
        close_world(&w);
    }
    ck_assert_msg(n_passed > 50, "%d passed by", n_passed);
}
END_TEST

/* One query that sees the keys from `edge` on, or up to it. */
static void open_limited(struct world *w, int64_t edge, bool left, bool of_keys) {
    enum { N_K = 600, FAR = 20 };
    w->drawn = drawn_batch(1, 1, 1, 1, 1);
    sa_sequence *s = drawn_add(&w->drawn, 1, N_K, PACKED, 1);
    int32_t *position = drawn_map(&w->drawn, sizeof *position), *keys = drawn_map(&w->drawn, N_K * sizeof *keys);
    for (int j = 0; j < N_K; j++)
        keys[j] = j;
    *position = (int32_t)(left ? edge + FAR : edge - FAR);
    s->q_positions = position;
    s->k_positions = of_keys ? keys : NULL;
    w->drawn.batch.flags = SA_WINDOW;
    w->drawn.batch.window_left = left ? FAR : -1;
    w->drawn.batch.window_right = left ? -1 : FAR;
    resolve_world(w, true);
}

/* Of a block a window may leave the last key only, or the first. */
START_TEST(limits_at_the_edges_of_blocks) {
    for (int64_t edge = 254; edge <= 258; edge++)
        for (int way = 0; way < 4; way++) {
            struct world w;
            open_limited(&w, edge, way & 1, way & 2);
            struct dice dice = {1};
            const struct tile t = roll_tile(&w, &dice);
            for (int64_t at = 0; at < w.seq.n_k; at += SA_BLOCK_KEYS) {
                const bool any = way & 1 ? at + SA_BLOCK_KEYS > edge : at <= edge;
                check_block(&w, &t, at, (uint64_t)edge);
                must(sa_viewer_may_see(&t.viewer, at, at + SA_BLOCK_KEYS) == any, "edge %lld, keys from %lld",
                     (long long)edge, (long long)at);
            }
            close_world(&w);
        }
}
END_TEST

/* ---------------------------------------------------------------- strips */

/* Keys of the view are those of the block that its strips say; what is left out nobody sees. */
static void check_view(const struct sa_view *view, const struct sa_key_set *seen, int n_rows, int n_keys, int least) {
    unsigned left = 0xffff;
    for (int i = 0; i < view->n_strips; i++) {
        left &= ~(1u << view->strip[i]);
        must(i == 0 || view->strip[i] > view->strip[i - 1], "strips are not in order");
        must(view->gaps || view->strip[i] == i, "strips without gaps");
    }
    const int last = view->strip[view->n_strips - 1] * SA_SUM_KEYS;
    must(view->n_keys ==
             (view->n_strips - 1) * SA_SUM_KEYS + (n_keys - last < SA_SUM_KEYS ? n_keys - last : SA_SUM_KEYS),
         "%d keys", view->n_keys);
    int n_gaps = 0;
    for (int r = 0; r < n_rows; r++) {
        for (int j = 0; j < view->n_strips * SA_SUM_KEYS; j++)
            must(has(&view->seen[r], j) == has(&seen[r], view->strip[j / SA_SUM_KEYS] * SA_SUM_KEYS + j % SA_SUM_KEYS),
                 "key %d", j);
        for (int j = 0; j < SA_BLOCK_KEYS; j++)
            must(!has(&seen[r], j) || !(left >> j / SA_SUM_KEYS & 1), "key %d is left out", j);
    }
    for (int i = 0; i < view->strip[view->n_strips - 1]; i++)
        n_gaps += left >> i & 1;
    must(!view->gaps || n_gaps >= least, "%d gaps", n_gaps);
}

static void check_groups(const struct sa_view *view, int n_rows) {
    for (int r = 0; r < (n_rows + 15) / 16 * 16; r++)
        for (int j = 0; j < view->n_keys; j++) {
            const struct sa_key_set *row = &view->seen[r < n_rows ? r : n_rows - 1];
            must((view->lanes[r / 16][j / 32][r % 16] >> j % 32 & 1) == has(row, j), "row %d, key %d", r, j);
            if (has(row, j))
                must(view->some[r / 16] >> j / 16 & 1, "group %d does not see strip %d", r / 16, j / 16);
            else
                must(!(view->all[r / 16] >> j / 16 & 1), "all of group %d see strip %d", r / 16, j / 16);
        }
    for (int g = 0; g < (n_rows + 15) / 16; g++) {
        const struct sa_zones z = sa_view_zones(view, g);
        const unsigned strips = view->some[g], outside = ~((1u << z.end / 16) - (1u << z.begin / 16));
        must((view->all[g] & ~strips) == 0 && (strips & outside) == 0, "group %d", g);
        must(z.seen_end == (z.end < view->n_keys ? z.end : view->n_keys), "group %d ends", g);
    }
}

START_TEST(views_hold_what_is_seen) {
    static struct sa_view view;
    int n_gaps = 0;
    for (uint64_t seed = 5000; seed < 6500; seed++) {
        struct world w;
        open_world(&w, seed, true);
        struct dice dice = {seed};
        const struct tile t = roll_tile(&w, &dice);
        const int64_t at = roll_between(&dice, 0, (w.seq.n_k - 1) / SA_BLOCK_KEYS) * SA_BLOCK_KEYS;
        const int n = w.seq.n_k - at < SA_BLOCK_KEYS ? (int)(w.seq.n_k - at) : SA_BLOCK_KEYS, least = (int)(seed % 3);
        struct sa_key_set seen[SA_TILE_ROWS];
        const bool any = sa_viewer_look(&t.viewer, at, n, seen);
        ck_assert(sa_view_open(&view, &t.viewer, at, n, (struct sa_gaps){least, false}) == any);
        if (any) {
            check_view(&view, seen, t.n_rows, n, least);
            sa_view_group(&view, t.n_rows);
            check_groups(&view, t.n_rows);
            n_gaps += view.gaps;
        }
        close_world(&w);
    }
    ck_assert_msg(n_gaps > 100, "%d with gaps", n_gaps);
}
END_TEST

/* ---------------------------------------------------------------- */

int main(void) {
    Suite *suite = suite_create("sight");
    TCase *bits = add_case(suite, "bits");
    tcase_add_test(bits, bits_are_what_the_rules_say);
    tcase_add_test(bits, ranges_are_passed_by_only_if_nobody_sees_them);
    tcase_add_test(bits, limits_at_the_edges_of_blocks);
    tcase_add_test(add_case(suite, "views"), views_hold_what_is_seen);
    return run_suite(suite);
}
