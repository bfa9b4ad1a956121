/* SPDX-License-Identifier: MIT */
#include "layer_blas.h"

#include <stdio.h>

/* What all of CBLAS has in common, with 32-bit integers; no header is needed for it. */
enum { ROW_MAJOR = 101, AS_IT_IS = 111, TURNED = 112 };
extern void cblas_sgemm(int order, int turn_a, int turn_b, int m, int n, int k, float alpha, const float *a, int lda,
                        const float *b, int ldb, float beta, float *c, int ldc);
extern void cblas_dgemm(int order, int turn_a, int turn_b, int m, int n, int k, double alpha, const double *a, int lda,
                        const double *b, int ldb, double beta, double *c, int ldc);
extern void cblas_sgemv(int order, int turn_a, int m, int n, float alpha, const float *a, int lda, const float *x,
                        int incx, float beta, float *y, int incy);

/* What only some have. */
#define IF_THERE __attribute__((weak))
extern IF_THERE int openblas_get_num_threads(void);
extern IF_THERE void openblas_set_num_threads(int n);
extern IF_THERE char *openblas_get_config(void);
extern IF_THERE int openblas_get_parallel(void);
extern IF_THERE int MKL_Get_Max_Threads(void);
extern IF_THERE void MKL_Set_Num_Threads(int n);
extern IF_THERE void MKL_Get_Version_String(char *text, int n);
extern IF_THERE long bli_thread_get_num_threads(void);
extern IF_THERE void bli_thread_set_num_threads(long n);
extern IF_THERE const char *bli_info_get_version_str(void);

int layer_blas_set_threads(int n) {
    int had = 0;
    if (openblas_get_num_threads && openblas_set_num_threads) {
        had = openblas_get_num_threads();
        openblas_set_num_threads(n);
    } else if (MKL_Get_Max_Threads && MKL_Set_Num_Threads) {
        had = MKL_Get_Max_Threads();
        MKL_Set_Num_Threads(n);
    } else if (bli_thread_get_num_threads && bli_thread_set_num_threads) {
        had = (int)bli_thread_get_num_threads();
        bli_thread_set_num_threads(n);
    }
    return had;
}

const char *layer_blas_name(char text[LAYER_BLAS_CHARS]) {
    static const char *const threads[] = {"no threads", "threads of its own", "OpenMP"};
    const int parallel = openblas_get_parallel ? openblas_get_parallel() : -1;
    if (openblas_get_config)
        snprintf(text, LAYER_BLAS_CHARS, "%s%s%s", openblas_get_config(), parallel >= 0 ? "; " : "",
                 parallel >= 0 && parallel <= 2 ? threads[parallel] : "");
    else if (MKL_Get_Version_String)
        MKL_Get_Version_String(text, LAYER_BLAS_CHARS);
    else if (bli_info_get_version_str)
        snprintf(text, LAYER_BLAS_CHARS, "BLIS %s", bli_info_get_version_str());
    else
        snprintf(text, LAYER_BLAS_CHARS, "does not say; as many threads as it likes");
    return text;
}

void layer_blas_multiply(int64_t m, int n, int k, const float *a, const float *b, float *c) {
    cblas_sgemm(ROW_MAJOR, AS_IT_IS, TURNED, (int)m, n, k, 1, a, k, b, k, 0, c, n);
}

void layer_blas_multiply_row(int n, int k, const float *a, const float *b, float *c) {
    cblas_sgemv(ROW_MAJOR, AS_IT_IS, n, k, 1, b, k, a, 1, 0, c, 1);
}

void layer_blas_multiply_exactly(int64_t m, int n, int k, const double *a, const double *b, double *c) {
    cblas_dgemm(ROW_MAJOR, AS_IT_IS, TURNED, (int)m, n, k, 1, a, k, b, k, 0, c, n);
}
