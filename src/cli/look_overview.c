/* SPDX-License-Identifier: MIT */
/* What is said of one token's row in all heads. */
#include <stdio.h>
#include <string.h>

#include "columns.h"
#include "look.h"

enum { N_FINDS = 5 };

/* ---------------------------------------------------------------- the table */

/* Columns: of the whole, of a word, of "head 11", of what stands before and behind a word. */
enum { ALL_COLUMNS = 100, LEAST_WORD = 5, MOST_WORD = 14, HEAD_COLUMNS = 7, BESIDE_WORD = 6 };

struct table {
    const struct look_file *file;
    const struct look_survey *survey;
    int word; /* columns */
};

static bool two_keys(const struct look_cell *cell) { return cell && cell->most != cell->heaviest; }

static const struct look_cell *cell_of(const struct table *t, int layer, int head) {
    for (int i = 0; i < t->survey->n; i++)
        if (t->survey->cells[i].layer == layer && t->survey->cells[i].head == head)
            return &t->survey->cells[i];
    return NULL;
}

static void widen(struct table *t, int64_t key) {
    const int n = key < 0 ? 0 : columns_of(look_word(t->file, key));
    t->word = n > t->word ? n : t->word;
    t->word = t->word < MOST_WORD ? t->word : MOST_WORD;
}

static struct table layout(const struct look_file *file, const struct look_survey *survey) {
    struct table t = {file, survey, LEAST_WORD};
    for (int i = 0; i < survey->n; i++) {
        widen(&t, survey->cells[i].heaviest);
        widen(&t, survey->cells[i].most);
    }
    return t;
}

static void print_names(const struct table *t, int first, int end) {
    printf("%*s", HEAD_COLUMNS, "");
    for (int layer = first; layer < end; layer++) {
        const char *prefix = t->file->prefixes[layer];
        char name[64];
        snprintf(name, sizeof name, "%.*s", look_name_length(prefix), prefix);
        fputs("  ", stdout);
        columns_print(name, layer < end - 1 ? t->word + BESIDE_WORD - 2 : columns_of(name));
    }
    putchar('\n');
}

/* " >animal .08": no 0 before the point. */
static void print_key(const struct table *t, char mark, int64_t key, double weight) {
    char text[16];
    snprintf(text, sizeof text, "%.2f", weight);
    printf(" %c", mark);
    columns_print(key < 0 ? "-" : look_word(t->file, key), t->word);
    printf(" %3.3s", key < 0 ? "" : text + (text[0] == '0'));
}

static void print_keys(const struct table *t, int first, int end, int head) {
    printf("head %-*d", HEAD_COLUMNS - 5, head);
    for (int layer = first; layer < end; layer++) {
        const struct look_cell *cell = cell_of(t, layer, head);
        if (cell)
            print_key(t, ' ', cell->heaviest, cell->weights[LOOK_HEAVIEST]);
        else
            printf("%*s", t->word + BESIDE_WORD, "");
    }
    putchar('\n');
}

/* The line below, unless it would be empty. */
static void print_others(const struct table *t, int first, int end, int head) {
    int last = first - 1;
    for (int layer = first; layer < end; layer++)
        last = two_keys(cell_of(t, layer, head)) ? layer : last;
    if (last < first)
        return;
    printf("%*s", HEAD_COLUMNS, "");
    for (int layer = first; layer <= last; layer++) {
        const struct look_cell *cell = cell_of(t, layer, head);
        if (two_keys(cell))
            print_key(t, '>', cell->most, cell->weights[LOOK_MOST]);
        else
            printf("%*s", t->word + BESIDE_WORD, "");
    }
    putchar('\n');
}

static bool has_head(const struct look_survey *s, int head) {
    for (int i = 0; i < s->n; i++)
        if (s->cells[i].head == head)
            return true;
    return false;
}

static void print_block(const struct table *t, int first, int end) {
    print_names(t, first, end);
    for (int head = 0; head < t->survey->n_heads; head++)
        if (has_head(t->survey, head)) {
            print_keys(t, first, end, head);
            print_others(t, first, end, head);
        }
    putchar('\n');
}

static int count_other(const struct look_survey *s) {
    int n = 0;
    for (int i = 0; i < s->n; i++)
        n += two_keys(&s->cells[i]);
    return n;
}

void look_print_survey(const struct look_file *file, const struct look_survey *survey) {
    const struct table t = layout(file, survey);
    const int at_once = (ALL_COLUMNS - HEAD_COLUMNS) / (t.word + BESIDE_WORD);
    const int end = survey->cells[survey->n - 1].layer + 1;
    printf("\"%s\" (token %lld): of each head the key with the largest weight, and after > the one without which\n"
           "the output moves most, where that is another one\n\n",
           look_word(file, survey->query), (long long)survey->query);
    for (int first = survey->cells[0].layer; first < end; first += at_once)
        print_block(&t, first, end - first < at_once ? end : first + at_once);
    printf("another one in %d of %d heads", count_other(survey), survey->n);
    if (!survey->some_only)
        printf("; in the rows of all tokens, in %lld of %lld", (long long)survey->n_other, (long long)survey->n_rows);
    printf("\n\n");
}

/* ---------------------------------------------------------------- what to look at next */

/* Keeps the finds sorted, the largest weight first. */
static void add_find(const struct look_cell *finds[N_FINDS], const struct look_cell *find) {
    for (int i = 0; i < N_FINDS; i++)
        if (!finds[i] || find->weights[LOOK_FAR] > finds[i]->weights[LOOK_FAR]) {
            const struct look_cell *smaller = finds[i];
            finds[i] = find;
            if (!smaller)
                return;
            find = smaller;
        }
}

const struct look_cell *look_print_finds(const struct look_file *file, const struct look_survey *survey) {
    const struct look_cell *finds[N_FINDS] = {NULL};
    for (int i = 0; i < survey->n; i++)
        if (survey->cells[i].far >= 0)
            add_find(finds, &survey->cells[i]);
    if (!finds[0])
        return NULL;
    printf("the heads in which \"%s\" gives a word further than %d tokens away most weight:\n",
           look_word(file, survey->query), LOOK_NEIGHBOURS);
    for (int i = 0; i < N_FINDS && finds[i]; i++) {
        printf("  %-8.*s head %2d  to ", look_name_length(finds[i]->prefix), finds[i]->prefix, finds[i]->head);
        columns_print(look_word(file, finds[i]->far), MOST_WORD);
        printf(" %6.4f\n", finds[i]->weights[LOOK_FAR]);
    }
    putchar('\n');
    return finds[0];
}

/* The head in which what has the largest weight says least about what counts. */
static const struct look_cell *widest_gap(const struct look_survey *s) {
    const struct look_cell *widest = NULL;
    for (int i = 0; i < s->n; i++)
        if (two_keys(&s->cells[i]) && (!widest || s->cells[i].gap > widest->gap))
            widest = &s->cells[i];
    return widest;
}

/* What the options are that show it; "layer3" is called 3. */
static void print_choice(const struct look_cell *cell) {
    const bool number = strncmp(cell->prefix, "layer", 5) == 0 && look_name_length(cell->prefix) > 5;
    const char *name = cell->prefix + (number ? 5 : 0);
    printf("  --layer %.*s --head %-4d", (int)(strlen(name) - 2), name, cell->head);
}

void look_print_hints(const struct look_file *file, const struct look_survey *survey, const struct look_cell *find) {
    const struct look_cell *gap = widest_gap(survey);
    printf("next, the row of a head, and with --png FILE a picture of all tokens' rows:\n");
    if (find) {
        print_choice(find);
        printf("  most weight on a word further away, %s\n", look_word(file, find->far));
    }
    if (gap) {
        print_choice(gap);
        printf("  %s has most weight, without %s the output moves more\n", look_word(file, gap->heaviest),
               look_word(file, gap->most));
    }
    if (!find && !gap) {
        print_choice(&survey->cells[0]);
        puts("  the first of them");
    }
}
