/* SPDX-License-Identifier: MIT */
/* Pictures drawn with cairo, as files. */
#ifndef SA_CLI_PICTURE_H
#define SA_CLI_PICTURE_H

#include <cairo.h>
#include <stdbool.h>

typedef void picture_draw(cairo_t *cairo, void *what);

/* Draws on a surface of that many points and writes the file, which appears only when it is whole. Complains and
 * returns false if it cannot. */
bool picture_write_png(const char *path, double width, double height, picture_draw *draw, void *what);
bool picture_write_svg(const char *path, double width, double height, picture_draw *draw, void *what);

#endif
