/* SPDX-License-Identifier: MIT */
/* The files that a batch writes: each an array for all sequences, or a tensor a sequence. */
#include <stdlib.h>

#include "cli.h"
#include "options.h"
#include "run.h"
#include "types.h"

static const char *const suffixes[N_OUTPUTS] = {[OUTPUT_O] = "o",
                                                [OUTPUT_LSE] = "lse",
                                                [OUTPUT_ROW_MAX] = "row_max",
                                                [OUTPUT_WEIGHTS] = "weights",
                                                [OUTPUT_KEY_MASS] = "key_mass"};

/* ---------------------------------------------------------------- a sequence's part */

/* Of a sequence with so many tokens. */
static struct array shape_of(const struct run_batch *run, int which, int64_t n_q, int64_t n_k) {
    const sa_batch *b = &run->batch;
    const bool heads_first = run->options->inputs.heads_first;
    const int64_t heads = b->n_query_heads;
    switch (which) {
    case OUTPUT_O:
        return (struct array){
            .type = b->o_type, .rank = 3, .shape = {heads_first ? heads : n_q, heads_first ? n_q : heads, b->d_v}};
    case OUTPUT_WEIGHTS: return (struct array){.type = SA_F32, .rank = 3, .shape = {heads, run->options->n_rows, n_k}};
    case OUTPUT_KEY_MASS: return (struct array){.type = SA_F32, .rank = 2, .shape = {b->n_kv_heads, n_k}};
    default: return (struct array){.type = SA_F32, .rank = 2, .shape = {heads, n_q}};
    }
}

/* Gives sequence i its part, of that shape. */
static void set_data(struct run_batch *run, int64_t i, int which, const struct array *own, const void *data) {
    const int64_t n_inner = own->shape[own->rank - 1], n_middle = own->shape[1];
    const bool heads_first = run->options->inputs.heads_first;
    void *elements = (void *)(uintptr_t)data;
    sa_sequence *seq = &run->seqs[i];
    switch (which) {
    case OUTPUT_O:
        seq->o = (sa_output){elements, heads_first ? n_inner : n_middle * n_inner,
                             heads_first ? n_middle * n_inner : n_inner};
        break;
    case OUTPUT_LSE: seq->lse = (sa_output){elements, 1, n_inner}; break;
    case OUTPUT_ROW_MAX: seq->row_max = (sa_output){elements, 1, n_inner}; break;
    case OUTPUT_WEIGHTS: seq->weights = (sa_row_weights){elements, run->rows, own->shape[0] * n_middle, n_inner}; break;
    case OUTPUT_KEY_MASS: seq->key_mass = (sa_key_mass){.data = elements, .head_stride = n_inner}; break;
    default: break;
    }
}

/* ---------------------------------------------------------------- files */

static int64_t tokens_of(const struct run_batch *run, int tensor) {
    const struct array *array = &run->inputs.npy[tensor].array;
    return array->shape[array->rank - 3 + run->options->inputs.heads_first];
}

/* One array for all sequences, with a batch dimension if q has one. */
static bool create_npy(struct run_batch *run, int which, struct output *output) {
    const struct array own = shape_of(run, which, tokens_of(run, 0), tokens_of(run, 1));
    const int64_t bytes = array_elements(&own) * (int64_t)type_bytes(own.type);
    struct array all = own;
    struct fault fault;
    if (run->inputs.npy[0].array.rank == 4) {
        all.shape[0] = run->batch.n_sequences;
        for (int axis = 0; axis < own.rank; axis++)
            all.shape[axis + 1] = own.shape[axis];
        all.rank++;
    }
    if (!npy_create(output, run->options->paths[which], &all, &fault))
        return complain("%s", fault.text);
    for (int64_t i = 0; i < run->batch.n_sequences; i++)
        set_data(run, i, which, &own, (const char *)all.data + i * bytes);
    return true;
}

/* The tensors P.o, P.lse, ... of all sequences in one file. */
static bool create_archive(struct run_batch *run, int which, struct output *output) {
    size_t n = (size_t)run->batch.n_sequences;
    struct fault fault = {"no memory for the names of tensors"};
    struct array *arrays = calloc(n, sizeof *arrays);
    char **names = calloc(n, sizeof *names);
    bool good = arrays && names;
    for (size_t i = 0; i < n && good; i++) {
        arrays[i] = shape_of(run, which, run->seqs[i].n_q, run->seqs[i].n_k);
        arrays[i].name = names[i] = tensor_name(run->inputs.names[i], suffixes[which]);
        good = names[i] != NULL;
    }
    good = (good && safetensors_create(output, run->options->paths[which], n, arrays, &fault)) ||
           complain("%s", fault.text);
    for (size_t i = 0; i < n && good; i++)
        set_data(run, (int64_t)i, which, &arrays[i], arrays[i].data);
    for (size_t i = 0; names && i < n; i++)
        free(names[i]);
    free(names);
    free(arrays);
    return good;
}

/* ---------------------------------------------------------------- rows of weights */

static const char *name_of(const struct run_batch *run, int64_t i) {
    return run->inputs.names ? run->inputs.names[i] : run->options->inputs.files[0];
}

/* The chosen queries of all heads, the same ones for every sequence. */
static bool make_rows(struct run_batch *run) {
    const struct run_options *o = run->options;
    const int heads = run->batch.n_query_heads;
    for (int64_t i = 0; i < run->batch.n_sequences; i++)
        for (int r = 0; r < o->n_rows; r++)
            if (o->rows[r] >= run->seqs[i].n_q)
                return complain("--rows: there is no query %lld, %s has %lld", (long long)o->rows[r], name_of(run, i),
                                (long long)run->seqs[i].n_q);
    run->rows = calloc((size_t)heads * (size_t)o->n_rows, sizeof *run->rows);
    if (!run->rows)
        return complain("no memory for a list of rows");
    for (int h = 0; h < heads; h++)
        for (int r = 0; r < o->n_rows; r++)
            run->rows[(int64_t)h * o->n_rows + r] = (sa_row){.query = o->rows[r], .head = h};
    return true;
}

/* ---------------------------------------------------------------- all of them */

/* By whatever names: one would replace the other. */
static bool all_apart(const struct run_batch *run) {
    const char *const *paths = run->options->paths;
    for (int a = 0; a < N_OUTPUTS; a++)
        for (int b = a + 1; b < N_OUTPUTS; b++)
            if (paths[a] && paths[b] && output_same_target(&run->outputs[a], &run->outputs[b]))
                return complain("%s and %s are the same file", paths[a], paths[b]);
    return true;
}

bool run_create_outputs(struct run_batch *run) {
    bool (*create)(struct run_batch *, int, struct output *) =
        is_archive(&run->options->inputs) ? create_archive : create_npy;
    if (run->options->n_rows && !make_rows(run))
        return false;
    for (int which = 0; which < N_OUTPUTS; which++)
        if (run->options->paths[which] && !create(run, which, &run->outputs[which]))
            return false;
    return all_apart(run);
}

bool run_commit(struct run_batch *run) {
    struct fault fault;
    for (int which = 0; which < N_OUTPUTS; which++)
        if (run->options->paths[which] && !output_commit(&run->outputs[which], &fault))
            return complain("%s", fault.text);
    return true;
}

void run_discard_outputs(struct run_batch *run) {
    for (int which = 0; which < N_OUTPUTS; which++)
        output_discard(&run->outputs[which]);
    free(run->rows);
}
