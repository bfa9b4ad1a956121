/* SPDX-License-Identifier: MIT */
/* Partial results of rows over some of their keys each, into one over all of them. */
#include <sa/sa.h>

#include <math.h>
#include <string.h>

#include "engine.h"
#include "fpmode.h"
#include "kept.h"
#include "kernels/kernels.h"
#include "lse.h"
#include "options.h"
#include "reason.h"
#include "tensors.h"
#include "tree.h"
#include "validate.h"

/* ---------------------------------------------------------------- one row of o and lse */

struct merge {
    const struct sa_kernels *kernels;
    const sa_merge_request *request;
};

struct row {
    int64_t token;
    int head;
};

/* What has been added so far: weights are exp(lse - most). */
struct sums {
    double most, l;
    double o[SA_MAX_D];
};

static const sa_partial *partial_at(const sa_merge_request *r, int64_t i) {
    return (const sa_partial *)(const void *)((const char *)r->partials + (size_t)i * r->partial_size);
}

/* In elements, from the first row. */
static ptrdiff_t offset(int64_t token_stride, int64_t head_stride, int64_t token_packed, int64_t head_packed,
                        struct row row) {
    return row.token * (token_stride ? token_stride : token_packed) +
           row.head * (head_stride ? head_stride : head_packed);
}

static ptrdiff_t o_offset(const sa_merge_request *r, int64_t token_stride, int64_t head_stride, struct row row) {
    return offset(token_stride, head_stride, (int64_t)r->n_query_heads * r->d_v, r->d_v, row);
}

static ptrdiff_t lse_offset(const sa_merge_request *r, int64_t token_stride, int64_t head_stride, struct row row) {
    return offset(token_stride, head_stride, 1, r->n_q, row);
}

static float lse_of(const sa_merge_request *r, const sa_partial *p, struct row row) {
    return ((const float *)p->lse.data)[lse_offset(r, p->lse.token_stride, p->lse.head_stride, row)];
}

static const float *o_of(const sa_merge_request *r, const sa_partial *p, struct row row) {
    return (const float *)p->o.data + o_offset(r, p->o.token_stride, p->o.head_stride, row);
}

static float sink_of(const sa_merge_request *r, struct row row) {
    return r->sink_logits ? r->sink_logits[row.head] : -INFINITY;
}

/* NaN if any is NaN or +inf: what is subtracted from it is then NaN as well. */
static double find_most(const sa_merge_request *r, struct row row) {
    double most = (double)sink_of(r, row);
    for (int64_t i = 0; i < r->n_partials; i++) {
        const float lse = lse_of(r, partial_at(r, i), row);
        if (!(lse < INFINITY))
            return (double)NAN;
        most = (double)lse > most ? (double)lse : most;
    }
    return most;
}

static void add_partial(const sa_merge_request *r, const sa_partial *p, struct row row, struct sums *sums) {
    const float lse = lse_of(r, p, row), *o = o_of(r, p, row);
    if (lse == -INFINITY)
        return;
    const double weight = sa_exp((double)lse - sums->most);
    sums->l += weight;
    for (int c = 0; c < r->d_v; c++)
        sums->o[c] += weight * (double)o[c];
}

static void add_all(const sa_merge_request *r, struct row row, struct sums *sums) {
    const float sink = sink_of(r, row);
    sums->most = find_most(r, row);
    sums->l = 0;
    memset(sums->o, 0, (size_t)r->d_v * sizeof *sums->o);
    for (int64_t i = 0; i < r->n_partials; i++)
        add_partial(r, partial_at(r, i), row, sums);
    if (sink > -INFINITY)
        sums->l += sa_exp((double)sink - sums->most);
}

static void write_o(const struct merge *m, struct row row, const float *from) {
    const sa_merge_request *r = m->request;
    char *to = (char *)r->o.data + o_offset(r, r->o.token_stride, r->o.head_stride, row) * sa_type_bytes(r->o_type);
    if (r->o_type == SA_F32)
        memcpy(to, from, (size_t)r->d_v * sizeof *from);
    else
        m->kernels->narrow(from, r->d_v, r->o_type, to);
}

static void write_lse(const struct merge *m, struct row row, float lse) {
    const sa_merge_request *r = m->request;
    if (r->lse.data)
        ((float *)r->lse.data)[lse_offset(r, r->lse.token_stride, r->lse.head_stride, row)] = lse;
}

/* + 0 leaves no -0; a row of no key has sums of 0. */
static void merge_row(const struct merge *m, struct row row) {
    struct sums sums;
    _Alignas(64) float o[SA_MAX_D];
    add_all(m->request, row, &sums);
    const double l = sums.l == 0 ? 1 : sums.l;
    for (int c = 0; c < m->request->d_v; c++)
        o[c] = (float)(sums.o[c] / l) + 0.0f;
    write_o(m, row, o);
    write_lse(m, row, sums.l == 0 ? -INFINITY : sums.l > 0 ? (float)(sums.most + sa_log(sums.l)) + 0.0f : NAN);
}

/* ---------------------------------------------------------------- what calls left: the tree once more */

/* A tile of rows, in the order of tokens, then heads, and where in the list of all nodes it is. */
struct walk {
    const struct merge *m;
    struct sa_tile tile;
    int64_t first_row;
    int level;                      /* of the tree over all keys */
    int64_t partial, node, at, end; /* the next node: of which partial, its number there and its first key */
};

static const struct sa_kept *kept_of(const sa_merge_request *r, int64_t i) { return partial_at(r, i)->partial; }

static struct row row_at(const struct walk *w, int r) {
    const int64_t row = w->first_row + r, heads = w->m->request->n_query_heads;
    return (struct row){row / heads, (int)(row % heads)};
}

/* To the first node of the next partial that has any. */
static void next_partial(struct walk *w) {
    const sa_merge_request *r = w->m->request;
    for (w->at = w->end; w->at >= w->end && ++w->partial < r->n_partials;) {
        w->at = kept_of(r, w->partial)->first_key;
        w->end = kept_of(r, w->partial)->end_key;
        w->node = 0;
    }
}

static void next_node(struct walk *w) {
    w->at += sa_node_keys(sa_node_level(w->at, w->end));
    w->node++;
    if (w->at >= w->end)
        next_partial(w);
}

static void load(const struct walk *w, const struct sa_state *state) {
    const struct sa_tile *t = &w->tile;
    const struct sa_kept *kept = kept_of(w->m->request, w->partial);
    const int d_v = w->m->request->d_v;
    const float *rows[SA_TILE_ROWS];
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        const struct row row = row_at(w, r < t->n_rows ? r : 0);
        const float *from = sa_kept_row(kept, w->node, row.token, row.head);
        state->m[r] = r < t->n_rows ? from[0] : -INFINITY;
        state->l[r] = r < t->n_rows ? from[1] : 0.0f;
        rows[r] = from + 2;
    }
    if (!sa_is_few(t)) {
        t->kernels->pack(rows, t->n_rows, d_v, 1.0f, state->o);
        return;
    }
    for (int r = 0; r < t->n_rows; r++)
        memcpy(state->o + r * sa_near_stride(d_v), rows[r], (size_t)d_v * sizeof(float));
}

/* As tree.c's walk, with what was kept in the place of what is computed; what rows did not see changes no bit. */
static bool gather(struct walk *w, int level, int64_t begin, const struct sa_state *state) {
    const int64_t keys = sa_node_keys(level);
    if (w->partial >= w->m->request->n_partials || w->at >= begin + keys)
        return false;
    if (w->at == begin && sa_node_level(w->at, w->end) == level) {
        load(w, state);
        next_node(w);
        return true;
    }
    const struct sa_state *child = &w->tile.space->child[level - 1];
    bool any = false;
    for (int i = 0; i < SA_TREE_FANOUT; i++) {
        const bool more = gather(w, level - 1, begin + i * (keys / SA_TREE_FANOUT), any ? child : state);
        if (any && more)
            sa_tree_merge(&w->tile, state, child);
        any = any || more;
    }
    return any;
}

static void add_sinks(const struct walk *w, const struct sa_state *state) {
    float sinks[SA_TILE_ROWS];
    for (int r = 0; r < SA_TILE_ROWS; r++)
        sinks[r] = (float)((double)sink_of(w->m->request, row_at(w, r)) * LOG2_E);
    sa_tree_add_sinks(&w->tile, sinks, state);
}

static void write_rows(const struct walk *w, const struct sa_state *state) {
    const int stride = sa_near_stride(w->m->request->d_v);
    float *near = w->tile.space->near, *rows[SA_TILE_ROWS];
    for (int r = 0; r < w->tile.n_rows; r++)
        rows[r] = near + r * stride;
    sa_finish(&w->tile, state, rows);
    for (int r = 0; r < w->tile.n_rows; r++) {
        write_o(w->m, row_at(w, r), rows[r]);
        write_lse(w->m, row_at(w, r), sa_lse(state->m[r], state->l[r]));
    }
}

static int level_of(const sa_merge_request *r) {
    int level = 0;
    for (int64_t i = 0; i < r->n_partials; i++)
        while (sa_node_keys(level) < kept_of(r, i)->end_key)
            level++;
    return level;
}

static void gather_tile(struct walk *w) {
    const struct sa_state *state = &w->tile.space->result;
    w->partial = -1;
    w->end = 0;
    next_partial(w);
    if (!gather(w, w->level, 0, state))
        sa_clear_state(&w->tile, state);
    if (w->m->request->sink_logits)
        add_sinks(w, state);
    write_rows(w, state);
}

static void gather_all(const struct merge *m, struct sa_workspace *space) {
    const int64_t n_rows = m->request->n_q * m->request->n_query_heads;
    const struct sa_problem problem = {.d_v = m->request->d_v};
    struct walk w = {.m = m, .tile = {.kernels = m->kernels, .problem = &problem, .space = space}};
    w.level = level_of(m->request);
    for (; w.first_row < n_rows; w.first_row += SA_TILE_ROWS) {
        const int64_t left = n_rows - w.first_row;
        w.tile.n_rows = left < SA_TILE_ROWS ? (int)left : SA_TILE_ROWS;
        w.tile.n_groups = (w.tile.n_rows + SA_GROUP_ROWS - 1) / SA_GROUP_ROWS;
        gather_tile(&w);
    }
}

/* The memory is that of a call. */
static sa_status gather_with_memory(sa_engine *engine, const struct merge *m) {
    struct sa_call *call = sa_call_take(engine);
    if (!call)
        return sa_fail(SA_NO_MEMORY, "no memory for a call");
    const bool granted =
        sa_workspace_grant(&call->space, (struct sa_room){.d_qk = 1, .d_v = m->request->d_v, .n_abreast = 1});
    if (granted)
        gather_all(m, &call->space);
    sa_call_give_back(engine, call);
    return granted ? SA_OK : sa_fail(SA_NO_MEMORY, "no memory for a workspace");
}

/* ---------------------------------------------------------------- the request */

static sa_status bad_partial(int64_t i, const char *what) {
    return sa_fail(SA_INVALID, "partial %lld: %s", (long long)i, what);
}

/* It may have come from afar: its keys, too, must be some that there can be. */
static bool is_kept(const struct sa_kept *kept) {
    return (uintptr_t)kept % sizeof(int64_t) == 0 && kept->magic == SA_KEPT_MAGIC && kept->first_key >= 0 &&
           kept->end_key >= kept->first_key &&
           sa_partial_bytes(kept->n_q, kept->n_heads, kept->d_v, kept->first_key, kept->end_key - kept->first_key) > 0;
}

/* *end: of the keys of the partials before. */
static sa_status check_kept(const sa_merge_request *r, int64_t i, const sa_partial *p, int64_t *end) {
    const struct sa_kept *kept = p->partial;
    if (p->o.data || p->lse.data)
        return bad_partial(i, "has o or lse as well as partial");
    if ((p->partial_bytes && p->partial_bytes < sizeof *kept) || !is_kept(kept))
        return bad_partial(i, "is not what a call left in sa_sequence.partial");
    if (p->partial_bytes && p->partial_bytes < sa_kept_bytes(kept))
        return bad_partial(i, "has more bytes than partial_bytes says");
    if (kept->n_q != r->n_q || kept->n_heads != r->n_query_heads || kept->d_v != r->d_v)
        return bad_partial(i, "has another n_q, n_query_heads or d_v than the request");
    if (kept->first_key == kept->end_key)
        return SA_OK;
    if (kept->first_key < *end)
        return bad_partial(i, "has keys that are not behind those of the ones before");
    if (*end % SA_CHUNK_KEYS)
        return bad_partial(i, "stands behind one whose keys end within a chunk");
    *end = kept->end_key;
    return SA_OK;
}

static sa_status check_partials(const sa_merge_request *r) {
    static const size_t older[] = {offsetof(sa_partial, partial_bytes), 0};
    sa_status status = SA_OK;
    int64_t end = 0;
    for (int64_t i = 0; i < r->n_partials && status == SA_OK; i++) {
        sa_partial own;
        status = sa_copy_in_grown(&own, sizeof own, older, partial_at(r, i), r->partial_size, "sa_partial");
        if (status == SA_OK && !own.partial != !partial_at(r, 0)->partial)
            status = bad_partial(i, "is of another kind than the first one");
        if (status == SA_OK && own.partial)
            status = check_kept(r, i, &own, &end);
        if (status == SA_OK)
            status = sa_check_partial(r, i, &own);
    }
    return status;
}

static void merge_all(const struct merge *m) {
    for (int64_t token = 0; token < m->request->n_q; token++)
        for (int head = 0; head < m->request->n_query_heads; head++)
            merge_row(m, (struct row){token, head});
}

static sa_status check_and_merge(sa_engine *engine, const sa_merge_request *request) {
    sa_merge_request own;
    sa_status status = sa_validate_merge(request, &own);
    if (status == SA_OK)
        status = sa_check_merged(&own);
    if (status == SA_OK)
        status = check_partials(&own);
    if (status != SA_OK)
        return status;
    const struct merge m = {engine->cpu.kernels, &own};
    if (own.n_partials > 0 && partial_at(&own, 0)->partial)
        return gather_with_memory(engine, &m);
    merge_all(&m);
    return SA_OK;
}

sa_status sa_merge(sa_engine *engine, const sa_merge_request *request) {
    sa_status status = sa_engine_computes(engine);
    if (status != SA_OK)
        return status;
    uint64_t mode = sa_fpmode_enter();
    status = check_and_merge(engine, request);
    sa_fpmode_leave(mode);
    return status;
}
