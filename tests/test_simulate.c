/* SPDX-License-Identifier: MIT */
/* What teams on machines nobody here has would do with plans: the rules of the replay, and how good the plans are. */
#include "simulate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench_shape.h"
#include "inside.h"
#include "synthetic.h"

/* ---------------------------------------------------------------- batches */

struct batch {
    struct sa_seq *seqs;
    struct sa_problem problem;
};

static struct batch batch_of(const struct bench_shape *shape) {
    struct batch batch = {.seqs = calloc((size_t)shape->n_seqs, sizeof(struct sa_seq))};
    ck_assert_ptr_nonnull(batch.seqs);
    for (int64_t i = 0; i < shape->n_seqs; i++) {
        int64_t n_q = shape->seqs[i].n_q, n_k = shape->seqs[i].n_k;
        batch.seqs[i] = (struct sa_seq){.n_q = n_q, .n_k = n_k, .q_offset = n_k - n_q};
        batch.seqs[i].k.d_bytes = 4 * shape->d_qk;
        batch.seqs[i].v.d_bytes = 4 * shape->d_v;
    }
    batch.problem = (struct sa_problem){.n_seqs = shape->n_seqs,
                                        .seqs = batch.seqs,
                                        .n_kv_heads = shape->kv_heads,
                                        .group = shape->heads / shape->kv_heads,
                                        .d_qk = shape->d_qk,
                                        .d_v = shape->d_v};
    batch.problem.rule.left = shape->windowed && shape->left >= 0 ? shape->left : SA_UNLIMITED;
    batch.problem.rule.right = shape->causal ? 0 : SA_UNLIMITED;
    batch.problem.rule.sink = shape->sink;
    return batch;
}

static struct batch batch_of_line(const char *line) {
    struct bench_shapes shapes = {0};
    ck_assert(bench_shapes_add_line(&shapes, line, "test") && shapes.n == 1);
    struct batch batch = batch_of(&shapes.at[0]);
    bench_shapes_free(&shapes);
    return batch;
}

/* ---------------------------------------------------------------- machines */

static const struct {
    const char *name, *synthetic;
    int n_fast; /* hybrid: threads of speed 1; the others have 0.55 */
} machines[] = {
    {"2 x 8 x 12", "pack:2 [numa] l3:8 core:12 pu:1", 0},
    {"1 x 64", "pack:1 core:64 pu:1", 0},
    {"8 fast 16 slow", "pack:1 l3:1 core:24 pu:1", 8},
    {"2 x 4 fast, 4 x 4 slow", "pack:1 l3:6 core:4 pu:1", 8},
    {"one", "pack:1 core:1 pu:1", 0},
};
enum { N_MACHINES = sizeof machines / sizeof machines[0] };

struct stage {
    struct team team;
    double speeds[MAX_THREADS], domain_speeds[MAX_THREADS];
    struct sa_sim_team sim;
};

static void set_up(struct stage *stage, int machine) {
    struct team *team = &stage->team;
    seat(team, machines[machine].synthetic, false, 0);
    memset(stage->domain_speeds, 0, sizeof stage->domain_speeds);
    for (int t = 0; t < team->shape.n_threads; t++) {
        stage->speeds[t] = t < machines[machine].n_fast || machines[machine].n_fast == 0 ? 1 : 0.55;
        stage->domain_speeds[team->thread_domain[t]] += stage->speeds[t];
    }
    team->shape.domain_speeds = stage->domain_speeds;
    stage->sim = (struct sa_sim_team){team->shape, team->n_numa, team->domain_numa, team->thread_domain, stage->speeds};
}

/* ---------------------------------------------------------------- the goals */

static const char *const mixes[] = {"uniform-causal.txt", "ragged-prefill.txt", "serving.txt", "long.txt"};
enum { N_MIXES = sizeof mixes / sizeof mixes[0] };

/* Enough work for the goal to be in reach without splitting keys: at least six of the longest items a thread. */
static bool is_enough(const struct sa_sim_result *r) { return r->longest <= r->ideal / 6; }

static void print_result(const struct bench_shape *shape, int machine, const struct sa_sim_result *r) {
    double gib = (shape->d_qk + shape->d_v) * 4 * 0x1p-30;
    const struct sa_traffic *own = &r->traffic, *dealt = &r->round_robin_traffic;
    printf(
        "  %-15s %-22s %7lld items, longest %.3f of the ideal, makespan %.4f (dealt in turn %.3f); k and v %.3f GiB, "
        "more for L3s %.3f (%.3f), for NUMA nodes %.3f (%.3f)\n",
        shape->name, machines[machine].name, (long long)r->n_items, r->longest / r->ideal, r->makespan / r->ideal,
        r->round_robin / r->ideal, own->keys * gib, own->l3_keys * gib, dealt->l3_keys * gib, own->numa_keys * gib,
        dealt->numa_keys * gib);
    fflush(stdout);
}

/* Where items happen to be dealt out in turn without crossing a node's border, a head that does is forgiven. */
static void check_goal(const struct bench_shape *shape, int machine) {
    struct stage stage;
    struct sa_plan plan = {0};
    struct sa_sim_result r;
    struct batch batch = batch_of(shape);
    set_up(&stage, machine);
    ck_assert(sa_plan_make(&plan, &batch.problem, &stage.team.shape));
    ck_assert(sa_simulate(&plan, &batch.problem, &stage.sim, NULL, &r));
    print_result(shape, machine, &r);
    if (is_enough(&r))
        must(r.makespan <= 1.03 * r.ideal, "%s on %s: %.4f", shape->name, machines[machine].name, r.makespan / r.ideal);
    ck_assert(r.traffic.l3_keys <= 0.5 * r.round_robin_traffic.l3_keys);
    ck_assert(r.traffic.numa_keys <= fmax(r.round_robin_traffic.numa_keys, 0.001 * r.traffic.keys));
    sa_plan_free(&plan);
    free(batch.seqs);
}

START_TEST(mixes_end_soon_after_the_ideal) {
    struct bench_shapes shapes = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/%s", MIXES, mixes[_i / N_MACHINES]);
    ck_assert(bench_shapes_add_file(&shapes, path));
    for (int i = 0; i < shapes.n; i++)
        check_goal(&shapes.at[i], _i % N_MACHINES);
    bench_shapes_free(&shapes);
}
END_TEST

/* ---------------------------------------------------------------- long keys, few queries */

/* Ideal is the work of whole tiles over all threads: what parts cost more counts against them. */
static double time_over_ideal(const char *line, const char *synthetic, int n_threads, bool spread) {
    struct stage stage;
    struct sa_plan plan = {0};
    struct sa_sim_result r;
    struct batch batch = batch_of_line(line);
    seat(&stage.team, synthetic, spread, n_threads);
    struct sa_team_shape one = {
        .n_threads = 1, .n_domains = 1, .domain_threads = (int[]){1}, .model = stage.team.shape.model};
    ck_assert(sa_plan_make(&plan, &batch.problem, &one) && plan.splits.n == 0);
    const double ideal = plan.cost / stage.team.shape.n_threads;
    const struct sa_sim_team team = {stage.team.shape, stage.team.n_numa, stage.team.domain_numa,
                                     stage.team.thread_domain, NULL};
    ck_assert(sa_plan_make(&plan, &batch.problem, &stage.team.shape));
    ck_assert(sa_simulate(&plan, &batch.problem, &team, NULL, &r));
    printf("  %-55.55s %3d threads: %6lld items, %6lld of them parts, makespan %.4f of the ideal\n", line,
           stage.team.shape.n_threads, (long long)r.n_items, (long long)plan.splits.n_parts, r.makespan / ideal);
    sa_plan_free(&plan);
    free(batch.seqs);
    return r.makespan / ideal;
}

static const char *const long_lines[] = {
    "million heads=32 kv=8 d=128 nq=1 nk=1048576 causal",
    "million-mqa heads=8 kv=1 d=128 nq=1 nk=1048576 causal",
    "64k heads=32 kv=8 d=128 nq=1 nk=65536 causal",
    "draft heads=32 kv=8 d=128 nq=5 nk=200000 causal",
    "chunk heads=8 kv=8 d=128 nq=200 nk=131072 causal",
    "window heads=8 kv=2 d=64 nq=2 nk=900000 causal window=549999,0 sink=4",
    /* what a server has: decodes of very different lengths beside a prefill */
    "mixed heads=32 kv=8 d=128 causal lens=2048,100,700,1500,4000,9000,20000,33000,64000 qlens=2048,1x8",
};
enum { N_LONG = sizeof long_lines / sizeof long_lines[0] };

/* Where there are chunks for it, at least 15 a thread. */
START_TEST(long_keys_keep_a_team_busy) {
    ck_assert(time_over_ideal(long_lines[_i], "pack:1 l3:1 core:2 pu:1", 0, false) <= 1.03);
    ck_assert(time_over_ideal(long_lines[_i], "pack:1 l3:1 core:12 pu:1", 0, false) <= 1.05);
    if (_i != 2)
        ck_assert(time_over_ideal(long_lines[_i], "pack:1 core:64 pu:1", 0, false) <= 1.05);
    if (_i == 0 || _i == 6) {
        ck_assert(time_over_ideal(long_lines[_i], "pack:2 [numa] l3:8 core:12 pu:1", 0, false) <= 1.05);
        ck_assert(time_over_ideal(long_lines[_i], "pack:2 [numa] l3:8 core:12 pu:1", 100, true) <= 1.05);
    }
}
END_TEST

/* ---------------------------------------------------------------- the rules of the replay */

/* Random ragged batches with everything in them: decode, prefill, windows, sinks, empty sequences. */
static struct batch roll_batch(struct dice *dice) {
    int64_t n_seqs = roll_between(dice, 0, 40);
    struct batch batch = {.seqs = calloc((size_t)n_seqs + 1, sizeof(struct sa_seq))};
    struct sa_rule rule = {roll_one_in(dice, 3) ? roll_between(dice, 0, 300) : SA_UNLIMITED,
                           roll_one_in(dice, 2) ? 0 : SA_UNLIMITED, roll_between(dice, 0, 20)};
    for (int64_t i = 0; i < n_seqs; i++) {
        int64_t n_k = roll_between(dice, 0, roll_one_in(dice, 4) ? 6000 : 1500),
                n_q = roll_one_in(dice, 2) ? 1 : roll_between(dice, 0, 1500);
        batch.seqs[i] = (struct sa_seq){.n_q = n_q, .n_k = n_k, .q_offset = n_k - n_q};
    }
    batch.problem = (struct sa_problem){.n_seqs = n_seqs,
                                        .seqs = batch.seqs,
                                        .n_kv_heads = (int)roll_between(dice, 1, 6),
                                        .group = (int)roll_between(dice, 1, 5),
                                        .d_qk = 64,
                                        .d_v = 32,
                                        .rule = rule};
    for (int64_t i = 0; i < n_seqs; i++)
        batch.seqs[i].beside = roll_beside(dice, batch.problem.n_kv_heads);
    return batch;
}

/* A replay written down naively: the list of all items with who took them and when. */
struct taken {
    struct sa_item item;
    int thread;
    double begin, end;
};

static int64_t replay_by_hand(const struct sa_plan *plan, const struct sa_problem *problem, const struct stage *stage,
                              struct taken *taken) {
    int64_t next[MAX_THREADS] = {0}, n = 0;
    double free_at[MAX_THREADS] = {0};
    for (; n < plan->n_items; n++) {
        int thread = 0, list = 0;
        for (int t = 1; t < stage->team.shape.n_threads; t++)
            thread = free_at[t] < free_at[thread] ? t : thread;
        for (int i = 0; i < plan->n_domains; i++) {
            list = (stage->team.thread_domain[thread] + i) % plan->n_domains;
            if (next[list] < plan->domains[list].n_items)
                break;
        }
        struct sa_item item = sa_plan_item(plan, list, next[list]++);
        double end = free_at[thread] + item_cost(plan, problem, item) / stage->speeds[thread];
        taken[n] = (struct taken){item, thread, free_at[thread], end};
        free_at[thread] = end;
    }
    return n;
}

/* Keys of one kv head that the caches see, one by one; group_of: which cache a thread has. */
static int64_t copies_by_hand(const struct sa_plan *plan, const struct sa_problem *problem, const struct taken *taken,
                              int64_t n, const int *group_of, int n_groups) {
    int64_t copies = 0, longest = 0;
    for (int64_t s = 0; s < problem->n_seqs; s++)
        longest = problem->seqs[s].n_k > longest ? problem->seqs[s].n_k : longest;
    size_t size = (size_t)(problem->n_seqs * problem->n_kv_heads * longest * n_groups);
    char *has = calloc(size + 1, 1);
    for (int64_t i = 0; i < n; i++) {
        struct sa_item item = taken[i].item;
        struct sa_span span = sa_tile_span(problem, &problem->seqs[item.seq], item.tile);
        const int64_t head = item.seq * problem->n_kv_heads + item.kv_head;
        struct sa_range keys = {0, span.hi};
        if (item.split != SA_WHOLE)
            keys = sa_part_keys(&plan->splits.at[item.split], item.part);
        for (int beside = 0; beside < sa_abreast(&problem->seqs[item.seq]); beside++) {
            char *of_group = has + ((head + beside) * n_groups + group_of[taken[i].thread]) * longest;
            for (int64_t key = keys.begin; key < keys.end && key < span.hi; key++)
                if ((key < span.sink || key >= span.lo) && !of_group[key])
                    of_group[key] = 1, copies++;
        }
    }
    free(has);
    return copies;
}

static void check_traffic(const struct sa_plan *plan, const struct sa_problem *problem, const struct stage *stage,
                          const struct taken *taken, int64_t n, const struct sa_sim_result *r) {
    int all[MAX_THREADS] = {0}, numa[MAX_THREADS];
    const struct team *team = &stage->team;
    for (int t = 0; t < team->shape.n_threads; t++)
        numa[t] = team->domain_numa[team->thread_domain[t]];
    int64_t keys = copies_by_hand(plan, problem, taken, n, all, 1);
    ck_assert_double_eq(r->traffic.keys, (double)keys);
    ck_assert_double_eq(
        r->traffic.l3_keys,
        (double)(copies_by_hand(plan, problem, taken, n, team->thread_domain, team->shape.n_domains) - keys));
    ck_assert_double_eq(r->traffic.numa_keys,
                        (double)(copies_by_hand(plan, problem, taken, n, numa, team->n_numa) - keys));
}

static void check_times(const struct stage *stage, const struct sa_plan *plan, const struct taken *taken, int64_t n,
                        const double *busy, const struct sa_sim_result *r) {
    double end = 0, work = 0, speeds = 0;
    for (int64_t i = 0; i < n; i++)
        end = fmax(end, taken[i].end);
    for (int t = 0; t < stage->team.shape.n_threads; t++) {
        work += busy[t] * stage->speeds[t];
        speeds += stage->speeds[t];
        ck_assert(busy[t] <= r->makespan);
    }
    ck_assert_double_eq(r->makespan, end);
    ck_assert(fabs(work - plan->cost) <= 1e-9 * plan->cost); /* every item once: nothing is lost, nothing done twice */
    ck_assert(fabs(r->ideal - plan->cost / speeds) <= 1e-9 * r->ideal);
    ck_assert(r->makespan >= r->ideal * (1 - 1e-9) && r->makespan >= r->longest && r->round_robin >= r->longest);
    ck_assert(r->round_robin >= r->ideal * (1 - 1e-9));
}

/* Segments of a thread follow each other without a gap and hold all items. */
static void check_segments(const sa_segment *segments, const struct sa_sim_result *r, const double *busy,
                           int n_threads) {
    double at[MAX_THREADS] = {0};
    int64_t n_items = 0;
    for (int64_t i = 0; i < r->n_segments; i++) {
        const sa_segment *s = &segments[i];
        ck_assert(s->thread >= 0 && s->thread < n_threads && s->n_items > 0 && s->end > s->begin);
        ck_assert_double_eq(s->begin, at[s->thread]);
        at[s->thread] = s->end;
        n_items += s->n_items;
    }
    for (int t = 0; t < n_threads; t++)
        ck_assert_double_eq(at[t], busy[t]);
    ck_assert_int_eq(n_items, r->n_items);
}

static void check_replay(struct batch *batch, struct stage *stage) {
    struct sa_plan plan = {0};
    struct sa_sim_result r, short_of_room;
    double busy[MAX_THREADS];
    ck_assert(sa_plan_make(&plan, &batch->problem, &stage->team.shape));
    struct taken *taken = calloc((size_t)plan.n_items + 1, sizeof *taken);
    sa_segment *segments = calloc((size_t)plan.n_items + 1, sizeof *segments);
    struct sa_sim_details details = {segments, plan.n_items, busy}, few = {segments, 0, NULL};
    int64_t n = replay_by_hand(&plan, &batch->problem, stage, taken);
    ck_assert(sa_simulate(&plan, &batch->problem, &stage->sim, &details, &r));
    ck_assert(r.n_items == n && r.n_moved >= 0 && r.n_moved <= n);
    check_times(stage, &plan, taken, n, busy, &r);
    check_traffic(&plan, &batch->problem, stage, taken, n, &r);
    check_segments(segments, &r, busy, stage->team.shape.n_threads);
    few.capacity = r.n_segments / 2;
    ck_assert(sa_simulate(&plan, &batch->problem, &stage->sim, &few, &short_of_room));
    ck_assert_int_eq(short_of_room.n_segments, r.n_segments);
    sa_plan_free(&plan);
    free(segments);
    free(taken);
}

START_TEST(the_replay_is_the_team) {
    struct dice dice = {(uint64_t)_i + 1};
    struct stage stage;
    set_up(&stage, _i);
    for (int i = 0; i < 20; i++) {
        struct batch batch = roll_batch(&dice);
        stage.sim.shape.part_cost = stage.team.shape.part_cost = i % 2 ? 1e5 * (double)roll_between(&dice, 1, 1000) : 0;
        check_replay(&batch, &stage);
        free(batch.seqs);
    }
}
END_TEST

START_TEST(one_thread_does_it_all) {
    struct stage stage;
    struct batch batch = batch_of_line("two heads=2 lens=100,1000 d=64 causal");
    struct sa_plan plan = {0};
    struct sa_sim_result r;
    set_up(&stage, N_MACHINES - 1);
    ck_assert(sa_plan_make(&plan, &batch.problem, &stage.team.shape));
    ck_assert(sa_simulate(&plan, &batch.problem, &stage.sim, NULL, &r));
    ck_assert(fabs(r.makespan - r.ideal) <= 1e-9 * r.ideal && r.n_moved == 0);
    ck_assert_double_eq(r.traffic.keys, 2 * (100 + 1000));
    ck_assert(r.traffic.l3_keys == 0 && r.traffic.numa_keys == 0 && r.round_robin_traffic.l3_keys == 0);
    sa_plan_free(&plan);
    free(batch.seqs);
}
END_TEST

START_TEST(nothing_to_do_takes_no_time) {
    struct stage stage;
    struct sa_plan plan = {0};
    struct sa_sim_result r;
    struct sa_seq seqs[2] = {{.n_k = 1000}, {.n_k = 5}};
    struct sa_problem problem = {.seqs = seqs, .n_kv_heads = 3, .group = 2, .d_qk = 8, .d_v = 8};
    set_up(&stage, 0);
    for (problem.n_seqs = 0; problem.n_seqs <= 2; problem.n_seqs++) {
        ck_assert(sa_plan_make(&plan, &problem, &stage.team.shape));
        ck_assert(sa_simulate(&plan, &problem, &stage.sim, NULL, &r));
        ck_assert(r.makespan == 0 && r.ideal == 0 && r.longest == 0 && r.round_robin == 0);
        ck_assert(r.n_items == 0 && r.n_segments == 0 && r.traffic.keys == 0 && r.traffic.l3_keys == 0);
    }
    sa_plan_free(&plan);
}
END_TEST

/* Twice the speed is half the time; the planner gives fast domains more. */
START_TEST(speed_counts) {
    struct stage stage;
    struct batch batch = batch_of_line("many heads=8 lens=2000x8 d=64");
    struct sa_plan plan = {0};
    struct sa_sim_result once, twice;
    set_up(&stage, 3);
    ck_assert(sa_plan_make(&plan, &batch.problem, &stage.team.shape));
    ck_assert(plan.domains[0].cost > 1.7 * plan.domains[5].cost && plan.domains[0].cost < 1.95 * plan.domains[5].cost);
    ck_assert(sa_simulate(&plan, &batch.problem, &stage.sim, NULL, &once));
    for (int t = 0; t < stage.team.shape.n_threads; t++)
        stage.speeds[t] *= 2;
    ck_assert(sa_simulate(&plan, &batch.problem, &stage.sim, NULL, &twice));
    ck_assert(fabs(once.makespan - 2 * twice.makespan) <= 1e-9 * once.makespan);
    sa_plan_free(&plan);
    free(batch.seqs);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("simulate");
    TCase *rules = add_case(suite, "rules");
    tcase_add_loop_test(rules, the_replay_is_the_team, 0, N_MACHINES);
    tcase_add_test(rules, one_thread_does_it_all);
    tcase_add_test(rules, nothing_to_do_takes_no_time);
    tcase_add_test(rules, speed_counts);
    tcase_add_loop_test(add_case(suite, "goals"), mixes_end_soon_after_the_ideal, 0, N_MIXES * N_MACHINES);
    tcase_add_loop_test(add_case(suite, "long keys"), long_keys_keep_a_team_busy, 0, N_LONG);
    return run_suite(suite);
}
