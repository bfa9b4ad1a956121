/* SPDX-License-Identifier: MIT */
/*
 * A block of keys at once, by AMX; included by amx_dots.h. Scores of two groups at a time, then the weights of one, and
 * beside these, if values are kept, the first FIRST_D dimensions of its values; then the other ones of both:
 *
 *     s      [2][256][16]  sums of k and q of two groups, each in a piece that registers are stored to row by row
 *     pairs  [2][128][16]  of their weights, in place of the first half of s; of two parts each, in place of all of it
 *     turned [d_v / 32][8][2][parts][16][16]  two times 16 dimensions of 32 keys in rows of 32 keys
 *
 * What costs here is not the products. s of all four groups is larger than the first-level cache, and to bring it there
 * again takes longer than to bring k and v a second time. A register is read 50 cycles after the last product that it
 * is a sum of at the earliest, so sums are stored when the next ones are under way. And after half a microsecond
 * without products AMX goes to sleep, from which it wakes in as long a time.
 */
#ifndef SA_AMX_BLOCK_H
#define SA_AMX_BLOCK_H

enum {
    GROUPS = 2, /* at a time */
    GROUP_FLOATS = SA_BLOCK_KEYS * SIDE,
    SQUARE_FLOATS = SIDE * SIDE,
    WEIGHT_FLOATS = PARTS * SQUARE_FLOATS /* of 32 keys */
};

/* Two groups, and the squares of SA_DOT_KEYS keys that they see any of. */
struct half {
    const struct sa_dots_block *b;
    int lane, begin, end; /* begin, end: keys */
    float *s;
};

static bool is_empty(const struct half *half) { return half->begin >= half->end; }

static struct half open_half(const struct sa_dots_block *b, int lane) {
    const struct sa_seen *seen = b->seen + lane / SIDE;
    struct half half = {b, lane, SA_BLOCK_KEYS, 0, b->s};
    if (!b->turned)
        half.s += lane / SIDE * GROUP_FLOATS; /* both are weighed before values are turned */
    for (int i = 0; i < GROUPS; i++)
        if (seen[i].begin < seen[i].end) {
            half.begin = smaller(half.begin, seen[i].begin / SA_DOT_KEYS * SA_DOT_KEYS);
            half.end = seen[i].end > half.end ? seen[i].end : half.end;
        }
    half.end = (half.end + SA_DOT_KEYS - 1) / SA_DOT_KEYS * SA_DOT_KEYS;
    return half;
}

/* ---------------------------------------------------------------- scores */

/* Sixteen keys to the sums i and j, while the sums of those before, x and y, are stored to `before`, if there were any.
 */
#define ADD_STEP(i, j, key, key_stride, right, right_stride, apart)                                                    \
    load_once(LEFT, key, key_stride);                                                                                  \
    load(RIGHT, right, right_stride);                                                                                  \
    _tile_dpbf16ps(i, LEFT, RIGHT);                                                                                    \
    load(RIGHT_2, (right) + (apart), right_stride);                                                                    \
    _tile_dpbf16ps(j, LEFT, RIGHT_2);
#define SCORE_KEYS(i, j, x, y)                                                                                         \
    _tile_zero(i);                                                                                                     \
    _tile_zero(j);                                                                                                     \
    for (int step = 0; step < job->steps; step++) {                                                                    \
        ADD_STEP(i, j, key + step * SIDE, stride * WORD, job->qt + step * SIDE * W, W * WORD, SIDE)                    \
        if (step == 0)                                                                                                 \
            STORE_TWO(x, y)                                                                                            \
    }                                                                                                                  \
    if (job->rest) {                                                                                                   \
        copy_square(key + job->steps * SIDE, stride, SIDE, first_words(job->rest), copy);                              \
        ADD_STEP(i, j, copy, ROW_BYTES, job->qt_rest[0][0][0], ROW_BYTES, SQUARE_FLOATS)                               \
        if (job->steps == 0)                                                                                           \
            STORE_TWO(x, y)                                                                                            \
    }
#define STORE_TWO(x, y)                                                                                                \
    if (before) {                                                                                                      \
        store(x, before, ROW_BYTES);                                                                                   \
        store(y, before + GROUP_FLOATS, ROW_BYTES);                                                                    \
    }

INLINE void score_even(const struct score_job *job, const float *key, ptrdiff_t stride, float *before) {
    _Alignas(64) square copy;
    SCORE_KEYS(0, 1, 2, 3)
}

INLINE void score_odd(const struct score_job *job, const float *key, ptrdiff_t stride, float *before) {
    _Alignas(64) square copy;
    SCORE_KEYS(2, 3, 0, 1)
}

/* Keys j .. j + 15 of the group of `lane`, of which some rows do not see some: those are hidden. */
static void hide(const struct sa_dots_block *b, int lane, int j, float *s) {
    struct sa_lane_keys keys = b->keys;
    if (keys.bits)
        keys.bits += lane * (SA_BLOCK_KEYS / 32);
    for (int i = 0; i < SIDE; i++, s += SIDE)
        v_store(s, v_select(visible(keys, lane, b->first_key + j + i), v_load(s), v_set1(-INFINITY)));
}

/* Sixteen keys from j on, four at a time. */
INLINE void add_bias(const float *const *rows, int j, float *s) {
    vmask hidden;
    for (int c = 0; c < SIDE; c += STRIP_COLUMNS) {
        strip low[STRIP_COLUMNS], high[STRIP_COLUMNS];
        strips_of_bias(rows, j + c, low);
        strips_of_bias(rows + STRIP_ROWS, j + c, high);
        UNROLL
        for (int i = 0; i < STRIP_COLUMNS; i++, s += SIDE)
            v_store(s, biased(v_load(s), part_of_column(&low[i], &high[i], 0), &hidden));
    }
}

INLINE void cap_strip(float softcap, float *s) {
    const struct softcap cap = softcap_for(softcap);
    for (int x = 0; x < SIDE; x++, s += SIDE)
        v_store(s, softcap_of(v_load(s), &cap));
}

INLINE void add_alibi(const struct sa_score_terms *terms, int lane, int j, float *s) {
    const vf slopes = v_load(terms->slopes + lane);
    const vi q_at = v_load_i(terms->q_at + lane);
    for (int x = 0; x < SIDE; x++, s += SIDE)
        v_store(s, v_fma(slopes, distance_of(q_at, v_set1_i(terms->k_at[j + x])), v_load(s)));
}

/* What happens to the scores of sixteen keys of the group of `lane`. */
static __attribute__((noinline)) void change_scores(const struct sa_score_terms *terms, int lane, int j, float *s) {
    if (terms->softcap > 0)
        cap_strip(terms->softcap, s);
    if (terms->slopes)
        add_alibi(terms, lane, j, s);
    if (terms->bias)
        add_bias(terms->bias + lane, j, s);
}

/* From sums to scores, of sixteen keys of both groups. */
static __attribute__((noinline)) void scale_strips(const struct half *half, int j) {
    const struct sa_dots_block *b = half->b;
    const unsigned mode = v_begin_flushing();
    for (int i = 0; i < GROUPS; i++) {
        const vf factor = v_load(factors_of(b->qt, b->k.d) + half->lane + i * SIDE);
        float *s = half->s + i * GROUP_FLOATS + j * SIDE;
        for (int x = 0; x < SIDE; x++, s += SIDE)
            v_store(s, v_load(s) * factor);
    }
    v_end_flushing(mode);
}

/* Without terms of sums: these are scaled when they become weights. */
INLINE void take_largest(const struct half *half, int j) {
    const struct sa_dots_block *b = half->b;
    if (b->terms)
        scale_strips(half, j);
    for (int i = 0; i < GROUPS; i++) {
        float *s = half->s + i * GROUP_FLOATS + j * SIDE;
        const int lane = half->lane + i * SIDE;
        const struct sa_seen *seen = b->seen + lane / SIDE;
        if (b->terms)
            change_scores(b->terms, lane, j, s);
        if (j < seen->all_begin || seen->all_end < j + SIDE)
            hide(b, lane, j, s);
        vf best = v_load(b->mb + lane);
        UNROLL
        for (int x = 0; x < SIDE; x++)
            best = v_max(best, v_load(s + x * SIDE));
        v_store(b->mb + lane, best);
    }
}

/* Sixteen keys at a time, so that sums are stored when the next ones are under way. */
INLINE void score_strips(const struct half *half, const struct score_job *job, int lines) {
    const struct sa_dots_block *b = half->b;
    float *before = NULL;
    for (int j = half->begin; j < half->end; j += SIDE) {
        const float *key = b->k.data + j * b->k.stride;
        if (j / SIDE % 2)
            score_odd(job, key, b->k.stride, before);
        else
            score_even(job, key, b->k.stride, before);
        fetch_run(next_run(b->ahead, lines));
        if (before)
            take_largest(half, j - SIDE);
        before = half->s + j * SIDE;
    }
    if (before) {
        store(2, before, ROW_BYTES); /* the last sixteen of a square */
        store(3, before + GROUP_FLOATS, ROW_BYTES);
        take_largest(half, half->end - SIDE);
    }
}

/* Products of these parts of two times sixteen keys to four sums: two of either sixteen. */
#define MULTIPLY_SQUARE(of_key, right, right_stride, apart)                                                            \
    load(LEFT, left[0][of_key], ROW_BYTES);                                                                            \
    load(RIGHT, right, right_stride);                                                                                  \
    _tile_dpbf16ps(0, LEFT, RIGHT);                                                                                    \
    load(RIGHT_2, (right) + (apart), right_stride);                                                                    \
    _tile_dpbf16ps(1, LEFT, RIGHT_2);                                                                                  \
    load(LEFT_2, left[1][of_key], ROW_BYTES);                                                                          \
    _tile_dpbf16ps(2, LEFT_2, RIGHT);                                                                                  \
    _tile_dpbf16ps(3, LEFT_2, RIGHT_2);

static void score_square(const struct score_job *job, const float *key, ptrdiff_t stride, float *s) {
    _Alignas(64) parted left[2];
    clear_sums(4);
    for (int step = 0; step < job->steps; step++, key += SIDE) {
        const float *qt = job->qt + step * SIDE * W;
        for (int i = 0; i < 2; i++)
            part_square(key + i * SIDE * stride, stride, SIDE, 0xffff, left[i]);
#define MULTIPLY(of_key, of_query) MULTIPLY_SQUARE(of_key, qt + (of_query)*job->d * W, W * WORD, SIDE)
        EACH_SCORE_PRODUCT(MULTIPLY)
#undef MULTIPLY
    }
    if (job->rest) {
        for (int i = 0; i < 2; i++)
            part_square(key + i * SIDE * stride, stride, SIDE, first_words(job->rest), left[i]);
#define MULTIPLY(of_key, of_query) MULTIPLY_SQUARE(of_key, job->qt_rest[of_query][0][0], ROW_BYTES, SQUARE_FLOATS)
        EACH_SCORE_PRODUCT(MULTIPLY)
#undef MULTIPLY
    }
    store(0, s, ROW_BYTES);
    store(1, s + GROUP_FLOATS, ROW_BYTES);
    store(2, s + SQUARE_FLOATS, ROW_BYTES);
    store(3, s + GROUP_FLOATS + SQUARE_FLOATS, ROW_BYTES);
}

/* In parts there is more to be added up, of 32 keys at a time. */
INLINE void score_squares(const struct half *half, const struct score_job *job, int lines) {
    const struct sa_dots_block *b = half->b;
    for (int j = half->begin; j < half->end; j += SA_DOT_KEYS) {
        score_square(job, b->k.data + j * b->k.stride, b->k.stride, half->s + j * SIDE);
        fetch_run(next_run(b->ahead, 2 * lines));
        if (j > half->begin)
            for (int i = 0; i < SA_DOT_KEYS; i += SIDE)
                take_largest(half, j - SA_DOT_KEYS + i);
    }
    for (int i = 0; i < SA_DOT_KEYS; i += SIDE)
        take_largest(half, half->end - SA_DOT_KEYS + i);
}

/* Maxima of sums times a positive factor are those of scores: rounding keeps the order. */
static __attribute__((noinline)) void scale_maxima(const struct half *half) {
    const struct sa_dots_block *b = half->b;
    const unsigned mode = v_begin_flushing();
    for (int i = 0; i < GROUPS; i++) {
        float *best = b->mb + half->lane + i * SIDE;
        v_store(best, v_load(best) * v_load(factors_of(b->qt, b->k.d) + half->lane + i * SIDE));
    }
    v_end_flushing(mode);
}

static void score_half(const struct half *half, int lines) {
    const struct sa_dots_block *b = half->b;
    struct score_job job;
    open_job(&job, b->qt + half->lane, GROUPS, b->k.d);
    if (PARTS == 1)
        score_strips(half, &job, lines);
    else
        score_squares(half, &job, lines);
    if (!b->terms)
        scale_maxima(half);
}

/* ---------------------------------------------------------------- sums of values
 * Products go on while what was added up before them is stored and added to o.
 */

/* Sums that stand in registers, of 16 dimensions of a group each. */
struct pending {
    const struct sa_dots_block *b; /* NULL: nothing does */
    struct {
        int lane, c;
    } of[4];
    _Alignas(64) square sums[4];
};

static void add_pending(struct pending *pending) {
    const struct sa_dots_block *b = pending->b;
    for (int i = 0; i < 4 && b; i++) {
        const int lane = pending->of[i].lane, c = pending->of[i].c;
        if (c < b->d_v)
            add_sums(pending->sums[i], smaller(b->d_v - c, SIDE), b->fresh ? NULL : b->alpha + lane,
                     b->state.o + c * W + lane);
    }
    pending->b = NULL;
}

static void finish_pending(struct pending *pending) {
    if (pending->b)
        store_sums(4, pending->sums);
    add_pending(pending);
}

#define BEGIN_SUM(i)                                                                                                   \
    if (pending->b)                                                                                                    \
        store(i, pending->sums[i], ROW_BYTES);                                                                         \
    _tile_zero(i);

/* ---------------------------------------------------------------- weights, and values with them */

/* A product that nobody wants, every 0.2 us or so: awake, AMX takes one of the two units that multiply floats away, but
 * to wake it costs more. */
INLINE void stay_awake(void) { _tile_dpbf16ps(RIGHT_2, LEFT, RIGHT); }

enum { AWAKE_SQUARES = 2, FIRST_D = 4 * SIDE };

/* Values that are kept, of which the first FIRST_D dimensions are multiplied beside the weights. */
struct beside {
    parted (*turned)[2]; /* NULL: none are */
    struct pending *pending;
    int d_v;
};

/* Sixteen dimensions from 16 i on; registers for a left operand take turns where it has one part. */
#define ADD_SIXTEEN(i, left)                                                                                           \
    if (begins) {                                                                                                      \
        BEGIN_SUM(i)                                                                                                   \
    }                                                                                                                  \
    if ((i)*SIDE < beside->d_v) {                                                                                      \
        parted *of = &beside->turned[(i) / 2 * MOST_SQUARES + j][(i) % 2];                                             \
        if (PARTS == 2) {                                                                                              \
            load_once(LEFT, (*of)[0], ROW_BYTES);                                                                      \
            _tile_dpbf16ps(i, LEFT, RIGHT_2);                                                                          \
            load_once(LEFT_2, (*of)[SECOND], ROW_BYTES);                                                               \
            _tile_dpbf16ps(i, LEFT_2, RIGHT);                                                                          \
            _tile_dpbf16ps(i, LEFT, RIGHT);                                                                            \
        } else {                                                                                                       \
            load_once(left, (*of)[0], ROW_BYTES);                                                                      \
            _tile_dpbf16ps(i, left, RIGHT);                                                                            \
        }                                                                                                              \
    }

/* Square j of values by the pairs of one group. */
INLINE void add_square(const struct beside *beside, int j, const float *pairs, bool begins) {
    struct pending *pending = beside->pending;
    load(RIGHT, pairs, ROW_BYTES);
    if (PARTS == 2)
        load(RIGHT_2, pairs + SQUARE_FLOATS, ROW_BYTES);
    ADD_SIXTEEN(0, LEFT)
    ADD_SIXTEEN(1, LEFT_2)
    ADD_SIXTEEN(2, LEFT)
    ADD_SIXTEEN(3, LEFT_2)
}

/* In place: sixteen are read before their eight pairs are written. */
INLINE void weigh_square(struct weighing *weighing, float *s, const vf *scale, int j) {
    if (PARTS == 2)
        weigh_parts(weighing, s + j * SA_DOT_KEYS * SIDE, SIDE, scale, 0, SA_DOT_KEYS);
    for (int k = 0; k < SA_DOT_KEYS && PARTS == 1; k += SA_SUM_KEYS)
        weigh_strip(weighing, s, SIDE, scale, j * SA_DOT_KEYS + k, s, SIDE);
}

/* Pairs are multiplied a square late, when they have got to where registers are loaded from. */
INLINE void weigh_all(const struct half *half, float *s, const vf *scale, const struct beside *at_once,
                      struct weighing *weighing) {
    const struct beside copy = *at_once, *const beside = &copy; /* not loaded again and again */
    const int first = half->begin / SA_DOT_KEYS, end = half->end / SA_DOT_KEYS;
    struct weighing now = *weighing;
    const unsigned mode = v_begin_flushing();
    for (int j = first; j < end; j++) {
        weigh_square(&now, s, scale, j);
        if (!beside->turned && j % AWAKE_SQUARES == 0)
            stay_awake();
        if (beside->turned && j > first)
            add_square(beside, j - 1, s + (j - 1) * WEIGHT_FLOATS, j - 1 == first);
    }
    if (beside->turned)
        add_square(beside, end - 1, s + (end - 1) * WEIGHT_FLOATS, end - 1 == first);
    weighing->sum = now.sum;
    v_end_flushing(mode);
}

static __attribute__((noinline)) void weigh_sums(const struct half *half, float *s, const float *factors,
                                                 const struct beside *beside, struct weighing *weighing) {
    const vf factor = v_load(factors);
    weigh_all(half, s, &factor, beside, weighing);
}

static __attribute__((noinline)) void weigh_scores(const struct half *half, float *s, const struct beside *beside,
                                                   struct weighing *weighing) {
    weigh_all(half, s, NULL, beside, weighing);
}

static void weigh_group(const struct half *half, int i, const struct beside *beside) {
    const struct sa_dots_block *b = half->b;
    const int lane = half->lane + i * SIDE;
    struct weighing weighing = begin_weights(b->mb + lane, b->state.m + lane);
    float *s = half->s + i * GROUP_FLOATS;
    if (b->terms)
        weigh_scores(half, s, beside, &weighing);
    else
        weigh_sums(half, s, factors_of(b->qt, b->k.d) + lane, beside, &weighing);
    end_weights(&weighing, b->state.m + lane, b->state.l + lane, b->alpha + lane);
    if (!beside->turned)
        return;
    add_pending(beside->pending);
    beside->pending->b = b;
    for (int n = 0; n < 4; n++) {
        beside->pending->of[n].lane = lane;
        beside->pending->of[n].c = n * SIDE;
    }
}

/* ---------------------------------------------------------------- values */

/* The dimensions from c on, and from c + 16 on, of the squares begin .. end. */
static void turn_pair(const struct sa_dots_block *b, int c, int begin, int end, int lines, parted (*to)[2]) {
    for (int j = begin; j < end; j++) {
        fetch_run(next_run(b->ahead, lines));
        for (int k = 0; k < 2; k++)
            if (c + k * SIDE < b->d_v)
                turn_values(b->v_rows + j * SA_DOT_KEYS, c + k * SIDE, b->d_v, to[j][k]);
            else
                memset(to[j][k], 0, sizeof to[j][k]);
    }
}

/* Two squares of dimensions by the pairs of two groups. */
INLINE void begin_values(parted *turned, const float *pairs, struct pending *pending) {
    if (PARTS == 2) {
        EACH_SUM(BEGIN_SUM)
        multiply_values(turned, true, pairs, SIDE, GROUP_FLOATS, true);
        return;
    }
    load_once(LEFT, turned[0], ROW_BYTES);
    load(RIGHT, pairs, ROW_BYTES);
    BEGIN_SUM(0)
    _tile_dpbf16ps(0, LEFT, RIGHT);
    load(RIGHT_2, pairs + GROUP_FLOATS, ROW_BYTES);
    BEGIN_SUM(1)
    _tile_dpbf16ps(1, LEFT, RIGHT_2);
    load_once(LEFT_2, turned[1], ROW_BYTES);
    BEGIN_SUM(2)
    _tile_dpbf16ps(2, LEFT_2, RIGHT);
    BEGIN_SUM(3)
    _tile_dpbf16ps(3, LEFT_2, RIGHT_2);
}

/* Sums i and 2 + i are dimensions from c on, and from c + 16 on, of group i. */
static void add_values(const struct half *half, int c, parted (*turned)[2], struct pending *pending) {
    const int first = half->begin / SA_DOT_KEYS, end = half->end / SA_DOT_KEYS;
    begin_values(turned[first], half->s + first * WEIGHT_FLOATS, pending);
    for (int j = first + 1; j < end; j++)
        multiply_values(turned[j], true, half->s + j * WEIGHT_FLOATS, SIDE, GROUP_FLOATS, true);
    add_pending(pending);
    pending->b = half->b;
    for (int i = 0; i < 4; i++) {
        pending->of[i].lane = half->lane + i % 2 * SIDE;
        pending->of[i].c = c + i / 2 * SIDE;
    }
}

/* ---------------------------------------------------------------- all of it */

/* What groups that see nothing have for o. */
static void clear_half(const struct half *half) {
    const struct sa_dots_block *b = half->b;
    for (int c = 0; c < b->d_v; c++)
        for (int i = 0; i < GROUPS; i++)
            v_store(b->state.o + c * W + half->lane + i * SIDE, v_set1(0.0f));
}

/* More at a time would have to wait for those before. */
static int lines_of_strips(const struct sa_dots_block *b) { return b->ahead->left / (2 * SA_BLOCK_KEYS / SIDE) + 1; }

/* False: it sees nothing. */
static bool weigh_half(const struct half *half, int lines, const struct beside *beside) {
    const struct sa_dots_block *b = half->b;
    if (is_empty(half) && b->fresh)
        clear_half(half);
    if (is_empty(half))
        return false;
    score_half(half, lines);
    for (int i = 0; i < GROUPS; i++)
        weigh_group(half, i, beside);
    return true;
}

/* With values that are kept, half by half. */
static void add_kept(const struct sa_dots_block *b) {
    const int lines = lines_of_strips(b);
    struct pending pending = {.b = NULL};
    parted(*const turned)[2] = b->turned;
    const struct beside beside = {turned, &pending, b->d_v};
    for (int c = 0; c < b->d_v && b->v_rows; c += 2 * SIDE)
        turn_pair(b, c, 0, b->n_values / SA_DOT_KEYS, 0, turned + c / (2 * SIDE) * MOST_SQUARES);
    for (int lane = 0; lane < W; lane += GROUPS * SIDE) {
        const struct half half = open_half(b, lane);
        if (!weigh_half(&half, lines, &beside))
            continue;
        for (int c = FIRST_D; c < b->d_v; c += 2 * SIDE)
            add_values(&half, c, turned + c / (2 * SIDE) * MOST_SQUARES, &pending);
        finish_pending(&pending);
    }
}

/* Dimensions by dimensions, which are turned for both halves. */
static void add_once(const struct sa_dots_block *b) {
    const int lines = lines_of_strips(b);
    parted(*const turned)[2] = b->scratch; /* stacks may be small */
    struct pending pending = {.b = NULL};
    const struct beside nothing = {NULL, NULL, 0};
    struct half half[2];
    int begin = SA_BLOCK_KEYS, end = 0;
    for (int i = 0; i < 2; i++) {
        half[i] = open_half(b, i * GROUPS * SIDE);
        weigh_half(&half[i], lines, &nothing);
        begin = smaller(begin, half[i].begin);
        end = end > half[i].end ? end : half[i].end;
    }
    const int turns = (b->d_v + 2 * SIDE - 1) / (2 * SIDE) * (end - begin) / SA_DOT_KEYS;
    const int rest = turns > 0 ? b->ahead->left / turns + 1 : 0;
    for (int c = 0; c < b->d_v; c += 2 * SIDE) {
        turn_pair(b, c, begin / SA_DOT_KEYS, end / SA_DOT_KEYS, rest, turned);
        for (int i = 0; i < 2; i++)
            if (!is_empty(&half[i]))
                add_values(&half[i], c, turned, &pending);
    }
    finish_pending(&pending);
}

static void amx_block(const struct sa_dots_block *b) {
    if (b->turned)
        add_kept(b);
    else
        add_once(b);
}

#endif
