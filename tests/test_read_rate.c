/* SPDX-License-Identifier: MIT */
/* Does the measurement of the memory's rate end with something that a memory could do? Timings decide nothing else. */
#include "peak.h"
#include "read_rate.h"

#include "inside.h"

static void check_rate(double rate) { must(rate > 10e6 && rate < 100e12, "%g bytes a second", rate); }

START_TEST(one_thread) { check_rate(read_rate(1, NULL)); }
END_TEST

START_TEST(more_threads_than_there_are_processors) { check_rate(read_rate(1 << 20, NULL)); }
END_TEST

START_TEST(no_thread_is_one) { check_rate(read_rate(0, NULL)); }
END_TEST

START_TEST(the_largest_cache) {
    const size_t bytes = read_rate_cache_bytes();
    must(bytes == 0 || (bytes >= (size_t)4 << 10 && bytes <= (size_t)64 << 30), "%zu bytes", bytes);
}
END_TEST

/* As under `taskset`: a team of several on one processor has the peak of one thread. */
START_TEST(no_more_threads_than_the_engine_has_processors) {
    static const int cases[][3] = {{1, 1, 1}, {2, 1, 1}, {2, 2, 2}, {2, 8, 2}, {7, 3, 3}, {2, 0, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const sa_engine_info info = {.n_threads = cases[i][0], .n_cpus = cases[i][1]};
        ck_assert_int_eq(peak_threads(&info), cases[i][2]);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("read rate");
    TCase *tcase = add_case(suite, "read rate");
    tcase_add_test(tcase, one_thread);
    tcase_add_test(tcase, more_threads_than_there_are_processors);
    tcase_add_test(tcase, no_thread_is_one);
    tcase_add_test(tcase, the_largest_cache);
    tcase_add_test(tcase, no_more_threads_than_the_engine_has_processors);
    return run_suite(suite);
}
