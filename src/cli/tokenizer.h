/* SPDX-License-Identifier: MIT */
/*
 * BERT's tokenizer, as Hugging Face's BertTokenizer does it: a line is cleaned and split into words and punctuation
 * (basic tokenizer), a word into the longest pieces that the vocabulary has (WordPiece).
 */
#ifndef SA_CLI_TOKENIZER_H
#define SA_CLI_TOKENIZER_H

#include "vocabulary.h"

enum { N_SPECIAL = 5, CLS = 0, SEP, UNK, PAD, MASK };

struct tokenizer {
    struct vocabulary vocabulary;
    bool lower;                 /* to lower case, and accents away */
    int32_t special[N_SPECIAL]; /* numbers of [CLS], [SEP], ...; -1: the vocabulary has no such piece */
};

/* What a thread works in; zeroed at first, freed by tokenizer_release(). */
struct tokenizer_scratch {
    unsigned char *text;
    int32_t *points;
    size_t text_room, points_room;
};

/* False leaves nothing behind. */
bool tokenizer_open(struct tokenizer *tokenizer, const char *vocab_path, bool lower, struct fault *fault);
void tokenizer_close(struct tokenizer *tokenizer);

/* The pieces of a line of UTF-8, [CLS] first and [SEP] last; what comes after the first `room` - 2 is cut off. `room`
 * is 2 or more. Returns how many there are, or -1 for lack of memory. */
int64_t tokenizer_line(const struct tokenizer *tokenizer, struct tokenizer_scratch *scratch, const char *line,
                       size_t length, int32_t *ids, int64_t room);
void tokenizer_release(struct tokenizer_scratch *scratch);

#endif
