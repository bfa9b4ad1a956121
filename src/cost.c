/* SPDX-License-Identifier: MIT */
#include "cost.h"

#include <math.h>
#include <sa/sa.h>

#include "kernels/kernels.h"

/* ---------------------------------------------------------------- the models
 * Rows of perf/calibrate, in the order of sa_isa. That of AVX2 is of a core that others disturb, but for its unit,
 * which is one's that is not: see perf/README.md, as for what rows apart cost AVX-512. A tile costs something even if
 * it sees nothing: its first weight is at least 1.
 */

#define AVX512_FLOATS                                                                                                  \
    { 2.505e4, 17.37, 0, 1.94, 10.72, 27.7, 18.35, 0.4836, 0.5672, 20.95, 3.125, 0.2952, 4.4 }

static const struct sa_cost_model models[] = {
    {4.757e-9,
     1e-6,
     {false},
     {{3907, 0.2317, 0.0151, 0, 6.943, 0, 0.3448, 0.5807, 1, 0.0151, 0.1348, 1.057, 0}}},                 /* generic */
    {2.175e-11, 1e-6, {true}, {{6.6e4, 10.4, 0.8, 0, 14, 7.5, 11, 0.647, 0.8828, 12.7, 1.2, 1.28, 1.6}}}, /* avx2 */
    {1.029e-11, 1e-6, {false}, {AVX512_FLOATS}},                                                          /* avx512 */
    {1.029e-11, 1e-6, {false}, {AVX512_FLOATS}}, /* avx512_bf16: its pairs have not been timed where they are fast */
    {1.029e-11,
     1e-6,
     {false},
     {AVX512_FLOATS, /* amx_bf16 */
      {4.527e+04, 25.12, 8.953, 9, 21.5, 7.4, 0, 0, 0, 25.74, 0, 0.1993, 2.3},
      {6.216e+04, 26.56, 14.57, 17.69, 21.7, 4.291, 0, 0.1567, 0.3394, 30.79, 0, 0.6205, 2.3},
      {8.136e+04, 45.4, 0, 6.789, 52.41, 12.1, 0, 0.03703, 0.01662, 28.42, 0, 0.4753, 1.3}}},
};
enum { N_MODELS = sizeof models / sizeof models[0] };

const struct sa_cost_model *sa_cost_model_of(int isa) {
    return &models[isa >= SA_ISA_GENERIC && isa < SA_ISA_GENERIC + N_MODELS ? isa - SA_ISA_GENERIC : 0];
}

struct sa_cost_model sa_cost_model_at(const struct sa_cost_model *model, double compute, double memory) {
    static const enum sa_cost_term from_memory[] = {SA_COST_FETCH, SA_COST_FEW_READ, SA_COST_FEW_APART};
    struct sa_cost_model at = *model;
    at.unit_seconds /= compute;
    at.call_seconds /= compute;
    for (int way = 0; way < SA_N_COST_WAYS; way++)
        for (size_t i = 0; i < sizeof from_memory / sizeof from_memory[0]; i++)
            at.weight[way][from_memory[i]] *= compute / memory;
    return at;
}

enum sa_cost_way sa_cost_way_of(const struct sa_problem *problem, const struct sa_seq *seq) {
    if (sa_in_pairs(problem, seq, SA_BF16))
        return SA_AS_BF16;
    if (sa_in_pairs(problem, seq, SA_F16))
        return SA_AS_F16;
    return sa_in_bytes(problem, seq) ? SA_AS_BYTES : SA_AS_FLOATS;
}

const double *sa_cost_weights(const struct sa_cost_model *model, const struct sa_problem *problem,
                              const struct sa_seq *seq) {
    const double *weights = model->weight[sa_cost_way_of(problem, seq)];
    return weights[SA_COST_TILE] > 0 ? weights : model->weight[SA_AS_FLOATS];
}

/* ---------------------------------------------------------------- a tile, counted */

int64_t sa_seq_tiles(const struct sa_problem *problem, const struct sa_seq *seq) {
    return (sa_seq_rows(problem, seq) + SA_TILE_ROWS - 1) / SA_TILE_ROWS;
}

/* What the first and the last row of a tile see, and how many rows it has. */
struct ends {
    struct sa_span first, last;
    int64_t n_rows;
};

/* Without keys that there are not, unless sinks go so far. */
static struct sa_span without_first(struct sa_span span, int64_t first_key) {
    span.sink = span.sink > first_key ? span.sink : 0;
    span.lo = span.lo > first_key ? span.lo : first_key;
    span.hi = span.hi > span.lo ? span.hi : span.lo;
    return span;
}

static struct ends ends_of(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile) {
    const int64_t rows = sa_seq_rows(problem, seq), begin = tile * SA_TILE_ROWS, left = rows - begin;
    const int64_t n_rows = left < SA_TILE_ROWS ? left : SA_TILE_ROWS;
    const int64_t first = begin / problem->group, last = (begin + n_rows - 1) / problem->group;
    struct ends ends = {.first = sa_visible(sa_rule_of(problem, seq), seq->q_offset + first, seq->n_k),
                        .n_rows = n_rows};
    ends.last = last == first ? ends.first : sa_visible(sa_rule_of(problem, seq), seq->q_offset + last, seq->n_k);
    if (seq->first_key > 0) {
        ends.first = without_first(ends.first, seq->first_key);
        ends.last = without_first(ends.last, seq->first_key);
    }
    return ends;
}

/* Both ends of what a row sees move right with its position. */
static struct sa_span span_of(const struct ends *e) {
    int64_t sink = e->last.sink < e->first.lo ? e->last.sink : e->first.lo;
    return (struct sa_span){sink, e->first.lo, e->last.hi};
}

struct sa_span sa_tile_span(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile) {
    struct ends ends = ends_of(problem, seq, tile);
    return span_of(&ends);
}

struct sa_span sa_tile_common(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile) {
    struct ends ends = ends_of(problem, seq, tile);
    return (struct sa_span){0, ends.last.lo, ends.first.hi > ends.last.lo ? ends.first.hi : ends.last.lo};
}

/* Keys of low .. high - 1 among begin .. end - 1. */
static int64_t overlap(int64_t low, int64_t high, int64_t begin, int64_t end) {
    low = low > begin ? low : begin;
    high = high < end ? high : end;
    return high > low ? high - low : 0;
}

/* Elements of k and v that are taken to stay in a thread's part of the caches. */
#define NEAR_ELEMENTS 0x1p20

/* For a single tile what is read less makes up for it. */
static double widened(const struct sa_problem *problem, const struct sa_seq *seq, double keys) {
    if (sa_seq_tiles(problem, seq) == 1)
        return 0;
    return keys * ((seq->k.type == SA_F32 ? 0 : problem->d_qk) + (seq->v.type == SA_F32 ? 0 : problem->d_v));
}

/* Short runs, of a row or of a small page, where those of other heads lie between a head's rows. */
static bool is_apart(const struct sa_cache *cache) {
    enum { SMALL_PAGE = 32 };
    return cache->token >= 2 * (ptrdiff_t)cache->d_bytes || cache->token < 0 ||
           (cache->table && cache->page_tokens <= SMALL_PAGE);
}

/* Few rows: k and v are read once, in any type. */
static void count_few(const struct sa_problem *problem, const struct sa_seq *seq, double keys, double n_rows,
                      double terms[SA_N_COST_TERMS]) {
    const double dims = problem->d_qk + problem->d_v;
    terms[SA_COST_WEIGHT] = keys * n_rows;
    terms[SA_COST_FEW_READ] = keys * (seq->k.d_bytes + seq->v.d_bytes) / 4;
    terms[SA_COST_FEW_STREAM] = keys * dims;
    terms[SA_COST_FEW_PRODUCT] = keys * dims * n_rows;
    terms[SA_COST_FEW_APART] =
        keys * ((is_apart(&seq->k) ? problem->d_qk : 0) + (is_apart(&seq->v) ? problem->d_v : 0));
}

/* Sink keys are always handled with masks, see sa_zones_of(). A part has its share of what the tile fetches. */
static void count_terms(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile, int64_t begin,
                        int64_t end, double terms[SA_N_COST_TERMS]) {
    struct ends ends = ends_of(problem, seq, tile);
    struct sa_span span = span_of(&ends);
    int64_t all = span.sink + span.hi - span.lo, common = overlap(ends.last.lo, ends.first.hi, begin, end),
            keys = overlap(0, span.sink, begin, end) + overlap(span.lo, span.hi, begin, end);
    double lanes = (double)((ends.n_rows + SA_GROUP_ROWS - 1) / SA_GROUP_ROWS * SA_GROUP_ROWS),
           part = (double)seq->n_k / (double)sa_seq_tiles(problem, seq),
           fetched = part < (double)all ? part : (double)all, dims = problem->d_qk + problem->d_v,
           again = ((double)all - fetched) * dims, share = keys < all ? (double)keys / (double)all : 1;
    for (int i = 0; i < SA_N_COST_TERMS; i++)
        terms[i] = 0;
    terms[SA_COST_TILE] = 1;
    terms[SA_COST_ELEMENT] = lanes * dims;
    if (ends.n_rows <= SA_FEW_ROWS) {
        count_few(problem, seq, (double)keys, (double)ends.n_rows, terms);
        return;
    }
    terms[SA_COST_FETCH] = share * fetched * dims;
    terms[SA_COST_FAR] = again > NEAR_ELEMENTS ? share * (again - NEAR_ELEMENTS) : 0;
    terms[SA_COST_WEIGHT] = (double)keys * lanes;
    terms[SA_COST_STREAM] = (double)keys * dims;
    terms[SA_COST_WIDEN] = widened(problem, seq, share * fetched);
    terms[SA_COST_EDGE] = (double)(keys - common) * lanes * dims;
    terms[SA_COST_PRODUCT] = (double)common * lanes * dims;
}

void sa_tile_terms(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile,
                   double terms[SA_N_COST_TERMS]) {
    count_terms(problem, seq, tile, 0, seq->n_k, terms);
}

double sa_terms_cost(const double weights[SA_N_COST_TERMS], bool beside, const double terms[SA_N_COST_TERMS]) {
    double cost = 0;
    for (int i = 0; i < SA_COST_FEW_READ; i++)
        cost += weights[i] * terms[i];
    const double read = weights[SA_COST_FEW_READ] * terms[SA_COST_FEW_READ] +
                        weights[SA_COST_FEW_APART] * terms[SA_COST_FEW_APART],
                 work = weights[SA_COST_FEW_STREAM] * terms[SA_COST_FEW_STREAM] +
                        weights[SA_COST_FEW_PRODUCT] * terms[SA_COST_FEW_PRODUCT];
    return cost + (beside ? sqrt(read * read + work * work) : read + work);
}

double sa_part_cost(const struct sa_cost_model *model, const struct sa_problem *problem, const struct sa_seq *seq,
                    int64_t tile, int64_t begin, int64_t end) {
    const double *weights = sa_cost_weights(model, problem, seq);
    const bool own = weights != model->weight[SA_AS_FLOATS];
    double terms[SA_N_COST_TERMS];
    count_terms(problem, seq, tile, begin, end, terms);
    return sa_terms_cost(weights, model->beside[own ? sa_cost_way_of(problem, seq) : SA_AS_FLOATS], terms) *
           sa_abreast(seq);
}

double sa_tile_cost(const struct sa_cost_model *model, const struct sa_problem *problem, const struct sa_seq *seq,
                    int64_t tile) {
    return sa_part_cost(model, problem, seq, tile, 0, seq->n_k);
}
