/* SPDX-License-Identifier: MIT */
/* Under every combination of OpenMP's variables: right bits, the caller's affinity as it was, OpenMP's settings too.
 * The runtime reads its environment before main(), so the program calls itself. */
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box.h"

static char *self;

/* In the child: 0 if everything was as promised, else what was not. */
static int serve_once(void) {
    cpu_set_t before, after;
    struct box *box = box_new(1, (struct box_shape){2, 4, 2, 40, 24, 300, 400});
    sa_engine *one, *engine;
    sa_engine_options options = {sizeof options, 1, SA_BIND_NONE, 0, 0, NULL};
    int threads = omp_get_max_threads(), dynamic = omp_get_dynamic();
    if (sched_getaffinity(0, sizeof before, &before) != 0)
        return 10;
    if (sa_engine_create(&options, &one) != SA_OK || sa_engine_create(NULL, &engine) != SA_OK)
        return 11;
    if (sa_batch_forward(one, &box->batch) != SA_OK)
        return 12;
    box_learn(box);
    for (int i = 0; i < 5; i++) {
        box_clear(box);
        if (sa_batch_forward(engine, &box->batch) != SA_OK || !box_right(box))
            return 13;
    }
    if (sched_getaffinity(0, sizeof after, &after) != 0 || !CPU_EQUAL(&before, &after))
        return 14;
    if (omp_get_max_threads() != threads || omp_get_dynamic() != dynamic)
        return 15;
    sa_engine_destroy(engine);
    sa_engine_destroy(one);
    box_free(box);
    return 0;
}

static void check(const char *const variables[], int n) {
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < n; i++)
            if (variables[i])
                putenv((char *)(uintptr_t)variables[i]);
        alarm(60);
        execl(self, self, "--serve-once", (char *)NULL);
        _exit(20);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        ;
    must(status == 0, "%s %s %s: %s %d", variables[0] ? variables[0] : "-", variables[1] ? variables[1] : "-",
         variables[2] ? variables[2] : "-", WIFSIGNALED(status) ? "signal" : "code",
         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

START_TEST(numbers_of_threads) {
    static const char *const counts[] = {NULL, "OMP_NUM_THREADS=1", "OMP_NUM_THREADS=3,2", "OMP_NUM_THREADS=rubbish"};
    static const char *const limits[] = {NULL, "OMP_THREAD_LIMIT=1", "OMP_THREAD_LIMIT=2"};
    static const char *const dynamics[] = {NULL, "OMP_DYNAMIC=true"};
    const char *variables[3] = {counts[_i / 6], limits[_i / 2 % 3], dynamics[_i % 2]};
#if defined(__clang__)
    if (_i / 6 == 3) {
        printf("skipped: under %s LLVM's OpenMP runtime may abort in any program\n", variables[0]);
        return;
    }
#endif
    check(variables, 3);
}
END_TEST

START_TEST(bindings) {
    static const char *const settings[][3] = {
        {"OMP_PROC_BIND=true"},  {"OMP_PROC_BIND=false"},    {"OMP_PROC_BIND=close", "OMP_PLACES=cores"},
        {"OMP_PLACES=threads"},  {"OMP_PLACES={0}"},         {"OMP_PROC_BIND=spread", "OMP_PLACES=sockets"},
        {"GOMP_CPU_AFFINITY=0"}, {"OMP_WAIT_POLICY=active"}, {"OMP_PROC_BIND=true", "OMP_NUM_THREADS=5"},
        {"SA_MAX_ISA=generic"},  {"SA_MAX_ISA=avx2"},        {"OMP_STACKSIZE=64k"}};
    check(settings[_i], 3);
}
END_TEST

/* Calls from inside of the caller's own region. */
START_TEST(inside_a_region) {
    struct box *boxes[4];
    int wrong = 0;
    for (int i = 0; i < 4; i++)
        boxes[i] = box_with_answer((uint64_t)i, (struct box_shape){2, 4, 2, 40, 24, 200, 300});
    sa_engine *engine = engine_of(2);
#pragma omp parallel for num_threads(4) reduction(+ : wrong)
    for (int i = 0; i < 40; i++)
#pragma omp critical(box)
    {
        box_clear(boxes[i % 4]);
        wrong += sa_batch_forward(engine, &boxes[i % 4]->batch) != SA_OK || !box_right(boxes[i % 4]);
    }
    ck_assert_int_eq(wrong, 0);
    sa_engine_destroy(engine);
    for (int i = 0; i < 4; i++)
        box_free(boxes[i]);
}
END_TEST

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--serve-once") == 0)
        return serve_once();
    self = argv[0];
    Suite *suite = suite_create("environment");
    TCase *tcase = add_case(suite, "environment");
    tcase_add_loop_test(tcase, numbers_of_threads, 0, 24);
    tcase_add_loop_test(tcase, bindings, 0, 12);
    tcase_add_test(tcase, inside_a_region);
    return run_suite(suite);
}
