/* SPDX-License-Identifier: MIT */
/* The planner on machines nobody here has: hwloc synthetic topologies and random ragged batches. */
#include "plan.h"

#include <math.h>
#include <sa/sa.h>
#include <stdlib.h>

#include "inside.h"
#include "kernels/kernels.h"
#include "synthetic.h"

/* ---------------------------------------------------------------- teams */

static const struct {
    const char *synthetic;
    bool spread;
    int n_threads; /* 0: one a core */
} teams[] = {
    {"pack:2 l3:8 core:12 pu:1", false, 0},  {"pack:2 l3:8 core:12 pu:1", true, 20},
    {"pack:2 l3:8 core:12 pu:1", false, 13}, {"pack:1 core:64 pu:2", false, 0},
    {"pack:1 core:1 pu:1", false, 0},        {"pack:4 l3:1 core:3 pu:2", true, 0},
    {"pack:2 l3:3 core:2 pu:1", false, 17},
};
enum { N_TEAMS = sizeof teams / sizeof teams[0] };

/* ---------------------------------------------------------------- batches */

enum { MAX_SEQS = 64 };

struct batch {
    struct sa_seq seqs[MAX_SEQS];
    struct sa_problem problem;
};

/* Rows one behind the other, heads apart; in small pages, in large ones; or those of all heads side by side. */
static void roll_cache(struct dice *dice, struct sa_cache *cache) {
    static const int32_t table[1];
    const int way = (int)(roll(dice) % 4);
    cache->d_bytes = (int)roll_between(dice, 1, 1024);
    cache->token = way == 3 ? (ptrdiff_t)roll_between(dice, 2, 8) * cache->d_bytes : cache->d_bytes;
    cache->table = way == 1 || way == 2 ? table : NULL;
    cache->page_tokens = way == 1 ? 16 : way == 2 ? 64 : 0;
}

static void roll_seq(struct dice *dice, struct sa_seq *seq, int64_t most) {
    *seq = (struct sa_seq){0};
    switch (roll(dice) % 4) {
    case 0: /* decode */
        seq->n_q = roll_between(dice, 0, 2);
        seq->n_k = roll_between(dice, 1, most);
        break;
    case 1: /* prefill */ seq->n_q = seq->n_k = roll_between(dice, 0, most); break;
    default: seq->n_q = roll_between(dice, 0, most); seq->n_k = roll_between(dice, 0, most);
    }
    seq->q_offset = roll_one_in(dice, 4) ? roll_between(dice, -most, most) : seq->n_k - seq->n_q;
    roll_cache(dice, &seq->k);
    roll_cache(dice, &seq->v);
    seq->k.type = roll_one_in(dice, 2) ? SA_F32 : SA_F16;
    seq->v.type = roll_one_in(dice, 2) ? SA_F32 : SA_I8;
}

static void roll_batch(struct dice *dice, struct batch *batch, int64_t most) {
    static const int group_sizes[] = {1, 1, 2, 3, 4, 5, 7, 8, 16, 71};
    struct sa_rule rule = {SA_UNLIMITED, roll_one_in(dice, 2) ? 0 : SA_UNLIMITED, 0};
    if (roll_one_in(dice, 3)) {
        rule.left = roll_between(dice, 0, most);
        rule.sink = roll_between(dice, 0, 8);
    }
    batch->problem = (struct sa_problem){.n_seqs = roll_between(dice, 0, roll_one_in(dice, 2) ? MAX_SEQS : 3),
                                         .seqs = batch->seqs,
                                         .n_kv_heads = (int)roll_between(dice, 1, 12),
                                         .group = group_sizes[roll(dice) % 10],
                                         .d_qk = (int)roll_between(dice, 1, 256),
                                         .d_v = (int)roll_between(dice, 1, 256),
                                         .rule = rule};
    for (int64_t i = 0; i < batch->problem.n_seqs; i++) {
        roll_seq(dice, &batch->seqs[i], most);
        batch->seqs[i].beside = roll_beside(dice, batch->problem.n_kv_heads);
    }
}

/* ---------------------------------------------------------------- costs */

static int64_t keys_by_hand(const struct sa_problem *problem, const struct sa_seq *seq, int64_t first, int64_t last) {
    int64_t n = 0;
    for (int64_t key = 0; key < seq->n_k; key++) {
        bool any = false;
        for (int64_t row = first; row <= last && !any; row++) {
            struct sa_span s = sa_visible(&problem->rule, seq->q_offset + row / problem->group, seq->n_k);
            any = key < s.sink || (s.lo <= key && key < s.hi);
        }
        n += any;
    }
    return n;
}

/* Keys that every row of a tile sees. */
static int64_t common_by_hand(const struct sa_problem *problem, const struct sa_seq *seq, int64_t first, int64_t last) {
    int64_t n = 0;
    for (int64_t key = 0; key < seq->n_k; key++) {
        bool all = true;
        for (int64_t row = first; row <= last && all; row++) {
            struct sa_span s = sa_visible(&problem->rule, seq->q_offset + row / problem->group, seq->n_k);
            all = s.lo <= key && key < s.hi;
        }
        n += all;
    }
    return n;
}

/* As test_plan's sequences are rolled: see roll_cache(). */
static bool stands_apart(const struct sa_cache *cache) {
    return cache->token > cache->d_bytes || cache->page_tokens == 16;
}

static void check_terms(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile) {
    double terms[SA_N_COST_TERMS], sum = 0;
    int64_t left = sa_seq_rows(problem, seq) - tile * 64, n = left < 64 ? left : 64, last = tile * 64 + n - 1;
    double lanes = (double)((n + 15) / 16 * 16), dims = problem->d_qk + problem->d_v;
    double keys = (double)keys_by_hand(problem, seq, tile * 64, last),
           common = (double)common_by_hand(problem, seq, tile * 64, last);
    sa_tile_terms(problem, seq, tile, terms);
    const bool few = n <= 8;
    const double part = (double)seq->n_k / (double)sa_seq_tiles(problem, seq), bytes = seq->k.d_bytes + seq->v.d_bytes;
    const double by_hand[SA_N_COST_TERMS] = {
        [SA_COST_TILE] = 1,
        [SA_COST_ELEMENT] = lanes * dims,
        [SA_COST_FETCH] = few ? 0 : fmin(part, keys) * dims,
        [SA_COST_FAR] = few ? 0 : fmax(0, (keys - fmin(part, keys)) * dims - (1 << 20)),
        [SA_COST_WEIGHT] = keys * (few ? (double)n : lanes),
        [SA_COST_STREAM] = few ? 0 : keys * dims,
        [SA_COST_WIDEN] = few || sa_seq_rows(problem, seq) <= 64
                              ? 0
                              : fmin(part, keys) * ((seq->k.type == SA_F32 ? 0 : problem->d_qk) +
                                                    (seq->v.type == SA_F32 ? 0 : problem->d_v)),
        [SA_COST_EDGE] = few ? 0 : (keys - common) * lanes * dims,
        [SA_COST_PRODUCT] = few ? 0 : common * lanes * dims,
        [SA_COST_FEW_READ] = few ? keys * bytes / 4 : 0,
        [SA_COST_FEW_STREAM] = few ? keys * dims : 0,
        [SA_COST_FEW_PRODUCT] = few ? keys * (double)n * dims : 0,
        [SA_COST_FEW_APART] =
            few ? keys * ((stands_apart(&seq->k) ? problem->d_qk : 0) + (stands_apart(&seq->v) ? problem->d_v : 0)) : 0,
    };
    for (int i = 0; i < SA_N_COST_TERMS; i++)
        ck_assert_double_eq_tol(terms[i], by_hand[i], 1e-6);
    const double *w = test_model()->weight[SA_AS_FLOATS];
    for (int i = 0; i < SA_COST_FEW_READ; i++)
        sum += terms[i] * w[i];
    sum +=
        hypot(terms[SA_COST_FEW_READ] * w[SA_COST_FEW_READ] + terms[SA_COST_FEW_APART] * w[SA_COST_FEW_APART],
              terms[SA_COST_FEW_STREAM] * w[SA_COST_FEW_STREAM] + terms[SA_COST_FEW_PRODUCT] * w[SA_COST_FEW_PRODUCT]);
    sum *= sa_abreast(seq);
    ck_assert_double_eq_tol(sa_tile_cost(test_model(), problem, seq, tile), sum, 1e-9 * sum);
    ck_assert(sum > 0);
}

START_TEST(a_tile_costs_what_it_goes_through) {
    struct dice dice = {1};
    struct batch batch;
    for (int i = 0; i < 100; i++) {
        roll_batch(&dice, &batch, 300);
        const struct sa_problem *problem = &batch.problem;
        for (int64_t s = 0; s < problem->n_seqs; s++) {
            int64_t rows = sa_seq_rows(problem, &batch.seqs[s]), n_tiles = sa_seq_tiles(problem, &batch.seqs[s]);
            ck_assert_int_eq(n_tiles, (rows + 63) / 64);
            if (n_tiles > 0)
                check_terms(problem, &batch.seqs[s], roll_between(&dice, 0, n_tiles - 1));
        }
    }
}
END_TEST

/* No tile costs nothing; a way that kernels do not have has no weights at all. */
static void check_weights(const double *weights, bool must_be) {
    const bool is = weights[SA_COST_TILE] != 0;
    ck_assert(is || !must_be);
    ck_assert(!is || weights[SA_COST_TILE] >= 1);
    for (int i = 0; i < SA_N_COST_TERMS; i++)
        ck_assert(is ? weights[i] >= 0 : weights[i] == 0);
}

START_TEST(every_kernel_has_a_model) {
    for (int isa = -1; isa < 10; isa++) {
        const struct sa_cost_model *model = sa_cost_model_of(isa);
        ck_assert(model && model->unit_seconds > 0 && model->call_seconds >= 0);
        const double *floats = model->weight[SA_AS_FLOATS];
        for (int w = 0; w < SA_N_COST_WAYS; w++)
            check_weights(model->weight[w], w == SA_AS_FLOATS);
        ck_assert(fabs(floats[SA_COST_PRODUCT] + floats[SA_COST_STREAM] / 64 - 1) < 1e-3); /* the unit */
    }
    ck_assert(sa_cost_model_of(SA_ISA_AVX2) != sa_cost_model_of(SA_ISA_AVX512));
    ck_assert(sa_cost_model_of(99) == sa_cost_model_of(SA_ISA_GENERIC));
}
END_TEST

/* A tile of 64 rows and 256 keys, and where a way of multiplying has weights of its own, what it costs in those. */
START_TEST(a_tile_costs_what_its_types_are_multiplied_as) {
    const struct sa_cost_model *amx = sa_cost_model_of(SA_ISA_AMX_BF16), *plain = sa_cost_model_of(SA_ISA_AVX512);
    struct sa_seq seq = {.n_q = 64, .n_k = 256};
    struct sa_problem problem = {.n_seqs = 1,
                                 .seqs = &seq,
                                 .n_kv_heads = 1,
                                 .group = 1,
                                 .d_qk = 64,
                                 .d_v = 64,
                                 .rule = {SA_UNLIMITED, SA_UNLIMITED, 0}};
    static const struct {
        int q, kv;
        bool f16_pairs;
        enum sa_cost_way way;
    } as[] = {{SA_F32, SA_F32, true, SA_AS_FLOATS},  {SA_BF16, SA_BF16, false, SA_AS_BF16},
              {SA_F16, SA_F16, false, SA_AS_FLOATS}, {SA_F16, SA_F16, true, SA_AS_F16},
              {SA_F32, SA_BF16, true, SA_AS_FLOATS}, {SA_F32, SA_I8, false, SA_AS_BYTES}};
    for (size_t i = 0; i < sizeof as / sizeof as[0]; i++) {
        problem.q_type = as[i].q;
        problem.f16_pairs = as[i].f16_pairs;
        seq.k.type = seq.v.type = as[i].kv;
        ck_assert(sa_cost_weights(amx, &problem, &seq) == amx->weight[as[i].way]);
        ck_assert(sa_cost_weights(plain, &problem, &seq) == plain->weight[SA_AS_FLOATS]);
        const double cost = sa_tile_cost(amx, &problem, &seq, 0), floats = sa_tile_cost(plain, &problem, &seq, 0);
        ck_assert(as[i].way == SA_AS_FLOATS ? cost == floats : cost < floats);
        ck_assert_double_eq_tol(
            sa_part_cost(amx, &problem, &seq, 0, 0, 128) + sa_part_cost(amx, &problem, &seq, 0, 128, 256),
            cost + amx->weight[as[i].way][SA_COST_TILE] + amx->weight[as[i].way][SA_COST_ELEMENT] * 64 * 128,
            1e-9 * cost);
    }
}
END_TEST

/* ---------------------------------------------------------------- every item once, in the right place and order */

static int64_t head_items(const struct sa_plan *plan, const struct sa_problem *problem, int32_t seq) {
    int64_t n_tiles = sa_seq_tiles(problem, &problem->seqs[seq]);
    return n_tiles + sa_splits_parts_before(&plan->splits, seq, n_tiles);
}

/* Where an item stands in the list of all, (sequence, kv head, tile, part) counted up. */
static int64_t number_of(const struct sa_plan *plan, const struct sa_problem *problem, const int64_t first_of_seq[],
                         struct sa_item item) {
    const int head = item.kv_head / sa_abreast(&problem->seqs[item.seq]);
    return first_of_seq[item.seq] + head * head_items(plan, problem, item.seq) + item.tile +
           sa_splits_parts_before(&plan->splits, item.seq, item.tile) + item.part;
}

static int64_t count_items(const struct sa_plan *plan, const struct sa_problem *problem,
                           int64_t first_of_seq[MAX_SEQS]) {
    int64_t n = 0;
    for (int32_t i = 0; i < problem->n_seqs; i++) {
        first_of_seq[i] = n;
        n += head_items(plan, problem, i) * problem->n_kv_heads / sa_abreast(&problem->seqs[i]);
    }
    return n;
}

static void check_item(const struct sa_plan *plan, const struct sa_problem *problem, struct sa_item item) {
    const struct sa_split *split = sa_splits_find(&plan->splits, item.seq, item.tile);
    must(split ? split == &plan->splits.at[item.split] : item.split == SA_WHOLE, "split %d", item.split);
    must(item.part >= 0 && item.part < (split ? split->n_parts : 1), "part %d", item.part);
    must(item.seq >= 0 && item.seq < problem->n_seqs, "sequence %d", item.seq);
    must(item.kv_head >= 0 && item.kv_head < problem->n_kv_heads &&
             item.kv_head % sa_abreast(&problem->seqs[item.seq]) == 0,
         "kv head %d", item.kv_head);
    must(item.tile >= 0 && item.tile < sa_seq_tiles(problem, &problem->seqs[item.seq]), "tile %lld",
         (long long)item.tile);
}

/* Four cost classes a power of two, and what is near the border of two may be in either. */
#define ABOUT_THE_SAME (1.25 * 1.25)

/* Where kv heads stay whole, each goes from its last tile to its first, and nobody waits for long in the end: item i is
 * taken when at most the items before it are done, so it is late by its cost less what all threads do from then on. */
static void check_heads(const struct sa_plan *plan, const struct sa_problem *problem, double n_threads) {
    double left = 0;
    for (int64_t i = plan->n_items; i-- > 0;) {
        const struct sa_item item = sa_plan_item(plan, 0, i),
                             next = sa_plan_item(plan, 0, i + 1 < plan->n_items ? i + 1 : i);
        const double its = item_cost(plan, problem, item);
        left += its;
        must(its - left / n_threads <= 0.0101 * plan->cost / n_threads, "item %lld is late", (long long)i);
        must(i + 1 == plan->n_items || item.seq != next.seq || item.kv_head != next.kv_head ||
                 item.tile == next.tile + 1,
             "item %lld: head %d", (long long)i, item.kv_head);
    }
}

/* A domain: none of its items comes twice or, but where kv heads stay whole, is clearly costlier than one before it.
 * Returns its cost. */
static double check_domain(const struct sa_plan *plan, int domain, const struct sa_problem *problem,
                           const int64_t first_of_seq[], int16_t *owner) {
    double cost = 0, least = HUGE_VAL;
    int64_t n = plan->domains[domain].n_items;
    for (int64_t i = 0; i < n; i++) {
        struct sa_item item = sa_plan_item(plan, domain, i);
        check_item(plan, problem, item);
        int64_t number = number_of(plan, problem, first_of_seq, item);
        must(owner[number] == 0, "item %lld of domain %d comes twice", (long long)i, domain);
        owner[number] = (int16_t)(domain + 1);
        double its = item_cost(plan, problem, item);
        must(plan->by_heads || its <= ABOUT_THE_SAME * least, "item %lld of domain %d costs %g after %g", (long long)i,
             domain, its, least);
        least = its < least ? its : least;
        cost += its;
    }
    ck_assert(fabs(plan->domains[domain].cost - cost) <= 1e-9 * plan->cost);
    return cost;
}

/* Kv heads, or several that go abreast, whose items are not all in one domain. */
static int count_divided(const struct sa_plan *plan, const struct sa_problem *problem, const int16_t *owner) {
    int n = 0;
    for (int32_t i = 0; i < problem->n_seqs; i++) {
        int64_t n_items = head_items(plan, problem, i);
        for (int head = 0; head < problem->n_kv_heads; head += sa_abreast(&problem->seqs[i]), owner += n_items) {
            bool divided = false;
            for (int64_t item = 1; item < n_items; item++)
                divided = divided || owner[item] != owner[0];
            n += divided;
        }
    }
    return n;
}

/* Seven bands of item sizes are shared out one after the other, each with a border between any two domains. */
static void check_plan(const struct sa_plan *plan, const struct sa_problem *problem, const struct sa_team_shape *team) {
    int64_t first_of_seq[MAX_SEQS], n_items = count_items(plan, problem, first_of_seq), n_met = 0;
    int16_t *owner = calloc((size_t)n_items + 1, sizeof *owner);
    double cost = 0, largest = plan->largest, off = plan->splits.n ? 2 * largest : largest;
    ck_assert_int_eq(plan->n_domains, team->n_domains);
    ck_assert_int_eq(plan->n_items, n_items);
    for (int domain = 0; domain < plan->n_domains; domain++) {
        double its = check_domain(plan, domain, problem, first_of_seq, owner);
        double share = plan->cost * team->domain_threads[domain] / team->n_threads;
        must(fabs(its - share) <= off * (1 + 1e-9) + 1e-9 * plan->cost, "domain %d has %g, its share is %g, an item %g",
             domain, its, share, largest);
        cost += its;
        n_met += plan->domains[domain].n_items;
    }
    ck_assert_int_eq(n_met, n_items); /* none twice: each once */
    ck_assert(!plan->by_heads || plan->n_domains == 1);
    if (plan->by_heads)
        check_heads(plan, problem, team->n_threads);
    ck_assert(cost >= plan->cost * (1 - 1e-9) && cost <= plan->cost * (1 + 1e-9));
    ck_assert_int_le(count_divided(plan, problem, owner), 7 * (team->n_domains - 1));
    free(owner);
}

START_TEST(every_item_comes_once_and_in_order) {
    struct dice dice = {(uint64_t)_i}, sizes = {(uint64_t)_i};
    struct batch batch;
    struct team team;
    struct sa_plan plan = {0};
    int64_t n_splits = 0;
    seat(&team, teams[_i].synthetic, teams[_i].spread, teams[_i].n_threads);
    for (int i = 0; i < 60; i++) {
        roll_batch(&dice, &batch, i % 6 == 0 ? 20000 : 500);
        team.shape.part_cost = i % 4 == 0 ? 1e5 * (double)roll_between(&sizes, 1, 1000) : 0;
        ck_assert(sa_plan_make(&plan, &batch.problem, &team.shape));
        check_plan(&plan, &batch.problem, &team.shape);
        n_splits += plan.splits.n;
    }
    ck_assert_int_gt(n_splits, 100);
    sa_plan_free(&plan);
}
END_TEST

/* A causal batch of two sequences. Are its heads whole? -1: it was split. */
static int are_heads_whole(int n_threads, int64_t n, int n_turned) {
    static const struct sa_rule causal = {SA_UNLIMITED, 0, 0};
    struct batch batch = {.problem = {.n_seqs = 2, .n_kv_heads = 8, .group = 1, .d_qk = 64, .d_v = 64, .rule = causal}};
    struct team team;
    struct sa_plan plan = {0};
    seat(&team, "pack:1 l3:1 core:64 pu:1", false, n_threads);
    batch.problem.seqs = batch.seqs;
    batch.problem.n_turned = n_turned;
    for (int i = 0; i < 2; i++)
        batch.seqs[i] = (struct sa_seq){.n_q = n, .n_k = n, .k.d_bytes = 256, .v.d_bytes = 256};
    ck_assert(sa_plan_make(&plan, &batch.problem, &team.shape));
    check_plan(&plan, &batch.problem, &team.shape);
    const int whole = plan.splits.n > 0 ? -1 : plan.by_heads;
    sa_plan_free(&plan);
    return whole;
}

/* Few threads go on with the keys that they have had; of many some would wait for the last head. */
START_TEST(heads_stay_whole_for_few_threads) {
    int n_late = 0;
    for (int n = 1; n <= 64; n *= 2) {
        const int whole = are_heads_whole(n, 2048, 0);
        must(whole < 0 || whole == (n <= 8), "%d threads", n);
        for (int64_t tokens = 192; tokens <= 1536; tokens *= 2)
            n_late += are_heads_whole(n, tokens, 1) == 0; /* they may, but for what they would wait */
    }
    ck_assert_int_ge(n_late, 3);
    ck_assert(are_heads_whole(1, 128, 0) == 0 && are_heads_whole(1, 128, 1) == 1); /* two tiles a head */
}
END_TEST

START_TEST(nothing_to_do_is_a_plan) {
    struct batch batch = {.problem = {.n_kv_heads = 3, .group = 2, .d_qk = 8, .d_v = 8}};
    struct team team;
    struct sa_plan plan = {0};
    seat(&team, teams[0].synthetic, false, 0);
    batch.problem.seqs = batch.seqs;
    for (batch.problem.n_seqs = 0; batch.problem.n_seqs < 5; batch.problem.n_seqs++) {
        batch.seqs[batch.problem.n_seqs] = (struct sa_seq){.n_k = 1000}; /* n_q = 0 */
        ck_assert(sa_plan_make(&plan, &batch.problem, &team.shape));
        check_plan(&plan, &batch.problem, &team.shape);
        ck_assert_int_eq(plan.n_runs, 0);
    }
    batch.problem.n_seqs = 5;
    batch.seqs[3] = (struct sa_seq){.n_q = 1}; /* n_k = 0: its row still has to be written */
    ck_assert(sa_plan_make(&plan, &batch.problem, &team.shape));
    check_plan(&plan, &batch.problem, &team.shape);
    ck_assert_int_eq(plan.n_items, 3);
    sa_plan_free(&plan);
}
END_TEST

/* ---------------------------------------------------------------- size and reuse */

static double smallest_tile(const struct sa_problem *problem) {
    double smallest = HUGE_VAL;
    for (int64_t tile = 0; tile < sa_seq_tiles(problem, &problem->seqs[0]); tile++) {
        double cost = sa_tile_cost(test_model(), problem, &problem->seqs[0], tile);
        smallest = cost < smallest ? cost : smallest;
    }
    return smallest;
}

/* A single sequence of n tokens. */
static void one_sequence(struct batch *batch, int64_t n, int group, struct sa_rule rule) {
    *batch = (struct batch){.seqs = {{.n_q = n, .n_k = n}}};
    batch->problem = (struct sa_problem){
        .n_seqs = 1, .seqs = batch->seqs, .n_kv_heads = 3, .group = group, .d_qk = 64, .d_v = 64, .rule = rule};
}

/* The header: the plan grows with the number of sequences, not with their lengths. A piece is what a domain has of a
 * head, or of several whole heads; going through its tiles, costs rise and fall at most once, four classes a power of
 * two, and the last tile may have fewer lanes. A tile that is split has a run for its parts at the begin, those in the
 * middle and those at the end of what it sees; no more tiles are split than a team needs. */
static void check_size(const struct team *team, int group, struct sa_rule rule) {
    struct sa_plan plan = {0};
    struct batch batch;
    for (int64_t n = 1 << 8; n <= 1 << 16; n *= 16) {
        one_sequence(&batch, n, group, rule);
        ck_assert(sa_plan_make(&plan, &batch.problem, &team->shape));
        int64_t classes = (int64_t)(4 * log2(largest_tile(&batch.problem) / smallest_tile(&batch.problem))) + 2;
        int64_t pieces = 3 * team->shape.n_domains;
        int64_t most = pieces * (2 * classes + 1) + 3 * 4 * plan.splits.n;
        must(plan.splits.n <= 16 * team->shape.n_threads, "%lld tiles are split", (long long)plan.splits.n);
        must(plan.n_runs <= most, "%lld tokens, %d heads a kv head, left %lld right %lld: %lld runs, expected %lld",
             (long long)n, group, (long long)rule.left, (long long)rule.right, (long long)plan.n_runs, (long long)most);
    }
    sa_plan_free(&plan);
}

START_TEST(a_plan_does_not_grow_with_n) {
    static const struct sa_rule rules[] = {
        {SA_UNLIMITED, SA_UNLIMITED, 0}, {SA_UNLIMITED, 0, 0}, {4095, 0, 4}, {100, 100, 0}};
    for (int i = 0; i < N_TEAMS; i++) {
        struct team team;
        seat(&team, teams[i].synthetic, teams[i].spread, teams[i].n_threads);
        for (int group = 1; group <= 9; group++)
            for (int rule = 0; rule < 4; rule++)
                check_size(&team, group, rules[rule]);
    }
}
END_TEST

/* Tiles of a window see one key more or less where query heads do not divide a tile: some window of these lies on the
 * border of two cost classes. */
START_TEST(a_plan_does_not_grow_with_n_at_any_window) {
    struct team one;
    seat(&one, "pack:1 core:1 pu:1", false, 0);
    for (int group = 1; group <= 9; group++)
        for (int64_t left = 60; left <= 188; left++)
            check_size(&one, group, (struct sa_rule){left, 0, 0});
}
END_TEST

static void check_same_plan(const struct sa_plan *a, const struct sa_plan *b) {
    ck_assert_int_eq(a->n_items, b->n_items);
    ck_assert_int_eq(a->n_domains, b->n_domains);
    for (int domain = 0; domain < a->n_domains; domain++) {
        ck_assert_int_eq(a->domains[domain].n_items, b->domains[domain].n_items);
        for (int64_t i = 0; i < a->domains[domain].n_items; i++) {
            struct sa_item x = sa_plan_item(a, domain, i), y = sa_plan_item(b, domain, i);
            must(memcmp(&x, &y, sizeof x) == 0, "item %lld of domain %d", (long long)i, domain);
        }
    }
}

START_TEST(a_used_plan_is_as_good_as_a_new_one) {
    struct dice dice = {77};
    struct batch batch;
    struct sa_plan used = {0};
    for (int i = 0; i < 60; i++) {
        struct team team;
        int t = (int)(roll(&dice) % N_TEAMS);
        seat(&team, teams[t].synthetic, teams[t].spread, teams[t].n_threads);
        roll_batch(&dice, &batch, 1000);
        struct sa_plan fresh = {0};
        ck_assert(sa_plan_make(&used, &batch.problem, &team.shape));
        ck_assert(sa_plan_make(&fresh, &batch.problem, &team.shape));
        check_same_plan(&used, &fresh);
        const void *runs = used.runs, *domains = used.domains;
        ck_assert(sa_plan_make(&used, &batch.problem, &team.shape));
        ck_assert(used.runs == runs && used.domains == domains); /* nothing was allocated */
        check_same_plan(&used, &fresh);
        sa_plan_free(&fresh);
    }
    sa_plan_free(&used);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan");
    tcase_add_test(add_case(suite, "cost"), a_tile_costs_what_it_goes_through);
    tcase_add_test(add_case(suite, "types"), a_tile_costs_what_its_types_are_multiplied_as);
    tcase_add_test(add_case(suite, "models"), every_kernel_has_a_model);
    TCase *items = add_case(suite, "items");
    tcase_add_loop_test(items, every_item_comes_once_and_in_order, 0, N_TEAMS);
    tcase_add_test(items, heads_stay_whole_for_few_threads);
    tcase_add_test(items, nothing_to_do_is_a_plan);
    TCase *size = add_case(suite, "size");
    tcase_add_test(size, a_plan_does_not_grow_with_n);
    tcase_add_test(size, a_plan_does_not_grow_with_n_at_any_window);
    tcase_add_test(size, a_used_plan_is_as_good_as_a_new_one);
    return run_suite(suite);
}
