/* SPDX-License-Identifier: MIT */
#include "bench_machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench_stats.h"

const char *const bench_compiler = BENCH_COMPILER;
const char *const bench_flags = BENCH_FLAGS;

static void find_cpu_name(char name[BENCH_CPU_CHARS]) {
    struct utsname system;
    snprintf(name, BENCH_CPU_CHARS, "%s", uname(&system) == 0 ? system.machine : "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[512], *colon;
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "model name", 10) == 0 && (colon = strchr(line, ':'))) {
            colon += 1 + strspn(colon + 1, " \t");
            snprintf(name, BENCH_CPU_CHARS, "%.*s", (int)strcspn(colon, "\n"), colon);
            break;
        }
    if (file)
        fclose(file);
}

struct bench_machine bench_machine_look(void) {
    struct bench_machine machine;
    find_cpu_name(machine.cpu);
    if (getloadavg(&machine.load, 1) != 1)
        machine.load = -1;
    return machine;
}

/* ---------------------------------------------------------------- who else is there? */

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec * 1e-6; }

/* The sum over all hardware threads: user nice system idle iowait irq softirq steal, in ticks. */
static void read_all(struct bench_use *use) {
    double t[8];
    FILE *file = fopen("/proc/stat", "r");
    if (!file)
        return;
    if (fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) ==
        8) {
        const double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
        use->all = (t[0] + t[1] + t[2] + t[5] + t[6]) * tick;
        use->stolen = t[7] * tick;
    }
    fclose(file);
}

struct bench_use bench_use_look(void) {
    struct bench_use use = {.clock = bench_now(), .all = -1, .stolen = -1};
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    use.own = seconds(own.ru_utime) + seconds(own.ru_stime);
    use.n_cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    read_all(&use);
    return use;
}

void bench_print_use(const struct bench_use *begin) {
    const struct bench_use end = bench_use_look();
    const double available = (end.clock - begin->clock) * end.n_cpus;
    if (begin->all < 0 || end.all < 0 || available <= 0)
        return;
    const double others = (end.all - begin->all - (end.own - begin->own)) / available;
    const double stolen = (end.stolen - begin->stolen) / available;
    printf("Meanwhile others used %.1f %% of the machine's processor time, a hypervisor took %.1f %%.\n",
           others > 0 ? 100 * others : 0.0, 100 * stolen);
    if (others + stolen > 0.03)
        printf("THE MACHINE WAS NOT QUIET: trust \"at best\" at most, and ratios within this run.\n");
}
