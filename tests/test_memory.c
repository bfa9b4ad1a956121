/* SPDX-License-Identifier: MIT */
/* Every allocation fails once: a status and a reason, nothing leaked, the engine as good as before. And when nothing
 * fails, the second call of a shape asks for no memory. Linked with posix_memalign() and free() wrapped, the only two
 * that memory.c calls. */
#include "memory.h"

#include "box.h"
#include "fenced.h"
#include "heap.h"
#include "plan.h"
#include "spied.h"
#include "workspace.h"

/* ---------------------------------------------------------------- engine */

/* Returns how many allocations there are to fail. */
static int fail_creation(void) {
    sa_engine_options options = {sizeof options, 3, SA_BIND_DEFAULT, SA_ISA_DEFAULT, 0, NULL};
    for (int n = 1;; n++) {
        sa_engine *engine = (sa_engine *)(void *)&options;
        fail_at(n);
        sa_status status = sa_engine_create(&options, &engine);
        if (!has_failed()) {
            ck_assert_int_eq(status, SA_OK);
            sa_engine_destroy(engine);
            ck_assert_int_eq(live(), 0);
            return n - 1;
        }
        check_no_memory(status);
        ck_assert_ptr_null(engine);
        ck_assert_int_eq(live(), 0);
    }
}

START_TEST(making_an_engine) {
    unsetenv("OMP_PLACES");
    unsetenv("OMP_PROC_BIND");
    unsetenv("GOMP_CPU_AFFINITY");
    int n = fail_creation();
    ck_assert_int_ge(n, 3);
    setenv("OMP_PROC_BIND", "close", 1); /* the places of OpenMP are asked for, and need room */
    ck_assert_int_eq(fail_creation(), n + 1);
}
END_TEST

/* ---------------------------------------------------------------- calls */

static const struct box_shape in_caller = {3, 4, 2, 8, 12, 20, 40}, in_team = {5, 4, 2, 64, 48, 700, 700},
                              in_parts = {1, 8, 1, 64, 48, 2, 60000};

enum { REPORTED_ROWS = 70, REPORTED_KEYS = 700 };

typedef sa_status function(sa_engine *engine, const struct box *box);

static sa_status forward(sa_engine *engine, const struct box *box) { return sa_batch_forward(engine, &box->batch); }

static sa_status get_info(sa_engine *engine, const struct box *box) {
    sa_batch_info info = {.struct_size = sizeof info};
    return sa_batch_get_info(engine, &box->batch, &info);
}

static sa_status describe(sa_engine *engine, const struct box *box) {
    char text[100];
    return sa_batch_describe(engine, &box->batch, text, sizeof text, NULL);
}

static sa_status simulate(sa_engine *engine, const struct box *box) {
    sa_simulation simulation = {.struct_size = sizeof simulation};
    return sa_batch_simulate(engine, &box->batch, NULL, &simulation);
}

/* On a new engine each time, the n-th allocation of the call fails; the engine has to serve the next one. */
static int fail_call(function *call, int n_threads, struct box *box) {
    int before = live();
    for (int n = 1;; n++) {
        sa_engine *engine = engine_of(n_threads);
        fail_at(n);
        sa_status status = call(engine, box);
        bool failed = has_failed();
        if (failed)
            check_no_memory(status);
        else
            ck_assert_int_eq(status, SA_OK);
        check_forward(engine, box);
        check_forward(engine, box);
        sa_engine_destroy(engine);
        ck_assert_int_eq(live(), before);
        if (!failed)
            return n - 1;
    }
}

static const struct {
    function *call;
    int n_threads;
    const struct box_shape *shape;
} calls[] = {{forward, 1, &in_caller}, {forward, 1, &in_team},  {forward, 2, &in_team},
             {forward, 4, &in_team},   {forward, 2, &in_parts}, {get_info, 2, &in_team},
             {describe, 2, &in_team},  {simulate, 2, &in_team}, {simulate, 2, &in_parts}};
enum { N_CALLS = sizeof calls / sizeof calls[0] };

/* The call itself, its sequences, its runs, domains and cursors; to compute, a workspace as well. */
START_TEST(calling) {
    struct box *box = box_with_answer(1, *calls[_i].shape);
    ck_assert_int_ge(fail_call(calls[_i].call, calls[_i].n_threads, box), calls[_i].call == forward ? 6 : 5);
    box_free(box);
}
END_TEST

static sa_batch_info info_of(sa_engine *engine, const struct box *box) {
    sa_batch_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(sa_batch_get_info(engine, &box->batch, &info), SA_OK);
    return info;
}

/* All of one document, which changes no bit; 8 bytes for every 256 keys are counted and granted. */
START_TEST(calling_for_documents) {
    static const int32_t documents[REPORTED_KEYS];
    sa_engine *engine = engine_of(2);
    struct box *box = box_with_answer(1, in_team);
    const sa_batch_info plain = info_of(engine, box);
    const int n = fail_call(forward, 2, box);
    int64_t n_blocks = 0;
    for (int i = 0; i < box->batch.n_sequences; i++) {
        box->seqs[i].k_documents = documents;
        n_blocks += (box->seqs[i].n_k + 255) / 256;
    }
    ck_assert_int_eq(fail_call(forward, 2, box), n + 1);
    ck_assert_int_eq(info_of(engine, box).workspace_bytes - plain.workspace_bytes, 8 * n_blocks);
    box_free(box);
    sa_engine_destroy(engine);
}
END_TEST

/* Of every type, if nothing is split: but that a single tile keeps nothing for others. */
START_TEST(scratch_memory_does_not_grow_with_n) {
    enum { MOST = 20000, D = 64 };
    sa_engine *engine = engine_of(1);
    struct fenced memory = fenced_map(2 * MOST * D);
    for (int type = SA_F32; type <= SA_F16; type++) {
        int64_t bytes[2] = {0, 0};
        for (int n = 1; n <= MOST; n = 3 * n + 7) {
            const sa_tensor x = {memory.begin, 0, 0};
            const sa_sequence sequence = {
                .n_q = n, .n_k = n, .q = x, .k = x, .v = x, .o = {memory.begin + MOST * D, 0, 0}};
            const sa_batch batch = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &sequence, .n_query_heads = 1,
                                    .d_qk = D,     .q_type = type,   .k_type = type,         .v_type = type};
            sa_batch_info info = {.struct_size = sizeof info};
            const sa_status status = sa_batch_get_info(engine, &batch, &info);
            must(status == SA_OK, "%s", sa_last_reason());
            int64_t *before = &bytes[n > SA_TILE_ROWS];
            must(*before == 0 || info.workspace_bytes == *before, "type %d, %d tokens", type, n);
            *before = info.workspace_bytes;
        }
        must(bytes[0] <= bytes[1] && bytes[1] <= bytes[0] + (8 << 20) + 65536, "type %d", type);
    }
    fenced_unmap(&memory);
    sa_engine_destroy(engine);
}
END_TEST

/* Weights and masses of its sequences, to be found wherever they are wanted: nobody looks at them here. */
static struct {
    sa_row rows[REPORTED_ROWS];
    float weights[REPORTED_ROWS * REPORTED_KEYS], mass[REPORTED_KEYS];
} reported[BOX_SEQS];

static struct box *with_reports(struct box *box) {
    for (int i = 0; i < box->batch.n_sequences; i++) {
        sa_sequence *s = &box->seqs[i];
        for (int r = 0; r < REPORTED_ROWS; r++)
            reported[i].rows[r] = (sa_row){r / 4 % s->n_q, r % 4, 0};
        s->weights = (sa_row_weights){reported[i].weights, reported[i].rows, REPORTED_ROWS, REPORTED_KEYS};
        s->key_mass = (sa_key_mass){reported[i].mass, 0, 0, 0, NULL};
    }
    return box;
}

START_TEST(calling_for_reports) {
    const struct box_shape *shape = _i ? &in_team : &in_caller;
    struct box *box = with_reports(box_with_answer(1, *shape));
    ck_assert_int_ge(fail_call(forward, 1 + _i, box), 8); /* their list, and m and l of rows, as well */
    box_free(box);
}
END_TEST

/* Which of the three a box is. */
START_TEST(the_boxes_are_what_they_are_called) {
    sa_engine *engine = engine_of(2);
    struct box *small = box_new(1, in_caller), *large = box_new(1, in_team), *split = box_new(1, in_parts);
    ck_assert_int_eq(info_of(engine, small).in_caller, 1);
    ck_assert(info_of(engine, large).in_caller == 0 && info_of(engine, large).n_splits == 0);
    ck_assert_int_gt(info_of(engine, split).n_splits, 1);
    box_free(small);
    box_free(large);
    box_free(split);
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- nothing is asked for twice */

/* Shapes alternate; after the first round no memory is asked for, by any thread. */
static void check_quiet(const struct box_shape *shapes, int n_shapes, int n_threads, int n_rounds, bool reports) {
    struct box *boxes[4];
    for (int i = 0; i < n_shapes; i++)
        boxes[i] = box_with_answer((uint64_t)i, shapes[i]);
    for (int i = 0; reports && i < n_shapes; i++)
        with_reports(boxes[i]);
    sa_engine *engine = engine_of(n_threads);
    int after_first = 0;
    for (int round = 0; round < n_rounds; round++) {
        for (int i = 0; i < n_shapes; i++)
            check_forward(engine, boxes[i]);
        after_first = round == 0 ? asked() : after_first;
        must(asked() == after_first, "round %d: memory was asked for %d times", round, asked() - after_first);
    }
    sa_engine_destroy(engine);
    for (int i = 0; i < n_shapes; i++)
        box_free(boxes[i]);
    ck_assert_int_eq(live(), 0);
}

START_TEST(the_second_call_in_the_caller) { check_quiet(&in_caller, 1, 2, 20, false); }
END_TEST

START_TEST(the_second_call_in_a_team_of_one) { check_quiet(&in_team, 1, 1, 20, false); }
END_TEST

START_TEST(the_second_call_in_the_team) { check_quiet(&in_team, 1, 2, 50, false); }
END_TEST

/* Fewer items than threads, so that others may wake up in the next call. */
START_TEST(the_second_call_in_a_team_that_is_not_all_needed) {
    const struct box_shape two_items = {1, 2, 2, 64, 64, 64, 1500};
    check_quiet(&two_items, 1, 6, 100, false);
}
END_TEST

/* Such a call runs where there is room, on a seat of the team or in its caller. */
START_TEST(the_second_call_elsewhere) {
    struct box *large = box_new(1, in_team), *small = box_new(2, (struct box_shape){1, 6, 6, 64, 64, 16, 64});
    sa_engine *engine = engine_of(2);
    ck_assert_int_eq(sa_batch_forward(engine, &large->batch), SA_OK);
    wait_until_asleep(engine);
    ck_assert_int_eq(sa_batch_forward(engine, &small->batch), SA_OK);
    int before = asked();
    engine->team.core_map.n_cpus = 0; /* no caller is on a core */
    ck_assert_int_eq(sa_batch_forward(engine, &small->batch), SA_OK);
    ck_assert_int_eq(asked(), before);
    box_free(large);
    box_free(small);
    sa_engine_destroy(engine);
}
END_TEST

START_TEST(the_second_call_in_parts) { check_quiet(&in_parts, 1, 3, 20, false); }
END_TEST

START_TEST(the_second_call_for_reports) {
    check_quiet(&in_caller, 1, 1, 20, true);
    check_quiet(&in_team, 1, 3, 10, true);
}
END_TEST

START_TEST(alternating_shapes) {
    const struct box_shape shapes[] = {{1, 4, 2, 64, 64, 300, 300}, in_team, in_parts, in_caller};
    check_quiet(shapes, 4, 2, 20, false);
}
END_TEST

START_TEST(looking_at_the_engine) {
    char text[2000];
    sa_engine *engine = engine_of(2);
    sa_engine_info info = {.struct_size = sizeof info};
    int before = asked();
    ck_assert_int_eq(sa_engine_get_info(engine, &info), SA_OK);
    ck_assert_int_eq(sa_engine_describe(engine, text, sizeof text, NULL), SA_OK);
    ck_assert_int_eq(asked(), before);
    sa_engine_destroy(engine);
}
END_TEST

/* ---------------------------------------------------------------- buffers */

START_TEST(a_buffer_grows_and_keeps) {
    struct sa_buffer buffer = {0};
    for (size_t bytes = 1; bytes < 5000; bytes += 97) {
        ck_assert(sa_buffer_extend(&buffer, bytes > 1 ? bytes - 97 : 0, bytes));
        ck_assert(buffer.capacity_bytes >= bytes && (uintptr_t)buffer.data % 64 == 0);
        for (size_t i = bytes > 1 ? bytes - 97 : 0; i < bytes; i++)
            ((unsigned char *)buffer.data)[i] = (unsigned char)(i * 7);
        for (size_t i = 0; i < bytes; i++)
            must(((unsigned char *)buffer.data)[i] == (unsigned char)(i * 7), "byte %zu of %zu", i, bytes);
    }
    ck_assert_int_lt(asked(), 10); /* it doubles */
    ck_assert_int_eq(live(), 1);
    sa_buffer_free(&buffer);
    ck_assert(live() == 0 && !buffer.data && buffer.capacity_bytes == 0);
}
END_TEST

START_TEST(a_buffer_that_cannot_grow_stays) {
    struct sa_buffer buffer = {0};
    ck_assert(sa_buffer_reserve(&buffer, 100));
    memset(buffer.data, 5, 100);
    const struct sa_buffer before = buffer;
    fail_at(1);
    ck_assert(!sa_buffer_extend(&buffer, 100, 1000) && has_failed());
    ck_assert(buffer.data == before.data && buffer.capacity_bytes == before.capacity_bytes);
    ck_assert(((unsigned char *)buffer.data)[99] == 5 && live() == 1);
    sa_buffer_free(&buffer);
}
END_TEST

START_TEST(a_plan_that_finds_no_memory_can_be_made_again) {
    struct sa_seq seqs[40];
    struct sa_problem problem = {.n_seqs = 40, .seqs = seqs, .n_kv_heads = 2, .group = 1, .d_qk = 8, .d_v = 8};
    problem.rule = (struct sa_rule){SA_UNLIMITED, 0, 0};
    for (int i = 0; i < 40; i++)
        seqs[i] = (struct sa_seq){.n_q = 2000, .n_k = 2000};
    const struct sa_team_shape team = {
        .n_threads = 3, .n_domains = 2, .domain_threads = (int[]){2, 1}, .model = sa_cost_model_of(0)};
    int n = 0;
    for (bool made = false; !made;) {
        struct sa_plan plan = {0};
        fail_at(++n);
        made = sa_plan_make(&plan, &problem, &team);
        ck_assert(made != has_failed());
        ck_assert(sa_plan_make(&plan, &problem, &team));
        ck_assert_int_eq(plan.n_items, 40 * 2 * 32);
        sa_plan_free(&plan);
        ck_assert_int_eq(live(), 0);
    }
    ck_assert_int_gt(n, 5);
}
END_TEST

/* ---------------------------------------------------------------- workspace */

/* All parts, with what they have room for. */
static int list_parts(const struct sa_workspace *space, struct sa_buffer parts[40]) {
    const size_t row = SA_TILE_ROWS * sizeof(float), d_qk = (size_t)space->room.d_qk * row,
                 d_v = (size_t)space->room.d_v * row;
    int n = 0;
    parts[n++] = (struct sa_buffer){space->lo, SA_TILE_ROWS * sizeof *space->lo};
    parts[n++] = (struct sa_buffer){space->hi, SA_TILE_ROWS * sizeof *space->hi};
    parts[n++] = (struct sa_buffer){space->sink, SA_TILE_ROWS * sizeof *space->sink};
    parts[n++] = (struct sa_buffer){space->qt, d_qk};
    parts[n++] = (struct sa_buffer){space->s, SA_BLOCK_KEYS * row};
    parts[n++] = (struct sa_buffer){space->mb, row};
    parts[n++] = (struct sa_buffer){space->alpha, row};
    parts[n++] = (struct sa_buffer){space->near, (size_t)SA_BLOCK_KEYS * (d_qk > d_v ? d_qk : d_v) / SA_TILE_ROWS};
    for (int i = -1; i < SA_TREE_LEVELS; i++) {
        const struct sa_state *state = i < 0 ? &space->result : &space->child[i];
        parts[n++] = (struct sa_buffer){state->m, row};
        parts[n++] = (struct sa_buffer){state->l, row};
        parts[n++] = (struct sa_buffer){state->o, d_v};
    }
    for (int i = 0; i < space->room.n_turned; i++)
        parts[n++] = (struct sa_buffer){space->turned[i].values, space->room.turned_bytes};
    for (int i = 0; i < 2 * space->room.n_copies; i++)
        parts[n++] = (struct sa_buffer){space->copies[i / 2].of[i % 2].rows, space->room.copy_bytes[i % 2]};
    return n;
}

static void check_parts(const struct sa_workspace *space) {
    struct sa_buffer parts[40];
    int n = list_parts(space, parts);
    const char *begin = space->buffer.data, *end = begin + space->buffer.capacity_bytes;
    for (int i = 0; i < n; i++) {
        const char *at = parts[i].data;
        ck_assert((uintptr_t)at % 64 == 0 && at >= begin && at + parts[i].capacity_bytes <= end);
        memset(parts[i].data, i, parts[i].capacity_bytes);
    }
    for (int i = 0; i < n; i++)
        for (size_t byte = 0; byte < parts[i].capacity_bytes; byte += 4)
            must(((unsigned char *)parts[i].data)[byte] == i, "parts %d and another overlap", i);
}

/* With more or less of what threads keep. */
static struct sa_room room_of(int d_qk, int d_v, int i) {
    return (struct sa_room){d_qk, d_v, 1 + i % 8, i % 5, i % 3, 4096, {i % 2 ? 1024 : 0, i % 4 ? 2048 : 0}};
}

START_TEST(a_workspace_has_room_for_all_its_parts) {
    static const int dims[] = {1, 64, 576, 3, 80, 17};
    struct sa_workspace space = {0};
    for (int i = 0; i < 36; i++) {
        ck_assert(sa_workspace_grant(&space, room_of(dims[i % 6], dims[i / 6], i)));
        ck_assert(space.room.d_qk == dims[i % 6] && space.room.d_v == dims[i / 6]);
        ck_assert(space.buffer.capacity_bytes >= sa_workspace_bytes(space.room));
        check_parts(&space);
    }
    sa_workspace_free(&space);
    ck_assert_int_eq(live(), 0);
}
END_TEST

START_TEST(a_workspace_that_cannot_grow_is_laid_out_again) {
    struct sa_workspace space = {0};
    ck_assert(sa_workspace_grant(&space, room_of(8, 8, 0)));
    fail_at(1);
    ck_assert(!sa_workspace_grant(&space, room_of(500, 500, 2)) && has_failed());
    ck_assert(sa_workspace_grant(&space, room_of(8, 8, 0)));
    check_parts(&space);
    ck_assert(sa_workspace_grant(&space, room_of(500, 500, 2)));
    check_parts(&space);
    sa_workspace_free(&space);
    ck_assert_int_eq(live(), 0);
}
END_TEST

/* As many rows as the passes of the largest tile have; m and l of a whole tile. */
static void check_slots(const struct sa_partials *partials, int64_t n_slots, int rows, int d_v) {
    for (int64_t slot = 0; slot < n_slots; slot++) {
        const struct sa_state state = sa_partials_state(partials, slot);
        ck_assert((uintptr_t)state.m % 64 == 0 && (uintptr_t)state.l % 64 == 0 && (uintptr_t)state.o % 64 == 0);
        memset(state.m, (int)slot, SA_TILE_ROWS * sizeof(float));
        memset(state.l, (int)slot, SA_TILE_ROWS * sizeof(float));
        memset(state.o, (int)slot, (size_t)(rows * d_v) * sizeof(float));
    }
    for (int64_t slot = 0; slot < n_slots; slot++) {
        const struct sa_state state = sa_partials_state(partials, slot);
        const unsigned char *m = (void *)state.m, *l = (void *)state.l, *o = (void *)state.o;
        for (int i = 0; i < SA_TILE_ROWS * 4; i++)
            must(m[i] == slot && l[i] == slot, "slot %lld and another overlap", (long long)slot);
        for (int i = 0; i < rows * d_v * 4; i++)
            must(o[i] == slot, "slot %lld and another overlap", (long long)slot);
    }
}

START_TEST(results_of_parts_have_room) {
    static const struct {
        int n_slots, n_rows, pass_rows, rows, d_v;
    } cases[] = {{5, 1, 16, 16, 8}, {100, 64, 16, 64, 17}, {3, 17, 16, 32, 1}, {9, 3, 64, 64, 64}, {0, 0, 64, 0, 5}};
    struct sa_partials partials = {.n_slots = 0};
    for (int i = 0; i < 5; i++) {
        const int64_t n = cases[i].n_slots;
        ck_assert(sa_partials_grant(&partials, n, cases[i].n_rows, cases[i].pass_rows, cases[i].d_v));
        ck_assert(sa_partials_bytes(n, cases[i].n_rows, cases[i].pass_rows, cases[i].d_v) <=
                  partials.state_buffer.capacity_bytes + partials.count_buffer.capacity_bytes);
        check_slots(&partials, n, cases[i].rows, cases[i].d_v);
        for (int64_t c = 0; c < n * SA_TREE_LEVELS; c++)
            partials.counts[c] = 7;
        sa_partials_clear(&partials);
        for (int64_t c = 0; c < n * SA_TREE_LEVELS; c++)
            must(partials.counts[c] == 0, "count %lld", (long long)c);
    }
    for (int n = 1; n <= 2; n++) {
        fail_at(n);
        ck_assert(!sa_partials_grant(&partials, 1000 * n, 64, 64, 64 * n) && has_failed());
        ck_assert(sa_partials_grant(&partials, 5, 64, 64, 8));
        check_slots(&partials, 5, 64, 8);
    }
    sa_partials_free(&partials);
    ck_assert_int_eq(live(), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("memory");
    TCase *failing = add_case(suite, "failing");
    tcase_add_test(failing, making_an_engine);
    tcase_add_loop_test(failing, calling, 0, N_CALLS);
    tcase_add_test(failing, calling_for_documents);
    tcase_add_loop_test(failing, calling_for_reports, 0, 2);
    tcase_add_test(failing, the_boxes_are_what_they_are_called);
    TCase *quiet = add_case(suite, "quiet");
    tcase_add_test(quiet, the_second_call_in_the_caller);
    tcase_add_test(quiet, the_second_call_in_a_team_of_one);
    tcase_add_test(quiet, the_second_call_in_the_team);
    tcase_add_test(quiet, the_second_call_in_a_team_that_is_not_all_needed);
    tcase_add_test(quiet, the_second_call_elsewhere);
    tcase_add_test(quiet, the_second_call_in_parts);
    tcase_add_test(quiet, the_second_call_for_reports);
    tcase_add_test(quiet, alternating_shapes);
    tcase_add_test(quiet, looking_at_the_engine);
    tcase_add_test(quiet, scratch_memory_does_not_grow_with_n);
    TCase *parts = add_case(suite, "parts");
    tcase_add_test(parts, a_buffer_grows_and_keeps);
    tcase_add_test(parts, a_buffer_that_cannot_grow_stays);
    tcase_add_test(parts, a_plan_that_finds_no_memory_can_be_made_again);
    tcase_add_test(parts, a_workspace_has_room_for_all_its_parts);
    tcase_add_test(parts, a_workspace_that_cannot_grow_is_laid_out_again);
    tcase_add_test(parts, results_of_parts_have_room);
    return run_suite(suite);
}
