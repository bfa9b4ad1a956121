/* SPDX-License-Identifier: MIT */
#include "blas.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "memory.h"
#include "rows.h"

/* What all of CBLAS has in common, with 32-bit integers; no header is needed for it. */
extern void cblas_sgemm(int order, int turn_a, int turn_b, int m, int n, int k, float alpha, const float *a, int lda,
                        const float *b, int ldb, float beta, float *c, int ldc);

extern void cblas_sgemv(int order, int turn_a, int m, int n, float alpha, const float *a, int lda, const float *x,
                        int step_x, float beta, float *y, int step_y);

enum { ROW_MAJOR = 101, AS_IT_IS = 111, TURNED = 112 };

/* How a BLAS is told its number of threads, as far as the one that is loaded has any. */
#define IF_THERE __attribute__((weak))
extern IF_THERE int openblas_get_num_threads(void);
extern IF_THERE void openblas_set_num_threads(int n);
extern IF_THERE int MKL_Set_Num_Threads_Local(int n);
extern IF_THERE long bli_thread_get_num_threads(void);
extern IF_THERE void bli_thread_set_num_threads(long n);

/* ---------------------------------------------------------------- settings of the process: OpenBLAS
 * They are shared by all calls: the first one in sets them, the last one out puts them back.
 */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int n_inside, callers_threads;

static bool is_openblas(void) { return openblas_get_num_threads && openblas_set_num_threads; }

static void put_back(void) {
    if (is_openblas() && openblas_get_num_threads() == 1)
        openblas_set_num_threads(callers_threads);
}

/* fork() waits for products under way, and no others begin meanwhile: what BLAS had locked or lent them would stay so
 * in the child. Both numbers under the lock. */
static int n_products, n_forks;
static pthread_cond_t fewer = PTHREAD_COND_INITIALIZER; /* of one or the other */

static void before_fork(void) {
    pthread_mutex_lock(&lock);
    n_forks++;
    while (n_products > 0)
        pthread_cond_wait(&fewer, &lock);
}

static void after_fork(void) {
    n_forks--;
    pthread_cond_broadcast(&fewer);
    pthread_mutex_unlock(&lock);
}

/* The calls that were under way are not under way in the child, and nobody waits there. */
static void after_fork_in_child(void) {
    if (n_inside)
        put_back();
    n_inside = n_forks = 0;
    pthread_cond_init(&fewer, NULL);
    pthread_mutex_unlock(&lock);
}

static void begin_product(void) {
    pthread_mutex_lock(&lock);
    while (n_forks > 0)
        pthread_cond_wait(&fewer, &lock);
    n_products++;
    pthread_mutex_unlock(&lock);
}

static void end_product(void) {
    pthread_mutex_lock(&lock);
    if (--n_products == 0)
        pthread_cond_broadcast(&fewer);
    pthread_mutex_unlock(&lock);
}

/* As the library is loaded, not by pthread_once(): see fork.c. */
__attribute__((constructor)) static void watch_forks(void) {
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

/* ---------------------------------------------------------------- small products
 * On some processors OpenBLAS has other kernels for products of up to a million multiplications, which add in another
 * order. There, products of which a dozen rows are that small are computed dozen by dozen, however many rows there are.
 */

enum { SMALL = 1000000, DOZEN = SA_ROW_GRAIN };

static bool has_small_kernels;

/* No name tells, so it is tried: a dozen rows alone, and as the first of a product that is not small. */
enum { TRIED_K = 1024, TRIED_N = 64, TRIED_M = 24 }; /* sums long enough to be cut, too */
_Static_assert((int64_t)DOZEN *TRIED_N *TRIED_K <= SMALL && (int64_t)TRIED_M * TRIED_N * TRIED_K > SMALL, "one each");

static bool rows_differ(bool turned, float *memory) {
    float *a = memory, *b = a + TRIED_M * TRIED_K, *few = b + TRIED_K * TRIED_N, *many = few + DOZEN * TRIED_N;
    for (int i = 0; i < (TRIED_M + TRIED_N) * TRIED_K; i++)
        a[i] = (float)(i * INT64_C(7919) % 1009) / 1009 - 0.5f;
    for (int all = 0; all < 2; all++)
        cblas_sgemm(ROW_MAJOR, AS_IT_IS, turned ? TURNED : AS_IT_IS, all ? TRIED_M : DOZEN, TRIED_N, TRIED_K, 1, a,
                    TRIED_K, b, turned ? TRIED_K : TRIED_N, 0, all ? many : few, TRIED_N);
    return memcmp(few, many, DOZEN * TRIED_N * sizeof *few) != 0;
}

static void try_small(void) {
    float *memory =
        sa_memory_alloc((TRIED_M * TRIED_K + TRIED_K * TRIED_N + (DOZEN + TRIED_M) * TRIED_N) * sizeof *memory);
    has_small_kernels = !memory || rows_differ(false, memory) || rows_differ(true, memory);
    sa_memory_free(memory);
}

/* A fork() waits for that, or the child's BLAS would keep one thread. */
static void begin(void) {
    if (!is_openblas())
        return;
    begin_product();
    const int n = openblas_get_num_threads();
    openblas_set_num_threads(1);
    try_small();
    openblas_set_num_threads(n);
    end_product();
}

void sa_blas_enter(void) {
    pthread_once(&once, begin);
    pthread_mutex_lock(&lock);
    if (n_inside++ == 0 && is_openblas()) {
        callers_threads = openblas_get_num_threads();
        openblas_set_num_threads(1);
    }
    pthread_mutex_unlock(&lock);
}

void sa_blas_leave(void) {
    pthread_mutex_lock(&lock);
    if (--n_inside == 0)
        put_back();
    pthread_mutex_unlock(&lock);
}

/* ---------------------------------------------------------------- settings of a thread: MKL, BLIS; products */

/* Outputs, or inputs, of which the weights stay in a cache for the next row. */
enum { AT_ONCE = 64 };

static int at_once(int n, int from) { return n - from < AT_ONCE ? n - from : AT_ONCE; }

static void multiply_by_rows(const struct sa_blas_product *p) {
    for (int r = 0; r < p->m && !p->add; r++)
        memset(p->c + (int64_t)r * p->c_stride, 0, (size_t)p->n * sizeof *p->c);
    for (int o = 0; o < p->n && p->turned; o += AT_ONCE)
        for (int r = 0; r < p->m; r++)
            cblas_sgemv(ROW_MAJOR, AS_IT_IS, at_once(p->n, o), p->k, 1, p->b + (int64_t)o * p->b_stride, p->b_stride,
                        p->a + (int64_t)r * p->a_stride, 1, 1, p->c + (int64_t)r * p->c_stride + o, 1);
    for (int i = 0; i < p->k && !p->turned; i += AT_ONCE)
        for (int r = 0; r < p->m; r++)
            cblas_sgemv(ROW_MAJOR, TURNED, at_once(p->k, i), p->n, 1, p->b + (int64_t)i * p->b_stride, p->b_stride,
                        p->a + (int64_t)r * p->a_stride + i, 1, 1, p->c + (int64_t)r * p->c_stride, 1);
}

static void multiply_all(const struct sa_blas_product *p) {
    const int rows = has_small_kernels && (int64_t)DOZEN * p->n * p->k <= SMALL ? DOZEN : p->m;
    for (int r = 0; r < p->m; r += rows)
        cblas_sgemm(ROW_MAJOR, AS_IT_IS, p->turned ? TURNED : AS_IT_IS, rows, p->n, p->k, 1,
                    p->a + (int64_t)r * p->a_stride, p->a_stride, p->b, p->b_stride, p->add ? 1 : 0,
                    p->c + (int64_t)r * p->c_stride, p->c_stride);
}

static void multiply(const struct sa_blas_product *p) {
    if (p->by_rows)
        multiply_by_rows(p);
    else
        multiply_all(p);
}

void sa_blas_multiply(const struct sa_blas_product *p) {
    const int mkl = MKL_Set_Num_Threads_Local ? MKL_Set_Num_Threads_Local(1) : 0;
    const long blis = bli_thread_get_num_threads && bli_thread_set_num_threads ? bli_thread_get_num_threads() : 0;
    if (blis > 1)
        bli_thread_set_num_threads(1);
    begin_product();
    multiply(p);
    end_product();
    if (blis > 1)
        bli_thread_set_num_threads(blis);
    if (MKL_Set_Num_Threads_Local)
        MKL_Set_Num_Threads_Local(mkl);
}
