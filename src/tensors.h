/* SPDX-License-Identifier: MIT */
/* Where the tensors of a sequence stand: defaults of strides, pages and scales, and all that is checked of them. Pure
 * but for the page tables, which are read. */
#ifndef SA_TENSORS_H
#define SA_TENSORS_H

#include <sa/sa.h>

#include "problem.h"

/* Sequence i of the batch: fills q, k, v, o and lse of `seq`. Its counts have been checked, page tables have not. */
sa_status sa_resolve_tensors(const sa_batch *batch, int64_t i, const sa_sequence *sequence, struct sa_seq *seq);

/* The same for what sa_cache_append() reads and writes: the cache and the new tokens, whose numbers and types have been
 * checked. The entries of page tables for the tokens that will be written are checked as well. */
sa_status sa_resolve_append(const sa_batch *batch, int64_t i, const sa_sequence *sequence, const sa_append *append,
                            const sa_new_tokens *tokens, struct sa_incoming *incoming);

/* What sa_merge() writes, whose counts and type have been checked; and what it reads, which shares no memory with that
 * but where it is replaced row by row. */
sa_status sa_check_merged(const sa_merge_request *request);
sa_status sa_check_partial(const sa_merge_request *request, int64_t i, const sa_partial *partial);

/* Are the entries of the page table for the tokens begin .. end - 1 pages of the pool? */
sa_status sa_check_pages(int64_t i, const char *name, const struct sa_cache *cache, int n_kv_heads, int64_t begin,
                         int64_t end);

#endif
