/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "types.h"

int option_misused(const char *command, int answer, char **argv) {
    const char *word = argv[optind - 1];
    if (answer == ':')
        return misuse(command, "'%s' needs a value", word);
    if (optopt == 0)
        return misuse(command, "unknown option '%s'", word);
    if (strchr(word, '='))
        return misuse(command, "'%s': takes no value", word);
    return misuse(command, "unknown option '-%c'", optopt);
}

int option_count(const char *command, const char *name, const char *text, int64_t low, int64_t high, int64_t *value) {
    if (parse_integer(text, low, high, value))
        return DONE;
    return misuse(command, "%s is '%s', expected a whole number from %lld to %lld", name, text, (long long)low,
                  (long long)high);
}

int option_scale(const char *command, const char *text, float *scale) {
    char *end;
    *scale = strtof(text, &end);
    if (end != text && *end == 0 && fabsf(*scale) < 0x1p127f && *scale != 0) /* the library's limit; false for NaN */
        return DONE;
    return misuse(command, "--scale is '%s', expected a finite number other than 0, below 2^127 in size", text);
}

int option_layout(const char *command, const char *text, bool *heads_first) {
    *heads_first = strcmp(text, "bhsd") == 0;
    if (*heads_first || strcmp(text, "bshd") == 0)
        return DONE;
    return misuse(command, "--layout is '%s', expected bshd or bhsd", text);
}

static int take_type(const char *command, const char *name, const char *text, int *type) {
    if (type_named(text, type))
        return DONE;
    return misuse(command, "%s is '%s', expected f32, bf16 or f16", name, text);
}

int option_dtype(const char *command, const char *text, struct store_options *store) {
    store->has_type = true;
    return take_type(command, "--dtype", text, &store->type);
}

int option_kv_scales(const char *command, const char *text, struct store_options *store) {
    store->kv_int8 = true;
    return take_type(command, "--kv-scales", text, &store->scale_type);
}

int option_page_size(const char *command, const char *text, struct store_options *store) {
    enum { MOST = 1 << 20 };
    return option_count(command, "--page-size", text, 1, MOST, &store->page_tokens);
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

int option_files(const char *command, int n, char **files, struct inputs_options *inputs) {
    bool archive = n == 1 && ends_with(files[0], ".safetensors");
    if (!archive && n != 3)
        return misuse(command, "%d input file%s, expected Q.npy K.npy V.npy or one .safetensors", n, n == 1 ? "" : "s");
    for (int i = 0; i < n; i++)
        inputs->files[i] = files[i];
    inputs->n_files = n;
    return DONE;
}

bool is_archive(const struct inputs_options *inputs) { return inputs->n_files == 1; }

int option_result(const char *command, const char *name, const char *path, const struct inputs_options *inputs) {
    const char *kinds[] = {".npy", ".safetensors"};
    const bool archive = is_archive(inputs);
    if (!path || !ends_with(path, kinds[!archive]))
        return DONE;
    return misuse(command, "%s is %s, but from %s files results are written as %s", name, path, kinds[archive],
                  kinds[archive]);
}
