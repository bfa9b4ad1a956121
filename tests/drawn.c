/* SPDX-License-Identifier: MIT */
#include "drawn.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "elements.h"
#include "reference.h"

/* ---------------------------------------------------------------- tensors */

struct drawn drawn_batch(uint64_t seed, int n_query_heads, int n_kv_heads, int d_qk, int d_v) {
    return (struct drawn){
        .dice = {seed},
        .batch = {SA_BATCH_HEAD, .n_query_heads = n_query_heads, .n_kv_heads = n_kv_heads, .d_qk = d_qk, .d_v = d_v}};
}

void drawn_types(struct drawn *drawn) {
    struct dice *dice = &drawn->dice;
    sa_batch *b = &drawn->batch;
    static const int types[] = {SA_F32, SA_BF16, SA_F16, SA_I8};
    b->q_type = types[roll(dice) % 3];
    b->k_type = types[roll(dice) % 4];
    b->v_type = types[roll(dice) % 4];
    b->o_type = types[roll(dice) % 3];
    b->scale_type = types[roll(dice) % 3];
    if (roll_one_in(dice, 4)) /* which some instruction set has products for */
        b->q_type = b->k_type = b->v_type = roll_one_in(dice, 2) ? SA_BF16 : SA_F16;
    if (roll_one_in(dice, 2))
        b->flags |= SA_F16_PAIRS;
    if (roll_one_in(dice, 3))
        b->flags |= SA_SCALES_PER_HEAD;
}

void drawn_own(struct drawn *drawn, int isa) {
    const bool of_f16 = isa >= SA_ISA_AMX_BF16 && roll_one_in(&drawn->dice, 2);
    drawn->batch.flags |= of_f16 ? SA_F16_PAIRS : 0;
    if (isa >= SA_ISA_AVX512_BF16)
        drawn->batch.q_type = drawn->batch.k_type = drawn->batch.v_type = of_f16 ? SA_F16 : SA_BF16;
}

void drawn_widen(struct drawn *drawn, const sa_sequence *s) {
    const sa_batch *b = &drawn->batch;
    for (int64_t j = 0; j < s->n_k && b->v_type != SA_F16 && b->v_type != SA_I8; j++)
        for (int h = 0; h < b->n_kv_heads; h++)
            for (int c = 0; c < b->d_v; c++) {
                char *at = (char *)(uintptr_t)reference_v(b, s, j, h) + c * element_bytes(b->v_type);
                const int power = (int)roll_between(&drawn->dice, -30, 30);
                element_store(b->v_type, ldexp(element_value(b->v_type, at), power), at);
            }
}

void *drawn_map(struct drawn *drawn, size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), mapped = (bytes + page - 1) / page * page;
    must(drawn->n_maps < DRAWN_MAPS, "too many tensors");
    char *map = mmap(NULL, mapped + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(map != MAP_FAILED, "no memory");
    must(mapped == 0 || mprotect(map + page, mapped, PROT_READ | PROT_WRITE) == 0, "no memory");
    drawn->maps[drawn->n_maps] = map;
    drawn->map_bytes[drawn->n_maps++] = mapped + 2 * page;
    return roll_one_in(&drawn->dice, 3) ? map + page : map + page + mapped - bytes;
}

/* What a tensor consists of. Values are uniform in -size .. size, as far as the type goes. */
struct content {
    int type;
    float size;
    bool scales;
};

/* Some scales are 0, some negative: both are what they are. */
static double roll_scale(struct dice *dice, float size) {
    const double magnitude = (double)size * (0.25 + 0.75 * fabs((double)roll_unit(dice))) / 127;
    return roll_one_in(dice, 16) ? 0 : roll_one_in(dice, 8) ? -magnitude : magnitude;
}

static double roll_element(struct dice *dice, const struct content *content) {
    if (content->scales)
        return roll_scale(dice, content->size);
    return content->type == SA_I8 ? (double)roll_between(dice, -128, 127) : (double)(roll_unit(dice) * content->size);
}

static void fill(struct drawn *drawn, char *at, int64_t n, const struct content *content) {
    for (int64_t i = 0; i < n; i++, at += element_bytes(content->type))
        element_store(content->type, roll_element(&drawn->dice, content), at);
}

/* What lies in the gaps must not matter. */
static void fill_gaps(char *at, int64_t n, int type) {
    for (int64_t i = 0; i < n; i++)
        element_store(type, (double)NAN, at + i * element_bytes(type));
}

static sa_output place(struct drawn *drawn, int64_t n, int64_t heads, int64_t d, int layout, struct content content) {
    layout = layout < 0 ? (int)roll_between(&drawn->dice, 0, N_LAYOUTS - 1) : layout;
    int64_t head_gap = layout == TOKENS_GAPS ? roll_between(&drawn->dice, 0, 3) : 0;
    int64_t token_gap = layout == TOKENS_GAPS ? roll_between(&drawn->dice, 0, 5) : 0;
    int64_t head = layout == HEADS_FIRST ? (n > 0 ? n : 1) * d : d + head_gap;
    int64_t token = layout == HEADS_FIRST ? d : (heads - 1) * head + d + token_gap;
    int64_t extent = n > 0 ? (n - 1) * token + (heads - 1) * head + d : 0;
    const int bytes = element_bytes(content.type);
    char *data = drawn_map(drawn, (size_t)extent * (size_t)bytes);
    fill_gaps(data, extent, content.type);
    for (int64_t t = 0; t < n; t++)
        for (int64_t h = 0; h < heads; h++)
            fill(drawn, data + (t * token + h * head) * bytes, d, &content);
    if (layout == BACKWARDS && n > 0)
        return (sa_output){data + (n - 1) * token * bytes, -token, head};
    return layout == PACKED ? (sa_output){data, 0, 0} : (sa_output){data, token, head};
}

static sa_tensor input(sa_output t) { return (sa_tensor){t.data, t.token_stride, t.head_stride}; }

static sa_output place_lse(struct drawn *drawn, int64_t n, int64_t heads, int layout) {
    float *data = drawn_map(drawn, (size_t)(n * heads) * sizeof(float));
    bool by_token = layout < 0 ? roll_one_in(&drawn->dice, 2) : layout != PACKED;
    return by_token ? (sa_output){data, heads, 1} : (sa_output){data, 0, 0};
}

static sa_scales place_scales(struct drawn *drawn, int64_t n, int type, int layout) {
    const sa_batch *b = &drawn->batch;
    const bool per_head = b->flags & SA_SCALES_PER_HEAD;
    if (type != SA_I8)
        return (sa_scales){NULL, 0, 0, 0};
    const sa_output s =
        place(drawn, per_head ? 1 : n, b->n_kv_heads, 1, layout, (struct content){b->scale_type, 1, true});
    return (sa_scales){s.data, per_head ? 0 : s.token_stride, s.head_stride, 0};
}

sa_sequence *drawn_add(struct drawn *drawn, int64_t n_q, int64_t n_k, int layout, float size) {
    sa_batch *b = &drawn->batch;
    sa_sequence *s = &drawn->seqs[b->n_sequences++];
    *s = (sa_sequence){.n_q = n_q, .n_k = n_k};
    s->q = input(place(drawn, n_q, b->n_query_heads, b->d_qk, layout, (struct content){b->q_type, size, false}));
    s->k = input(place(drawn, n_k, b->n_kv_heads, b->d_qk, layout, (struct content){b->k_type, 1, false}));
    s->v = input(place(drawn, n_k, b->n_kv_heads, b->d_v, layout, (struct content){b->v_type, 1, false}));
    s->o = place(drawn, n_q, b->n_query_heads, b->d_v, layout, (struct content){b->o_type, 1, false});
    s->lse = place_lse(drawn, n_q, b->n_query_heads, layout);
    s->k_scales = place_scales(drawn, n_k, b->k_type, layout);
    s->v_scales = place_scales(drawn, n_k, b->v_type, layout);
    return s;
}

void drawn_free(struct drawn *drawn) {
    for (int i = 0; i < drawn->n_maps; i++)
        munmap(drawn->maps[i], drawn->map_bytes[i]);
}

/* ---------------------------------------------------------------- rules and sizes */

int64_t drawn_edge(struct dice *dice, int64_t most) {
    static const int edges[] = {1,   2,   8,   15,  16,  17,  31,  33,   63,   64,   65,  127,
                                129, 192, 255, 256, 257, 511, 513, 1023, 1024, 1025, 2049};
    int64_t n;
    do
        n = edges[roll(dice) % (sizeof edges / sizeof edges[0])];
    while (n > most);
    return n;
}

static void draw_window(struct drawn *drawn, int64_t n) {
    struct dice *dice = &drawn->dice;
    drawn->batch.flags |= SA_WINDOW;
    drawn->batch.window_left = roll_one_in(dice, 3) ? -1 : roll_between(dice, 0, roll_one_in(dice, 2) ? n : 40);
    drawn->batch.window_right = roll_one_in(dice, 3) ? -1 : roll_between(dice, 0, roll_one_in(dice, 2) ? n : 40);
}

void drawn_rules(struct drawn *drawn) {
    struct dice *dice = &drawn->dice;
    sa_batch *b = &drawn->batch;
    int64_t n = 1;
    for (int64_t i = 0; i < b->n_sequences; i++)
        n = drawn->seqs[i].n_k > n ? drawn->seqs[i].n_k : n;
    if (roll_one_in(dice, 2))
        b->flags |= SA_CAUSAL;
    if (roll_one_in(dice, 2))
        draw_window(drawn, n);
    b->n_sink_keys = roll_one_in(dice, 2) ? roll_between(dice, 0, roll_one_in(dice, 2) ? 5 : n) : 0;
    b->scale = roll_one_in(dice, 3) ? roll_unit(dice) : 0;
    for (int64_t i = 0; i < b->n_sequences; i++)
        if (roll_one_in(dice, 2)) {
            drawn->seqs[i].flags = SA_SEQ_Q_OFFSET;
            drawn->seqs[i].q_offset = roll_one_in(dice, 4) ? 0 : roll_between(dice, -n - 3, 2 * n);
        }
}

/* ---------------------------------------------------------------- outputs */

typedef void visit_row(const struct drawn *drawn, const sa_sequence *seq, int64_t token, int head, void *argument);

static void each_row(const struct drawn *drawn, visit_row *visit, void *argument) {
    for (int64_t i = 0; i < drawn->batch.n_sequences; i++)
        for (int64_t token = 0; token < drawn->seqs[i].n_q; token++)
            for (int head = 0; head < drawn->batch.n_query_heads; head++)
                visit(drawn, &drawn->seqs[i], token, head, argument);
}

static void forget_row(const struct drawn *drawn, const sa_sequence *seq, int64_t token, int head, void *unused) {
    (void)unused;
    fill_gaps(reference_o_row(&drawn->batch, seq, token, head), drawn->batch.d_v, drawn->batch.o_type);
    *reference_lse(&drawn->batch, seq, token, head) = NAN;
}

void drawn_forget(struct drawn *drawn) {
    drawn->batch.sequences = drawn->seqs;
    each_row(drawn, forget_row, NULL);
}

static void copy_row(const struct drawn *drawn, const sa_sequence *seq, int64_t token, int head, void *argument) {
    float **at = argument;
    for (int c = 0; c < drawn->batch.d_v; c++)
        *(*at)++ = (float)reference_output(&drawn->batch, seq, token, head, c);
    *(*at)++ = *reference_lse(&drawn->batch, seq, token, head);
}

float *drawn_outputs(const struct drawn *drawn, size_t *n) {
    *n = 0;
    for (int64_t i = 0; i < drawn->batch.n_sequences; i++)
        *n += (size_t)drawn->seqs[i].n_q * (size_t)drawn->batch.n_query_heads * ((size_t)drawn->batch.d_v + 1);
    float *outputs = malloc((*n + 1) * sizeof *outputs), *at = outputs;
    each_row(drawn, copy_row, &at);
    return outputs;
}

float *drawn_compute(struct drawn *drawn, sa_engine *engine, size_t *n) {
    drawn_forget(drawn);
    must(sa_batch_forward(engine, &drawn->batch) == SA_OK, "%s", sa_last_reason());
    return drawn_outputs(drawn, n);
}

void drawn_must_equal(const float *a, const float *b, size_t n, const char *what) {
    for (size_t i = 0; i < n; i++)
        must(bits_of(a[i]) == bits_of(b[i]), "%s: output %zu is %.9g, expected %.9g", what, i, (double)a[i],
             (double)b[i]);
}

/* ---------------------------------------------------------------- poison */

static bool is_seen(const struct drawn *drawn, const sa_sequence *s, int64_t of_row, int64_t j) {
    for (int64_t i = of_row < 0 ? 0 : of_row; i < (of_row < 0 ? s->n_q : of_row + 1); i++)
        if (reference_visible(&drawn->batch, s, i, j))
            return true;
    return false;
}

static void set_row(const void *row, int type, int n, float value) {
    for (int c = 0; c < n; c++)
        element_store(type, (double)value, (char *)(uintptr_t)row + c * element_bytes(type));
}

/* Elements of SA_I8 know no NaN or inf, but their scales do. */
void drawn_poison_key(struct drawn *drawn, const sa_sequence *s, int64_t j, int head, float value) {
    const sa_batch *b = &drawn->batch;
    const bool per_head = b->flags & SA_SCALES_PER_HEAD;
    set_row(reference_k(b, s, j, head), b->k_type, b->d_qk, b->k_type == SA_I8 ? NAN : value);
    set_row(reference_v(b, s, j, head), b->v_type, b->d_v, b->v_type == SA_I8 ? NAN : value);
    if (b->k_type == SA_I8 && !per_head)
        set_row(reference_k_scale(b, s, j, head), b->scale_type, 1, value);
    if (b->v_type == SA_I8 && !per_head)
        set_row(reference_v_scale(b, s, j, head), b->scale_type, 1, value);
}

void drawn_poison(struct drawn *drawn, int sequence, int64_t of_row, float value) {
    const sa_sequence *s = &drawn->seqs[sequence];
    for (int64_t j = 0; j < s->n_k; j++)
        for (int h = 0; h < drawn->batch.n_kv_heads && !is_seen(drawn, s, of_row, j); h++)
            drawn_poison_key(drawn, s, j, h, value);
}

/* ---------------------------------------------------------------- comparing */

/* A bound larger than a hundredth of the largest v would pass what is wrong. */
static void check_row(const struct drawn *drawn, int64_t i, int64_t token, int head, struct reference_row *row) {
    const sa_batch *b = &drawn->batch;
    const sa_sequence *seq = &drawn->seqs[i];
    const float lse = *reference_lse(b, seq, token, head);
    must(reference_row(b, i, token, head, row), "no memory");
    for (int c = 0; c < b->d_v; c++) {
        const double o = reference_output(b, seq, token, head, c);
        must(row->bound[c] < 0.01, "the bound %g of row %lld is none", row->bound[c], (long long)token);
        must(fabs(o - row->o[c]) <= row->bound[c],
             "sequence %lld token %lld head %d dimension %d: %.9g, exactly %.9g, bound %g (n_q %lld, n_k %lld, d %d, "
             "%d, types %d %d %d %d)",
             (long long)i, (long long)token, head, c, o, row->o[c], row->bound[c], (long long)seq->n_q,
             (long long)seq->n_k, (int)b->d_qk, (int)b->d_v, (int)b->q_type, (int)b->k_type, (int)b->v_type,
             (int)b->o_type);
    }
    if (row->lse == -HUGE_VAL)
        must(lse == -INFINITY, "lse of an empty row is %g", (double)lse);
    else
        must(fabs((double)lse - row->lse) <= row->lse_bound,
             "lse of sequence %lld token %lld head %d: %.9g, exactly %.9g", (long long)i, (long long)token, head,
             (double)lse, row->lse);
}

void drawn_check(struct drawn *drawn, sa_engine *engine, int64_t most) {
    sa_batch *b = &drawn->batch;
    double values[2 * 576];
    struct reference_row row = {.o = values, .bound = values + 576, .pairs = reference_has_pairs(engine)};
    drawn_forget(drawn);
    must(sa_batch_forward(engine, b) == SA_OK, "%s", sa_last_reason());
    for (int64_t i = 0; i < b->n_sequences; i++) {
        int64_t rows = drawn->seqs[i].n_q * b->n_query_heads, step = rows / most + 1;
        for (int64_t r = 0; r < rows; r += r + step < rows || r == rows - 1 ? step : rows - 1 - r)
            check_row(drawn, i, r / b->n_query_heads, (int)(r % b->n_query_heads), &row);
    }
}
