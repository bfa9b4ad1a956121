/* SPDX-License-Identifier: MIT */
/* Keys and values that a thread copies once for all tiles of a head, and tiles that go through them together: the bits
 * of tiles alone, which share nothing with others, and no copies of what has changed since, or of what others see. */
#include <string.h>

#include "elements.h"
#include "engines.h"
#include "paged.h"

/* Types, heads and dimensions of k and v that cannot be used in place: other types, and rows of f32 2048 bytes apart.
 */
static const struct {
    int q, kv, heads, d_qk, d_v;
    uint32_t flags;
} ways[] = {
    {SA_F32, SA_F32, 8, 64, 64, 0},    {SA_F32, SA_F32, 4, 128, 96, 0},  {SA_F16, SA_F16, 2, 40, 64, 0},
    {SA_BF16, SA_BF16, 8, 128, 64, 0}, {SA_BF16, SA_BF16, 3, 40, 80, 0}, {SA_F16, SA_F16, 8, 128, 32, SA_F16_PAIRS},
    {SA_F32, SA_I8, 16, 64, 128, 0},   {SA_BF16, SA_I8, 3, 80, 40, 0},   {SA_F32, SA_BF16, 2, 64, 48, 0}};
enum { N_WAYS = sizeof ways / sizeof ways[0] };

static struct drawn draw(int i, int way, int heads) {
    struct drawn drawn = drawn_batch((uint64_t)i, heads, heads, ways[way].d_qk, ways[way].d_v);
    drawn.batch.q_type = ways[way].q;
    drawn.batch.k_type = drawn.batch.v_type = ways[way].kv;
    drawn.batch.o_type = i % 2 ? ways[way].q : SA_F32;
    drawn.batch.scale_type = SA_F32;
    drawn.batch.flags |= ways[way].flags;
    return drawn;
}

static size_t o_bytes(const struct drawn *drawn, int64_t n_q) {
    const sa_batch *b = &drawn->batch;
    return (size_t)(n_q * b->n_query_heads * b->d_v * element_bytes(b->o_type));
}

/* As calls of at most 64 rows a kv head. */
static void compute_by_tiles(struct drawn *drawn, sa_engine *engine) {
    const sa_sequence whole = drawn->seqs[0];
    const sa_batch *b = &drawn->batch;
    for (int64_t at = 0; at < whole.n_q; at += 64) {
        sa_sequence *s = &drawn->seqs[0];
        *s = whole;
        s->n_q = whole.n_q - at < 64 ? whole.n_q - at : 64;
        s->q_offset = (whole.flags & SA_SEQ_Q_OFFSET ? whole.q_offset : whole.n_k - whole.n_q) + at;
        s->flags |= SA_SEQ_Q_OFFSET;
        s->q.data = (const char *)whole.q.data + at * b->n_query_heads * b->d_qk * element_bytes(b->q_type);
        s->o.data = (char *)whole.o.data + o_bytes(drawn, at);
        s->lse = (sa_output){NULL, 0, 0};
        must(sa_batch_forward(engine, b) == SA_OK, "%s", sa_last_reason());
    }
    drawn->seqs[0] = whole;
}

/* Whole, it has the same bits. */
static void check_tiles(struct drawn *drawn, sa_engine *engine, int i) {
    const size_t bytes = o_bytes(drawn, drawn->seqs[0].n_q);
    char *wanted = malloc(bytes);
    drawn_forget(drawn);
    compute_by_tiles(drawn, engine);
    memcpy(wanted, drawn->seqs[0].o.data, bytes);
    drawn_forget(drawn);
    must(sa_batch_forward(engine, &drawn->batch) == SA_OK, "%s", sa_last_reason());
    must(memcmp(wanted, drawn->seqs[0].o.data, bytes) == 0, "case %d", i);
    free(wanted);
}

/* Windows, causality, sinks; of some shapes fewer blocks than there are find room. */
START_TEST(tiles_alone_have_the_same_bits) {
    sa_engine *engine = engine_with(_i, 2);
    for (int i = 0; engine && i < isa_cases(_i, 3 * N_WAYS); i++) {
        struct dice dice = {(uint64_t)(100 + i)};
        struct drawn drawn = draw(i, i % N_WAYS, ways[i % N_WAYS].heads);
        drawn_add(&drawn, roll_between(&dice, 65, 400), roll_between(&dice, 200, 1500), PACKED, 1);
        drawn_rules(&drawn);
        if (i % 3 == 0)
            drawn_page(&drawn, 0, 1, paging_of(&dice, i % 2 ? 16 : 7));
        check_tiles(&drawn, engine, i);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Wide heads: a thread has room for six blocks of them. */
START_TEST(more_blocks_than_there_is_room_for) {
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < isa_cases(_i, 3); i++) {
        struct drawn drawn = drawn_batch((uint64_t)i, 1, 1, 576, 576);
        drawn.batch.k_type = drawn.batch.v_type = i % 2 ? SA_F16 : SA_I8;
        drawn.batch.scale_type = SA_F16;
        drawn.batch.flags |= (i % 3 == 1 ? SA_WINDOW | SA_CAUSAL : i % 3 == 2 ? SA_CAUSAL : 0);
        drawn.batch.window_left = i % 3 == 1 ? 600 : 0;
        sa_sequence *s = drawn_add(&drawn, 140, 2100 - 77 * i, PACKED, 1);
        s->q_offset = s->n_k - s->n_q - 30 * i;
        s->flags |= SA_SEQ_Q_OFFSET;
        check_tiles(&drawn, engine, i);
        drawn_free(&drawn);
    }
    sa_engine_destroy(engine);
}
END_TEST

/* Heads with over 6 MiB of keys and values as floats, and so many tiles that there are some to go together: of
 * rows that see the same keys or not, none, or sinks only, and of several query heads. */
static const struct {
    int threads, heads, group, kv;
    int64_t n_q, offset;
    uint32_t flags;
    int64_t left, right, sink;
    int page;
} long_heads[] = {{1, 1, 1, SA_F32, 700, 1500, SA_WINDOW | SA_CAUSAL, 900, 0, 40, 0},
                  {2, 2, 1, SA_F32, 700, 0, SA_CAUSAL, 0, 0, 0, 0},
                  {1, 1, 3, SA_F32, 230, 2860, SA_WINDOW, 700, 100, 5, 0},
                  {1, 1, 1, SA_F16, 700, 700, SA_WINDOW, 300, 200, 0, 16},
                  {1, 2, 1, SA_BF16, 650, -260, SA_CAUSAL, 0, 0, 0, 7},
                  {2, 2, 1, SA_F32, 640, 0, 0, 0, 0, 0, 0}};
enum { N_LONG = sizeof long_heads / sizeof long_heads[0] };

START_TEST(tiles_of_long_heads_have_the_same_bits) {
    enum { N_KEYS = 3100, D = 256 };
    for (int i = 0; i < isa_cases(_i, N_LONG); i++) {
        const int heads = long_heads[i].heads;
        sa_engine *engine = engine_with(_i, long_heads[i].threads);
        if (!engine)
            break;
        struct dice dice = {(uint64_t)i};
        struct drawn drawn = drawn_batch((uint64_t)i, long_heads[i].group * heads, heads, D, D);
        sa_batch *b = &drawn.batch;
        b->k_type = b->v_type = long_heads[i].kv;
        b->flags |= long_heads[i].flags;
        b->window_left = long_heads[i].left, b->window_right = long_heads[i].right;
        b->n_sink_keys = long_heads[i].sink;
        sa_sequence *s = drawn_add(&drawn, long_heads[i].n_q, N_KEYS, PACKED, 1);
        s->flags |= SA_SEQ_Q_OFFSET;
        s->q_offset = long_heads[i].offset;
        if (long_heads[i].page)
            drawn_page(&drawn, 0, 1, paging_of(&dice, long_heads[i].page));
        check_tiles(&drawn, engine, i);
        drawn_free(&drawn);
        sa_engine_destroy(engine);
    }
}
END_TEST

/* ---------------------------------------------------------------- what others have left */

static void negate(int type, const void *elements, int64_t n) {
    for (char *at = (char *)(uintptr_t)elements; n > 0; n--, at += element_bytes(type))
        element_store(type, -element_value(type, at), at);
}

START_TEST(keys_change_between_calls) {
    for (int way = 0; way < N_WAYS; way++) {
        sa_engine *engine = engine_with(_i, 2), *fresh;
        if (!engine)
            break;
        struct drawn drawn = draw(way, way, ways[way].heads);
        const sa_batch *b = &drawn.batch;
        const sa_sequence *s = drawn_add(&drawn, 150, 300, PACKED, 1);
        size_t n;
        float *before = drawn_compute(&drawn, engine, &n);
        negate(b->k_type, s->k.data, s->n_k * b->n_kv_heads * b->d_qk);
        negate(b->v_type, s->v.data, s->n_k * b->n_kv_heads * b->d_v);
        float *after = drawn_compute(&drawn, engine, &n);
        sa_engine_destroy(engine);
        fresh = engine_with(_i, 1);
        float *wanted = drawn_compute(&drawn, fresh, &n);
        drawn_must_equal(after, wanted, n, "other keys at the same place");
        must(memcmp(before, wanted, n * sizeof *wanted) != 0, "they make no difference");
        sa_engine_destroy(fresh);
        free(before);
        free(after);
        free(wanted);
        drawn_free(&drawn);
    }
}
END_TEST

static void share_keys(const sa_sequence *from, sa_sequence *to) {
    to->k = from->k, to->v = from->v;
    to->k_pages = from->k_pages, to->v_pages = from->v_pages;
    to->k_scales = from->k_scales, to->v_scales = from->v_scales;
}

/* Two sequences together and each alone: the same bits. */
static void check_alone(struct drawn *drawn, sa_engine *engine, const char *what) {
    size_t n;
    float *both = drawn_compute(drawn, engine, &n);
    drawn_forget(drawn);
    for (int s = 0; s < 2; s++) {
        sa_batch alone = drawn->batch;
        alone.sequences = &drawn->seqs[s];
        alone.n_sequences = 1;
        must(sa_batch_forward(engine, &alone) == SA_OK, "%s", sa_last_reason());
    }
    float *wanted = drawn_outputs(drawn, &n);
    drawn_must_equal(both, wanted, n, what);
    free(both);
    free(wanted);
}

/* Two sequences with the same pages, of which one's window leaves some out that the other's sees. One head, so that
 * their tiles follow each other. */
START_TEST(pages_are_seen_by_some) {
    for (int i = 0; i < 2 * N_WAYS; i++) {
        sa_engine *engine = engine_with(_i, 1);
        if (!engine)
            break;
        struct dice dice = {(uint64_t)i};
        struct drawn drawn = draw(i, i / 2, 1);
        drawn.batch.flags |= SA_WINDOW | SA_CAUSAL;
        drawn.batch.window_left = 20;
        drawn.batch.n_sink_keys = 4;
        for (int s = 0; s < 2; s++) {
            sa_sequence *seq = drawn_add(&drawn, 80, 256, PACKED, 1);
            seq->q_offset = s == i % 2 ? 150 : 25;
            seq->flags |= SA_SEQ_Q_OFFSET;
        }
        struct paging how = paging_of(&dice, 16);
        how.per_head = false;
        drawn_page(&drawn, 0, 2, how);
        share_keys(&drawn.seqs[0], &drawn.seqs[1]);
        check_alone(&drawn, engine, "pages of both");
        drawn_free(&drawn);
        sa_engine_destroy(engine);
    }
}
END_TEST

/* One of two sequences with the same keys has a bias, of 0, and is computed as floats. */
START_TEST(the_same_keys_are_multiplied_otherwise) {
    static const float zero = 0;
    for (int i = 0; i < 2 * N_WAYS; i++) {
        sa_engine *engine = engine_with(_i, 1);
        if (!engine)
            break;
        struct drawn drawn = draw(i, i / 2, 1);
        drawn.batch.bias_type = SA_F32;
        drawn_add(&drawn, 100, 300, PACKED, 1);
        drawn_add(&drawn, 100, 300, PACKED, 1);
        share_keys(&drawn.seqs[0], &drawn.seqs[1]);
        drawn.seqs[i % 2].bias = (sa_grid){&zero, 0, 0, 0};
        check_alone(&drawn, engine, "keys of both");
        drawn_free(&drawn);
        sa_engine_destroy(engine);
    }
}
END_TEST

/* Pairs of the first head stand as words may, those of the second do not; a call between had only values to copy. */
START_TEST(other_heads_stand_otherwise) {
    enum { N = 130, KEYS = 300, D = 40, HEAD = KEYS * D + 1 };
    sa_engine *engine = engine_with(_i, 1);
    if (engine) {
        struct drawn pairs = drawn_batch(1, 2, 2, D, 16), floats = drawn_batch(2, 2, 2, D, 16);
        pairs.batch.q_type = pairs.batch.k_type = pairs.batch.v_type = floats.batch.v_type = SA_BF16;
        sa_sequence *s = drawn_add(&pairs, N, KEYS, PACKED, 1);
        uint16_t *k = drawn_map(&pairs, (2 * HEAD + 6) * sizeof *k); /* of a multiple of 16 bytes, wherever it ends */
        for (int h = 0; h < 2; h++)
            memcpy(k + h * HEAD, (const uint16_t *)s->k.data + h * KEYS * D, KEYS * D * sizeof *k);
        s->k = (sa_tensor){k, D, HEAD};
        drawn_add(&floats, N, KEYS, HEADS_FIRST, 1);
        size_t n;
        float *wanted = drawn_compute(&pairs, engine, &n), *other = drawn_compute(&floats, engine, &n);
        float *got = drawn_compute(&pairs, engine, &n);
        drawn_must_equal(got, wanted, n, "behind another call");
        free(wanted);
        free(other);
        free(got);
        drawn_free(&pairs);
        drawn_free(&floats);
    }
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("copies");
    TCase *tcase = add_case(suite, "copies");
    tcase_add_loop_test(tcase, tiles_alone_have_the_same_bits, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, more_blocks_than_there_is_room_for, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, tiles_of_long_heads_have_the_same_bits, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, keys_change_between_calls, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, pages_are_seen_by_some, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, the_same_keys_are_multiplied_otherwise, ISA_FIRST, ISA_END);
    tcase_add_loop_test(tcase, other_heads_stand_otherwise, ISA_FIRST, ISA_END);
    return run_suite(suite);
}
