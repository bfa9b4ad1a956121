/* SPDX-License-Identifier: MIT */
/* The team: many callers, each item once, threads that come and go or do not come at all. */
#include "team.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "box.h"
#include "engine.h"
#include "inside.h"
#include "threads.h"

static const struct box_shape large = {5, 4, 2, 64, 48, 500, 500}, small = {2, 4, 4, 16, 8, 12, 30};

/* ---------------------------------------------------------------- every item once */

enum { N_CALLERS = 16, MAX_OUTPUTS = 1 << 20 };

/* How often the row whose output begins at a float was finished, for every float of every caller's outputs. */
static struct {
    const float *o;
    unsigned char *times;
    size_t n;
} finished[N_CALLERS];

static const struct sa_kernels *real_kernels;

static void count_row(const float *row) {
    for (int i = 0; i < N_CALLERS; i++)
        if (row >= finished[i].o && row < finished[i].o + finished[i].n)
            __atomic_fetch_add(&finished[i].times[row - finished[i].o], 1, __ATOMIC_RELAXED);
}

static void count_rows(int n_rows, float *const *rows) {
    for (int r = 0; r < n_rows; r++)
        count_row(rows[r]);
}

static void finish_and_count(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]) {
    real_kernels->finish(state, n_rows, d, rows);
    count_rows(n_rows, rows);
}

static void few_finish_and_count(const struct sa_state *state, int n_rows, int d, float *const rows[SA_TILE_ROWS]) {
    real_kernels->few_finish(state, n_rows, d, rows);
    count_rows(n_rows, rows);
}

struct caller {
    pthread_t thread;
    int number, n_calls;
    sa_engine *engine;
    struct box *box;
    const char *trouble;
};

/* Rows begin at every d_v-th float of a sequence's o, and nowhere in its lse. */
static bool rows_are_counted(const struct caller *caller, unsigned times) {
    const struct box *box = caller->box;
    size_t d = (size_t)box->batch.d_v, heads = (size_t)box->batch.n_query_heads, at = 0;
    for (int i = 0; i < box->batch.n_sequences; i++) {
        size_t n_o = (size_t)box->seqs[i].n_q * heads * d;
        for (size_t c = 0; c < n_o + n_o / d; c++, at++)
            if (finished[caller->number].times[at] != (c < n_o && c % d == 0 ? times : 0))
                return false;
    }
    return at == box->n_o;
}

static void *call_often(void *argument) {
    struct caller *caller = argument;
    struct box *box = caller->box;
    int64_t progress;
    box->batch.progress = &progress;
    for (int i = 1; i <= caller->n_calls && !caller->trouble; i++) {
        progress = -1;
        box_clear(box);
        if (sa_batch_forward(caller->engine, &box->batch) != SA_OK)
            caller->trouble = "failed";
        else if (!box_right(box))
            caller->trouble = "wrong";
        else if (!rows_are_counted(caller, (unsigned)i))
            caller->trouble = "an item was left out or done twice";
        else if (progress <= 0)
            caller->trouble = "no progress";
    }
    return NULL;
}

/* Shapes differ from caller to caller; some are served in the caller, most by the team. */
static struct box_shape shape_of(int number) {
    return number % 5 == 4 ? small : (struct box_shape){1 + number % 5,    4,  2, 16 + number, 24 + number % 3,
                                                        100 + 40 * number, 300};
}

static void make_callers(struct caller *callers, sa_engine *engine, int n_calls) {
    sa_engine *one = engine_of(1);
    for (int i = 0; i < N_CALLERS; i++) {
        struct box *box = box_new((uint64_t)i, shape_of(i));
        box_answer(box, one);
        callers[i] = (struct caller){.number = i, .n_calls = n_calls, .engine = engine, .box = box};
        finished[i].o = box->o;
        finished[i].n = box->n_o;
        finished[i].times = calloc(box->n_o, 1);
    }
    sa_engine_destroy(one);
}

static void check_and_free_callers(struct caller *callers) {
    for (int i = 0; i < N_CALLERS; i++) {
        ck_assert_msg(!callers[i].trouble, "caller %d: %s", i, callers[i].trouble);
        box_free(callers[i].box);
        free(finished[i].times);
    }
}

START_TEST(sixteen_callers_share_a_team) {
    static const int team_sizes[] = {1, 2, 3, 8};
    struct sa_kernels counting;
    struct caller callers[N_CALLERS];
    sa_engine *engine = engine_of(team_sizes[_i]);
    real_kernels = engine->cpu.kernels;
    counting = *real_kernels;
    counting.finish = finish_and_count;
    counting.few_finish = few_finish_and_count;
    make_callers(callers, engine, 40);
    engine->cpu.kernels = &counting;
    int most = 0;
    for (int i = 0; i < N_CALLERS; i++)
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
    for (int i = 0; i < N_CALLERS; i++) {
        int n = count_threads();
        most = n > most ? n : most;
        pthread_join(callers[i].thread, NULL);
    }
    ck_assert_int_le(most, 1 + N_CALLERS + team_sizes[_i]);
    ck_assert_int_eq(engine->team.n_formed, team_sizes[_i]);
    check_and_free_callers(callers);
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- calls of few items */

enum { MEETING = 3 };

static atomic_int n_met, n_alone;

/* Returns when the others' items have begun as well. */
static void meet(void *argument, int64_t item, int32_t worker) {
    (void)argument, (void)item, (void)worker;
    n_met++;
    for (int ms = 0; n_met < MEETING && ms < 10000; ms++)
        sleep_ms(1);
    n_alone += n_met < MEETING;
}

static void *run_an_item(void *engine) {
    sa_status status = sa_engine_run(engine, 1, 0, meet, NULL);
    return status == SA_OK ? NULL : engine;
}

/* Calls of an item each that come one right after the other are worked on at once. */
START_TEST(each_item_finds_a_thread) {
    sa_engine *engine = engine_of(MEETING);
    for (int round = 0; round < 100 && n_alone == 0; round++) {
        pthread_t callers[MEETING];
        n_met = 0;
        for (int i = 0; i < MEETING; i++)
            ck_assert_int_eq(pthread_create(&callers[i], NULL, run_an_item, engine), 0);
        for (int i = 0; i < MEETING; i++) {
            void *failed;
            pthread_join(callers[i], &failed);
            ck_assert_ptr_null(failed);
        }
    }
    ck_assert_int_eq(n_alone, 0);
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- threads come and go */

/* All but the dispatcher are the OpenMP runtime's. */
START_TEST(threads_come_with_the_first_large_call_and_go_with_the_engine) {
    struct box *box = box_with_answer(1, large), *little = box_with_answer(2, small);
    wait_until_threads_are(1);
    const int kept = RUNTIME_KEEPS_THREADS ? 2 : 0;
    for (int round = 0; round < 10; round++) {
        sa_engine *engine = engine_of(3);
        int before = count_threads();
        check_forward(engine, little);
        ck_assert_int_le(count_threads(), before);
        for (int i = 0; i < 3; i++)
            check_forward(engine, box);
        wait_until_threads_are(1 + 3);
        sa_engine_destroy(engine);
        wait_until_threads_are_between(1, 1 + kept);
    }
    box_free(box);
    box_free(little);
}
END_TEST

START_TEST(two_engines_do_not_meet) {
    struct box *box = box_with_answer(1, large);
    sa_engine *a = engine_of(2), *b = engine_of(3);
    for (int i = 0; i < 5; i++) {
        check_forward(a, box);
        check_forward(b, box);
    }
    wait_until_threads_are(1 + 2 + 3);
    sa_engine_destroy(a);
    check_forward(b, box);
    wait_until_threads_are_between(1 + 3, 1 + 3 + RUNTIME_KEEPS_THREADS);
    sa_engine_destroy(b);
    box_free(box);
}
END_TEST

/* ---------------------------------------------------------------- a system with nothing to give */

static int threads_refused, conditions_refused, mutexes_refused;
static atomic_int threads_given = -1; /* before all are refused; -1: none is. Callers make threads at once */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*start)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*start)(void *), void *argument);
int __real_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *how);
int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *how);
int __real_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *how);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *how);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*start)(void *), void *argument) {
    if ((threads_refused > 0 && threads_refused--) || threads_given == 0)
        return EAGAIN;
    threads_given -= threads_given > 0;
    return __real_pthread_create(thread, how, start, argument);
}

int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *how) {
    return conditions_refused > 0 && --conditions_refused == 0 ? EAGAIN : __real_pthread_cond_init(condition, how);
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *how) {
    return mutexes_refused > 0 && --mutexes_refused == 0 ? EAGAIN : __real_pthread_mutex_init(mutex, how);
}

/* Without a team the caller does the work: the same bits. The next call tries again. */
START_TEST(without_a_thread_the_caller_works) {
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    struct box *box = box_with_answer(1, large);
    sa_engine *engine = engine_of(3);
    threads_refused = 2;
    check_forward(engine, box);
    check_forward(engine, box);
    ck_assert_int_eq(count_threads(), 1);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    ck_assert_int_eq(sigismember(&before, SIGUSR1), sigismember(&after, SIGUSR1));
    ck_assert_int_eq(threads_refused, 0);
    check_forward(engine, box);
    wait_until_threads_are(1 + 3);
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

/* The OpenMP runtime would end the process: it is not asked for threads that cannot be made. */
START_TEST(the_team_has_what_threads_there_are) {
    struct box *box = box_with_answer(1, large);
    sa_engine *engine = engine_of(4);
    threads_given = _i; /* the dispatcher and those that are tried */
    check_forward(engine, box);
    threads_given = -1;
    ck_assert_int_eq(engine->team.n_formed, _i);
    wait_until_threads_are(1 + _i);
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

/* The n-th mutex or condition variable is refused: a status, no engine; and a call only asks for memory again. */
START_TEST(without_a_mutex_there_is_no_engine) {
    for (int kind = 0; kind < 2; kind++)
        for (int n = 1;; n++) {
            int *refused = kind ? &conditions_refused : &mutexes_refused;
            sa_engine *engine;
            *refused = n;
            sa_status status = sa_engine_create(NULL, &engine);
            bool asked_less = *refused > 0;
            *refused = 0;
            if (asked_less) {
                ck_assert_int_eq(status, SA_OK);
                sa_engine_destroy(engine);
                ck_assert_int_gt(n, 1);
                break;
            }
            ck_assert_int_eq(status, SA_SYSTEM);
            ck_assert_ptr_null(engine);
            ck_assert_int_gt(strlen(sa_last_reason()), 0);
        }
    struct box *box = box_with_answer(1, small);
    sa_engine *engine = engine_of(2);
    conditions_refused = 1;
    ck_assert_int_ne(sa_batch_forward(engine, &box->batch), SA_OK);
    check_forward(engine, box);
    sa_engine_destroy(engine);
    box_free(box);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("team");
    TCase *callers = add_case(suite, "callers");
    tcase_add_loop_test(callers, sixteen_callers_share_a_team, 0, 4);
    tcase_add_test(callers, each_item_finds_a_thread);
    TCase *threads = add_case(suite, "threads");
    tcase_add_test(threads, threads_come_with_the_first_large_call_and_go_with_the_engine);
    tcase_add_test(threads, two_engines_do_not_meet);
    TCase *refused = add_case(suite, "refused");
    tcase_add_test(refused, without_a_thread_the_caller_works);
    tcase_add_loop_test(refused, the_team_has_what_threads_there_are, 1, 5);
    tcase_add_test(refused, without_a_mutex_there_is_no_engine);
    return run_suite(suite);
}
