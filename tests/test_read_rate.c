/* SPDX-License-Identifier: MIT */
/* Does the measurement of the memory's rate end with something that a memory could do? Timings decide nothing else. */
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

int main(void) {
    Suite *suite = suite_create("read rate");
    TCase *tcase = add_case(suite, "read rate");
    tcase_add_test(tcase, one_thread);
    tcase_add_test(tcase, more_threads_than_there_are_processors);
    tcase_add_test(tcase, no_thread_is_one);
    tcase_add_test(tcase, the_largest_cache);
    return run_suite(suite);
}
