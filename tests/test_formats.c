/* SPDX-License-Identifier: MIT */
/* The program's readers of .npy and .safetensors against files that are right, cut off at every length, and wrong in
 * every field. A wrong file is refused with one line that names it. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "inside.h"
#include "npy.h"
#include "safetensors.h"
#include "types.h"

static char path[64];

static void write_file(const void *bytes, size_t n) {
    strcpy(path, "/tmp/sa_formats.XXXXXX");
    int fd = mkstemp(path);
    must(fd >= 0 && write(fd, bytes, n) == (ssize_t)n, "cannot write %s", path);
    close(fd);
}

static void must_complain(const struct fault *fault, const char *what) {
    must(strstr(fault->text, path) != NULL, "%s: '%s' does not name the file", what, fault->text);
    must(strchr(fault->text, '\n') == NULL, "%s: '%s' is more than a line", what, fault->text);
}

/* ---------------------------------------------------------------- .npy */

struct npy_bytes {
    unsigned char bytes[256];
    size_t n;
};

/* Version 1 with the given dict and that much data. */
static struct npy_bytes npy_of(const char *dict, size_t data_bytes) {
    struct npy_bytes f = {.n = 128 + data_bytes};
    memset(f.bytes, ' ', 128);
    memcpy(f.bytes, "\x93NUMPY\1\0", 8);
    f.bytes[8] = 118;
    f.bytes[9] = 0;
    memcpy(f.bytes + 10, dict, strlen(dict));
    f.bytes[127] = '\n';
    memset(f.bytes + 128, 0, data_bytes);
    return f;
}

static bool npy_opens_as(const void *bytes, size_t n, enum npy_kind kind, const char *what) {
    struct npy npy;
    struct fault fault = {""};
    write_file(bytes, n);
    bool opened = npy_open(&npy, path, kind, &fault);
    if (opened)
        npy_close(&npy);
    else
        must_complain(&fault, what);
    unlink(path);
    return opened;
}

static bool npy_opens(const void *bytes, size_t n, const char *what) {
    return npy_opens_as(bytes, n, NPY_NUMBERS, what);
}

START_TEST(npy_right) {
    static const struct {
        const char *dict;
        size_t bytes;
    } right[] = {{"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), }", 96},
                 {"{'shape': (2,), 'fortran_order': False, 'descr': '<f4'}", 8},
                 {"{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(0, 5)}", 0},
                 {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 4},
                 {"{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3, 4), }", 48},
                 {"{'descr': '<f2', 'fortran_order': False, 'shape': (5,), }", 10}};
    struct npy_bytes f = npy_of(right[_i].dict, right[_i].bytes);
    ck_assert(npy_opens(f.bytes, f.n, right[_i].dict));
}
END_TEST

START_TEST(npy_wrong) {
    static const char *const wrong[] = {
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3), }",
        "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 3), }",
        "{'descr': '>f2', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '|V2', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': 'bfloat16', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (4, 3), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (1, 3), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 3), }",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, -3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3.0), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 3, }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }",
        "{'descr': '<f4', 'fortran_order': False, }",
        "{'descr': '<f4', 'shape': (1, 3), }",
        "{'fortran_order': False, 'shape': (1, 3), }",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), } x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3)",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 3), }",
        "(1, 3)",
        ""};
    struct npy_bytes f = npy_of(wrong[_i], 12);
    ck_assert_msg(!npy_opens(f.bytes, f.n, wrong[_i]), "taken: %s", wrong[_i]);
}
END_TEST

/* Each type is taken where its kind is wanted and nowhere else. */
START_TEST(npy_kinds) {
    static const struct {
        const char *descr;
        size_t bytes;
        enum npy_kind kind;
    } types[] = {{"<f4", 4, NPY_NUMBERS}, {"<f2", 2, NPY_NUMBERS},  {"|b1", 1, NPY_TRUTHS},
                 {"|u1", 1, NPY_TRUTHS},  {"<i4", 4, NPY_INTEGERS}, {"<i8", 8, NPY_INTEGERS}};
    char dict[128];
    snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (2, 3), }", types[_i].descr);
    struct npy_bytes f = npy_of(dict, 6 * types[_i].bytes);
    for (int kind = NPY_NUMBERS; kind <= NPY_INTEGERS; kind++)
        ck_assert_int_eq(npy_opens_as(f.bytes, f.n, (enum npy_kind)kind, dict), kind == (int)types[_i].kind);
    ck_assert(!npy_opens_as(f.bytes, f.n - 1, types[_i].kind, dict));
}
END_TEST

START_TEST(npy_cut_off) {
    struct npy_bytes f = npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24);
    for (size_t n = 0; n < f.n; n++)
        must(!npy_opens(f.bytes, n, "cut off"), "cut off at %zu and taken", n);
    ck_assert(npy_opens(f.bytes, f.n, "whole"));
    f.n++;
    ck_assert(!npy_opens(f.bytes, f.n, "a byte too many"));
}
END_TEST

/* ---------------------------------------------------------------- .safetensors */

static bool safetensors_opens(const char *header, size_t data_bytes, size_t cut) {
    struct safetensors file;
    struct fault fault = {""};
    uint64_t length = strlen(header);
    char bytes[2048] = {0};
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    write_file(bytes, 8 + length + data_bytes - cut);
    bool opened = safetensors_open(&file, path, &fault);
    if (opened)
        safetensors_close(&file);
    else
        must_complain(&fault, header);
    unlink(path);
    return opened;
}

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"

START_TEST(safetensors_right) {
    ck_assert(safetensors_opens("{" A "}", 24, 0));
    ck_assert(safetensors_opens("{" A ",\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[24,28]}}   ", 28, 0));
    ck_assert(safetensors_opens("{\"__metadata__\":{\"k\":\"v\"}," A "}", 24, 0));
}
END_TEST

START_TEST(safetensors_wrong) {
    static const char *const wrong[] = {
        "{\"a\":{\"dtype\":\"F33\",\"shape\":[2,3],\"data_offsets\":[0,24]}}",
        "{\"a\":{\"shape\":[2,3],\"data_offsets\":[0,24]}}",
        "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,24]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,-3],\"data_offsets\":[0,24]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[0,24]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,\"3\"],\"data_offsets\":[0,24]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[24,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[-8,16]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,3],\"data_offsets\":[0,24]}}",
        "{" A "," A "}",
        "{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
        "{\"a\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[0,24]}}",
        "{\"a\":{\"dtype\":\"bf16\",\"shape\":[4,3],\"data_offsets\":[0,24]}}",
        "{\"a\":5}",
        "[1]",
        "{",
        ""};
    ck_assert_msg(!safetensors_opens(wrong[_i], 24, 0), "taken: %s", wrong[_i]);
}
END_TEST

START_TEST(safetensors_cut_off) {
    const char header[] = "{" A "}";
    for (size_t cut = 1; cut <= 24 + sizeof header - 1 + 8; cut++)
        must(!safetensors_opens(header, 24, cut), "cut off by %zu and taken", cut);
}
END_TEST

START_TEST(safetensors_deep) {
    char header[1024] = "{\"a\":";
    size_t n = strlen(header);
    memset(header + n, '[', sizeof header - n - 1);
    ck_assert(!safetensors_opens(header, 24, 0));
}
END_TEST

/* A header of each length modulo 8: the elements are read right wherever they are, or refused if the program has no
 * such type. */
START_TEST(safetensors_types) {
    static const struct {
        const char *dtype;
        int type;
    } types[] = {{"F32", SA_F32}, {"BF16", SA_BF16}, {"F16", SA_F16}, {"I16", -1}, {"F64", -1}, {"F8_E4M3", -1}};
    static const unsigned char data[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct safetensors file;
    struct fault fault = {""};
    struct array array;
    char bytes[128];
    const bool known = types[_i].type >= 0;
    const size_t n = 8 / (known ? type_bytes(types[_i].type) : _i == 3 ? 2 : _i == 4 ? 8 : 1);
    for (int spaces = 0; spaces < 8; spaces++) {
        const int length = snprintf(bytes + 8, sizeof bytes - 8,
                                    "{\"a\":{\"dtype\":\"%s\",\"shape\":[%zu],\"data_offsets\":[0,8]}}%.*s",
                                    types[_i].dtype, n, spaces, "        ");
        memcpy(bytes, &(uint64_t){(uint64_t)length}, 8);
        memcpy(bytes + 8 + length, data, sizeof data);
        write_file(bytes, 16 + (size_t)length);
        must(safetensors_open(&file, path, &fault), "%s", fault.text);
        const bool taken = safetensors_array(&file, safetensors_find(&file, "a"), &array, &fault);
        must(taken == known, "%s: %s", types[_i].dtype, fault.text);
        if (taken)
            must(array.type == types[_i].type && memcmp(array.data, data, sizeof data) == 0, "%s", types[_i].dtype);
        else
            must_complain(&fault, types[_i].dtype);
        safetensors_close(&file);
        unlink(path);
    }
}
END_TEST

/* ---------------------------------------------------------------- both */

/* Two tensors of a type into a file and back, one with an odd number of elements. */
START_TEST(round_trip) {
    static const unsigned char data[60] = "every bit pattern will do here, none of them is looked at...";
    struct array written[2] = {{.name = "a.o", .type = _i, .rank = 3, .shape = {1, 5, 1}},
                               {.name = "b.o", .type = _i, .rank = 2, .shape = {2, 5}}};
    struct output output;
    struct safetensors file;
    struct fault fault = {""};
    const size_t bytes = type_bytes(_i);
    strcpy(path, "/tmp/sa_formats.XXXXXX");
    close(mkstemp(path));
    must(safetensors_create(&output, path, 2, written, &fault), "%s", fault.text);
    memcpy((void *)(uintptr_t)written[0].data, data, 5 * bytes);
    memcpy((void *)(uintptr_t)written[1].data, data + 20, 10 * bytes);
    must(output_commit(&output, &fault) && safetensors_open(&file, path, &fault), "%s", fault.text);
    output_discard(&output);
    for (int i = 0; i < 2; i++) {
        struct array read;
        must(safetensors_array(&file, safetensors_find(&file, written[i].name), &read, &fault), "%s", fault.text);
        ck_assert(read.type == _i && read.rank == written[i].rank);
        ck_assert_int_eq(memcmp(read.shape, written[i].shape, (size_t)read.rank * sizeof read.shape[0]), 0);
        ck_assert_int_eq(memcmp(read.data, data + 20 * i, (i ? 10 : 5) * bytes), 0);
    }
    safetensors_close(&file);
    unlink(path);
}
END_TEST

START_TEST(npy_round_trip) {
    static const unsigned char data[60] = "every bit pattern will do here, none of them is looked at...";
    struct array written = {.type = _i, .rank = 3, .shape = {3, 1, 5}};
    struct output output = {0};
    struct npy npy;
    struct fault fault = {""};
    strcpy(path, "/tmp/sa_formats.XXXXXX");
    close(mkstemp(path));
    if (npy_create(&output, path, &written, &fault)) {
        ck_assert_int_ne(_i, SA_BF16);
        memcpy((void *)(uintptr_t)written.data, data, 15 * type_bytes(_i));
        must(output_commit(&output, &fault) && npy_open(&npy, path, NPY_NUMBERS, &fault), "%s", fault.text);
        ck_assert(npy.array.type == _i && npy.array.rank == 3 && npy.array.shape[2] == 5);
        ck_assert_int_eq(memcmp(npy.array.data, data, 15 * type_bytes(_i)), 0);
        npy_close(&npy);
    } else {
        ck_assert_int_eq(_i, SA_BF16);
        must_complain(&fault, "bf16");
    }
    output_discard(&output);
    unlink(path);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("formats");
    TCase *npy = add_case(suite, "npy"), *safetensors = add_case(suite, "safetensors"), *both = add_case(suite, "both");
    tcase_add_loop_test(npy, npy_right, 0, 6);
    tcase_add_loop_test(npy, npy_wrong, 0, 25);
    tcase_add_loop_test(npy, npy_kinds, 0, 6);
    tcase_add_test(npy, npy_cut_off);
    tcase_add_test(safetensors, safetensors_right);
    tcase_add_loop_test(safetensors, safetensors_wrong, 0, 19);
    tcase_add_test(safetensors, safetensors_cut_off);
    tcase_add_test(safetensors, safetensors_deep);
    tcase_add_loop_test(safetensors, safetensors_types, 0, 6);
    tcase_add_loop_test(both, round_trip, SA_F32, SA_F16 + 1);
    tcase_add_loop_test(both, npy_round_trip, SA_F32, SA_F16 + 1);
    return run_suite(suite);
}
