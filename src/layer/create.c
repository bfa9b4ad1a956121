/* SPDX-License-Identifier: MIT */
/* From options to a layer: every check of the weights with its reason, copies of what is to be copied. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "fpmode.h"
#include "layer.h"

/* ---------------------------------------------------------------- dimensions */

static void fill_defaults(sa_layer_options *o) {
    if (o->d_memory == 0)
        o->d_memory = o->d_model;
    if (o->n_kv_heads == 0)
        o->n_kv_heads = o->n_query_heads;
    if (o->d_qk == 0 && o->n_query_heads > 0 && o->d_model % o->n_query_heads == 0)
        o->d_qk = o->d_model / o->n_query_heads;
    if (o->d_v == 0)
        o->d_v = o->d_qk;
    if (o->d_out == 0)
        o->d_out = o->w_o.data ? o->d_model : (int32_t)((int64_t)o->n_query_heads * o->d_v & INT_MAX);
    if (o->norm_eps == 0)
        o->norm_eps = 1e-6f;
}

static sa_status check_range(int value, int most, const char *name) {
    if (value >= 1 && value <= most)
        return SA_OK;
    return sa_refuse(SA_INVALID, "sa_layer_options.%s is %d, expected 1 to %d", name, value, most);
}

static sa_status check_dimensions(const sa_layer_options *o) {
    const struct {
        int value, most;
        const char *name;
    } ranges[] = {{o->d_model, SA_MAX_WIDTH, "d_model"},   {o->n_query_heads, SA_MAX_WIDTH, "n_query_heads"},
                  {o->d_memory, SA_MAX_WIDTH, "d_memory"}, {o->n_kv_heads, SA_MAX_WIDTH, "n_kv_heads"},
                  {o->d_qk, SA_MAX_HEAD, "d_qk"},          {o->d_v, SA_MAX_HEAD, "d_v"}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        sa_status status = check_range(ranges[i].value, ranges[i].most, ranges[i].name);
        if (status != SA_OK)
            return status;
    }
    if (o->n_query_heads % o->n_kv_heads)
        return sa_refuse(SA_INVALID, "sa_layer_options.n_query_heads is %d, no multiple of n_kv_heads, %d",
                         (int)o->n_query_heads, (int)o->n_kv_heads);
    if (!o->w_o.data && o->d_out != o->n_query_heads * o->d_v)
        return sa_refuse(SA_INVALID, "sa_layer_options.d_out is %d without w_o, expected %d", (int)o->d_out,
                         (int)(o->n_query_heads * o->d_v));
    return check_range(o->d_out, SA_MAX_WIDTH * SA_MAX_HEAD, "d_out");
}

static sa_status check_options(const sa_layer_options *o) {
    if (o->flags & ~(SA_LAYER_IN_OUT | SA_LAYER_REFERENCE))
        return sa_refuse(SA_INVALID, "sa_layer_options.flags is %#x", (unsigned)o->flags);
    if (o->reserved != 0)
        return sa_refuse(SA_INVALID, "sa_layer_options.reserved is %u, expected 0", (unsigned)o->reserved);
    if (!(o->norm_eps >= 0) || !isfinite(o->norm_eps))
        return sa_refuse(SA_INVALID, "sa_layer_options.norm_eps is %g", (double)o->norm_eps);
    sa_status status = sa_check_type(o->weight_type, "sa_layer_options.weight_type");
    if (status == SA_OK)
        status = sa_check_type(o->vector_type, "sa_layer_options.vector_type");
    return status == SA_OK ? check_dimensions(o) : status;
}

/* ---------------------------------------------------------------- matrices */

/* A matrix as the caller has it. */
struct given {
    const char *name;
    const sa_matrix *matrix;
    int n_in, n_out;
};

static sa_status check_finite(const struct sa_weights *w, const char *name) {
    const int n_rows = w->turned ? w->n_out : w->n_in, n = w->turned ? w->n_in : w->n_out;
    for (int r = 0; r < n_rows; r++) {
        const char *row = (const char *)w->data + r * w->stride * (int64_t)sa_bytes_of(w->type);
        const int64_t c = sa_elements_not_finite(row, w->type, n);
        if (c >= 0)
            return sa_refuse(SA_INVALID, "sa_layer_options.%s holds NaN or inf at [%d][%lld]", name, r, (long long)c);
    }
    return SA_OK;
}

static sa_status take_matrix(const sa_layer_options *o, const struct given *given, struct sa_weights *w) {
    const bool turned = !(o->flags & SA_LAYER_IN_OUT);
    const int length = turned ? given->n_in : given->n_out;
    const int64_t stride = given->matrix->stride ? given->matrix->stride : length;
    *w = (struct sa_weights){.data = given->matrix->data,
                             .stride = stride,
                             .type = o->weight_type,
                             .n_in = given->n_in,
                             .n_out = given->n_out,
                             .turned = turned};
    if (!w->data)
        return sa_refuse(SA_INVALID, "sa_layer_options.%s is missing", given->name);
    if ((uintptr_t)w->data % sa_bytes_of(w->type))
        return sa_refuse(SA_INVALID, "sa_layer_options.%s is not aligned to its elements", given->name);
    if (stride < length || stride > INT_MAX)
        return sa_refuse(SA_INVALID, "sa_layer_options.%s has a stride of %lld, expected %d to %d", given->name,
                         (long long)stride, length, INT_MAX);
    return check_finite(w, given->name);
}

/* Outputs first .. first + n - 1 of a matrix. */
static struct sa_weights outputs_of(const struct sa_weights *all, int first, int n) {
    struct sa_weights w = *all;
    const int64_t elements = all->turned ? first * all->stride : first;
    w.data = (const char *)all->data + elements * (int64_t)sa_bytes_of(all->type);
    w.n_out = n;
    return w;
}

static sa_status take_packed(const sa_layer_options *o, struct sa_layer *layer) {
    const int n_q = o->n_query_heads * o->d_qk, n_k = o->n_kv_heads * o->d_qk, n_v = o->n_kv_heads * o->d_v;
    struct sa_weights all;
    if (o->w_q.data || o->w_k.data || o->w_v.data)
        return sa_refuse(SA_INVALID, "sa_layer_options.w_qkv stands beside w_q, w_k or w_v");
    if (o->d_memory != o->d_model)
        return sa_refuse(SA_INVALID, "sa_layer_options.w_qkv with d_memory %d and d_model %d", (int)o->d_memory,
                         (int)o->d_model);
    const struct given given = {"w_qkv", &o->w_qkv, o->d_model, n_q + n_k + n_v};
    sa_status status = take_matrix(o, &given, &all);
    if (status != SA_OK)
        return status;
    layer->q = outputs_of(&all, 0, n_q);
    layer->k = outputs_of(&all, n_q, n_k);
    layer->v = outputs_of(&all, n_q + n_k, n_v);
    return SA_OK;
}

static sa_status take_separate(const sa_layer_options *o, struct sa_layer *layer) {
    const struct given q = {"w_q", &o->w_q, o->d_model, o->n_query_heads * o->d_qk},
                       k = {"w_k", &o->w_k, o->d_memory, o->n_kv_heads * o->d_qk},
                       v = {"w_v", &o->w_v, o->d_memory, o->n_kv_heads * o->d_v};
    sa_status status = take_matrix(o, &q, &layer->q);
    if (status == SA_OK)
        status = take_matrix(o, &k, &layer->k);
    return status == SA_OK ? take_matrix(o, &v, &layer->v) : status;
}

static sa_status take_matrices(const sa_layer_options *o, struct sa_layer *layer) {
    const struct given out = {"w_o", &o->w_o, o->n_query_heads * o->d_v, o->d_out};
    sa_status status = o->w_qkv.data ? take_packed(o, layer) : take_separate(o, layer);
    return status == SA_OK && o->w_o.data ? take_matrix(o, &out, &layer->o) : status;
}

/* ---------------------------------------------------------------- copies */

/* Copies as floats, one after the other; with `to` NULL only counts. */
struct copies {
    float *to;
    size_t n;
};

static float *next_copy(struct copies *copies, size_t n) {
    float *at = copies->to ? copies->to + copies->n : NULL;
    copies->n += (n + 15) / 16 * 16;
    return at;
}

/* Rows are an odd number of cache lines long, or those of a power of two would crowd a few sets of the caches. */
static int copied_stride(int length) { return (length + 15) / 16 * 16 + ((length + 15) / 16 % 2 ? 0 : 16); }

static void copy_rows(const struct sa_weights *w, float *to, int64_t stride) {
    for (int64_t r = 0; r < w->n_in; r++)
        sa_elements_read(to + r * stride, (const char *)w->data + r * w->stride * (int64_t)sa_bytes_of(w->type),
                         w->type, w->n_out);
}

/* From [out, in], a line of outputs at a time. */
static void copy_turned(const struct sa_weights *w, float *to, int64_t stride) {
    enum { OUTPUTS = 16, INPUTS = 256 };
    float block[OUTPUTS][INPUTS];
    const int64_t bytes = (int64_t)sa_bytes_of(w->type);
    for (int out = 0; out < w->n_out; out += OUTPUTS)
        for (int in = 0; in < w->n_in; in += INPUTS) {
            const int n_out = w->n_out - out < OUTPUTS ? w->n_out - out : OUTPUTS;
            const int n_in = w->n_in - in < INPUTS ? w->n_in - in : INPUTS;
            for (int o = 0; o < n_out; o++)
                sa_elements_read(block[o], (const char *)w->data + ((out + o) * w->stride + in) * bytes, w->type, n_in);
            for (int i = 0; i < n_in; i++)
                for (int o = 0; o < n_out; o++)
                    to[(in + i) * stride + out + o] = block[o][i];
        }
}

/* To [in, out]: BLAS copies the weights of every product, and is quicker if it need not turn them. */
static void copy_matrix(struct copies *copies, struct sa_weights *w, const sa_layer_options *o) {
    const int stride = copied_stride(w->n_out);
    if (!w->data || o->flags & SA_LAYER_REFERENCE)
        return;
    float *to = next_copy(copies, (size_t)w->n_in * (size_t)stride);
    if (!to)
        return;
    if (w->turned)
        copy_turned(w, to, stride);
    else
        copy_rows(w, to, stride);
    w->data = to;
    w->stride = stride;
    w->type = SA_F32;
    w->turned = false;
}

static sa_status copy_vector(struct copies *copies, const float **to, const void *from, int type, int n,
                             const char *name) {
    if (!from)
        return SA_OK;
    if ((uintptr_t)from % sa_bytes_of(type))
        return sa_refuse(SA_INVALID, "sa_layer_options.%s is not aligned to its elements", name);
    const int64_t bad = sa_elements_not_finite(from, type, n);
    if (bad >= 0)
        return sa_refuse(SA_INVALID, "sa_layer_options.%s holds NaN or inf at [%lld]", name, (long long)bad);
    float *copy = next_copy(copies, (size_t)n);
    *to = copy;
    if (copy)
        sa_elements_read(copy, from, type, n);
    return SA_OK;
}

static const void *part_of(const void *vector, int first, int type) {
    return vector ? (const char *)vector + (size_t)first * sa_bytes_of(type) : NULL;
}

static sa_status copy_vectors(struct copies *copies, struct sa_layer *layer, const sa_layer_options *o) {
    const int type = o->vector_type, n_q = layer->q.n_out, n_k = layer->k.n_out;
    if (o->b_qkv && (o->b_q || o->b_k || o->b_v))
        return sa_refuse(SA_INVALID, "sa_layer_options.b_qkv stands beside b_q, b_k or b_v");
    const struct {
        const float **to;
        const void *from;
        int n;
        const char *name;
    } vectors[] = {
        {&layer->q.bias, o->b_qkv ? o->b_qkv : o->b_q, n_q, o->b_qkv ? "b_qkv" : "b_q"},
        {&layer->k.bias, o->b_qkv ? part_of(o->b_qkv, n_q, type) : o->b_k, n_k, o->b_qkv ? "b_qkv's k" : "b_k"},
        {&layer->v.bias, o->b_qkv ? part_of(o->b_qkv, n_q + n_k, type) : o->b_v, layer->v.n_out,
         o->b_qkv ? "b_qkv's v" : "b_v"},
        {&layer->o.bias, o->b_o, layer->d_out, "b_o"},
        {&layer->q_norm, o->q_norm, layer->d_qk, "q_norm"},
        {&layer->k_norm, o->k_norm, layer->d_qk, "k_norm"},
    };
    if (o->b_o && !o->w_o.data)
        return sa_refuse(SA_INVALID, "sa_layer_options.b_o is given without w_o");
    sa_status status = SA_OK;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors && status == SA_OK; i++)
        status = copy_vector(copies, vectors[i].to, vectors[i].from, type, vectors[i].n, vectors[i].name);
    return status;
}

static sa_status copy_all(struct copies *copies, struct sa_layer *layer, const sa_layer_options *o) {
    copy_matrix(copies, &layer->q, o);
    copy_matrix(copies, &layer->k, o);
    copy_matrix(copies, &layer->v, o);
    copy_matrix(copies, &layer->o, o);
    return copy_vectors(copies, layer, o);
}

/* ---------------------------------------------------------------- contents */

static sa_status fill(struct sa_layer *layer, const sa_layer_options *o) {
    layer->d_model = o->d_model;
    layer->d_memory = o->d_memory;
    layer->d_out = o->d_out;
    layer->n_query_heads = o->n_query_heads;
    layer->n_kv_heads = o->n_kv_heads;
    layer->d_qk = o->d_qk;
    layer->d_v = o->d_v;
    layer->norm_eps = o->norm_eps;
    layer->turns = o->rope != NULL;
    sa_status status = layer->turns ? sa_turn_make(&layer->turn, o->rope, o->d_qk) : SA_OK;
    if (status == SA_OK)
        status = take_matrices(o, layer);
    if (status != SA_OK)
        return status;
    struct copies copies = {NULL, 0};
    status = copy_all(&copies, layer, o);
    if (status != SA_OK || copies.n == 0)
        return status;
    layer->memory = sa_memory_alloc(copies.n * sizeof(float));
    if (!layer->memory)
        return sa_refuse(SA_NO_MEMORY, "no memory for %zu bytes of weights", copies.n * sizeof(float));
    copies = (struct copies){layer->memory, 0};
    return copy_all(&copies, layer, o);
}

/* ---------------------------------------------------------------- memory of calls */

static void free_spare(struct sa_spare *spare) {
    if (!spare)
        return;
    sa_buffer_free(&spare->buffer);
    sa_memory_free(spare);
}

static struct sa_spare *kept_spare(struct sa_layer *layer) {
    struct sa_spare *spare = NULL;
    for (int i = 0; i < SA_SPARES && !spare; i++)
        spare = __atomic_exchange_n(&layer->spares[i], NULL, __ATOMIC_ACQ_REL);
    return spare;
}

static struct sa_spare *new_spare(void) {
    struct sa_spare *spare = sa_memory_alloc(sizeof *spare);
    if (spare)
        *spare = (struct sa_spare){{NULL, 0}};
    return spare;
}

struct sa_spare *sa_spare_take(struct sa_layer *layer, size_t bytes) {
    struct sa_spare *spare = kept_spare(layer);
    if (!spare)
        spare = new_spare();
    if (!spare || sa_buffer_reserve(&spare->buffer, bytes))
        return spare;
    sa_spare_give_back(layer, spare);
    return NULL;
}

void sa_spare_give_back(struct sa_layer *layer, struct sa_spare *spare) {
    for (int i = 0; i < SA_SPARES; i++) {
        struct sa_spare *none = NULL;
        if (__atomic_compare_exchange_n(&layer->spares[i], &none, spare, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return;
    }
    free_spare(spare);
}

/* ---------------------------------------------------------------- a layer */

static void free_layer(struct sa_layer *layer) {
    for (int i = 0; i < SA_SPARES; i++)
        free_spare(layer->spares[i]);
    sa_memory_free(layer->memory);
    sa_memory_free(layer);
}

static sa_status create(const sa_layer_options *options, sa_layer **layer) {
    sa_layer_options own;
    sa_status status = sa_take_in(&own, sizeof own, options, "sa_layer_options");
    if (status != SA_OK)
        return status;
    fill_defaults(&own);
    status = check_options(&own);
    if (status != SA_OK)
        return status;
    struct sa_layer *made = sa_memory_alloc(sizeof *made);
    if (!made)
        return sa_refuse(SA_NO_MEMORY, "no memory for a layer");
    memset(made, 0, sizeof *made);
    status = fill(made, &own);
    if (status == SA_OK)
        *layer = made;
    else
        free_layer(made);
    return status;
}

sa_status sa_layer_create(const sa_layer_options *options, sa_layer **layer) {
    if (!layer)
        return sa_refuse(SA_INVALID, "layer is NULL");
    *layer = NULL;
    uint64_t mode = sa_fpmode_enter();
    sa_status status = create(options, layer);
    sa_fpmode_leave(mode);
    return status;
}

void sa_layer_destroy(sa_layer *layer) {
    if (layer)
        free_layer(layer);
}
