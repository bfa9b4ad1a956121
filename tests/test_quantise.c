/* SPDX-License-Identifier: MIT */
/* Rows to int8, bit for bit as the contract says, by every instruction set: the largest element, quotients, ties. */
#include <math.h>

#include "each_kernel.h"
#include "fenced.h"

enum { ROOM = 600 };

static struct dice dice = {1};
static struct fenced from, to;

/* Rows begin behind a fence or end before one; the bytes around them are known. */
static void map_both(void) {
    from = fenced_map(ROOM);
    to = fenced_map(ROOM);
}

static void unmap_both(void) {
    fenced_unmap(&from);
    fenced_unmap(&to);
}

static float *place_row(const float *row, int d, bool at_end) {
    float *at = at_end ? from.end - d : from.begin;
    memcpy(at, row, (size_t)d * sizeof *row);
    return at;
}

enum { FILL = 0x33 };

static char *place_output(int bytes, bool at_end) {
    memset(to.begin, FILL, (size_t)((char *)to.end - (char *)to.begin));
    return at_end ? (char *)to.end - bytes : (char *)to.begin;
}

/* No byte of the output's pages but the row's own. */
static void check_around(const char *kernel, const char *at, int bytes) {
    for (const char *p = (const char *)to.begin; p < (const char *)to.end; p++)
        must(*p == FILL || (p >= at && p < at + bytes), "%s: byte %td of %d was written", kernel, p - at, bytes);
}

static float roll_bits(void) { return float_of((uint32_t)roll(&dice)); }

static float largest_of(const float *row, int d) {
    float most = 0;
    for (int c = 0; c < d; c++)
        most = isnan(most) || fabsf(row[c]) <= most ? most : fabsf(row[c]);
    return most;
}

static int quantised(float x, float scale) {
    const float q = x / scale, kept = q > 127 ? 127 : q < -127 ? -127 : q;
    if (isnan(q))
        return 0;
    const int whole = (int)floorf(kept);
    const float rest = kept - (float)whole;
    return whole + (rest > 0.5f || (rest == 0.5f && whole % 2 != 0));
}

static void check_quantise(const struct sa_kernels *kernel, const float *row, int d, float scale, bool at_end) {
    signed char *at = (signed char *)place_output(d, at_end);
    const float *placed = place_row(row, d, at_end), most = kernel->largest(placed, d);
    must(same_float(most, largest_of(row, d)), "%s: the largest of %d is %a, expected %a", kernel->name, d,
         (double)most, (double)largest_of(row, d));
    kernel->quantise(placed, d, scale, at);
    for (int c = 0; c < d; c++)
        must(at[c] == quantised(row[c], scale), "%s, %d of %d: %a / %a became %d, expected %d", kernel->name, c, d,
             (double)row[c], (double)scale, at[c], quantised(row[c], scale));
    check_around(kernel->name, (char *)at, d);
}

/* One element is the largest, wherever it stands; others are ties, or nothing that has a number. */
START_TEST(rows_are_quantised) {
    static const float scales[] = {1, 0.5f, 0x1p-130f, 0.1f, 3, -1, 0, NAN, INFINITY};
    const struct sa_kernels *kernel;
    float row[ROOM];
    map_both();
    for (int i = 0; i < 10 * 80; i++) {
        const int d = i / 10 < 70 ? i / 10 : 500 + i / 10;
        const float scale = scales[roll(&dice) % 9];
        const bool tame = roll_one_in(&dice, 2);
        for (int c = 0; c < d; c++)
            row[c] = !tame && roll_one_in(&dice, 16) ? roll_bits()
                     : roll_one_in(&dice, 2)         ? scale * 0.5f * (float)roll_between(&dice, -256, 256)
                                                     : 130 * scale * roll_unit(&dice);
        if (d > 0)
            row[roll(&dice) % (unsigned)d] = i % 3 == 0 ? NAN : i % 3 == 1 ? 200 * roll_unit(&dice) : -INFINITY;
        for (EACH_KERNEL(kernel))
            check_quantise(kernel, row, d, scale, i & 1);
    }
    unmap_both();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quantise");
    tcase_add_test(add_case(suite, "quantise"), rows_are_quantised);
    return run_suite(suite);
}
