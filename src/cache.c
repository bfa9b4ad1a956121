/* SPDX-License-Identifier: MIT */
/* New tokens into caches of keys and values: everything is checked, then everything is written, sequence by sequence in
 * the calling thread. */
#include <sa/sa.h>

#include <math.h>
#include <string.h>

#include "engine.h"
#include "fpmode.h"
#include "kernels/kernels.h"
#include "near.h"
#include "reason.h"
#include "tensors.h"
#include "validate.h"

/* ---------------------------------------------------------------- rows */

/* The memory is the caller's to write, though the structs of a batch have pointers to const. */
static void *writable(const char *p) { return (void *)(uintptr_t)p; }

static const float *floats(const char *p) { return (const float *)(const void *)p; }

static struct sa_stored row_of(struct sa_stored rows, int j) {
    return (struct sa_stored){rows.data + j * rows.stride, 0, 1, rows.d, rows.type};
}

/* One row of any length. Equal types keep their bits, those of NaNs too. */
static void convert(const struct sa_kernels *kernels, struct sa_stored from, struct sa_stored to) {
    float near[SA_MAX_D];
    const int from_bytes = sa_type_bytes(from.type), to_bytes = sa_type_bytes(to.type);
    if (from.type == to.type)
        memcpy(writable(to.data), from.data, (size_t)from.d * (size_t)from_bytes);
    else if (from.type == SA_F32)
        kernels->narrow(floats(from.data), from.d, to.type, writable(to.data));
    else if (to.type == SA_F32)
        kernels->widen(from, writable(to.data), 0);
    else
        for (int left = from.d; left > 0; left -= from.d) {
            from.d = left < SA_MAX_D ? left : SA_MAX_D;
            kernels->widen(from, near, 0);
            kernels->narrow(near, from.d, to.type, writable(to.data));
            from.data += from.d * from_bytes;
            to.data += from.d * to_bytes;
        }
}

/* The scale of a row, stored at `to`, as it will be read. */
static float new_scale(const struct sa_kernels *kernels, const float *row, int d, struct sa_stored to) {
    float scale = kernels->largest(row, d) / 127.0f;
    kernels->narrow(&scale, 1, to.type, writable(to.data));
    kernels->widen(to, &scale, 0);
    if (isfinite(scale))
        return scale;
    scale = NAN;
    kernels->narrow(&scale, 1, to.type, writable(to.data));
    return scale;
}

static void quantise(const struct sa_kernels *kernels, struct sa_stored from, struct sa_stored to,
                     struct sa_stored scales, bool given) {
    float near[SA_MAX_D], scale;
    const float *row = from.type == SA_F32 ? floats(from.data) : near;
    if (row == near)
        kernels->widen(from, near, 0);
    if (given)
        kernels->widen(scales, &scale, 0);
    else
        scale = new_scale(kernels, row, from.d, scales);
    if (scale == 0.0f)
        memset(writable(to.data), 0, (size_t)to.d);
    else
        kernels->quantise(row, from.d, scale, writable(to.data));
}

/* ---------------------------------------------------------------- a sequence */

/* The new keys, or values, of a batch. */
struct kind {
    const struct sa_kernels *kernels;
    int type, n_heads;
    bool scales_given;
};

/* Rows of one kv head in one page, token `begin` of the sequence being the first. */
static void write_run(const struct kind *kind, const struct sa_cache *head, int64_t begin, struct sa_stored from,
                      struct sa_stored to) {
    if (!head->scales) {
        for (int j = 0; j < to.n; j++)
            convert(kind->kernels, row_of(from, j), row_of(to, j));
        return;
    }
    const struct sa_stored scales = sa_scales_of(head, begin, to.n);
    for (int j = 0; j < to.n; j++)
        quantise(kind->kernels, row_of(from, j), row_of(to, j), row_of(scales, j), kind->scales_given);
}

/* Heads that follow each other on both sides are one long row, if they have no scales and tables of their own. */
static int join_heads(const struct kind *kind, const struct sa_strided *from, struct sa_cache *to) {
    const bool follow = to->head == to->d_bytes && from->head == to->d * sa_type_bytes(kind->type);
    if (!follow || to->scales || to->table_head)
        return kind->n_heads;
    to->d *= kind->n_heads;
    return 1;
}

static void write_rows(const struct kind *kind, const struct sa_incoming *incoming, int v) {
    const struct sa_strided from = incoming->from[v];
    struct sa_cache to = incoming->to[v];
    const int n_heads = join_heads(kind, &from, &to);
    const int64_t end = incoming->begin + incoming->n;
    for (int64_t begin = incoming->begin, n = 0; begin < end; begin += n) {
        const char *token = from.data + (begin - incoming->begin) * from.token;
        for (int h = 0; h < n_heads; h++) {
            const struct sa_cache head = sa_cache_of_head(&to, h);
            const struct sa_stored rows = sa_stored_of(&head, begin, end);
            write_run(kind, &head, begin,
                      (struct sa_stored){token + h * from.head, from.token, rows.n, to.d, kind->type}, rows);
            n = rows.n;
        }
    }
}

/* ---------------------------------------------------------------- a batch */

/* What the checks found out about the first sequences; about others it is found out again, which costs some 0.2 us
 * each, but no memory. */
enum { N_KEPT = 16 };

static sa_status check_all(const sa_batch *batch, const sa_append *append, struct sa_incoming kept[N_KEPT]) {
    sa_status status = SA_OK;
    struct sa_incoming other;
    for (int64_t i = 0; i < batch->n_sequences && status == SA_OK; i++)
        status = sa_validate_incoming(batch, append, i, i < N_KEPT ? &kept[i] : &other);
    return status;
}

static sa_status write_all(const struct sa_kernels *kernels, const sa_batch *batch, const sa_append *append,
                           const struct sa_incoming kept[N_KEPT]) {
    sa_status status = SA_OK;
    const bool given = batch->flags & SA_SCALES_PER_HEAD;
    const struct kind k = {kernels, append->k_type, batch->n_kv_heads, given},
                      v = {kernels, append->v_type, batch->n_kv_heads, given};
    struct sa_incoming other;
    for (int64_t i = 0; i < batch->n_sequences && status == SA_OK; i++) {
        if (i >= N_KEPT)
            status = sa_validate_incoming(batch, append, i, &other);
        if (status == SA_OK) {
            write_rows(&k, i < N_KEPT ? &kept[i] : &other, 0);
            write_rows(&v, i < N_KEPT ? &kept[i] : &other, 1);
        }
    }
    return status;
}

static sa_status check_and_write(const sa_engine *engine, const sa_batch *batch, const sa_append *append) {
    sa_batch own;
    sa_append own_append;
    struct sa_incoming kept[N_KEPT];
    sa_status status = sa_validate_batch(batch, &own);
    if (status == SA_OK)
        status = sa_validate_append(append, own.n_sequences, &own_append);
    if (status == SA_OK)
        status = check_all(&own, &own_append, kept);
    return status == SA_OK ? write_all(engine->cpu.kernels, &own, &own_append, kept) : status;
}

sa_status sa_cache_append(sa_engine *engine, const sa_batch *batch, const sa_append *append) {
    sa_status status = sa_engine_computes(engine);
    if (status != SA_OK)
        return status;
    uint64_t mode = sa_fpmode_enter();
    status = check_and_write(engine, batch, append);
    sa_fpmode_leave(mode);
    return status;
}
