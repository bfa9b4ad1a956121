/* SPDX-License-Identifier: MIT */
#include "turned.h"

#include "copies.h"
#include "near.h"

/* Of the second-level cache of a core that has AMX. What does not fit comes from further away, as v itself would. */
enum { MOST_BYTES = 2048 * 1024 };

void sa_turned_choose_room(const struct sa_kernels *kernels, struct sa_problem *problem) {
    int parts = 0;
    for (int64_t i = 0; i < problem->n_seqs && !parts; i++) { /* q has one type, and so have all that are in pairs */
        const struct sa_dots *dots = sa_dots_of(kernels, problem, &problem->seqs[i]);
        parts = dots && dots->block ? dots->parts : 0;
    }
    problem->turned_bytes = sa_turned_bytes(problem->d_v, parts);
    problem->n_turned = parts ? (int)(MOST_BYTES / (int64_t)problem->turned_bytes) : 0;
}

/* Where a tile's blocks find room all together, each has its place for all tiles; of more the first ones have. NULL:
 * there is none. A single tile has no use for them afterwards. */
static struct sa_turned_slot *slot_of(const struct sa_tile *t, int64_t at) {
    const int place = sa_place_of_block(t, at, t->space->room.n_turned);
    return place < 0 ? NULL : &t->space->turned[place];
}

static bool has(const struct sa_turned_slot *slot, const struct sa_tile *t, int64_t at, int n) {
    return slot && slot->at == at && slot->n == n && sa_is_same_cache(&slot->v, &t->v);
}

bool sa_turned_are_kept(const struct sa_tile *t, int64_t at, int n) { return has(slot_of(t, at), t, at, n); }

struct sa_turned sa_turned_of(const struct sa_tile *t, int64_t at, int n, enum sa_finiteness known) {
    const char **rows = t->space->rows;
    struct sa_turned_slot *slot = slot_of(t, at);
    if (has(slot, t, at, n))
        return (struct sa_turned){slot->values, NULL};
    sa_point_rows(&t->v, at, at + n, rows);
    if (!slot)
        return (struct sa_turned){NULL, rows};
    *slot = (struct sa_turned_slot){t->v, at, n, known, slot->values};
    return (struct sa_turned){slot->values, rows};
}

bool sa_turned_are_finite(const struct sa_tile *t, int64_t at, int n) {
    const char **rows = t->space->rows;
    struct sa_turned_slot *slot = slot_of(t, at);
    const bool kept = has(slot, t, at, n);
    if (kept && slot->finite != SA_NOT_KNOWN)
        return slot->finite == SA_FINITE;
    sa_point_rows(&t->v, at, at + n, rows);
    const bool finite = t->products->finite(sa_listed_rows(rows, n / 2, t->v.d));
    if (kept)
        slot->finite = finite ? SA_FINITE : SA_NOT_FINITE;
    return finite;
}
