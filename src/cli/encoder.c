/* SPDX-License-Identifier: MIT */
#include "encoder.h"

#include <stdlib.h>

static bool read_vocabulary(struct encoder *e, struct fault *fault) {
    e->vocab_path = encoder_path(e->config.folder, "vocab.txt", fault);
    if (!e->vocab_path || !tokenizer_open(&e->tokenizer, e->vocab_path, e->config.lower, fault))
        return false;
    const int32_t n = e->tokenizer.vocabulary.n;
    return n <= e->config.n_words || fault_set(fault, "%s: %d lines, more than vocab_size %lld of config.json",
                                               e->vocab_path, (int)n, (long long)e->config.n_words);
}

bool encoder_open(struct encoder *encoder, const char *folder, struct fault *fault) {
    *encoder = (struct encoder){0};
    if (encoder_read_config(&encoder->config, folder, fault) && read_vocabulary(encoder, fault) &&
        encoder_read_weights(encoder, fault))
        return true;
    encoder_close(encoder);
    return false;
}

void encoder_close(struct encoder *encoder) {
    for (int64_t i = 0; encoder->layers && i < encoder->config.n_layers; i++)
        sa_layer_destroy(encoder->layers[i].attention);
    for (int64_t i = 0; i < encoder->n_copies; i++)
        free(encoder->copies[i]);
    free(encoder->layers);
    free(encoder->copies);
    safetensors_close(&encoder->file);
    tokenizer_close(&encoder->tokenizer);
    free(encoder->vocab_path);
    free(encoder->model_path);
    *encoder = (struct encoder){0};
}
