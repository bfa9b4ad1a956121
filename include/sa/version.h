/* SPDX-License-Identifier: MIT */
#ifndef SA_VERSION_H
#define SA_VERSION_H

/* CMakeLists.txt reads the version from here; nothing else states it. */
#define SA_VERSION_MAJOR  0
#define SA_VERSION_MINOR  1
#define SA_VERSION_PATCH  0
#define SA_VERSION_STRING "0.1.0"

#endif
