/* SPDX-License-Identifier: MIT */
/* What kernels fetch ahead shows in no result: here, that lists of lines are gone through to their end, every line of
 * them and no other, however many are taken at once. */
#include "each_kernel.h"
#include "inside.h"

#define INLINE static inline /* as an instruction set's file would have it */
#include "kernels/lanes_fetch.h"

enum { MAX_LINES = 40, MAX_COLUMNS = 5, N_SETS = 3 };

/* Set i has its lines from i * SET_BYTES on, rows STRIDE bytes apart. */
enum { STRIDE = 512, SET_BYTES = STRIDE * MAX_LINES };

static char memory[N_SETS * SET_BYTES];
static int fetched[N_SETS * SET_BYTES / SA_LINE_BYTES];

static int number_of(const char *line) { return (int)((line - memory) / SA_LINE_BYTES); }

static struct sa_lines roll_lines(struct dice *dice, int set) {
    const int columns = (int)roll_between(dice, 1, MAX_COLUMNS);
    return (struct sa_lines){memory + set * SET_BYTES, columns == 1 && roll_one_in(dice, 2) ? SA_LINE_BYTES : STRIDE,
                             (int)roll_between(dice, 1, MAX_LINES), columns};
}

static struct sa_ahead roll_ahead(struct dice *dice) {
    struct sa_ahead ahead;
    sa_ahead_open(&ahead);
    for (int set = 0; set < N_SETS; set++)
        sa_ahead_add(&ahead, roll_lines(dice, set));
    memset(fetched, 0, sizeof fetched);
    return ahead;
}

static void fetch(struct run run) {
    for (int i = 0; i < run.n; i++)
        fetched[number_of(run.at + i * run.step)]++;
}

/* Times that each line of the lists was fetched, and that others were: never. */
static void check_lines(const struct sa_ahead *ahead, int most) {
    for (int set = 0; set < ahead->n_sets; set++) {
        const struct sa_lines *lines = &ahead->sets[set];
        for (int column = 0; column < lines->columns; column++)
            for (int i = 0; i < lines->n; i++) {
                int *times = &fetched[number_of(lines->data + column * SA_LINE_BYTES + i * lines->stride)];
                must(*times >= 1 && *times <= most, "line %d of column %d of set %d was fetched %d times", i, column,
                     set, *times);
                *times = 0;
            }
    }
    for (size_t i = 0; i < sizeof fetched / sizeof *fetched; i++)
        must(fetched[i] == 0, "line %zu is in no list", i);
}

START_TEST(runs_go_through_all_lines_once) {
    struct dice dice = {1};
    for (int i = 0; i < 2000; i++) {
        struct sa_ahead ahead = roll_ahead(&dice);
        while (ahead.left > 0) {
            const int n = (int)roll_between(&dice, 1, MAX_LINES);
            const struct run run = next_run(&ahead, n);
            must(run.n >= 1 && run.n <= n, "%d lines of at most %d", run.n, n);
            fetch(run);
        }
        check_lines(&ahead, 1);
        must(next_run(&ahead, 5).n == 0, "lines beyond the last");
    }
}
END_TEST

/* Always as many as there are turns; those that a column does not have are fetched twice. What is left to columns that
 * are shorter, runs take. */
START_TEST(turns_leave_no_line_out) {
    struct dice dice = {2};
    for (int i = 0; i < 2000; i++) {
        const int turns = (int)roll_between(&dice, 1, MAX_LINES);
        struct sa_ahead ahead = roll_ahead(&dice);
        while (ahead.left > 0) {
            const int left = ahead.left;
            const struct run run = next_turns(&ahead, turns, NULL);
            must(run.n == turns, "%d lines in %d turns", run.n, turns);
            must(run.at || run.step == 0, "steps from nowhere");
            if (run.at)
                fetch(run);
            must(!run.at == (ahead.left == left), "%d lines are left of %d", ahead.left, left);
            if (!run.at)
                fetch(next_run(&ahead, MAX_LINES));
        }
        check_lines(&ahead, 2);
        must(next_turns(&ahead, turns, memory).at == memory, "lines beyond the last");
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("fetch");
    tcase_add_test(add_case(suite, "runs"), runs_go_through_all_lines_once);
    tcase_add_test(add_case(suite, "turns"), turns_leave_no_line_out);
    return run_suite(suite);
}
