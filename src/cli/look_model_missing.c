/* SPDX-License-Identifier: MIT */
/* `sa look` of a build that has nothing to run a model with. */
#include "cli.h"
#include "look_model.h"

bool look_model_open(const char *folder, const char *text, struct look_file *file) {
    (void)text;
    (void)file;
    return complain("%s: this build runs no model: CBLAS or utf8proc was not there when it was configured", folder);
}

void look_model_close(struct look_model *model) { (void)model; }

bool look_model_array(const struct look_model *model, const char *prefix, char letter, struct array *array) {
    (void)model;
    (void)prefix;
    (void)letter;
    (void)array;
    return false;
}

int64_t look_model_find(const struct look_model *model, const char *text, int *n_more) {
    (void)model;
    (void)text;
    *n_more = 0;
    return -1;
}
