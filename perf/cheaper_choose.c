/* SPDX-License-Identifier: MIT */
/* Which blocks of keys a block of queries keeps. */
#include <stdlib.h>
#include <string.h>

#include "cheaper.h"
#include "cli.h"
#include "elements.h"
#include "reference.h"

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t between(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

static int n_kv_heads(const sa_batch *batch) { return batch->n_kv_heads ? batch->n_kv_heads : batch->n_query_heads; }

struct cheaper_own cheaper_own_blocks(const struct cheaper_choice *choice, const sa_batch *batch,
                                      const sa_sequence *seq, int64_t b) {
    const int64_t offset = seq->n_k - seq->n_q, end = smaller((b + 1) * choice->block, seq->n_q);
    const int64_t last = choice->n_k_blocks - 1;
    struct cheaper_own own = {.first = between((offset + b * choice->block) / choice->block, 0, last),
                              .last = between((offset + end - 1) / choice->block, 0, last)};
    own.limit = batch->flags & SA_CAUSAL ? own.last : last;
    return own;
}

static unsigned char *kept_by(const struct cheaper_choice *choice, int64_t kv_head, int64_t b) {
    return choice->keep + (kv_head * choice->n_q_blocks + b) * choice->n_k_blocks;
}

static void keep_strided(const struct cheaper_own *own, int64_t stride, unsigned char *keep) {
    for (int64_t c = 0; c <= own->limit; c++)
        keep[c] = (c >= own->first && c <= own->last) || llabs(own->last - c) % stride == 0;
}

/* Adds those with the largest scores to what is kept until n are. */
static void keep_best(const struct cheaper_own *own, int64_t n, const double *scores, unsigned char *keep) {
    int64_t kept = 0;
    for (int64_t c = 0; c <= own->limit; c++)
        kept += keep[c];
    for (; kept < smaller(n, own->limit + 1); kept++) {
        int64_t best = -1;
        for (int64_t c = 0; c <= own->limit; c++)
            if (!keep[c] && (best < 0 || scores[c] > scores[best]))
                best = c;
        keep[best] = 1;
    }
}

/* ---------------------------------------------------------------- scores: the exact weights */

/* What every key received from the queries of block b, all query heads of a kv head together: mass[kv_head * n_k + j].
 * The outputs of these queries are put where those of the sequence go. */
static bool measure_mass(const struct cheaper_choice *choice, const sa_batch *batch, const sa_sequence *seq, int64_t b,
                         sa_engine *engine, float *mass) {
    sa_sequence part = *seq;
    sa_batch of_part = *batch;
    const int64_t first = b * choice->block;
    part.n_q = smaller(choice->block, seq->n_q - first);
    part.q.data = reference_q(batch, seq, first, 0);
    part.flags |= SA_SEQ_Q_OFFSET;
    part.q_offset = seq->n_k - seq->n_q + first;
    part.lse.data = NULL;
    part.key_mass = (sa_key_mass){.data = mass, .head_stride = seq->n_k};
    of_part.sequences = &part;
    of_part.n_sequences = 1;
    return sa_batch_forward(engine, &of_part) == SA_OK || complain("%s", sa_last_reason());
}

static void sum_blocks(const float *mass, int64_t n_k, int64_t block, double *scores) {
    for (int64_t j = 0; j < n_k; j++)
        scores[j / block] = (j % block ? scores[j / block] : 0) + (double)mass[j];
}

/* ---------------------------------------------------------------- scores: means */

static void add_row(int type, const void *row, int d, double *sum) {
    for (int i = 0; i < d; i++)
        sum[i] += element_value(type, (const char *)row + i * element_bytes(type));
}

/* The sum is as good as the mean: it is a factor that all scores have. */
static void sum_queries(const struct cheaper_choice *choice, const sa_batch *batch, const sa_sequence *seq,
                        int64_t kv_head, int64_t b, double *sum) {
    const int group = batch->n_query_heads / n_kv_heads(batch);
    memset(sum, 0, (size_t)batch->d_qk * sizeof *sum);
    for (int64_t i = b * choice->block; i < smaller((b + 1) * choice->block, seq->n_q); i++)
        for (int h = 0; h < group; h++)
            add_row(batch->q_type, reference_q(batch, seq, i, (int)kv_head * group + h), batch->d_qk, sum);
}

/* means[c * d_qk]: of the keys of a head, once for all blocks of queries. */
static void mean_keys(const struct cheaper_choice *choice, const sa_batch *batch, const sa_sequence *seq, int kv_head,
                      double *means) {
    for (int64_t c = 0; c < choice->n_k_blocks; c++) {
        double *mean = means + c * batch->d_qk;
        const int64_t end = smaller((c + 1) * choice->block, seq->n_k), first = c * choice->block;
        memset(mean, 0, (size_t)batch->d_qk * sizeof *mean);
        for (int64_t j = first; j < end; j++)
            add_row(batch->k_type, reference_k(batch, seq, j, kv_head), batch->d_qk, mean);
        for (int i = 0; i < batch->d_qk; i++)
            mean[i] /= (double)(end - first);
    }
}

static void score_means(const struct cheaper_choice *choice, const double *sum, const double *means, int d,
                        double *scores) {
    for (int64_t c = 0; c < choice->n_k_blocks; c++) {
        scores[c] = 0;
        for (int i = 0; i < d; i++)
            scores[c] += sum[i] * means[c * d + i];
    }
}

/* ---------------------------------------------------------------- choosing */

static void choose_strided(struct cheaper_choice *choice, int64_t stride, const sa_batch *batch,
                           const sa_sequence *seq) {
    for (int g = 0; g < n_kv_heads(batch); g++)
        for (int64_t b = 0; b < choice->n_q_blocks; b++) {
            const struct cheaper_own own = cheaper_own_blocks(choice, batch, seq, b);
            keep_strided(&own, stride, kept_by(choice, g, b));
        }
}

static bool choose_top(struct cheaper_choice *choice, int64_t n, const sa_batch *batch, const sa_sequence *seq,
                       sa_engine *engine) {
    float *mass = malloc((size_t)(n_kv_heads(batch) * seq->n_k) * sizeof *mass);
    double *scores = malloc((size_t)choice->n_k_blocks * sizeof *scores);
    bool good = (mass && scores) || complain("no memory for the mass of keys");
    for (int64_t b = 0; good && b < choice->n_q_blocks; b++) {
        const struct cheaper_own own = cheaper_own_blocks(choice, batch, seq, b);
        good = measure_mass(choice, batch, seq, b, engine, mass);
        for (int g = 0; good && g < n_kv_heads(batch); g++) {
            sum_blocks(mass + g * seq->n_k, seq->n_k, choice->block, scores);
            keep_best(&own, n, scores, kept_by(choice, g, b));
        }
    }
    free(scores);
    free(mass);
    return good;
}

static bool choose_by_means(struct cheaper_choice *choice, int64_t n, const sa_batch *batch, const sa_sequence *seq) {
    const int d = batch->d_qk;
    double *means = malloc((size_t)(choice->n_k_blocks * d) * sizeof *means);
    double *sum = malloc((size_t)(choice->n_k_blocks + d) * sizeof *sum), *scores = sum ? sum + d : NULL;
    const bool good = (means && sum) || complain("no memory for the means of keys");
    for (int g = 0; good && g < n_kv_heads(batch); g++) {
        mean_keys(choice, batch, seq, g, means);
        for (int64_t b = 0; b < choice->n_q_blocks; b++) {
            const struct cheaper_own own = cheaper_own_blocks(choice, batch, seq, b);
            sum_queries(choice, batch, seq, g, b, sum);
            score_means(choice, sum, means, d, scores);
            memset(kept_by(choice, g, b) + own.first, 1, (size_t)(own.last - own.first + 1));
            keep_best(&own, n, scores, kept_by(choice, g, b));
        }
    }
    free(sum);
    free(means);
    return good;
}

bool cheaper_choose(struct cheaper_choice *choice, const struct cheaper_pattern *pattern, const sa_batch *batch,
                    const sa_sequence *seq, sa_engine *engine) {
    if (pattern->kind == CHEAPER_TOP)
        return choose_top(choice, pattern->size, batch, seq, engine);
    if (pattern->kind == CHEAPER_MEANS)
        return choose_by_means(choice, pattern->size, batch, seq);
    choose_strided(choice, pattern->size, batch, seq);
    return true;
}
