/* SPDX-License-Identifier: MIT */
/* What is put into rows by their positions, in place: rotary embeddings, sinusoids, tables. */
#include <math.h>
#include <string.h>

#include "fpmode.h"
#include "turn.h"

enum { PIECE = 1024 }; /* elements converted at once; a head that is turned has its pairs in one */

/* ---------------------------------------------------------------- rows */

static bool too_far(int64_t position) { return position > SA_MAX_POSITION || position < -SA_MAX_POSITION; }

static sa_status check_positions(const sa_rows *r) {
    if (r->positions) {
        if (r->first_position != 0)
            return sa_refuse(SA_INVALID, "sa_rows.first_position is %lld beside positions",
                             (long long)r->first_position);
        for (int64_t t = 0; t < r->n_tokens; t++)
            if (too_far(r->positions[t]))
                return sa_refuse(SA_INVALID, "sa_rows.positions[%lld] is %d, beyond 2^30", (long long)t,
                                 (int)r->positions[t]);
    } else if (too_far(r->first_position) || (r->n_tokens > 0 && too_far(r->first_position + r->n_tokens - 1)))
        return sa_refuse(SA_INVALID, "sa_rows.first_position is %lld, beyond 2^30", (long long)r->first_position);
    return SA_OK;
}

static bool is_far(int64_t stride, int64_t n) {
    int64_t span;
    return __builtin_mul_overflow(stride, n, &span) || span > INT64_MAX / 16 || span < -(INT64_MAX / 16);
}

static sa_status take_rows(const sa_rows *rows, sa_rows *r) {
    sa_status status = sa_take_in(r, sizeof *r, rows, "sa_rows");
    if (status == SA_OK)
        status = sa_check_type(r->type, "sa_rows.type");
    if (status != SA_OK)
        return status;
    if (r->n_heads == 0)
        r->n_heads = 1;
    if (r->n_tokens < 0 || r->n_tokens > SA_MAX_TOKENS)
        return sa_refuse(SA_INVALID, "sa_rows.n_tokens is %lld", (long long)r->n_tokens);
    if (r->n_heads < 1 || r->n_heads > SA_MAX_WIDTH)
        return sa_refuse(SA_INVALID, "sa_rows.n_heads is %d", (int)r->n_heads);
    if (r->d < 1 || r->d > SA_MAX_WIDTH)
        return sa_refuse(SA_INVALID, "sa_rows.d is %d, expected 1 to %d", (int)r->d, SA_MAX_WIDTH);
    if (r->reserved != 0)
        return sa_refuse(SA_INVALID, "sa_rows.reserved is %d, expected 0", (int)r->reserved);
    if (r->token_stride == 0)
        r->token_stride = (int64_t)r->n_heads * r->d;
    if (r->head_stride == 0)
        r->head_stride = r->d;
    if (is_far(r->token_stride, r->n_tokens) || is_far(r->head_stride, r->n_heads))
        return sa_refuse(SA_INVALID, "sa_rows: its strides reach beyond memory");
    if (r->n_tokens && !r->data)
        return sa_refuse(SA_INVALID, "sa_rows.data is NULL");
    if ((uintptr_t)r->data % sa_bytes_of(r->type))
        return sa_refuse(SA_INVALID, "sa_rows.data is not aligned to its elements");
    return check_positions(r);
}

static int64_t position_of(const sa_rows *r, int64_t t) {
    return r->positions ? r->positions[t] : r->first_position + t;
}

static void *head_of(const sa_rows *r, int64_t t, int h) {
    return (char *)r->data + (t * r->token_stride + h * r->head_stride) * (int64_t)sa_bytes_of(r->type);
}

/* ---------------------------------------------------------------- rotary embeddings */

static void turn_rows(const struct sa_turn *turn, const sa_rows *r) {
    struct sa_turn_at at;
    float head[SA_MAX_ROTARY];
    const int n = 2 * turn->n_pairs;
    for (int64_t t = 0; t < r->n_tokens; t++) {
        sa_turn_to(turn, position_of(r, t), &at);
        for (int h = 0; h < r->n_heads; h++) {
            sa_elements_read(head, head_of(r, t, h), r->type, n);
            sa_turn_head(turn, &at, head);
            sa_elements_write(head_of(r, t, h), head, r->type, n);
        }
    }
}

sa_status sa_rope_apply(const sa_rope *rope, const sa_rows *rows) {
    struct sa_turn turn;
    sa_rows own;
    uint64_t mode = sa_fpmode_enter();
    sa_status status = take_rows(rows, &own);
    if (status == SA_OK)
        status = sa_turn_make(&turn, rope, own.d);
    if (status == SA_OK)
        turn_rows(&turn, &own);
    sa_fpmode_leave(mode);
    return status;
}

/* ---------------------------------------------------------------- what is added */

/* Adds n numbers to the elements c .. of every head of a token. */
static void add(const sa_rows *r, int64_t t, int c, const float *numbers, int n) {
    float old[PIECE];
    for (int h = 0; h < r->n_heads; h++) {
        void *at = (char *)head_of(r, t, h) + (size_t)c * sa_bytes_of(r->type);
        sa_elements_read(old, at, r->type, n);
        for (int i = 0; i < n; i++)
            old[i] += numbers[i];
        sa_elements_write(at, old, r->type, n);
    }
}

static int piece_at(const sa_rows *r, int c) { return r->d - c < PIECE ? r->d - c : PIECE; }

static void add_sinusoids(double base, const sa_rows *r) {
    float numbers[PIECE];
    for (int c = 0; c < r->d; c += PIECE) {
        double frequencies[PIECE];
        const int n = piece_at(r, c);
        for (int i = 0; i < n; i++)
            frequencies[i] = pow(base, -(double)((c + i) / 2 * 2) / r->d);
        for (int64_t t = 0; t < r->n_tokens; t++) {
            const double position = (double)position_of(r, t);
            for (int i = 0; i < n; i++)
                numbers[i] = (float)((c + i) % 2 ? cos(position * frequencies[i]) : sin(position * frequencies[i]));
            add(r, t, c, numbers, n);
        }
    }
}

sa_status sa_sinusoids_add(double base, const sa_rows *rows) {
    sa_rows own;
    if (base == 0)
        base = 10000;
    if (!isgreater(base, 1.0) || !isfinite(base)) /* NaN raises no flag */
        return sa_refuse(SA_INVALID, "base is %g, expected more than 1", base);
    uint64_t mode = sa_fpmode_enter();
    sa_status status = take_rows(rows, &own);
    if (status == SA_OK)
        add_sinusoids(base, &own);
    sa_fpmode_leave(mode);
    return status;
}

static sa_status take_table(const sa_position_table *table, const sa_rows *r, sa_position_table *own) {
    sa_status status = sa_take_in(own, sizeof *own, table, "sa_position_table");
    if (status == SA_OK)
        status = sa_check_type(own->type, "sa_position_table.type");
    if (status != SA_OK)
        return status;
    if (own->stride == 0)
        own->stride = r->d;
    if (own->n_positions < 0 || is_far(own->stride, own->n_positions))
        return sa_refuse(SA_INVALID, "sa_position_table.n_positions is %lld, stride %lld", (long long)own->n_positions,
                         (long long)own->stride);
    if (own->reserved != 0)
        return sa_refuse(SA_INVALID, "sa_position_table.reserved is %d, expected 0", (int)own->reserved);
    if (own->n_positions && !own->data)
        return sa_refuse(SA_INVALID, "sa_position_table.data is NULL");
    if ((uintptr_t)own->data % sa_bytes_of(own->type))
        return sa_refuse(SA_INVALID, "sa_position_table.data is not aligned to its elements");
    for (int64_t t = 0; t < r->n_tokens; t++)
        if (position_of(r, t) < 0 || position_of(r, t) >= own->n_positions)
            return sa_refuse(SA_INVALID, "token %lld stands at position %lld, the table has %lld", (long long)t,
                             (long long)position_of(r, t), (long long)own->n_positions);
    return SA_OK;
}

static void add_table(const sa_position_table *table, const sa_rows *r) {
    float numbers[PIECE];
    const int64_t bytes = (int64_t)sa_bytes_of(table->type);
    for (int64_t t = 0; t < r->n_tokens; t++) {
        const char *row = (const char *)table->data + position_of(r, t) * table->stride * bytes;
        for (int c = 0; c < r->d; c += PIECE) {
            sa_elements_read(numbers, row + c * bytes, table->type, piece_at(r, c));
            add(r, t, c, numbers, piece_at(r, c));
        }
    }
}

sa_status sa_positions_add(const sa_position_table *table, const sa_rows *rows) {
    sa_position_table own;
    sa_rows own_rows;
    uint64_t mode = sa_fpmode_enter();
    sa_status status = take_rows(rows, &own_rows);
    if (status == SA_OK)
        status = take_table(table, &own_rows, &own);
    if (status == SA_OK)
        add_table(&own, &own_rows);
    sa_fpmode_leave(mode);
    return status;
}
