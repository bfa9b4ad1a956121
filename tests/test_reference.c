/* SPDX-License-Identifier: MIT */
/* The float64 reference against what is known by heart: pictures of who sees whom, and rows of a few round numbers. */
#include <math.h>

#include "inside.h"
#include "reference.h"

/* ---------------------------------------------------------------- who sees whom */

/* A line for each query, an x for each key it sees, '.' for the others. */
static void must_look_like(const char *what, const sa_batch *rules, const sa_sequence *s, const char *picture) {
    sa_batch b = *rules;
    b.n_query_heads = b.n_query_heads ? b.n_query_heads : 1;
    for (int64_t i = 0; i < s->n_q; i++)
        for (int64_t j = 0; j < s->n_k; j++) {
            const bool wanted = picture[i * (s->n_k + 1) + j] == 'x';
            must(reference_sees(&b, s, i, 0, j) == wanted, "%s: query %lld, key %lld", what, (long long)i,
                 (long long)j);
        }
}

static const sa_batch anything = {.n_query_heads = 1}, causal = {.flags = SA_CAUSAL};

START_TEST(limits) {
    const sa_batch window = {.flags = SA_WINDOW, .window_left = 1, .window_right = 0, .n_sink_keys = 1};
    must_look_like("causal: aligned to the end", &causal, &(sa_sequence){.n_q = 2, .n_k = 4}, "xxx. xxxx");
    must_look_like("causal at offset 0", &causal, &(sa_sequence){.n_q = 2, .n_k = 4, .flags = SA_SEQ_Q_OFFSET},
                   "x... xx..");
    must_look_like("window of two and a sink key", &window, &(sa_sequence){.n_q = 4, .n_k = 4}, "x... xx.. xxx. x.xx");
    must_look_like("prefix", &causal, &(sa_sequence){.n_q = 4, .n_k = 4, .n_prefix_keys = 2}, "xx.. xx.. xxx. xxxx");
    must_look_like("prefix, a left limit", &window, &(sa_sequence){.n_q = 4, .n_k = 4, .n_prefix_keys = 3},
                   "xxx. xxx. xxx. x.xx");
    must_look_like("a sink key after the query", &window,
                   &(sa_sequence){.n_q = 1, .n_k = 3, .q_offset = -1, .flags = SA_SEQ_Q_OFFSET}, "...");
}
END_TEST

START_TEST(positions) {
    const int32_t q[] = {5, 1, 3}, k[] = {3, 0, 4, 1};
    must_look_like("positions of both", &causal, &(sa_sequence){.n_q = 3, .n_k = 4, .q_positions = q, .k_positions = k},
                   "xxxx .x.x xx.x");
    must_look_like("of queries", &causal, &(sa_sequence){.n_q = 3, .n_k = 4, .q_positions = q}, "xxxx xx.. xxxx");
    must_look_like("of keys", &causal, &(sa_sequence){.n_q = 3, .n_k = 4, .k_positions = k}, ".x.x .x.x xx.x");
}
END_TEST

START_TEST(documents) {
    const int32_t k[] = {7, 7, 1, 1}, q[] = {1, 9};
    must_look_like("packed", &causal, &(sa_sequence){.n_q = 4, .n_k = 4, .k_documents = k}, "x... xx.. ..x. ..xx");
    must_look_like("the last tokens ask", &causal, &(sa_sequence){.n_q = 2, .n_k = 4, .k_documents = k}, "..x. ..xx");
    must_look_like("documents of their own", &anything,
                   &(sa_sequence){.n_q = 2, .n_k = 4, .k_documents = k, .q_documents = q}, "..xx ....");
}
END_TEST

/* Nodes:  0 - 1 - 3
 *           \ 2        4 is a root of its own */
START_TEST(trees) {
    const int32_t parents[] = {-1, 0, 0, 1, -1};
    must_look_like("after two keys", &causal,
                   &(sa_sequence){.n_q = 5, .n_k = 7, .tree_parents = parents, .n_tree_keys = 5},
                   "xxx.... xxxx... xxx.x.. xxxx.x. xx....x");
    must_look_like("the last three", &causal,
                   &(sa_sequence){.n_q = 3, .n_k = 7, .tree_parents = parents, .n_tree_keys = 5},
                   "xxx.x.. xxxx.x. xx....x");
}
END_TEST

START_TEST(blocks) {
    const int64_t begin_full[] = {0, 1, 1}, begin_partial[] = {0, 1, 3};
    const int32_t full[] = {2}, partial[] = {0, 0, 1};
    sa_block_sparsity lists = {{begin_full, full, 0}, {begin_partial, partial, 0}, 2, 2};
    sa_sequence s = {.n_q = 3, .n_k = 5, .flags = SA_SEQ_Q_OFFSET, .blocks = lists};
    must_look_like("full and partial ones", &causal, &s, "x...x xx..x xxx..");
    s.blocks.full.begin = NULL;
    must_look_like("partial ones", &causal, &s, "x.... xx... xxx..");
    const unsigned char mask[] = {0, 0, 0, 0, 0};
    s.blocks = lists;
    s.mask = (sa_grid){mask, 0, 0, 1};
    must_look_like("a full block whatever else is said", &causal, &s, "....x ....x .....");
}
END_TEST

START_TEST(grids) {
    const unsigned char mask[] = {1, 0, 9, 0, 1, 1};
    const float bias[] = {0, 1, -INFINITY};
    must_look_like("a mask", &anything, &(sa_sequence){.n_q = 2, .n_k = 3, .mask = {mask, 0, 3, 1}}, "x.x .xx");
    must_look_like("backwards", &anything, &(sa_sequence){.n_q = 2, .n_k = 3, .mask = {mask + 5, 0, -3, -1}},
                   "xx. x.x");
    must_look_like("for all keys", &anything, &(sa_sequence){.n_q = 2, .n_k = 3, .mask = {mask, 0, 1, 0}}, "xxx ...");
    must_look_like("a bias of -inf", &anything, &(sa_sequence){.n_q = 2, .n_k = 3, .bias = {bias, 0, 0, 1}}, "xx. xx.");
}
END_TEST

/* ---------------------------------------------------------------- rows */

enum { N = 3 };

/* One head of d = 1 and scale 1: the scores are those of k, which are logarithms of 1, 2 and 3; values are 6, 12, 18.
 */
static struct {
    float q[1], k[N], v[N];
    double o, bound, weights[2 * N];
    struct reference_row row;
} world;

static void must_give(const char *what, sa_batch b, sa_sequence s, double o, double lse) {
    b.sequence_size = sizeof s;
    b.sequences = &s;
    b.n_query_heads = b.d_qk = 1;
    b.scale = 1;
    world.q[0] = 1;
    for (int j = 0; j < N; j++) {
        world.k[j] = logf((float)(j + 1));
        world.v[j] = (float)(6 * (j + 1));
    }
    s.n_q = 1;
    s.n_k = N;
    s.q.data = world.q;
    s.k.data = world.k;
    s.v.data = world.v;
    world.row = (struct reference_row){
        .o = &world.o, .bound = &world.bound, .weights = world.weights, .weight_bounds = world.weights + N};
    must(reference_row(&b, 0, 0, 0, &world.row), "no memory");
    must(fabs(world.o - o) < 1e-6, "%s: o is %g, not %g", what, world.o, o);
    must(lse == world.row.lse || fabs(world.row.lse - lse) < 1e-6, "%s: lse is %g, not %g", what, world.row.lse, lse);
}

START_TEST(rows) {
    const float two[] = {logf(2)}, minus[] = {-INFINITY}, bias[] = {logf(6), logf(3), logf(2)}, none[] = {-INFINITY},
                six[] = {logf(6)};
    const int32_t at[] = {0, -1, 1}, here[] = {0};
    must_give("plain", (sa_batch){0}, (sa_sequence){0}, (6 + 24 + 54) / 6.0, log(6));
    must(fabs(world.row.m - log(3)) < 1e-6 && fabs(world.weights[1] - 2 / 6.0) < 1e-6, "row_max and weights");
    must_give("a bias that makes them equal", (sa_batch){0}, (sa_sequence){.bias = {bias, 0, 0, 1}}, 12, log(18));
    must_give("everything hidden", (sa_batch){0}, (sa_sequence){.bias = {none, 0, 0, 0}}, 0, -HUGE_VAL);
    must_give("a sink as heavy as all keys", (sa_batch){.sink_logits = six}, (sa_sequence){0}, 7, log(12));
    must(fabs(world.row.m - log(3)) < 1e-6 && fabs(world.weights[2] - 3 / 12.0) < 1e-6, "the sink is no key");
    must_give("a sink alone", (sa_batch){.sink_logits = two}, (sa_sequence){.bias = {none, 0, 0, 0}}, 0, log(2));
    must(world.row.m == -HUGE_VAL && world.weights[0] == 0, "a sink alone is no key either");
    must_give("no sink", (sa_batch){.sink_logits = two}, (sa_sequence){.sink_logits = minus}, 14, log(6));
    must_give("distances 0, 1, 1", (sa_batch){.alibi_slopes = two},
              (sa_sequence){.q_positions = here, .k_positions = at}, (6 + 12 + 27) / 3.5, log(3.5));
    must_give("distances 2, 1, 0", (sa_batch){.alibi_slopes = two}, (sa_sequence){0}, (1.5 + 12 + 54) / 4.25,
              log(4.25));
}
END_TEST

/* softcap * tanh(s / softcap), ahead of the bias. */
START_TEST(softcaps) {
    const float far[] = {-50, -50, 0};
    const double s = 2 * tanh((double)logf(3) / 2);
    must_give("a cap", (sa_batch){.softcap = 2}, (sa_sequence){.bias = {far, 0, 0, 1}}, 18, s);
    must_give("a high one", (sa_batch){.softcap = 1e6f}, (sa_sequence){0}, 14, log(6));
}
END_TEST

START_TEST(masses) {
    float q[4] = {0}, k[2] = {0}, v[2] = {0}, received[2];
    const unsigned char first_only[] = {1, 0};
    double mass[2], bounds[2];
    sa_sequence s = {
        .n_q = 2, .n_k = 2, .q = {q, 0, 0}, .k = {k, 0, 0}, .v = {v, 0, 0}, .key_mass = {.data = received}};
    sa_batch b = {
        .sequence_size = sizeof s, .sequences = &s, .n_query_heads = 2, .n_kv_heads = 1, .d_qk = 1, .flags = SA_CAUSAL};
    must(reference_key_mass(&b, 0, -1, mass, bounds) && mass[0] == 3 && mass[1] == 1, "two heads: 1 + 1/2 and 1/2");
    s.key_mass.heads = first_only;
    must(reference_key_mass(&b, 0, 0, mass, bounds) && mass[0] == 1.5 && mass[1] == 0.5, "one of two heads");
    s.key_mass.first_query = 1;
    must(reference_key_mass(&b, 0, 0, mass, bounds) && mass[0] == 0.5 && mass[1] == 0.5, "the second query");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("reference");
    TCase *tcase = add_case(suite, "reference");
    tcase_add_test(tcase, limits);
    tcase_add_test(tcase, positions);
    tcase_add_test(tcase, documents);
    tcase_add_test(tcase, trees);
    tcase_add_test(tcase, blocks);
    tcase_add_test(tcase, grids);
    tcase_add_test(tcase, rows);
    tcase_add_test(tcase, softcaps);
    tcase_add_test(tcase, masses);
    return run_suite(suite);
}
