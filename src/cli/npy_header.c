/* SPDX-License-Identifier: MIT */
#include "npy_header.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "types.h"

/* What is left of the text. */
struct cursor {
    const char *at, *end;
    const char *file;
    enum npy_kind kind;
    struct fault *fault;
};

enum { MAX_FOUND = 24 };

/* "FILE: header: WHAT, found 'the text that stands there'" */
static bool refuse(const struct cursor *c, const char *what) {
    const int n = c->end - c->at < MAX_FOUND ? (int)(c->end - c->at) : MAX_FOUND;
    if (n == 0)
        return fault_set(c->fault, "%s: header: %s, found its end", c->file, what);
    return fault_set(c->fault, "%s: header: %s, found '%.*s'", c->file, what, n, c->at);
}

static void skip_space(struct cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n'))
        c->at++;
}

static bool take(struct cursor *c, char wanted) {
    skip_space(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool take_word(struct cursor *c, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0)
        return false;
    c->at += n;
    return true;
}

/* A string in either kind of quotes, without escapes. */
static bool take_string(struct cursor *c, char *string, size_t size) {
    skip_space(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
        return false;
    const char *begin = c->at + 1, *end = memchr(begin, *c->at, (size_t)(c->end - begin));
    if (!end || (size_t)(end - begin) >= size || memchr(begin, '\\', (size_t)(end - begin)))
        return false;
    memcpy(string, begin, (size_t)(end - begin));
    string[end - begin] = 0;
    c->at = end + 1;
    return true;
}

/* ---------------------------------------------------------------- the three fields */

static const struct {
    const char *descr;
    int type;
    enum npy_kind kind;
} known[] = {{"<f4", SA_F32, NPY_NUMBERS}, {"<f2", SA_F16, NPY_NUMBERS},    {"|b1", TYPE_BOOL, NPY_TRUTHS},
             {"|u1", TYPE_U8, NPY_TRUTHS}, {"<i4", TYPE_I32, NPY_INTEGERS}, {"<i8", TYPE_I64, NPY_INTEGERS}};
enum { N_KNOWN = sizeof known / sizeof known[0] };

/* What a file of the wrong kind is told, and what NumPy would make of it. */
static const struct {
    const char *expected, *conversion;
} kinds[] = {[NPY_NUMBERS] = {"'<f4' (float32) or '<f2' (float16)", "<f4"},
             [NPY_TRUTHS] = {"'|b1' (bool) or '|u1' (uint8)", "?"},
             [NPY_INTEGERS] = {"'<i4' (int32) or '<i8' (int64)", "<i4"}};

const char *npy_descr(int type) {
    for (int i = 0; i < N_KNOWN; i++)
        if (known[i].type == type)
            return known[i].descr;
    return NULL;
}

/* What ml_dtypes' bfloat16 is saved as: the file does not say that it is one. */
static bool is_two_bytes(const char *descr) { return strcmp(descr, "|V2") == 0 || strcmp(descr, "<V2") == 0; }

static bool parse_descr(struct cursor *c, struct array *array) {
    char descr[32], expected[64];
    snprintf(expected, sizeof expected, "descr: expected %s", kinds[c->kind].expected);
    if (!take_string(c, descr, sizeof descr))
        return refuse(c, expected);
    for (int i = 0; i < N_KNOWN; i++)
        if (known[i].kind == c->kind && strcmp(descr, known[i].descr) == 0)
            return array->type = known[i].type, true;
    if (c->kind == NPY_NUMBERS && is_two_bytes(descr))
        return fault_set(
            c->fault, "%s: descr is '%s', elements of two bytes without a type; for bfloat16 use a .safetensors file",
            c->file, descr);
    return fault_set(c->fault, "%s: descr is '%s', expected %s; in numpy: np.save('%s', np.load('%s').astype('%s'))",
                     c->file, descr, kinds[c->kind].expected, c->file, c->file, kinds[c->kind].conversion);
}

static bool parse_fortran_order(struct cursor *c) {
    skip_space(c);
    if (take_word(c, "False"))
        return true;
    if (take_word(c, "True"))
        return fault_set(c->fault,
                         "%s: fortran_order is True, expected False; in numpy: np.save('%s', "
                         "np.ascontiguousarray(np.load('%s')))",
                         c->file, c->file, c->file);
    return refuse(c, "fortran_order: expected False");
}

static bool parse_length(struct cursor *c, int64_t *length) {
    skip_space(c);
    struct cursor begin = *c;
    if (c->at == c->end || !isdigit((unsigned char)*c->at))
        return refuse(c, "shape: expected a length of 0 or more");
    for (*length = 0; c->at < c->end && isdigit((unsigned char)*c->at); c->at++)
        if (__builtin_mul_overflow(*length, 10, length) || __builtin_add_overflow(*length, *c->at - '0', length))
            return refuse(&begin, "shape: expected a length below 2^63");
    return true;
}

/* (), (3,), (2, 3) or (2, 3,) */
static bool parse_shape(struct cursor *c, struct array *array) {
    if (!take(c, '('))
        return refuse(c, "shape: expected a tuple such as (2, 3)");
    array->rank = 0;
    while (!take(c, ')')) {
        if (array->rank == ARRAY_MAX_RANK)
            return refuse(c, "shape: expected at most 8 axes");
        if (!parse_length(c, &array->shape[array->rank++]))
            return false;
        if (take(c, ','))
            continue;
        if (array->rank < 2 || !take(c, ')'))
            return refuse(c, "shape: expected ','");
        return true;
    }
    return true;
}

/* ---------------------------------------------------------------- the dictionary */

enum { DESCR = 1, FORTRAN_ORDER = 2, SHAPE = 4, ALL = 7 };

static int field_of(const char *key) {
    if (strcmp(key, "descr") == 0)
        return DESCR;
    if (strcmp(key, "fortran_order") == 0)
        return FORTRAN_ORDER;
    return strcmp(key, "shape") == 0 ? SHAPE : 0;
}

static bool parse_item(struct cursor *c, int *seen, struct array *array) {
    skip_space(c);
    struct cursor begin = *c;
    char key[32];
    if (!take_string(c, key, sizeof key))
        return refuse(c, "expected a key in quotes");
    int field = field_of(key);
    if (!field || *seen & field)
        return refuse(&begin, field ? "expected each key once" : "expected descr, fortran_order and shape only");
    *seen |= field;
    if (!take(c, ':'))
        return refuse(c, "expected ':'");
    if (field == SHAPE)
        return parse_shape(c, array);
    return field == DESCR ? parse_descr(c, array) : parse_fortran_order(c);
}

static bool check_complete(struct cursor *c, int seen) {
    skip_space(c);
    if (c->at != c->end)
        return refuse(c, "expected nothing after '}'");
    if (seen == ALL)
        return true;
    return fault_set(c->fault, "%s: header: %s is missing", c->file,
                     !(seen & DESCR)           ? "descr"
                     : !(seen & FORTRAN_ORDER) ? "fortran_order"
                                               : "shape");
}

bool npy_header_parse(const char *text, size_t n, enum npy_kind kind, struct array *array, struct fault *fault) {
    struct cursor c = {text, text + n, array->name, kind, fault};
    int seen = 0;
    if (!take(&c, '{'))
        return refuse(&c, "expected '{'");
    while (!take(&c, '}')) {
        if (!parse_item(&c, &seen, array))
            return false;
        if (take(&c, ','))
            continue;
        if (!take(&c, '}'))
            return refuse(&c, "expected ',' or '}'");
        break;
    }
    return check_complete(&c, seen);
}
