/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include <math.h>

/* Sequences are shared out in bands of a factor of 2 in the size of their items, the first ones being larger than half
 * of the time that the whole batch takes, the last ones too small to matter. */
enum { N_BANDS = 7 };

/* Costs within a quarter of an octave count as equal: four classes a power of two. */
static int cost_class(double cost) {
    uint64_t x = cost < 4 ? 4 : (uint64_t)cost;
    int exponent = 63 - __builtin_clzll(x);
    return 4 * exponent + (int)(x >> (exponent - 2) & 3);
}

enum { N_CLASSES = 4 * 64 };

static double class_middle(int class) { return ldexp(4.5 + class % 4, class / 4 - 2); }

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

/* An item of a kv head of a sequence: a tile, or a part of one. */
struct unit {
    int64_t tile;
    const struct sa_split *split; /* NULL: whole */
    int32_t part;
};

static struct unit unit_of(const struct cut *cut, int32_t seq, int64_t tile) {
    return (struct unit){tile, sa_splits_find(&cut->plan->splits, seq, tile), 0};
}

static struct unit next_unit(const struct cut *cut, int32_t seq, struct unit unit) {
    if (unit.split && ++unit.part < unit.split->n_parts)
        return unit;
    return unit_of(cut, seq, unit.tile + 1);
}

static bool is_before(const struct unit *a, const struct unit *b) {
    return a->tile != b->tile ? a->tile < b->tile : a->part < b->part;
}

static double unit_cost(const struct cut *cut, int32_t seq, const struct unit *unit) {
    return unit->split ? sa_split_part_cost(unit->split, cut->problem, cut->team->model, unit->part)
                       : sa_tile_cost(cut->team->model, cut->problem, &cut->problem->seqs[seq], unit->tile);
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
    return cost_class(cost) != class && (cost_class(cost * 1.1) < class || cost_class(cost / 1.1) > class);
}

static int64_t run_head_items(const struct sa_run *run) {
    return run->split == SA_WHOLE ? run->tile_end - run->tile_begin : run->part_end - run->part_begin;
}

/* Lets a run begin with a unit. */
static void open_run(const struct cut *cut, struct sa_run *run, const struct unit *unit, double cost) {
    run->tile_begin = unit->tile;
    run->tile_end = unit->tile + 1;
    run->split = unit->split ? (int32_t)(unit->split - cut->plan->splits.at) : SA_WHOLE;
    run->part_begin = unit->part;
    run->part_end = unit->part + 1;
    run->cost_class = (int16_t)cost_class(cost);
}

/* Adds the unit that follows to the run, if it is of its kind: another whole tile, or another part of the same. */
static bool extend_run(struct sa_run *run, const struct unit *unit, double cost, bool by_heads) {
    const bool whole = run->split == SA_WHOLE, same = whole ? !unit->split : unit->split && unit->part > 0;
    if (!same || (!by_heads && left_class(cost, run->cost_class)))
        return false;
    if (by_heads && cost_class(cost) > run->cost_class)
        run->cost_class = (int16_t)cost_class(cost);
    if (whole)
        run->tile_end = unit->tile + 1;
    else
        run->part_end = unit->part + 1;
    return true;
}

/* Cuts a piece (some units of some heads of one sequence, in one domain) where the kind of unit or the cost class
 * changes, and adds up what one of its heads costs. */
static bool add_piece(const struct cut *cut, struct sa_run piece, struct unit begin, struct unit end,
                      double *head_cost) {
    struct sa_plan *plan = cut->plan;
    bool is_open = false;
    for (struct unit unit = begin; is_before(&unit, &end); unit = next_unit(cut, piece.seq, unit)) {
        const double cost = unit_cost(cut, piece.seq, &unit);
        *head_cost += cost;
        plan->largest = cost > plan->largest ? cost : plan->largest;
        if (is_open && extend_run(&piece, &unit, cost, plan->by_heads))
            continue;
        if (is_open && !add_run(plan, piece))
            return false;
        open_run(cut, &piece, &unit, cost);
        is_open = true;
    }
    return !is_open || add_run(plan, piece);
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

static struct sa_run piece_of(const struct cut *cut, int32_t seq, int32_t head, int32_t n_heads) {
    return (struct sa_run){.seq = seq,
                           .head_begin = head,
                           .n_heads = n_heads,
                           .abreast = sa_abreast(&cut->problem->seqs[seq]),
                           .split = SA_WHOLE,
                           .domain = (int16_t)cut->domain};
}

/* One kv head that crosses the end of a share: its units are dealt out one by one. */
static bool cut_head(struct cut *cut, int32_t seq, int32_t head, struct unit end) {
    struct unit unit = unit_of(cut, seq, 0);
    while (is_before(&unit, &end)) {
        const struct unit begin = unit;
        double cost = 0;
        next_share(cut);
        do {
            hand_out(cut, unit_cost(cut, seq, &unit));
            unit = next_unit(cut, seq, unit);
        } while (is_before(&unit, &end) && (is_last_domain(cut) || cut->reached < cut->share_end));
        if (!add_piece(cut, piece_of(cut, seq, head, 1), begin, unit, &cost))
            return false;
    }
    return true;
}

/* How many of `left` heads fit into the current domain's share; a whole one may stand across its end by half. */
static int32_t heads_that_fit(const struct cut *cut, int32_t left, double head_cost, bool whole) {
    double room = (cut->share_end - cut->reached) / head_cost + (whole ? 0.5 : 0);
    return is_last_domain(cut) || room >= left ? left : room < 1 ? 0 : (int32_t)room;
}

static bool cut_seq(struct cut *cut, int32_t seq, double head_cost) {
    const struct unit begin = unit_of(cut, seq, 0),
                      end = {sa_seq_tiles(cut->problem, &cut->problem->seqs[seq]), NULL, 0};
    bool whole = head_cost <= cut->filling; /* both ends of a share may be off by half a head */
    const int32_t n_heads = sa_item_heads(cut->problem, &cut->problem->seqs[seq]);
    for (int32_t head = 0; head < n_heads;) {
        next_share(cut);
        int32_t fit = heads_that_fit(cut, n_heads - head, head_cost, whole);
        double cost = 0;
        if (fit == 0 && whole) {
            enter_domain(cut, cut->domain + 1);
            continue;
        }
        if (fit > 0 ? !add_piece(cut, piece_of(cut, seq, head, fit), begin, end, &cost)
                    : !cut_head(cut, seq, head, end))
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

/* Puts a run where it belongs below `at`, whose place is free. */
static void sift_down(struct sa_run *runs, int64_t at, int64_t n, struct sa_run run) {
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(&runs[child], &runs[child + 1]))
            child++;
        if (!before(&run, &runs[child]))
            break;
        runs[at] = runs[child];
    }
    runs[at] = run;
}

/* Heapsort: the C library's qsort() may allocate. */
static void sort_runs(struct sa_run *runs, int64_t n) {
    for (int64_t i = n / 2; i-- > 0;)
        sift_down(runs, i, n, runs[i]);
    for (int64_t end = n; end-- > 1;) {
        const struct sa_run last = runs[end];
        runs[end] = runs[0];
        sift_down(runs, 0, end, last);
    }
}

static int64_t run_items(const struct sa_run *run) { return run_head_items(run) * run->n_heads; }

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
    const struct unit end = {sa_seq_tiles(cut->problem, &cut->problem->seqs[seq]), NULL, 0};
    for (struct unit unit = unit_of(cut, seq, 0); is_before(&unit, &end); unit = next_unit(cut, seq, unit)) {
        double cost = unit_cost(cut, seq, &unit);
        head.all += cost;
        head.largest = cost > head.largest ? cost : head.largest;
    }
    return head;
}

/* One domain needs no shares, and so no costs beforehand. */
static bool cut_for_one(struct cut *cut) {
    for (int32_t i = 0; i < cut->problem->n_seqs; i++) {
        const struct unit end = {sa_seq_tiles(cut->problem, &cut->problem->seqs[i]), NULL, 0};
        const int32_t n_heads = sa_item_heads(cut->problem, &cut->problem->seqs[i]);
        double cost = 0;
        if (!add_piece(cut, piece_of(cut, i, 0, n_heads), unit_of(cut, i, 0), end, &cost))
            return false;
        cut->plan->cost += cost * n_heads;
    }
    cut->plan->domains[0].cost = cut->plan->cost;
    return true;
}

/* Shares out the sequences whose largest item costs more than `above`, at most `most`. */
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
        if (heads[i].largest > above && heads[i].largest <= most)
            cost += heads[i].all * sa_item_heads(cut->problem, &cut->problem->seqs[i]);
    return cost;
}

static double measure_heads(const struct cut *cut, struct sa_head_cost *heads) {
    double cost = 0;
    for (int32_t i = 0; i < cut->problem->n_seqs; i++) {
        heads[i] = head_cost(cut, i);
        cost += heads[i].all * sa_item_heads(cut->problem, &cut->problem->seqs[i]);
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

/* ---------------------------------------------------------------- parts */

/* A part is worth its own packing and merging from this many seconds on, by the model. A tile becomes parts from 1.5
 * times that: more than a call may take that stays in its caller. */
static const double LEAST_PART_SECONDS = 30e-6;

/* So few items a thread are cut even if their number suits the team, as long as parts take so much longer than what
 * they cost beside their keys: threads are never all of one speed. */
static const double FEW_ITEMS = 8, LONG_PART_SECONDS = 120e-6;

enum { PARTS_A_THREAD = 24 };

/* How far behind the ideal the team would end at most, as a share of it. The thread that ends last took its last item
 * when no thread was free before, that is when no more than an even share of the costlier items was done. Items all
 * alike go round in turns. */
static double lateness(const struct sa_plan *plan, const struct sa_team_shape *team, double speeds) {
    double class_cost[N_CLASSES] = {0}, done = 0, all = 0, worst = 0, n_items = 0;
    for (int64_t i = 0; i < plan->n_runs; i++) {
        const double n = (double)run_items(&plan->runs[i]);
        class_cost[plan->runs[i].cost_class] += n * class_middle(plan->runs[i].cost_class);
        all += n * class_middle(plan->runs[i].cost_class);
        n_items += n;
    }
    if (n_items * plan->largest < 1.02 * plan->cost && speeds == team->n_threads)
        return ceil(n_items / speeds) * speeds / n_items - 1;
    for (int c = N_CLASSES - 1; c >= 0; c--) {
        done += class_cost[c] / all;
        if (class_cost[c] > 0)
            worst = fmax(worst, done + class_middle(c) / plan->cost * (speeds - 1) - 1);
    }
    return worst;
}

/* What parts should cost, 0: nothing needs to be split. */
static double choose_part_cost(const struct sa_plan *plan, const struct sa_team_shape *team) {
    if (team->part_cost > 0 || team->n_threads == 1)
        return team->part_cost;
    double speeds = 0, unit = team->model->unit_seconds;
    for (int d = 0; d < team->n_domains; d++)
        speeds += domain_speed(team, d);
    const double share = plan->cost / speeds, part = fmax(share / PARTS_A_THREAD, LEAST_PART_SECONDS / unit);
    if (plan->largest < SA_LEAST_PARTS * part)
        return 0;
    const bool few = FEW_ITEMS * plan->largest > share && part * unit >= LONG_PART_SECONDS;
    return few || lateness(plan, team, speeds) > 0.03 ? part : 0;
}

/* ---------------------------------------------------------------- head by head */

/* What of the ideal time the team may wait for the thread that ends last. */
static const double LATEST = 0.01;

/* Tiles of a head that threads have at the same time wait for each other's cache lines: 8 % of heads of two tiles on
 * two threads. Where keys or values are kept for a head's other tiles that does not count. */
enum { LEAST_TURNS = 4 };

static bool may_go_by_heads(const struct sa_plan *plan, const struct sa_problem *problem,
                            const struct sa_team_shape *team) {
    int64_t n_tiles = 0, n_sequences = 0;
    const bool alike = domain_speed(team, 0) == team->n_threads; /* a slow thread may take a long item last */
    if (plan->n_domains > 1 || !alike || plan->splits.n > 0 || plan->n_runs <= problem->n_seqs)
        return false;
    for (int64_t i = 0; i < problem->n_seqs; i++) {
        n_tiles += sa_seq_tiles(problem, &problem->seqs[i]);
        n_sequences += problem->seqs[i].n_q > 0;
    }
    return problem->n_turned > 0 || problem->n_copies > 0 || n_tiles >= LEAST_TURNS * team->n_threads * n_sequences;
}

/* From the last item on: when it is taken the others have at most done what they share before it, so that it ends late
 * by no more than its cost less an even share of it and of what follows. */
static bool ends_evenly(const struct cut *cut) {
    const struct sa_plan *plan = cut->plan;
    const double n_threads = cut->team->n_threads, may_wait = LATEST * plan->cost / n_threads;
    double left = 0;
    for (int64_t i = plan->n_items; i-- > 0 && left < plan->largest * n_threads;) {
        const double cost = sa_item_cost(plan, cut->problem, cut->team->model, sa_plan_item(plan, 0, i));
        left += cost;
        if (cost - left / n_threads > may_wait)
            return false;
    }
    return true;
}

/* ---------------------------------------------------------------- the plan as a whole */

static bool make_room(struct sa_plan *plan, const struct sa_problem *problem, const struct sa_team_shape *team) {
    size_t n_heads = team->n_domains > 1 ? (size_t)problem->n_seqs : 0;
    return sa_buffer_reserve(&plan->domain_buffer, (size_t)team->n_domains * sizeof *plan->domains) &&
           sa_buffer_reserve(&plan->head_buffer, n_heads * sizeof(struct sa_head_cost));
}

static bool cut_all(struct sa_plan *plan, const struct sa_problem *problem, const struct sa_team_shape *team,
                    bool by_heads) {
    struct cut cut = {.plan = plan, .problem = problem, .team = team};
    plan->by_heads = by_heads;
    plan->n_runs = plan->n_items = 0;
    plan->cost = plan->largest = 0;
    for (int d = 0; d < team->n_domains; d++)
        plan->domains[d] = (struct sa_domain_list){0, 0, 0, 0};
    return team->n_domains > 1 ? cut_for_many(&cut) : cut_for_one(&cut);
}

static void order_runs(struct sa_plan *plan) {
    sort_runs(plan->runs, plan->n_runs);
    index_runs(plan);
}

bool sa_plan_make(struct sa_plan *plan, const struct sa_problem *problem, const struct sa_team_shape *team) {
    plan->n_domains = team->n_domains;
    if (!make_room(plan, problem, team))
        return false;
    plan->domains = plan->domain_buffer.data;
    if (!sa_splits_make(&plan->splits, problem, team->model, 0) || !cut_all(plan, problem, team, false))
        return false;
    const double part_cost = choose_part_cost(plan, team);
    if (part_cost > 0 && (!sa_splits_make(&plan->splits, problem, team->model, part_cost) ||
                          (plan->splits.n > 0 && !cut_all(plan, problem, team, false))))
        return false;
    if (may_go_by_heads(plan, problem, team)) {
        if (!cut_all(plan, problem, team, true))
            return false;
        order_runs(plan);
        if (ends_evenly(&(struct cut){.plan = plan, .problem = problem, .team = team}))
            return true;
        if (!cut_all(plan, problem, team, false))
            return false;
    }
    order_runs(plan);
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
    const int64_t n = run_head_items(run), i = index - run->first_item;
    const int32_t head = (run->head_begin + (int32_t)(i / n)) * run->abreast;
    if (run->split == SA_WHOLE)
        return (struct sa_item){run->seq, head, run->tile_end - 1 - i % n, SA_WHOLE, 0};
    return (struct sa_item){run->seq, head, run->tile_begin, run->split, run->part_begin + (int32_t)(i % n)};
}

double sa_item_cost(const struct sa_plan *plan, const struct sa_problem *problem, const struct sa_cost_model *model,
                    struct sa_item item) {
    return item.split == SA_WHOLE ? sa_tile_cost(model, problem, &problem->seqs[item.seq], item.tile)
                                  : sa_split_part_cost(&plan->splits.at[item.split], problem, model, item.part);
}

void sa_plan_free(struct sa_plan *plan) {
    sa_buffer_free(&plan->run_buffer);
    sa_buffer_free(&plan->domain_buffer);
    sa_buffer_free(&plan->head_buffer);
    sa_splits_free(&plan->splits);
}
