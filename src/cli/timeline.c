/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "picture.h"
#include "plan.h"

/* Sizes in points. */
enum { MARGIN = 16, LEFT = 64, PLOT_WIDTH = 1100, TITLE_HEIGHT = 44, AXIS_HEIGHT = 34, FONT = 11, TITLE_FONT = 15 };
enum { PNG_COLUMNS = 2 * PLOT_WIDTH, SVG_COLUMNS = PLOT_WIDTH, MAX_PANELS = 12 };

/* A thread's items of one colour, in columns of the plot. */
struct stripe {
    int64_t sequence;
    int kv_head, begin, end;
};

struct picture {
    const struct plan *plan;
    int n_columns; /* of the plot */
};

struct panel {
    const struct plan *plan;
    int n_columns;
    const struct plan_case *c;
    cairo_t *cairo;
    double top;                   /* of the title */
    double row[PLAN_MAX_THREADS]; /* where a thread's row begins, below the title */
    struct stripe open[PLAN_MAX_THREADS];
};

/* ---------------------------------------------------------------- layout */

static double row_height(const struct plan *plan) { return fmin(fmax(576.0 / plan->info.n_threads, 2), 16); }
static double domain_gap(const struct plan *plan) { return plan->info.n_threads > 64 ? 2 : 4; }

/* Threads of one domain stand together; a spread team has them in another order. */
static double find_row(const struct plan *plan, int thread) {
    int before = 0;
    for (int t = 0; t < plan->info.n_threads; t++)
        before += plan->domains[t] < plan->domains[thread] || (plan->domains[t] == plan->domains[thread] && t < thread);
    return before * row_height(plan) + plan->domains[thread] * domain_gap(plan);
}

static double rows_height(const struct plan *plan) {
    int last = 0;
    for (int t = 0; t < plan->info.n_threads; t++)
        last = plan->domains[t] > last ? plan->domains[t] : last;
    return plan->info.n_threads * row_height(plan) + last * domain_gap(plan);
}

static double panel_height(const struct plan *plan) { return TITLE_HEIGHT + rows_height(plan) + AXIS_HEIGHT; }
static int n_panels(const struct plan *plan) { return plan->n_cases < MAX_PANELS ? plan->n_cases : MAX_PANELS; }

static double x_of(const struct panel *p, double seconds) {
    return LEFT + (p->c->sim.seconds > 0 ? seconds / p->c->sim.seconds * PLOT_WIDTH : 0);
}

/* ---------------------------------------------------------------- colours */

static double channel(double hue, double shift) {
    double x = hue + shift;
    x -= floor(x);
    return x < 1.0 / 6 ? 6 * x : x < 0.5 ? 1 : x < 2.0 / 3 ? 4 - 6 * x : 0;
}

/* Hues that follow each other at the golden angle differ as far as they can; heads of a sequence differ in lightness. A
 * single sequence has a hue a head. */
static void set_colour(const struct panel *p, const struct stripe *s) {
    bool single = p->c->shape->n_seqs == 1;
    double hue = (double)(single ? s->kv_head : s->sequence) * 0.61803398875 + 0.58, light[] = {0.62, 0.48, 0.75};
    double middle = light[single ? 0 : s->kv_head % 3], strength = 0.62;
    double rgb[3] = {channel(hue, 1.0 / 3), channel(hue, 0), channel(hue, -1.0 / 3)};
    for (int i = 0; i < 3; i++)
        rgb[i] = middle + strength * (rgb[i] - 0.5) * (1 - fabs(2 * middle - 1));
    cairo_set_source_rgb(p->cairo, rgb[0], rgb[1], rgb[2]);
}

/* ---------------------------------------------------------------- stripes
 * There may be millions of items: what is drawn is what stands in the middle of each column. */

static void draw_stripe(const struct panel *p, int thread, const struct stripe *s) {
    const double step = (double)PLOT_WIDTH / p->n_columns, height = row_height(p->plan);
    if (s->end <= s->begin)
        return;
    set_colour(p, s);
    cairo_rectangle(p->cairo, LEFT + s->begin * step, p->top + TITLE_HEIGHT + p->row[thread],
                    (s->end - s->begin) * step,
                    height > 5   ? height - 1
                    : height > 3 ? height - 0.5
                                 : height);
    cairo_fill(p->cairo);
}

static void add_segment(struct panel *p, const sa_segment *segment) {
    const double columns = p->n_columns / p->c->sim.seconds;
    struct stripe *open = &p->open[segment->thread];
    int begin = (int)ceil(segment->begin * columns - 0.5), end = (int)ceil(segment->end * columns - 0.5);
    if (end <= begin)
        return;
    if (open->end == begin && open->sequence == segment->sequence && open->kv_head == segment->kv_head) {
        open->end = end;
        return;
    }
    draw_stripe(p, segment->thread, open);
    *open = (struct stripe){segment->sequence, segment->kv_head, begin, end};
}

static void draw_rows(struct panel *p) {
    cairo_set_source_rgb(p->cairo, 0.91, 0.91, 0.91); /* idle */
    for (int t = 0; t < p->plan->info.n_threads; t++)
        cairo_rectangle(p->cairo, LEFT, p->top + TITLE_HEIGHT + p->row[t], PLOT_WIDTH, row_height(p->plan));
    cairo_fill(p->cairo);
    for (int64_t i = 0; i < p->c->sim.n_segments; i++)
        add_segment(p, &p->c->segments[i]);
    for (int t = 0; t < p->plan->info.n_threads; t++)
        draw_stripe(p, t, &p->open[t]);
}

/* ---------------------------------------------------------------- words and lines */

static void put_text(cairo_t *cairo, double x, double y, double align, const char *text) {
    cairo_text_extents_t extents;
    cairo_text_extents(cairo, text, &extents);
    cairo_move_to(cairo, x - align * extents.x_advance, y);
    cairo_show_text(cairo, text);
}

static void draw_title(const struct panel *p) {
    const sa_simulation *s = &p->c->sim;
    char text[256];
    cairo_set_source_rgb(p->cairo, 0.1, 0.1, 0.1);
    cairo_set_font_size(p->cairo, TITLE_FONT);
    put_text(p->cairo, LEFT, p->top + TITLE_FONT + 2, 0, p->c->shape->name);
    cairo_set_font_size(p->cairo, FONT);
    snprintf(text, sizeof text,
             "%lld items on %d thread%s, %.4f of the ideal time, idle %.1f %%; %s of k and v, %s more for other L3s "
             "(dealt in "
             "turn: %s); colours: %s, idle grey",
             (long long)s->n_items, (int)s->n_threads, s->n_threads == 1 ? "" : "s",
             s->ideal_seconds > 0 ? s->seconds / s->ideal_seconds : 1,
             s->seconds > 0 ? 100 * fmax(0, 1 - s->ideal_seconds / s->seconds) : 0, bytes_text(s->kv_bytes),
             bytes_text(s->l3_bytes), bytes_text(s->round_robin_l3_bytes),
             p->c->shape->n_seqs == 1 ? "kv heads" : "sequences, shades their kv heads");
    put_text(p->cairo, LEFT, p->top + TITLE_FONT + FONT + 8, 0, text);
}

static void draw_domains(const struct panel *p) {
    const struct plan *plan = p->plan;
    int drawn = -1;
    cairo_set_source_rgb(p->cairo, 0.3, 0.3, 0.3);
    cairo_set_font_size(p->cairo, FONT - 1);
    for (int t = 0; t < plan->info.n_threads; t++) {
        char text[32];
        if (plan->domains[t] <= drawn)
            continue;
        drawn = plan->domains[t];
        snprintf(text, sizeof text, "L3 %d", drawn);
        put_text(p->cairo, LEFT - 6, p->top + TITLE_HEIGHT + p->row[t] + FONT - 2, 1, text);
    }
}

/* 1, 2 or 5 times a power of ten, 5 to 12 of them in all. */
static double tick_step(double seconds) {
    double power = pow(10, floor(log10(seconds / 5))), left = seconds / 5 / power;
    return power * (left >= 5 ? 5 : left >= 2 ? 2 : 1);
}

static void draw_axis(const struct panel *p) {
    static const char *const units[] = {"s", "ms", "us"};
    double seconds = p->c->sim.seconds, bottom = p->top + TITLE_HEIGHT + rows_height(p->plan);
    if (!(seconds > 0))
        return;
    int unit = seconds >= 1 ? 0 : seconds >= 1e-3 ? 1 : 2;
    double scale = pow(1000, unit), step = tick_step(seconds);
    cairo_set_source_rgb(p->cairo, 0.3, 0.3, 0.3);
    cairo_set_line_width(p->cairo, 0.7);
    for (double t = 0; t <= seconds * (1 + 1e-9); t += step) {
        char text[32];
        snprintf(text, sizeof text, "%g %s", round(t / step) * step * scale, units[unit]);
        cairo_move_to(p->cairo, x_of(p, t), bottom);
        cairo_line_to(p->cairo, x_of(p, t), bottom + 4);
        cairo_stroke(p->cairo);
        put_text(p->cairo, x_of(p, t), bottom + 4 + FONT, t > 0 ? 0.5 : 0, text);
    }
}

static void draw_ideal(const struct panel *p) {
    double x = x_of(p, p->c->sim.ideal_seconds), top = p->top + TITLE_HEIGHT;
    cairo_set_source_rgb(p->cairo, 0, 0, 0);
    cairo_set_line_width(p->cairo, 1);
    cairo_move_to(p->cairo, x, top - 4);
    cairo_line_to(p->cairo, x, top + rows_height(p->plan) + 2);
    cairo_stroke(p->cairo);
    put_text(p->cairo, x, top + rows_height(p->plan) + 2 * FONT + 6, 1, "ideal");
}

/* ---------------------------------------------------------------- pictures */

static void draw(cairo_t *cairo, void *what) {
    const struct picture *picture = what;
    const struct plan *plan = picture->plan;
    struct panel *panel = malloc(sizeof *panel);
    cairo_set_source_rgb(cairo, 1, 1, 1);
    cairo_paint(cairo);
    cairo_select_font_face(cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    for (int i = 0; panel && i < n_panels(plan); i++) {
        *panel = (struct panel){.plan = plan, .n_columns = picture->n_columns, .c = &plan->cases[i], .cairo = cairo};
        panel->top = MARGIN + i * (panel_height(plan) + MARGIN);
        for (int t = 0; t < plan->info.n_threads; t++)
            panel->row[t] = find_row(plan, t);
        cairo_set_antialias(cairo, CAIRO_ANTIALIAS_NONE);
        draw_rows(panel);
        cairo_set_antialias(cairo, CAIRO_ANTIALIAS_DEFAULT);
        draw_title(panel);
        draw_domains(panel);
        draw_axis(panel);
        draw_ideal(panel);
    }
    free(panel);
}

static double width(void) { return LEFT + PLOT_WIDTH + MARGIN; }
static double height(const struct plan *plan) { return MARGIN + n_panels(plan) * (panel_height(plan) + MARGIN); }

static void note_rest(const struct plan *plan, const char *path) {
    if (plan->n_cases > MAX_PANELS)
        complain("%s: shows the first %d of %d batches", path, MAX_PANELS, plan->n_cases);
}

bool timeline_write_png(const struct plan *plan, const char *path) {
    struct picture picture = {plan, PNG_COLUMNS};
    note_rest(plan, path);
    return picture_write_png(path, width(), height(plan), draw, &picture);
}

bool timeline_write_svg(const struct plan *plan, const char *path) {
    struct picture picture = {plan, SVG_COLUMNS};
    note_rest(plan, path);
    return picture_write_svg(path, width(), height(plan), draw, &picture);
}
