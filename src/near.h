/* SPDX-License-Identifier: MIT */
/* Rows of k and v wherever and however they are stored, as the kernels want them: floats, in place if possible, else
 * brought near, a block at a time. */
#ifndef SA_NEAR_H
#define SA_NEAR_H

#include <stdbool.h>

#include "kernels/kernels.h"
#include "problem.h"

struct sa_workspace;
struct sa_view;

/* As many of the tokens begin .. end - 1, at least one, as stand a stride apart in memory. */
struct sa_stored sa_stored_of(const struct sa_cache *cache, int64_t begin, int64_t end);

/* Their scales: of n tokens from `begin` on, in one page if the cache is paged. */
struct sa_stored sa_scales_of(const struct sa_cache *cache, int64_t begin, int n);

/* n rows of so many bytes as cache lines to be fetched. */
struct sa_lines sa_lines_of_rows(const char *data, ptrdiff_t stride, int n, int bytes);

/* Adds the tokens begin .. end - 1, page after page, as far as there is room for so many pages. */
void sa_ahead_add_tokens(struct sa_ahead *ahead, const struct sa_cache *cache, int64_t begin, int64_t end);

/* Fetches all of it at once, which is little where rows are few. */
void sa_ahead_fetch(struct sa_ahead *ahead);

/* Can they be used where they stand, as floats and as int8? Those which are read more than once may stand so that they
 * are worth a copy. */
bool sa_stand_well(const struct sa_cache *cache, int64_t n_reads);
bool sa_bytes_stand_well(const struct sa_cache *cache, int64_t n_reads);

/* The tokens begin .. end - 1 as floats, sa_near_stride() apart. */
void sa_bring_rows(const struct sa_kernels *kernels, const struct sa_cache *cache, int64_t begin, int64_t end,
                   float *near);

/* The block that begins at token `at`: row j is token at + j, for begin <= j < end; others must not be read. Rows that
 * are not used in place, and scales, stand in the workspace until the next call. */
struct sa_rows sa_rows_of(const struct sa_kernels *kernels, struct sa_workspace *space, const struct sa_cache *cache,
                          int64_t at, int begin, int end, int64_t n_reads);

/* Of bf16, the same as pairs for the kernels' dots: row j is tokens at + 2 j and at + 2 j + 1, of which only those from
 * `begin` to `end` - 1 are read; the others are 0. A copy. */
struct sa_rows sa_pairs_of(const struct sa_dots *dots, struct sa_workspace *space, const struct sa_cache *cache,
                           int64_t at, int begin, int end);

/* Of int8, as the kernels' bytes want it: keys as a list of where they stand, values turned, and the scales of either.
 */
struct sa_rows sa_keys_of_bytes(const struct sa_kernels *kernels, struct sa_workspace *space,
                                const struct sa_cache *cache, int64_t at, int begin, int end);
struct sa_rows sa_values_of_bytes(const struct sa_kernels *kernels, struct sa_workspace *space,
                                  const struct sa_cache *cache, int64_t at, int begin, int end);

/* Turns those values, with a list of their rows on the way. */
void sa_turn_bytes(const struct sa_kernels *kernels, const struct sa_cache *cache, int64_t at, int begin, int end,
                   const char **row, void *turned);

/* The same for strips of 16 tokens, n tokens in all, as if they stood side by side: key 16 i is token
 * at + 16 strip[i]. They are brought near in any case. */
struct sa_rows sa_strip_rows_of(const struct sa_kernels *kernels, struct sa_workspace *space,
                                const struct sa_cache *cache, int64_t at, const uint8_t *strip, int n);

/* Pairs of the keys of a view, those that are kept, as sa_pairs_of() has them: 0 where no row sees the key. */
struct sa_rows sa_pairs_of_view(const struct sa_dots *dots, struct sa_workspace *space, const struct sa_cache *cache,
                                int64_t at, const struct sa_view *view);

/* Somewhere harmless: a row of zeros of any type. */
const char *sa_zero_row(void);

/* row[i] = where token begin + i stands, for all of begin .. end - 1; sa_zero_row() where nobody sees the page. */
void sa_point_rows(const struct sa_cache *cache, int64_t begin, int64_t end, const char **row);

/* Fetches the scales of the tokens begin .. end - 1, if they have any. */
void sa_fetch_scales(const struct sa_cache *cache, int64_t begin, int64_t end);

/* Scales as floats. Pages that nobody sees have 0. */
void sa_bring_scales(const struct sa_kernels *kernels, const struct sa_cache *cache, int64_t begin, int64_t end,
                     float *scale);

#endif
