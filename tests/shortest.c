/* SPDX-License-Identifier: MIT */
#include <sa/sa.h>
#include <stdio.h>
int main(void) {
    float q[2 * 4] = {1, 0, 0, 0, 0, 1, 0, 0}, k[3 * 4] = {9, 0, 0, 0, 0, 9}, v[3 * 4] = {1, 1, 1, 1}, o[2 * 4];
    sa_engine *engine;
    if (sa_engine_create(NULL, &engine) != SA_OK) return puts(sa_last_reason()), 1;
    sa_sequence seq = {.n_q = 2, .n_k = 3, .q = {q, 0, 0}, .k = {k, 0, 0}, .v = {v, 0, 0}, .o = {o, 0, 0}};
    sa_batch batch = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &seq, .n_query_heads = 1, .d_qk = 4};
    if (sa_batch_forward(engine, &batch) != SA_OK) return puts(sa_last_reason()), 1;
    printf("%f %f\n", o[0], o[4]);
    sa_engine_destroy(engine);
}
