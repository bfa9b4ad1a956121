/* SPDX-License-Identifier: MIT */
#include <sa/layer.h>
#include <stdio.h>
int main(void) {
    float one[2 * 2] = {1, 0, 0, 1}, x[3 * 2] = {9, 0, 0, 9, 0, 0}, y[3 * 2];
    sa_layer_options options = {.struct_size = sizeof options, .d_model = 2, .n_query_heads = 1};
    options.w_q.data = options.w_k.data = options.w_v.data = options.w_o.data = one;
    sa_engine *engine;
    sa_layer *layer;
    if (sa_engine_create(NULL, &engine) != SA_OK)
        return puts(sa_last_reason()), 1;
    if (sa_layer_create(&options, &layer) != SA_OK)
        return puts(sa_last_reason()), 1;
    sa_sequence seq = {.n_q = 3};
    sa_layer_tokens tokens = {.x = x, .y = y};
    sa_batch attention = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &seq};
    sa_layer_batch batch = {SA_LAYER_BATCH_HEAD, .attention = &attention, .tokens = &tokens};
    if (sa_layer_forward(engine, layer, &batch) != SA_OK)
        return puts(sa_last_reason()), 1;
    printf("%f %f\n", y[4], y[5]);
    sa_layer_destroy(layer);
    sa_engine_destroy(engine);
}
