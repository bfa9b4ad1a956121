/* SPDX-License-Identifier: MIT */
#include "picture.h"

#include <cairo-svg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "output.h"

/* Pictures are small: they are collected in memory, so that a file appears only when it is whole. */
struct collected {
    unsigned char *bytes;
    size_t n, room;
};

static cairo_status_t collect(void *to, const unsigned char *bytes, unsigned n) {
    struct collected *c = to;
    if (n > c->room - c->n) {
        size_t room = 2 * c->room + n;
        unsigned char *grown = realloc(c->bytes, room);
        if (!grown)
            return CAIRO_STATUS_NO_MEMORY;
        c->bytes = grown;
        c->room = room;
    }
    memcpy(c->bytes + c->n, bytes, n);
    c->n += n;
    return CAIRO_STATUS_SUCCESS;
}

static bool keep(const struct collected *c, const char *path, cairo_status_t status) {
    struct output output = {0};
    struct fault fault;
    if (status != CAIRO_STATUS_SUCCESS || c->n == 0)
        return complain("%s: cannot be drawn: %s", path, cairo_status_to_string(status));
    bool good = output_create(&output, path, &fault) && output_write(&output, c->bytes, c->n, &fault) &&
                output_commit(&output, &fault);
    output_discard(&output);
    return good || complain("%s", fault.text);
}

bool picture_write_png(const char *path, double width, double height, picture_draw *draw, void *what) {
    const double zoom = 2; /* sharp on today's screens */
    struct collected c = {0};
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)ceil(width * zoom), (int)ceil(height * zoom));
    cairo_t *cairo = cairo_create(surface);
    cairo_scale(cairo, zoom, zoom);
    draw(cairo, what);
    cairo_destroy(cairo);
    cairo_status_t status = cairo_surface_write_to_png_stream(surface, collect, &c);
    cairo_surface_destroy(surface);
    bool kept = keep(&c, path, status);
    free(c.bytes);
    return kept;
}

bool picture_write_svg(const char *path, double width, double height, picture_draw *draw, void *what) {
    struct collected c = {0};
    cairo_surface_t *surface = cairo_svg_surface_create_for_stream(collect, &c, width, height);
    cairo_t *cairo = cairo_create(surface);
    draw(cairo, what);
    cairo_destroy(cairo);
    cairo_surface_finish(surface);
    cairo_status_t status = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    bool kept = keep(&c, path, status);
    free(c.bytes);
    return kept;
}
