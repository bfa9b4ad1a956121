/* SPDX-License-Identifier: MIT */
/* Other calls in the middle of a call's items, between any two blocks: all have the bits they have alone. */
#include <string.h>

#include "drawn.h"
#include "engine.h"
#include "engines.h"
#include "fpmode.h"
#include "paged.h"

/* Types of q and of k and v; rows, keys and heads, few rows of several heads that go abreast among them; what rules. */
static const struct {
    int q, kv, n_q, n_k, heads, d, page;
    uint32_t flags;
    bool keeps_all; /* no random window */
} ways[] = {{SA_F32, SA_F32, 150, 1500, 2, 64, 0, 0, false}, {SA_BF16, SA_BF16, 150, 1400, 2, 64, 0, 0, false},
            {SA_F32, SA_I8, 130, 1300, 2, 48, 16, 0, false}, {SA_F16, SA_F16, 70, 1100, 2, 64, 0, SA_F16_PAIRS, false},
            {SA_F32, SA_F32, 1, 9000, 2, 64, 0, 0, true},    {SA_BF16, SA_BF16, 2, 5000, 8, 64, 16, 0, true},
            {SA_BF16, SA_I8, 1, 3000, 8, 32, 0, 0, true},    {SA_F16, SA_F16, 3, 2500, 4, 40, 7, 0, false},
            {SA_F32, SA_F32, 680, 3100, 1, 256, 0, 0, true}};
enum { N_WAYS = sizeof ways / sizeof ways[0], TOGETHER = N_WAYS - 1 };

static struct drawn draw(int seed, int way) {
    struct dice dice = {(uint64_t)seed};
    struct drawn drawn = drawn_batch((uint64_t)seed, ways[way].heads, ways[way].heads, ways[way].d, ways[way].d);
    drawn.batch.q_type = ways[way].q;
    drawn.batch.k_type = drawn.batch.v_type = ways[way].kv;
    drawn.batch.scale_type = SA_F32;
    drawn.batch.flags |= ways[way].flags;
    drawn_add(&drawn, ways[way].n_q, ways[way].n_k, PACKED, 1);
    if (!ways[way].keeps_all)
        drawn_rules(&drawn);
    if (ways[way].page)
        drawn_page(&drawn, 0, 1, paging_of(&dice, ways[way].page));
    return drawn;
}

/* A call that is made again and again while another is under way. */
struct guest {
    sa_engine *engine;
    struct sa_call *call;
    struct drawn drawn;
    float *wanted;
    int n_asked, n_played, each; /* it is due each so many times that it may be */
};

static void run(sa_engine *engine, struct sa_call *call, struct drawn *drawn) {
    drawn_forget(drawn);
    const uint64_t mode = sa_fpmode_enter();
    must(sa_call_prepare(engine, call, &drawn->batch) == SA_OK, "%s", sa_last_reason());
    call->in_caller = true;
    must(sa_call_run(engine, call) == SA_OK, "%s", sa_last_reason());
    sa_fpmode_leave(mode);
}

static void must_have(const struct drawn *drawn, const float *wanted, const char *what) {
    size_t n;
    float *outputs = drawn_outputs(drawn, &n);
    drawn_must_equal(outputs, wanted, n, what);
    free(outputs);
}

static bool is_due(void *argument) {
    struct guest *guest = argument;
    return guest->n_asked++ % guest->each == 0;
}

static void play(void *argument) {
    struct guest *guest = argument;
    guest->n_played++;
    run(guest->engine, guest->call, &guest->drawn);
    must_have(&guest->drawn, guest->wanted, "the call in between");
}

/* As often as there are blocks of 256 keys, or chunks of 1024 for few rows, if a tile sees all of them. */
static int least_asked(int way) {
    const int keys = ways[way].n_q > 8 ? 256 : 1024;
    return ways[way].keeps_all ? (ways[way].n_k + keys - 1) / keys : 0;
}

static int ask_while(struct guest *guest, struct sa_call *call, struct drawn *host, const float *wanted) {
    const struct sa_interlude interlude = {is_due, play, guest};
    guest->n_asked = guest->n_played = 0;
    call->space.interlude = &interlude;
    run(guest->engine, call, host);
    call->space.interlude = NULL;
    must_have(host, wanted, "the call around");
    must(guest->n_played == (guest->n_asked + guest->each - 1) / guest->each, "due and not played");
    return guest->n_asked;
}

/* What each key received and the weights of the last row are asked for as well: that takes items of its own. */
static void check_reports(struct guest *guest, struct sa_call *call, struct drawn *host, const float *wanted,
                          int asked) {
    sa_sequence *s = &host->seqs[0];
    const size_t bytes = (size_t)s->n_k * sizeof(float);
    const sa_row row = {s->n_q - 1, 0, 0};
    float *mass = drawn_map(host, bytes), *weights = drawn_map(host, bytes), *alone = malloc(2 * bytes);
    s->key_mass.data = mass;
    s->weights = (sa_row_weights){weights, &row, 1, 0};
    run(guest->engine, call, host);
    memcpy(alone, mass, bytes);
    memcpy(alone + s->n_k, weights, bytes);
    memset(mass, -1, bytes);
    memset(weights, -1, bytes);
    must(ask_while(guest, call, host, wanted) > asked, "not asked while it reports");
    must(memcmp(alone, mass, bytes) == 0 && memcmp(alone + s->n_k, weights, bytes) == 0, "other bits are reported");
    free(alone);
}

static void check_pair(sa_engine *engine, int i, int way, int other) {
    size_t n;
    struct drawn host = draw(i, way);
    struct guest guest = {.engine = engine, .drawn = draw(100 + i, other), .each = 1 + i % 3};
    float *wanted = drawn_compute(&host, engine, &n);
    guest.wanted = drawn_compute(&guest.drawn, engine, &n);
    guest.call = sa_call_take(engine);
    struct sa_call *call = sa_call_take(engine);
    const int asked = ask_while(&guest, call, &host, wanted);
    must(asked >= least_asked(way), "%d blocks, asked %d times", least_asked(way), asked);
    check_reports(&guest, call, &host, wanted, asked);
    sa_call_give_back(engine, guest.call);
    sa_call_give_back(engine, call);
    free(guest.wanted);
    free(wanted);
    drawn_free(&guest.drawn);
    drawn_free(&host);
}

/* Every way in the middle of some, and some in the middle of every way. */
START_TEST(calls_in_the_middle_of_others_have_the_same_bits) {
    sa_engine *engine = engine_with(_i, 1);
    for (int i = 0; engine && i < isa_cases(_i, N_WAYS); i++) {
        const int way = i % N_WAYS, other = (i * 5 + 1) % N_WAYS;
        if (way == TOGETHER && _i != SA_ISA_AVX2)
            continue; /* tiles that go together take long where they are emulated */
        check_pair(engine, i, way, other == TOGETHER ? 0 : other);
    }
    sa_engine_destroy(engine);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("interlude");
    tcase_add_loop_test(add_case(suite, "interlude"), calls_in_the_middle_of_others_have_the_same_bits, ISA_FIRST,
                        ISA_END);
    return run_suite(suite);
}
