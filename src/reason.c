/* SPDX-License-Identifier: MIT */
#include "reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char reason[256];

sa_status sa_fail(sa_status status, const char *format, ...) {
    char text[sizeof reason]; /* the last one may be among the arguments */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
    memcpy(reason, text, sizeof reason);
    return status;
}

const char *sa_last_reason(void) { return reason; }

sa_status sa_set_reason(sa_status status, const char *text) {
    return sa_fail(status, "%.*s", text ? (int)strcspn(text, "\n") : 0, text ? text : "");
}

const char *sa_status_name(sa_status status) {
    switch (status) {
    case SA_OK: return "SA_OK";
    case SA_INVALID: return "SA_INVALID";
    case SA_UNSUPPORTED: return "SA_UNSUPPORTED";
    case SA_NO_MEMORY: return "SA_NO_MEMORY";
    case SA_SYSTEM: return "SA_SYSTEM";
    }
    return "unknown status";
}

const char *sa_version(void) { return SA_VERSION_STRING; }
