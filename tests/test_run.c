/* SPDX-License-Identifier: MIT */
/* sa_engine_run(): every item once, workers apart, among calls that compute; and sa_set_reason(). */
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "box.h"
#include "engines.h"

enum { MOST_ITEMS = 5000, THREADS = 3 };

struct errand {
    int32_t times[MOST_ITEMS];
    int32_t busy[THREADS]; /* workers that are at an item */
    int32_t wrong;
    int32_t rounding;
};

/* As the processor does it; fegetround() may speak of another unit. */
static bool rounds_to_nearest(void) {
    volatile float one = 1, sum = one + 0x1p-24f;
    return sum == 1;
}

static void note(void *argument, int64_t item, int32_t worker) {
    struct errand *e = argument;
    if (worker < 0 || worker >= THREADS || __atomic_fetch_add(&e->busy[worker], 1, __ATOMIC_SEQ_CST) != 0)
        __atomic_store_n(&e->wrong, 1, __ATOMIC_SEQ_CST);
    if (!rounds_to_nearest())
        __atomic_store_n(&e->rounding, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&e->times[item], 1, __ATOMIC_SEQ_CST);
    if (worker >= 0 && worker < THREADS)
        __atomic_fetch_sub(&e->busy[worker], 1, __ATOMIC_SEQ_CST);
}

static void run_and_check(sa_engine *engine, int64_t n, double seconds) {
    struct errand *e = calloc(1, sizeof *e);
    must(e && sa_engine_run(engine, n, seconds, note, e) == SA_OK, "%s", sa_last_reason());
    must(!e->wrong && !e->rounding, "%lld items: two on one worker, or no such worker, or a rounding mode",
         (long long)n);
    for (int64_t i = 0; i < MOST_ITEMS; i++)
        must(e->times[i] == (i < n), "item %lld of %lld: %d times", (long long)i, (long long)n, (int)e->times[i]);
    free(e);
}

/* In the caller, brief and long; whatever the caller's rounding mode is. */
static const double lengths[] = {1e-6, 3e-5, 1e-3, 0, 1};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

START_TEST(every_item_once) {
    for (int threads = 1; threads <= THREADS; threads += THREADS - 1) {
        sa_engine *engine = engine_of(threads);
        for (int i = 0; i < N_LENGTHS; i++)
            for (int64_t n = 0; n <= MOST_ITEMS; n = 3 * n + 1) {
                fesetround(FE_UPWARD);
                run_and_check(engine, n, lengths[i]);
                ck_assert(!rounds_to_nearest());
                fesetround(FE_TONEAREST);
            }
        sa_engine_destroy(engine);
    }
}
END_TEST

struct caller {
    sa_engine *engine;
    int seed;
    bool right;
};

static void *call_often(void *argument) {
    struct caller *caller = argument;
    struct box *box = box_with_answer((uint64_t)caller->seed, (struct box_shape){4, 4, 2, 64, 48, 200, 200});
    caller->right = true;
    for (int i = 0; i < 60; i++) {
        run_and_check(caller->engine, 1 + (i * 131 + caller->seed * 17) % 300, lengths[i % N_LENGTHS]);
        box_clear(box);
        caller->right = caller->right && sa_batch_forward(caller->engine, &box->batch) == SA_OK && box_right(box);
    }
    box_free(box);
    return NULL;
}

START_TEST(among_calls_that_compute) {
    enum { CALLERS = 4 };
    sa_engine *engine = engine_of(THREADS);
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){engine, i + 1, false};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert(callers[i].right);
    }
    sa_engine_destroy(engine);
}
END_TEST

static void refuse(sa_engine *engine, int64_t n, double seconds, sa_item_function *function, sa_status wanted,
                   const char *word) {
    must(sa_engine_run(engine, n, seconds, function, NULL) == wanted && strstr(sa_last_reason(), word), "%s: %s", word,
         sa_last_reason());
}

START_TEST(refusals) {
    sa_engine *engine = engine_of(1), *plans;
    sa_engine_options options = {.struct_size = sizeof options, .topology = "core:4 pu:1"};
    ck_assert(sa_engine_create(&options, &plans) == SA_OK);
    refuse(NULL, 1, 0, note, SA_INVALID, "engine");
    refuse(plans, 1, 0, note, SA_UNSUPPORTED, "topology");
    refuse(engine, -1, 0, note, SA_INVALID, "n_items");
    refuse(engine, INT64_MAX, 0, note, SA_INVALID, "n_items");
    refuse(engine, 1, -1, note, SA_INVALID, "seconds");
    feclearexcept(FE_ALL_EXCEPT);
    refuse(engine, 1, (double)NAN, note, SA_INVALID, "seconds");
    ck_assert_int_eq(fetestexcept(FE_ALL_EXCEPT), 0);
    refuse(engine, 1, 0, NULL, SA_INVALID, "function");
    sa_engine_destroy(plans);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(reasons) {
    char lengthy[1000];
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = 0;
    ck_assert(sa_set_reason(SA_SYSTEM, "one %s\ntwo") == SA_SYSTEM);
    ck_assert_str_eq(sa_last_reason(), "one %s");
    ck_assert(sa_set_reason(SA_INVALID, lengthy) == SA_INVALID);
    ck_assert_uint_eq(strlen(sa_last_reason()), 255);
    ck_assert(sa_set_reason(SA_INVALID, sa_last_reason() + 200) == SA_INVALID);
    ck_assert_uint_eq(strlen(sa_last_reason()), 55);
    sa_engine *engine;
    const sa_engine_options options = {.struct_size = sizeof options, .topology = "no\ntopology\033"};
    ck_assert(sa_engine_create(&options, &engine) == SA_INVALID);
    ck_assert_ptr_null(strpbrk(sa_last_reason(), "\n\033"));
    ck_assert(sa_set_reason(SA_OK, NULL) == SA_OK);
    ck_assert_str_eq(sa_last_reason(), "");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("run");
    tcase_add_test(add_case(suite, "items"), every_item_once);
    tcase_add_test(add_case(suite, "callers"), among_calls_that_compute);
    tcase_add_test(add_case(suite, "refusals"), refusals);
    tcase_add_test(add_case(suite, "reasons"), reasons);
    return run_suite(suite);
}
