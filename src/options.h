/* SPDX-License-Identifier: MIT */
/* Copy-in of versioned public structs, and what the environment says. */
#ifndef SA_OPTIONS_H
#define SA_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include <sa/sa.h>

/* Copies a public struct of any version into `to`, a struct of to_bytes of this version: `from_bytes` is what the
 * caller says it has. Smaller than any released version is SA_INVALID; larger is fine while the unknown rest is zero.
 */
sa_status sa_copy_in(void *to, size_t to_bytes, const void *from, size_t from_bytes, const char *name);

/* The same for a struct that has grown: one of `older` bytes, its sizes in earlier versions up to a 0, is taken with
 * the fields appended since as zero. */
sa_status sa_copy_in_grown(void *to, size_t to_bytes, const size_t *older, const void *from, size_t from_bytes,
                           const char *name);

/* The same outwards, for structs the caller wants filled; the caller's struct_size says how much it has room for. */
sa_status sa_copy_out(void *to, const void *from, size_t from_bytes, const char *name);

/* Would sa_copy_out() have room? */
sa_status sa_check_room(const void *to, size_t from_bytes, const char *name);

struct sa_config {
    int n_threads; /* 0: by the machine */
    const char *n_threads_source;
    int binding; /* sa_binding */
    int option_max_isa, environment_max_isa;
    bool max_isa_ignored; /* SA_MAX_ISA names none; the library does not print, so its description says it */
    bool openmp_binds;    /* the user gave OMP_PROC_BIND, OMP_PLACES or GOMP_CPU_AFFINITY: the OpenMP runtime binds */
    bool verbose;
    const char *topology; /* the caller's: gone once the engine is made */
};

/* Options (NULL: all defaults) and environment, checked. A malformed environment variable is ignored, as OpenMP does.
 */
sa_status sa_options_read(const sa_engine_options *options, struct sa_config *config);

#endif
