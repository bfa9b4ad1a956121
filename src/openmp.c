/* SPDX-License-Identifier: MIT */
#include "openmp.h"

#include <ctype.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int sa_openmp_place_cpus(int *cpus, int room) {
    int n = 0, n_places = omp_get_num_places();
    for (int place = 0; place < n_places; place++) {
        int n_procs = omp_get_place_num_procs(place);
        if (n_procs <= 0 || n_procs > room - n)
            continue;
        omp_get_place_proc_ids(place, cpus + n);
        n += n_procs;
    }
    return n;
}

/* ---------------------------------------------------------------- threads that can be made */

/* OMP_STACKSIZE: a number of KiB, or of what a letter behind it says; 0: the system's own. */
static size_t stack_bytes(void) {
    static const char units[] = "bkmg";
    const char *text = getenv("OMP_STACKSIZE");
    char *end;
    if (!text && !(text = getenv("GOMP_STACKSIZE")))
        return 0;
    const unsigned long n = strtoul(text, &end, 10);
    while (isspace((unsigned char)*end))
        end++;
    for (int i = 0; i < 4; i++)
        if (tolower((unsigned char)*end) == units[i])
            return n << 10 * i;
    return n << 10;
}

struct probe {
    pthread_mutex_t *end;
    pthread_t thread;
    pid_t id;
};

static void *wait_for_end(void *argument) {
    struct probe *probe = argument;
    probe->id = (pid_t)syscall(SYS_gettid);
    pthread_mutex_lock(probe->end);
    pthread_mutex_unlock(probe->end);
    return NULL;
}

/* A thread that was joined counts until the system has forgotten it: a moment. */
static void see_off(const struct probe *probe) {
    pthread_join(probe->thread, NULL);
    for (int i = 0; i < 1000 && syscall(SYS_tgkill, getpid(), probe->id, 0) == 0; i++)
        sched_yield();
}

int sa_openmp_can_start(int n_threads) {
    struct probe probes[SA_MAX_THREADS];
    pthread_mutex_t end = PTHREAD_MUTEX_INITIALIZER;
    pthread_attr_t how;
    int n = 0;
    if (pthread_attr_init(&how) != 0)
        return 1;
    const size_t stack = stack_bytes();
    if (stack)
        pthread_attr_setstacksize(&how, stack); /* what it does not take the runtime does not take either */
    pthread_mutex_lock(&end);
    for (; n < n_threads - 1; n++) {
        probes[n].end = &end;
        if (pthread_create(&probes[n].thread, &how, wait_for_end, &probes[n]) != 0)
            break;
    }
    pthread_mutex_unlock(&end);
    for (int i = 0; i < n; i++)
        see_off(&probes[i]);
    pthread_attr_destroy(&how);
    pthread_mutex_destroy(&end);
    return 1 + n;
}
