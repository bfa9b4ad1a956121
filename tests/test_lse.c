/* SPDX-License-Identifier: MIT */
/* m ln 2 + ln l, against long double. */
#include "lse.h"

#include <math.h>

#include "inside.h"

static void check_near(float m, float l) {
    const long double ln2 = 0.693147180559945309417232121458176568L;
    long double exact = (long double)m * ln2 + logl((long double)l);
    float nearest = (float)exact, got = sa_lse(m, l);
    /* One rounding, and 1e-13 for the series and the sum before it. */
    long double half = (long double)fabsf(nextafterf(nearest, INFINITY) - nearest) / 2;
    must(fabsl((long double)got - exact) <= half + 1e-13L + 1e-15L * fabsl(exact), "m %a l %a: %a, exact %La",
         (double)m, (double)l, (double)got, exact);
}

START_TEST(near_the_truth) {
    struct dice dice = {1};
    for (int i = 0; i < 300000; i++) {
        float m = roll_unit(&dice) * (roll_one_in(&dice, 2) ? 10.0f : 1e6f);
        float l = roll_one_in(&dice, 2) ? 1 + fabsf(roll_unit(&dice))
                                        : ldexpf(1.5f + roll_unit(&dice) / 2, (int)roll_between(&dice, -140, 120));
        check_near(m, l);
    }
    for (int e = -149; e < 128; e++)
        for (int ulps = -2; ulps <= 2; ulps++) {
            check_near(0, float_of(bits_of(ldexpf(1, e)) + (uint32_t)(e > -140 ? ulps : 0)));
            check_near((float)-e, ldexpf(1, e)); /* cancels */
        }
    for (int ulps = -100; ulps <= 100; ulps++)
        check_near(0, float_of(bits_of(1.41421356f) + (uint32_t)ulps));
}
END_TEST

START_TEST(edges) {
    ck_assert(sa_lse(-INFINITY, 0) == -INFINITY); /* an empty row */
    ck_assert(sa_lse(3, 0) == -INFINITY);
    ck_assert(sa_lse(0, 1) == 0);
    ck_assert(sa_lse(5, 1) == (float)(5 * 0.693147180559945309));
    ck_assert(isnan(sa_lse(0, NAN)) && isnan(sa_lse(NAN, NAN)) && isnan(sa_lse(INFINITY, NAN)));
    ck_assert(isnan(sa_lse(NAN, 1)) && isnan(sa_lse(0, INFINITY)) && isnan(sa_lse(0, -1)));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("lse");
    TCase *tcase = add_case(suite, "lse");
    tcase_add_test(tcase, near_the_truth);
    tcase_add_test(tcase, edges);
    return run_suite(suite);
}
