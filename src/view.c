/* SPDX-License-Identifier: MIT */
#include "view.h"

#include <string.h>

enum { STRIPS_A_WORD = 64 / SA_SUM_KEYS };

static uint16_t strip_of(const struct sa_key_set *set, int i) {
    return (uint16_t)(set->words[i / STRIPS_A_WORD] >> (i % STRIPS_A_WORD * SA_SUM_KEYS));
}

/* ---------------------------------------------------------------- which strips */

static uint16_t strips_with_any(const struct sa_key_set *set) {
    unsigned strips = 0;
    for (int i = 0; i < SA_STRIPS; i++)
        strips |= (unsigned)(strip_of(set, i) != 0) << i;
    return (uint16_t)strips;
}

static struct sa_key_set seen_by_any(const struct sa_key_set *seen, int n_rows) {
    struct sa_key_set any = {{0}};
    for (int r = 0; r < n_rows; r++)
        for (int w = 0; w < SA_KEY_WORDS; w++)
            any.words[w] |= seen[r].words[w];
    return any;
}

static void keep_strips(struct sa_view *view, unsigned strips) {
    view->n_strips = 0;
    for (int i = 0; i < SA_STRIPS; i++)
        if (strips >> i & 1)
            view->strip[view->n_strips++] = (uint8_t)i;
}

static void pack(const struct sa_view *view, struct sa_key_set *set) {
    struct sa_key_set packed = {{0}};
    for (int i = 0; i < view->n_strips; i++)
        packed.words[i / STRIPS_A_WORD] |= (uint64_t)strip_of(set, view->strip[i]) << (i % STRIPS_A_WORD * SA_SUM_KEYS);
    *set = packed;
}

/* With the other strip of the same 32 keys. */
static unsigned in_pairs(unsigned strips) { return strips | (strips & 0x5555) << 1 | (strips & 0xaaaa) >> 1; }

bool sa_view_open(struct sa_view *view, const struct sa_viewer *viewer, int64_t at, int n_keys, struct sa_gaps gaps) {
    if (!sa_viewer_may_see(viewer, at, at + n_keys) || !sa_viewer_look(viewer, at, n_keys, view->seen))
        return false;
    view->any = seen_by_any(view->seen, viewer->n_rows);
    const unsigned seen = strips_with_any(&view->any), there = (1u << (n_keys + SA_SUM_KEYS - 1) / SA_SUM_KEYS) - 1,
                   strips = gaps.by_pairs ? in_pairs(seen) & there : seen;
    const int last = 31 - __builtin_clz(strips), first = __builtin_ctz(strips);
    view->gaps = last + 1 - first - __builtin_popcount(strips) >= gaps.least;
    keep_strips(view, view->gaps ? strips : (2u << last) - 1);
    const int end = (last + 1) * SA_SUM_KEYS < n_keys ? (last + 1) * SA_SUM_KEYS : n_keys;
    view->n_keys = end - (last + 1 - view->n_strips) * SA_SUM_KEYS;
    for (int r = 0; r < viewer->n_rows && view->gaps; r++)
        pack(view, &view->seen[r]);
    if (view->gaps)
        pack(view, &view->any);
    return true;
}

int sa_view_run(const struct sa_view *view, int i) {
    int n = 1;
    while (i + n < view->n_strips && view->strip[i + n] == view->strip[i] + n)
        n++;
    return n;
}

/* ---------------------------------------------------------------- groups */

static void spread_row(const struct sa_key_set *set, uint32_t (*lanes)[SA_GROUP_ROWS], int lane) {
    for (int w = 0; w < SA_KEY_WORDS; w++) {
        lanes[2 * w][lane] = (uint32_t)set->words[w];
        lanes[2 * w + 1][lane] = (uint32_t)(set->words[w] >> 32);
    }
}

/* Keys behind the last one count as seen. */
static void sum_up(struct sa_view *view, int group) {
    const struct sa_key_set *rows = &view->seen[group * SA_GROUP_ROWS];
    const struct sa_key_set any = seen_by_any(rows, SA_GROUP_ROWS);
    struct sa_key_set not_all = {{0}}, keys = {{0}};
    sa_key_set_add(&keys, 0, view->n_keys);
    for (int r = 0; r < SA_GROUP_ROWS; r++)
        for (int w = 0; w < SA_KEY_WORDS; w++)
            not_all.words[w] |= keys.words[w] & ~rows[r].words[w];
    view->some[group] = strips_with_any(&any);
    view->all[group] = (uint16_t)(view->some[group] & ~strips_with_any(&not_all));
}

void sa_view_group(struct sa_view *view, int n_rows) {
    for (int r = n_rows; r % SA_GROUP_ROWS; r++)
        view->seen[r] = view->seen[n_rows - 1];
    for (int group = 0; group * SA_GROUP_ROWS < n_rows; group++) {
        for (int lane = 0; lane < SA_GROUP_ROWS; lane++)
            spread_row(&view->seen[group * SA_GROUP_ROWS + lane], view->lanes[group], lane);
        sum_up(view, group);
    }
    for (int group = (n_rows + SA_GROUP_ROWS - 1) / SA_GROUP_ROWS; group < SA_TILE_GROUPS; group++)
        memset(view->lanes[group], 0, sizeof view->lanes[group]);
}

bool sa_view_is_full(const struct sa_view *view, int n_rows) {
    bool full = view->n_keys == SA_BLOCK_KEYS;
    for (int group = 0; group * SA_GROUP_ROWS < n_rows; group++)
        full = full && view->all[group] == (1u << SA_STRIPS) - 1;
    return full;
}

struct sa_zones sa_view_zones(const struct sa_view *view, int group) {
    const unsigned strips = view->some[group];
    if (!strips)
        return (struct sa_zones){0};
    const int begin = __builtin_ctz(strips) * SA_SUM_KEYS, end = (32 - __builtin_clz(strips)) * SA_SUM_KEYS;
    const int seen_end = end < view->n_keys ? end : view->n_keys;
    return (struct sa_zones){begin, begin, seen_end, seen_end, seen_end, end};
}
