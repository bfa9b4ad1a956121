/* SPDX-License-Identifier: MIT */
/* Where and how the measurements were made. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

enum { BENCH_CPU_CHARS = 128 };

struct bench_machine {
    char cpu[BENCH_CPU_CHARS]; /* the processor's own name */
    double load;               /* processes running or waiting, mean of the last minute; -1: unknown */
};

/* Of this moment: call it before the measurements add to the load. */
struct bench_machine bench_machine_look(void);

/* Processor time, in seconds of one hardware thread. */
struct bench_use {
    double clock, own, all, stolen; /* stolen: a hypervisor ran something else. -1: unknown */
    int n_cpus;
};

/* Since the machine started. */
struct bench_use bench_use_look(void);

/* One line on who else used the machine since `begin`, a loud one if that was more than little. */
void bench_print_use(const struct bench_use *begin);

/* "GNU 12.2.0" and the flags of the library's own files, from when they were configured. */
extern const char *const bench_compiler;
extern const char *const bench_flags;

#endif
