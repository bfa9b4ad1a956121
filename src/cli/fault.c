/* SPDX-License-Identifier: MIT */
#include "fault.h"

#include <stdarg.h>
#include <stdio.h>

static bool is_control(char c) { return (unsigned char)c < ' ' || c == 0x7f; }

void fault_plain(char *text) {
    for (; *text; text++)
        if (is_control(*text))
            *text = '?';
}

bool fault_is_plain(const char *text) {
    while (*text && !is_control(*text))
        text++;
    return !*text;
}

bool fault_set(struct fault *fault, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fault->text, sizeof fault->text, format, arguments);
    va_end(arguments);
    fault_plain(fault->text);
    return false;
}

bool fault_no_memory(struct fault *fault) { return fault_set(fault, "out of memory"); }
