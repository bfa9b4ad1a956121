/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include <math.h>

/* Sequences are shared out in bands of a factor of 2 in the size of their tiles, the first ones being larger than half
 * of the time that the whole batch takes, the last ones too small to matter. */
enum { N_BANDS = 7 };

/* Costs within a quarter of an octave count as equal: four classes a power of two. */
static int cost_class(double cost) {
    uint64_t x = cost < 4 ? 4 : (uint64_t)cost;
    int exponent = 63 - __builtin_clzll(x);
    return 4 * exponent + (int)(x >> (exponent - 2) & 3);
}

/* Walks the (sequence, kv head, tile) list and moves on to the next domain whenever it has its share of the cost. */
struct cut {
    struct sa_plan *plan;
    const struct sa_problem *problem;
    const struct sa_team_shape *team;
    double cost, all_speeds;   /* to be shared out, by speed */
    double speeds, before;     /* of the domains up to the current one: speeds, cost they had before this walk */
    double reached, share_end; /* cost handed out so far; where the current domain's share ends */
    double filling;            /* what the least domain gets in the next walk, which evens this one out */
    int domain;
};

static double tile_cost(const struct cut *cut, int32_t seq, int64_t tile) {
    return sa_tile_cost(cut->team->model, cut->problem, &cut->problem->seqs[seq], tile);
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

/* Cuts a piece (some tiles of some heads of one sequence, in one domain) where the cost class changes, and adds up what
 * one of its heads costs. */
static bool add_piece(const struct cut *cut, struct sa_run piece, double *head_cost) {
    struct sa_plan *plan = cut->plan;
    struct sa_run run = piece;
    for (int64_t tile = piece.tile_begin; tile < piece.tile_end; tile++) {
        double cost = tile_cost(cut, piece.seq, tile);
        *head_cost += cost;
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

static double domain_speed(const struct sa_team_shape *team, int domain) {
    return team->domain_speeds ? team->domain_speeds[domain] : team->domain_threads[domain];
}

static void enter_domain(struct cut *cut, int domain) {
    cut->domain = domain;
    cut->speeds += domain_speed(cut->team, domain);
    cut->before += cut->plan->domains[domain].cost;
    cut->share_end = cut->cost * cut->speeds / cut->all_speeds - cut->before;
}

static void next_share(struct cut *cut) {
    while (cut->domain + 1 < cut->team->n_domains && cut->reached >= cut->share_end)
        enter_domain(cut, cut->domain + 1);
}

static void hand_out(struct cut *cut, double cost) {
    cut->reached += cost;
    cut->plan->domains[cut->domain].cost += cost;
}

static bool is_last_domain(const struct cut *cut) { return cut->domain + 1 == cut->team->n_domains; }

/* One kv head that crosses the end of a share: its tiles are dealt out one by one. */
static bool cut_head(struct cut *cut, int32_t seq, int32_t head, int64_t n_tiles) {
    int64_t tile = 0;
    while (tile < n_tiles) {
        double cost = 0;
        struct sa_run piece = {0, tile, tile, seq, head, 1, 0, 0};
        next_share(cut);
        piece.domain = (int16_t)cut->domain;
        do
            hand_out(cut, tile_cost(cut, seq, piece.tile_end++));
        while (piece.tile_end < n_tiles && (is_last_domain(cut) || cut->reached < cut->share_end));
        if (!add_piece(cut, piece, &cost))
            return false;
        tile = piece.tile_end;
    }
    return true;
}

/* How many of `left` heads fit into the current domain's share; a whole one may stand across its end by half. */
static int32_t heads_that_fit(const struct cut *cut, int32_t left, double head_cost, bool whole) {
    double room = (cut->share_end - cut->reached) / head_cost + (whole ? 0.5 : 0);
    return is_last_domain(cut) || room >= left ? left : room < 1 ? 0 : (int32_t)room;
}

static bool cut_seq(struct cut *cut, int32_t seq, double head_cost) {
    int64_t n_tiles = sa_seq_tiles(cut->problem, &cut->problem->seqs[seq]);
    bool whole = head_cost <= cut->filling; /* both ends of a share may be off by half a head */
    for (int32_t head = 0; head < cut->problem->n_kv_heads;) {
        next_share(cut);
        int32_t fit = heads_that_fit(cut, cut->problem->n_kv_heads - head, head_cost, whole);
        double cost = 0;
        struct sa_run piece = {0, 0, n_tiles, seq, head, fit, (int16_t)cut->domain, 0};
        if (fit == 0 && whole) {
            enter_domain(cut, cut->domain + 1);
            continue;
        }
        if (fit > 0 ? !add_piece(cut, piece, &cost) : !cut_head(cut, seq, head, n_tiles))
            return false;
        hand_out(cut, fit * head_cost);
        head += fit > 0 ? fit : 1;
    }
    return true;
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

static struct sa_head_cost head_cost(const struct cut *cut, int32_t seq) {
    struct sa_head_cost head = {0, 0};
    int64_t n_tiles = sa_seq_tiles(cut->problem, &cut->problem->seqs[seq]);
    for (int64_t tile = 0; tile < n_tiles; tile++) {
        double cost = tile_cost(cut, seq, tile);
        head.all += cost;
        head.largest = cost > head.largest ? cost : head.largest;
    }
    return head;
}

/* One domain needs no shares, and so no costs beforehand. */
static bool cut_for_one(struct cut *cut) {
    for (int32_t i = 0; i < cut->problem->n_seqs; i++) {
        int64_t n_tiles = sa_seq_tiles(cut->problem, &cut->problem->seqs[i]);
        struct sa_run piece = {0, 0, n_tiles, i, 0, cut->problem->n_kv_heads, 0, 0};
        double cost = 0;
        if (n_tiles && !add_piece(cut, piece, &cost))
            return false;
        cut->plan->cost += cost * cut->problem->n_kv_heads;
    }
    cut->plan->domains[0].cost = cut->plan->cost;
    return true;
}

/* Shares out the sequences whose largest tile costs more than `above`, at most `most`. */
static bool walk(struct cut cut, const struct sa_head_cost *heads, double above, double most) {
    enter_domain(&cut, 0);
    for (int32_t i = 0; i < cut.problem->n_seqs; i++)
        if (heads[i].largest > above && heads[i].largest <= most && !cut_seq(&cut, i, heads[i].all))
            return false;
    return true;
}

static double band_cost(const struct cut *cut, const struct sa_head_cost *heads, double above, double most) {
    double cost = 0;
    for (int32_t i = 0; i < cut->problem->n_seqs; i++)
        cost += heads[i].largest > above && heads[i].largest <= most ? heads[i].all * cut->problem->n_kv_heads : 0;
    return cost;
}

static double measure_heads(const struct cut *cut, struct sa_head_cost *heads) {
    double cost = 0;
    for (int32_t i = 0; i < cut->problem->n_seqs; i++) {
        heads[i] = head_cost(cut, i);
        cost += heads[i].all * cut->problem->n_kv_heads;
    }
    return cost;
}

/* Returns the smallest. */
static double add_speeds(struct cut *cut) {
    double least = domain_speed(cut->team, 0);
    for (int d = 0; d < cut->team->n_domains; d++) {
        double speed = domain_speed(cut->team, d);
        cut->all_speeds += speed;
        least = speed < least ? speed : least;
    }
    return least;
}

/* A domain whose items are all large ends early or late by a part of one. So each gets its share of every band, from
 * the largest tiles to the smallest: by whole heads while what is left suffices to even that out. */
static bool cut_for_many(struct cut *cut) {
    struct sa_head_cost *heads = cut->plan->head_buffer.data;
    double all = cut->plan->cost = measure_heads(cut, heads), least_share = add_speeds(cut) / cut->all_speeds;
    double most = HUGE_VAL, above = all / cut->team->n_threads;
    for (int band = 0; band < N_BANDS; band++, most = above) {
        above = band + 1 < N_BANDS ? above / 2 : 0;
        double cost = band_cost(cut, heads, above, most);
        cut->cost += cost;
        cut->filling = (all - cut->cost) * least_share;
        if (cost > 0 && !walk(*cut, heads, above, most))
            return false;
    }
    return true;
}

static bool make_room(struct sa_plan *plan, const struct sa_problem *problem, const struct sa_team_shape *team) {
    size_t n_heads = team->n_domains > 1 ? (size_t)problem->n_seqs : 0;
    return sa_buffer_reserve(&plan->domain_buffer, (size_t)team->n_domains * sizeof *plan->domains) &&
           sa_buffer_reserve(&plan->head_buffer, n_heads * sizeof(struct sa_head_cost));
}

bool sa_plan_make(struct sa_plan *plan, const struct sa_problem *problem, const struct sa_team_shape *team) {
    struct cut cut = {.plan = plan, .problem = problem, .team = team};
    plan->n_runs = plan->n_items = 0;
    plan->cost = 0;
    plan->n_domains = team->n_domains;
    if (!make_room(plan, problem, team))
        return false;
    plan->domains = plan->domain_buffer.data;
    for (int d = 0; d < team->n_domains; d++)
        plan->domains[d] = (struct sa_domain_list){0, 0, 0, 0};
    if (!(team->n_domains > 1 ? cut_for_many(&cut) : cut_for_one(&cut)))
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
    sa_buffer_free(&plan->head_buffer);
}
