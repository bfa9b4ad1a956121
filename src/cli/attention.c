/* SPDX-License-Identifier: MIT */
#include "attention.h"

#include <stdlib.h>

#include "cli.h"
#include "options.h"
#include "types.h"

#define MAX_POSITION (INT64_C(1) << 30)

static const enum npy_kind kinds[N_ATTENTION_FILES] = {
    [ATTENTION_BIAS] = NPY_NUMBERS,    [ATTENTION_MASK] = NPY_TRUTHS,    [ATTENTION_ALIBI] = NPY_NUMBERS,
    [ATTENTION_SINKS] = NPY_NUMBERS,   [ATTENTION_Q_POS] = NPY_INTEGERS, [ATTENTION_K_POS] = NPY_INTEGERS,
    [ATTENTION_DOC_IDS] = NPY_INTEGERS};

/* ---------------------------------------------------------------- open and close */

static bool read_heads(const struct array *array, float **heads) {
    const int64_t n = array_elements(array);
    *heads = malloc((size_t)n * sizeof **heads + 1);
    for (int64_t i = 0; *heads && i < n; i++)
        (*heads)[i] = (float)array_element(array, i);
    return *heads || complain("%s: no memory for its numbers", array->name);
}

/* As the library wants them: of 32 bits, and positions within 2^30. */
static bool read_tokens(const struct array *array, bool positions, int32_t **tokens) {
    const int64_t n = array_elements(array);
    const int64_t low = positions ? -MAX_POSITION : INT32_MIN, high = positions ? MAX_POSITION : INT32_MAX;
    *tokens = malloc((size_t)n * sizeof **tokens + 1);
    if (!*tokens)
        return complain("%s: no memory for its numbers", array->name);
    for (int64_t i = 0; i < n; i++) {
        const int64_t x =
            array->type == TYPE_I64 ? ((const int64_t *)array->data)[i] : ((const int32_t *)array->data)[i];
        if (x < low || x > high)
            return complain("%s: element %lld is %lld, expected %lld to %lld", array->name, (long long)i, (long long)x,
                            (long long)low, (long long)high);
        (*tokens)[i] = (int32_t)x;
    }
    return true;
}

static bool open_file(struct attention *a, int f) {
    const struct array *array = &a->files[f].array;
    struct fault fault;
    if (!npy_open(&a->files[f], a->options->files[f], kinds[f], &fault))
        return complain("%s", fault.text);
    if (kinds[f] == NPY_INTEGERS)
        return read_tokens(array, f != ATTENTION_DOC_IDS, &a->tokens[f]);
    return f == ATTENTION_BIAS || f == ATTENTION_MASK || read_heads(array, &a->heads[f]);
}

bool attention_open(const struct attention_options *options, struct attention *attention) {
    *attention = (struct attention){.options = options};
    for (int f = 0; f < N_ATTENTION_FILES; f++)
        if (options->files[f] && !open_file(attention, f))
            return false;
    return true;
}

void attention_close(struct attention *attention) {
    for (int f = 0; f < N_ATTENTION_FILES; f++) {
        npy_close(&attention->files[f]);
        free(attention->heads[f]);
        free(attention->tokens[f]);
    }
    *attention = (struct attention){0};
}

/* ---------------------------------------------------------------- numbers a head, a token */

static bool apply_heads(const struct array *array, const float *heads, int n_heads, const float **to) {
    *to = heads;
    if (!heads || (array->rank == 1 && array->shape[0] == n_heads))
        return true;
    return complain("%s: shape (%s), expected (%d): query heads", array->name, shape_text(array), n_heads);
}

/* [batch,] tokens; one row is for all sequences. */
static bool apply_tokens(const struct array *array, const int32_t *tokens, const char *what, int64_t n_sequences,
                         int64_t i, int64_t n, const int32_t **to) {
    const struct array expected = {.rank = 2, .shape = {n_sequences, n}};
    const bool each = array->rank == 2 && array->shape[0] != 1;
    *to = tokens ? tokens + (each ? i * n : 0) : NULL;
    if (!tokens || ((array->rank == 1 || (array->rank == 2 && (!each || array->shape[0] == n_sequences))) &&
                    array->shape[array->rank - 1] == n))
        return true;
    return complain("%s: shape (%s), expected (%lld) or (%s): [batch,] %s", array->name, shape_text(array),
                    (long long)n, shape_text(&expected), what);
}

/* ---------------------------------------------------------------- numbers a query and key */

enum { BATCH, HEAD, QUERY, KEY, N_AXES };

/* NumPy's rule: axes are counted from the last, and one that is missing or 1 long stands for all its places. */
static bool broadcast(const struct array *array, const struct array *to, int64_t strides[N_AXES]) {
    int64_t stride = 1;
    for (int missing = N_AXES - array->rank, axis = N_AXES - 1; axis >= 0; axis--) {
        const int64_t length = axis >= missing ? array->shape[axis - missing] : 1;
        strides[axis] = length == 1 ? 0 : stride;
        if (length != 1 && length != to->shape[axis])
            return false;
        stride *= length;
    }
    return array->rank <= N_AXES;
}

static bool apply_grid(const struct array *array, const sa_batch *b, const sa_sequence *seq, int64_t i, sa_grid *to) {
    const struct array whole = {.rank = N_AXES, .shape = {b->n_sequences, b->n_query_heads, seq->n_q, seq->n_k}};
    int64_t strides[N_AXES];
    *to = (sa_grid){0};
    if (!array->data)
        return true;
    if (!broadcast(array, &whole, strides))
        return complain("%s: shape (%s) does not broadcast to (%s): batch, query heads, queries, keys", array->name,
                        shape_text(array), shape_text(&whole));
    const char *data = array->data;
    *to = (sa_grid){data + i * strides[BATCH] * (int64_t)type_bytes(array->type), strides[HEAD], strides[QUERY],
                    strides[KEY]};
    return true;
}

/* ---------------------------------------------------------------- all of it */

static bool apply_documents(const struct attention *a, int64_t n_sequences, int64_t i, sa_sequence *seq) {
    const struct array *array = &a->files[ATTENTION_DOC_IDS].array;
    if (array->data && seq->n_q > seq->n_k)
        return complain("%s: the queries are the last of the keys' tokens, but there are %lld queries and %lld keys",
                        array->name, (long long)seq->n_q, (long long)seq->n_k);
    return apply_tokens(array, a->tokens[ATTENTION_DOC_IDS], "keys", n_sequences, i, seq->n_k, &seq->k_documents);
}

static bool apply_sequence(const struct attention *a, const sa_batch *b, int64_t i, sa_sequence *seq) {
    const int64_t n = b->n_sequences;
    seq->n_prefix_keys = a->options->n_prefix;
    return apply_grid(&a->files[ATTENTION_BIAS].array, b, seq, i, &seq->bias) &&
           apply_grid(&a->files[ATTENTION_MASK].array, b, seq, i, &seq->mask) &&
           apply_tokens(&a->files[ATTENTION_Q_POS].array, a->tokens[ATTENTION_Q_POS], "queries", n, i, seq->n_q,
                        &seq->q_positions) &&
           apply_tokens(&a->files[ATTENTION_K_POS].array, a->tokens[ATTENTION_K_POS], "keys", n, i, seq->n_k,
                        &seq->k_positions) &&
           apply_documents(a, n, i, seq);
}

bool attention_apply(const struct attention *attention, sa_batch *batch, sa_sequence *seqs) {
    const struct attention *a = attention;
    batch->softcap = a->options->softcap;
    batch->bias_type = a->options->files[ATTENTION_BIAS] ? a->files[ATTENTION_BIAS].array.type : SA_F32;
    for (int64_t i = 0; i < batch->n_sequences; i++)
        if (!apply_sequence(a, batch, i, &seqs[i]))
            return false;
    return apply_heads(&a->files[ATTENTION_ALIBI].array, a->heads[ATTENTION_ALIBI], batch->n_query_heads,
                       &batch->alibi_slopes) &&
           apply_heads(&a->files[ATTENTION_SINKS].array, a->heads[ATTENTION_SINKS], batch->n_query_heads,
                       &batch->sink_logits);
}

/* ---------------------------------------------------------------- command line */

static int take_softcap(const char *command, const char *text, float *softcap) {
    char *end;
    *softcap = strtof(text, &end);
    if (end != text && *end == 0 && *softcap > 0 && *softcap < 0x1p127f) /* the library's limit */
        return DONE;
    return misuse(command, "--softcap is '%s', expected a finite number above 0, below 2^127", text);
}

int attention_option(const char *command, int option, const char *text, struct attention_options *options) {
    switch (option) {
    case ATTENTION_SOFTCAP: return take_softcap(command, text, &options->softcap);
    case ATTENTION_PREFIX: return option_count(command, "--prefix", text, 0, INT32_MAX, &options->n_prefix);
    default: return options->files[option - ATTENTION_FILE] = text, DONE;
    }
}
