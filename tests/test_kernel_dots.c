/* SPDX-License-Identifier: MIT */
/* Products of pairs of bf16, bit for bit as the contract says (sa_dots in kernels.h): with VDPBF16PS two multiply-adds
 * each, the second elements first, with AMX sixteen first and sixteen second elements apart; subnormal numbers as
 * zeros; and of pairs of f16, as sums of two bf16. Neither a row nor the list of their addresses is read beyond its
 * end.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <sa/sa.h>

#include "abreast.h"
#include "cpu.h"
#include "elements.h"
#include "fenced.h"
#include "kernels/kernels.h"
#include "rows_ahead.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { MAX_D = 576, MAX_KEYS = SA_BLOCK_KEYS, MAX_PAIRS = MAX_KEYS / 2, W = SA_TILE_ROWS, MAX_PLACES = 4 };

static const int counts[] = {1, 2, 3, 4, 5, 7, 8, 13, 64, 128}, dims[] = {1, 2, 3, 4, 5, 8, 15, 16, 17, 40, 64, 288};
enum { N_COUNTS = sizeof counts / sizeof counts[0], N_DIMS = sizeof dims / sizeof dims[0] };

/* A Check loop over the dots that there are, each in a process of its own; NULL, said aloud: this machine lacks them.
 */
static const struct {
    int isa, type;
} kinds[] = {{SA_ISA_AVX512_BF16, SA_BF16}, {SA_ISA_AMX_BF16, SA_BF16}, {SA_ISA_AMX_BF16, SA_F16}};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

static int isa, type, parts;
static const struct sa_dots *dots;

static const struct sa_kernels *kernels_with_dots(int kind) {
    isa = kinds[kind].isa;
    type = kinds[kind].type;
    const struct sa_cpu_choice choice = sa_cpu_choose(isa, 0, true);
    if (choice.kernels->isa != isa) {
        printf("skipped: this machine lacks %s\n", sa_isa_name(isa));
        return NULL;
    }
    dots = type == SA_F16 ? choice.kernels->dots_f16 : choice.kernels->dots;
    parts = dots->parts;
    return choice.kernels;
}

static void enter(const struct sa_kernels *kernels) {
    if (kernels && dots->enter)
        dots->enter();
}

static void leave(const struct sa_kernels *kernels) {
    if (kernels && dots->leave)
        dots->leave();
}

static _Alignas(64) float qt[(MAX_D + 1) * W], s[MAX_KEYS * W], before[MAX_KEYS * W], o[MAX_D * W], o_before[MAX_D * W],
    mb[W], alpha[W];

/* ---------------------------------------------------------------- as the manual has it */

static float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }

static float half_of(float pair, int i) { return float_of(i ? bits_of(pair) & 0xffff0000u : bits_of(pair) << 16); }

static float pair_of(uint16_t first, uint16_t second) { return float_of((uint32_t)second << 16 | first); }

static float dot_of_manual(float a, float b, float sum) {
    for (int i = 1; i >= 0; i--)
        sum = flushed(fmaf(flushed(half_of(a, i)), flushed(half_of(b, i)), flushed(sum)));
    return sum;
}

#if defined(TEST_AVX512_IS_EMULATED) || !defined(__x86_64__)
#define dot dot_of_manual
#else
/* The instruction itself, should a processor differ from the manual: what is tested is what the kernels make of it. */
__attribute__((target("avx512f,avx512bf16"))) static float dot(float a, float b, float sum) {
    const __m512bh x = (__m512bh)_mm512_castps_si512(_mm512_set1_ps(a));
    const __m512bh y = (__m512bh)_mm512_castps_si512(_mm512_set1_ps(b));
    return _mm512_cvtss_f32(_mm512_dpbf16_ps(_mm512_set1_ps(sum), x, y));
}
#endif

/* A part of both elements of a word, as a word; what is more than one part is f16. */
static float part_of(float word, int part) {
    uint32_t bits[2];
    if (parts == 1)
        return word;
    for (int k = 0; k < 2; k++) {
        const uint16_t half = (uint16_t)(bits_of(word) >> 16 * k);
        const float x = (float)element_value(SA_F16, &half), first = float_of(bits_of(x) & 0xffff0000u);
        bits[k] = bits_of(part ? x - first : first) >> 16;
    }
    return float_of(bits[1] << 16 | bits[0]);
}

/* Words of queries or weights: pair i's part at at[i * step + part * apart], of weights in squares of sixteen. */
struct words {
    const float *at;
    ptrdiff_t step, apart;
    bool squares;
};

static float word_at(struct words a, int i, int part) {
    return a.at[(a.squares ? i / 16 * 16 * parts + i % 16 : i) * a.step + part * a.apart];
}

static struct words queries_of(int lane, int d) { return (struct words){qt + lane, W, (ptrdiff_t)d * W, false}; }

static struct words weights_of(const float *at, ptrdiff_t step) { return (struct words){at, step, 16 * step, true}; }

/* Which parts meet, the last ones last: of keys and of queries, of values and of weights. */
static const int of_scores[][2] = {{1, 1}, {1, 0}, {0, 1}, {0, 0}}, of_values[][2] = {{0, 1}, {1, 0}, {0, 0}};
enum { N_OF_SCORES = 4, N_OF_VALUES = 3 };

/* The sum of n products goes on from `sum`: pairs first .. first + n - 1 of a by b[i * b_step]. AMX adds them up
 * sixteen by sixteen. */
static float chain(int n, struct words a, const float *b, ptrdiff_t b_step, int first, float sum, bool scores) {
    const int(*meet)[2] = scores ? of_scores : of_values;
    const int n_meet = scores ? N_OF_SCORES : N_OF_VALUES;
    for (int i = 0, end; i < n; i = end) {
        end = isa == SA_ISA_AMX_BF16 ? i + 16 - (first + i) % 16 : i + 1;
        end = end < n ? end : n;
        if (isa != SA_ISA_AMX_BF16) {
            sum = dot(word_at(a, first + i, 0), b[i * b_step], sum);
            continue;
        }
        for (int x = parts == 1 ? n_meet - 1 : 0; x < n_meet; x++) {
            float part[2] = {0, 0};
            for (int j = i; j < end; j++)
                for (int k = 0; k < 2; k++)
                    part[k] = flushed(fmaf(flushed(half_of(word_at(a, first + j, meet[x][1]), k)),
                                           flushed(half_of(part_of(b[j * b_step], meet[x][0]), k)), part[k]));
            sum = flushed(sum + flushed(part[0] + part[1]));
        }
    }
    return sum;
}

/* A score, from its sum: AMX's are flushed as what it adds up is. */
static float scaled(float sum, float factor) { return isa == SA_ISA_AMX_BF16 ? flushed(sum * factor) : sum * factor; }

/* Not a promise of the library's, hence no failure: it is said aloud. */
static void compare_with_manual(struct dice *dice) {
    int n_other = 0;
    for (int i = 0; i < 10000; i++) {
        float pair[2], sum = roll_unit(dice);
        for (int k = 0; k < 2; k++)
            pair[k] = pair_of((uint16_t)(bits_of(roll_unit(dice)) >> 16), (uint16_t)(bits_of(roll_unit(dice)) >> 16));
        n_other += bits_of(dot(pair[0], pair[1], sum)) != bits_of(dot_of_manual(pair[0], pair[1], sum));
    }
    if (n_other)
        printf("this processor adds up pairs otherwise than Intel's manual says, in %d of 10000 cases\n", n_other);
}

/* ---------------------------------------------------------------- numbers */

/* Mostly between -1 and 1, some subnormal, some zeros. */
static float roll_number(struct dice *dice) {
    const float x = roll_unit(dice);
    return roll_one_in(dice, 16) ? x * 0x1p-126f : roll_one_in(dice, 16) ? x * 0.0f : x;
}

static void roll_numbers(struct dice *dice, float *to, int n) {
    for (int i = 0; i < n; i++)
        to[i] = roll_number(dice);
}

/* Of f16 some are subnormal as well. */
static float roll_element(struct dice *dice, int of_type) {
    return of_type == SA_F16 && roll_one_in(dice, 16) ? roll_unit(dice) * 0x1p-14f : roll_number(dice);
}

static float roll_pair_of(struct dice *dice, int of_type) {
    uint16_t half[2];
    for (int i = 0; i < 2; i++)
        element_store(of_type, (double)roll_element(dice, of_type), &half[i]);
    return pair_of(half[0], half[1]);
}

/* Of k or v. */
static void roll_pairs(struct dice *dice, float *to, int n) {
    for (int i = 0; i < n; i++)
        to[i] = roll_pair_of(dice, type);
}

/* Of queries or weights, in parts, whatever these are parts of. */
static void roll_parts(struct dice *dice, float *to, int n) {
    for (int i = 0; i < n; i++)
        to[i] = roll_pair_of(dice, SA_BF16);
}

/* Queries of d words and their factors. */
static void roll_queries(struct dice *dice, int d) {
    roll_parts(dice, qt, parts * d * W);
    roll_numbers(dice, qt + parts * d * W, W);
}

/* ---------------------------------------------------------------- v */

/* Pairs as a kernel wants them: rows of words, or rows of keys that end at a fence, and a list of these. */
struct values {
    struct fenced memory;
    const char *row[MAX_KEYS];
};

static struct sa_rows values_of(struct values *values, struct sa_rows words) {
    if (dots->pair_rows)
        return words;
    uint16_t *at = (uint16_t *)(void *)values->memory.end;
    for (int j = words.n - 1; j >= 0; j--)
        for (int i = 1; i >= 0; i--) {
            at -= words.d;
            for (int c = 0; c < words.d; c++)
                at[c] = (uint16_t)(bits_of(words.data[j * words.stride + c]) >> 16 * i);
            values->row[2 * j + i] = (const char *)at;
        }
    return sa_listed_rows(values->row, words.n, words.d);
}

static struct values values_map(void) {
    struct values values;
    values.memory = fenced_map(MAX_PAIRS * MAX_D);
    return values;
}

/* ---------------------------------------------------------------- what makes pairs */

START_TEST(queries_become_pairs) {
    const struct sa_kernels *kernels = kernels_with_dots(_i);
    struct dice dice = {1};
    struct fenced memory = fenced_map(W * MAX_D / 2);
    const char *rows[W];
    for (int i = 0; kernels && i < N_DIMS; i++) {
        const int d = 2 * dims[i], n_rows = (int)roll_between(&dice, 1, W);
        for (int r = 0; r < n_rows; r++) {
            char *row = (char *)memory.end - (r + 1) * d * 2 - r % 3 * 2; /* of any alignment, the first at the end */
            for (int c = 0; c < d; c++) {
                const uint16_t any = (uint16_t)roll(&dice);
                memcpy(row + 2 * c, &any, sizeof any);
            }
            rows[r] = row;
        }
        dots->pack(rows, n_rows, d, 0.3f, qt);
        for (int r = 0; r < n_rows; r++) {
            must(qt[parts * d / 2 * W + r] == 0.3f, "the factor of row %d", r);
            for (int c = 0; c < parts * d / 2; c++) {
                float word;
                memcpy(&word, rows[r] + c % (d / 2) * 4, sizeof word);
                word = part_of(word, c / (d / 2));
                for (int k = 0; k < 2; k++)
                    must(same_float(half_of(qt[c * W + r], k), half_of(word, k)), "q %d of row %d", c, r);
            }
        }
    }
    fenced_unmap(&memory);
}
END_TEST

/* Any bits, two of them infinite at times. */
START_TEST(rows_become_pairs) {
    const struct sa_kernels *kernels = kernels_with_dots(_i);
    struct dice dice = {3};
    struct fenced memory = fenced_map(6 * MAX_D);
    static float to[3 * (MAX_D + 16)];
    for (int i = 0; kernels && dots->pair_rows && i < N_DIMS; i++) {
        const int d = dims[i];
        uint16_t *all = (uint16_t *)(void *)memory.end - 6 * d;
        const char *rows[6];
        for (int c = 0; c < 6 * d; c++)
            all[c] = (uint16_t)roll(&dice);
        for (int j = 0; j < 6; j++)
            rows[j] = (const char *)(all + (j * 5 % 6) * d);
        dots->pair_rows(rows, 3, d, to, d + 16);
        for (int j = 0; j < 3; j++)
            for (int c = 0; c < d; c++) {
                uint16_t half[2];
                memcpy(&half[0], rows[2 * j] + 2 * c, 2);
                memcpy(&half[1], rows[2 * j + 1] + 2 * c, 2);
                must(bits_of(to[j * (d + 16) + c]) == bits_of(pair_of(half[0], half[1])), "element %d of pair %d", c,
                     j);
            }
    }
    fenced_unmap(&memory);
}
END_TEST

START_TEST(what_is_not_finite_is_found) {
    const struct sa_kernels *kernels = kernels_with_dots(_i);
    static const uint16_t bad_bf16[] = {0x7f80, 0xff80, 0x7fc0, 0xff81}, bad_f16[] = {0x7c00, 0xfc00, 0x7e00, 0xfc01};
    struct dice dice = {4};
    struct fenced memory = fenced_map(4 * MAX_D);
    struct values values = values_map();
    for (int i = 0; kernels && i < N_DIMS; i++)
        for (int at = 0; at < 4 * dims[i]; at++) {
            float *first = memory.end - 4 * dims[i];
            const struct sa_rows rows = {first, dims[i], 4, dims[i], NULL};
            roll_pairs(&dice, first, 4 * dims[i]);
            must(dots->pairs.finite(values_of(&values, rows)), "all are finite");
            const uint16_t *one = &(type == SA_F16 ? bad_f16 : bad_bf16)[roll(&dice) % 4];
            const uint16_t other = type == SA_F16 ? 0x7bff : 0x7f7f;
            first[at] = roll_one_in(&dice, 2) ? pair_of(*one, other) : pair_of(other, *one);
            must(!dots->pairs.finite(values_of(&values, rows)), "%#x at %d of 4 x %d", *one, at, dims[i]);
        }
    fenced_unmap(&memory);
    fenced_unmap(&values.memory);
}
END_TEST

/* ---------------------------------------------------------------- queries in the lanes */

static void check_scores(struct sa_rows k, int g0, int g1) {
    struct sa_ahead ahead = ahead_of(k);
    for (int r = 0; r < W; r++)
        mb[r] = -INFINITY;
    memcpy(s, before, sizeof s);
    dots->pairs.scores(qt, g0, g1, k, s, mb, &ahead);
    for (int r = 16 * g0; r < 16 * g1; r++) {
        float most = -INFINITY;
        for (int j = 0; j < k.n; j++) {
            const float sum = chain(k.d, queries_of(r, k.d), k.data + j * k.stride, 1, 0, 0.0f, true);
            const float score = scaled(sum, qt[parts * k.d * W + r]);
            must(bits_of(s[j * W + r]) == bits_of(score), "score of row %d, key %d of %d, %d words", r, j, k.n, k.d);
            most = score > most ? score : most;
        }
        must(mb[r] == most, "the largest score of row %d", r);
    }
}

static void check_values(struct values *values, struct sa_rows v, int g0, int g1) {
    struct sa_stairs keys;
    struct sa_ahead ahead = ahead_of(v);
    for (int g = 0; g < SA_TILE_GROUPS; g++) {
        keys.begin[g] = v.n % 2 ? 0 : g * v.n / 11;
        keys.end[g] = v.n - (v.n % 2 ? 0 : (3 - g) * v.n / 9);
    }
    memcpy(s, before, sizeof s);
    memcpy(o, o_before, sizeof o);
    dots->pairs.values(s, g0, g1, &keys, values_of(values, v), v.n % 5 ? alpha : NULL, o, &ahead);
    for (int r = 16 * g0; r < 16 * g1; r++)
        for (int c = 0; c < v.d; c++) {
            const int begin = keys.begin[r / 16];
            float sum = chain(keys.end[r / 16] - begin, weights_of(s + r, W), v.data + begin * v.stride + c, v.stride,
                              begin, 0.0f, false);
            sum = v.n % 5 ? fmaf(o_before[c * W + r], alpha[r], sum) : sum;
            must(same_float(o[c * W + r], sum), "dimension %d of %d of row %d, %d pairs", c, v.d, r, v.n);
        }
}

START_TEST(scores_and_values) {
    const struct sa_kernels *kernels = kernels_with_dots(_i);
    enter(kernels);
    struct dice dice = {5};
    struct fenced memory = fenced_map(MAX_PAIRS * (MAX_D / 2 + 20));
    struct values values = values_map();
    if (kernels && isa == SA_ISA_AVX512_BF16)
        compare_with_manual(&dice);
    roll_parts(&dice, before, MAX_KEYS * W);
    roll_numbers(&dice, o_before, MAX_D * W);
    roll_numbers(&dice, alpha, W);
    for (int i = 0; kernels && i < N_COUNTS; i++)
        for (int k = 0; k < N_DIMS; k++)
            for (int g0 = 0; g0 < 4; g0++) {
                const int n = counts[i], d = dims[k], g1 = (int)roll_between(&dice, g0 + 1, 4);
                const ptrdiff_t stride = d + roll_between(&dice, 0, 20), extent = (n - 1) * stride + d;
                const struct sa_rows rows = {memory.end - extent, stride, n, d, NULL};
                roll_pairs(&dice, memory.end - extent, (int)extent);
                roll_queries(&dice, d);
                check_scores(rows, g0, g1);
                check_values(&values, rows, g0, g1);
            }
    fenced_unmap(&memory);
    fenced_unmap(&values.memory);
    leave(kernels);
}
END_TEST

static bool sees(const struct sa_lane_keys *keys, int r, int j) {
    return (j < keys->sink[r] || keys->lo[r] <= j) && j < keys->hi[r];
}

/* NaN and inf where a row does not look, in either element. */
START_TEST(values_that_some_rows_do_not_see) {
    const struct sa_kernels *kernels = kernels_with_dots(_i);
    struct dice dice = {6};
    static float v[MAX_PAIRS * 40];
    struct values values = values_map();
    static _Alignas(64) int32_t lo[W], hi[W], sink[W];
    const struct sa_lane_keys keys = {lo, hi, sink, NULL};
    roll_parts(&dice, before, MAX_KEYS * W);
    roll_numbers(&dice, o_before, MAX_D * W);
    roll_numbers(&dice, alpha, W);
    for (int round = 0; kernels && round < 60; round++) {
        const int n = (int)roll_between(&dice, 1, 40), d = (int)roll_between(&dice, 1, 40), first = 2 * (round % 5);
        const int g = (int)roll_between(&dice, 0, 3);
        roll_pairs(&dice, v, n * d);
        for (int i = 0; i < n * d / 4; i++)
            v[roll(&dice) % (uint64_t)(n * d)] =
                roll_one_in(&dice, 2) ? pair_of(0x7fc0, 0x3c00) : pair_of(0x3c00, type == SA_F16 ? 0xfc00 : 0xff80);
        for (int r = 0; r < W; r++) {
            sink[r] = (int32_t)roll_between(&dice, 0, first + (n < 6 ? n : 6));
            lo[r] = (int32_t)roll_between(&dice, sink[r], first + n);
            hi[r] = (int32_t)roll_between(&dice, lo[r], first + 2 * n);
        }
        memcpy(s, before, sizeof s);
        memcpy(o, o_before, sizeof o);
        dots->pairs.values_masked(s + first / 2 * W, g, values_of(&values, (struct sa_rows){v, d, n, d, NULL}), first,
                                  keys, alpha, o);
        for (int r = 16 * g; r < 16 * g + 16; r++)
            for (int c = 0; c < d; c++) {
                float shown[MAX_PAIRS];
                for (int j = 0; j < n; j++)
                    shown[j] =
                        float_of(bits_of(v[j * d + c]) & ((sees(&keys, r, first + 2 * j) ? 0xffffu : 0) |
                                                          (sees(&keys, r, first + 2 * j + 1) ? 0xffff0000u : 0)));
                float sum = chain(n, weights_of(s + r, W), shown, 1, first / 2, 0.0f, false);
                sum = fmaf(o_before[c * W + r], alpha[r], sum);
                must(same_float(o[c * W + r], sum), "round %d, dimension %d of row %d", round, c, r);
            }
    }
    fenced_unmap(&values.memory);
}
END_TEST

/* ---------------------------------------------------------------- a block at once */

/* A block of which each row sees keys of a window and, before it, some of a sink: those of a group move on with the
 * row. All its memory ends at fences. */
struct whole {
    int d, d_v, n_keys; /* d: words */
    bool fresh;
    struct fenced k, v, turned;
    const char *row[MAX_KEYS];
    _Alignas(64) int32_t lo[W], hi[W], sink[W];
    struct sa_seen seen[SA_TILE_GROUPS];
    _Alignas(64) float m[2][W], l[2][W];
    struct sa_score_terms terms;
    float bias[W][MAX_KEYS];
    const float *bias_row[W];
    _Alignas(64) float slopes[W];
    _Alignas(64) int32_t q_at[W], k_at[MAX_KEYS];
};

enum { FIRST_KEY = 512, N_SIGHTS = 6 };

/* All; causal; some groups see nothing; a window; a window and a sink; any. */
static void roll_sight(struct dice *dice, struct whole *w, int kind) {
    const int n = w->n_keys;
    int lo = 0, hi = kind == 0 ? n : (int)roll_between(dice, 0, n);
    const int sink = kind == 4 ? (int)roll_between(dice, 1, 40) : 0;
    for (int r = 0; r < W; r++) {
        const bool all = kind == 0 || (kind == 5 && r / 16 == 1);
        hi += kind == 1 || kind > 2 ? (int)roll_between(dice, 0, 4) : kind == 2 && r % 16 == 0 ? n / 4 : 0;
        lo = kind > 2 && hi > 50 ? hi - 50 : 0;
        hi = kind == 2 && r < 32 ? 0 : hi;
        w->hi[r] = FIRST_KEY + (all || hi > n ? n : hi);
        w->lo[r] = FIRST_KEY + (all ? 0 : lo < n ? lo : n);
        w->sink[r] = FIRST_KEY + (w->lo[r] - FIRST_KEY > sink ? sink : 0);
    }
}

/* Any of softcap, ALiBi and bias, which hides some keys. */
static void roll_terms(struct dice *dice, struct whole *w) {
    const int kind = (int)roll_between(dice, 0, 7);
    w->terms = (struct sa_score_terms){.softcap = kind & 1 ? 0.5f : 0.0f,
                                       .slopes = kind & 2 ? w->slopes : NULL,
                                       .q_at = w->q_at,
                                       .k_at = w->k_at,
                                       .bias = kind & 4 ? w->bias_row : NULL};
    for (int r = 0; r < W; r++) {
        w->bias_row[r] = w->bias[r];
        for (int j = 0; j < MAX_KEYS; j++)
            w->bias[r][j] = roll_one_in(dice, 20) ? -INFINITY : roll_unit(dice);
        w->slopes[r] = -fabsf(roll_unit(dice));
        w->q_at[r] = (int32_t)roll_between(dice, 0, 900);
    }
    for (int j = 0; j < MAX_KEYS; j++)
        w->k_at[j] = FIRST_KEY + j / 3;
}

static bool has_terms(const struct whole *w) { return w->terms.softcap > 0 || w->terms.slopes || w->terms.bias; }

static void find_seen(struct whole *w) {
    const struct sa_lane_keys keys = {w->lo, w->hi, w->sink, NULL};
    for (int g = 0; g < SA_TILE_GROUPS; g++) {
        struct sa_seen *seen = &w->seen[g];
        *seen = (struct sa_seen){MAX_KEYS, 0, 0, MAX_KEYS};
        for (int r = 16 * g; r < 16 * g + 16; r++) {
            for (int j = 0; j < w->n_keys; j++)
                if (sees(&keys, r, FIRST_KEY + j)) {
                    seen->begin = j < seen->begin ? j : seen->begin;
                    seen->end = j + 1 > seen->end ? j + 1 : seen->end;
                }
            seen->all_begin = w->lo[r] - FIRST_KEY > seen->all_begin ? w->lo[r] - FIRST_KEY : seen->all_begin;
            seen->all_end = w->hi[r] - FIRST_KEY < seen->all_end ? w->hi[r] - FIRST_KEY : seen->all_end;
        }
        if (seen->begin >= seen->end)
            *seen = (struct sa_seen){0, 0, MAX_KEYS, 0};
    }
}

static void roll_whole(struct dice *dice, struct whole *w, const int sizes[2], int kind, bool fresh) {
    w->d = sizes[0];
    w->d_v = sizes[1];
    w->fresh = fresh;
    w->n_keys = kind % 2 ? SA_DOT_KEYS * (int)roll_between(dice, 1, 8) : MAX_KEYS;
    roll_parts(dice, qt, parts * w->d * W);
    for (int r = 0; r < W; r++)
        qt[parts * w->d * W + r] = 0.01f + fabsf(roll_unit(dice));
    roll_pairs(dice, w->k.end - w->n_keys * w->d, w->n_keys * w->d);
    uint16_t *v = (uint16_t *)w->v.end - w->n_keys * w->d_v;
    for (int j = 0; j < w->n_keys * w->d_v; j++)
        element_store(type, (double)flushed(roll_number(dice)), &v[j]);
    for (int j = 0; j < w->n_keys; j++)
        w->row[j] = (const char *)(v + j * w->d_v);
    roll_numbers(dice, o_before, w->d_v * W);
    for (int r = 0; r < W; r++) {
        w->m[0][r] = w->m[1][r] = fresh ? -INFINITY : roll_unit(dice);
        w->l[0][r] = w->l[1][r] = fresh ? 0 : 1 + roll_unit(dice);
    }
    roll_sight(dice, w, kind);
    roll_terms(dice, w);
    find_seen(w);
}

static void reset_maxima(void) {
    for (int r = 0; r < W; r++)
        mb[r] = -INFINITY;
}

/* By scores(), weights() and values(); what a row does not see has a weight of 0. */
static void do_steps(const struct sa_kernels *kernels, struct whole *w, float *wanted) {
    const struct sa_rows keys = {w->k.end - w->n_keys * w->d, w->d, w->n_keys, w->d, NULL};
    const int pairs = w->n_keys / 2;
    const struct sa_stairs all = {{0}, {pairs, pairs, pairs, pairs}};
    const struct sa_lane_keys sight = {w->lo, w->hi, w->sink, NULL};
    struct sa_ahead ahead;
    sa_ahead_open(&ahead);
    reset_maxima();
    dots->pairs.scores(qt, 0, SA_TILE_GROUPS, keys, s, mb, &ahead);
    for (int g = 0; g < SA_TILE_GROUPS && has_terms(w); g++)
        kernels->terms(g, w->n_keys, &w->terms, s, mb);
    reset_maxima();
    for (int j = 0; j < w->n_keys; j++)
        for (int r = 0; r < W; r++) {
            s[j * W + r] = sees(&sight, r, FIRST_KEY + j) ? s[j * W + r] : -INFINITY;
            mb[r] = fmaxf(mb[r], s[j * W + r]);
        }
    for (int g = 0; g < SA_TILE_GROUPS; g++)
        dots->weights(g, 0, w->n_keys, s, mb, w->m[0], w->l[0], alpha);
    memcpy(wanted, o_before, (size_t)(w->d_v * W) * sizeof *wanted);
    dots->pairs.values(s, 0, SA_TILE_GROUPS, &all, sa_listed_rows(w->row, pairs, w->d_v), w->fresh ? NULL : alpha,
                       wanted, &ahead);
}

/* At once: with values that are to be turned, kept or not, or that have been. */
static void do_block(struct whole *w, bool keep, bool kept) {
    static _Alignas(64) char scratch[2 * SA_BLOCK_KEYS * 2 * 32];
    const size_t turned_floats = sa_turned_bytes(w->d_v, parts) / sizeof(float);
    const struct sa_rows keys = {w->k.end - w->n_keys * w->d, w->d, w->n_keys, w->d, NULL};
    struct sa_ahead ahead = ahead_of(keys);
    float m[W], l[W];
    memcpy(m, w->m[1], sizeof m);
    memcpy(l, w->l[1], sizeof l);
    memcpy(o, o_before, sizeof o);
    reset_maxima();
    const struct sa_dots_block block = {.qt = qt,
                                        .k = keys,
                                        .turned = keep ? w->turned.end - turned_floats : NULL,
                                        .v_rows = kept ? NULL : w->row,
                                        .n_values = w->n_keys,
                                        .d_v = w->d_v,
                                        .scratch = scratch,
                                        .first_key = FIRST_KEY,
                                        .keys = {w->lo, w->hi, w->sink, NULL},
                                        .seen = w->seen,
                                        .terms = has_terms(w) ? &w->terms : NULL,
                                        .s = s,
                                        .mb = mb,
                                        .alpha = alpha,
                                        .state = {w->m[1], w->l[1], o},
                                        .fresh = w->fresh,
                                        .ahead = &ahead};
    dots->block(&block);
    for (int r = 0; r < W; r++)
        must(bits_of(w->m[0][r]) == bits_of(w->m[1][r]) && bits_of(w->l[0][r]) == bits_of(w->l[1][r]),
             "m or l of row %d", r);
    memcpy(w->m[1], m, sizeof m);
    memcpy(w->l[1], l, sizeof l);
}

/* Their signs are nobody's, see kernels.h. */
static bool same_but_for_zeros(float a, float b) { return same_float(a, b) || (a == 0 && b == 0); }

/* A block at once, as by scores(), weights() and values(), whose results it takes the place of. */
START_TEST(blocks_at_once) {
    const struct sa_kernels *kernels = kernels_with_dots(_i);
    struct dice dice = {9};
    static struct whole w;
    static _Alignas(64) float wanted[MAX_D * W];
    static const int sizes[][2] = {{1, 1}, {4, 5}, {8, 16}, {20, 17}, {32, 40}, {32, 64}, {64, 128}, {288, 576}};
    w.k = fenced_map(MAX_KEYS * MAX_D / 2);
    w.v = fenced_map(MAX_KEYS * MAX_D / 2);
    w.turned = fenced_map(sa_turned_bytes(MAX_D, 2) / sizeof(float));
    enter(kernels);
    for (int i = 0; kernels && dots->block && i < 8 * 2 * N_SIGHTS; i++) {
        roll_whole(&dice, &w, sizes[i % 8], i / 16, i / 8 % 2);
        do_steps(kernels, &w, wanted);
        for (int way = 0; way < 3; way++) {
            do_block(&w, way > 0, way > 1);
            for (int r = 0; r < W; r++)
                for (int c = 0; c < w.d_v; c++)
                    must(same_but_for_zeros(o[c * W + r], wanted[c * W + r]),
                         "%d, %d, sight %d, way %d: dimension %d of row %d", w.d, w.d_v, i / 16, way, c, r);
        }
    }
    leave(kernels);
    fenced_unmap(&w.k);
    fenced_unmap(&w.v);
    fenced_unmap(&w.turned);
}
END_TEST

/* ---------------------------------------------------------------- few rows */

enum { PLACE = SA_FEW_ROWS * SA_FEW_STRIDE };
static _Alignas(64) float few_s[MAX_PLACES * PLACE], sums[MAX_PLACES * SA_FEW_ROWS * (MAX_D + 32)];

/* Rows that end at a fence, and the list of their addresses, which does so too: n of each place, `turn` in turn. */
struct few {
    struct fenced memory, list;
    struct sa_pointed rows;
};

static void make_few(struct few *few, struct dice *dice, int places, int n, int turn, int d, int of_type) {
    const int bytes = d * (of_type == SA_F32 ? 4 : 2), all = places * n;
    char *first = (char *)few->memory.end - all * bytes;
    const char **row = (const char **)(void *)few->list.end - all;
    for (int i = 0; i < all * bytes / 2; i++) {
        const float pair = roll_pair_of(dice, type);
        memcpy(first + 2 * i, &pair, 2);
    }
    for (int j = 0; j < all; j++)
        row[j] = first + j * bytes;
    few->rows =
        (struct sa_pointed){row, places, n, n, turn, d, of_type, bytes, 0, {{row, row, row, row}, n, bytes}, false, 0};
}

static void check_few_scores(const struct few *few, int n_rows) {
    const int n = few->rows.n, d = few->rows.d;
    dots->pairs.few_scores(qt, n_rows, few->rows, few_s);
    for (int r = 0; r < n_rows; r++)
        for (int j = 0; j < few->rows.places * n; j++) {
            const int lane = j / n * few->rows.q_rows + r; /* of the one pass */
            float k[MAX_D / 2];
            memcpy(k, few->rows.row[j], (size_t)d * sizeof *k);
            const float sum = chain(d, queries_of(lane, d), k, 1, 0, 0.0f, true);
            must(bits_of(few_s[j / n * PLACE + r * SA_FEW_STRIDE + j % n]) ==
                     bits_of(scaled(sum, qt[parts * d * W + lane])),
                 "%d rows, %d x %d keys of %d words: score %d of row %d", n_rows, few->rows.places, n, d, j, r);
        }
}

static void check_few_values(const struct few *few, int n_rows) {
    const int n = few->rows.n, d = few->rows.d, width = sa_near_stride(d);
    memset(sums, 0, sizeof sums);
    for (int i = 0; i < few->rows.places; i++)
        sums[i * SA_FEW_ROWS * width] = 1.0f; /* they go on from what is there */
    for (int i = 0; n_rows == 1 && i < few->rows.places; i++)
        sums[(i * SA_FEW_ROWS + 1) * width] =
            7.0f; /* a row alone is one of several, the others of which are not touched */
    dots->pairs.few_values(few_s, n_rows, few->rows, sums);
    for (int i = 0; n_rows == 1 && i < few->rows.places; i++)
        must(sums[(i * SA_FEW_ROWS + 1) * width] == 7.0f, "the row behind was written");
    for (int i = 0; i < few->rows.places * n_rows * d; i++) {
        const int c = i % d, r = i / d % n_rows, p = i / d / n_rows;
        float woven[SA_RUN_KEYS / 2];
        for (int j = 0; j < n; j += 2) {
            uint16_t half[2];
            memcpy(&half[0], few->rows.row[p * n + j] + 2 * c, 2);
            memcpy(&half[1], few->rows.row[p * n + j + 1] + 2 * c, 2);
            woven[j / 2] = pair_of(half[0], half[1]);
        }
        const struct words weights = weights_of(few_s + p * PLACE + r * SA_FEW_STRIDE, 1);
        const float sum = chain(n / 2, weights, woven, 1, 0, (float)(c == 0 && r == 0), false);
        must(same_float(sums[(p * SA_FEW_ROWS + r) * width + c], sum),
             "%d rows, %d x %d keys of %d: dimension %d of row %d", n_rows, few->rows.places, n, d, c, r);
    }
}

/* Of values: whole runs of what may be added up first, or all at once. */
static int roll_turn(struct dice *dice, int n) {
    return n > SA_DOT_KEYS ? SA_DOT_KEYS * (int)roll_between(dice, 1, SA_RUN_KEYS / SA_DOT_KEYS) : n;
}

static int few_places(int n) { return SA_RUN_KEYS / n < MAX_PLACES ? SA_RUN_KEYS / n : MAX_PLACES; }

START_TEST(few_rows) {
    const struct sa_kernels *kernels = kernels_with_dots(_i);
    enter(kernels);
    struct dice dice = {7};
    struct few few = {.memory = fenced_map(SA_RUN_KEYS * MAX_D),
                      .list = fenced_map(SA_RUN_KEYS * sizeof(char *) / sizeof(float))};
    for (int i = 0; kernels && i < N_DIMS; i++)
        for (int n_rows = 1; n_rows <= SA_FEW_ROWS; n_rows++) {
            const int tile = sa_few_tile(kernels->lanes, 4 / parts), step = dots->pairs.few_step,
                      n_keys = step * (int)roll_between(&dice, 1, SA_RUN_KEYS / step);
            const int n = 2 * (int)roll_between(&dice, 1, SA_RUN_KEYS / 2);
            roll_queries(&dice, dims[i]);
            make_few(&few, &dice, few_places(n_keys), n_keys, (int)roll_between(&dice, 1, SA_RUN_KEYS / tile) * tile,
                     dims[i], SA_F32);
            check_few_scores(&few, n_rows);
            few.rows.q_rows = sa_rows_abreast(n_rows);
            check_few_scores(&few, n_rows);
            roll_parts(&dice, few_s, MAX_PLACES * PLACE);
            make_few(&few, &dice, few_places(n), n, roll_turn(&dice, n), 2 * dims[i], SA_BF16);
            check_few_values(&few, n_rows);
        }
    fenced_unmap(&few.memory);
    fenced_unmap(&few.list);
    leave(kernels);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernel dots");
    TCase *tcase = add_case(suite, "dots");
    tcase_add_loop_test(tcase, queries_become_pairs, 0, N_KINDS);
    tcase_add_loop_test(tcase, rows_become_pairs, 0, N_KINDS);
    tcase_add_loop_test(tcase, what_is_not_finite_is_found, 0, N_KINDS);
    tcase_add_loop_test(tcase, scores_and_values, 0, N_KINDS);
    tcase_add_loop_test(tcase, values_that_some_rows_do_not_see, 0, N_KINDS);
    tcase_add_loop_test(tcase, blocks_at_once, 0, N_KINDS);
    tcase_add_loop_test(tcase, few_rows, 0, N_KINDS);
    return run_suite(suite);
}
