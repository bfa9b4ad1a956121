/* SPDX-License-Identifier: MIT */
#include "kinds_check.h"

#include <math.h>
#include <stdarg.h>

#include "elements.h"
#include "kinds_batch.h"
#include "kinds_output.h"
#include "kinds_split.h"
#include "reference.h"

/* ---------------------------------------------------------------- engines */

struct kinds_engines kinds_engines(void) {
    struct kinds_engines engines = {.first = 0};
    for (int isa = SA_ISA_GENERIC; isa < ISA_END; isa++) {
        engines.of[isa][0] = engine_with(isa, 1);
        engines.of[isa][1] = engines.of[isa][0] ? engine_with(isa, 3) : NULL;
        if (!engines.of[isa][0])
            continue;
        engines.first = engines.first ? engines.first : isa;
        engines.last = isa;
    }
    return engines;
}

void kinds_stop(struct kinds_engines *engines) {
    for (int isa = SA_ISA_GENERIC; isa < ISA_END; isa++)
        for (int i = 0; i < 2; i++)
            sa_engine_destroy(engines->of[isa][i]);
}

/* ---------------------------------------------------------------- a case under way */

struct trial {
    const struct kinds_case *c;
    const struct kinds_engines *engines;
    struct kinds_batch batch;
    struct kinds_output wanted; /* of the case's sequence */
    struct dice dice;
    struct kinds_result *result;
};

static bool __attribute__((format(printf, 2, 3))) wrong(struct trial *t, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    t->result->verdict = KINDS_WRONG;
    vsnprintf(t->result->reason, sizeof t->result->reason, format, arguments);
    va_end(arguments);
    return false;
}

static sa_sequence *own(struct trial *t) { return &t->batch.drawn.seqs[t->batch.at]; }

static bool forward(struct trial *t, sa_engine *engine, sa_batch *b, const char *what) {
    for (int64_t i = 0; i < b->n_sequences; i++)
        kinds_forget(b, reference_sequence(b, i));
    const sa_status status = sa_batch_forward(engine, b);
    if (status == SA_OK)
        return true;
    wrong(t, "%s: %s", what, sa_last_reason());
    if (status == SA_UNSUPPORTED)
        t->result->verdict = KINDS_UNSUPPORTED;
    return false;
}

/* The case's sequence alone, maybe changed. */
static sa_batch alone(struct trial *t, sa_sequence *s) {
    sa_batch b = t->batch.drawn.batch;
    *s = *own(t);
    b.sequences = s;
    b.n_sequences = 1;
    return b;
}

/* Computes a sequence, and compares what comes out with the bits that were wanted. */
static bool same_bits(struct trial *t, sa_engine *engine, sa_batch *b, const struct kinds_part *part,
                      const char *what) {
    char where[120];
    if (!forward(t, engine, b, what))
        return false;
    struct kinds_output got = kinds_collect(b, reference_sequence(b, 0));
    const bool same = kinds_same(b, &got, &t->wanted, part, where);
    kinds_drop(&got);
    return same || wrong(t, "%s: other bits: %s", what, where);
}

/* ---------------------------------------------------------------- against the reference */

static bool is_near(double got, double wanted, double bound) {
    return got == wanted || fabs(got - wanted) <= bound || (isnan(got) && isnan(wanted));
}

static bool check_row(struct trial *t, int64_t i, int64_t token, int head, struct reference_row *row) {
    const sa_batch *b = &t->batch.drawn.batch;
    const sa_sequence *s = reference_sequence(b, i);
    const char *where = i == t->batch.at ? "" : "the company's ";
    must(reference_row(b, i, token, head, row), "no memory");
    t->result->n_rows++;
    t->result->n_keys += row->n_visible;
    for (int c = 0; c < b->d_v; c++) {
        const double o = reference_output(b, s, token, head, c);
        if (!(row->bound[c] < 0.02))
            return wrong(t, "%srow %lld head %d: the bound %g is none", where, (long long)token, head, row->bound[c]);
        if (!is_near(o, row->o[c], row->bound[c]))
            return wrong(t, "%srow %lld head %d sees %lld keys: o[%d] is %.9g, exactly %.9g, bound %g", where,
                         (long long)token, head, (long long)row->n_visible, c, o, row->o[c], row->bound[c]);
    }
    const double lse = s->lse.data ? (double)*reference_lse(b, s, token, head) : row->lse;
    if (!is_near(lse, row->lse, row->lse_bound))
        return wrong(t, "%srow %lld head %d sees %lld keys: lse is %.9g, exactly %.9g, bound %g", where,
                     (long long)token, head, (long long)row->n_visible, lse, row->lse, row->lse_bound);
    const double m = s->row_max.data ? (double)*kinds_row_max(b, s, token, head) : row->m;
    return is_near(m, row->m, row->m_bound) || wrong(t, "%srow %lld head %d: row_max is %.9g, exactly %.9g, bound %g",
                                                     where, (long long)token, head, m, row->m, row->m_bound);
}

static bool check_weights(struct trial *t, int64_t i, double *room) {
    const sa_batch *b = &t->batch.drawn.batch;
    const sa_sequence *s = reference_sequence(b, i);
    for (int64_t r = 0; s->weights.data && r < s->weights.n_rows; r++) {
        const sa_row *which = &s->weights.rows[r];
        struct reference_row row = {.weights = room, .weight_bounds = room + s->n_k};
        const float *got = kinds_weights(s, r);
        must(reference_row(b, i, which->query, which->head, &row), "no memory");
        for (int64_t j = 0; j < s->n_k; j++)
            if (!is_near((double)got[j], row.weights[j], row.weight_bounds[j]) ||
                (row.weight_bounds[j] == 0 && got[j] != 0))
                return wrong(t, "weights of rows[%lld] = %lld head %d: of key %lld %.9g, exactly %.9g, bound %g",
                             (long long)r, (long long)which->query, which->head, (long long)j, (double)got[j],
                             row.weights[j], row.weight_bounds[j]);
    }
    return true;
}

static bool check_mass(struct trial *t, int64_t i, double *room) {
    const sa_batch *b = &t->batch.drawn.batch;
    const sa_sequence *s = reference_sequence(b, i);
    const bool per_head = s->key_mass.head_stride != 0;
    for (int g = 0; s->key_mass.data && g < (per_head ? b->n_kv_heads : 1); g++) {
        const float *got = s->key_mass.data + g * s->key_mass.head_stride;
        must(reference_key_mass(b, i, per_head ? g : -1, room, room + s->n_k), "no memory");
        for (int64_t j = 0; j < s->n_k; j++)
            if (!is_near((double)got[j], room[j], room[j + s->n_k]))
                return wrong(t, "key_mass of key %lld kv head %d: %.9g, exactly %.9g, bound %g", (long long)j,
                             per_head ? g : -1, (double)got[j], room[j], room[j + s->n_k]);
    }
    return true;
}

/* Of many rows every seventh or so. */
static bool check_sequence(struct trial *t, int64_t i) {
    const sa_batch *b = &t->batch.drawn.batch;
    const sa_sequence *s = reference_sequence(b, i);
    double values[2 * 576], *room = malloc((size_t)(2 * s->n_k + 1) * sizeof *room);
    struct reference_row row = {.o = values, .bound = values + 576, .pairs = t->engines->last >= SA_ISA_AVX512_BF16};
    const int64_t rows = s->n_q * b->n_query_heads, step = kinds_cost(t->c) > 3e5 ? 1 + rows / 60 : 1;
    bool right = true;
    for (int64_t r = step > 1 ? roll_between(&t->dice, 0, step - 1) : 0; right && r < rows; r += step)
        right = check_row(t, i, r / b->n_query_heads, (int)(r % b->n_query_heads), &row);
    right = right && check_weights(t, i, room) && check_mass(t, i, room);
    free(room);
    return right && (kinds_gaps_left(b, s) || wrong(t, "something was written between the outputs"));
}

static bool against_the_reference(struct trial *t) {
    sa_batch *b = &t->batch.drawn.batch;
    if (!forward(t, t->engines->of[t->engines->last][1], b, "three threads"))
        return false;
    for (int64_t i = 0; i < b->n_sequences; i++)
        if (!check_sequence(t, i))
            return false;
    t->wanted = kinds_collect(b, own(t));
    return true;
}

/* ---------------------------------------------------------------- the same bits */

/* The generic kernels may emulate their arithmetic, and AVX-512 is emulated by some programs. */
static bool is_worth(struct trial *t, int isa) {
    return isa == SA_ISA_AVX2 || kinds_cost(t->c) < 1e5 || roll_one_in(&t->dice, 12);
}

/* Not where pairs are multiplied, or int8. */
static bool has_same_bits(struct trial *t, int isa) {
    const int last = t->engines->last;
    return isa == last || !((last >= SA_ISA_AVX512_BF16 && reference_in_pairs(&t->batch.drawn.batch)) ||
                            (last >= SA_ISA_AMX_BF16 && reference_in_bytes(&t->batch.drawn.batch, own(t))));
}

static bool everywhere(struct trial *t) {
    sa_sequence s;
    sa_batch b = alone(t, &s);
    for (int isa = t->engines->first; isa <= t->engines->last; isa++)
        for (int threads = 0; threads < 2; threads++)
            if (t->engines->of[isa][threads] && has_same_bits(t, isa) && (threads == 0 || isa == t->engines->last) &&
                is_worth(t, isa) && !same_bits(t, t->engines->of[isa][threads], &b, NULL, isa_text(isa)))
                return false;
    return true;
}

static void skip_grid(sa_grid *grid, int64_t tokens, int bytes) {
    if (grid->data)
        grid->data = (const char *)grid->data + tokens * grid->query_stride * bytes;
}

static void skip_output(sa_output *out, int64_t tokens, int64_t token_stride, int64_t head_stride, int bytes) {
    out->token_stride = out->token_stride ? out->token_stride : token_stride;
    out->head_stride = out->head_stride ? out->head_stride : head_stride;
    if (out->data)
        out->data = (char *)out->data + tokens * out->token_stride * bytes;
}

/* Leaves out the first `n` queries: as a chunk that comes later, or a step of decoding. */
static void skip_queries(const sa_batch *b, sa_sequence *s, int64_t n) {
    const int64_t heads = b->n_query_heads, n_q = s->n_q;
    s->q.data = n < n_q ? reference_q(b, s, n, 0) : s->q.data;
    skip_output(&s->o, n, heads * b->d_v, b->d_v, element_bytes(b->o_type));
    skip_output(&s->lse, n, 1, n_q, sizeof(float));
    skip_output(&s->row_max, n, 1, n_q, sizeof(float));
    skip_grid(&s->mask, n, 1);
    skip_grid(&s->bias, n, element_bytes(b->bias_type));
    s->q_positions = s->q_positions ? s->q_positions + n : NULL;
    s->q_documents = s->q_documents ? s->q_documents + n : NULL;
    s->q_offset = (s->flags & SA_SEQ_Q_OFFSET ? s->q_offset : s->first_key + s->n_k - n_q) + n;
    s->flags = SA_SEQ_Q_OFFSET;
    if (s->blocks.full.begin)
        s->blocks.full.begin += n / s->blocks.q_block;
    if (s->blocks.partial.begin)
        s->blocks.partial.begin += n / s->blocks.q_block;
    s->weights = (sa_row_weights){NULL, NULL, 0, 0};
    s->key_mass = (sa_key_mass){NULL, 0, 0, 0, NULL};
    s->n_q -= n;
}

static bool in_chunks(struct trial *t) {
    sa_sequence s;
    sa_batch b = alone(t, &s);
    const int64_t step = s.blocks.q_block ? s.blocks.q_block : 1;
    const int64_t n = s.n_q == 0 ? 0 : roll_between(&t->dice, 0, (s.n_q - 1) / step) * step;
    const struct kinds_part part = {.first_token = n, .rows_only = true};
    skip_queries(&b, &s, n);
    return n == 0 || same_bits(t, t->engines->of[t->engines->last][0], &b, &part, "without the first queries");
}

/* ---------------------------------------------------------------- cut along the keys */

/* Both parts are as good as the whole; sa_merge() adds what it says in sa.h, values being at most about 1. */
static bool check_merged_row(struct trial *t, const sa_batch *b, int64_t r, const struct kinds_merged *merged) {
    double values[2 * 576];
    struct reference_row row = {.o = values, .bound = values + 576, .pairs = t->engines->last >= SA_ISA_AVX512_BF16};
    const double of_merge = ((double)merged->lse_size + 2) * 0x1p-22;
    must(reference_row(b, 0, r / b->n_query_heads, (int)(r % b->n_query_heads), &row), "no memory");
    for (int c = 0; c < b->d_v; c++) {
        const double o = (double)merged->o[r * b->d_v + c];
        if (!is_near(o, row.o[c], 2 * row.bound[c] + of_merge))
            return wrong(t, "merged row %lld of heads: o[%d] is %.9g, exactly %.9g, bound %g", (long long)r, c, o,
                         row.o[c], 2 * row.bound[c] + of_merge);
    }
    const double lse = (double)merged->lse[r];
    return is_near(lse, row.lse, 2 * row.lse_bound + of_merge) ||
           wrong(t, "merged row %lld of heads: lse is %.9g, exactly %.9g", (long long)r, lse, row.lse);
}

/* The bits of one call. */
static bool in_two_calls(struct trial *t) {
    sa_sequence s;
    sa_batch b = alone(t, &s);
    sa_engine_info info = {.struct_size = sizeof info};
    struct kinds_merged merged;
    sa_engine *engine = t->engines->of[t->engines->last][0];
    sa_engine_get_info(engine, &info);
    const sa_status status = kinds_split_calls(engine, &b, info.chunk_keys, &merged);
    bool right = status == SA_OK || wrong(t, "in two calls: %s", sa_last_reason());
    for (int64_t r = 0; right && merged.o && r < s.n_q * b.n_query_heads; r++) {
        const float *wanted = t->wanted.values + r * (b.d_v + 2), *got = merged.o + r * b.d_v;
        for (int c = 0; right && c < b.d_v; c++)
            right =
                same_float(got[c], wanted[c]) || wrong(t, "in two calls: row %lld of heads: o[%d] is %.9g, not %.9g",
                                                       (long long)r, c, (double)got[c], (double)wanted[c]);
        right = right && (!s.lse.data || same_float(merged.lse[r], wanted[b.d_v]) ||
                          wrong(t, "in two calls: row %lld of heads: lse is %.9g, not %.9g", (long long)r,
                                (double)merged.lse[r], (double)wanted[b.d_v]));
    }
    kinds_drop_merged(&merged);
    return right;
}

static bool in_two_parts(struct trial *t) {
    sa_sequence s;
    sa_batch b = alone(t, &s);
    struct kinds_merged merged;
    const int64_t rows = s.n_q * b.n_query_heads, step = 1 + rows / 20;
    const sa_status status = kinds_split(t->engines->of[t->engines->last][0], &b, &t->dice, &merged);
    bool right = status == SA_OK || wrong(t, "in two parts: %s", sa_last_reason());
    for (int64_t r = roll_between(&t->dice, 0, step - 1); right && merged.o && r < rows; r += step)
        right = check_merged_row(t, &b, r, &merged);
    kinds_drop_merged(&merged);
    return right;
}

/* ---------------------------------------------------------------- poison */

/* Does a row of the kv head see the key; or, of_row >= 0, does that row? Rows are token * heads + head. */
static bool is_seen(const sa_batch *b, const sa_sequence *s, int64_t of_row, int kv_head, int64_t j) {
    const int group = b->n_query_heads / b->n_kv_heads;
    if (of_row >= 0) {
        const int head = (int)(of_row % b->n_query_heads);
        return head / group == kv_head && reference_sees(b, s, of_row / b->n_query_heads, head, j);
    }
    for (int64_t i = 0; i < s->n_q; i++)
        for (int head = kv_head * group; head < (kv_head + 1) * group; head++)
            if (reference_sees(b, s, i, head, j))
                return true;
    return false;
}

static float draw_poison(struct dice *dice) {
    static const float poisons[] = {NAN, INFINITY, -INFINITY};
    return poisons[roll(dice) % 3];
}

static void poison_keys(struct trial *t, int64_t of_row) {
    const sa_batch *b = &t->batch.drawn.batch;
    for (int g = 0; g < b->n_kv_heads; g++)
        for (int64_t j = 0; j < own(t)->n_k; j++)
            if (!is_seen(b, own(t), of_row, g, j))
                drawn_poison_key(&t->batch.drawn, own(t), j, g, draw_poison(&t->dice));
}

typedef void visit_pair(struct trial *t, int64_t i, int head, int64_t j, double *kept);

static void each_pair(struct trial *t, visit_pair *visit, double *kept) {
    for (int64_t i = 0; i < own(t)->n_q; i++)
        for (int head = 0; head < t->batch.drawn.batch.n_query_heads; head++)
            for (int64_t j = 0; j < own(t)->n_k; j++)
                visit(t, i, head, j, kept++);
}

static void *bias_at(struct trial *t, int64_t i, int head, int64_t j) {
    return (void *)(uintptr_t)reference_in_grid(&own(t)->bias, t->batch.drawn.batch.bias_type, i, head, j);
}

static void keep_bias(struct trial *t, int64_t i, int head, int64_t j, double *kept) {
    const sa_batch *b = &t->batch.drawn.batch;
    const double bias = reference_bias(b, own(t), i, head, j);
    *kept = reference_sees(b, own(t), i, head, j) || bias == -HUGE_VAL ? bias : (double)NAN;
}

static void spoil_bias(struct trial *t, int64_t i, int head, int64_t j, double *kept) {
    if (isnan(*kept))
        element_store(t->batch.drawn.batch.bias_type, roll_one_in(&t->dice, 2) ? (double)NAN : HUGE_VAL,
                      bias_at(t, i, head, j));
}

/* One number may go with many pairs: those that are seen get it back. */
static void restore_bias(struct trial *t, int64_t i, int head, int64_t j, double *kept) {
    if (!isnan(*kept))
        element_store(t->batch.drawn.batch.bias_type, *kept, bias_at(t, i, head, j));
}

static void poison_bias(struct trial *t) {
    const sa_sequence *s = own(t);
    if (!s->bias.data)
        return;
    double *kept = malloc((size_t)(s->n_q * s->n_k * t->batch.drawn.batch.n_query_heads + 1) * sizeof *kept);
    each_pair(t, keep_bias, kept);
    each_pair(t, spoil_bias, kept);
    each_pair(t, restore_bias, kept);
    free(kept);
}

static bool poisoned(struct trial *t) {
    const int threads = (int)roll_between(&t->dice, 0, 1);
    const bool first =
        roll_one_in(&t->dice, 4) && is_worth(t, t->engines->first) && has_same_bits(t, t->engines->first);
    const int isa = first ? t->engines->first : t->engines->last;
    sa_engine *engine = t->engines->of[isa][threads];
    sa_sequence s;
    poison_keys(t, -1);
    poison_bias(t);
    sa_batch b = alone(t, &s);
    return same_bits(t, engine, &b, NULL, "poison where no row sees it");
}

static bool poisoned_for_one_row(struct trial *t) {
    sa_sequence s;
    const int64_t rows = own(t)->n_q * t->batch.drawn.batch.n_query_heads;
    if (rows == 0)
        return true;
    const int64_t row = roll_between(&t->dice, 0, rows - 1);
    const struct kinds_part part = {.rows_only = true, .one_row = true, .row = row};
    poison_keys(t, row);
    sa_batch b = alone(t, &s);
    return same_bits(t, t->engines->of[t->engines->last][0], &b, &part, "poison where one row does not see it");
}

/* A query of NaN spoils its row, if that sees a key, and no other. */
static bool check_spoilt(struct trial *t, const sa_batch *b, const sa_sequence *s, int64_t row) {
    const int64_t token = row / b->n_query_heads;
    const int head = (int)(row % b->n_query_heads);
    bool sees = false;
    for (int64_t j = 0; j < s->n_k; j++)
        sees = sees || reference_sees(b, s, token, head, j);
    return isnan(reference_output(b, s, token, head, 0)) == sees ||
           wrong(t, "row %lld head %d: q is NaN, o is %s", (long long)token, head, sees ? "not" : "too, of no key");
}

static bool poisoned_query(struct trial *t) {
    sa_sequence s;
    sa_batch b = alone(t, &s);
    const int64_t rows = s.n_q * b.n_query_heads, row = rows > 0 ? roll_between(&t->dice, 0, rows - 1) : -1;
    const struct kinds_part part = {.rows_only = true, .but_row = true, .row = row};
    char kept[576 * 4];
    if (row < 0)
        return true;
    void *q = (void *)(uintptr_t)reference_q(&b, &s, row / b.n_query_heads, (int)(row % b.n_query_heads));
    memcpy(kept, q, (size_t)(b.d_qk * element_bytes(b.q_type)));
    for (int c = 0; c < b.d_qk; c++)
        element_store(b.q_type, (double)NAN, (char *)q + c * element_bytes(b.q_type));
    const bool right = same_bits(t, t->engines->of[t->engines->last][0], &b, &part, "another query is NaN") &&
                       check_spoilt(t, &b, &s, row);
    memcpy(q, kept, (size_t)(b.d_qk * element_bytes(b.q_type)));
    return right;
}

/* ---------------------------------------------------------------- all of it */

void kinds_check(const struct kinds_case *c, const struct kinds_engines *engines, struct kinds_result *result) {
    struct trial t = {.c = c, .engines = engines, .dice = kinds_dice(c->seed, 600), .result = result};
    *result = (struct kinds_result){.verdict = KINDS_RIGHT};
    kinds_build(c, &t.batch);
    if (against_the_reference(&t) && everywhere(&t) && in_chunks(&t) && in_two_parts(&t) && in_two_calls(&t) &&
        poisoned(&t) && poisoned_query(&t))
        poisoned_for_one_row(&t);
    kinds_drop(&t.wanted);
    drawn_free(&t.batch.drawn);
}
