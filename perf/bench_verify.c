/* SPDX-License-Identifier: MIT */
#include "bench_verify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench_dice.h"
#include "elements.h"
#include "reference.h"

/* ---------------------------------------------------------------- elements of o */

static bool for_each_row(const struct bench_case *c, bool (*visit)(int type, char *row, int d)) {
    for (int64_t i = 0; i < c->shape->n_seqs; i++)
        for (int64_t token = 0; token < c->seqs[i].n_q; token++)
            for (int head = 0; head < c->shape->heads; head++)
                if (!visit(c->shape->o_type, reference_o_row(&c->batch, &c->seqs[i], token, head), c->shape->d_v))
                    return false;
    return true;
}

static bool poison_row(int type, char *row, int d) {
    for (int i = 0; i < d; i++)
        element_store(type, (double)NAN, row + i * element_bytes(type));
    return true;
}

/* o is a weighted mean of rows of v, and what those are rounded to. */
static bool row_is_sane(int type, char *row, int d) {
    for (int i = 0; i < d; i++)
        if (!(fabs(element_value(type, row + i * element_bytes(type))) <= 3.5))
            return false;
    return true;
}

void bench_poison(const struct bench_case *c) { for_each_row(c, poison_row); }

/* ---------------------------------------------------------------- rows to look at */

enum { MAX_SEQS = 6, MAX_TOKENS = 32, MAX_HEADS = 3 };

/* Distinct numbers of 0 .. n - 1: add as many as there is room for. */
struct choice {
    int64_t at[MAX_TOKENS];
    int n, capacity;
};

static void choose(struct choice *choice, int64_t i, int64_t n) {
    if (i < 0 || i >= n || choice->n == choice->capacity)
        return;
    for (int k = 0; k < choice->n; k++)
        if (choice->at[k] == i)
            return;
    choice->at[choice->n++] = i;
}

static void choose_random(struct choice *choice, int64_t n, struct bench_dice *dice) {
    for (int tries = 0; n > 0 && tries < 2 * choice->capacity; tries++)
        choose(choice, (int64_t)(bench_roll(dice) % (uint64_t)n), n);
}

/* Both sides of the edges of lanes, tiles, blocks and chunks; both ends; the rest at random. Fewer for long rows. */
static struct choice choose_tokens(const struct bench_seq *seq, struct bench_dice *dice) {
    static const int edges[] = {16, 64, 256, 1024};
    struct choice choice = {.capacity = seq->n_k > 50000 ? 12 : seq->n_k > 5000 ? 20 : MAX_TOKENS};
    choose(&choice, 0, seq->n_q);
    choose(&choice, seq->n_q - 1, seq->n_q);
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        choose(&choice, edges[i] - 1, seq->n_q);
        choose(&choice, edges[i], seq->n_q);
    }
    choose_random(&choice, seq->n_q, dice);
    return choice;
}

static struct choice choose_heads(const struct bench_shape *shape, struct bench_dice *dice) {
    struct choice choice = {.capacity = MAX_HEADS};
    choose(&choice, 0, shape->heads);
    choose(&choice, shape->heads - 1, shape->heads);
    choose_random(&choice, shape->heads, dice);
    return choice;
}

/* The first, the last, the shortest, the longest and some others. */
static struct choice choose_seqs(const struct bench_shape *shape, struct bench_dice *dice) {
    struct choice choice = {.capacity = MAX_SEQS};
    int64_t shortest = 0, longest = 0;
    for (int64_t i = 0; i < shape->n_seqs; i++) {
        shortest = shape->seqs[i].n_k < shape->seqs[shortest].n_k ? i : shortest;
        longest = shape->seqs[i].n_k > shape->seqs[longest].n_k ? i : longest;
    }
    choose(&choice, 0, shape->n_seqs);
    choose(&choice, shape->n_seqs - 1, shape->n_seqs);
    choose(&choice, shortest, shape->n_seqs);
    choose(&choice, longest, shape->n_seqs);
    choose_random(&choice, shape->n_seqs, dice);
    return choice;
}

/* ---------------------------------------------------------------- comparing */

/* *worst: the largest error so far, as a share of its bound. */
static bool look_at_row(const struct bench_case *c, int64_t i, int64_t token, int head, struct reference_row *exact,
                        double *worst) {
    if (!reference_row(&c->batch, i, token, head, exact))
        return perror("bench"), false;
    for (int x = 0; x < c->shape->d_v; x++) {
        const double got = reference_output(&c->batch, &c->seqs[i], token, head, x);
        const double error = fabs(got - exact->o[x]);
        if (!(error <= exact->bound[x])) {
            fprintf(stderr, "bench: %s is WRONG: sequence %lld, token %lld, head %d, dimension %d: ", c->shape->name,
                    (long long)i, (long long)token, head, x);
            fprintf(stderr, "%.9g, should be %.9g +- %.2g\n", got, exact->o[x], exact->bound[x]);
            return false;
        }
        if (error > *worst * exact->bound[x])
            *worst = error / exact->bound[x];
    }
    return true;
}

static bool look_at_rows(const struct bench_case *c, struct reference_row *exact, double *worst) {
    struct bench_dice dice = {4};
    const struct choice seqs = choose_seqs(c->shape, &dice), heads = choose_heads(c->shape, &dice);
    for (int s = 0; s < seqs.n; s++) {
        const struct choice tokens = choose_tokens(&c->shape->seqs[seqs.at[s]], &dice);
        for (int t = 0; t < tokens.n; t++)
            /* Heads in turn: each is met, and the work stays the same however many there are. */
            if (!look_at_row(c, seqs.at[s], tokens.at[t], (int)heads.at[(s + t) % heads.n], exact, worst))
                return false;
    }
    return true;
}

static bool counts_agree(const struct bench_case *c, sa_engine *engine) {
    sa_batch_info info = {.struct_size = sizeof info};
    if (sa_batch_get_info(engine, &c->batch, &info) == SA_OK && (double)info.n_pairs == c->pairs)
        return true;
    fprintf(stderr, "bench: %s: the library counts %lld visible pairs, the bench %.0f\n", c->shape->name,
            (long long)info.n_pairs, c->pairs);
    return false;
}

double bench_check(const struct bench_case *c, sa_engine *engine) {
    if (!bench_kinds_hide(&c->shape->kinds) && !counts_agree(c, engine))
        return -1;
    if (!for_each_row(c, row_is_sane)) {
        fprintf(stderr, "bench: %s is WRONG: an element of o was not written, or is larger than any v\n",
                c->shape->name);
        return -1;
    }
    double worst = 0, *scratch = calloc(2 * (size_t)c->shape->d_v, sizeof *scratch);
    if (!scratch)
        return perror("bench"), -1;
    struct reference_row exact = {.o = scratch, .bound = scratch + c->shape->d_v, .pairs = reference_has_pairs(engine)};
    const bool good = look_at_rows(c, &exact, &worst);
    free(scratch);
    return good ? worst : -1;
}
