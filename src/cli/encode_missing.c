/* SPDX-License-Identifier: MIT */
/* `sa encode` of a build that has nothing to do it with. */
#include "cli.h"

int command_encode(int argc, char **argv) {
    (void)argc;
    (void)argv;
    complain("this build has no encode: CBLAS or utf8proc was not there when it was configured");
    return FAILED;
}
