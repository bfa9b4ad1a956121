/* SPDX-License-Identifier: MIT */
/* Standard output at the beginning and the end of a program: what could not be written there is an error. */
#ifndef SA_PERF_STANDARD_H
#define SA_PERF_STANDARD_H

/* Call it before any file is opened: one of the three streams that is closed would lend its number to a file, which may
 * then get what is printed. */
void standard_open(void);

/* The exit status of a program that ends with `status`: if something printed could not be written, one line about it
 * on standard error, and 1 where the status was 0. */
int standard_close(const char *program, int status);

#endif
