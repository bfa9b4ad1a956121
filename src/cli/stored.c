/* SPDX-License-Identifier: MIT */
#include "stored.h"

#include <stdio.h>

#include "types.h"

void stored_print(const struct store_options *options, const sa_batch *batch) {
    printf("types      q %s, k %s, v %s, o %s", type_name(batch->q_type), type_name(batch->k_type),
           type_name(batch->v_type), type_name(batch->o_type));
    if (options->kv_int8)
        printf("; a scale for each token and kv head, %s", type_name(batch->scale_type));
    if (options->page_tokens)
        printf("; k and v in shuffled pages of %lld token%s", (long long)options->page_tokens,
               options->page_tokens == 1 ? "" : "s");
    putchar('\n');
}

void stored_add_json(json_t *json, const struct store_options *options, const sa_batch *batch) {
    static const char *const names[] = {"q_type", "k_type", "v_type", "o_type"};
    const int types[] = {batch->q_type, batch->k_type, batch->v_type, batch->o_type};
    for (int i = 0; i < 4; i++)
        json_object_set_new(json, names[i], json_string(type_name(types[i])));
    if (options->kv_int8)
        json_object_set_new(json, "scale_type", json_string(type_name(batch->scale_type)));
    if (options->page_tokens)
        json_object_set_new(json, "page_tokens", json_integer(options->page_tokens));
}
