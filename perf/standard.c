/* SPDX-License-Identifier: MIT */
#include "standard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Opened the wrong way round, so that using it still fails. open() takes the lowest number that is free. */
void standard_open(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return;
}

int standard_close(const char *program, int status) {
    const bool failed_before = ferror(stdout), failed_now = fflush(stdout) != 0;
    if (!failed_before && !failed_now)
        return status;
    fprintf(stderr, "%s: standard output: %s\n", program, failed_now ? strerror(errno) : "some of it was not written");
    return status ? status : 1;
}
