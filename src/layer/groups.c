/* SPDX-License-Identifier: MIT */
#include "groups.h"

/* How many tokens a thread has of a group at most, about: weights are packed once for every group or more often, which
 * takes 1 % of the time of the products of so many tokens. */
enum { THREAD_TOKENS = 4608 };

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static struct sa_counts counts_of(const struct sa_layer_call *call, int64_t i) {
    sa_sequence s;
    sa_layer_tokens t;
    sa_layer_call_sequence(call, i, &s);
    sa_layer_call_tokens(call, i, &t);
    return (struct sa_counts){s.n_q, sa_layer_new_keys(&s, &t)};
}

static void count(struct sa_counts *all, struct sa_counts counts) {
    all->x += counts.x;
    all->kv += counts.kv;
}

/* Rows that a sequence takes, about. */
static int64_t tokens_of(const struct sa_layer_call *call, struct sa_counts counts) {
    const int64_t n = larger(counts.x, counts.kv);
    return call->batch.flags & SA_LAYER_PACK ? n : sa_padded(n);
}

/* Sequences may share a cache, whose new keys all of them see: then all are one group. */
void sa_groups_choose(struct sa_layer_call *call) {
    const int64_t most = (int64_t)THREAD_TOKENS * call->n_threads;
    int64_t n = 0;
    for (int64_t i = 0; i < call->n; i++) {
        const struct sa_counts counts = counts_of(call, i);
        count(&call->counts, counts);
        n += tokens_of(call, counts);
    }
    const int64_t n_groups = call->caches ? 1 : (n + most - 1) / most;
    call->several = n_groups > 1;
    call->group_tokens = call->several ? (n + n_groups - 1) / n_groups : 0; /* all alike */
}

void sa_groups_rewind(struct sa_layer_call *call) { call->group = (struct sa_group){0}; }

/* A sequence belongs to the part of all tokens that its middle lies in. */
bool sa_groups_next(struct sa_layer_call *call) {
    struct sa_group *g = &call->group;
    g->first += g->n;
    if (g->first == call->n && g->number > 0)
        return false;
    g->number++;
    g->n = call->several ? 0 : call->n;
    g->ahead = g->through;
    for (int64_t part = -1; call->several && g->first + g->n < call->n; g->n++) {
        const struct sa_counts counts = counts_of(call, g->first + g->n);
        const int64_t n = tokens_of(call, counts), of = (g->begin + n / 2) / call->group_tokens;
        if (part >= 0 && of != part)
            break;
        part = of;
        g->begin += n;
        count(&g->through, counts);
    }
    return true;
}
