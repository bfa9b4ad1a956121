/* SPDX-License-Identifier: MIT */
/* fork() before, between and during calls: the child goes on, with its copy of the engine and without its threads. A
 * child that hangs is ended by its alarm. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box.h"
#include "engine.h"
#include "inside.h"
#include "threads.h"

static const struct box_shape large = {4, 4, 2, 64, 48, 400, 400}, wide = {2, 4, 2, 300, 200, 300, 300},
                              small = {2, 4, 4, 16, 8, 12, 30};

struct boxes {
    struct box *large, *wide, *small;
};

static struct boxes make_boxes(void) {
    return (struct boxes){box_with_answer(1, large), box_with_answer(2, wide), box_with_answer(3, small)};
}

static void free_boxes(struct boxes *boxes) {
    box_free(boxes->large);
    box_free(boxes->wide);
    box_free(boxes->small);
}

/* AddressSanitizer's allocator of these days leaves its locks shut in the child if another thread was inside. */
#if defined(__has_feature)
#define WITH_CLANG_ASAN __has_feature(address_sanitizer)
#else
#define WITH_CLANG_ASAN 0
#endif
#if defined(__SANITIZE_ADDRESS__) || WITH_CLANG_ASAN
enum { FORKS_AMONG_THREADS = 0 };
#else
enum { FORKS_AMONG_THREADS = 20 };
#endif

/* ---------------------------------------------------------------- in the child: no Check, an exit code */

enum { CHILD_SECONDS = 30 };

static bool is_served(sa_engine *engine, struct box *box) {
    box_clear(box);
    return sa_batch_forward(engine, &box->batch) == SA_OK && box_right(box);
}

static int wait_for(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        ;
    return status;
}

static bool all_served(sa_engine *engine, struct boxes *boxes) {
    bool served = true;
    for (int i = 0; i < 3; i++)
        served = served && is_served(engine, boxes->small) && is_served(engine, boxes->large) &&
                 is_served(engine, boxes->wide);
    return served;
}

/* Check has a handler of its own, which would end the parent as well. */
static void limit_time(void) {
    signal(SIGALRM, SIG_DFL);
    alarm(CHILD_SECONDS);
}

static int be_a_child(sa_engine *engine, struct boxes *boxes, int generations) {
    sa_engine *own;
    limit_time();
    if (!all_served(engine, boxes))
        return 2;
    pid_t child = generations > 0 ? fork() : 0;
    if (generations > 0 && child == 0)
        _exit(be_a_child(engine, boxes, generations - 1));
    if (generations > 0 && wait_for(child) != 0)
        return 3;
    sa_engine_destroy(engine);
    if (sa_engine_create(NULL, &own) != SA_OK || !all_served(own, boxes))
        return 4;
    sa_engine_destroy(own);
    return 0;
}

static void check_child(sa_engine *engine, struct boxes *boxes, int generations) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(be_a_child(engine, boxes, generations));
    int status = wait_for(child);
    ck_assert_msg(status == 0, "the child ended with %s %d", WIFSIGNALED(status) ? "signal" : "code",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* ---------------------------------------------------------------- tests */

START_TEST(before_the_first_call) {
    struct boxes boxes = make_boxes();
    sa_engine *engine = engine_of(3);
    for (int i = 0; i < 5; i++)
        check_child(engine, &boxes, i == 0);
    check_forward(engine, boxes.large);
    sa_engine_destroy(engine);
    free_boxes(&boxes);
}
END_TEST

START_TEST(between_calls) {
    struct boxes boxes = make_boxes();
    sa_engine *engine = engine_of(3), *other = engine_of(2);
    check_forward(other, boxes.large);
    for (int i = 0; i < 10; i++) {
        check_forward(engine, i % 2 ? boxes.large : boxes.wide);
        check_child(engine, &boxes, i == 0);
    }
    check_forward(engine, boxes.large);
    check_forward(other, boxes.large);
    sa_engine_destroy(engine);
    check_child(other, &boxes, 0); /* an engine that is gone is not mended */
    sa_engine_destroy(other);
    free_boxes(&boxes);
}
END_TEST

struct caller {
    pthread_t thread;
    sa_engine *engine;
    struct boxes boxes;
    atomic_bool stop, wrong;
};

static void *call_until_stopped(void *argument) {
    struct caller *caller = argument;
    for (int i = 0; !caller->stop; i++)
        if (!is_served(caller->engine, i % 3 == 0 ? caller->boxes.large : caller->boxes.wide))
            caller->wrong = true;
    return NULL;
}

START_TEST(during_calls_of_others) {
    struct boxes boxes = make_boxes();
    sa_engine *engine = engine_of(3);
    struct caller callers[3];
    for (int i = 0; i < 3; i++) {
        callers[i] = (struct caller){.engine = engine, .boxes = make_boxes()};
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call_until_stopped, &callers[i]), 0);
    }
    for (int i = 0; i < FORKS_AMONG_THREADS; i++) {
        sleep_ms(i % 4);
        check_child(engine, &boxes, 0);
    }
    for (int i = 0; i < 3; i++) {
        callers[i].stop = true;
        pthread_join(callers[i].thread, NULL);
        ck_assert(!callers[i].wrong);
        free_boxes(&callers[i].boxes);
    }
    sa_engine_destroy(engine);
    free_boxes(&boxes);
}
END_TEST

static void *make_engines_until_stopped(void *argument) {
    struct caller *caller = argument;
    while (!caller->stop) {
        sa_engine_options options = {sizeof options, 3, SA_BIND_NONE, SA_ISA_DEFAULT, 0, NULL};
        if (sa_engine_create(&options, &caller->engine) != SA_OK || !is_served(caller->engine, caller->boxes.large))
            caller->wrong = true;
        sa_engine_destroy(caller->engine);
    }
    return NULL;
}

/* Teams start and stop meanwhile; the child uses an engine that was there before. */
START_TEST(while_engines_come_and_go) {
    struct boxes boxes = make_boxes();
    sa_engine *engine = engine_of(2);
    struct caller caller = {.boxes = make_boxes()};
    ck_assert_int_eq(pthread_create(&caller.thread, NULL, make_engines_until_stopped, &caller), 0);
    for (int i = 0; i < FORKS_AMONG_THREADS; i++) {
        sleep_ms(i % 3);
        pid_t child = fork();
        if (child == 0) {
            limit_time();
            _exit(all_served(engine, &boxes) ? 0 : 2);
        }
        ck_assert_int_eq(wait_for(child), 0);
    }
    caller.stop = true;
    pthread_join(caller.thread, NULL);
    ck_assert(!caller.wrong);
    sa_engine_destroy(engine);
    free_boxes(&caller.boxes);
    free_boxes(&boxes);
}
END_TEST

/* ---------------------------------------------------------------- while a thread of the team changes its workspace
 * Blocks of some size are mapped, so that one that was given back cannot be touched again; and a thread can be made to
 * wait right after it gave one back.
 */

int __real_posix_memalign(void **memory, size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes);
void __real_free(void *memory);
void __wrap_free(void *memory);

enum { MAPPED_BYTES = 1 << 16, MAX_MAPPED = 64 };

static struct {
    _Atomic(void *) at[MAX_MAPPED];
    size_t bytes[MAX_MAPPED];
    atomic_bool on, hold;
    atomic_int n_held;
    sem_t go;
} mapped;

int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes) {
    for (int i = 0; i < MAX_MAPPED && mapped.on && bytes >= MAPPED_BYTES; i++) {
        void *nothing = NULL, *taken = &mapped;
        if (atomic_compare_exchange_strong(&mapped.at[i], &nothing, taken)) {
            *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            mapped.bytes[i] = bytes;
            mapped.at[i] = *memory;
            return 0;
        }
    }
    return __real_posix_memalign(memory, alignment, bytes);
}

void __wrap_free(void *memory) {
    for (int i = 0; i < MAX_MAPPED && memory; i++)
        if (mapped.at[i] == memory) {
            munmap(memory, mapped.bytes[i]);
            mapped.at[i] = NULL;
            if (mapped.hold) {
                mapped.n_held++;
                sem_wait(&mapped.go);
            }
            return;
        }
    __real_free(memory);
}

static void *call_wide(void *argument) {
    struct caller *caller = argument;
    caller->wrong = !is_served(caller->engine, caller->boxes.wide);
    return NULL;
}

START_TEST(while_a_workspace_grows) {
    struct boxes boxes = make_boxes();
    struct caller caller = {.boxes = boxes};
    sem_init(&mapped.go, 0, 0);
    mapped.on = true;
    caller.engine = engine_of(2);
    for (int i = 0; i < 20; i++)
        check_forward(caller.engine, boxes.large);
    mapped.hold = true;
    ck_assert_int_eq(pthread_create(&caller.thread, NULL, call_wide, &caller), 0);
    for (int ms = 0; mapped.n_held == 0 && ms < 5000; ms++)
        sleep_ms(1);
    sleep_ms(20); /* the other one, too */
    bool held = mapped.n_held > 0;
    mapped.hold = false;
    if (held)
        check_child(caller.engine, &boxes, 0);
    for (int i = 0; i < 2; i++)
        sem_post(&mapped.go);
    pthread_join(caller.thread, NULL);
    ck_assert(!caller.wrong);
    check_forward(caller.engine, boxes.large);
    sa_engine_destroy(caller.engine);
    free_boxes(&boxes);
}
END_TEST

/* The child finds a layout that was being written. */
START_TEST(while_a_workspace_is_laid_out) {
    struct boxes boxes = make_boxes();
    sa_engine *engine = engine_of(2);
    for (int i = 0; i < 20; i++)
        check_forward(engine, boxes.large);
    struct sa_workspace whole[2], *spaces = engine->team.spaces;
    memcpy(whole, spaces, sizeof whole);
    for (int t = 0; t < 2; t++) {
        spaces[t].qt = spaces[t].s = NULL;
        spaces[t].result = (struct sa_state){NULL, NULL, NULL};
    }
    check_child(engine, &boxes, 0);
    memcpy(spaces, whole, sizeof whole);
    check_forward(engine, boxes.large);
    sa_engine_destroy(engine);
    free_boxes(&boxes);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("fork");
    TCase *tcase = add_case(suite, "fork");
    tcase_add_test(tcase, before_the_first_call);
    tcase_add_test(tcase, between_calls);
    tcase_add_test(tcase, during_calls_of_others);
    tcase_add_test(tcase, while_engines_come_and_go);
    tcase_add_test(tcase, while_a_workspace_grows);
    tcase_add_test(tcase, while_a_workspace_is_laid_out);
    return run_suite(suite);
}
