/* SPDX-License-Identifier: MIT */
#include "columns.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

/* The C library knows the widths in a locale of UTF-8, whatever the user's is; this thread only is in it meanwhile. */
static locale_t enter(void) {
    static locale_t utf8;
    if (!utf8)
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    return uselocale(utf8); /* 0, where there is no such locale, changes nothing */
}

/* The bytes of the first character, which is not the end, and what it is. A byte that begins none is one of a column.
 */
static size_t first_character(const char *text, wchar_t *character) {
    mbstate_t state = {0};
    const size_t n = mbrtowc(character, text, strlen(text), &state);
    if (n != 0 && n != (size_t)-1 && n != (size_t)-2)
        return n;
    *character = L'?';
    return 1;
}

/* The bytes at the beginning that take no more than so many columns; *taken: how many they take. */
static size_t fit(const char *text, int columns, int *taken) {
    size_t bytes = 0;
    *taken = 0;
    while (text[bytes]) {
        wchar_t character;
        const size_t n = first_character(text + bytes, &character);
        const int width = wcwidth(character) < 0 ? 1 : wcwidth(character);
        if (*taken + width > columns)
            break;
        *taken += width;
        bytes += n;
    }
    return bytes;
}

int columns_of(const char *text) {
    enum { MOST = 1 << 30 };
    const locale_t before = enter();
    int n;
    fit(text, MOST, &n);
    uselocale(before);
    return n;
}

void columns_print(const char *text, int columns) {
    const locale_t before = enter();
    int n;
    size_t bytes = fit(text, columns, &n);
    const bool cut = text[bytes];
    if (cut)
        bytes = fit(text, columns - 1, &n);
    uselocale(before);
    printf("%.*s%s%*s", (int)bytes, text, cut ? "~" : "", columns - n - cut, "");
}

bool columns_is_word(const char *text) {
    wchar_t character = 0;
    if (!*text)
        return false;
    const locale_t before = enter();
    first_character(text, &character);
    const bool is = iswalnum((wint_t)character);
    uselocale(before);
    return is;
}
