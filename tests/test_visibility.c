/* SPDX-License-Identifier: MIT */
/* Which keys are visible: every closed form against the rule of SEMANTICS, taken key by key. */
#include "visibility.h"

#include "inside.h"
#include "kernels/kernels.h"

/* ---------------------------------------------------------------- the rule, key by key */

static bool sees(const struct sa_rule *rule, int64_t p, int64_t n_k, int64_t j) {
    bool left = rule->left == SA_UNLIMITED || p - rule->left <= j || j < rule->sink;
    bool right = rule->right == SA_UNLIMITED || j <= p + rule->right;
    return 0 <= j && j < n_k && left && right;
}

static bool one_sees(const struct sa_rule *rule, int64_t first, int64_t last, int64_t n_k, int64_t j) {
    for (int64_t p = first; p <= last; p++)
        if (sees(rule, p, n_k, j))
            return true;
    return false;
}

static bool all_see(const struct sa_rule *rule, int64_t first, int64_t last, int64_t n_k, int64_t j) {
    for (int64_t p = first; p <= last; p++)
        if (!sees(rule, p, n_k, j))
            return false;
    return true;
}

static int64_t roll_limit(struct dice *dice, int64_t reach) {
    switch (roll(dice) % 4) {
    case 0: return SA_UNLIMITED;
    case 1: return 0;
    case 2: return roll_between(dice, 0, 3);
    default: return roll_between(dice, 0, reach);
    }
}

static struct sa_rule roll_rule(struct dice *dice, int64_t reach) {
    struct sa_rule rule = {roll_limit(dice, reach), roll_limit(dice, reach), 0};
    if (roll_one_in(dice, 2))
        rule.sink = roll_one_in(dice, 8) ? INT64_C(1) << 31 : roll_between(dice, 0, reach);
    return rule;
}

#define FOR(rule, first, last, n_k)                                                                                    \
    "left %lld right %lld sink %lld, positions %lld to %lld, %lld keys", (long long)(rule).left,                       \
        (long long)(rule).right, (long long)(rule).sink, (long long)(first), (long long)(last), (long long)(n_k)

/* ---------------------------------------------------------------- one row */

START_TEST(a_row_sees_what_the_rule_says) {
    struct dice dice = {1};
    for (int i = 0; i < 20000; i++) {
        struct sa_rule rule = roll_rule(&dice, 40);
        int64_t n_k = roll_between(&dice, 0, 30), p = roll_between(&dice, -50, 80);
        struct sa_span span = sa_visible(&rule, p, n_k);
        bool ordered = 0 <= span.sink && span.sink <= span.lo && span.lo <= span.hi && span.hi <= n_k;
        must(ordered, FOR(rule, p, p, n_k));
        for (int64_t j = -2; j < n_k + 2; j++) {
            bool in_span = (j >= 0 && j < span.sink) || (span.lo <= j && j < span.hi);
            must(in_span == sees(&rule, p, n_k, j), FOR(rule, p, p, n_k));
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- many rows */

struct rows {
    struct sa_rule rule;
    int64_t first, last, n_k;
};

static struct rows roll_rows(struct dice *dice) {
    struct rows rows = {roll_rule(dice, 40), roll_between(dice, -50, 70), 0, roll_between(dice, 0, 30)};
    rows.last = rows.first + roll_between(dice, 0, 40);
    return rows;
}

START_TEST(pairs_are_counted_as_by_hand) {
    struct dice dice = {2};
    for (int i = 0; i < 5000; i++) {
        struct rows r = roll_rows(&dice);
        int64_t counted = 0;
        for (int64_t p = r.first; p <= r.last; p++)
            for (int64_t j = 0; j < r.n_k; j++)
                counted += sees(&r.rule, p, r.n_k, j);
        must(sa_visible_pairs(&r.rule, r.first, r.last, r.n_k) == counted, FOR(r.rule, r.first, r.last, r.n_k));
        ck_assert_int_eq(sa_visible_pairs(&r.rule, r.first, r.first - 1, r.n_k), 0);
    }
}
END_TEST

START_TEST(the_union_is_counted_as_by_hand) {
    struct dice dice = {3};
    for (int i = 0; i < 5000; i++) {
        struct rows r = roll_rows(&dice);
        int64_t counted = 0;
        for (int64_t j = 0; j < r.n_k; j++)
            counted += one_sees(&r.rule, r.first, r.last, r.n_k, j);
        must(sa_visible_union(&r.rule, r.first, r.last, r.n_k) == counted, FOR(r.rule, r.first, r.last, r.n_k));
    }
}
END_TEST

START_TEST(a_key_range_is_seen_or_not) {
    struct dice dice = {4};
    for (int i = 0; i < 20000; i++) {
        struct rows r = roll_rows(&dice);
        int64_t begin = roll_between(&dice, 0, 33), end = begin + roll_between(&dice, 1, 9);
        bool any = false;
        for (int64_t j = begin; j < end; j++)
            any = any || one_sees(&r.rule, r.first, r.last, r.n_k, j);
        must(sa_visible_any(&r.rule, r.first, r.last, r.n_k, begin, end) == any, FOR(r.rule, r.first, r.last, r.n_k));
    }
}
END_TEST

/* ---------------------------------------------------------------- zones */

/* A group is the rows at positions first .. last, and it looks at one block. */
struct look {
    struct rows rows;
    int64_t block;
    int n_block;
};

/* Windows and offsets around the sizes at which zones change: rows of a group, row-sum trees, blocks. */
static struct look roll_look(struct dice *dice) {
    struct look look = {.rows = {.rule = roll_rule(dice, 600), .n_k = roll_between(dice, 1, 700)}};
    look.rows.first = roll_between(dice, -300, 1000);
    look.rows.last = look.rows.first + roll_between(dice, 0, 15);
    look.block = roll_between(dice, 0, (look.rows.n_k - 1) / SA_BLOCK_KEYS) * SA_BLOCK_KEYS;
    int64_t left = look.rows.n_k - look.block;
    look.n_block = left < SA_BLOCK_KEYS ? (int)left : SA_BLOCK_KEYS;
    return look;
}

static struct sa_zones zones_of(const struct look *look) {
    const struct rows *r = &look->rows;
    return sa_zones_of(sa_visible(&r->rule, r->first, r->n_k), sa_visible(&r->rule, r->last, r->n_k), look->block,
                       look->n_block);
}

static bool look_any(const struct look *look, int key) {
    return one_sees(&look->rows.rule, look->rows.first, look->rows.last, look->rows.n_k, look->block + key);
}

static bool look_all(const struct look *look, int key) {
    return all_see(&look->rows.rule, look->rows.first, look->rows.last, look->rows.n_k, look->block + key);
}

#define LOOK(look) FOR((look).rows.rule, (look).rows.first, (look).rows.last, (look).rows.n_k)

/* What a wrong result would follow from. */
static void check_safe(const struct look *look, const struct sa_zones *z) {
    bool ordered = 0 <= z->begin && z->begin <= z->seen_begin && z->seen_begin <= z->full_begin &&
                   z->full_begin <= z->full_end && z->full_end <= z->seen_end && z->seen_end <= z->end;
    must(ordered && z->seen_end <= look->n_block && z->end <= SA_BLOCK_KEYS, LOOK(*look));
    must(z->begin % SA_SUM_KEYS == 0 && z->end % SA_SUM_KEYS == 0, LOOK(*look));
    for (int key = 0; key < look->n_block; key++) {
        must(!look_any(look, key) || (z->seen_begin <= key && key < z->seen_end), LOOK(*look));
        must(key < z->full_begin || key >= z->full_end || look_all(look, key), LOOK(*look));
    }
}

/* What time would be lost without: nothing is gone through that nobody sees, nothing masked that all see. Sinks within
 * the block make two stretches of it, then only the outer ends are as tight as they can be. */
static void check_tight(const struct look *look, const struct sa_zones *z) {
    bool any = false;
    for (int key = 0; key < look->n_block; key++)
        any = any || look_any(look, key);
    must(any == (z->seen_begin < z->seen_end), LOOK(*look));
    if (any) {
        must(look_any(look, z->seen_begin) && look_any(look, z->seen_end - 1), LOOK(*look));
        must(z->seen_begin - z->begin < SA_SUM_KEYS && z->end - z->seen_end < SA_SUM_KEYS, LOOK(*look));
    }
    bool sinks = sa_visible(&look->rows.rule, look->rows.last, look->rows.n_k).sink > look->block;
    for (int key = 0; key < look->n_block && !sinks; key++)
        must(!look_all(look, key) || (z->full_begin <= key && key < z->full_end), LOOK(*look));
}

START_TEST(zones_are_safe_and_tight) {
    struct dice dice = {5};
    int n_full = 0, n_part = 0, n_none = 0;
    for (int i = 0; i < 20000; i++) {
        struct look look = roll_look(&dice);
        struct sa_zones z = zones_of(&look);
        check_safe(&look, &z);
        check_tight(&look, &z);
        n_none += z.seen_begin == z.seen_end;
        n_full += z.full_begin < z.full_end && z.full_end - z.full_begin == z.seen_end - z.seen_begin;
        n_part += z.full_begin < z.full_end && z.full_end - z.full_begin < z.seen_end - z.seen_begin;
    }
    must(n_none > 1000 && n_full > 1000 && n_part > 1000, "%d none, %d full, %d part", n_none, n_full, n_part);
}
END_TEST

/* ---------------------------------------------------------------- large numbers */

__extension__ typedef __int128 wide;

/* Sum over p = first .. last of clamp(p + shift, 0, n), by stretches: 0 below, rising, n above. */
static wide clamped_sum(wide first, wide last, wide shift, wide n) {
    wide rise_from = first + shift < 1 ? 1 : first + shift, rise_to = last + shift < n ? last + shift : n;
    wide rising = rise_from <= rise_to ? (rise_from + rise_to) * (rise_to - rise_from + 1) / 2 : 0;
    wide above_from = first + shift > n ? first + shift : n + 1;
    wide above = last + shift >= above_from ? (last + shift - above_from + 1) * n : 0;
    return rising + above;
}

static wide wide_pairs(const struct sa_rule *rule, int64_t first, int64_t last, int64_t n_k) {
    int64_t sink = rule->sink < n_k ? rule->sink : n_k;
    return clamped_sum(first, last, (wide)rule->right + 1, n_k) - clamped_sum(first, last, -(wide)rule->left, n_k) +
           clamped_sum(first, last, -(wide)rule->left, sink);
}

static int64_t roll_large(struct dice *dice, int64_t most) {
    int64_t near = roll_between(dice, 0, 3), x = roll_one_in(dice, 2) ? most >> roll_between(dice, 0, 30) : most - near;
    return roll_one_in(dice, 4) ? roll_between(dice, 0, most) : x;
}

static int64_t roll_large_limit(struct dice *dice) {
    return roll_one_in(dice, 4) ? SA_UNLIMITED : roll_large(dice, INT64_C(1) << 33);
}

#define MOST_TOKENS ((INT64_C(1) << 31) - (INT64_C(1) << 20))

START_TEST(large_numbers_do_not_overflow) {
    struct dice dice = {6};
    for (int i = 0; i < 50000; i++) {
        struct sa_rule rule = {roll_large_limit(&dice), roll_large_limit(&dice), 0};
        rule.sink = roll_one_in(&dice, 2) ? 0 : roll_large(&dice, MOST_TOKENS);
        int64_t n_k = roll_large(&dice, MOST_TOKENS), offset = roll_large(&dice, INT64_C(1) << 32);
        int64_t first = roll_one_in(&dice, 2) ? -offset : offset;
        int64_t last = first + roll_large(&dice, MOST_TOKENS) - 1;
        wide pairs = last < first ? 0 : wide_pairs(&rule, first, last, n_k);
        must(sa_visible_pairs(&rule, first, last, n_k) == pairs, FOR(rule, first, last, n_k));
        struct sa_span span = sa_visible(&rule, first, n_k);
        int64_t seen = span.hi - span.lo + span.sink;
        must(seen == wide_pairs(&rule, first, first, n_k), FOR(rule, first, first, n_k));
        must(span.lo >= 0 && span.hi <= n_k, FOR(rule, first, first, n_k));
    }
}
END_TEST

/* Kernels take the groups g0 .. g1 - 1 of a tile that see any of a block: none of those between may see nothing. Rows
 * are query heads of a token, then those of the next one. */
START_TEST(groups_that_see_a_block_are_neighbours) {
    struct dice dice = {8};
    for (int i = 0; i < 300000; i++) {
        struct sa_rule rule = roll_rule(&dice, 60);
        int64_t n_k = roll_between(&dice, 1, 90), p = roll_between(&dice, -70, 160), heads = roll_between(&dice, 1, 40);
        int64_t block = 16 * roll_between(&dice, 0, (n_k - 1) / 16), row = roll_between(&dice, 0, heads - 1);
        int n_block = n_k - block < 16 ? (int)(n_k - block) : 16, last = -1;
        for (int g = 0; g < SA_TILE_GROUPS; g++, row += SA_GROUP_ROWS) {
            struct sa_span of_first = sa_visible(&rule, p + row / heads, n_k);
            struct sa_span of_last = sa_visible(&rule, p + (row + SA_GROUP_ROWS - 1) / heads, n_k);
            struct sa_zones z = sa_zones_of(of_first, of_last, block, n_block);
            if (z.seen_begin == z.seen_end)
                continue;
            must(last < 0 || last == g - 1, FOR(rule, p, p + (row + SA_GROUP_ROWS - 1) / heads, n_k));
            last = g;
        }
    }
}
END_TEST

START_TEST(zones_far_out_are_those_near_by) {
    struct dice dice = {7};
    const int64_t far = MOST_TOKENS - MOST_TOKENS % SA_BLOCK_KEYS - 1024;
    int n_checked = 0;
    for (int i = 0; i < 5000; i++) {
        struct look near = roll_look(&dice), away = near;
        near.rows.rule.sink = away.rows.rule.sink = 0; /* sinks do not move along */
        near.rows.rule.left = away.rows.rule.left = roll_between(&dice, 0, 300);
        away.rows.first += far;
        away.rows.last += far;
        away.rows.n_k += far;
        away.block += far;
        if (near.rows.first - near.rows.rule.left < 0 || near.rows.first < 0)
            continue; /* the first key stops a window near by, not far out */
        struct sa_zones a = zones_of(&near), b = zones_of(&away);
        must(memcmp(&a, &b, sizeof a) == 0, LOOK(near));
        n_checked++;
    }
    ck_assert_int_gt(n_checked, 1000);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("visibility");
    tcase_add_test(add_case(suite, "row"), a_row_sees_what_the_rule_says);
    TCase *rows = add_case(suite, "rows");
    tcase_add_test(rows, pairs_are_counted_as_by_hand);
    tcase_add_test(rows, the_union_is_counted_as_by_hand);
    tcase_add_test(rows, a_key_range_is_seen_or_not);
    TCase *zones = add_case(suite, "zones");
    tcase_add_test(zones, zones_are_safe_and_tight);
    tcase_add_test(zones, zones_far_out_are_those_near_by);
    tcase_add_test(zones, groups_that_see_a_block_are_neighbours);
    tcase_add_test(add_case(suite, "large"), large_numbers_do_not_overflow);
    return run_suite(suite);
}
