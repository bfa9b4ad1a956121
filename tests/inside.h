/* SPDX-License-Identifier: MIT */
/* What the tests of the inside share: dice that roll the same everywhere, and a main() without an engine in it. */
#ifndef SA_TESTS_INSIDE_H
#define SA_TESTS_INSIDE_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct dice {
    uint64_t state;
};

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static inline uint64_t roll(struct dice *dice) {
    uint64_t x = dice->state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* low .. high, both included. */
static inline int64_t roll_between(struct dice *dice, int64_t low, int64_t high) {
    return low + (int64_t)(roll(dice) % (uint64_t)(high - low + 1));
}

static inline bool roll_one_in(struct dice *dice, unsigned n) { return roll(dice) % n == 0; }

/* -1 .. 1, multiples of 2^-23. */
static inline float roll_unit(struct dice *dice) { return (float)roll_between(dice, -(1 << 23), 1 << 23) * 0x1p-23f; }

static inline uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A NaN is a NaN whatever it carries; everything else has to be the same bit for bit. */
static inline bool same_float(float a, float b) { return bits_of(a) == bits_of(b) || (a != a && b != b); }

/* ck_assert_msg() without its message to the parent, which would take the time of everything else in inner loops. */
#define must(condition, ...)                                                                                           \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            ck_abort_msg(__VA_ARGS__);                                                                                 \
    } while (0)

/* Check forks before every test, so no test may need more than its own seconds, sanitizers and valgrind included. */
enum { TEST_SECONDS = 120 };

/* Adds a case of one name to the suite. */
static inline TCase *add_case(Suite *suite, const char *name) {
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, TEST_SECONDS);
    suite_add_tcase(suite, tcase);
    return tcase;
}

/* Runs it; the exit code of main(). */
static inline int run_suite(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int n_run = srunner_ntests_run(runner), n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_run > 0 && n_failed == 0 ? 0 : 1;
}

#endif
