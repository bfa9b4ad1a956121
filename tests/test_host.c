/* SPDX-License-Identifier: MIT */
/* What a host program notices of the team: no CPU while idle, no signals taken, no thread of its own bound or lost. */
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "box.h"
#include "engine.h"
#include "inside.h"
#include "threads.h"

static const struct box_shape large = {5, 4, 2, 64, 48, 500, 500}, small = {2, 4, 4, 16, 8, 12, 30};

/* ---------------------------------------------------------------- at rest */

/* Threads that wait do not spin. */
START_TEST(an_idle_team_uses_no_cpu) {
    struct box *box = box_with_answer(1, large);
    sa_engine *engine = engine_of(4);
    struct rusage before, after;
    check_forward(engine, box);
    sleep_ms(50); /* the last of them go to sleep */
    getrusage(RUSAGE_SELF, &before);
    sleep_ms(400);
    getrusage(RUSAGE_SELF, &after);
    double seconds =
        (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
        1e-6 * (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
                        before.ru_stime.tv_usec);
    ck_assert_msg(seconds < 0.04, "%g s of CPU in 0.4 s of rest", seconds);
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

/* ---------------------------------------------------------------- binding */

START_TEST(bound_threads_stand_where_their_seats_are) {
    struct box *box = box_with_answer(1, large);
    cpu_set_t before, after;
    sa_engine *engine;
    sa_engine_options options = {sizeof options, 0, _i ? SA_BIND_SPREAD : SA_BIND_CLOSE, SA_ISA_DEFAULT, 0, NULL};
    unsetenv("OMP_PROC_BIND");
    unsetenv("OMP_PLACES");
    unsetenv("GOMP_CPU_AFFINITY");
    sched_getaffinity(0, sizeof before, &before);
    ck_assert_int_eq(sa_engine_create(&options, &engine), SA_OK);
    check_forward(engine, box);
    int n = engine->team.shape.n_threads, ids[64];
    wait_until_threads_are(1 + n);
    for (int ms = 0; engine->team.n_bound < n && ms < 5000; ms++)
        sleep_ms(1);
    ck_assert_int_eq(engine->team.n_bound, n);
    ck_assert_int_le(list_threads(ids, 64), 64);
    for (int i = 0; i < 1 + n; i++) {
        cpu_set_t mask;
        ck_assert_int_eq(sched_getaffinity(ids[i], sizeof mask, &mask), 0);
        ck_assert_int_eq(CPU_COUNT(&mask), ids[i] == getpid() ? CPU_COUNT(&before) : 1);
    }
    sa_engine_destroy(engine);
    sched_getaffinity(0, sizeof after, &after);
    ck_assert(CPU_EQUAL(&before, &after));
    box_free(box);
}
END_TEST

struct called {
    sa_engine *engine;
    struct box *box;
    int cpu;
};

static void *call_from_one_cpu(void *argument) {
    const struct called *called = argument;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(called->cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    check_forward(called->engine, called->box);
    return NULL;
}

/* Whoever calls first, threads that are not bound run where the engine was made. */
START_TEST(threads_do_not_live_where_the_first_caller_does) {
    struct box *box = box_with_answer(1, large);
    sa_engine_options options = {sizeof options, 2, SA_BIND_NONE, SA_ISA_DEFAULT, 0, NULL};
    struct called called = {NULL, box, sched_getcpu()};
    cpu_set_t here, mask;
    pthread_t caller;
    int ids[64];
    unsetenv("OMP_PROC_BIND");
    unsetenv("OMP_PLACES");
    unsetenv("GOMP_CPU_AFFINITY");
    sched_getaffinity(0, sizeof here, &here);
    ck_assert_int_eq(sa_engine_create(&options, &called.engine), SA_OK);
    ck_assert_int_eq(pthread_create(&caller, NULL, call_from_one_cpu, &called), 0);
    pthread_join(caller, NULL);
    wait_until_threads_are(1 + 2);
    ck_assert_int_eq(list_threads(ids, 64), 1 + 2);
    for (int i = 0; i < 1 + 2; i++) {
        ck_assert_int_eq(sched_getaffinity(ids[i], sizeof mask, &mask), 0);
        must(CPU_EQUAL(&mask, &here), "thread %d of %d may run on %d cpus of %d", i, 3, CPU_COUNT(&mask),
             CPU_COUNT(&here));
    }
    sa_engine_destroy(called.engine);
    box_free(box);
}
END_TEST

/* ---------------------------------------------------------------- signals */

static volatile sig_atomic_t n_handled, handled_by;

static void handle(int signal) {
    (void)signal;
    n_handled++;
    handled_by = (sig_atomic_t)gettid();
}

START_TEST(signals_go_to_the_hosts_threads) {
    struct box *box = box_with_answer(1, large);
    sa_engine *engine = engine_of(3);
    sigset_t usr1, pending;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    signal(SIGUSR1, handle);
    check_forward(engine, box);
    wait_until_threads_are(1 + 3);
    for (int i = 1; i <= 5; i++) { /* nobody else may take it while this thread does not */
        pthread_sigmask(SIG_BLOCK, &usr1, NULL);
        kill(getpid(), SIGUSR1);
        sleep_ms(10);
        ck_assert_int_eq(n_handled, i - 1);
        sigpending(&pending);
        ck_assert(sigismember(&pending, SIGUSR1));
        pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
        ck_assert_int_eq(n_handled, i);
        ck_assert_int_eq(handled_by, gettid());
    }
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

START_TEST(the_teams_threads_block_every_signal) {
    sigset_t before, after; /* before any team was started */
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    struct box *box = box_with_answer(1, large);
    sa_engine *engine = engine_of(3);
    check_forward(engine, box);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int s = 1; s < SIGRTMIN; s++)
        ck_assert_int_eq(sigismember(&before, s), sigismember(&after, s));
    wait_until_threads_are(1 + 3);
    int ids[4], n = list_threads(ids, 4);
    ck_assert_int_eq(n, 4);
    for (int i = 0; i < n; i++)
        for (int s = 1; s < 32; s++)
            if (ids[i] != getpid() && s != SIGKILL && s != SIGSTOP)
                ck_assert_msg(blocked_signals(ids[i]) >> (s - 1) & 1, "signal %d is not blocked", s);
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

/* ---------------------------------------------------------------- cancellation */

struct cancelled {
    sa_engine *engine;
    struct box *box;
    int64_t progress;
    bool returned;
    int state;
};

static void *call_and_be_cancelled(void *argument) {
    struct cancelled *c = argument;
    c->box->batch.progress = &c->progress;
    if (sa_batch_forward(c->engine, &c->box->batch) == SA_OK)
        __atomic_store_n(&c->returned, true, __ATOMIC_SEQ_CST);
    pthread_testcancel();
    return NULL;
}

static void *make_and_be_cancelled(void *argument) {
    bool *through = argument;
    sa_engine *engine;
    pthread_cancel(pthread_self());
    if (sa_engine_create(NULL, &engine) == SA_OK)
        sa_engine_destroy(engine);
    *through = true;
    pthread_testcancel();
    return NULL;
}

START_TEST(cancellation_waits_for_an_engine) {
    pthread_t thread;
    bool through = false;
    void *result;
    ck_assert_int_eq(pthread_create(&thread, NULL, make_and_be_cancelled, &through), 0);
    pthread_join(thread, &result);
    ck_assert(through && result == PTHREAD_CANCELED);
}
END_TEST

/* The caller is cancelled inside: that waits for the end of the call, and takes effect then. */
START_TEST(cancellation_waits_for_the_call) {
    const struct box_shape long_one = {1, 4, 4, 64, 64, 2500, 2500};
    struct cancelled c = {.box = box_with_answer(1, long_one), .engine = engine_of(2)};
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        void *result;
        c.progress = 0;
        c.returned = false;
        box_clear(c.box);
        ck_assert_int_eq(pthread_create(&thread, NULL, call_and_be_cancelled, &c), 0);
        while (__atomic_load_n(&c.progress, __ATOMIC_SEQ_CST) == 0)
            sched_yield();
        bool inside = !__atomic_load_n(&c.returned, __ATOMIC_SEQ_CST);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        ck_assert(inside && c.returned && result == PTHREAD_CANCELED);
        ck_assert(box_right(c.box));
    }
    check_forward(c.engine, c.box); /* nothing is left locked or queued */
    sa_engine_destroy(c.engine);
    box_free(c.box);
}
END_TEST

START_TEST(the_callers_cancel_state_stays) {
    struct box *box = box_with_answer(1, small);
    sa_engine *engine = engine_of(2);
    int state;
    check_forward(engine, box);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    ck_assert_int_eq(state, PTHREAD_CANCEL_ENABLE);
    check_forward(engine, box);
    ck_assert_int_ne(sa_batch_forward(engine, NULL), SA_OK);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
    ck_assert_int_eq(state, PTHREAD_CANCEL_DISABLE);
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

/* ---------------------------------------------------------------- floating point */

/* Whatever mode the caller is in: the same bits, and its mode and flags as they were. */
START_TEST(the_callers_rounding_stays) {
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST};
    struct box *boxes[] = {box_with_answer(1, large), box_with_answer(2, small)};
    sa_engine *engine = engine_of(2);
    for (int i = 0; i < 8; i++) {
        fesetround(modes[i / 2]);
        feclearexcept(FE_ALL_EXCEPT);
        feraiseexcept(FE_DIVBYZERO);
        check_forward(engine, boxes[i % 2]);
        ck_assert_int_eq(fegetround(), modes[i / 2]);
        ck_assert_int_eq(fetestexcept(FE_ALL_EXCEPT), FE_DIVBYZERO);
    }
    sa_engine_destroy(engine);
    box_free(boxes[0]);
    box_free(boxes[1]);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("host");
    tcase_add_test(add_case(suite, "idle"), an_idle_team_uses_no_cpu);
    TCase *binding = add_case(suite, "binding");
    tcase_add_loop_test(binding, bound_threads_stand_where_their_seats_are, 0, 2);
    tcase_add_test(binding, threads_do_not_live_where_the_first_caller_does);
    TCase *host = add_case(suite, "host");
    tcase_add_test(host, signals_go_to_the_hosts_threads);
    tcase_add_test(host, the_teams_threads_block_every_signal);
    tcase_add_test(host, cancellation_waits_for_the_call);
    tcase_add_test(host, cancellation_waits_for_an_engine);
    tcase_add_test(host, the_callers_cancel_state_stays);
    tcase_add_test(host, the_callers_rounding_stays);
    return run_suite(suite);
}
