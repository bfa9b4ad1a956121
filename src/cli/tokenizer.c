/* SPDX-License-Identifier: MIT */
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

/* Longer words are [UNK]. */
enum { LONGEST_WORD = 100, POINT_BYTES = 4 };

static const char *const special_names[N_SPECIAL] = {"[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"};

/* ---------------------------------------------------------------- what kind of character it is */

static bool is_space(int32_t c) {
    const utf8proc_category_t category = utf8proc_category(c);
    return c == '\t' || c == '\n' || c == '\r' || category == UTF8PROC_CATEGORY_ZS ||
           category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

/* U+FFFD stands for bytes that are no UTF-8. Call it for what is no space. */
static bool is_dropped(int32_t c) {
    const utf8proc_category_t category = utf8proc_category(c);
    return c == 0 || c == 0xFFFD || (category >= UTF8PROC_CATEGORY_CC && category <= UTF8PROC_CATEGORY_CO);
}

static bool is_punctuation(int32_t c) {
    const utf8proc_category_t category = utf8proc_category(c);
    const bool ascii = (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    return ascii || (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO);
}

/* Ideographs, each of which is a word; the blocks that BERT's own tokenizer names. */
static bool is_ideograph(int32_t c) {
    static const int32_t blocks[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                                        {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (c >= blocks[i][0] && c <= blocks[i][1])
            return true;
    return false;
}

/* ---------------------------------------------------------------- cleaning */

static bool make_room(void **memory, size_t *room, size_t bytes) {
    if (bytes <= *room)
        return true;
    void *more = realloc(*memory, bytes + bytes / 2);
    if (!more)
        return false;
    *memory = more;
    *room = bytes + bytes / 2;
    return true;
}

/* Without control characters, every space a ' ', ideographs between spaces. Returns the bytes written. */
static utf8proc_ssize_t clean(const char *text, size_t length, unsigned char *to) {
    const unsigned char *const begin = to, *at = (const unsigned char *)text, *const end = at + length;
    while (at < end) {
        int32_t c;
        const utf8proc_ssize_t n = utf8proc_iterate(at, end - at, &c);
        at += n > 0 ? n : 1;
        if (n <= 0 || (!is_space(c) && is_dropped(c)))
            continue;
        const bool apart = is_ideograph(c);
        if (apart)
            *to++ = ' ';
        to += utf8proc_encode_char(is_space(c) ? ' ' : c, to);
        if (apart)
            *to++ = ' ';
    }
    return to - begin;
}

/* The characters of a cleaned text; accents apart from their letters (NFD) where they shall go. Returns how many. */
static utf8proc_ssize_t spell(const struct tokenizer *t, struct tokenizer_scratch *s, utf8proc_ssize_t length) {
    const utf8proc_option_t options = t->lower ? UTF8PROC_DECOMPOSE : (utf8proc_option_t)0;
    const utf8proc_ssize_t room = (utf8proc_ssize_t)(s->points_room / sizeof *s->points);
    const utf8proc_ssize_t n = utf8proc_decompose(s->text, length, s->points, room, options);
    if (n <= room)
        return n;
    if (!make_room((void **)&s->points, &s->points_room, (size_t)n * sizeof *s->points))
        return -1;
    return utf8proc_decompose(s->text, length, s->points, n, options);
}

static utf8proc_ssize_t strip_and_lower(int32_t *points, utf8proc_ssize_t n) {
    utf8proc_ssize_t kept = 0;
    for (utf8proc_ssize_t i = 0; i < n; i++)
        if (utf8proc_category(points[i]) != UTF8PROC_CATEGORY_MN)
            points[kept++] = utf8proc_tolower(points[i]);
    return kept;
}

/* ---------------------------------------------------------------- words into pieces */

struct ids {
    int32_t *at;
    int64_t n, room;
};

static void add(struct ids *ids, int32_t id) {
    if (ids->n < ids->room)
        ids->at[ids->n++] = id;
}

/* The longest piece with which the bytes begin, -1: none; *end is behind it. `inside`: room for "##" before them. */
static int32_t longest_piece(const struct vocabulary *v, char *bytes, int32_t length, bool inside, int32_t *end) {
    const int32_t mark = inside ? 2 : 0;
    char *const at = bytes - mark;
    char kept[2];
    int32_t id = -1;
    memcpy(kept, at, (size_t)mark);
    memcpy(at, "##", (size_t)mark);
    *end = length + mark < v->longest ? length : v->longest - mark;
    for (; *end > 0 && (id = vocabulary_find(v, at, *end + mark)) < 0; --*end)
        while (*end > 1 && (bytes[*end - 1] & 0xC0) == 0x80) /* back to the first byte of a character */
            --*end;
    memcpy(at, kept, (size_t)mark);
    return id;
}

/* All of a word's pieces, or [UNK] if a part of it is none. */
static void add_word(const struct tokenizer *t, const int32_t *points, utf8proc_ssize_t n, struct ids *ids) {
    char text[2 + LONGEST_WORD * POINT_BYTES];
    int32_t length = 2, end;
    const int64_t before = ids->n;
    if (n > LONGEST_WORD) {
        add(ids, t->special[UNK]);
        return;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++)
        length += (int32_t)utf8proc_encode_char(points[i], (unsigned char *)text + length);
    for (int32_t at = 2; at < length; at += end) {
        const int32_t id = longest_piece(&t->vocabulary, text + at, length - at, at > 2, &end);
        if (id < 0) {
            ids->n = before;
            add(ids, t->special[UNK]);
            return;
        }
        add(ids, id);
    }
}

static void add_words(const struct tokenizer *t, const int32_t *points, utf8proc_ssize_t n, struct ids *ids) {
    utf8proc_ssize_t i = 0;
    while (i < n && ids->n < ids->room) {
        const utf8proc_ssize_t begin = i++;
        if (is_space(points[begin]))
            continue;
        if (!is_punctuation(points[begin]))
            while (i < n && !is_space(points[i]) && !is_punctuation(points[i]))
                i++;
        add_word(t, points + begin, i - begin, ids);
    }
}

/* ---------------------------------------------------------------- lines */

static bool add_text(const struct tokenizer *t, struct tokenizer_scratch *s, const char *text, size_t length,
                     struct ids *ids) {
    enum { WIDEST = 2 }; /* bytes of a cleaned text for one before: an ideograph of 3 becomes 5 */
    if (!make_room((void **)&s->text, &s->text_room, length * WIDEST + POINT_BYTES) ||
        !make_room((void **)&s->points, &s->points_room, (length + 1) * sizeof *s->points))
        return false;
    utf8proc_ssize_t n = spell(t, s, clean(text, length, s->text));
    if (n < 0)
        return false;
    n = t->lower ? strip_and_lower(s->points, n) : n;
    add_words(t, s->points, n, ids);
    return true;
}

/* "[MASK]" and the like in a text are what they say. The number of such a name at the beginning, or -1. */
static int32_t special_at(const struct tokenizer *t, const char *text, size_t length, size_t *n) {
    if (*text != '[')
        return -1;
    for (int i = 0; i < N_SPECIAL; i++) {
        *n = strlen(special_names[i]);
        if (*n <= length && memcmp(text, special_names[i], *n) == 0)
            return t->special[i];
    }
    return -1;
}

int64_t tokenizer_line(const struct tokenizer *tokenizer, struct tokenizer_scratch *scratch, const char *line,
                       size_t length, int32_t *ids, int64_t room) {
    struct ids list = {ids, 0, room - 1};
    size_t begin = 0, n;
    add(&list, tokenizer->special[CLS]);
    for (size_t i = 0; i < length && list.n < list.room; i++) {
        const int32_t id = special_at(tokenizer, line + i, length - i, &n);
        if (id < 0)
            continue;
        if (!add_text(tokenizer, scratch, line + begin, i - begin, &list))
            return -1;
        add(&list, id);
        begin = i + n;
        i = begin - 1;
    }
    if (begin < length && list.n < list.room && !add_text(tokenizer, scratch, line + begin, length - begin, &list))
        return -1;
    list.room++;
    add(&list, tokenizer->special[SEP]);
    return list.n;
}

bool tokenizer_open(struct tokenizer *tokenizer, const char *vocab_path, bool lower, struct fault *fault) {
    *tokenizer = (struct tokenizer){.lower = lower};
    if (!vocabulary_open(&tokenizer->vocabulary, vocab_path, fault))
        return false;
    for (int i = 0; i < N_SPECIAL; i++) {
        const char *name = special_names[i];
        tokenizer->special[i] = vocabulary_find(&tokenizer->vocabulary, name, (int32_t)strlen(name));
        if (tokenizer->special[i] < 0 && i <= UNK) {
            tokenizer_close(tokenizer);
            return fault_set(fault, "%s: no piece %s", vocab_path, name);
        }
    }
    return true;
}

void tokenizer_close(struct tokenizer *tokenizer) { vocabulary_close(&tokenizer->vocabulary); }

void tokenizer_release(struct tokenizer_scratch *scratch) {
    free(scratch->text);
    free(scratch->points);
    *scratch = (struct tokenizer_scratch){0};
}
