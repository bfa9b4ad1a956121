/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "openmp.h"
#include "reason.h"

static bool all_zero(const unsigned char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

sa_status sa_copy_in_grown(void *to, size_t to_bytes, const size_t *older, const void *from, size_t from_bytes,
                           const char *name) {
    while (*older && *older != from_bytes)
        older++;
    if (!*older && from_bytes < to_bytes)
        return sa_fail(SA_INVALID, "%s: its size is given as %zu bytes, which no version has", name, from_bytes);
    if (!*older)
        return sa_copy_in(to, to_bytes, from, from_bytes, name);
    memset(to, 0, to_bytes);
    memcpy(to, from, from_bytes);
    return SA_OK;
}

sa_status sa_copy_in(void *to, size_t to_bytes, const void *from, size_t from_bytes, const char *name) {
    if (from_bytes < to_bytes)
        return sa_fail(SA_INVALID, "%s: its size is given as %zu bytes, no version has less than %zu", name, from_bytes,
                       to_bytes);
    if (from_bytes > 1 << 16)
        return sa_fail(SA_INVALID, "%s: its size is given as %zu bytes", name, from_bytes);
    if (!all_zero((const unsigned char *)from + to_bytes, from_bytes - to_bytes))
        return sa_fail(SA_UNSUPPORTED, "%s: a field that version %s does not know is not zero", name,
                       SA_VERSION_STRING);
    memcpy(to, from, to_bytes);
    return SA_OK;
}

sa_status sa_check_room(const void *to, size_t from_bytes, const char *name) {
    size_t room;
    if (!to)
        return sa_fail(SA_INVALID, "%s is NULL", name);
    memcpy(&room, to, sizeof room);
    if (room < from_bytes || room > 1 << 16)
        return sa_fail(SA_INVALID, "%s: struct_size is %zu, expected %zu", name, room, from_bytes);
    return SA_OK;
}

sa_status sa_copy_out(void *to, const void *from, size_t from_bytes, const char *name) {
    size_t room;
    sa_status status = sa_check_room(to, from_bytes, name);
    if (status != SA_OK)
        return status;
    memcpy(&room, to, sizeof room);
    memset(to, 0, room);
    memcpy(to, from, from_bytes);
    memcpy(to, &room, sizeof room);
    return SA_OK;
}

/* The first number of OMP_NUM_THREADS, which may be a list for nested levels; 0 if there is none. */
static int environment_threads(void) {
    const char *text = getenv("OMP_NUM_THREADS");
    if (!text)
        return 0;
    char *end;
    long n = strtol(text, &end, 10);
    bool whole = *end == 0 || *end == ',' || *end == ' ';
    return end != text && whole && n >= 1 ? (int)(n < SA_MAX_THREADS ? n : SA_MAX_THREADS) : 0;
}

/* sa_isa; -1 if that is no name of one. */
static int environment_isa(void) {
    const char *text = getenv("SA_MAX_ISA");
    return text && *text ? sa_isa_of_name(text) : SA_ISA_DEFAULT;
}

static bool is_set(const char *name) {
    const char *text = getenv(name);
    return text && *text;
}

static sa_status check(const sa_engine_options *options) {
    if (options->n_threads < 0 || options->n_threads > SA_MAX_THREADS)
        return sa_fail(SA_INVALID, "sa_engine_options.n_threads is %d, expected 0 to %d", (int)options->n_threads,
                       SA_MAX_THREADS);
    if (options->binding < SA_BIND_DEFAULT || options->binding > SA_BIND_SPREAD)
        return sa_fail(SA_INVALID, "sa_engine_options.binding is %d, no sa_binding", (int)options->binding);
    if (!sa_isa_name(options->max_isa))
        return sa_fail(SA_INVALID, "sa_engine_options.max_isa is %d, no sa_isa", (int)options->max_isa);
    if (options->reserved != 0)
        return sa_fail(SA_INVALID, "sa_engine_options.reserved is %d, expected 0", (int)options->reserved);
    return SA_OK;
}

static sa_status copy_checked(const sa_engine_options *options, sa_engine_options *own) {
    if (!options)
        return SA_OK;
    static const size_t older[] = {offsetof(sa_engine_options, topology), 0};
    sa_status status = sa_copy_in_grown(own, sizeof *own, older, options, options->struct_size, "sa_engine_options");
    return status == SA_OK ? check(own) : status;
}

sa_status sa_options_read(const sa_engine_options *options, struct sa_config *config) {
    sa_engine_options own = {.struct_size = sizeof own};
    sa_status status = copy_checked(options, &own);
    if (status != SA_OK)
        return status;
    bool here = !own.topology; /* what the environment says of threads and places is about this machine */
    int from_environment = here ? environment_threads() : 0, isa = environment_isa();
    *config = (struct sa_config){
        .n_threads = own.n_threads ? own.n_threads : from_environment,
        .n_threads_source = own.n_threads      ? "sa_engine_options.n_threads"
                            : from_environment ? "OMP_NUM_THREADS"
                                               : NULL,
        .binding = own.binding,
        .option_max_isa = own.max_isa,
        .environment_max_isa = isa > 0 ? isa : SA_ISA_DEFAULT,
        .max_isa_ignored = isa < 0,
        .openmp_binds = here && (is_set("OMP_PROC_BIND") || is_set("OMP_PLACES") || is_set("GOMP_CPU_AFFINITY")),
        .verbose = is_set("SA_VERBOSE") && strcmp(getenv("SA_VERBOSE"), "0") != 0,
        .topology = own.topology,
    };
    return SA_OK;
}
