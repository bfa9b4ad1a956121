/* SPDX-License-Identifier: MIT */
#include "layer_verify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elements.h"
#include "layer_blas.h"
#include "reference.h"
#include "turn_reference.h"

#define U 0x1p-24

enum { MOST_ROWS = 4, DEVIATIONS = 8 };

/* Numbers, and the standard deviations of the errors that SA_F32 makes in them. */
struct numbers {
    double *at, *off;
};

/* One sequence. Rows are those that are looked at. */
struct check {
    const struct layer_case *c;
    const struct bench_seq *seq;
    const sa_sequence *cached; /* its keys and values where they are cached */
    int64_t index, first;      /* of the sequence; its first token among those of x */
    int64_t rows[MOST_ROWS];
    int n_rows;
    struct numbers x;    /* [n_q][d_model]; off: their squares, x being exact */
    struct numbers w;    /* [outputs of a head][d_model], likewise */
    struct numbers k, v; /* [n_k][d_qk], [n_k][d_v] of one kv head */
    struct numbers q, o; /* [d_qk], [row][heads * d_v] */
    double *weights;     /* [n_k], and their deviations behind them */
};

/* ---------------------------------------------------------------- memory */

static struct numbers new_numbers(int64_t n) {
    struct numbers x = {calloc((size_t)n, sizeof(double)), calloc((size_t)n, sizeof(double))};
    if (!x.at || !x.off) {
        free(x.at);
        free(x.off);
        return (struct numbers){0};
    }
    return x;
}

static bool open_numbers(struct check *k) {
    const struct bench_shape *a = &k->c->shape->attention;
    const int64_t widest = a->d_qk > a->d_v ? a->d_qk : a->d_v, d = k->c->shape->d_model;
    k->x = new_numbers(k->seq->n_q * d);
    k->w = new_numbers(widest * d);
    k->k = new_numbers(k->seq->n_k * widest);
    k->v = new_numbers(k->seq->n_k * widest);
    k->q = new_numbers(widest);
    k->o = new_numbers((int64_t)MOST_ROWS * a->heads * a->d_v);
    k->weights = calloc(2 * (size_t)k->seq->n_k, sizeof *k->weights);
    return k->x.at && k->w.at && k->k.at && k->v.at && k->q.at && k->o.at && k->weights;
}

static void close_numbers(struct check *k) {
    struct numbers all[] = {k->x, k->w, k->k, k->v, k->q, k->o};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i].at);
        free(all[i].off);
    }
    free(k->weights);
}

/* ---------------------------------------------------------------- products */

static void read_squares(struct numbers to, int type, const char *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        to.at[i] = element_value(type, from + i * element_bytes(type));
        to.off[i] = to.at[i] * to.at[i];
    }
}

static void read_x(struct check *k) {
    const int64_t d = k->c->shape->d_model;
    const int type = k->c->shape->x_type;
    read_squares(k->x, type, k->c->x + k->first * d * element_bytes(type), k->seq->n_q * d);
}

/* n tokens from `token` on, times outputs first .. first + n_out - 1 of w_in. */
static void project(struct check *k, int64_t token, int64_t n, int first, int n_out, struct numbers to) {
    const int d = k->c->w_in.n_in, type = k->c->shape->weight_type;
    read_squares(k->w, type, k->c->w_in.given + (int64_t)first * d * element_bytes(type), (int64_t)n_out * d);
    layer_blas_multiply_exactly(n, n_out, d, k->x.at + token * d, k->w.at, to.at);
    layer_blas_multiply_exactly(n, n_out, d, k->x.off + token * d, k->w.off, to.off);
    for (int64_t i = 0; i < n * n_out; i++)
        to.off[i] = U * sqrt((d + 1) * to.off[i]);
}

static void turn(struct check *k, int64_t token, int64_t n, struct numbers to) {
    const int d = k->c->shape->attention.d_qk;
    for (int64_t i = 0; k->c->shape->rope && i < n; i++)
        turn_reference(&k->c->rope, d, k->seq->n_k - k->seq->n_q + token + i, to.at + i * d, to.off + i * d);
}

/* ---------------------------------------------------------------- keys and values */

static bool wrong(const struct check *k, const char *what, int64_t token, int at, double got, double exact,
                  double off) {
    fprintf(stderr, "layer: %s is WRONG: sequence %lld, %s of token %lld, %d: %.9g, should be %.9g +- %.2g\n",
            k->c->shape->attention.name, (long long)k->index, what, (long long)token, at, got, exact, off);
    return false;
}

/* What the cache holds is what the layer has attended to: exactly that from here on, but the new rows, which are the
 * last ones of `x`, must be there, rounded to the cache's type. */
static bool read_cached(struct check *k, bool is_key, int kv_head, int d, struct numbers x) {
    const sa_batch *b = &k->c->attention.batch;
    const int type = k->c->shape->attention.kv_type, bytes = element_bytes(type);
    const int64_t old = k->seq->n_k - k->seq->n_q;
    const struct element_rounding rounding = element_rounding(type);
    for (int64_t j = 0; j < k->seq->n_k; j++) {
        const char *row = is_key ? reference_k(b, k->cached, j, kv_head) : reference_v(b, k->cached, j, kv_head);
        double unit = 1;
        if (type == SA_I8)
            unit = element_value(SA_F32, is_key ? reference_k_scale(b, k->cached, j, kv_head)
                                                : reference_v_scale(b, k->cached, j, kv_head));
        for (int c = 0; c < d; c++) {
            const double got = unit * element_value(type, row + c * bytes), exact = x.at[j * d + c];
            const double rounded = type == SA_I8 ? 0.51 * unit : rounding.relative * fabs(exact) + rounding.absolute;
            const double off = rounded + DEVIATIONS * x.off[j * d + c];
            if (j >= old && !(fabs(got - exact) <= off))
                return wrong(k, is_key ? "cached key" : "cached value", j, c, got, exact, off);
            x.at[j * d + c] = got;
            x.off[j * d + c] = 0;
        }
    }
    return true;
}

static bool find_keys(struct check *k, int kv_head) {
    const struct layer_case *c = k->c;
    const int d = c->shape->attention.d_qk, d_v = c->shape->attention.d_v;
    const int64_t n = k->seq->n_q, old = k->seq->n_k - n;
    const struct numbers keys = {k->k.at + old * d, k->k.off + old * d};
    const struct numbers values = {k->v.at + old * d_v, k->v.off + old * d_v};
    project(k, 0, n, c->n_q + kv_head * d, d, keys);
    turn(k, 0, n, keys);
    project(k, 0, n, c->n_q + c->n_k + kv_head * d_v, d_v, values);
    return !c->shape->cached || (read_cached(k, true, kv_head, d, k->k) && read_cached(k, false, kv_head, d_v, k->v));
}

/* ---------------------------------------------------------------- attention */

/* Weights of the keys that a row sees, and their deviations behind them. */
static void weigh(const struct check *k, int64_t row) {
    const struct bench_shape *a = &k->c->shape->attention;
    const int64_t n = k->seq->n_k;
    const double scale = 1 / sqrt(a->d_qk);
    double *s = k->weights, *off = k->weights + n, most = -(double)INFINITY, l = 0;
    for (int64_t j = 0; j < n; j++) {
        double squares = 0, carried = 0;
        const double *key = k->k.at + j * a->d_qk, *key_off = k->k.off + j * a->d_qk;
        s[j] = 0;
        for (int c = 0; c < a->d_qk; c++) {
            const double product = k->q.at[c] * key[c], of_q = k->q.off[c] * key[c], of_k = k->q.at[c] * key_off[c];
            s[j] += scale * product;
            squares += product * product;
            carried += of_q * of_q + of_k * of_k;
        }
        off[j] = scale * sqrt(carried + U * U * (a->d_qk + 4) * squares);
        if (!bench_shape_sees(a, k->index, row, j))
            s[j] = -(double)INFINITY;
        most = fmax(most, s[j]);
    }
    for (int64_t j = 0; j < n; j++) {
        off[j] += s[j] > -(double)INFINITY ? U * (fabs(s[j] - most) + 6) : 0;
        s[j] = exp(s[j] - most);
        l += s[j];
    }
    for (int64_t j = 0; j < n; j++)
        s[j] /= l;
}

/* The chain is that of 256 keys, see bound.h. */
static void add_up(const struct check *k, struct numbers o) {
    const int d_v = k->c->shape->attention.d_v;
    const int64_t n = k->seq->n_k;
    const double *p = k->weights, *off = k->weights + n;
    for (int c = 0; c < d_v; c++) {
        double sum = 0, squares = 0, carried = 0;
        for (int64_t j = 0; j < n; j++)
            sum += p[j] * k->v.at[j * d_v + c];
        for (int64_t j = 0; j < n; j++) {
            const double v = k->v.at[j * d_v + c], of_p = p[j] * off[j] * (v - sum),
                         of_v = p[j] * k->v.off[j * d_v + c];
            squares += p[j] * v * p[j] * v;
            carried += of_p * of_p + of_v * of_v;
        }
        o.at[c] = sum;
        o.off[c] = sqrt(carried + U * U * (double)(n < 256 ? n : 256) * squares) + 96 * U * fabs(sum);
    }
}

/* All query heads of a kv head, for all rows. */
static bool attend(struct check *k, int kv_head) {
    const struct bench_shape *a = &k->c->shape->attention;
    const int group = a->heads / a->kv_heads;
    if (!find_keys(k, kv_head))
        return false;
    for (int h = kv_head * group; h < (kv_head + 1) * group; h++)
        for (int r = 0; r < k->n_rows; r++) {
            const int64_t at = ((int64_t)r * a->heads + h) * a->d_v;
            project(k, k->rows[r], 1, h * a->d_qk, a->d_qk, k->q);
            turn(k, k->rows[r], 1, k->q);
            weigh(k, k->rows[r]);
            add_up(k, (struct numbers){k->o.at + at, k->o.off + at});
        }
    return true;
}

/* ---------------------------------------------------------------- y */

static double y_of(const struct check *k, int64_t row, int i) {
    const struct layer_shape *shape = k->c->shape;
    const int64_t at = (k->first + row) * shape->d_model + i;
    return element_value(shape->y_type, k->c->y + at * element_bytes(shape->y_type));
}

/* Output i of row number r, times w_out; *off: how far off it may be. */
static double out(const struct check *k, int r, int i, double *off) {
    const struct layer_matrix *w = &k->c->w_out;
    const int type = k->c->shape->weight_type;
    const int64_t first = (int64_t)r * w->n_in;
    double sum = 0, squares = 0, carried = 0;
    for (int c = 0; c < w->n_in; c++) {
        const double weight = element_value(type, w->given + ((int64_t)i * w->n_in + c) * element_bytes(type));
        const double product = weight * k->o.at[first + c], of_o = weight * k->o.off[first + c];
        sum += product;
        squares += product * product;
        carried += of_o * of_o;
    }
    *off = sqrt(carried + U * U * (w->n_in + 1) * squares);
    return sum;
}

static bool compare_row(const struct check *k, int r, double *worst) {
    const struct layer_shape *shape = k->c->shape;
    const struct element_rounding rounding = element_rounding(shape->y_type);
    double signal = 0, noise = 0;
    for (int i = 0; i < shape->d_model; i++) {
        double off;
        const double exact = out(k, r, i, &off), got = y_of(k, k->rows[r], i), error = fabs(got - exact);
        const double may_be = DEVIATIONS * off + rounding.relative * fabs(exact) + rounding.absolute;
        if (!(error <= may_be))
            return wrong(k, "y", k->rows[r], i, got, exact, may_be);
        signal += exact * exact;
        noise += may_be * may_be;
        *worst = error > *worst * may_be ? error / may_be : *worst;
    }
    if (noise * 1e4 <= signal)
        return true;
    fprintf(stderr, "layer: %s: y may be off by %.2g of its size, too much to verify anything\n", shape->attention.name,
            sqrt(noise / signal));
    return false;
}

/* ---------------------------------------------------------------- one sequence */

static void choose_rows(struct check *k) {
    const int64_t n = k->seq->n_q, wanted[MOST_ROWS] = {0, n - 1, n / 2 + 1, n / 3};
    for (int i = 0; i < MOST_ROWS; i++) {
        bool is_new = wanted[i] < n;
        for (int r = 0; r < k->n_rows; r++)
            is_new = is_new && k->rows[r] != wanted[i];
        if (is_new)
            k->rows[k->n_rows++] = wanted[i];
    }
}

static bool compare(struct check *k, double *worst) {
    bool good = true;
    choose_rows(k);
    read_x(k);
    for (int h = 0; good && h < k->c->shape->attention.kv_heads; h++)
        good = attend(k, h);
    for (int r = 0; good && r < k->n_rows; r++)
        good = compare_row(k, r, worst);
    return good;
}

static bool check_sequence(const struct layer_case *c, int64_t index, double *worst) {
    struct check k = {.c = c, .seq = &c->shape->attention.seqs[index], .cached = &c->seqs[index], .index = index};
    for (int64_t i = 0; i < index; i++)
        k.first += c->shape->attention.seqs[i].n_q;
    bool good = open_numbers(&k);
    if (good)
        good = compare(&k, worst);
    else
        perror("layer");
    close_numbers(&k);
    return good;
}

static bool all_finite(const struct layer_case *c) {
    const int type = c->shape->y_type;
    for (int64_t i = 0; i < c->n_tokens * c->shape->d_model; i++)
        if (!isfinite(element_value(type, c->y + i * element_bytes(type)))) {
            fprintf(stderr, "layer: %s is WRONG: element %lld of y is no number\n", c->shape->attention.name,
                    (long long)i);
            return false;
        }
    return true;
}

double layer_verify(const struct layer_case *c, sa_engine *engine) {
    const int64_t last = c->shape->attention.n_seqs - 1;
    double worst = 0;
    memset(c->y, 0xff, (size_t)(c->n_tokens * c->shape->d_model * element_bytes(c->shape->y_type)));
    if (sa_layer_forward(engine, c->layer, &c->batch) != SA_OK) {
        fprintf(stderr, "layer: %s: %s\n", c->shape->attention.name, sa_last_reason());
        return -1;
    }
    const bool good = all_finite(c) && check_sequence(c, 0, &worst) && (last == 0 || check_sequence(c, last, &worst));
    return good ? worst : -1;
}
