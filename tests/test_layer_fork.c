/* SPDX-License-Identifier: MIT */
/* fork() before, between and during calls of a layer: the child goes on with its copies of layer and engine, and finds
 * BLAS as whole as the parent's. Linked with cblas_sgemm() wrapped, to see who is inside. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "layer_calls.h"
#include "threads.h"

enum { CHILD_SECONDS = 30, FORKS = 30 };

static const int64_t lengths[5] = {100, 1, 200, 15, 17};
static float wanted[TOKENS * D];

/* ---------------------------------------------------------------- who is inside */

static atomic_int n_inside;

void __real_cblas_sgemm(int order, int turn_a, int turn_b, int m, int n, int k, float alpha, const float *a, int lda,
                        const float *b, int ldb, float beta, float *c, int ldc);
void __wrap_cblas_sgemm(int order, int turn_a, int turn_b, int m, int n, int k, float alpha, const float *a, int lda,
                        const float *b, int ldb, float beta, float *c, int ldc);

void __wrap_cblas_sgemm(int order, int turn_a, int turn_b, int m, int n, int k, float alpha, const float *a, int lda,
                        const float *b, int ldb, float beta, float *c, int ldc) {
    n_inside++;
    __real_cblas_sgemm(order, turn_a, turn_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    n_inside--;
}

/* ---------------------------------------------------------------- in the child: no Check, an exit code */

static int n_blas_threads(void) { return openblas_get_num_threads ? openblas_get_num_threads() : 0; }

static bool is_served(sa_engine *engine, const sa_layer *layer, float *y) {
    memset(y, 0, TOKENS * D * sizeof *y);
    return try_forward(engine, layer, lengths, 5, 0, y) == SA_OK && !memcmp(y, wanted, sizeof wanted);
}

static int be_a_child(sa_engine *engine, sa_layer *layer, int blas_threads) {
    static float y[TOKENS * D];
    signal(SIGALRM, SIG_DFL); /* Check has a handler of its own, which would end the parent as well */
    alarm(CHILD_SECONDS);
    if (n_inside != 0)
        return 2;
    if (n_blas_threads() != blas_threads)
        return 3;
    for (int i = 0; i < 3; i++)
        if (!is_served(engine, layer, y))
            return 4;
    if (n_blas_threads() != blas_threads)
        return 5;
    sa_layer_destroy(layer);
    sa_engine_destroy(engine);
    layer = new_layer(true);
    engine = engine_of_threads(2);
    return is_served(engine, layer, y) ? 0 : 6;
}

static void check_child(sa_engine *engine, sa_layer *layer, int blas_threads) {
    int status = 0;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(be_a_child(engine, layer, blas_threads));
    while (waitpid(child, &status, 0) < 0)
        ;
    ck_assert_msg(status == 0, "the child ended with %s %d", WIFSIGNALED(status) ? "signal" : "code",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* ---------------------------------------------------------------- tests */

START_TEST(before_and_between_calls) {
    static float y[TOKENS * D];
    sa_layer *layer = new_layer(true);
    sa_engine *one = engine_of_threads(1), *engine = engine_of_threads(3);
    const int before = n_blas_threads();
    forward(one, layer, lengths, 5, 0, wanted);
    for (int i = 0; i < 8; i++) {
        check_child(engine, layer, before);
        ck_assert(i % 2 || is_served(engine, layer, y));
    }
    ck_assert_int_eq(n_blas_threads(), before);
    sa_engine_destroy(one);
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
}
END_TEST

struct caller {
    pthread_t thread;
    sa_engine *engine;
    const sa_layer *layer;
    atomic_bool stop, wrong;
    float y[TOKENS * D];
};

static void *call_until_stopped(void *argument) {
    struct caller *c = argument;
    while (!c->stop)
        if (!is_served(c->engine, c->layer, c->y))
            c->wrong = true;
    return NULL;
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
enum { FORKS_AMONG_THREADS = FORKS };
#endif

/* Products under way are waited for: nobody would come back from them in the child, and what BLAS had lent them, or
 * locked, would stay so. */
START_TEST(during_calls_of_others) {
    enum { CALLERS = 3 };
    static struct caller callers[CALLERS];
    sa_layer *layer = new_layer(true);
    sa_engine *engine = engine_of_threads(3);
    const int before = n_blas_threads();
    forward(engine, layer, lengths, 5, 0, wanted);
    for (int i = 0; i < CALLERS; i++) {
        callers[i].engine = engine;
        callers[i].layer = layer;
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call_until_stopped, &callers[i]), 0);
    }
    for (int i = 0; i < FORKS_AMONG_THREADS; i++) {
        sleep_ms(i % 4);
        check_child(engine, layer, before);
    }
    for (int i = 0; i < CALLERS; i++) {
        callers[i].stop = true;
        pthread_join(callers[i].thread, NULL);
        ck_assert(!callers[i].wrong);
    }
    ck_assert_int_eq(n_blas_threads(), before);
    sa_engine_destroy(engine);
    sa_layer_destroy(layer);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("layer_fork");
    TCase *tcase = add_case(suite, "fork");
    tcase_add_test(tcase, before_and_between_calls);
    tcase_add_test(tcase, during_calls_of_others);
    return run_suite(suite);
}
