/* SPDX-License-Identifier: MIT */
/* Elements to floats and back, by every kernel: each of the 65,536 of 16 bits, and floats of every class. */
#include <math.h>

#include "each_kernel.h"
#include "elements.h"
#include "fenced.h"

enum { N_HALVES = 1 << 16, N_BYTES = 256 };

static const int halves[2] = {SA_BF16, SA_F16};

/* Exactly the same, but for what a NaN carries. */
static void check_float(const char *kernel, int type, uint32_t bits, float got) {
    float wanted =
        (float)element_value(type, type == SA_I8 ? (const void *)&(int8_t){(int8_t)bits} : &(uint16_t){(uint16_t)bits});
    must(same_float(got, wanted) && signbit(got) == signbit(wanted), "%s: type %d, 0x%04x is %a, expected %a", kernel,
         type, (unsigned)bits, (double)got, (double)wanted);
}

/* ---------------------------------------------------------------- to floats */

/* Rows of 1 to 37 elements, so that each goes through vectors and through what is left of a row. */
static void widen_all(const struct sa_kernels *kernel, int type, const void *elements, int n, float *to) {
    const int bytes = element_bytes(type);
    for (int d = 1, i = 0; i < n; i += d, d = d % 37 + 1)
        kernel->widen((struct sa_stored){(const char *)elements + i * bytes, 0, 1, i + d < n ? d : n - i, type}, to + i,
                      0);
}

START_TEST(every_element_becomes_its_float) {
    const struct sa_kernels *kernel;
    static uint16_t elements[N_HALVES];
    static float got[N_HALVES];
    for (int i = 0; i < N_HALVES; i++)
        elements[i] = (uint16_t)i;
    for (EACH_KERNEL(kernel))
        for (int t = 0; t < 2; t++) {
            kernel->widen((struct sa_stored){(const char *)elements, 0, 1, N_HALVES, halves[t]}, got, 0);
            for (int i = 0; i < N_HALVES; i++)
                check_float(kernel->name, halves[t], elements[i], got[i]);
            memset(got, 0, sizeof got);
            widen_all(kernel, halves[t], elements, N_HALVES, got);
            for (int i = 0; i < N_HALVES; i++)
                check_float(kernel->name, halves[t], elements[i], got[i]);
        }
}
END_TEST

START_TEST(every_byte_becomes_its_float) {
    const struct sa_kernels *kernel;
    int8_t elements[5 * N_BYTES];
    float got[5 * N_BYTES];
    for (int i = 0; i < 5 * N_BYTES; i++)
        elements[i] = (int8_t)(i * 5 % N_BYTES - 128);
    for (EACH_KERNEL(kernel)) {
        widen_all(kernel, SA_I8, elements, 5 * N_BYTES, got);
        for (int i = 0; i < 5 * N_BYTES; i++)
            check_float(kernel->name, SA_I8, (uint8_t)elements[i], got[i]);
    }
}
END_TEST

/* Floats pass bit for bit, NaNs and all. */
START_TEST(floats_stay) {
    const struct sa_kernels *kernel;
    struct dice dice = {3};
    uint32_t elements[1000];
    float got[1000];
    for (int i = 0; i < 1000; i++)
        elements[i] = i % 3 ? (uint32_t)roll(&dice) : 0x7f800000u + (uint32_t)i;
    for (EACH_KERNEL(kernel)) {
        widen_all(kernel, SA_F32, elements, 1000, got);
        ck_assert_int_eq(memcmp(got, elements, sizeof got), 0);
        memset(got, 0, sizeof got);
        kernel->narrow((const float *)(const void *)elements, 1000, SA_F32, got);
        ck_assert_int_eq(memcmp(got, elements, sizeof got), 0);
    }
}
END_TEST

/* Any number of rows of any length, stride and alignment of an element, directly beside a page nobody may touch; what
 * lies between the rows of the copy stays. */
static void check_rows(struct dice *dice, const struct fenced *from, const struct fenced *to, int type) {
    const int bytes = element_bytes(type), n = (int)roll_between(dice, 0, 9), d = (int)roll_between(dice, 1, 150);
    const ptrdiff_t stride = d + roll_between(dice, 0, 5), to_stride = d + roll_between(dice, 0, 20);
    const ptrdiff_t extent = n ? ((n - 1) * stride + d) * bytes : 0, to_extent = n ? (n - 1) * to_stride + d : 0;
    const bool backwards = roll_one_in(dice, 4);
    const char *first = roll_one_in(dice, 3) ? (const char *)from->begin : (const char *)from->end - extent;
    float *got = roll_one_in(dice, 3) ? to->begin : to->end - to_extent;
    const struct sa_kernels *kernel;
    const char *row_0 = backwards && n ? first + (n - 1) * stride * bytes : first;
    const ptrdiff_t step = (backwards ? -stride : stride) * bytes;
    for (EACH_KERNEL(kernel)) {
        memset(to->begin, 0x77, (size_t)(to->end - to->begin) * sizeof(float));
        kernel->widen((struct sa_stored){row_0, step, n, d, type}, got, to_stride);
        for (ptrdiff_t i = 0; i < to_extent; i++) {
            const ptrdiff_t c = i % to_stride;
            float wanted;
            memset(&wanted, 0x77, sizeof wanted);
            if (c < d)
                wanted = (float)element_value(type, row_0 + i / to_stride * step + c * bytes);
            must(same_float(got[i], wanted), "%s: type %d, %d rows of %d: float %td", kernel->name, type, n, d, i);
        }
    }
}

START_TEST(rows_end_where_they_end) {
    static const int types[] = {SA_F32, SA_BF16, SA_F16, SA_I8};
    struct dice dice = {4};
    struct fenced from = fenced_map(9 * 155), to = fenced_map(9 * 170);
    for (float *at = from.begin; at < from.end; at++)
        *at = float_of((uint32_t)roll(&dice));
    for (int i = 0; i < 4000; i++)
        check_rows(&dice, &from, &to, types[i % 4]);
    fenced_unmap(&from);
    fenced_unmap(&to);
}
END_TEST

/* ---------------------------------------------------------------- and back */

static bool is_nan(int type, uint16_t bits) { return isnan(element_value(type, &bits)); }

static void check_half(const char *kernel, int type, float x, uint16_t got) {
    uint16_t wanted;
    element_store(type, (double)x, &wanted);
    if (x != x)
        must(is_nan(type, got) && got >> 15 == bits_of(x) >> 31, "%s: type %d, NaN 0x%08x became 0x%04x", kernel, type,
             (unsigned)bits_of(x), (unsigned)got);
    else
        must(got == wanted, "%s: type %d, %a became 0x%04x, expected 0x%04x", kernel, type, (double)x, (unsigned)got,
             (unsigned)wanted);
}

static void check_narrowed(int type, const float *x, int n) {
    static uint16_t got[N_HALVES];
    const struct sa_kernels *kernel;
    for (EACH_KERNEL(kernel)) {
        kernel->narrow(x, n, type, got);
        for (int i = 0; i < n; i++)
            check_half(kernel->name, type, x[i], got[i]);
    }
}

START_TEST(every_half_comes_back) {
    static float x[N_HALVES];
    for (int t = 0; t < 2; t++) {
        for (int i = 0; i < N_HALVES; i++)
            x[i] = (float)element_value(halves[t], &(uint16_t){(uint16_t)i});
        check_narrowed(halves[t], x, N_HALVES);
    }
}
END_TEST

/* Between each number of 16 bits and the next: the tie, a float to either side of it, a quarter and three quarters of
 * the way. Beyond the largest one lies what would be next if inf were a number. */
START_TEST(ties_go_to_even) {
    static float x[N_HALVES];
    for (int t = 0; t < 2; t++) {
        const uint16_t inf = halves[t] == SA_BF16 ? 0x7f80 : 0x7c00;
        const double beyond = halves[t] == SA_BF16 ? 0x1p128 : 0x1p16;
        for (int part = -2; part <= 2; part++) {
            for (uint16_t i = 0; i < inf; i++) {
                const uint16_t next = (uint16_t)(i + 1);
                const double low = element_value(halves[t], &i),
                             high = next == inf ? beyond : element_value(halves[t], &next);
                const float tie = (float)((low + high) / 2);
                x[i] = part == -2  ? (float)(0.75 * low + 0.25 * high)
                       : part == 2 ? (float)(0.25 * low + 0.75 * high)
                                   : float_of(bits_of(tie) + (uint32_t)part);
                x[i] = i % 2 ? -x[i] : x[i];
            }
            check_narrowed(halves[t], x, inf);
            for (int i = 0; i < inf; i++)
                x[i] = -x[i];
            check_narrowed(halves[t], x, inf);
        }
    }
}
END_TEST

/* What is left behind the last whole vector has a conversion of its own: rows of up to 15 elements, all of them there.
 */
static void check_narrowed_in_rows(int type, const float *x, int n) {
    uint16_t got[16];
    const struct sa_kernels *kernel;
    for (EACH_KERNEL(kernel))
        for (int i = 0, length = 1; i + length <= n; i += length, length = length % 15 + 1) {
            kernel->narrow(x + i, length, type, got);
            for (int c = 0; c < length; c++)
                check_half(kernel->name, type, x[i + c], got[c]);
        }
}

/* All exponents, all NaNs that have one bit of payload, and bits at random. */
START_TEST(floats_of_every_class) {
    static float x[N_HALVES];
    struct dice dice = {5};
    int n = 0;
    for (uint32_t sign = 0; sign <= 1; sign++) {
        for (uint32_t exponent = 0; exponent <= 255; exponent++)
            for (int low = 0; low < 24; low++)
                x[n++] = float_of(sign << 31 | exponent << 23 | ((1u << low) - 1));
        for (int bit = 0; bit < 23; bit++)
            x[n++] = float_of(sign << 31 | 0x7f800000u | 1u << bit);
    }
    while (n < N_HALVES)
        x[n++] = float_of((uint32_t)roll(&dice));
    for (int t = 0; t < 2; t++) {
        check_narrowed(halves[t], x, n);
        check_narrowed_in_rows(halves[t], x, n);
    }
}
END_TEST

/* Any length and alignment; nothing is written beside the row. */
START_TEST(rows_are_written_as_far_as_they_go) {
    struct dice dice = {6};
    struct fenced from = fenced_map(100), to = fenced_map(50);
    const struct sa_kernels *kernel;
    for (float *at = from.begin; at < from.end; at++)
        *at = roll_unit(&dice);
    const float nothing = float_of(0x77777777u);
    for (int d = 0; d < 100; d++)
        for (int t = 0; t < 2; t++)
            for (EACH_KERNEL(kernel)) {
                for (float *at = to.begin; at < to.end; at++)
                    *at = nothing;
                uint16_t *row = (uint16_t *)(void *)to.end - d;
                const float *x = from.end - d;
                kernel->narrow(x, d, halves[t], row);
                for (int c = 0; c < d; c++)
                    check_half(kernel->name, halves[t], x[c], row[c]);
                must(row[-1] == 0x7777 && row[-2] == 0x7777, "%s: ahead of %d elements", kernel->name, d);
            }
    fenced_unmap(&from);
    fenced_unmap(&to);
}
END_TEST

/* What the formats are, said once more in numbers. */
START_TEST(the_formats_themselves) {
    static const struct {
        int type;
        uint16_t bits;
        double value;
    } known[] = {{SA_F16, 0x3c00, 1},         {SA_F16, 0xc000, -2},       {SA_F16, 0x7bff, 65504},
                 {SA_F16, 0x0400, 0x1p-14},   {SA_F16, 0x0001, 0x1p-24},  {SA_F16, 0x3555, 0x1.554p-2},
                 {SA_BF16, 0x3f80, 1},        {SA_BF16, 0xc000, -2},      {SA_BF16, 0x7f7f, 0x1.fep127},
                 {SA_BF16, 0x0080, 0x1p-126}, {SA_BF16, 0x0001, 0x1p-133}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint16_t bits;
        ck_assert(element_value(known[i].type, &known[i].bits) == known[i].value);
        element_store(known[i].type, known[i].value, &bits);
        ck_assert_uint_eq(bits, known[i].bits);
    }
    uint16_t bits;
    element_store(SA_F16, 65519.999, &bits);
    ck_assert_uint_eq(bits, 0x7bff);
    element_store(SA_F16, 65520, &bits);
    ck_assert_uint_eq(bits, 0x7c00);
    ck_assert(element_rounding(SA_BF16).relative == 0x1p-8 && element_rounding(SA_BF16).absolute == 0x1p-134);
    ck_assert(element_rounding(SA_F16).relative == 0x1p-11 && element_rounding(SA_F16).absolute == 0x1p-25);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("conversions");
    TCase *tcase = add_case(suite, "conversions");
    tcase_add_test(tcase, the_formats_themselves);
    tcase_add_test(tcase, every_element_becomes_its_float);
    tcase_add_test(tcase, every_byte_becomes_its_float);
    tcase_add_test(tcase, floats_stay);
    tcase_add_test(tcase, rows_end_where_they_end);
    tcase_add_test(tcase, every_half_comes_back);
    tcase_add_test(tcase, ties_go_to_even);
    tcase_add_test(tcase, floats_of_every_class);
    tcase_add_test(tcase, rows_are_written_as_far_as_they_go);
    return run_suite(suite);
}
