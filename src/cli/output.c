/* SPDX-License-Identifier: MIT */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---------------------------------------------------------------- signals */

enum { MAX_OUTPUTS = 8 };

static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTERM, SIGBUS};
enum { N_SIGNALS = sizeof signals / sizeof signals[0] };

/* Temporary files to remove when a signal comes. */
static _Atomic(char *) unfinished[MAX_OUTPUTS];

static void remove_unfinished(int signal_number) {
    static const char shrank[] = "sa: a mapped file became shorter while it was in use, or its disk failed\n";
    for (int i = 0; i < MAX_OUTPUTS; i++) {
        const char *path = atomic_load(&unfinished[i]);
        if (path)
            unlink(path);
    }
    if (signal_number == SIGBUS) {
        ssize_t ignored = write(STDERR_FILENO, shrank, sizeof shrank - 1);
        (void)ignored;
        _exit(1);
    }
    raise(signal_number); /* SA_RESETHAND: ends the program the usual way */
}

static sigset_t all_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < N_SIGNALS; i++)
        sigaddset(&set, signals[i]);
    return set;
}

void output_catch_signals(void) {
    for (int i = 0; i < N_SIGNALS; i++) {
        struct sigaction old, action = {.sa_handler = remove_unfinished, .sa_flags = (int)SA_RESETHAND};
        action.sa_mask = all_signals();
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
            continue; /* nohup, or a shell's background job */
        sigaction(signals[i], &action, NULL);
    }
}

static void block_signals(sigset_t *old) {
    sigset_t set = all_signals();
    pthread_sigmask(SIG_BLOCK, &set, old);
}

static void unblock_signals(const sigset_t *old) { pthread_sigmask(SIG_SETMASK, old, NULL); }

static bool list(char *path) {
    for (int i = 0; i < MAX_OUTPUTS; i++)
        if (!atomic_load(&unfinished[i])) {
            atomic_store(&unfinished[i], path);
            return true;
        }
    return false;
}

static void unlist(const char *path) {
    for (int i = 0; i < MAX_OUTPUTS; i++)
        if (atomic_load(&unfinished[i]) == path)
            atomic_store(&unfinished[i], NULL);
}

/* ---------------------------------------------------------------- names */

/* Where a file of this name is or would be, without symbolic links: those stay, and what they lead to is replaced. */
static char *resolve(const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    char *target = realpath(path, NULL), *directory = NULL;
    if (target || errno != ENOENT)
        return target;
    char *given = slash ? strndup(path, (size_t)(base - path)) : strdup(".");
    if (given && (directory = realpath(given, NULL)) && asprintf(&target, "%s/%s", directory, base) < 0)
        target = NULL;
    free(given);
    free(directory);
    return target;
}

static char *temporary_name(const char *target) {
    static int counter;
    char *name;
    int n = asprintf(&name, "%.*s.sa-%ld-%d.tmp", (int)(strrchr(target, '/') + 1 - target), target, (long)getpid(),
                     counter++);
    return n < 0 ? NULL : name;
}

/* May the target be replaced? If it exists, *mode becomes its permissions. */
static bool inspect(const struct output *output, mode_t *mode, struct fault *fault) {
    struct stat status;
    if (stat(output->target, &status) != 0)
        return errno == ENOENT || fault_set(fault, "%s: %s", output->path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return fault_set(fault, "%s: is %s, expected a file to write", output->path,
                         S_ISDIR(status.st_mode) ? "a directory" : "not a regular file");
    if (access(output->target, W_OK) != 0)
        return fault_set(fault, "%s: %s", output->path, strerror(errno));
    *mode = status.st_mode & 0777;
    return true;
}

/* ---------------------------------------------------------------- life of an output */

/* Creates the file under its temporary name; that and its entry in the list come together. */
static bool create_temporary(struct output *output, char *name, struct fault *fault) {
    sigset_t old;
    block_signals(&old);
    output->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool ok = output->fd >= 0 || fault_set(fault, "%s: cannot be written: %s", output->path, strerror(errno));
    if (ok && !list(name)) {
        ok = fault_set(fault, "%s: too many outputs", output->path);
        close(output->fd);
        unlink(name);
    }
    output->temporary = ok ? name : NULL;
    unblock_signals(&old);
    return ok;
}

bool output_create(struct output *output, const char *path, struct fault *fault) {
    mode_t mode = 0;
    *output = (struct output){.path = path};
    if (path[0] == 0 || path[strlen(path) - 1] == '/')
        return fault_set(fault, "'%s': is not the name of a file to write", path);
    output->target = resolve(path);
    if (!output->target)
        return fault_set(fault, "%s: cannot be written: %s", path, strerror(errno));
    char *name = temporary_name(output->target);
    bool ok = name || fault_no_memory(fault);
    ok = ok && inspect(output, &mode, fault) && create_temporary(output, name, fault);
    if (!ok)
        free(name);
    if (ok && mode)
        ok = fchmod(output->fd, mode) == 0 || fault_set(fault, "%s: %s", path, strerror(errno));
    if (!ok)
        output_discard(output);
    return ok;
}

bool output_map(struct output *output, size_t size, struct fault *fault) {
    if (size == 0)
        return true;
    int error = posix_fallocate(output->fd, 0, (off_t)size);
    if (error)
        return fault_set(fault, "%s: cannot reserve %zu bytes: %s", output->path, size, strerror(error));
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, output->fd, 0);
    if (bytes == MAP_FAILED)
        return fault_set(fault, "%s: cannot be mapped into memory: %s", output->path, strerror(errno));
    output->bytes = bytes;
    output->size = size;
    return true;
}

bool output_write(struct output *output, const void *bytes, size_t size, struct fault *fault) {
    for (size_t done = 0; done < size;) {
        ssize_t n = write(output->fd, (const char *)bytes + done, size - done);
        if (n < 0 && errno != EINTR)
            return fault_set(fault, "%s: %s", output->path, strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* Ends the use of the file itself; false if it could not be stored. */
static bool finish(struct output *output) {
    bool ok = !output->bytes || munmap(output->bytes, output->size) == 0;
    output->bytes = NULL;
    return close(output->fd) == 0 && ok;
}

bool output_commit(struct output *output, struct fault *fault) {
    sigset_t old;
    bool ok = finish(output);
    int error = errno;
    block_signals(&old);
    if (ok && rename(output->temporary, output->target) != 0)
        ok = false, error = errno;
    if (!ok)
        unlink(output->temporary);
    unlist(output->temporary);
    unblock_signals(&old);
    free(output->temporary);
    output->temporary = NULL;
    return ok || fault_set(fault, "%s: %s", output->path, strerror(error));
}

void output_discard(struct output *output) {
    if (output->temporary) {
        sigset_t old;
        finish(output);
        block_signals(&old);
        unlink(output->temporary);
        unlist(output->temporary);
        unblock_signals(&old);
        free(output->temporary);
    }
    free(output->target);
    *output = (struct output){0};
}

bool output_same_target(const struct output *a, const struct output *b) { return strcmp(a->target, b->target) == 0; }
