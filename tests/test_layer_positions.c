/* SPDX-License-Identifier: MIT */
/* Positions on their own: rotary embeddings of every kind against the published formulas at positions up to a million
 * and beyond, sinusoids, tables; strides, types, what must stay untouched, what is refused. */
#include <math.h>
#include <stdlib.h>

#include "elements.h"
#include "inside.h"
#include "turn_reference.h"

enum { TOKENS = 9, HEADS = 3, MOST_D = 160, GAP = 5, ROOM = TOKENS * HEADS * (MOST_D + GAP) + TOKENS * GAP };

static const int64_t far_positions[] = {0, 1, -1, 17, 4095, 65536, 1000000, 999983, -1000000, 1 << 30};

static double uniform(struct dice *dice, double low, double high) {
    return low + (high - low) * ((double)roll_unit(dice) + 1) / 2;
}

static sa_rope random_rope(struct dice *dice, int d) {
    sa_rope rope = {.struct_size = sizeof rope};
    rope.d_rotary = roll_one_in(dice, 3) ? 0 : 2 * (int32_t)roll_between(dice, 2, d / 2);
    rope.layout = (int32_t)roll_between(dice, 0, 1);
    rope.scaling = (int32_t)roll_between(dice, 0, 4);
    rope.base = roll_one_in(dice, 3) ? 0 : pow(10, uniform(dice, 3, 6.5));
    rope.factor = rope.scaling == SA_ROPE_PLAIN || roll_one_in(dice, 5) ? 0 : uniform(dice, 0.5, 40);
    rope.original_length = (double)roll_between(dice, 64, 1 << 17);
    if (roll_one_in(dice, 2)) {
        rope.beta_fast = uniform(dice, 8, 64);
        rope.beta_slow = uniform(dice, 0.5, 4);
        rope.magnitude = uniform(dice, 0.5, 1.5);
        rope.low_factor = uniform(dice, 0.5, 2);
        rope.high_factor = rope.low_factor + uniform(dice, 0.5, 8);
    }
    return rope;
}

struct room {
    sa_rows rows;
    int32_t positions[TOKENS];
    double before[ROOM];
    union {
        float f32[ROOM];
        uint16_t halves[ROOM];
    } data;
    int64_t token_step, head_step;
};

static double element(const struct room *room, int64_t i) {
    return room->rows.type == SA_F32 ? (double)room->data.f32[i]
                                     : element_value(room->rows.type, &room->data.halves[i]);
}

static struct room *make_room(struct dice *dice, int d, int type) {
    struct room *room = calloc(1, sizeof *room);
    ck_assert_ptr_nonnull(room);
    const int gap = roll_one_in(dice, 2) ? GAP : 0;
    room->head_step = d + gap;
    room->token_step = HEADS * (d + gap) + gap;
    room->rows = (sa_rows){.struct_size = sizeof room->rows,
                           .data = &room->data,
                           .n_tokens = TOKENS,
                           .n_heads = HEADS,
                           .d = d,
                           .type = type,
                           .token_stride = room->token_step,
                           .head_stride = room->head_step,
                           .positions = room->positions};
    for (int i = 0; i < ROOM; i++) {
        const float x = roll_unit(dice);
        if (type == SA_F32)
            room->data.f32[i] = x;
        else
            room->data.halves[i] =
                type == SA_BF16 ? (uint16_t)(bits_of(x) >> 16) : (uint16_t)roll_between(dice, 0, 0x3c00);
        room->before[i] = element(room, i);
    }
    for (int t = 0; t < TOKENS; t++) {
        const int n = (int)(sizeof far_positions / sizeof *far_positions);
        room->positions[t] = roll_one_in(dice, 2) ? (int32_t)far_positions[roll_between(dice, 0, n - 1)]
                                                  : (int32_t)roll_between(dice, -1000000, 1000000);
    }
    return room;
}

/* Half a unit in the last place of the type. */
static double rounding(int type, double x) {
    return type == SA_BF16 ? fabs(x) * 0x1p-8 + 0x1p-134 : type == SA_F16 ? fabs(x) * 0x1p-11 + 0x1p-25 : 0;
}

/* Everything but the first d elements of heads is as before. */
static void gaps_must_stay(const struct room *room) {
    for (int64_t i = 0; i < ROOM; i++) {
        const int64_t in_token = i % room->token_step, head = in_token / room->head_step;
        if (i / room->token_step < TOKENS && head < HEADS && in_token % room->head_step < room->rows.d)
            continue;
        must(element(room, i) == room->before[i], "element %lld between heads was written", (long long)i);
    }
}

static void must_be_near(const struct room *room, int t, int h, const double *wanted, const double *errors) {
    for (int c = 0; c < room->rows.d; c++) {
        const double x = element(room, t * room->token_step + h * room->head_step + c);
        must(fabs(x - wanted[c]) <= errors[c] + rounding(room->rows.type, wanted[c]) * 1.01,
             "position %d, dimension %d: %.9g, wanted %.9g +- %.3g", (int)room->positions[t], c, x, wanted[c],
             errors[c]);
    }
}

START_TEST(turned_as_published) {
    for (int seed = 0; seed < 400; seed++) {
        struct dice dice = {(uint64_t)seed + 1};
        const int d = 2 * (int)roll_between(&dice, 2, MOST_D / 2), type = (int)roll_between(&dice, SA_F32, SA_F16);
        const sa_rope rope = random_rope(&dice, d);
        struct room *room = make_room(&dice, d, type);
        must(sa_rope_apply(&rope, &room->rows) == SA_OK, "seed %d: %s", seed, sa_last_reason());
        for (int t = 0; t < TOKENS; t++)
            for (int h = 0; h < HEADS; h++) {
                double head[MOST_D], errors[MOST_D] = {0};
                memcpy(head, &room->before[t * room->token_step + h * room->head_step], (size_t)d * sizeof *head);
                turn_reference(&rope, d, room->positions[t], head, errors);
                must_be_near(room, t, h, head, errors);
            }
        gaps_must_stay(room);
        free(room);
    }
}
END_TEST

/* Where a turn ends is known: in float32 a million is far out of reach. */
START_TEST(known_angles) {
    float head[4] = {1, 2, 0, 0};
    const int32_t million = 1000000;
    sa_rows rows = {.struct_size = sizeof rows, .data = head, .n_tokens = 1, .d = 4, .positions = &million};
    ck_assert(sa_rope_apply(NULL, &rows) == SA_OK);
    /* cos and sin of 10^6 and of 10^4: to twelve digits from tables. */
    ck_assert(fabs((double)head[0] - 0.936752127533) < 1e-7 && fabs((double)head[2] + 0.349993502171) < 1e-7);
    ck_assert(fabs((double)head[1] / 2 + 0.952155368259) < 1e-7 && fabs((double)head[3] / 2 + 0.305614388888) < 1e-7);
}
END_TEST

/* The first frequency of Llama 3.1 that is divided by its factor, and neighbours. */
START_TEST(frequencies) {
    double f[64], size;
    const sa_rope llama = {
        .struct_size = sizeof llama, .scaling = SA_ROPE_LLAMA3, .base = 500000, .factor = 8, .original_length = 8192};
    ck_assert(sa_rope_frequencies(&llama, 128, f, &size) == SA_OK);
    ck_assert(f[0] == 1 && size == 1);
    ck_assert(fabs(f[63] / (pow(500000, -126.0 / 128) / 8) - 1) < 1e-14);
    ck_assert(fabs(f[20] / pow(500000, -40.0 / 128) - 1) < 1e-14);
    const sa_rope yarn = {.struct_size = sizeof yarn, .scaling = SA_ROPE_YARN, .factor = 4, .original_length = 4096};
    ck_assert(sa_rope_frequencies(&yarn, 64, f, &size) == SA_OK);
    ck_assert(fabs(size - (0.1 * log(4) + 1)) < 1e-15);
    ck_assert(fabs(f[31] / (pow(10000, -62.0 / 64) / 4) - 1) < 1e-14 && f[0] == 1);
}
END_TEST

START_TEST(sinusoids) {
    for (int seed = 0; seed < 60; seed++) {
        struct dice dice = {(uint64_t)seed + 1000};
        const int d = (int)roll_between(&dice, 1, MOST_D), type = (int)roll_between(&dice, SA_F32, SA_F16);
        const double base = roll_one_in(&dice, 2) ? 0 : uniform(&dice, 100, 1e6);
        struct room *room = make_room(&dice, d, type);
        ck_assert(sa_sinusoids_add(base, &room->rows) == SA_OK);
        for (int t = 0; t < TOKENS; t++)
            for (int h = 0; h < HEADS; h++) {
                double head[MOST_D], errors[MOST_D];
                for (int c = 0; c < d; c++) {
                    const long double f = powl(base == 0 ? 10000 : (long double)base, -(long double)(c / 2 * 2) / d);
                    const long double angle = room->positions[t] * f;
                    const double old = room->before[t * room->token_step + h * room->head_step + c];
                    head[c] = old + (double)(c % 2 ? cosl(angle) : sinl(angle));
                    errors[c] = 0x1p-25 + fabs(room->positions[t] * (double)f) * 0x1p-47 + 0x1p-24 * (fabs(old) + 1);
                }
                must_be_near(room, t, h, head, errors);
            }
        gaps_must_stay(room);
        free(room);
    }
}
END_TEST

START_TEST(tables) {
    enum { D = 6, N = 5 };
    static const uint16_t table[N * (D + 1)] = {[D + 1] = 0x3c00, [D + 2] = 0xc000, [4 * (D + 1) + 5] = 0x3800};
    float x[3 * D] = {0};
    const int32_t positions[3] = {4, 1, 0};
    sa_position_table learned = {sizeof learned, table, N, D + 1, SA_F16, 0};
    sa_rows rows = {.struct_size = sizeof rows, .data = x, .n_tokens = 3, .d = D, .positions = positions};
    ck_assert(sa_positions_add(&learned, &rows) == SA_OK);
    for (int i = 0; i < 3 * D; i++)
        ck_assert(x[i] == (i == 5 ? 0.5f : i == D ? 1.0f : i == D + 1 ? -2.0f : 0.0f));
    rows.positions = NULL;
    rows.first_position = 3;
    ck_assert(sa_positions_add(&learned, &rows) == SA_INVALID && strstr(sa_last_reason(), "position 5"));
    ck_assert(x[5] == 0.5f && x[D] == 1);
    learned.type = SA_I8;
    rows.first_position = 0;
    ck_assert(sa_positions_add(&learned, &rows) == SA_UNSUPPORTED && strstr(sa_last_reason(), "type"));
}
END_TEST

/* Rows of one token and as many dimensions as there are 16-bit elements: what is added to zeros is converted. */
enum { ALL = 65536 };

static void add_all(const void *table, int table_type, void *x, int x_type) {
    const sa_position_table all = {sizeof all, table, 1, 0, table_type, 0};
    const sa_rows rows = {.struct_size = sizeof rows, .data = x, .n_tokens = 1, .d = ALL, .type = x_type};
    must(sa_positions_add(&all, &rows) == SA_OK, "%s", sa_last_reason());
}

START_TEST(every_element_is_read) {
    static uint16_t all[ALL];
    static float x[ALL];
    for (int type = SA_BF16; type <= SA_F16; type++) {
        for (int i = 0; i < ALL; i++) {
            all[i] = (uint16_t)i;
            x[i] = 0;
        }
        add_all(all, type, x, SA_F32);
        for (int i = 0; i < ALL; i++) {
            const double wanted = element_value(type, &all[i]);
            must((double)x[i] == wanted || (wanted != wanted && x[i] != x[i]), "type %d, %#x: %g", type, (unsigned)i,
                 (double)x[i]);
        }
    }
}
END_TEST

/* Every element, what is half-way to the next one, and both neighbours of that. */
START_TEST(every_element_is_written) {
    static float table[ALL];
    static uint16_t x[ALL];
    for (int type = SA_BF16; type <= SA_F16; type++)
        for (int beside = -1; beside <= 2; beside++) {
            for (int i = 0; i < ALL; i++) {
                const uint16_t at = (uint16_t)i, next = (uint16_t)(i + 1);
                const double a = element_value(type, &at), b = element_value(type, &next);
                const float half =
                    isfinite(b) ? (float)((a + b) / 2) : (float)(type == SA_F16 ? copysign(65520, a) : a);
                table[i] = beside == 2 ? (float)a : float_of(bits_of(half) + (uint32_t)beside);
                x[i] = 0;
            }
            add_all(table, SA_F32, x, type);
            for (int i = 0; i < ALL; i++) {
                uint16_t wanted;
                element_store(type, (double)table[i], &wanted);
                const double got = element_value(type, &x[i]), right = element_value(type, &wanted);
                must(got == right || (got != got && right != right), "type %d, %.9g: %.9g, wanted %.9g", type,
                     (double)table[i], got, right);
            }
        }
}
END_TEST

#define REFUSE(change, word)                                                                                           \
    do {                                                                                                               \
        sa_rope rope = {.struct_size = sizeof rope, .d_rotary = 4};                                                    \
        sa_rows rows = {.struct_size = sizeof rows, .data = x, .n_tokens = 2, .n_heads = 2, .d = 6};                   \
        change;                                                                                                        \
        must(sa_rope_apply(&rope, &rows) == SA_INVALID, #change);                                                      \
        must(strstr(sa_last_reason(), word), "%s: the reason is %s", #change, sa_last_reason());                       \
    } while (0)

START_TEST(refusals) {
    float x[24] = {0};
    const int32_t far[2] = {0, INT32_MIN};
    REFUSE(rope.struct_size = 8, "struct_size");
    REFUSE(rows.struct_size = 8, "struct_size");
    REFUSE(rope.d_rotary = 3, "d_rotary");
    REFUSE(rope.d_rotary = 8, "d_rotary");
    REFUSE(rope.d_rotary = -2, "d_rotary");
    REFUSE(rope.layout = 2, "layout");
    REFUSE(rope.scaling = 5, "scaling");
    REFUSE(rope.base = (double)NAN, "base");
    REFUSE(rope.base = 1, "base");
    REFUSE(rope.base = (double)INFINITY, "base");
    REFUSE(rope.factor = 2, "without a scaling");
    REFUSE((rope.scaling = SA_ROPE_LINEAR, rope.factor = (double)NAN), "factor");
    REFUSE((rope.scaling = SA_ROPE_LINEAR, rope.factor = -1), "factor");
    REFUSE((rope.scaling = SA_ROPE_NTK, rope.d_rotary = 2), "NTK");
    REFUSE(rope.scaling = SA_ROPE_YARN, "original_length");
    REFUSE((rope.scaling = SA_ROPE_YARN, rope.original_length = 9, rope.beta_fast = (double)NAN), "beta_fast");
    REFUSE((rope.scaling = SA_ROPE_LLAMA3, rope.original_length = 9, rope.low_factor = 4), "low_factor");
    REFUSE(rope.reserved = 1, "reserved");
    REFUSE(rows.n_tokens = -1, "n_tokens");
    REFUSE(rows.n_heads = -1, "n_heads");
    REFUSE(rows.d = 0, "d is 0");
    REFUSE(rows.type = 9, "type");
    REFUSE(rows.data = NULL, "data is NULL");
    REFUSE(rows.data = (char *)x + 2, "aligned");
    REFUSE(rows.positions = far, "positions[1]");
    REFUSE(rows.first_position = INT64_MAX, "first_position");
    REFUSE(rows.first_position = (INT64_C(1) << 30) + 2 - rows.n_tokens, "first_position");
    REFUSE(rows.token_stride = INT64_MAX / 2, "strides");
    REFUSE(rows.reserved = 1, "reserved");
    sa_rows rows = {.struct_size = sizeof rows, .data = x, .n_tokens = 2, .d = 6};
    ck_assert(sa_sinusoids_add((double)NAN, &rows) == SA_INVALID && strstr(sa_last_reason(), "base"));
    ck_assert(sa_rope_apply(NULL, NULL) == SA_INVALID && sa_rope_frequencies(NULL, 4, NULL, NULL) == SA_INVALID);
    for (int i = 0; i < 24; i++)
        ck_assert(x[i] == 0);
    rows.first_position = (INT64_C(1) << 30) - 1;
    ck_assert_msg(sa_sinusoids_add(0, &rows) == SA_OK, "%s", sa_last_reason());
}
END_TEST

int main(void) {
    Suite *suite = suite_create("layer_positions");
    TCase *tcase = add_case(suite, "positions");
    tcase_add_test(tcase, turned_as_published);
    tcase_add_test(tcase, known_angles);
    tcase_add_test(tcase, frequencies);
    tcase_add_test(tcase, sinusoids);
    tcase_add_test(tcase, tables);
    tcase_add_test(tcase, every_element_is_read);
    tcase_add_test(tcase, every_element_is_written);
    tcase_add_test(tcase, refusals);
    return run_suite(suite);
}
