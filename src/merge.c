/* SPDX-License-Identifier: MIT */
/* Partial results of rows over some of their keys each, into one over all of them. */
#include <sa/sa.h>

#include <math.h>
#include <string.h>

#include "engine.h"
#include "fpmode.h"
#include "kernels/kernels.h"
#include "lse.h"
#include "options.h"
#include "reason.h"
#include "tensors.h"
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

/* ---------------------------------------------------------------- the request */

static sa_status check_partials(const sa_merge_request *r) {
    sa_status status = SA_OK;
    for (int64_t i = 0; i < r->n_partials && status == SA_OK; i++) {
        sa_partial own;
        status = sa_copy_in(&own, sizeof own, partial_at(r, i), r->partial_size, "sa_partial");
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

static sa_status check_and_merge(const sa_engine *engine, const sa_merge_request *request) {
    sa_merge_request own;
    sa_status status = sa_validate_merge(request, &own);
    if (status == SA_OK)
        status = sa_check_merged(&own);
    if (status == SA_OK)
        status = check_partials(&own);
    if (status == SA_OK)
        merge_all(&(struct merge){engine->cpu.kernels, &own});
    return status;
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
