/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include "kernels/kernels.h"

int64_t sa_seq_tiles(const struct sa_problem *problem, const struct sa_seq *seq) {
    return (sa_seq_rows(problem, seq) + SA_TILE_ROWS - 1) / SA_TILE_ROWS;
}

/* Packing, the final transpose and the first block cost about as much as 24 more keys. */
enum { FIXED_KEYS = 24 };

double sa_tile_cost(const struct sa_problem *problem, const struct sa_seq *seq, int64_t tile) {
    int64_t rows = sa_seq_rows(problem, seq), first = tile * SA_TILE_ROWS, last = first + SA_TILE_ROWS - 1;
    last = last < rows ? last : rows - 1;
    int64_t keys = sa_visible_union(&problem->rule, seq->q_offset + first / problem->group,
                                    seq->q_offset + last / problem->group, seq->n_k);
    int64_t lanes = (last - first + SA_GROUP_ROWS) / SA_GROUP_ROWS * SA_GROUP_ROWS;
    return (double)(keys + FIXED_KEYS) * (double)lanes * (problem->d_qk + problem->d_v);
}

/* Costs within a quarter of an octave count as equal: four classes a power of two. */
static int cost_class(double cost) {
    uint64_t x = cost < 4 ? 4 : (uint64_t)cost;
    int exponent = 63 - __builtin_clzll(x);
    return 4 * exponent + (int)(x >> (exponent - 2) & 3);
}

/* ---------------------------------------------------------------- runs */

static bool add_run(struct sa_plan *plan, struct sa_run run) {
    size_t used = (size_t)plan->n_runs * sizeof run;
    if (!sa_buffer_extend(&plan->run_buffer, used, used + sizeof run))
        return false;
    plan->runs = plan->run_buffer.data;
    plan->runs[plan->n_runs++] = run;
    return true;
}

/* Costs that waver about the border of two classes would make a run of every tile: a run keeps its class until the cost
 * has left it by a tenth. */
static bool left_class(double cost, int class) {
    return cost_class(cost * 1.1) < class || cost_class(cost / 1.1) > class;
}

/* Cuts a piece (some tiles of some heads of one sequence, in one domain) where the cost class changes. */
static bool add_piece(struct sa_plan *plan, const struct sa_problem *problem, struct sa_run piece) {
    const struct sa_seq *seq = &problem->seqs[piece.seq];
    struct sa_run run = piece;
    for (int64_t tile = piece.tile_begin; tile < piece.tile_end; tile++) {
        double cost = sa_tile_cost(problem, seq, tile);
        if (tile > piece.tile_begin && !left_class(cost, run.cost_class))
            continue;
        run.tile_end = tile;
        if (tile > piece.tile_begin && !add_run(plan, run))
            return false;
        run.tile_begin = tile;
        run.cost_class = (int16_t)cost_class(cost);
    }
    run.tile_end = piece.tile_end;
    return run.tile_begin == run.tile_end || add_run(plan, run);
}

/* ---------------------------------------------------------------- domains */

/* Walks the (sequence, kv head, tile) list and moves on to the next domain whenever it has its share of the cost. */
struct cut {
    struct sa_plan *plan;
    const struct sa_problem *problem;
    const struct sa_team_shape *team;
    double reached, share_end; /* cost handed out so far; where the current domain's share ends */
    int domain, threads_before;
};

static void next_share(struct cut *cut) {
    while (cut->domain + 1 < cut->team->n_domains && cut->reached >= cut->share_end) {
        cut->domain++;
        cut->threads_before += cut->team->domain_threads[cut->domain];
        cut->share_end = cut->plan->cost * cut->threads_before / cut->team->n_threads;
    }
}

static bool is_last_domain(const struct cut *cut) { return cut->domain + 1 == cut->team->n_domains; }

/* One kv head that crosses the end of a share: its tiles are dealt out one by one. */
static bool cut_head(struct cut *cut, int32_t seq, int32_t head, int64_t n_tiles) {
    const struct sa_seq *s = &cut->problem->seqs[seq];
    int64_t tile = 0;
    while (tile < n_tiles) {
        struct sa_run piece = {0, tile, tile, seq, head, 1, 0, 0};
        next_share(cut);
        piece.domain = (int16_t)cut->domain;
        do
            cut->reached += sa_tile_cost(cut->problem, s, piece.tile_end++);
        while (piece.tile_end < n_tiles && (is_last_domain(cut) || cut->reached < cut->share_end));
        if (!add_piece(cut->plan, cut->problem, piece))
            return false;
        tile = piece.tile_end;
    }
    return true;
}

static bool cut_seq(struct cut *cut, int32_t seq, double head_cost) {
    int64_t n_tiles = sa_seq_tiles(cut->problem, &cut->problem->seqs[seq]);
    for (int32_t head = 0; head < cut->problem->n_kv_heads;) {
        next_share(cut);
        int32_t left = cut->problem->n_kv_heads - head, fit = left;
        if (!is_last_domain(cut)) {
            double room = (cut->share_end - cut->reached) / head_cost;
            fit = room < left ? (int32_t)room : left;
        }
        struct sa_run piece = {0, 0, n_tiles, seq, head, fit, (int16_t)cut->domain, 0};
        if (fit > 0 ? !add_piece(cut->plan, cut->problem, piece) : !cut_head(cut, seq, head, n_tiles))
            return false;
        cut->reached += fit * head_cost;
        head += fit > 0 ? fit : 1;
    }
    return true;
}

static double head_cost(const struct sa_problem *problem, const struct sa_seq *seq) {
    double cost = 0;
    int64_t n_tiles = sa_seq_tiles(problem, seq);
    for (int64_t tile = 0; tile < n_tiles; tile++)
        cost += sa_tile_cost(problem, seq, tile);
    return cost;
}

/* ---------------------------------------------------------------- order */

static bool before(const struct sa_run *a, const struct sa_run *b) {
    if (a->domain != b->domain)
        return a->domain < b->domain;
    if (a->cost_class != b->cost_class)
        return a->cost_class > b->cost_class;
    return a->seq != b->seq ? a->seq < b->seq : a->head_begin < b->head_begin;
}

static void sift_down(struct sa_run *runs, int64_t at, int64_t n) {
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(&runs[child], &runs[child + 1]))
            child++;
        if (!before(&runs[at], &runs[child]))
            return;
        struct sa_run t = runs[at];
        runs[at] = runs[child];
        runs[child] = t;
    }
}

/* Heapsort: the C library's qsort() may allocate. */
static void sort_runs(struct sa_run *runs, int64_t n) {
    for (int64_t i = n / 2; i-- > 0;)
        sift_down(runs, i, n);
    for (int64_t end = n; end-- > 1;) {
        struct sa_run t = runs[0];
        runs[0] = runs[end];
        runs[end] = t;
        sift_down(runs, 0, end);
    }
}

static int64_t run_items(const struct sa_run *run) { return (run->tile_end - run->tile_begin) * run->n_heads; }

static void index_runs(struct sa_plan *plan) {
    for (int d = 0; d < plan->n_domains; d++)
        plan->domains[d] = (struct sa_domain_list){0, 0, 0};
    for (int64_t i = 0; i < plan->n_runs; i++) {
        struct sa_run *run = &plan->runs[i];
        struct sa_domain_list *list = &plan->domains[run->domain];
        if (list->n_runs++ == 0)
            list->first_run = i;
        run->first_item = list->n_items;
        list->n_items += run_items(run);
        plan->n_items += run_items(run);
    }
}

/* ---------------------------------------------------------------- the plan */

static bool cut_all(struct sa_plan *plan, const struct sa_problem *problem, const struct sa_team_shape *team) {
    struct cut cut = {.plan = plan, .problem = problem, .team = team, .threads_before = team->domain_threads[0]};
    for (int64_t i = 0; i < problem->n_seqs; i++)
        plan->cost += head_cost(problem, &problem->seqs[i]) * problem->n_kv_heads;
    cut.share_end = plan->cost * cut.threads_before / team->n_threads;
    for (int64_t i = 0; i < problem->n_seqs; i++) {
        /* In one domain the costs of the heads need not be known one by one. */
        double cost = team->n_domains > 1 ? head_cost(problem, &problem->seqs[i]) : 0;
        if (problem->seqs[i].n_q > 0 && !cut_seq(&cut, (int32_t)i, cost))
            return false;
    }
    return true;
}

bool sa_plan_make(struct sa_plan *plan, const struct sa_problem *problem, const struct sa_team_shape *team) {
    plan->n_runs = plan->n_items = 0;
    plan->cost = 0;
    plan->n_domains = team->n_domains;
    if (!sa_buffer_reserve(&plan->domain_buffer, (size_t)team->n_domains * sizeof *plan->domains))
        return false;
    plan->domains = plan->domain_buffer.data;
    if (!cut_all(plan, problem, team))
        return false;
    sort_runs(plan->runs, plan->n_runs);
    index_runs(plan);
    return true;
}

static const struct sa_run *run_of(const struct sa_plan *plan, int domain, int64_t index) {
    const struct sa_run *runs = plan->runs + plan->domains[domain].first_run;
    int64_t low = 0, high = plan->domains[domain].n_runs;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        *(runs[middle].first_item <= index ? &low : &high) = middle;
    }
    return &runs[low];
}

/* Head by head, so that neighbours in the queue share K and V; the last tile first, since under causality it is the
 * longest. */
struct sa_item sa_plan_item(const struct sa_plan *plan, int domain, int64_t index) {
    const struct sa_run *run = run_of(plan, domain, index);
    int64_t n_tiles = run->tile_end - run->tile_begin, i = index - run->first_item;
    return (struct sa_item){run->seq, run->head_begin + (int32_t)(i / n_tiles), run->tile_end - 1 - i % n_tiles};
}

void sa_plan_free(struct sa_plan *plan) {
    sa_buffer_free(&plan->run_buffer);
    sa_buffer_free(&plan->domain_buffer);
}
