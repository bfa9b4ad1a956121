/* SPDX-License-Identifier: MIT */
/* sa_cache_append(): every pair of types in every layout, against a model that writes one element at a time where the
 * header says it stands. All memory of a cache is compared, pages that may not be touched stand around everything. */
#include <math.h>

#include <sa/sa.h>

#include "elements.h"
#include "engines.h"
#include "fenced.h"

enum { MAX_SEQS = 3, MAX_REGIONS = 8 * MAX_SEQS + 4, MAX_TOKENS = 70, MAX_TABLE = 4 * (MAX_TOKENS + 3) };

/* ---------------------------------------------------------------- memory */

/* Memory between fences, and what has to stand there in the end. */
struct region {
    struct fenced map;
    char *wanted;
    size_t bytes;
};

/* Where the element (t, h, c) stands; strides count elements, as in sa_tensor. */
struct place {
    struct region *region;
    char *data;
    int64_t token, head, page;
    int type;
};

/* The new k or v of a sequence, and its cache. */
struct side {
    struct place from, to, scales;
    sa_pages pages; /* as they hold, wherever they were given */
    int d;
};

struct field {
    struct dice dice;
    struct region regions[MAX_REGIONS];
    int n_regions;
    sa_batch batch;
    sa_append append;
    sa_sequence seqs[MAX_SEQS];
    sa_new_tokens tokens[MAX_SEQS];
    struct side sides[MAX_SEQS][2];
    int32_t tables[MAX_SEQS][2][MAX_TABLE];
};

static struct region *add_region(struct field *f, size_t bytes) {
    struct region *r = &f->regions[f->n_regions++];
    ck_assert_int_le(f->n_regions, MAX_REGIONS);
    *r = (struct region){fenced_map((bytes + 7) / 4), NULL, 0};
    r->bytes = (size_t)((char *)r->map.end - (char *)r->map.begin);
    for (size_t i = 0; i < r->bytes / 4; i++)
        ((uint32_t *)(void *)r->map.begin)[i] = (uint32_t)roll(&f->dice);
    return r;
}

static void free_field(struct field *f) {
    for (int i = 0; i < f->n_regions; i++) {
        fenced_unmap(&f->regions[i].map);
        free(f->regions[i].wanted);
    }
}

static char *element_at(const struct place *p, const sa_pages *pages, int64_t t, int h, int c) {
    int64_t page = 0;
    if (pages && pages->table) {
        page = pages->table[h * pages->head_step + t / pages->page_tokens];
        t %= pages->page_tokens;
    }
    return p->data + (page * p->page + t * p->token + h * p->head + c) * element_bytes(p->type);
}

/* ---------------------------------------------------------------- layouts */

enum { PACKED, GAPS, HEADS_FIRST, BACKWARDS, HEADS_BACKWARDS, N_LAYOUTS };

/* Elements: strides, whether they are defaults, and the reach either way from the first element. */
struct layout {
    int64_t token, head, low, high;
    bool is_default;
};

static struct layout roll_layout(struct dice *dice, int64_t n_tokens, int64_t n_heads, int64_t d) {
    const int kind = (int)roll_between(dice, 0, N_LAYOUTS - 1);
    struct layout l = {n_heads * d, d, 0, 0, kind == PACKED};
    if (kind == GAPS) {
        l.head = d + roll_between(dice, 1, 5);
        l.token = n_heads * l.head + roll_between(dice, 0, 5);
    }
    if (kind == HEADS_FIRST) {
        l.token = d;
        l.head = n_tokens * d + (n_tokens == 0);
    }
    if (kind == BACKWARDS)
        l.token = -l.token;
    if (kind == HEADS_BACKWARDS)
        l.head = -l.head;
    const int64_t token_reach = n_tokens > 0 ? (n_tokens - 1) * l.token : 0, head_reach = (n_heads - 1) * l.head;
    l.low = (token_reach < 0 ? token_reach : 0) + (head_reach < 0 ? head_reach : 0);
    l.high = (token_reach > 0 ? token_reach : 0) + (head_reach > 0 ? head_reach : 0) + d;
    return l;
}

static struct region *add_region_at_fence(struct field *f, int64_t bytes, char **begin) {
    struct region *r = add_region(f, (size_t)bytes);
    *begin = roll_one_in(&f->dice, 2) ? (char *)r->map.begin : (char *)r->map.end - bytes;
    return r;
}

/* What all strides 0 stand for, said or left out. */
static sa_tensor tensor_of(const struct place *p, const struct layout *l) {
    return (sa_tensor){p->data, l->is_default ? 0 : p->token, l->is_default ? 0 : p->head};
}

/* ---------------------------------------------------------------- caches */

/* Tokens and kv heads of a page, or of all that is not paged. */
struct form {
    int64_t n_tokens, n_pages, head_step;
    int n_heads, page_tokens;
};

/* Heads with tables of their own mostly have pages of their own, too, and no stride; but it is added if there is one.
 */
static bool head_pages(struct form form) { return form.head_step && form.n_heads == 1; }
static bool head_rows(struct form form) { return form.head_step && form.n_heads > 1; }

static int type_of(const struct field *f, int v) { return v ? f->batch.v_type : f->batch.k_type; }
static bool per_head(const struct field *f) { return f->batch.flags & SA_SCALES_PER_HEAD; }

static void put_scales(struct field *f, int i, int v, struct form form) {
    struct place *p = &f->sides[i][v].scales;
    const int type = f->batch.scale_type, bytes = element_bytes(type);
    if (per_head(f))
        form = (struct form){1, 1, 0, f->batch.n_kv_heads, 0};
    struct layout l = roll_layout(&f->dice, form.n_tokens, form.n_heads, 1);
    const int64_t page = l.high - l.low;
    l.is_default = l.is_default && !head_rows(form);
    char *begin;
    struct region *region = add_region_at_fence(f, form.n_pages * page * bytes, &begin);
    *p = (struct place){region, begin - l.low * bytes, l.token, l.head, page, type};
    if (head_pages(form))
        p->head = 0;
    if (per_head(f))
        p->token = p->page = 0;
    const sa_tensor tensor = tensor_of(p, &l);
    *(v ? &f->seqs[i].v_scales : &f->seqs[i].k_scales) =
        (sa_scales){tensor.data, tensor.token_stride, tensor.head_stride,
                    form.page_tokens && !l.is_default && !per_head(f) ? page : 0};
}

/* A shuffled table. Entries that are not written to stand nowhere. */
static void roll_table(struct field *f, int i, int v, struct form form) {
    static const int32_t nowhere[] = {-1, INT32_MAX, INT32_MIN};
    const int64_t n_k = f->seqs[i].n_k, n = f->tokens[i].n;
    int64_t page = roll_between(&f->dice, 0, form.n_pages - 1);
    for (int h = 0; h < (form.head_step ? f->batch.n_kv_heads : 1); h++)
        for (int64_t e = 0; e * form.page_tokens < n_k; e++) {
            const bool written = n > 0 && e >= (n_k - n) / form.page_tokens;
            f->tables[i][v][h * form.head_step + e] = written ? (int32_t)page : nowhere[e % 3];
            page = (page + 17) % form.n_pages;
        }
}

/* The pages of v, given if they are not those of k anyway. */
static void put_pages(struct field *f, int i, struct form form, const int64_t page_strides[2]) {
    const bool one_table = roll_one_in(&f->dice, 2);
    sa_sequence *s = &f->seqs[i];
    for (int v = 0; v < 2; v++) {
        const int32_t *table = f->tables[i][one_table ? 0 : v];
        roll_table(f, i, v, form);
        f->sides[i][v].pages = (sa_pages){table, form.head_step, form.n_pages, 0, form.page_tokens, 0};
        *(v ? &s->v_pages : &s->k_pages) = v && one_table ? (sa_pages){NULL, 0, 0, 0, 0, 0} : f->sides[i][v].pages;
        (v ? &s->v_pages : &s->k_pages)->page_stride = page_strides[v];
    }
}

/* n_pages has no divisor in common with the 17 that tables go forward by. */
static struct form roll_form(struct field *f, int i, int page_tokens) {
    const int64_t n_k = f->seqs[i].n_k;
    if (!page_tokens)
        return (struct form){n_k, 1, 0, f->batch.n_kv_heads, 0};
    const bool tables = roll_one_in(&f->dice, 2);
    const int64_t n_entries = (n_k + page_tokens - 1) / page_tokens;
    return (struct form){page_tokens, 2 + 17 * (1 + n_entries * f->batch.n_kv_heads / 16),
                         tables ? n_entries + roll_between(&f->dice, 1, 3) : 0,
                         tables && !roll_one_in(&f->dice, 3) ? 1 : f->batch.n_kv_heads, page_tokens};
}

/* k and v of a sequence, each in a place of its own or, if they are paged, perhaps together in the pages of a pool. */
static void put_caches(struct field *f, int i, int page_tokens) {
    const struct form form = roll_form(f, i, page_tokens);
    const bool together = page_tokens && roll_one_in(&f->dice, 2);
    struct layout l[2];
    int64_t bytes[2], page_strides[2];
    char *begin[2];
    struct region *region[2];
    for (int v = 0; v < 2; v++) {
        l[v] = roll_layout(&f->dice, form.n_tokens, form.n_heads, f->sides[i][v].d);
        bytes[v] = (l[v].high - l[v].low) * element_bytes(type_of(f, v));
        l[v].is_default = l[v].is_default && !head_rows(form);
        bytes[v] = page_tokens ? (bytes[v] + 3) / 4 * 4 : bytes[v];
    }
    const int64_t both = bytes[0] + bytes[1], behind_k = bytes[0];
    for (int v = 0; v < 2; v++) {
        bytes[v] = together ? both : bytes[v];
        if (v == 0 || !together)
            region[v] = add_region_at_fence(f, form.n_pages * bytes[v], &begin[v]);
        else {
            region[v] = region[0];
            begin[v] = begin[0] + behind_k;
        }
    }
    for (int v = 0; v < 2; v++) {
        const int type = type_of(f, v), size = element_bytes(type);
        struct place *to = &f->sides[i][v].to;
        *to = (struct place){
            region[v], begin[v] - l[v].low * size, l[v].token, head_pages(form) ? 0 : l[v].head, bytes[v] / size, type};
        *(v ? &f->seqs[i].v : &f->seqs[i].k) = tensor_of(to, &l[v]);
        page_strides[v] =
            to->page == form.n_tokens * form.n_heads * f->sides[i][v].d && !head_rows(form) ? 0 : to->page;
        if (type == SA_I8)
            put_scales(f, i, v, form);
    }
    if (page_tokens)
        put_pages(f, i, form, page_strides);
}

/* ---------------------------------------------------------------- new tokens */

/* A row of a kind: all types of trouble. */
static void roll_row(struct dice *dice, int type, char *row, int d) {
    const int kind = (int)roll_between(dice, 0, 11), bytes = element_bytes(type);
    const double size = ldexp(1, (int)roll_between(dice, -12, 12));
    for (int c = 0; c < d; c++) {
        double x = size * (double)roll_unit(dice);
        switch (kind) {
        case 0: x = c % 2 ? 0.0 : -0.0; break;
        case 1: x = ldexp(x, type == SA_F16 ? -18 : -140); break; /* the scale rounds to 0, or nearly */
        case 2: x = ldexp(x, type == SA_F16 ? 9 : 110); break;
        case 3: x = 0.5 * (double)roll_between(dice, -254, 254); break;         /* ties, if the largest is 127 */
        case 4: x = 1 + ldexp((double)roll_between(dice, -64, 64), -12); break; /* ties of 16-bit types */
        case 5: x = roll_one_in(dice, 8) ? (double)NAN : x; break;
        case 6: x = roll_one_in(dice, 8) ? (double)INFINITY : roll_one_in(dice, 8) ? -(double)INFINITY : x; break;
        default: break;
        }
        if (kind == 3 && c == 0)
            x = 127;
        if (kind == 7) { /* any bits: NaNs of every payload */
            const uint32_t bits = (uint32_t)roll(dice);
            memcpy(row + c * bytes, &bits, (size_t)bytes);
        } else
            element_store(type, x, row + c * bytes);
    }
}

static void put_tokens(struct field *f, int i, int v) {
    struct side *side = &f->sides[i][v];
    const int type = v ? f->append.v_type : f->append.k_type, bytes = element_bytes(type), H = f->batch.n_kv_heads;
    const struct layout l = roll_layout(&f->dice, f->tokens[i].n, H, side->d);
    char *begin;
    struct region *region = add_region_at_fence(f, (l.high - l.low) * bytes, &begin);
    side->from = (struct place){region, begin - l.low * bytes, l.token, l.head, 0, type};
    for (int64_t t = 0; t < f->tokens[i].n; t++)
        for (int h = 0; h < H; h++)
            roll_row(&f->dice, type, element_at(&side->from, NULL, t, h, 0), side->d);
    *(v ? &f->tokens[i].v : &f->tokens[i].k) = tensor_of(&side->from, &l);
    ck_assert_int_eq(mprotect(region->map.begin, region->bytes, PROT_READ), 0);
}

static int roll_d(struct dice *dice) {
    static const int dims[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 64, 80, 128, 131};
    return roll_one_in(dice, 64) ? 576 : dims[roll(dice) % (sizeof dims / sizeof dims[0])];
}

static void roll_sequence(struct field *f, int i) {
    static const int pages[] = {0, 0, 1, 3, 16, 64};
    const int64_t n_k = roll_between(&f->dice, 0, MAX_TOKENS);
    f->seqs[i] = (sa_sequence){.n_q = roll_between(&f->dice, 0, 3), .n_k = n_k};
    f->tokens[i].n = roll_one_in(&f->dice, 3) ? n_k < 1 ? n_k : 1 : roll_between(&f->dice, 0, n_k);
    for (int v = 0; v < 2; v++)
        f->sides[i][v].d = v ? f->batch.d_v : f->batch.d_qk;
    put_caches(f, i, pages[roll(&f->dice) % 6]);
    for (int v = 0; v < 2; v++)
        put_tokens(f, i, v);
}

/* Four types of either cache, three of either source. */
enum { N_PAIRS = 12 };

static void roll_field(struct field *f, int round) {
    static const int to[] = {SA_F32, SA_BF16, SA_F16, SA_I8}, from[] = {SA_F32, SA_BF16, SA_F16};
    struct dice dice = {(uint64_t)round};
    const int k = round % N_PAIRS, v = round / N_PAIRS % N_PAIRS;
    *f = (struct field){.dice = dice};
    f->batch = (sa_batch){SA_BATCH_HEAD,
                          .n_sequences = roll_between(&f->dice, 0, MAX_SEQS),
                          .sequences = f->seqs,
                          .n_kv_heads = (int32_t)roll_between(&f->dice, 1, 4),
                          .d_qk = roll_d(&f->dice),
                          .d_v = roll_d(&f->dice),
                          .k_type = to[k % 4],
                          .v_type = to[v % 4],
                          .flags = roll_one_in(&f->dice, 3) ? SA_SCALES_PER_HEAD : 0,
                          .scale_type = from[roll(&f->dice) % 3]};
    f->batch.n_query_heads = f->batch.n_kv_heads * (int32_t)roll_between(&f->dice, 1, 3);
    f->append = (sa_append){SA_APPEND_HEAD, f->tokens, from[k / 4], from[v / 4]};
    for (int i = 0; i < f->batch.n_sequences; i++)
        roll_sequence(f, i);
}

/* ---------------------------------------------------------------- the model */

static void want(const struct place *p, const char *at, const void *element) {
    memcpy(p->region->wanted + (at - (char *)p->region->map.begin), element, (size_t)element_bytes(p->type));
}

/* Whatever NaN stands there will do. */
static void want_nan(const struct place *p, const char *at) {
    must(isnan(element_value(p->type, at)), "%g stands where a NaN has to", element_value(p->type, at));
    want(p, at, at);
}

static double to_f32(double x) {
    float rounded;
    element_store(SA_F32, x, &rounded);
    return (double)rounded;
}

static void want_converted(const struct side *side, int64_t t, int h, int64_t first) {
    for (int c = 0; c < side->d; c++) {
        const char *from = element_at(&side->from, NULL, t, h, c),
                   *to = element_at(&side->to, &side->pages, first + t, h, c);
        char element[4];
        element_store(side->to.type, element_value(side->from.type, from), element);
        if (side->from.type == side->to.type)
            want(&side->to, to, from);
        else if (isnan(element_value(side->from.type, from)))
            want_nan(&side->to, to);
        else
            want(&side->to, to, element);
    }
}

/* The scale of a row as it is stored; NaN, too, for what is not finite. */
static double scale_of(const struct side *side, int64_t t, int h) {
    double most = 0;
    char stored[4];
    for (int c = 0; c < side->d; c++) {
        const double x = fabs(element_value(side->from.type, element_at(&side->from, NULL, t, h, c)));
        most = x > most || isnan(x) ? x : most;
        if (isnan(x))
            break;
    }
    element_store(side->scales.type, to_f32(most / 127), stored);
    const double scale = element_value(side->scales.type, stored);
    return isfinite(scale) ? scale : (double)NAN;
}

static double quantised(double x, double scale) {
    const double q = to_f32(x / scale), magnitude = fabs(q) < 127 ? fabs(q) : 127, whole = floor(magnitude),
                 rest = magnitude - whole;
    const double rounded = whole + (rest > 0.5 || (rest == 0.5 && fmod(whole, 2) == 1));
    return isnan(q) || scale == 0 ? 0 : copysign(rounded, q);
}

static void want_quantised(const struct side *side, int64_t t, int h, int64_t first, bool given) {
    const char *at = element_at(&side->scales, &side->pages, first + t, h, 0);
    char stored[4];
    double scale = given ? element_value(side->scales.type,
                                         side->scales.data + h * side->scales.head * element_bytes(side->scales.type))
                         : scale_of(side, t, h);
    element_store(side->scales.type, scale, stored);
    if (!given && isnan(scale))
        want_nan(&side->scales, at);
    else if (!given)
        want(&side->scales, at, stored);
    for (int c = 0; c < side->d; c++) {
        const double x = element_value(side->from.type, element_at(&side->from, NULL, t, h, c));
        const int8_t element = (int8_t)quantised(x, scale);
        want(&side->to, element_at(&side->to, &side->pages, first + t, h, c), &element);
    }
}

static void want_all(struct field *f) {
    for (int i = 0; i < f->batch.n_sequences; i++)
        for (int v = 0; v < 2; v++)
            for (int64_t t = 0; t < f->tokens[i].n; t++)
                for (int h = 0; h < f->batch.n_kv_heads; h++)
                    if (type_of(f, v) == SA_I8)
                        want_quantised(&f->sides[i][v], t, h, f->seqs[i].n_k - f->tokens[i].n, per_head(f));
                    else
                        want_converted(&f->sides[i][v], t, h, f->seqs[i].n_k - f->tokens[i].n);
}

static void remember(struct field *f) {
    for (int i = 0; i < f->n_regions; i++) {
        f->regions[i].wanted = malloc(f->regions[i].bytes);
        memcpy(f->regions[i].wanted, f->regions[i].map.begin, f->regions[i].bytes);
    }
}

static void check_regions(const struct field *f, int round) {
    for (int i = 0; i < f->n_regions; i++) {
        const struct region *r = &f->regions[i];
        const char *got = (const char *)r->map.begin;
        for (size_t b = 0; memcmp(got, r->wanted, r->bytes) != 0; b++)
            must(got[b] == r->wanted[b], "round %d, region %d of %d: byte %zu is %d, expected %d", round, i,
                 f->n_regions, b, got[b], r->wanted[b]);
    }
}

enum { ROUNDS = 4 * N_PAIRS * N_PAIRS };

START_TEST(every_pair_of_types_in_every_layout) {
    static struct field f;
    sa_engine *engine = engine_with(_i, 1);
    for (int round = 0; engine && round < ROUNDS; round++) {
        roll_field(&f, round);
        remember(&f);
        must(sa_cache_append(engine, &f.batch, &f.append) == SA_OK, "round %d: %s", round, sa_last_reason());
        want_all(&f);
        check_regions(&f, round);
        free_field(&f);
    }
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("append");
    tcase_add_loop_test(add_case(suite, "layouts"), every_pair_of_types_in_every_layout, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
