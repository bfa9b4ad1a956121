/* SPDX-License-Identifier: MIT */
#include "products.h"

#include <string.h>

#include "blas.h"

/* ---------------------------------------------------------------- cutting */

/* Every piece packs its rows and its weights anew, so pieces are large; and there are some for every thread. The first
 * and last columns of a piece may be computed in another way than the others, so columns are cut whatever the rows and
 * the threads are. */
enum { MOST_ROWS = 4608, FEWEST_ROWS = 120, MOST_COLUMNS = 1024, PIECES_A_THREAD = 6 };

/* Row by row the weights are not packed, and are read the faster the more of them follow each other. */
enum { MOST_COLUMNS_BY_ROWS = 2048 };

static int64_t over(int64_t n, int64_t d) { return (n + d - 1) / d; }

static int least(int64_t a, int b) { return a < b ? (int)a : b; }

static int cut_columns(int n_out, int most) { return (int)over(over(n_out, over(n_out, most)), 64) * 64; }

static int64_t n_across(int n_out, int most) { return n_out ? over(n_out, cut_columns(n_out, most)) : 0; }

int sa_cut_choose(int64_t n_rows, const struct sa_weights *const *weights, int n_weights, int n_threads) {
    int64_t across = 0;
    int rows = MOST_ROWS;
    for (int i = 0; i < n_weights; i++)
        across += n_across(weights[i]->n_out, MOST_COLUMNS);
    n_rows = n_rows ? n_rows : 1;
    while (over(n_rows, rows) * across < (int64_t)PIECES_A_THREAD * n_threads && rows > FEWEST_ROWS && n_threads > 1)
        rows /= 2;
    return (int)sa_padded(over(n_rows, over(n_rows, rows))); /* all alike */
}

/* ---------------------------------------------------------------- operands */

static int64_t stage_begin(const struct sa_operand *o, int cut_rows) {
    return sa_stage_begin(o->in_place, o->strip.n_rows, cut_rows);
}

int64_t sa_operand_stage_floats(const struct sa_operand *o, int cut_rows) {
    return (sa_padded(o->strip.n_rows) - stage_begin(o, cut_rows)) * o->stage_stride;
}

void sa_operand_fill(const struct sa_operand *o, int64_t begin, int64_t end, int cut_rows) {
    const int64_t first = stage_begin(o, cut_rows);
    if (begin < first)
        begin = first;
    if (begin < end)
        sa_strip_read(&o->strip, begin, end, o->stage + (begin - first) * o->stage_stride, o->stage_stride);
}

/* ---------------------------------------------------------------- one piece */

struct piece {
    const struct sa_product *product;
    int64_t row;
    int column, n_rows, n_columns;
};

static void set_rows(struct sa_blas_product *p, const struct sa_operand *o, int64_t row, int cut_rows) {
    const bool staged = row >= stage_begin(o, cut_rows);
    const int64_t stride = staged ? o->stage_stride : o->place_stride;
    const float *place = (const float *)(const void *)o->strip.pieces[sa_piece_of(&o->strip, 0)].data;
    p->a = staged ? o->stage + (row - stage_begin(o, cut_rows)) * stride : place + row * stride;
    p->a_stride = (int)stride;
}

static void set_weights(struct sa_blas_product *p, const struct piece *piece, float *scratch) {
    const struct sa_weights *w = piece->product->weights;
    const int n_rows = w->turned ? piece->n_columns : w->n_in, n = w->turned ? w->n_in : piece->n_columns;
    const int64_t bytes = (int64_t)sa_bytes_of(w->type);
    const char *from = (const char *)w->data + (w->turned ? piece->column * w->stride : piece->column) * bytes;
    p->turned = w->turned;
    p->b = (const float *)(const void *)from;
    p->b_stride = (int)w->stride;
    if (w->type == SA_F32)
        return;
    for (int r = 0; r < n_rows; r++)
        sa_elements_read(scratch + (int64_t)r * n, from + r * w->stride * bytes, w->type, n);
    p->b = scratch;
    p->b_stride = n;
}

static void set_bias(const struct sa_blas_product *p, const float *bias) {
    for (int r = 0; r < p->m; r++)
        memcpy(p->c + (int64_t)r * p->c_stride, bias, (size_t)p->n * sizeof *bias);
}

/* Does the piece go where the caller wants it at once? */
static bool goes_in_place(const struct piece *piece, int cut_rows) {
    const struct sa_product *product = piece->product;
    return product->deliver && piece->row < sa_stage_begin(true, product->deliver->n_rows, cut_rows) &&
           product->in_place;
}

static void set_result(struct sa_blas_product *p, const struct piece *piece, int cut_rows) {
    const struct sa_product *product = piece->product;
    const struct sa_strip *deliver = product->deliver;
    if (goes_in_place(piece, cut_rows)) {
        p->c = (float *)(void *)deliver->pieces[sa_piece_of(deliver, 0)].data + piece->row * product->place_stride;
        p->c_stride = (int)product->place_stride;
    } else {
        const int64_t first = deliver ? sa_stage_begin(product->in_place, deliver->n_rows, cut_rows) : 0;
        p->c = product->to + (piece->row - first) * product->to_stride;
        p->c_stride = (int)product->to_stride;
    }
    p->c += piece->column;
}

/* BLAS copies the weights of a product of matrices, which takes longer than to compute a few rows one by one. */
enum { FEW_ROWS = 6 };

bool sa_products_by_rows(int64_t n_rows) { return n_rows <= FEW_ROWS; }

static void compute(const struct sa_products *products, const struct piece *piece, int worker) {
    const struct sa_weights *w = piece->product->weights;
    const int cut_rows = products->cut_rows;
    struct sa_blas_product p = {.m = piece->n_rows, .n = piece->n_columns, .k = w->n_in, .add = w->bias != NULL};
    set_rows(&p, piece->product->rows, piece->row, cut_rows);
    set_weights(&p, piece, products->scratch ? products->scratch + worker * products->scratch_floats : NULL);
    set_result(&p, piece, cut_rows);
    p.by_rows = piece->product->by_rows > 0;
    if (p.by_rows)
        p.m = piece->product->by_rows;
    if (w->bias)
        set_bias(&p, w->bias + piece->column);
    sa_blas_multiply(&p);
    if (piece->product->deliver && !goes_in_place(piece, cut_rows))
        sa_strip_write(piece->product->deliver, piece->row, piece->row + p.m, piece->column, p.n, p.c, p.c_stride);
}

/* ---------------------------------------------------------------- all of them */

static int64_t n_rows_of(const struct sa_product *product) { return sa_padded(product->rows->strip.n_rows); }

/* What is converted for a product has room for fewer columns. */
static int most_columns(const struct sa_product *product) {
    return product->by_rows && product->weights->type == SA_F32 ? MOST_COLUMNS_BY_ROWS : MOST_COLUMNS;
}

static int64_t n_pieces(const struct sa_product *product, int cut_rows) {
    return over(n_rows_of(product), cut_rows) * n_across(product->weights->n_out, most_columns(product));
}

/* The columns of some rows follow each other, so that threads share the rows. */
static void run_item(void *argument, int64_t item, int32_t worker) {
    const struct sa_products *products = argument;
    const int cut_rows = products->cut_rows;
    const struct sa_product *product = products->product;
    for (; item >= n_pieces(product, cut_rows); product++)
        item -= n_pieces(product, cut_rows);
    const int64_t across = n_across(product->weights->n_out, most_columns(product));
    const int columns = cut_columns(product->weights->n_out, most_columns(product));
    struct piece piece = {.product = product, .row = item / across * cut_rows};
    piece.column = (int)(item % across) * columns;
    piece.n_rows = least(n_rows_of(product) - piece.row, cut_rows);
    piece.n_columns = least(product->weights->n_out - piece.column, columns);
    compute(products, &piece, worker);
}

int64_t sa_products_scratch(const struct sa_weights *w) {
    return w->data && w->type != SA_F32 ? (int64_t)w->n_in * least(w->n_out, cut_columns(w->n_out, MOST_COLUMNS)) : 0;
}

/* Multiplications and additions in a second, about: decides only whether it is worth handing over. */
#define RATE 40e9

sa_status sa_products_run(sa_engine *engine, struct sa_products *products) {
    int64_t n = 0;
    double work = 0;
    for (int i = 0; i < products->n; i++) {
        const struct sa_product *product = &products->product[i];
        n += n_pieces(product, products->cut_rows);
        work += 2.0 * (double)n_rows_of(product) * product->weights->n_in * product->weights->n_out;
    }
    if (n == 0)
        return SA_OK;
    sa_blas_enter();
    sa_status status = sa_engine_run(engine, n, work / RATE, run_item, products);
    sa_blas_leave();
    return status;
}
