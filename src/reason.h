/* SPDX-License-Identifier: MIT */
/* The text behind sa_last_reason(). */
#ifndef SA_REASON_H
#define SA_REASON_H

#include <sa/sa.h>

/* Stores the reason for the calling thread and returns `status`: return sa_fail(SA_INVALID, "..."). */
__attribute__((format(printf, 2, 3))) sa_status sa_fail(sa_status status, const char *format, ...);

#endif
