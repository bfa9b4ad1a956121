/* SPDX-License-Identifier: MIT */
/* What the subcommands of the program share. */
#ifndef SA_CLI_H
#define SA_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <sa/sa.h>

#include "array.h"

enum { DONE = 0, FAILED = 1, WRONG_USAGE = 2 };

/* Each gets the arguments from its own name on and returns the exit status. */
int command_run(int argc, char **argv);
int command_info(int argc, char **argv);
int command_look(int argc, char **argv);
int command_decode(int argc, char **argv);
int command_plan(int argc, char **argv);
int command_encode(int argc, char **argv);

/* One line on standard error, "sa: ..."; returns false, so that a failing function can end with it. Control
 * characters become '?'. */
__attribute__((format(printf, 1, 2))) bool complain(const char *format, ...);

/* For a wrong command line: complains, names the help and returns WRONG_USAGE. */
__attribute__((format(printf, 2, 3))) int misuse(const char *command, const char *format, ...);

/* Whole numbers; false if `text` is anything else, or outside of low .. high. */
bool parse_integer(const char *text, int64_t low, int64_t high, int64_t *value);

/* "N,N,...": at least one, at most `room`; returns how many, 0 if the text is anything else. */
int parse_integers(const char *text, int64_t low, int64_t high, int64_t *values, int room);

/* "N,N-N,...": numbers and ranges of them, both ends counted, in the same way. */
int parse_ranges(const char *text, int64_t high, int64_t *values, int room);

double seconds_now(void);

/* "16 x 12 x 32", into a buffer of its own that the next four calls leave alone. */
const char *shape_text(const struct array *array);

/* Of an array whose file has been checked: how many elements there are, and one of them. */
int64_t array_elements(const struct array *array);
double array_element(const struct array *array, int64_t i);

/* Prints a report and forgets it; complains and returns false if it is NULL for lack of memory. */
bool json_print(json_t *json);

/* "1.5 GiB" into a buffer of its own that the next seven calls leave alone. */
const char *bytes_text(double bytes);

#endif
