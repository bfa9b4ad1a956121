/* SPDX-License-Identifier: MIT */
#include "openmp.h"

#include <omp.h>

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
