/* SPDX-License-Identifier: MIT */
/* Scores of few rows by AMX, from keys in parts: 16 words of four times sixteen keys at a time, since a sum alone would
 * wait for itself, and copies, which are loaded when the next ones are made. Included by amx_f16.c. */
#ifndef SA_AMX_FEW_PARTS_H
#define SA_AMX_FEW_PARTS_H

enum { FEW_KEYS = 4 * SIDE };

/* Scores that have yet to be written: to[r][0 .. FEW_KEYS - 1]. */
struct few_scored {
    float *to; /* NULL: there are none */
    const float *factor;
    _Alignas(64) square sums[4];
};

static void write_scored(struct few_scored *scored, int n_rows) {
    for (int r = 0; r < n_rows && scored->to; r++)
        for (int x = 0; x < FEW_KEYS; x++)
            scored->to[r * SA_FEW_STRIDE + x] = scored->sums[x / SIDE][x % SIDE][r] * scored->factor[r];
    scored->to = NULL;
}

/* 16 words of each key, and the queries': where there are fewer words, copies with zeros behind them. Other queries,
 * and what stands behind the last one, come along: their sums are not looked at. */
struct few_step {
    const float *right[PARTS];
    ptrdiff_t right_stride; /* bytes */
    bool first, last;       /* of these keys */
    float *to;              /* of the last one, as in few_scored */
    const float *factor;
    _Alignas(64) parted left[4];
};

/* Queries from word c on. `rest`: for copies. */
static void open_step(struct few_step *step, const float *qt, int d, int c, square rest[PARTS]) {
    step->first = c == 0;
    step->last = c + SIDE >= d;
    step->right_stride = c + SIDE <= d ? W * WORD : ROW_BYTES;
    for (int part = 0; part < PARTS; part++)
        step->right[part] = c + SIDE <= d ? qt + (part * d + c) * W : rest[part][0];
}

/* Of sixteen keys. */
INLINE void part_keys(parted left, const char *key, ptrdiff_t stride, __mmask16 words, struct cursor *cursor) {
    for (int j = 0; j < SIDE; j++, key += stride) {
        if (j % 4 == 0)
            fetch_each(true, cursor);
        if (words == 0xffff)
            part_floats(v_of_f16(key), v_of_f16(key + ROW_BYTES / 2), left[0][j], left[SECOND][j]);
        else
            put_words(load_words(words, (const float *)(const void *)key), left, j);
    }
}

#define ADD_STRIP(i, of_key)                                                                                           \
    load(LEFT, step->left[i][of_key], ROW_BYTES);                                                                      \
    _tile_dpbf16ps(i, LEFT, RIGHT);
#define MULTIPLY(of_key, of_query)                                                                                     \
    if (i == number++) {                                                                                               \
        load(RIGHT, step->right[of_query], step->right_stride);                                                        \
        ADD_STRIP(0, of_key)                                                                                           \
        ADD_STRIP(1, of_key)                                                                                           \
        ADD_STRIP(2, of_key)                                                                                           \
        ADD_STRIP(3, of_key)                                                                                           \
    }

/* The product number i of parts, of four. */
INLINE void multiply_parts(const struct few_step *step, const int i) {
    int number = 0;
    if (i == 0 && step->first)
        clear_sums(4);
    EACH_SCORE_PRODUCT(MULTIPLY)
}
#undef MULTIPLY
#undef ADD_STRIP

static void end_step(const struct few_step *step, int n_rows, struct few_scored *scored) {
    write_scored(scored, n_rows);
    if (!step->last)
        return;
    store_sums(4, scored->sums);
    scored->to = step->to;
    scored->factor = step->factor;
}

static void add_step(const struct few_step *step, int n_rows, struct few_scored *scored) {
    UNROLL
    for (int i = 0; i < 4; i++)
        multiply_parts(step, i);
    end_step(step, n_rows, scored);
}

/* Keys are parted while those before are multiplied, sixteen by a product. */
static void part_step(struct few_step *step, const char *const *key, ptrdiff_t stride, int c, __mmask16 words,
                      const struct few_step *before, int n_rows, struct few_scored *scored, struct cursor *cursor) {
    UNROLL
    for (int i = 0; i < 4; i++) {
        part_keys(step->left[i], key[i * SIDE] + c * WORD, stride, words, cursor);
        if (before)
            multiply_parts(before, i);
    }
    if (before)
        end_step(before, n_rows, scored);
}

static void amx_few_scores(const float *qt, int n_rows, struct sa_pointed k, float *s) {
    _Alignas(64) square rest[PARTS];
    struct few_step steps[2], *step = &steps[0], *before = NULL;
    struct few_scored scored = {.to = NULL};
    struct cursor cursor = cursor_of(&k);
    amx_enter();
    const unsigned mode = v_begin_flushing(); /* of scores */
    for (int at = 0; at < k.n; at += k.turn) {
        const int end = k.n - at < k.turn ? k.n : at + k.turn;
        for (int i = 0; i < k.places; i++) {
            const float *own = qt + i * k.q_rows;
            if (before && k.q_rows && k.d % SIDE) { /* before the rest is another's */
                add_step(before, n_rows, &scored);
                before = NULL;
            }
            for (int part = 0; part < PARTS && k.d % SIDE && (at + i == 0 || k.q_rows); part++)
                copy_square(own + (part * k.d + k.d / SIDE * SIDE) * W, W, k.d % SIDE, first_words(n_rows), rest[part]);
            for (int j = at; j < end; j += FEW_KEYS) {
                set_near(&k, i, at, j, FEW_KEYS, &cursor);
                for (int c = 0; c < k.d; c += SIDE) {
                    open_step(step, own, k.d, c, rest);
                    step->to = s + i * SA_FEW_ROWS * SA_FEW_STRIDE + j;
                    step->factor = factors_of(own, k.d);
                    part_step(step, k.row + i * k.apart + j, k.stride, c, first_words(k.d - c), before, n_rows, &scored,
                              &cursor);
                    before = step;
                    step = step == &steps[0] ? &steps[1] : &steps[0];
                }
            }
        }
    }
    if (before)
        add_step(before, n_rows, &scored);
    write_scored(&scored, n_rows);
    v_end_flushing(mode);
}

#endif
