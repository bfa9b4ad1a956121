/* SPDX-License-Identifier: MIT */
/* A layer of a real model: the engine's output against the model's own, as its framework computed it. */
#include <math.h>

#include "engines.h"

enum { TOKENS = 16, HEADS = 12, D = 32, N = TOKENS * HEADS * D, HEADER = 128 };

/* These files are NumPy's, with a header of 128 bytes; the program has a reader for any. */
static void read_npy(const char *name, float *to) {
    char path[512];
    snprintf(path, sizeof path, "%s/animal_layer3_%s.npy", TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "no %s", path);
    ck_assert_int_eq(fseek(file, HEADER, SEEK_SET), 0);
    ck_assert_uint_eq(fread(to, sizeof *to, N, file), N);
    fclose(file);
}

START_TEST(equals_the_models_own_output) {
    static float q[N], k[N], v[N], wanted[N], o[N], lse[TOKENS * HEADS];
    sa_engine *engine = engine_with(_i, 2);
    read_npy("q", q);
    read_npy("k", k);
    read_npy("v", v);
    read_npy("o", wanted);
    sa_sequence seq = {.n_q = TOKENS,
                       .n_k = TOKENS,
                       .q = {q, 0, 0},
                       .k = {k, 0, 0},
                       .v = {v, 0, 0},
                       .o = {o, 0, 0},
                       .lse = {lse, 0, 0}};
    sa_batch batch = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &seq, .n_query_heads = HEADS, .d_qk = D};
    ck_assert(!engine || sa_batch_forward(engine, &batch) == SA_OK);
    for (int i = 0; engine && i < N; i++)
        must(fabsf(o[i] - wanted[i]) < 2e-6f, "element %d: %g, the model has %g", i, (double)o[i], (double)wanted[i]);
    /* Head 1 sends "it" (token 10) to "animal" (token 2). */
    double s = 0;
    for (int c = 0; c < D; c++)
        s += (double)q[(10 * HEADS + 1) * D + c] * (double)k[(2 * HEADS + 1) * D + c] / sqrt((double)D);
    ck_assert(!engine || fabs(exp(s - (double)lse[1 * TOKENS + 10]) - 0.676848) < 1e-5);
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("real");
    tcase_add_loop_test(add_case(suite, "model"), equals_the_models_own_output, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
