/* SPDX-License-Identifier: MIT */
#include "mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The program reads and writes little-endian files in place and has no code for big-endian machines."
#endif

struct mapping_copy {
    struct mapping_copy *next;
    int64_t elements[]; /* of the widest type */
};

static bool map(struct mapping *mapping, int fd, struct fault *fault) {
    struct stat status;
    if (fstat(fd, &status) != 0)
        return fault_set(fault, "%s: %s", mapping->path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return fault_set(fault, "%s: is a directory, expected a file", mapping->path);
    if (!S_ISREG(status.st_mode))
        return fault_set(fault, "%s: is not a regular file, which is needed to map it into memory", mapping->path);
    mapping->size = (size_t)status.st_size;
    if (mapping->size == 0)
        return true;
    void *bytes = mmap(NULL, mapping->size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (bytes == MAP_FAILED)
        return fault_set(fault, "%s: cannot be mapped into memory: %s", mapping->path, strerror(errno));
    mapping->bytes = bytes;
    return true;
}

bool mapping_open(struct mapping *mapping, const char *path, struct fault *fault) {
    *mapping = (struct mapping){.path = path};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a fifo without a writer must not hang */
    if (fd < 0)
        return fault_set(fault, "%s: %s", path, strerror(errno));
    bool ok = map(mapping, fd, fault);
    close(fd);
    return ok;
}

void mapping_close(struct mapping *mapping) {
    while (mapping->copies) {
        struct mapping_copy *copy = mapping->copies;
        mapping->copies = copy->next;
        free(copy);
    }
    if (mapping->bytes)
        munmap((void *)(uintptr_t)mapping->bytes, mapping->size);
    *mapping = (struct mapping){0};
}

const void *mapping_elements(struct mapping *mapping, size_t offset, size_t n, size_t element_bytes,
                             struct fault *fault) {
    static const int64_t none;
    if (n == 0)
        return &none;
    const unsigned char *at = mapping->bytes + offset;
    if ((uintptr_t)at % element_bytes == 0)
        return at;
    struct mapping_copy *copy = malloc(sizeof *copy + n * element_bytes);
    if (!copy) {
        fault_no_memory(fault);
        return NULL;
    }
    memcpy(copy->elements, at, n * element_bytes);
    copy->next = mapping->copies;
    mapping->copies = copy;
    return copy->elements;
}
