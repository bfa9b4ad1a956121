/* SPDX-License-Identifier: MIT */
/*
 * The kernels take positions of 32 bits, and bias in rows of floats. Other bias is brought near, a group's rows at a
 * time; distances beyond 2^31, which take a q_offset that nobody has, are added here one by one.
 */
#include "terms.h"

#include <math.h>

/* Rows first .. first + n_rows - 1 of the tile against a run of keys; mb NULL: a tile of few rows. */
struct run {
    const struct sa_tile *tile;
    int64_t at; /* its first key */
    int n_keys;
    int pass, group;   /* first row of the pass, group within it */
    int first, n_rows; /* rows of the tile */
    float *s, *mb;     /* of the pass */
};

/* ---------------------------------------------------------------- rows */

void sa_set_row_terms(const struct sa_tile *t, int r, int64_t token, int query_head) {
    const struct sa_term_space *space = &t->space->terms;
    const struct sa_seq *seq = t->seq;
    const struct sa_field *bias = &seq->terms.bias;
    if (seq->terms.slopes) {
        const int32_t *given = seq->sight.q_positions;
        const int64_t position = given ? given[token] : seq->q_offset + token;
        space->slopes[r] = (float)(-(double)seq->terms.slopes[query_head] * LOG2_E);
        space->q_position[r] = position;
        space->q_at[r] = (int32_t)sa_clamp(position, INT32_MIN, INT32_MAX);
    }
    if (bias->data)
        space->bias[r] = bias->data + token * bias->query + query_head * bias->head;
}

/* ---------------------------------------------------------------- bias */

/* A row of it, where it is or where it has been brought. */
static const float *row_of_bias(const struct run *run, const char *from, float *near) {
    const struct sa_kernels *kernels = run->tile->kernels;
    const ptrdiff_t step = run->tile->seq->terms.bias.key;
    const int type = run->tile->problem->bias_type;
    if (step == (type == SA_F32 ? 4 : 2) && type != SA_F32)
        kernels->widen((struct sa_stored){from, 0, 1, run->n_keys, type}, near, 0);
    else if (step != sizeof(float) || type != SA_F32)
        kernels->widen((struct sa_stored){from, step, run->n_keys, 1, type}, near, 1);
    else
        return (const float *)(const void *)from;
    return near;
}

/* Rows that share it share the copy. */
static void find_bias(const struct run *run) {
    const struct sa_term_space *space = &run->tile->space->terms;
    const ptrdiff_t step = run->tile->seq->terms.bias.key;
    for (int i = 0, r = run->first; i < run->n_rows; i++, r++)
        space->bias_row[r] = i > 0 && space->bias[r] == space->bias[r - 1]
                                 ? space->bias_row[r - 1]
                                 : row_of_bias(run, space->bias[r] + run->at * step, space->near + i * SA_BIAS_STRIDE);
}

/* ---------------------------------------------------------------- ALiBi */

static void set_keys(const struct run *run, int32_t *k_at) {
    const int32_t *given = run->tile->seq->sight.k_positions;
    for (int j = 0; j < run->n_keys; j++)
        k_at[j] = given ? given[run->at + j] : (int32_t)run->at + j;
}

/* Do distances fit into 32 bits? Positions that are given are within 2^30 either way. */
static bool is_near(const struct run *run) {
    const int64_t *position = run->tile->space->terms.q_position;
    const bool given = run->tile->seq->sight.k_positions;
    const int64_t low = given ? -(INT64_C(1) << 30) : run->at;
    const int64_t high = given ? INT64_C(1) << 30 : run->at + run->n_keys;
    bool near = true;
    for (int r = run->first; r < run->first + run->n_rows; r++)
        near = near && position[r] == run->tile->space->terms.q_at[r] && position[r] - low <= INT64_C(1) << 31 &&
               high - position[r] <= INT64_C(1) << 31;
    return near;
}

static float *score_of(const struct run *run, int i, int j) {
    const int width = run->tile->kernels->pass_groups * SA_GROUP_ROWS;
    return run->mb ? run->s + j * width + run->group * SA_GROUP_ROWS + i : run->s + i * SA_FEW_STRIDE + j;
}

static void add_far_alibi(const struct run *run) {
    const struct sa_term_space *space = &run->tile->space->terms;
    for (int i = 0; i < run->n_rows; i++)
        for (int j = 0; j < run->n_keys; j++) {
            const int64_t distance = space->q_position[run->first + i] - space->k_at[j];
            float *s = score_of(run, i, j);
            *s = fmaf(space->slopes[run->first + i], (float)(distance < 0 ? -distance : distance), *s);
        }
}

/* ---------------------------------------------------------------- all of them */

static bool apply(const struct run *run, const struct sa_score_terms *terms, float *mb) {
    const struct sa_kernels *kernels = run->tile->kernels;
    return mb ? kernels->terms(run->group, run->n_keys, terms, run->s, mb)
              : kernels->few_terms(run->n_rows, run->n_keys, terms, run->s);
}

/* Between softcap and bias, which are then two calls. */
static void apply_far_alibi(const struct run *run, struct sa_score_terms *terms) {
    _Alignas(64) float passed_over[SA_TILE_ROWS] = {0};
    apply(run, terms, run->mb ? passed_over : NULL);
    add_far_alibi(run);
    terms->softcap = 0;
}

static float softcap_of(const struct sa_tile *t) { return (float)((double)t->problem->softcap * LOG2_E); }

static bool apply_run(const struct run *run) {
    const struct sa_tile *t = run->tile;
    const struct sa_term_space *space = &t->space->terms;
    struct sa_score_terms terms = {.softcap = softcap_of(t)};
    if (t->seq->terms.slopes) {
        set_keys(run, space->k_at);
        if (is_near(run)) {
            terms.slopes = space->slopes + run->pass;
            terms.q_at = space->q_at + run->pass;
            terms.k_at = space->k_at;
        } else
            apply_far_alibi(run, &terms);
    }
    if (t->seq->terms.bias.data) {
        find_bias(run);
        terms.bias = space->bias_row + run->pass;
    }
    return apply(run, &terms, run->mb);
}

bool sa_apply_terms(const struct sa_tile *t, int64_t at, int n_keys, int row, int group, float *s, float *mb) {
    const struct run run = {t, at, n_keys, row, group, row + group * SA_GROUP_ROWS, SA_GROUP_ROWS, s, mb};
    return n_keys > 0 && apply_run(&run);
}

bool sa_apply_few_terms(const struct sa_tile *t, int64_t at, int n_keys, float *s) {
    const struct run run = {t, at, n_keys, 0, 0, 0, t->n_rows, s, NULL};
    return apply_run(&run);
}

bool sa_set_keys(const struct sa_tile *t, int64_t at, int j, int n_keys) {
    const struct run run = {.tile = t, .at = at, .n_keys = n_keys, .n_rows = t->n_groups * SA_GROUP_ROWS};
    if (!t->seq->terms.slopes)
        return true;
    set_keys(&run, t->space->terms.k_at + j);
    return is_near(&run);
}

/* Rows begin with key `at`, as if with key 0 of the block. Lanes of groups that the tile does not have look somewhere,
 * too. */
void sa_find_block_bias(const struct sa_tile *t, int64_t at, int j, int n_keys) {
    const float **rows = t->space->terms.bias_row;
    const struct run run = {.tile = t, .at = at, .n_keys = n_keys, .n_rows = t->n_groups * SA_GROUP_ROWS};
    find_bias(&run);
    for (int r = 0; r < SA_TILE_ROWS; r++)
        rows[r] = r < run.n_rows ? rows[r] - j : rows[0];
}

struct sa_score_terms sa_block_terms(const struct sa_tile *t) {
    const struct sa_term_space *space = &t->space->terms;
    return (struct sa_score_terms){.softcap = softcap_of(t),
                                   .slopes = t->seq->terms.slopes ? space->slopes : NULL,
                                   .q_at = space->q_at,
                                   .k_at = space->k_at,
                                   .bias = t->seq->terms.bias.data ? space->bias_row : NULL};
}

void sa_find_bias(const struct sa_tile *t, int64_t at, int n_keys, int first_row) {
    const struct run run = {.tile = t, .at = at, .n_keys = n_keys, .first = first_row, .n_rows = SA_GROUP_ROWS};
    find_bias(&run);
}
