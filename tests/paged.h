/* SPDX-License-Identifier: MIT */
/* Brings the keys and values of drawn sequences into pages: pools between guard pages, in shuffled order, with poison
 * wherever nothing was written. */
#ifndef SA_TESTS_PAGED_H
#define SA_TESTS_PAGED_H

#include "drawn.h"

enum pools {
    TWO_POOLS,    /* one for k, one for v, with one table or two */
    ONE_POOL,     /* pages of either, a table each */
    SHARED_PAGES, /* a page holds k and v, one table */
    N_POOLS
};

struct paging {
    int page_tokens;
    int pools;
    int layout;            /* of the tokens of a page: PACKED, ... */
    bool per_head;         /* a table for each kv head; a page holds one */
    bool two_tables;       /* with TWO_POOLS */
    bool backwards;        /* the page stride is negative */
    int64_t shared_tokens; /* whole pages of the first so many tokens are the first sequence's */
};

/* Everything at random but page_tokens; nothing is shared. */
struct paging paging_of(struct dice *dice, int page_tokens);

/* Lets all sequences begin with the first so many tokens of the first one. They are still contiguous. */
void drawn_share(struct drawn *drawn, int64_t tokens);

/* Moves k and v of the contiguous sequences first .. last - 1, with their scales, into pages of common pools. */
void drawn_page(struct drawn *drawn, int first, int last, struct paging how);

/* Does any query see a key of page `entry` of the sequence's tables? */
bool drawn_sees_page(const struct drawn *drawn, const sa_sequence *seq, const sa_pages *pages, int64_t entry);

/* Puts what is no page into all entries of pages that nobody sees. */
void drawn_forget_pages(struct drawn *drawn, int sequence);

#endif
