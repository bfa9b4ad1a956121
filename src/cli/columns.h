/* SPDX-License-Identifier: MIT */
/* How wide UTF-8 stands on a terminal: most characters take a column, ideographs two, accents of their own none. */
#ifndef SA_CLI_COLUMNS_H
#define SA_CLI_COLUMNS_H

#include <stdbool.h>

int columns_of(const char *text);

/* Prints the text and spaces up to so many columns; of a longer one what fits, and a '~'. */
void columns_print(const char *text, int columns);

/* Does it begin with a letter or digit of any script? */
bool columns_is_word(const char *text);

#endif
