/* SPDX-License-Identifier: MIT */
/* Callers that work on their own jobs: on a free seat only, never more of them and of the team's threads than seats;
 * whose turn it is; how they wait; and what a host program notices of it. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box.h"
#include "inside.h"
#include "spied.h"

/* Some 300 us of work, and some 6 ms. */
static const struct box_shape brief = {2, 4, 2, 64, 48, 200, 200}, lengthy = {1, 8, 8, 64, 64, 700, 700};

/* An engine whose team sleeps. */
static sa_engine *engine_at_rest(int n_threads, struct box *box) {
    sa_engine *engine = engine_of(n_threads);
    spy_on(engine);
    is_caller = true;
    check_forward(engine, box); /* the threads come */
    wait_until_asleep(engine);
    forget_items();
    return engine;
}

static int64_t items_of(sa_engine *engine, const struct box *box) {
    sa_batch_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(sa_batch_get_info(engine, &box->batch, &info), SA_OK);
    return info.n_items;
}

/* So that calls count as so many times as long. */
static void make_longer(sa_engine *engine, double factor) {
    static struct sa_cost_model slow;
    slow = *engine->team.shape.model;
    slow.unit_seconds *= factor;
    engine->team.shape.model = &slow;
}

/* All of them, and some longer than others. */
static void make_all_long(sa_engine *engine) { make_longer(engine, 40); }

/* The core that this thread is on may change at any moment: without a map nobody is on a core. */
static void lose_the_map(sa_engine *engine) { engine->team.core_map.n_cpus = 0; }

/* ---------------------------------------------------------------- who works */

START_TEST(a_caller_takes_the_seat_of_a_sleeping_thread) {
    struct box *box = box_with_answer(1, brief);
    sa_engine *engine = engine_at_rest(1, box);
    if (sa_bind_core_here(&engine->team.core_map) >= 0) {
        check_forward(engine, box);
        ck_assert_int_gt(spied.n_by_callers, 0);
        ck_assert_int_eq(spied.n_by_threads, 0);
    } else
        printf("skipped: the core this thread is on is not known\n");
    wait_until_asleep(engine); /* it did not wake */
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

START_TEST(long_jobs_are_the_teams) {
    struct box *box = box_with_answer(1, lengthy), *little = box_with_answer(2, brief);
    sa_engine *engine = engine_at_rest(2, little);
    check_forward(engine, box);
    ck_assert_int_eq(spied.n_by_callers, 0);
    ck_assert_int_gt(spied.n_by_threads, 0);
    sa_engine_destroy(engine);
    box_free(box);
    box_free(little);
}
END_TEST

/* A bound thread's seat is only for callers on its core; no seat is for callers elsewhere. */
START_TEST(seats_are_lent_on_their_own_core) {
    struct box *box = box_with_answer(1, brief);
    sa_engine *engine = engine_at_rest(2, box);
    if (_i)
        lose_the_map(engine);
    else
        engine->team.stays_put = true;
    for (int t = 0; t < 2; t++)
        engine->team.sitters[t].core = 1000;
    check_forward(engine, box);
    ck_assert_int_eq(spied.n_by_callers, 0);
    ck_assert_int_gt(spied.n_by_threads, 0);
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

/* Small jobs that find no seat are done by the caller alone, brief ones by the team. */
START_TEST(small_jobs_do_not_wait_for_a_seat) {
    struct box *box = box_with_answer(1, (struct box_shape){1, 8, 8, 64, 64, 16, 64});
    sa_engine *engine = engine_at_rest(2, box);
    sa_batch_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(sa_batch_get_info(engine, &box->batch, &info), SA_OK);
    if (!info.in_caller) { /* where they are that small */
        lose_the_map(engine);
        check_forward(engine, box);
        ck_assert_int_eq(spied.n_by_callers, 8);
        ck_assert_int_eq(spied.n_by_threads, 0);
    }
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

struct caller {
    pthread_t thread;
    sa_engine *engine;
    struct box *box;
    bool wrong;
};

static void *call_often(void *argument) {
    struct caller *caller = argument;
    is_caller = true;
    for (int i = 0; i < 15 && !caller->wrong; i++) {
        box_clear(caller->box);
        caller->wrong = sa_batch_forward(caller->engine, &caller->box->batch) != SA_OK || !box_right(caller->box);
    }
    return NULL;
}

static void start_caller(struct caller *caller, sa_engine *engine, struct box *box, void *(*call)(void *)) {
    *caller = (struct caller){.engine = engine, .box = box, .wrong = false};
    ck_assert_int_eq(pthread_create(&caller->thread, NULL, call, caller), 0);
}

static void join_callers(struct caller *callers, int n) {
    for (int i = 0; i < n; i++) {
        pthread_join(callers[i].thread, NULL);
        ck_assert(!callers[i].wrong);
        box_free(callers[i].box);
    }
}

/* Some brief, some long; none so small that it would stay in its caller without a seat. */
START_TEST(workers_never_outnumber_the_seats) {
    struct caller callers[16];
    struct box *first = box_with_answer(1, brief);
    const int n_threads = 1 + _i;
    sa_engine *engine = engine_at_rest(n_threads, first);
    for (int i = 0; i < 16; i++)
        start_caller(&callers[i], engine, box_with_answer((uint64_t)i, i % 8 == 7 ? lengthy : brief), call_often);
    join_callers(callers, 16);
    wait_until_asleep(engine);
    ck_assert_int_le(spied.most_working, n_threads);
    ck_assert_int_eq(spied.n_working, 0);
    ck_assert_int_eq(engine->team.n_called, 0);
    sa_engine_destroy(engine);
    box_free(first);
}
END_TEST

/* ---------------------------------------------------------------- short before long */

static struct {
    atomic_bool on;
    sa_engine *engine;
    struct box *box;
    pthread_t thread;
    atomic_int n_begun, seen;
    int n_long, length; /* items of the long job; the other's queue */
    bool wrong;
} rush;

static void *call_in_a_rush(void *argument) {
    (void)argument;
    rush.wrong = sa_batch_forward(rush.engine, &rush.box->batch) != SA_OK || !box_right(rush.box);
    rush.seen = rush.n_begun; /* items of both jobs that had begun by then */
    return NULL;
}

static bool waits(sa_engine *engine, int length) {
    return __atomic_load_n(&engine->team.queues[length].first, __ATOMIC_SEQ_CST);
}

/* In the first item of a long job a shorter one is handed in: the long one has not been done first. By the last item,
 * had it been, the other one's caller is given the time to look. */
static void begin_a_rush(void) {
    const int n = ++rush.n_begun;
    if (n == 1) {
        pthread_create(&rush.thread, NULL, call_in_a_rush, NULL);
        while (!waits(rush.engine, rush.length))
            sleep_ms(1);
    }
    for (int ms = 0; n == rush.n_long && !rush.seen && ms < 10000; ms++)
        sleep_ms(1);
}

/* Brief ones, and those that are long but shorter. */
START_TEST(jobs_do_not_wait_behind_longer_ones) {
    struct box *box = box_with_answer(1, lengthy);
    rush.box = box_with_answer(2, brief);
    rush.engine = engine_at_rest(1, rush.box);
    rush.length = _i;
    if (_i)
        make_all_long(rush.engine);
    box_clear(rush.box);
    rush.n_long = (int)items_of(rush.engine, box);
    spied.on_item = begin_a_rush;
    check_forward(rush.engine, box);
    pthread_join(rush.thread, NULL);
    spied.on_item = NULL;
    ck_assert(!rush.wrong);
    ck_assert_int_lt(rush.seen, rush.n_begun);
    ck_assert_int_le(rush.seen, rush.n_long);
    sa_engine_destroy(rush.engine);
    box_free(box);
    box_free(rush.box);
}
END_TEST

static atomic_bool enough;

static void *call_until_enough(void *argument) {
    struct caller *caller = argument;
    while (!enough) {
        box_clear(caller->box);
        if (sa_batch_forward(caller->engine, &caller->box->batch) != SA_OK || !box_right(caller->box))
            caller->wrong = true;
    }
    return NULL;
}

/* A long job among brief ones, told apart by d_qk. */
static const struct box_shape among_briefs = {1, 8, 8, 72, 64, 700, 700};

enum { STEP_NS = 100000 };

/* Instead of the time, where it is not 0. */
static atomic_llong told_ns;

static struct {
    sa_engine *engine;
    int length;                   /* the brief ones' queue */
    int most_long, most_brief;    /* items of the long job; of brief ones, when it ends */
    long long run_ns;             /* what a run of the long one's keys takes; an item of a brief one: STEP_NS */
    atomic_int n_long, n_runs;    /* items and runs of the long one begun */
    atomic_int n_brief, n_inside; /* items of brief ones while there are long ones; those in the middle of one */
    atomic_llong stop_ns; /* how long the thread is stopped in brief items, until the first one beside long ones */
    atomic_llong long_ns; /* what the long one has had, without its last item */
} turns;

static void wait_for_a_brief_one(void) {
    for (int ms = 0; !enough && !waits(turns.engine, turns.length) && ms < 10000; ms++)
        sleep_ms(1);
}

static void count_runs(int d_qk) { turns.n_runs += d_qk == among_briefs.d_qk; }

static void end_run(int d_qk) {
    if (d_qk != among_briefs.d_qk)
        return;
    told_ns += turns.run_ns;
    turns.long_ns += turns.n_long < turns.most_long ? turns.run_ns : 0;
    wait_for_a_brief_one();
}

/* Each item of the long job, and each run of its keys, waits until a brief job is queued. If it is never the long one's
 * turn, the callers stop. */
static void count_turns(void) {
    if (spied.d_qk == among_briefs.d_qk) {
        turns.n_long++;
        wait_for_a_brief_one();
        return;
    }
    told_ns += STEP_NS + turns.stop_ns;
    turns.stop_ns = turns.n_long ? 0 : turns.stop_ns;
    turns.n_inside += n_under_way > 1;
    turns.n_brief += turns.n_long > 0 && turns.n_long < turns.most_long;
    enough = enough || turns.n_brief > turns.most_brief;
}

/* What an item of the long job takes, in brief jobs; are these brief, or only shorter; what they get at least, where
 * blocks or items are long, as a part of what the long one has; is the thread once stopped for longer than all takes?
 */
static const struct {
    double item;
    int length;
    double least;
    bool stops;
} shares[] = {{0, 0, 0, false},     {3, 0, 0.5, false},   {0.5, 0, 0.65, false}, {1, 1, 0.5, false},
              {0.5, 1, 0.5, false}, {1.5, 1, 0.4, false}, {3, 0, 0.4, true}};

static void learn_sizes(sa_engine *engine, struct box *box, const struct box *brief_box, int share) {
    const double brief_ns = (double)items_of(engine, brief_box) * STEP_NS;
    spied.on_block = count_runs;
    check_forward(engine, box);
    turns.engine = engine;
    turns.length = shares[share].length;
    turns.stop_ns = shares[share].stops ? 10000000000 : 0;
    turns.most_long = (int)items_of(engine, box);
    turns.most_brief = 100 * turns.most_long * (int)items_of(engine, brief_box);
    turns.run_ns = (long long)(shares[share].item * brief_ns * turns.most_long / turns.n_runs);
}

/* A call while four callers go on with boxes of two shapes in turn. */
static void call_among(sa_engine *engine, struct box *box, struct box_shape even, struct box_shape odd) {
    struct caller callers[4];
    for (int i = 0; i < 4; i++)
        start_caller(&callers[i], engine, box_with_answer(2, i % 2 ? odd : even), call_until_enough);
    box_clear(box);
    ck_assert_int_eq(sa_batch_forward(engine, &box->batch), SA_OK);
    enough = true;
    ck_assert(box_right(box));
    join_callers(callers, 4);
}

static void end_telling(sa_engine *engine, struct box *box, struct box *first) {
    spied.on_item = NULL;
    spied.on_block = NULL;
    told_ns = 0;
    sa_engine_destroy(engine);
    box_free(box);
    box_free(first);
}

/* However many brief ones come: for as long as they take it is the long one's turn, and not much longer. Only those
 * that are brief are let in between its blocks. */
START_TEST(long_jobs_get_their_turn) {
    struct box *box = box_with_answer(1, among_briefs), *first = box_with_answer(2, brief);
    sa_engine *engine = engine_at_rest(1, first);
    learn_sizes(engine, box, first, _i);
    told_ns = 1;
    if (turns.length)
        make_all_long(engine);
    spied.on_item = count_turns;
    spied.on_block = end_run;
    call_among(engine, box, brief, brief);
    ck_assert_int_eq(turns.n_long, turns.most_long);
    const double job = (double)items_of(engine, first), shorts = turns.n_brief / job,
                 longs = (double)turns.long_ns / STEP_NS / job;
    must(shorts < longs + 2 && shorts > shares[_i].least * longs - 2,
         "%g jobs' time for the long one, %g for brief ones", longs, shorts);
    if (shares[_i].item > 0)
        ck_assert_int_eq(turns.n_inside > 0, !turns.length);
    end_telling(engine, box, first);
}
END_TEST

/* Three kinds of long calls, told apart by d_qk; one of the longest among others. Every item takes as long. */
static const struct box_shape middle_one = {1, 8, 8, 56, 64, 700, 700}, long_one = {1, 8, 8, 72, 64, 1600, 1600};

static struct {
    sa_engine *engine;
    int most_long;
    atomic_int n_short, n_middle, n_long; /* items begun while there are long ones */
} kinds;

static void count_kinds(void) {
    told_ns += STEP_NS;
    if (spied.d_qk == long_one.d_qk) {
        kinds.n_long++;
        for (int ms = 0; !enough && !(waits(kinds.engine, 1) && waits(kinds.engine, 2)) && ms < 10000; ms++)
            sleep_ms(1);
    } else if (kinds.n_long > 0 && kinds.n_long < kinds.most_long)
        (spied.d_qk == middle_one.d_qk ? &kinds.n_middle : &kinds.n_short)[0]++;
    enough = enough || kinds.n_short + kinds.n_middle > 20 * kinds.most_long;
}

/* Half of the time is the short ones', half of what is left the middle ones'. */
START_TEST(the_longest_get_their_turn_among_two_kinds) {
    struct box *box = box_with_answer(1, long_one), *first = box_with_answer(2, brief);
    sa_engine *engine = kinds.engine = engine_at_rest(1, first);
    make_all_long(engine);
    kinds.most_long = (int)items_of(engine, box);
    told_ns = 1;
    spied.on_item = count_kinds;
    call_among(engine, box, brief, middle_one);
    const int all = kinds.n_short + kinds.n_middle + kinds.n_long;
    must(kinds.n_short < 0.6 * all && kinds.n_middle < 0.35 * all && kinds.n_long > 0.15 * all,
         "%d items of short, %d of middle, %d of long ones", kinds.n_short, kinds.n_middle, kinds.n_long);
    end_telling(engine, box, first);
}
END_TEST

/* Brief ones in the middle of a middle one's items are not its own time. */
static void count_brief_items(void) {
    if (spied.d_qk == brief.d_qk)
        told_ns += STEP_NS;
    if (spied.d_qk == long_one.d_qk)
        kinds.n_long++;
}

static struct { atomic_int middle, longest; /* begun while there are long ones */ } n_blocks;

static void count_blocks(int d_qk) {
    if (d_qk != middle_one.d_qk && d_qk != long_one.d_qk)
        return;
    told_ns += STEP_NS / 20;
    if (kinds.n_long > 0 && kinds.n_long < kinds.most_long)
        (d_qk == middle_one.d_qk ? &n_blocks.middle : &n_blocks.longest)[0]++;
    for (int ms = 0; !enough && !(waits(kinds.engine, 0) && waits(kinds.engine, 1)) && ms < 10000; ms++)
        sleep_ms(1);
}

START_TEST(interludes_are_nobody_elses_time) {
    struct box *box = box_with_answer(1, long_one), *first = box_with_answer(2, brief);
    sa_engine *engine = kinds.engine = engine_at_rest(1, first);
    make_longer(engine, 5);
    kinds.most_long = (int)items_of(engine, box);
    told_ns = 1;
    spied.on_item = count_brief_items;
    spied.on_block = count_blocks;
    call_among(engine, box, brief, middle_one);
    must(n_blocks.middle > 0.7 * n_blocks.longest && n_blocks.middle < 1.4 * n_blocks.longest,
         "%d blocks of middle, %d of long ones", n_blocks.middle, n_blocks.longest);
    end_telling(engine, box, first);
}
END_TEST

/* The last item of a middle one ends as it is a short one's turn. */
static struct {
    sa_engine *engine;
    int most_middle;
    atomic_int n_middle, n_long, n_late;
} end;

static void end_in_a_rush(void) {
    told_ns += STEP_NS;
    end.n_long += spied.d_qk == long_one.d_qk;
    end.n_late += spied.d_qk == long_one.d_qk && end.n_middle == end.most_middle && waits(end.engine, 2);
    if (spied.d_qk == middle_one.d_qk && ++end.n_middle == end.most_middle) {
        for (int ms = 0; !waits(end.engine, 1) && ms < 10000; ms++)
            sleep_ms(1);
        told_ns += 1000000000;
    }
}

static void *call_once(void *argument) {
    struct caller *caller = argument;
    box_clear(caller->box);
    caller->wrong = sa_batch_forward(caller->engine, &caller->box->batch) != SA_OK || !box_right(caller->box);
    return NULL;
}

/* It is done then, and does not wait behind longer ones until somebody sees that. */
START_TEST(what_ends_in_a_rush_has_ended) {
    struct caller callers[3];
    struct box *box = box_with_answer(1, middle_one), *first = box_with_answer(2, brief);
    sa_engine *engine = end.engine = engine_at_rest(1, first);
    make_all_long(engine);
    end.most_middle = (int)items_of(engine, box);
    told_ns = 1;
    spied.on_item = end_in_a_rush;
    start_caller(&callers[0], engine, box_with_answer(3, long_one), call_once);
    for (int ms = 0; end.n_long == 0 && ms < 10000; ms++)
        sleep_ms(1);
    for (int i = 1; i < 3; i++)
        start_caller(&callers[i], engine, box_with_answer(2, brief), call_until_enough);
    box_clear(box);
    ck_assert_int_eq(sa_batch_forward(engine, &box->batch), SA_OK);
    enough = true;
    ck_assert(box_right(box));
    join_callers(callers, 3);
    ck_assert_int_gt(end.n_long, end.most_middle / 2);
    ck_assert_int_eq(end.n_late, 0);
    end_telling(engine, box, first);
}
END_TEST

/* Brief calls and three kinds of longer ones, in the middle of each other. */
START_TEST(calls_of_all_lengths_at_once) {
    static const struct box_shape shapes[] = {{1, 8, 8, 64, 64, 16, 64},
                                              {2, 4, 2, 64, 48, 200, 200},
                                              {1, 8, 8, 64, 64, 330, 330},
                                              {1, 8, 8, 64, 64, 640, 640}};
    struct caller callers[8];
    struct box *first = box_with_answer(1, brief);
    sa_engine *engine = engine_at_rest(1 + _i, first);
    make_all_long(engine);
    for (int i = 0; i < 8; i++)
        start_caller(&callers[i], engine, box_with_answer((uint64_t)(20 + i), shapes[i % 4]), call_often);
    join_callers(callers, 8);
    wait_until_asleep(engine);
    ck_assert_int_le(spied.most_working, 1 + _i);
    sa_engine_destroy(engine);
    box_free(first);
}
END_TEST

/* ---------------------------------------------------------------- waiting */

START_TEST(spinning_stays_within_cores_and_quota) {
    ck_assert(sa_team_may_spin(1, 1, 0));
    ck_assert(sa_team_may_spin(4, 4, 0));
    ck_assert(sa_team_may_spin(4, 8, 4));
    ck_assert(!sa_team_may_spin(5, 4, 0));
    ck_assert(!sa_team_may_spin(4, 8, 3.9));
    ck_assert(!sa_team_may_spin(1, 8, 0.5));
}
END_TEST

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
static atomic_int n_clock_reads;
static void (*on_clock_read)(void);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time) {
    n_clock_reads++;
    if (on_clock_read)
        on_clock_read();
    const long long told = told_ns;
    *time = (struct timespec){told / 1000000000, told % 1000000000};
    return told ? 0 : __real_clock_gettime(clock, time);
}

static double cpu_seconds(int who) {
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

enum { SLOW_MS = 300 };

static atomic_bool thread_is_slow;

/* The team's thread takes its time over its first item, and the caller waits until it is there. */
static void be_slow(void) {
    if (is_caller) {
        for (int ms = 0; spied.n_by_threads == 0 && ms < 5000; ms++)
            sleep_ms(1);
    } else if (thread_is_slow) {
        thread_is_slow = false;
        sleep_ms(SLOW_MS);
    }
}

/* A caller that has worked waits for a slow thread: for a moment awake, if it may, then asleep. */
START_TEST(waiting_takes_little_cpu) {
    struct box *box = box_with_answer(1, brief);
    sa_engine *engine = engine_at_rest(2, box);
    const bool can_help = sa_bind_core_here(&engine->team.core_map) >= 0;
    engine->team.may_spin = _i;
    spied.on_item = be_slow;
    thread_is_slow = true;
    n_clock_reads = 0;
    double before = cpu_seconds(RUSAGE_THREAD);
    check_forward(engine, box);
    double used = cpu_seconds(RUSAGE_THREAD) - before;
    ck_assert(!thread_is_slow);
    ck_assert_msg(used < SLOW_MS / 3 * 1e-3, "%g s of CPU while a thread slept", used);
    ck_assert_int_eq(n_clock_reads > 0, _i && can_help);
    spied.on_item = NULL;
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

/* From the moment the call returns: a team does not look for work, it sleeps. */
START_TEST(an_idle_engine_uses_no_cpu) {
    struct box *box = box_with_answer(1, brief);
    sa_engine *engine = engine_at_rest(2, box);
    for (int i = 0; i < 20; i++)
        check_forward(engine, box);
    double before = cpu_seconds(RUSAGE_SELF);
    sleep_ms(1000);
    double used = cpu_seconds(RUSAGE_SELF) - before;
    ck_assert_msg(used < 0.005, "%g s of CPU in a second of rest", used);
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

/* ---------------------------------------------------------------- a host program's doings */

static int child_status;

static void fork_a_child(sa_engine *engine, struct box *box) {
    pid_t child = fork();
    if (child == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(30);
        spied.on_item = NULL;
        on_clock_read = NULL;
        int right = 0;
        for (int i = 0; i < 5; i++) {
            box_clear(box);
            right += sa_batch_forward(engine, &box->batch) == SA_OK && box_right(box);
        }
        sa_engine_destroy(engine);
        _exit(right != 5);
    }
    while (waitpid(child, &child_status, 0) < 0)
        ;
}

static struct {
    sem_t here, go;
    atomic_bool armed;
} stop;

/* The caller stops where it is, in an item or while it spins, until it is told to go on. */
static void stop_the_caller(void) {
    if (is_caller && atomic_exchange(&stop.armed, false)) {
        sem_post(&stop.here);
        sem_wait(&stop.go);
    }
}

/* On a busy machine threads may have taken all items, or be done, before the caller comes to it: it calls again. */
static void *call_until_stopped(void *argument) {
    struct caller *caller = argument;
    do
        call_often(caller);
    while (!caller->wrong && stop.armed);
    if (atomic_exchange(&stop.armed, false))
        sem_post(&stop.here);
    return NULL;
}

/* The child finds a seat that is lent, a thread that was called, a caller that spins: none of them exist there. */
START_TEST(fork_while_a_caller_sits_or_spins) {
    struct box *box = box_with_answer(1, brief), *other = box_with_answer(2, brief);
    sa_engine *engine = engine_at_rest(2, box);
    struct caller caller = {.engine = engine, .box = box};
    bool can_help = sa_bind_core_here(&engine->team.core_map) >= 0;
    sem_init(&stop.here, 0, 0);
    sem_init(&stop.go, 0, 0);
    engine->team.may_spin = true;
    thread_is_slow = _i;
    spied.on_item = _i ? be_slow : stop_the_caller;
    on_clock_read = _i ? stop_the_caller : NULL;
    stop.armed = can_help;
    if (!can_help)
        sem_post(&stop.here);
    ck_assert_int_eq(pthread_create(&caller.thread, NULL, call_until_stopped, &caller), 0);
    sem_wait(&stop.here);
    fork_a_child(engine, other);
    sem_post(&stop.go);
    pthread_join(caller.thread, NULL);
    ck_assert_int_eq(child_status, 0);
    ck_assert(!caller.wrong);
    spied.on_item = on_clock_read = NULL;
    check_forward(engine, other);
    sa_engine_destroy(engine);
    box_free(box);
    box_free(other);
}
END_TEST

static volatile sig_atomic_t n_alarms;

static void count_alarm(int signal) {
    (void)signal;
    n_alarms++;
}

START_TEST(signals_do_not_harm_a_caller_that_works) {
    struct box *box = box_with_answer(1, brief);
    sa_engine *engine = engine_at_rest(2, box);
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    signal(SIGALRM, count_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < 500; i++)
        check_forward(engine, box);
    setitimer(ITIMER_REAL, &never, NULL);
    ck_assert_int_gt(n_alarms, 0);
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

static void cancel_the_caller(void) {
    if (is_caller) {
        pthread_cancel(pthread_self());
        pthread_testcancel();
    }
}

static void *call_and_be_cancelled(void *argument) {
    struct caller *caller = argument;
    is_caller = true;
    caller->wrong = sa_batch_forward(caller->engine, &caller->box->batch) != SA_OK || !box_right(caller->box);
    pthread_testcancel();
    return NULL;
}

START_TEST(a_caller_that_works_is_cancelled_after_the_call) {
    struct box *box = box_with_answer(1, brief);
    sa_engine *engine = engine_at_rest(1, box);
    struct caller caller = {.engine = engine, .box = box, .wrong = true};
    const bool can_help = sa_bind_core_here(&engine->team.core_map) >= 0;
    void *result;
    spied.on_item = cancel_the_caller;
    box_clear(box);
    ck_assert_int_eq(pthread_create(&caller.thread, NULL, call_and_be_cancelled, &caller), 0);
    pthread_join(caller.thread, &result);
    spied.on_item = NULL;
    ck_assert(!caller.wrong);
    ck_assert(!can_help || result == PTHREAD_CANCELED);
    wait_until_asleep(engine);
    check_forward(engine, box);
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("seats");
    TCase *who = add_case(suite, "who");
    tcase_add_test(who, a_caller_takes_the_seat_of_a_sleeping_thread);
    tcase_add_test(who, long_jobs_are_the_teams);
    tcase_add_loop_test(who, seats_are_lent_on_their_own_core, 0, 2);
    tcase_add_test(who, small_jobs_do_not_wait_for_a_seat);
    tcase_add_loop_test(who, workers_never_outnumber_the_seats, 0, 3);
    TCase *order = add_case(suite, "order");
    tcase_add_loop_test(order, jobs_do_not_wait_behind_longer_ones, 0, 2);
    tcase_add_test(order, the_longest_get_their_turn_among_two_kinds);
    tcase_add_test(order, interludes_are_nobody_elses_time);
    tcase_add_test(order, what_ends_in_a_rush_has_ended);
    tcase_add_loop_test(order, calls_of_all_lengths_at_once, 0, 2);
    tcase_add_loop_test(order, long_jobs_get_their_turn, 0, sizeof shares / sizeof shares[0]);
    TCase *waiting = add_case(suite, "waiting");
    tcase_add_test(waiting, spinning_stays_within_cores_and_quota);
    tcase_add_loop_test(waiting, waiting_takes_little_cpu, 0, 2);
    tcase_add_test(waiting, an_idle_engine_uses_no_cpu);
    TCase *host = add_case(suite, "host");
    tcase_add_loop_test(host, fork_while_a_caller_sits_or_spins, 0, 2);
    tcase_add_test(host, signals_do_not_harm_a_caller_that_works);
    tcase_add_test(host, a_caller_that_works_is_cancelled_after_the_call);
    return run_suite(suite);
}
