/* SPDX-License-Identifier: MIT */
#include "encode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "npy.h"

/* What is being made. */
struct encoding {
    struct encode_options options;
    struct encoder encoder;
    struct encode_text text;
    struct output output;
    float *vectors; /* in the output file if there is one, else `memory` */
    float *memory, *query;
    struct encode_counts counts;
};

static bool open_output(struct encoding *e) {
    const int64_t d = e->encoder.config.d_model;
    struct array array = {.name = e->options.out_path, .rank = 2, .shape = {e->text.n, d}, .type = SA_F32};
    struct fault fault;
    if (!e->options.out_path) {
        e->vectors = e->memory = malloc((size_t)(e->text.n * d) * sizeof(float) + 1);
        return e->memory || complain("no memory for the vectors of %lld lines", (long long)e->text.n);
    }
    if (!npy_create(&e->output, e->options.out_path, &array, &fault))
        return complain("%s", fault.text);
    e->vectors = (float *)(uintptr_t)array.data;
    return true;
}

static bool encode_query(struct encoding *e) {
    const struct encode_line line = {e->options.query, e->options.query ? strlen(e->options.query) : 0};
    struct encode_counts counts;
    if (!e->options.query)
        return true;
    e->query = malloc((size_t)e->encoder.config.d_model * sizeof *e->query);
    if (!e->query)
        return complain("no memory for the query's vector");
    return encode_lines(&e->encoder, &e->options, &line, 1, e->query, &counts);
}

static bool print_json(const struct encoding *e) {
    const struct encode_counts *c = &e->counts;
    return json_print(json_pack("{s:s, s:I, s:I, s:I, s:I, s:i, s:f, s:s}", "version", sa_version(), "lines",
                                (json_int_t)c->n_lines, "tokens", (json_int_t)c->n_tokens, "lines_cut",
                                (json_int_t)c->n_cut, "d", (json_int_t)e->encoder.config.d_model, "threads",
                                c->n_threads, "seconds", c->seconds, "output", e->options.out_path));
}

static void print_counts(const struct encode_counts *c) {
    printf("lines      %lld, %lld tokens", (long long)c->n_lines, (long long)c->n_tokens);
    if (c->n_cut)
        printf("; %lld as long as lines may be, or cut off there", (long long)c->n_cut);
    printf("\ntime       %.3f s on %d thread%s: %.0f lines/s, %.0f tokens/s\n", c->seconds, c->n_threads,
           c->n_threads == 1 ? "" : "s", c->seconds > 0 ? (double)c->n_lines / c->seconds : 0,
           c->seconds > 0 ? (double)c->n_tokens / c->seconds : 0);
}

static bool print_similar(const struct encoding *e) {
    printf("\n cosine    line\n");
    return encode_print_similar(&e->text, e->vectors, e->query, e->encoder.config.d_model, e->options.top);
}

/* The vectors are gone with the commit, so they are looked at before. */
static bool finish(struct encoding *e) {
    struct fault fault;
    if (!e->options.json)
        print_counts(&e->counts);
    if (e->options.query && !print_similar(e))
        return false;
    if (!e->options.out_path)
        return true;
    if (!output_commit(&e->output, &fault))
        return complain("%s", fault.text);
    if (e->options.json)
        return print_json(e);
    printf("wrote      %s\n", e->options.out_path);
    return true;
}

static bool encode(struct encoding *e) {
    struct fault fault;
    if (!encoder_open(&e->encoder, e->options.folder, &fault))
        return complain("%s", fault.text);
    return encode_read_text(e->options.lines, &e->text) && open_output(e) && encode_query(e) &&
           encode_lines(&e->encoder, &e->options, e->text.lines, e->text.n, e->vectors, &e->counts) && finish(e);
}

int command_encode(int argc, char **argv) {
    struct encoding e = {0};
    const int status = encode_parse(argc, argv, &e.options);
    if (status != DONE)
        return status < 0 ? DONE : status;
    const bool good = encode(&e);
    output_discard(&e.output);
    encoder_close(&e.encoder);
    encode_free_text(&e.text);
    free(e.memory);
    free(e.query);
    return good ? DONE : FAILED;
}
