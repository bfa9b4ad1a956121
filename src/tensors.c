/* SPDX-License-Identifier: MIT */
#include "tensors.h"

#include <stdbool.h>

#include "kept.h"
#include "near.h"
#include "reason.h"

/* A tensor as it lies in memory. Where it is paged, n_tokens is of a page. */
struct shape {
    const char *name;
    int64_t seq, n_tokens, n_heads, n_pages, d;
    int bytes; /* of an element */
    bool paged;
};

/* In bytes. */
struct placed {
    int64_t token, head, page; /* strides, defaults filled in */
    int64_t length;            /* from the smallest address to the end of the last element */
    uintptr_t address;         /* the smallest */
};

/* In elements; 0: the default. */
struct strides {
    int64_t token, head, page;
};

/* `seq` of what is no sequence's: of the result of merging, and of partial i of it. */
#define OF_MERGED     INT64_C(-1)
#define OF_PARTIAL(i) (OF_MERGED - 1 - (i))

static sa_status bad_tensor(const struct shape *shape, const char *what) {
    if (shape->seq == OF_MERGED)
        return sa_fail(SA_INVALID, "sa_merge_request.%s %s", shape->name, what);
    if (shape->seq < OF_MERGED)
        return sa_fail(SA_INVALID, "partial %lld: %s %s", (long long)OF_PARTIAL(shape->seq), shape->name, what);
    return sa_fail(SA_INVALID, "sequence %lld: %s %s", (long long)shape->seq, shape->name, what);
}

static bool is_empty(const struct shape *shape) { return shape->n_tokens == 0 || shape->n_pages == 0; }

/* Adds the offsets (n - 1) * stride to a range of offsets; false on overflow. */
static bool widen(int64_t n, int64_t stride, int64_t *low, int64_t *high) {
    int64_t reach;
    if (__builtin_mul_overflow(n - 1, stride, &reach))
        return false;
    return !__builtin_add_overflow(reach < 0 ? *low : *high, reach, reach < 0 ? low : high);
}

/* Steps along an axis of one element are never made in full, but pointers are moved on: any number there becomes the
 * default, which is small. */
static bool to_bytes(int64_t n, int64_t stride, int64_t fallback, int bytes, int64_t *out) {
    return !__builtin_mul_overflow(n > 1 && stride ? stride : fallback, bytes, out);
}

static sa_status place(const struct shape *shape, const void *data, struct strides given, struct strides fallback,
                       struct placed *p) {
    *p = (struct placed){0};
    if (is_empty(shape))
        return SA_OK;
    int64_t low = 0, high = shape->d * shape->bytes;
    bool fits = to_bytes(shape->n_tokens, given.token, fallback.token, shape->bytes, &p->token) &&
                to_bytes(shape->n_heads, given.head, fallback.head, shape->bytes, &p->head) &&
                to_bytes(shape->n_pages, given.page, fallback.page, shape->bytes, &p->page);
    if (!data)
        return bad_tensor(shape, "is NULL");
    if ((uintptr_t)data % (unsigned)shape->bytes != 0)
        return bad_tensor(shape, "is not aligned to its elements");
    fits = fits && widen(shape->n_tokens, p->token, &low, &high) && widen(shape->n_heads, p->head, &low, &high) &&
           widen(shape->n_pages, p->page, &low, &high) && !__builtin_sub_overflow(high, low, &p->length);
    if (!fits || __builtin_add_overflow((uintptr_t)data, (intptr_t)low, &p->address) ||
        p->address > UINTPTR_MAX - (uintptr_t)p->length)
        return bad_tensor(shape, "reaches beyond the address space: strides too large");
    return SA_OK;
}

static int64_t magnitude(int64_t x) { return x < 0 ? -(x + (x == INT64_MIN)) : x; }

/* Elements of an output must not share memory with one another: one axis steps over the other. */
static sa_status check_distinct(const struct shape *shape, const struct placed *p) {
    int64_t token = magnitude(p->token), head = magnitude(p->head), row = shape->d * shape->bytes;
    int64_t nt = shape->n_tokens, nh = shape->n_heads;
    bool tokens_inside = (nt <= 1 || token >= row) && (nh <= 1 || head >= (nt - 1) * token + row);
    bool heads_inside = (nh <= 1 || head >= row) && (nt <= 1 || token >= (nh - 1) * head + row);
    if (nt == 0 || tokens_inside || heads_inside)
        return SA_OK;
    return bad_tensor(shape, "overlaps itself: its strides let two elements share memory");
}

/* Do two tensors go by turns along an axis on which they have a common stride? b begins `apart` bytes behind a, and so
 * many bytes of either stand between one step and the next. */
static bool interleave(int64_t a_stride, int64_t b_stride, int64_t apart, int64_t a_width, int64_t b_width) {
    const int64_t period = magnitude(a_stride);
    if (period == 0 || period != magnitude(b_stride))
        return false;
    apart %= period;
    apart = apart < 0 ? apart + period : apart;
    return a_width <= apart && apart + b_width <= period;
}

static int64_t token_bytes(const struct shape *shape, const struct placed *p) {
    return (shape->n_heads - 1) * magnitude(p->head) + shape->d * shape->bytes;
}

static int64_t head_bytes(const struct shape *shape, const struct placed *p) {
    return (shape->n_tokens - 1) * magnitude(p->token) + shape->d * shape->bytes;
}

/* Do two tensors share memory? Tensors that interleave with a common stride, such as the parts of a packed
 * [token][q k v o] array, lie within each other's range without sharing an element. A pool counts as a whole. */
static bool overlap(const struct shape *sa, const struct placed *a, const struct shape *sb, const struct placed *b) {
    if (is_empty(sa) || is_empty(sb))
        return false;
    uintptr_t a_end = a->address + (uintptr_t)a->length, b_end = b->address + (uintptr_t)b->length;
    if (a_end <= b->address || b_end <= a->address)
        return false;
    const int64_t apart = (int64_t)(b->address - a->address);
    return sa->paged || sb->paged ||
           !(interleave(a->token, b->token, apart, token_bytes(sa, a), token_bytes(sb, b)) ||
             interleave(a->head, b->head, apart, head_bytes(sa, a), head_bytes(sb, b)));
}

/* ---------------------------------------------------------------- pages and scales */

enum { Q, K, V, K_SCALES, V_SCALES, MASK, BIAS, O, LSE, ROW_MAX, PARTIAL, WEIGHTS, MASS, N_TENSORS };

static const char *const pages_names[2] = {"k_pages", "v_pages"};

static sa_status bad_pages(int64_t i, int v, const char *what) {
    return sa_fail(SA_INVALID, "sequence %lld: %s: %s", (long long)i, pages_names[v], what);
}

/* v without a table stands in the pages of k. */
static sa_status pages_of(int64_t i, const sa_sequence *s, int v, sa_pages *pages) {
    *pages = v ? s->v_pages : s->k_pages;
    if (pages->reserved)
        return bad_pages(i, v, "reserved has a bit this version does not know");
    if (!pages->table && (pages->head_step || pages->n_pages || pages->page_tokens))
        return bad_pages(i, v, "fields are given without a table");
    if (!pages->table && pages->page_stride && !(v && s->k_pages.table))
        return bad_pages(i, v, "page_stride is given without a table");
    if (!pages->table && v) {
        int64_t stride = pages->page_stride;
        *pages = s->k_pages;
        pages->page_stride = stride;
    }
    if (!pages->table)
        return SA_OK;
    if ((uintptr_t)pages->table % sizeof(int32_t) != 0)
        return bad_pages(i, v, "table is not aligned to its entries");
    if (pages->page_tokens < 1)
        return bad_pages(i, v, "page_tokens is less than 1");
    if (pages->n_pages < 0 || pages->n_pages > INT32_MAX)
        return bad_pages(i, v, "n_pages is not 0 to 2^31 - 1");
    if (pages->head_step < 0 || pages->head_step > INT32_MAX)
        return bad_pages(i, v, "head_step is not 0 to 2^31 - 1");
    return SA_OK;
}

static bool is_per_head(const sa_batch *b) { return b->flags & SA_SCALES_PER_HEAD; }

static sa_status check_scales(const sa_batch *b, int64_t i, const sa_sequence *s, int v) {
    const sa_scales *scales = v ? &s->v_scales : &s->k_scales;
    const char *name = v ? "v_scales" : "k_scales";
    if ((v ? b->v_type : b->k_type) != SA_I8) {
        if (scales->data || scales->token_stride || scales->head_stride || scales->page_stride)
            return sa_fail(SA_INVALID, "sequence %lld: %s are given, but its elements are not SA_I8", (long long)i,
                           name);
        return SA_OK;
    }
    if (is_per_head(b) && (scales->token_stride || scales->page_stride))
        return sa_fail(SA_INVALID, "sequence %lld: %s have a token or page stride with SA_SCALES_PER_HEAD",
                       (long long)i, name);
    return SA_OK;
}

/* ---------------------------------------------------------------- all tensors of a sequence */

struct tensors {
    struct shape shape[N_TENSORS];
    const void *data[N_TENSORS];
    struct strides given[N_TENSORS], fallback[N_TENSORS];
    struct placed placed[N_TENSORS];
    sa_pages pages[2]; /* of k, v */
};

static struct strides strides_of(const sa_tensor *t) { return (struct strides){t->token_stride, t->head_stride, 0}; }

static void set(struct tensors *t, int i, struct shape shape, const void *data, struct strides given) {
    t->shape[i] = shape;
    t->data[i] = data;
    t->given[i] = given;
    t->fallback[i] =
        (struct strides){shape.n_heads * shape.d, shape.d, shape.paged ? shape.n_tokens * shape.n_heads * shape.d : 0};
}

/* Where a page holds one kv head, heads differ by their tables only. */
static void to_one_head(struct tensors *t, int i) {
    t->fallback[i] = (struct strides){t->shape[i].d, 0, t->shape[i].n_tokens * t->shape[i].d};
}

static void set_cache(const sa_batch *b, int64_t i, const sa_sequence *s, int v, struct tensors *t) {
    const sa_tensor *tensor = v ? &s->v : &s->k;
    const sa_scales *scales = v ? &s->v_scales : &s->k_scales;
    const sa_pages *pages = &t->pages[v];
    const int type = v ? b->v_type : b->k_type;
    const bool paged = pages->table;
    const int64_t tokens = paged && s->n_k ? pages->page_tokens : s->n_k, n_pages = paged ? pages->n_pages : 1;
    struct strides strides = strides_of(tensor);
    strides.page = pages->page_stride;
    set(t, K + v,
        (struct shape){v ? "v" : "k", i, tokens, b->n_kv_heads, n_pages, v ? b->d_v : b->d_qk, sa_type_bytes(type),
                       paged},
        tensor->data, strides);
    const int64_t n_scales = type != SA_I8 || s->n_k == 0 ? 0 : is_per_head(b) ? 1 : tokens;
    const bool scales_paged = paged && !is_per_head(b);
    set(t, K_SCALES + v,
        (struct shape){v ? "v_scales" : "k_scales", i, n_scales, b->n_kv_heads, scales_paged ? n_pages : 1, 1,
                       sa_type_bytes(b->scale_type), scales_paged},
        scales->data, (struct strides){scales->token_stride, scales->head_stride, scales->page_stride});
    if (paged && pages->head_step) {
        to_one_head(t, K + v);
        if (scales_paged)
            to_one_head(t, K_SCALES + v);
    }
    if (is_per_head(b))
        t->fallback[K_SCALES + v] = (struct strides){0, 1, 0};
}

/* The places Q + 1 .. V_SCALES. */
static sa_status set_caches(const sa_batch *b, int64_t i, const sa_sequence *s, struct tensors *t) {
    for (int v = 0; v < 2; v++) {
        sa_status status = pages_of(i, s, v, &t->pages[v]);
        if (status == SA_OK)
            status = check_scales(b, i, s, v);
        if (status != SA_OK)
            return status;
        set_cache(b, i, s, v, t);
    }
    return SA_OK;
}

/* Keys are its pages, which makes it count as a whole; a stride of 0 stays one. */
static void set_grid(const sa_batch *b, int64_t i, const sa_sequence *s, const sa_grid *grid, int which,
                     struct tensors *t) {
    const bool mask = which == MASK;
    const int64_t n_q = grid->data ? s->n_q : 0;
    set(t, which,
        (struct shape){mask ? "mask" : "bias", i, n_q, b->n_query_heads, s->n_k, 1,
                       mask ? 1 : sa_type_bytes(b->bias_type), true},
        grid->data, (struct strides){grid->query_stride, grid->head_stride, grid->key_stride});
    t->fallback[which] = (struct strides){0, 0, 0};
}

/* Rows of a float for each key. */
static void set_reports(const sa_batch *b, int64_t i, const sa_sequence *s, struct tensors *t) {
    const sa_row_weights *weights = &s->weights;
    const sa_key_mass *mass = &s->key_mass;
    const int64_t n_weights = weights->data && s->n_k && weights->n_rows > 0 ? weights->n_rows : 0;
    const int64_t n_mass = !mass->data || !s->n_k ? 0 : mass->head_stride ? b->n_kv_heads : 1;
    set(t, WEIGHTS, (struct shape){"weights", i, n_weights, 1, 1, s->n_k, sizeof(float), false}, weights->data,
        (struct strides){weights->row_stride, 0, 0});
    set(t, MASS, (struct shape){"key_mass", i, n_mass, 1, 1, s->n_k, sizeof(float), false}, mass->data,
        (struct strides){mass->head_stride, 0, 0});
}

static void set_rest(const sa_batch *b, int64_t i, const sa_sequence *s, struct tensors *t) {
    const int64_t hq = b->n_query_heads;
    set(t, Q, (struct shape){"q", i, s->n_q, hq, 1, b->d_qk, sa_type_bytes(b->q_type), false}, s->q.data,
        strides_of(&s->q));
    set_grid(b, i, s, &s->mask, MASK, t);
    set_grid(b, i, s, &s->bias, BIAS, t);
    set(t, O, (struct shape){"o", i, s->partial ? 0 : s->n_q, hq, 1, b->d_v, sa_type_bytes(b->o_type), false},
        s->o.data, (struct strides){s->o.token_stride, s->o.head_stride, 0});
    set(t, LSE, (struct shape){"lse", i, s->lse.data ? s->n_q : 0, hq, 1, 1, sizeof(float), false}, s->lse.data,
        (struct strides){s->lse.token_stride, s->lse.head_stride, 0});
    t->fallback[LSE] = (struct strides){1, s->n_q, 0};
    set(t, ROW_MAX, (struct shape){"row_max", i, s->row_max.data ? s->n_q : 0, hq, 1, 1, sizeof(float), false},
        s->row_max.data, (struct strides){s->row_max.token_stride, s->row_max.head_stride, 0});
    t->fallback[ROW_MAX] = t->fallback[LSE];
    set(t, PARTIAL, (struct shape){"partial", i, s->partial ? 1 : 0, 1, 1, (int64_t)s->partial_bytes, 1, false},
        s->partial, (struct strides){0, 0, 0});
    set_reports(b, i, s, t);
}

/* The tensors `first` .. `last`. */
static sa_status place_all(struct tensors *t, int first, int last) {
    sa_status status = SA_OK;
    for (int i = first; i <= last && status == SA_OK; i++)
        status = place(&t->shape[i], t->data[i], t->given[i], t->fallback[i], &t->placed[i]);
    return status;
}

static sa_status check_all(struct tensors *t) {
    sa_status status = place_all(t, Q, N_TENSORS - 1);
    for (int i = O; i < N_TENSORS && status == SA_OK; i++)
        status = check_distinct(&t->shape[i], &t->placed[i]);
    return status;
}

/* Two query tokens may share an output row of another kind, but nothing that is read may be written. */
static sa_status check_overlaps(const struct tensors *t) {
    for (int out = O; out < N_TENSORS; out++)
        for (int other = Q; other < out && !is_empty(&t->shape[out]); other++)
            if (overlap(&t->shape[out], &t->placed[out], &t->shape[other], &t->placed[other]))
                return sa_fail(SA_INVALID, "sequence %lld: %s overlaps %s", (long long)t->shape[out].seq,
                               t->shape[out].name, t->shape[other].name);
    return SA_OK;
}

/* n numbers that are read. What else may be wrong with them is found elsewhere. */
static sa_status check_array(const struct tensors *t, const char *name, const void *data, int64_t n, size_t bytes) {
    const struct shape shape = {name, t->shape[Q].seq, 1, 1, 1, n, (int)bytes, false};
    struct placed p = {.address = (uintptr_t)data};
    if (!data || n <= 0)
        return SA_OK;
    if (__builtin_mul_overflow(n, (int64_t)bytes, &p.length) || p.address > UINTPTR_MAX - (uintptr_t)p.length)
        return bad_tensor(&shape, "reaches beyond the address space");
    for (int out = O; out < N_TENSORS; out++)
        if (overlap(&t->shape[out], &t->placed[out], &shape, &p))
            return sa_fail(SA_INVALID, "sequence %lld: %s overlaps %s", (long long)shape.seq, t->shape[out].name, name);
    return SA_OK;
}

static sa_status check_arrays(const sa_batch *b, const sa_sequence *s, const struct tensors *t) {
    const float *slopes = s->alibi_slopes ? s->alibi_slopes : b->alibi_slopes,
                *sinks = s->sink_logits ? s->sink_logits : b->sink_logits;
    const sa_row *rows = s->weights.data ? s->weights.rows : NULL;
    const unsigned char *heads = s->key_mass.data ? s->key_mass.heads : NULL;
    const struct {
        const char *name;
        const void *data;
        int64_t n;
        size_t bytes;
    } arrays[] = {{"q_positions", s->q_positions, s->n_q, sizeof *s->q_positions},
                  {"k_positions", s->k_positions, s->n_k, sizeof *s->k_positions},
                  {"q_documents", s->q_documents, s->n_q, sizeof *s->q_documents},
                  {"k_documents", s->k_documents, s->n_k, sizeof *s->k_documents},
                  {"tree_parents", s->tree_parents, s->n_tree_keys, sizeof *s->tree_parents},
                  {"alibi_slopes", slopes, b->n_query_heads, sizeof *slopes},
                  {"sink_logits", sinks, b->n_query_heads, sizeof *sinks},
                  {"weights.rows", rows, s->weights.n_rows, sizeof *rows},
                  {"key_mass.heads", heads, b->n_query_heads, sizeof *heads}};
    sa_status status = SA_OK;
    for (size_t a = 0; a < sizeof arrays / sizeof *arrays && status == SA_OK; a++)
        status = check_array(t, arrays[a].name, arrays[a].data, arrays[a].n, arrays[a].bytes);
    return status;
}

static struct sa_field field_of(const struct tensors *t, int which) {
    const struct placed *p = &t->placed[which];
    return is_empty(&t->shape[which]) ? (struct sa_field){0}
                                      : (struct sa_field){t->data[which], p->head, p->token, p->page};
}

static struct sa_cache cache_of(const sa_batch *b, const struct tensors *t, int v) {
    const struct placed *p = &t->placed[K + v], *scales = &t->placed[K_SCALES + v];
    const struct shape *shape = &t->shape[K + v];
    const bool per_head = is_per_head(b);
    return (struct sa_cache){.data = t->data[K + v],
                             .token = p->token,
                             .head = p->head,
                             .page = p->page,
                             .table = t->pages[v].table,
                             .table_head = t->pages[v].head_step,
                             .page_tokens = t->pages[v].page_tokens,
                             .n_pages = t->pages[v].n_pages,
                             .type = v ? b->v_type : b->k_type,
                             .d = (int)shape->d,
                             .d_bytes = (int)shape->d * shape->bytes,
                             .scale_type = b->scale_type,
                             .scales = t->data[K_SCALES + v],
                             .scale_token = per_head ? 0 : scales->token,
                             .scale_head = scales->head,
                             .scale_page = per_head ? 0 : scales->page};
}

static struct sa_lse_out floats_of(float *data, const struct placed *p) {
    return (struct sa_lse_out){data, p->token / (int64_t)sizeof(float), p->head / (int64_t)sizeof(float)};
}

sa_status sa_resolve_tensors(const sa_batch *b, int64_t i, const sa_sequence *s, struct sa_seq *seq) {
    struct tensors t;
    sa_status status = set_caches(b, i, s, &t);
    if (status != SA_OK)
        return status;
    set_rest(b, i, s, &t);
    status = check_all(&t);
    if (status == SA_OK)
        status = check_overlaps(&t);
    if (status == SA_OK)
        status = check_arrays(b, s, &t);
    if (status != SA_OK)
        return status;
    const struct placed *p = t.placed;
    *seq = (struct sa_seq){.q = {s->q.data, p[Q].token, p[Q].head},
                           .k = cache_of(b, &t, 0),
                           .v = cache_of(b, &t, 1),
                           .o = {s->o.data, p[O].token, p[O].head},
                           .lse = floats_of(s->lse.data, &p[LSE]),
                           .row_max = floats_of(s->row_max.data, &p[ROW_MAX]),
                           .terms.bias = field_of(&t, BIAS),
                           .sight.mask = field_of(&t, MASK)};
    return SA_OK;
}

sa_status sa_check_pages(int64_t i, const char *name, const struct sa_cache *cache, int n_kv_heads, int64_t begin,
                         int64_t end) {
    if (!cache->table || begin >= end)
        return SA_OK;
    const int64_t first = begin / cache->page_tokens, last = (end - 1) / cache->page_tokens;
    const int n_tables = cache->table_head ? n_kv_heads : 1;
    for (int h = 0; h < n_tables; h++)
        for (int64_t page = first; page <= last; page++) {
            const int32_t entry = cache->table[h * cache->table_head + page];
            if (entry < 0 || entry >= cache->n_pages)
                return sa_fail(SA_INVALID, "sequence %lld: %s: entry %lld of the page table%s is %d, the pool has %lld",
                               (long long)i, name, (long long)(h * cache->table_head + page), n_tables > 1 ? "s" : "",
                               (int)entry, (long long)cache->n_pages);
        }
    return SA_OK;
}

/* ---------------------------------------------------------------- new tokens */

/* What is written of k, v, k_scales or v_scales, the tensor `which`. */
struct target {
    const struct tensors *all;
    const struct sa_incoming *incoming;
    int which;
};

static bool are_scales(int which) { return which >= K_SCALES; }

static const struct sa_cache *cache_at(const struct target *t) {
    return &t->incoming->to[are_scales(t->which) ? t->which - K_SCALES : t->which - K];
}

static bool is_written(const sa_batch *b, int which) {
    return !are_scales(which) || ((which == K_SCALES ? b->k_type : b->v_type) == SA_I8 && !is_per_head(b));
}

/* The first run of the tokens begin .. end - 1 that stands in one page, of kv head h or, if they have no tables of
 * their own, of all kv heads: as a tensor. */
static struct shape run_of(const struct target *t, int64_t begin, int64_t end, int h, struct placed *p) {
    struct shape shape = t->all->shape[t->which];
    const struct sa_cache cache = sa_cache_of_head(cache_at(t), h);
    struct sa_stored rows = sa_stored_of(&cache, begin, end);
    if (are_scales(t->which))
        rows = sa_scales_of(&cache, begin, rows.n);
    int64_t low = 0, high = shape.d * shape.bytes;
    shape.n_heads = cache.table_head ? 1 : shape.n_heads;
    shape.n_tokens = rows.n;
    shape.paged = false;
    *p = (struct placed){.token = rows.stride, .head = t->all->placed[t->which].head};
    (void)(widen(shape.n_tokens, p->token, &low, &high) && widen(shape.n_heads, p->head, &low, &high));
    p->address = (uintptr_t)rows.data + (uintptr_t)low;
    p->length = high - low;
    return shape;
}

/* Page by page; a pool may hold the new tokens elsewhere, say when a page is copied. */
static bool writes_to(const struct target *t, const struct shape *from, const struct placed *at) {
    const int64_t end = t->incoming->begin + t->incoming->n;
    const int n_tables = cache_at(t)->table_head ? (int)t->all->shape[t->which].n_heads : 1;
    if (!overlap(&t->all->shape[t->which], &t->all->placed[t->which], from, at))
        return false;
    for (int h = 0; h < n_tables; h++)
        for (int64_t begin = t->incoming->begin, n; begin < end; begin += n) {
            struct placed p;
            const struct shape run = run_of(t, begin, end, h, &p);
            if (overlap(&run, &p, from, at))
                return true;
            n = run.n_tokens;
        }
    return false;
}

/* Within a page, or a cache that has none. Rows that two sequences or two pages share are the caller's affair. */
static sa_status check_target(const struct target *t, const struct shape *from, const struct placed *at) {
    struct shape shape = t->all->shape[t->which];
    if (cache_at(t)->table_head)
        shape.n_heads = 1;
    sa_status status = check_distinct(&shape, &t->all->placed[t->which]);
    for (int v = 0; v < 2 && status == SA_OK; v++)
        if (writes_to(t, &from[v], &at[v]))
            status =
                sa_fail(SA_INVALID, "sequence %lld: %s overlaps %s", (long long)shape.seq, shape.name, from[v].name);
    return status;
}

static sa_status place_new(const sa_batch *b, int64_t i, const sa_append *append, const sa_new_tokens *tokens, int v,
                           struct shape *shape, struct placed *p) {
    const sa_tensor *tensor = v ? &tokens->v : &tokens->k;
    const int64_t d = v ? b->d_v : b->d_qk;
    *shape = (struct shape){v ? "the new v" : "the new k",
                            i,
                            tokens->n,
                            b->n_kv_heads,
                            1,
                            d,
                            sa_type_bytes(v ? append->v_type : append->k_type),
                            false};
    return place(shape, tensor->data, strides_of(tensor), (struct strides){b->n_kv_heads * d, d, 0}, p);
}

sa_status sa_resolve_append(const sa_batch *b, int64_t i, const sa_sequence *s, const sa_append *append,
                            const sa_new_tokens *tokens, struct sa_incoming *incoming) {
    struct tensors t;
    struct shape from[2];
    struct placed at[2];
    sa_status status = set_caches(b, i, s, &t);
    if (status == SA_OK)
        status = place_all(&t, K, V_SCALES);
    *incoming = (struct sa_incoming){.begin = s->n_k - tokens->n, .n = tokens->n};
    for (int v = 0; v < 2 && status == SA_OK; v++) {
        status = place_new(b, i, append, tokens, v, &from[v], &at[v]);
        if (status != SA_OK)
            break;
        incoming->from[v] = (struct sa_strided){v ? tokens->v.data : tokens->k.data, at[v].token, at[v].head};
        incoming->to[v] = cache_of(b, &t, v);
        status = sa_check_pages(i, v ? "v" : "k", &incoming->to[v], b->n_kv_heads, incoming->begin, s->n_k);
    }
    for (int which = K; which <= V_SCALES && status == SA_OK && tokens->n > 0; which++)
        if (is_written(b, which))
            status = check_target(&(struct target){&t, incoming, which}, from, at);
    return status;
}

/* ---------------------------------------------------------------- partial results */

/* o and lse of rows. */
struct results {
    struct shape o, lse;
    struct placed o_at, lse_at;
};

static sa_status place_results(const sa_merge_request *r, int64_t of, const sa_tensor *o, const sa_tensor *lse,
                               int o_type, struct results *results) {
    const int64_t heads = r->n_query_heads, d = r->d_v;
    const int64_t n_lse = of == OF_MERGED && !lse->data ? 0 : r->n_q;
    results->o = (struct shape){"o", of, r->n_q, heads, 1, d, sa_type_bytes(o_type), false};
    results->lse = (struct shape){"lse", of, n_lse, heads, 1, 1, sizeof(float), false};
    sa_status status = place(&results->o, o->data, strides_of(o), (struct strides){heads * d, d, 0}, &results->o_at);
    return status == SA_OK
               ? place(&results->lse, lse->data, strides_of(lse), (struct strides){1, r->n_q, 0}, &results->lse_at)
               : status;
}

static sa_tensor tensor_of(const sa_output *o) { return (sa_tensor){o->data, o->token_stride, o->head_stride}; }

static sa_status place_merged(const sa_merge_request *r, struct results *results) {
    const sa_tensor o = tensor_of(&r->o), lse = tensor_of(&r->lse);
    return place_results(r, OF_MERGED, &o, &lse, r->o_type, results);
}

sa_status sa_check_merged(const sa_merge_request *r) {
    struct results out;
    sa_status status = place_merged(r, &out);
    if (status == SA_OK)
        status = check_distinct(&out.o, &out.o_at);
    if (status == SA_OK)
        status = check_distinct(&out.lse, &out.lse_at);
    if (status == SA_OK && overlap(&out.lse, &out.lse_at, &out.o, &out.o_at))
        status = bad_tensor(&out.lse, "overlaps o");
    return status;
}

/* Rows that are replaced one by one: each is read before it is written. */
static bool same_rows(const struct shape *sa, const struct placed *a, const struct shape *sb, const struct placed *b) {
    return a->address == b->address && sa->bytes == sb->bytes && sa->d == sb->d &&
           (sa->n_tokens <= 1 || a->token == b->token) && (sa->n_heads <= 1 || a->head == b->head);
}

static bool clash(const struct shape *out, const struct placed *at, const struct shape *in,
                  const struct placed *in_at) {
    return overlap(out, at, in, in_at) && !same_rows(out, at, in, in_at);
}

/* In no layout of rows. */
static sa_status check_kept(const sa_merge_request *r, int64_t i, const struct sa_kept *kept) {
    struct results out;
    const struct shape shape = {"partial", OF_PARTIAL(i), 1, 1, 1, (int64_t)sa_kept_bytes(kept), 1, false};
    struct placed at;
    sa_status status = place(&shape, kept, (struct strides){0, 0, 0}, (struct strides){0, 0, 0}, &at);
    if (status == SA_OK)
        status = place_merged(r, &out);
    if (status == SA_OK && (overlap(&shape, &at, &out.o, &out.o_at) || overlap(&shape, &at, &out.lse, &out.lse_at)))
        status = bad_tensor(&shape, "shares memory with the result of merging");
    return status;
}

sa_status sa_check_partial(const sa_merge_request *r, int64_t i, const sa_partial *partial) {
    struct results in, out;
    if (partial->partial)
        return check_kept(r, i, partial->partial);
    sa_status status = place_results(r, OF_PARTIAL(i), &partial->o, &partial->lse, SA_F32, &in);
    if (status == SA_OK)
        status = place_merged(r, &out);
    if (status != SA_OK)
        return status;
    if (clash(&out.o, &out.o_at, &in.o, &in.o_at) || overlap(&out.lse, &out.lse_at, &in.o, &in.o_at))
        return bad_tensor(&in.o, "shares memory with the result of merging");
    if (clash(&out.lse, &out.lse_at, &in.lse, &in.lse_at) || overlap(&out.o, &out.o_at, &in.lse, &in.lse_at))
        return bad_tensor(&in.lse, "shares memory with the result of merging");
    return SA_OK;
}
