/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "look.h"
#include "picture.h"

/* Sizes in pixels. */
enum { CELL = 26, FONT = 13, TITLE_FONT = 16, MARGIN = 16, LEGEND_WIDTH = 200, LEGEND_HEIGHT = 12, TITLE_HEIGHT = 34 };

struct frame {
    const struct heatmap *map;
    cairo_t *cairo;
    double left, top; /* of the cells */
    double width, height;
    double largest;
};

static int64_t n_tokens(const struct heatmap *map) { return map->end - map->begin; }

/* ---------------------------------------------------------------- layout */

/* Room for the longest word, measured with the same font on a surface of its own. */
static double widest_word(const struct heatmap *map) {
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1);
    cairo_t *cairo = cairo_create(surface);
    double widest = 0;
    cairo_select_font_face(cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cairo, FONT);
    for (int64_t i = map->begin; i < map->end; i++) {
        cairo_text_extents_t extents;
        cairo_text_extents(cairo, look_word(map->file, i), &extents);
        widest = extents.x_advance > widest ? extents.x_advance : widest;
    }
    cairo_destroy(cairo);
    cairo_surface_destroy(surface);
    return widest;
}

static struct frame layout(const struct heatmap *map) {
    struct frame f = {.map = map};
    double word = widest_word(map), cells = (double)n_tokens(map) * CELL;
    f.left = MARGIN + word + 8;
    f.top = MARGIN + TITLE_HEIGHT + word + 8;
    f.width = f.left + cells + MARGIN;
    f.height = f.top + cells + 2 * FONT + LEGEND_HEIGHT + 3 * MARGIN;
    double title = 9.0 * (double)strlen(map->title) + 2 * MARGIN; /* a generous estimate */
    f.width = fmax(f.width, fmax(title, LEGEND_WIDTH + f.left + MARGIN));
    for (int64_t i = 0; i < n_tokens(map); i++)
        for (int64_t j = map->begin; j < map->end; j++)
            f.largest = fmax(f.largest, map->weights[i * map->n + j]);
    return f;
}

/* ---------------------------------------------------------------- drawing */

/* White to dark blue through a light one; even steps in lightness. */
static void set_colour(cairo_t *cairo, double share) {
    static const double stops[3][3] = {{1.00, 1.00, 1.00}, {0.42, 0.68, 0.84}, {0.03, 0.19, 0.42}};
    double at = fmin(fmax(share, 0), 1) * 2;
    int i = at < 1 ? 0 : 1;
    double t = at - i, rgb[3];
    for (int c = 0; c < 3; c++)
        rgb[c] = stops[i][c] + t * (stops[i + 1][c] - stops[i][c]);
    cairo_set_source_rgb(cairo, rgb[0], rgb[1], rgb[2]);
}

static void put_text(cairo_t *cairo, double x, double y, const char *text) {
    cairo_move_to(cairo, x, y);
    cairo_show_text(cairo, text);
}

static void draw_cells(const struct frame *f) {
    const struct heatmap *map = f->map;
    for (int64_t i = 0; i < n_tokens(map); i++)
        for (int64_t j = 0; j < n_tokens(map); j++) {
            set_colour(f->cairo, f->largest > 0 ? map->weights[i * map->n + map->begin + j] / f->largest : 0);
            cairo_rectangle(f->cairo, f->left + (double)j * CELL, f->top + (double)i * CELL, CELL, CELL);
            cairo_fill_preserve(f->cairo);
            cairo_set_source_rgb(f->cairo, 0.88, 0.88, 0.88);
            cairo_set_line_width(f->cairo, 0.5);
            cairo_stroke(f->cairo);
        }
}

static void draw_words(const struct frame *f) {
    const struct heatmap *map = f->map;
    cairo_set_source_rgb(f->cairo, 0.1, 0.1, 0.1);
    for (int64_t i = 0; i < n_tokens(map); i++) {
        const char *word = look_word(map->file, map->begin + i);
        cairo_text_extents_t extents;
        cairo_text_extents(f->cairo, word, &extents);
        double middle = ((double)i + 0.5) * CELL + FONT * 0.35;
        put_text(f->cairo, f->left - 6 - extents.x_advance, f->top + middle, word);
        cairo_save(f->cairo);
        cairo_translate(f->cairo, f->left + middle, f->top - 6);
        cairo_rotate(f->cairo, -M_PI / 2);
        put_text(f->cairo, 0, 0, word);
        cairo_restore(f->cairo);
    }
}

static void mark_query(const struct frame *f) {
    const struct heatmap *map = f->map;
    if (map->query < map->begin || map->query >= map->end)
        return;
    cairo_set_source_rgb(f->cairo, 0.85, 0.33, 0.10);
    cairo_set_line_width(f->cairo, 2);
    cairo_rectangle(f->cairo, f->left, f->top + (double)(map->query - map->begin) * CELL, (double)n_tokens(map) * CELL,
                    CELL);
    cairo_stroke(f->cairo);
}

static void draw_legend(const struct frame *f) {
    double y = f->top + (double)n_tokens(f->map) * CELL + MARGIN;
    char largest[32];
    for (int x = 0; x < LEGEND_WIDTH; x++) {
        set_colour(f->cairo, x / (double)(LEGEND_WIDTH - 1));
        cairo_rectangle(f->cairo, f->left + x, y, 1.5, LEGEND_HEIGHT);
        cairo_fill(f->cairo);
    }
    snprintf(largest, sizeof largest, "%.3f", f->largest);
    cairo_set_source_rgb(f->cairo, 0.1, 0.1, 0.1);
    put_text(f->cairo, f->left, y + LEGEND_HEIGHT + FONT + 2, "0");
    put_text(f->cairo, f->left + LEGEND_WIDTH - 32, y + LEGEND_HEIGHT + FONT + 2, largest);
    put_text(f->cairo, f->left, y + LEGEND_HEIGHT + 2 * FONT + 8, "attention weight; rows: queries, columns: keys");
}

static void draw(const struct frame *f) {
    cairo_set_source_rgb(f->cairo, 1, 1, 1);
    cairo_paint(f->cairo);
    cairo_select_font_face(f->cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_source_rgb(f->cairo, 0.1, 0.1, 0.1);
    cairo_set_font_size(f->cairo, TITLE_FONT);
    put_text(f->cairo, MARGIN, MARGIN + TITLE_FONT, f->map->title);
    cairo_set_font_size(f->cairo, FONT);
    draw_cells(f);
    draw_words(f);
    mark_query(f);
    draw_legend(f);
}

/* ---------------------------------------------------------------- files */

static void draw_on(cairo_t *cairo, void *what) {
    struct frame *f = what;
    f->cairo = cairo;
    draw(f);
}

bool heatmap_write_png(const struct heatmap *map, const char *path) {
    struct frame f = layout(map);
    return picture_write_png(path, f.width, f.height, draw_on, &f);
}

bool heatmap_write_svg(const struct heatmap *map, const char *path) {
    struct frame f = layout(map);
    return picture_write_svg(path, f.width, f.height, draw_on, &f);
}
