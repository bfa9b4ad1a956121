/* SPDX-License-Identifier: MIT */
/* Elements of the three types of vectors and matrices, as floats; structs that come from callers. */
#ifndef SA_LAYER_ELEMENTS_H
#define SA_LAYER_ELEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sa/layer.h>

/* The largest number of tokens, and of what they stand at. */
#define SA_MAX_TOKENS   ((INT64_C(1) << 31) - (INT64_C(1) << 20))
#define SA_MAX_POSITION (INT64_C(1) << 30)

enum { SA_MAX_WIDTH = 65536, SA_MAX_HEAD = 576 };

/* Bytes of an element; 0: not a type of vectors and matrices. */
static inline size_t sa_bytes_of(int type) { return type == SA_F32 ? 4 : type == SA_BF16 || type == SA_F16 ? 2 : 0; }

/* n elements as floats, exactly; n floats as elements, rounded to nearest, ties to even. */
void sa_elements_read(float *to, const void *from, int type, int64_t n);
void sa_elements_write(void *to, const float *from, int type, int64_t n);

/* The first element that is NaN or inf, -1: there is none. */
int64_t sa_elements_not_finite(const void *from, int type, int64_t n);

/* As sa_fail() of the engine. */
__attribute__((format(printf, 2, 3))) sa_status sa_refuse(sa_status status, const char *format, ...);

/* SA_OK, or what is wrong with a type, named so. */
sa_status sa_check_type(int type, const char *name);

/* A public struct of any later version, copied into one of this. */
sa_status sa_take_in(void *to, size_t bytes, const void *from, const char *name);

/* Is there anything in these bytes? */
bool sa_is_zero(const void *bytes, size_t n);

#endif
