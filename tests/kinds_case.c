/* SPDX-License-Identifier: MIT */
#include "kinds_case.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const names[N_KINDS] = {"causal",      "window",  "sink_keys", "offset",    "scale",    "layout",
                                           "types",       "pages",   "no_lse",    "positions", "prefix",   "documents",
                                           "tree",        "blocks",  "mask",      "bias",      "softcap",  "alibi",
                                           "sink_logits", "row_max", "weights",   "mass",      "first_key"};

struct dice kinds_dice(uint64_t seed, unsigned purpose) {
    struct dice dice = {seed ^ (purpose + 1) * 0xd1342543de82ef95u};
    roll(&dice);
    return dice;
}

/* ---------------------------------------------------------------- features by name */

static bool read_features(char *list, uint32_t *features) {
    char *rest = NULL;
    *features = 0;
    for (char *name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        int f = 0;
        while (f < N_KINDS && strcmp(names[f], name) != 0)
            f++;
        if (f == N_KINDS)
            return false;
        *features |= 1u << f;
    }
    return true;
}

/* The new ones that may be drawn. */
static uint32_t allowed_features(void) {
    const char *text = getenv("SA_KINDS_ONLY");
    char copy[KINDS_TEXT];
    uint32_t features = ~0u;
    if (text && snprintf(copy, sizeof copy, "%s", text) < KINDS_TEXT)
        must(read_features(copy, &features), "SA_KINDS_ONLY='%s' names what is no feature", text);
    return features | ((1u << KIND_FIRST_NEW) - 1);
}

/* ---------------------------------------------------------------- drawing */

/* Two or three of the new ones in most cases; now and then any number. */
static uint32_t draw_features(struct dice *dice) {
    uint32_t features = 0;
    for (int f = 0; f < KIND_FIRST_NEW; f++)
        features |= (uint32_t)roll_one_in(dice, f == KIND_CAUSAL ? 2 : 4) << f;
    const int64_t many = roll_one_in(dice, 10) ? roll_between(dice, 0, 9) : roll_between(dice, 2, 3);
    for (int64_t i = 0; i < many; i++)
        features |= 1u << roll_between(dice, KIND_FIRST_NEW, N_KINDS - 1);
    return features & allowed_features();
}

static int64_t pick(struct dice *dice, const int *from, size_t n) { return from[roll(dice) % n]; }

#define PICK(dice, ...) pick(dice, (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static int64_t draw_n_q(struct dice *dice) {
    if (roll_one_in(dice, 3))
        return roll_between(dice, 1, 9);
    return roll_one_in(dice, 3) ? roll_between(dice, 1, 130)
                                : PICK(dice, 0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129);
}

/* Several chunks of keys, which threads split among them. */
static int64_t draw_long(struct dice *dice) { return PICK(dice, 2047, 2049, 3333, 4097, 8192, 9001); }

static int64_t draw_n_k(struct dice *dice) {
    if (roll_one_in(dice, 3))
        return PICK(dice, 255, 256, 257, 511, 513, 1023, 1024, 1025);
    return roll_one_in(dice, 3) ? roll_between(dice, 1, 300)
                                : PICK(dice, 0, 1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129);
}

double kinds_cost(const struct kinds_case *c) {
    return (double)c->n_q * (double)(c->n_k + 16) * c->n_kv_heads * c->group * (c->d_qk + c->d_v + 16);
}

/* Makes it cheap enough that thousands are computed in seconds. */
static void limit(struct kinds_case *c, double most) {
    while (kinds_cost(c) > most)
        if (c->d_qk + c->d_v > 40) {
            c->d_qk = c->d_qk / 2 + 1;
            c->d_v = c->d_v / 2 + 1;
        } else if (c->group * c->n_kv_heads > 2 && c->n_q <= 64) {
            c->group = c->group / 2 + 1 < c->group ? c->group / 2 + 1 : 1;
            c->n_kv_heads = c->n_kv_heads > 1 ? c->n_kv_heads - 1 : 1;
        } else {
            c->n_q = c->n_q * 3 / 4;
        }
}

struct kinds_case kinds_draw(uint64_t seed) {
    struct dice dice = kinds_dice(seed, N_KINDS);
    struct kinds_case c = {.seed = seed, .features = draw_features(&dice)};
    c.n_q = draw_n_q(&dice);
    c.n_k = draw_n_k(&dice);
    if (roll_one_in(&dice, 12)) {
        c.n_q = roll_between(&dice, 1, 5);
        c.n_k = draw_long(&dice);
    }
    c.n_kv_heads = (int)roll_between(&dice, 1, 3);
    c.group = (int)PICK(&dice, 1, 1, 2, 3, 4, 8, 5, 70);
    c.d_qk = (int)PICK(&dice, 1, 3, 8, 15, 16, 17, 24, 33, 64, 80, 129, 576);
    c.d_v = roll_one_in(&dice, 2) ? c.d_qk : (int)PICK(&dice, 1, 2, 5, 16, 19, 32, 65, 200, 576);
    c.company = roll_one_in(&dice, 2);
    limit(&c, roll_one_in(&dice, 12) ? 4e6 : 6e5);
    if (kinds_has(&c, KIND_TREE) && c.n_k < c.n_q)
        c.n_k = c.n_q;
    return c;
}

/* ---------------------------------------------------------------- text */

void kinds_write(const struct kinds_case *c, char text[KINDS_TEXT]) {
    int at = snprintf(text, KINDS_TEXT, "seed=%" PRIu64 " features=", c->seed);
    const char *comma = "";
    for (int f = 0; f < N_KINDS; f++)
        if (kinds_has(c, f)) {
            at += snprintf(text + at, (size_t)(KINDS_TEXT - at), "%s%s", comma, names[f]);
            comma = ",";
        }
    snprintf(text + at, (size_t)(KINDS_TEXT - at),
             " n_q=%" PRId64 " n_k=%" PRId64 " kv_heads=%d group=%d d_qk=%d d_v=%d company=%d", c->n_q, c->n_k,
             c->n_kv_heads, c->group, c->d_qk, c->d_v, c->company);
}

static bool read_field(struct kinds_case *c, const char *name, char *value) {
    const struct {
        const char *name;
        int *to;
    } small[] = {{"kv_heads", &c->n_kv_heads},
                 {"group", &c->group},
                 {"d_qk", &c->d_qk},
                 {"d_v", &c->d_v},
                 {"company", &c->company}};
    if (strcmp(name, "features") == 0)
        return read_features(value, &c->features);
    char *end;
    const unsigned long long number = strtoull(value, &end, 10);
    if (end == value || *end)
        return false;
    if (strcmp(name, "seed") == 0)
        return c->seed = number, true;
    if (strcmp(name, "n_q") == 0)
        return c->n_q = (int64_t)number, number < 100000;
    if (strcmp(name, "n_k") == 0)
        return c->n_k = (int64_t)number, number < 100000;
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        if (strcmp(name, small[i].name) == 0)
            return *small[i].to = (int)number, number <= 576;
    return false;
}

bool kinds_read(const char *text, struct kinds_case *c) {
    char copy[KINDS_TEXT], *rest = NULL;
    *c = (struct kinds_case){.n_kv_heads = 1, .group = 1, .d_qk = 1, .d_v = 1};
    if (strlen(text) >= sizeof copy)
        return false;
    strcpy(copy, text);
    for (char *field = strtok_r(copy, " ", &rest); field; field = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(field, '=');
        if (!equals)
            return false;
        *equals = 0;
        if (!read_field(c, field, equals + 1))
            return false;
    }
    return c->n_kv_heads > 0 && c->group > 0 && c->d_qk > 0 && c->d_v > 0;
}
