/* SPDX-License-Identifier: MIT */
/* Parts of tiles, against what rows see key by key; and which tiles are split at all. */
#include "parts.h"

#include <math.h>
#include <sa/sa.h>
#include <stdlib.h>

#include "inside.h"
#include "plan.h"
#include "synthetic.h"

/* ---------------------------------------------------------------- one tile */

struct drawn_tile {
    struct sa_seq seq;
    struct sa_problem problem;
    struct sa_splits splits;
};

/* A sequence with a few tiles, long keys, any rule; split into parts of any size. */
static void draw(struct drawn_tile *d, uint64_t seed) {
    struct dice dice = {seed};
    const int64_t n_k = roll_between(&dice, 1, roll_one_in(&dice, 2) ? 5000 : 40000);
    struct sa_rule rule = {SA_UNLIMITED, roll_one_in(&dice, 2) ? 0 : SA_UNLIMITED, 0};
    if (roll_one_in(&dice, 2))
        rule = (struct sa_rule){roll_between(&dice, 0, n_k), roll_between(&dice, 0, 2000), roll_between(&dice, 0, 9)};
    if (roll_one_in(&dice, 3))
        rule.sink = roll_between(&dice, 0, n_k);
    d->seq = (struct sa_seq){.n_q = roll_between(&dice, 1, 150), .n_k = n_k};
    d->seq.q_offset = roll_one_in(&dice, 3) ? roll_between(&dice, -200, n_k + 3000) : n_k - d->seq.n_q;
    if (roll_one_in(&dice, 8)) { /* behind all keys, of which rows see the sinks */
        rule = (struct sa_rule){roll_between(&dice, 0, 100), roll_between(&dice, 0, 100), roll_between(&dice, 0, n_k)};
        d->seq.q_offset = n_k + roll_between(&dice, 0, 200);
    }
    d->problem = (struct sa_problem){.n_seqs = 1,
                                     .seqs = &d->seq,
                                     .n_kv_heads = (int)roll_between(&dice, 1, 3),
                                     .group = (int)roll_between(&dice, 1, 5),
                                     .d_qk = 16,
                                     .d_v = 16,
                                     .rule = rule};
    d->splits = (struct sa_splits){.n = 0};
    ck_assert(sa_splits_make(&d->splits, &d->problem, test_model(), exp2((double)roll_between(&dice, 10, 27))));
}

/* Does any row of the tile see the key? */
static bool *seen_by_hand(const struct drawn_tile *d, int64_t tile) {
    bool *seen = calloc((size_t)d->seq.n_k + 1, sizeof *seen);
    for (int64_t row = tile * 64; row < tile * 64 + 64 && row < sa_seq_rows(&d->problem, &d->seq); row++) {
        struct sa_span s = sa_visible(&d->problem.rule, d->seq.q_offset + row / d->problem.group, d->seq.n_k);
        for (int64_t key = 0; key < s.hi; key++)
            seen[key] = seen[key] || key < s.sink || key >= s.lo;
    }
    return seen;
}

static bool any_seen(const bool *seen, int64_t begin, int64_t end, int64_t n_k) {
    for (int64_t key = begin; key < end && key < n_k; key++)
        if (seen[key])
            return true;
    return false;
}

/* Every key that is seen is in one part, and there is no part without one. */
static void check_parts(const struct sa_split *split, const bool *seen) {
    const int64_t keys = INT64_C(1024) << split->log2_chunks;
    int part = 0;
    for (int64_t begin = 0; begin < split->n_k; begin += keys) {
        must(sa_parts_below(split, begin) == part && sa_parts_below(split, begin + keys - 1) == part,
             "%d parts are said to lie below key %lld, there are %d", sa_parts_below(split, begin), (long long)begin,
             part);
        if (!any_seen(seen, begin, begin + keys, split->n_k))
            continue;
        const struct sa_range range = sa_part_keys(split, part++);
        ck_assert(range.begin == begin && range.end == (begin + keys < split->n_k ? begin + keys : split->n_k));
    }
    ck_assert_int_eq(part, split->n_parts);
}

/* A result of a node has the slot of the first that some row sees of the nodes of the parts' level in it; slots of all
 * tiles and heads differ. */
static void check_slots(const struct drawn_tile *d, const struct sa_split *split, const bool *seen, char *used) {
    const int lowest = sa_split_level(split);
    for (int level = lowest; level == lowest || sa_node_keys(level - 1) < split->n_k; level++)
        for (int64_t begin = 0; begin < split->n_k; begin += sa_node_keys(level)) {
            const bool any = any_seen(seen, begin, begin + sa_node_keys(level), split->n_k);
            must(any == sa_split_sees(split, begin, begin + sa_node_keys(level)), "node at %lld", (long long)begin);
            int64_t first = begin;
            while (any && !any_seen(seen, first, first + sa_node_keys(lowest), split->n_k))
                first += sa_node_keys(lowest);
            for (int head = 0; any && head < d->problem.n_kv_heads; head++) {
                const int64_t slot = sa_split_slot(split, head, begin);
                must(slot >= 0 && slot < d->splits.n_slots, "slot %lld of %lld", (long long)slot,
                     (long long)d->splits.n_slots);
                must(slot == sa_split_slot(split, head, first), "node at %lld", (long long)begin);
                must(level > lowest || !used[slot], "slot %lld is used twice", (long long)slot);
                used[slot] = 1;
            }
        }
}

/* Together the parts cost what the tile does, and each the packing of its rows again. */
static void check_costs(const struct drawn_tile *d, const struct sa_split *split) {
    const double whole = sa_tile_cost(test_model(), &d->problem, &d->seq, split->tile),
                 again = sa_part_cost(test_model(), &d->problem, &d->seq, split->tile, 0, 0);
    double sum = 0;
    for (int part = 0; part < split->n_parts; part++) {
        const struct sa_range keys = sa_part_keys(split, part);
        const double cost = sa_split_part_cost(split, &d->problem, test_model(), part);
        must(fabs(cost - sa_part_cost(test_model(), &d->problem, &d->seq, split->tile, keys.begin, keys.end)) <=
                 1e-9 * cost,
             "part %d", part);
        sum += cost;
    }
    must(fabs(sum - whole - again * (split->n_parts - 1)) <= 1e-9 * whole, "parts cost %g, the tile %g", sum, whole);
}

START_TEST(every_key_is_in_one_part) {
    int64_t n_splits = 0, n_several = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct drawn_tile d;
        draw(&d, seed);
        char *used = calloc((size_t)d.splits.n_slots + 1, 1);
        int64_t n_parts = 0, before = 0;
        for (int64_t i = 0; i < d.splits.n; i++) {
            const struct sa_split *split = &d.splits.at[i];
            bool *seen = seen_by_hand(&d, split->tile);
            ck_assert(split->n_parts > 1 && sa_splits_find(&d.splits, 0, split->tile) == split);
            ck_assert(split->parts_before == before && sa_splits_parts_before(&d.splits, 0, split->tile) == before);
            before += split->n_parts - 1;
            ck_assert_int_eq(sa_splits_parts_before(&d.splits, 0, split->tile + 1), before);
            check_parts(split, seen);
            check_slots(&d, split, seen, used);
            check_costs(&d, split);
            n_parts += split->n_parts * d.problem.n_kv_heads;
            n_several += sa_part_nodes(split) > 1;
            free(seen);
        }
        ck_assert_int_eq(d.splits.n_parts, n_parts);
        ck_assert(!sa_splits_find(&d.splits, 0, sa_seq_tiles(&d.problem, &d.seq)));
        n_splits += d.splits.n;
        sa_splits_free(&d.splits);
        free(used);
    }
    ck_assert(n_splits > 300 && n_several > 50);
}
END_TEST

/* ---------------------------------------------------------------- which tiles */

/* A batch of one-token sequences on a team; the number of parts. */
static int64_t parts_of(const char *machine, int n_threads, int n_seqs, int n_heads, int64_t n_k) {
    struct team team;
    struct sa_seq *seqs = calloc((size_t)n_seqs, sizeof *seqs);
    struct sa_problem problem = {.n_seqs = n_seqs, .seqs = seqs, .n_kv_heads = n_heads, .group = 4, .d_qk = 64};
    struct sa_plan plan = {0};
    problem.d_v = problem.d_qk;
    problem.rule = (struct sa_rule){SA_UNLIMITED, 0, 0};
    for (int i = 0; i < n_seqs; i++)
        seqs[i] = (struct sa_seq){.n_q = 1, .n_k = n_k, .q_offset = n_k - 1, .k.d_bytes = 256, .v.d_bytes = 256};
    seat(&team, machine, false, n_threads);
    ck_assert(sa_plan_make(&plan, &problem, &team.shape));
    const int64_t n = plan.splits.n_parts;
    must(n == 0 || n == plan.n_items, "%lld of %lld items are parts", (long long)n, (long long)plan.n_items);
    sa_plan_free(&plan);
    free(seqs);
    return n;
}

START_TEST(only_what_leaves_threads_idle_is_split) {
    const char *small = "pack:1 l3:1 core:8 pu:1", *large = "pack:2 l3:8 core:12 pu:1";
    ck_assert_int_eq(parts_of(small, 1, 1, 1, 1 << 20), 0); /* nobody to share with */
    ck_assert_int_ge(parts_of(small, 2, 1, 1, 1 << 20), 16);
    ck_assert_int_eq(parts_of(small, 2, 1, 1, 1000), 0);    /* a chunk is not divided */
    ck_assert_int_eq(parts_of(small, 8, 1, 8, 4096), 0);    /* even already, and parts would be short */
    ck_assert_int_ge(parts_of(small, 8, 1, 9, 4096), 36);   /* one would have two */
    ck_assert_int_ge(parts_of(small, 8, 1, 8, 131072), 64); /* even, but long: threads are never all of one speed */
    ck_assert_int_eq(parts_of(small, 8, 16, 8, 65536), 0);  /* many are fine enough */
    ck_assert_int_ge(parts_of(large, 0, 1, 8, 1 << 20), 192 * 12);
    ck_assert_int_le(parts_of(large, 0, 1, 8, 1 << 20), 192 * 36);
    ck_assert_int_eq(parts_of(large, 0, 64, 30, 4096), 0); /* ten each */
    ck_assert_int_ge(parts_of(large, 0, 64, 31, 4096), 64 * 31 * 2);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("parts");
    tcase_add_test(add_case(suite, "geometry"), every_key_is_in_one_part);
    tcase_add_test(add_case(suite, "choice"), only_what_leaves_threads_idle_is_split);
    return run_suite(suite);
}
