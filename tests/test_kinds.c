/* SPDX-License-Identifier: MIT */
/*
 * Every kind of attention with every other: cases of two or three features, and now and then of many, are drawn by seed
 * and held against the float64 reference and against each other, see kinds_check.h. A case that fails is made smaller
 * until nothing can be left out, and printed as a command that runs just that:
 *
 *     SA_CASE='seed=.. features=alibi,mask n_q=3 n_k=17 ...' tests/test_kinds
 *
 * SA_KINDS_CASES=1000000 runs more of them than the ordinary test, SA_KINDS_SEED=N others, SA_KINDS_ONLY=mask,bias only
 * those that use these and what is older.
 */
#include <stdlib.h>

#include "kinds_shrink.h"

/* Features that may be answered with SA_UNSUPPORTED: none. */
static const uint32_t pending = 0;

/* Each test runs its share of the cases, none longer than it may take under a sanitizer. */
enum { N_TESTS = 10, DEFAULT_CASES = 3000, SHARE_SECONDS = 20 };

static const char *program;

static uint64_t from_environment(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void show(const struct kinds_case *c, const char *reason) {
    char text[KINDS_TEXT];
    kinds_write(c, text);
    printf("%s\n    SA_CASE='%s' %s\n", reason, text, program);
    fflush(stdout);
}

START_TEST(every_kind_with_every_other) {
    const bool more = getenv("SA_KINDS_CASES") != NULL;
    const uint64_t n = (from_environment("SA_KINDS_CASES", DEFAULT_CASES) + N_TESTS - 1) / N_TESTS;
    const uint64_t first = from_environment("SA_KINDS_SEED", 1) + (uint64_t)_i * n;
    struct kinds_tally tally = kinds_run(first, n, pending, more ? 0 : SHARE_SECONDS);
    printf("seeds from %llu: %lld right, %lld unsupported, %lld rows that see %lld keys%s\n", (unsigned long long)first,
           (long long)tally.n_right, (long long)tally.n_unsupported, (long long)tally.n_rows, (long long)tally.n_keys,
           tally.out_of_time ? ", out of time" : "");
    if (tally.failed) {
        const struct kinds_case failed = kinds_draw(tally.seed);
        show(&failed, tally.reason);
        const struct kinds_case least = kinds_shrink(&failed, pending, tally.reason);
        show(&least, tally.reason);
        ck_abort_msg("%s", tally.reason);
    }
}
END_TEST

/* A case survives being written and read. */
START_TEST(cases_are_text) {
    for (uint64_t seed = 0; seed < 1000; seed++) {
        const struct kinds_case c = kinds_draw(seed);
        struct kinds_case again;
        char text[KINDS_TEXT], twice[KINDS_TEXT];
        kinds_write(&c, text);
        must(kinds_read(text, &again), "%s", text);
        kinds_write(&again, twice);
        must(strcmp(text, twice) == 0, "%s became %s", text, twice);
    }
}
END_TEST

static int run_one(const char *text) {
    struct kinds_case c;
    struct kinds_result result;
    if (!kinds_read(text, &c)) {
        fprintf(stderr, "SA_CASE='%s' is no case\n", text);
        return 2;
    }
    struct kinds_engines engines = kinds_engines();
    kinds_check(&c, &engines, &result);
    kinds_stop(&engines);
    if (result.verdict == KINDS_RIGHT)
        printf("right: %lld rows that see %lld keys\n", (long long)result.n_rows, (long long)result.n_keys);
    else
        show(&c, result.reason);
    return result.verdict != KINDS_RIGHT;
}

int main(int argc, char **argv) {
    program = argc > 0 ? argv[0] : "test_kinds";
    if (getenv("SA_CASE"))
        return run_one(getenv("SA_CASE"));
    Suite *suite = suite_create("kinds");
    TCase *tcase = add_case(suite, "kinds");
    if (getenv("SA_KINDS_CASES"))
        tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, cases_are_text);
    tcase_add_loop_test(tcase, every_kind_with_every_other, 0, N_TESTS);
    return run_suite(suite);
}
