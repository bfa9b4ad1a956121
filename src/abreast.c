/* SPDX-License-Identifier: MIT */
#include "abreast.h"

#include "cost.h"
#include "kernels/kernels.h"
#include "parts.h"

/* Of the heads' rows of a token: more is read no faster, but takes room in the second-level cache. */
enum { MOST_BYTES = 4096 };

/* Do things of `bytes` follow each other, or nearly so? */
static bool are_near(ptrdiff_t stride, ptrdiff_t bytes) { return stride >= bytes && stride < 2 * bytes; }

/* Kernels want keys evenly apart, sixteen by sixteen; a longer page is run enough by itself. */
static bool is_small_page(const struct sa_cache *cache) {
    enum { LONGEST = 32 };
    return cache->table && cache->page_tokens % SA_SUM_KEYS == 0 && LONGEST % cache->page_tokens == 0;
}

struct sa_heads_run sa_heads_run_of(const struct sa_cache *cache, int n) {
    const ptrdiff_t head = cache->head, token = cache->token;
    if (cache->table && (cache->table_head || cache->page_tokens % SA_SUM_KEYS))
        return (struct sa_heads_run){0, 0};
    if (are_near(head, cache->d_bytes) && (token > head || token < -head))
        return (struct sa_heads_run){1, (int)((n - 1) * head) + cache->d_bytes};
    if (is_small_page(cache) && are_near(token, cache->d_bytes) && are_near(head, cache->page_tokens * token))
        return (struct sa_heads_run){cache->page_tokens, (int)((n - 1) * head + cache->page_tokens * token)};
    return (struct sa_heads_run){0, 0};
}

/* Terms, but for bias, are those of each head's own tile. */
static bool is_plain(const struct sa_seq *seq) {
    return !seq->sight.any && !seq->terms.bias.data && !seq->kept && !seq->reports.weights.data &&
           !seq->reports.mass.data;
}

/* Bytes of a token's rows of n heads, gaps and all. */
static int token_bytes(const struct sa_cache *cache, int n) {
    const struct sa_heads_run run = sa_heads_run_of(cache, n);
    return run.bytes / run.tokens;
}

/* Token by token or page by page, but not k so and v so. */
bool sa_in_windows(const struct sa_seq *seq) {
    const int k = sa_heads_run_of(&seq->k, 1).tokens, v = sa_heads_run_of(&seq->v, 1).tokens;
    return k && v && (k > 1) == (v > 1);
}

bool sa_in_pages(const struct sa_seq *seq) { return sa_in_windows(seq) && sa_heads_run_of(&seq->k, 1).tokens > 1; }

static int most_in_windows(const struct sa_problem *problem, const struct sa_seq *seq, int rows) {
    for (int n = SA_MOST_ABREAST; n > 1; n--)
        if (problem->n_kv_heads % n == 0 && n * rows <= SA_TILE_ROWS && token_bytes(&seq->k, n) <= MOST_BYTES &&
            token_bytes(&seq->v, n) <= MOST_BYTES)
            return n;
    return 1;
}

/* Is much of what is seen, sink keys aside, in chunks that are not whole? Those of 1,000 keys take 9 % less abreast,
 * whole ones 2 % more; less than two sixteens of keys are mostly copied, which has no order of memory. */
static bool is_much_in_pieces(const struct sa_problem *problem, const struct sa_seq *seq) {
    enum { LEAST_KEYS = 32, TIMES = 5 };
    const struct sa_span span = sa_tile_span(problem, seq, 0);
    const int64_t begin = span.lo > seq->first_key ? span.lo : seq->first_key;
    const int64_t first = (begin + SA_CHUNK_KEYS - 1) / SA_CHUNK_KEYS, end = span.hi / SA_CHUNK_KEYS;
    const int64_t whole = end > first ? (end - first) * SA_CHUNK_KEYS : 0, pieces = span.hi - begin - whole;
    return pieces >= LEAST_KEYS && TIMES * pieces > whole;
}

/* As kernels fetch from so many places at once, or from half of them. */
static int most_in_blocks(const struct sa_problem *problem, const struct sa_seq *seq) {
    if (!is_much_in_pieces(problem, seq))
        return 1;
    return problem->n_kv_heads % SA_FETCH_PLACES == 0 ? SA_FETCH_PLACES : problem->n_kv_heads % 2 == 0 ? 2 : 1;
}

int sa_choose_abreast(const struct sa_problem *problem, const struct sa_seq *seq) {
    const bool few = seq->n_q > 0 && sa_seq_rows(problem, seq) <= SA_FEW_ROWS && seq->n_k > 0;
    if (!few || !is_plain(seq))
        return 1;
    return sa_in_windows(seq) ? most_in_windows(problem, seq, sa_rows_abreast((int)sa_seq_rows(problem, seq)))
                              : most_in_blocks(problem, seq);
}

/* Two tiles of 128 dimensions and a block are more than 512 KiB of second-level cache, which costs 3 to 5 % where keys
 * and values are no further away than the next one. */
bool sa_choose_together(const struct sa_problem *problem, const struct sa_seq *seq) {
    enum { LEAST_BYTES = 6 << 20 };
    const int64_t bytes = seq->n_k * (problem->d_qk + problem->d_v) * (int64_t)sizeof(float);
    return bytes >= LEAST_BYTES && sa_seq_rows(problem, seq) > SA_TILE_ROWS && is_plain(seq) &&
           problem->softcap == 0.0f && !seq->terms.slopes && !seq->sink_logits;
}

/* While a window is read the next one is fetched: with 128 KiB of either f32 took 3 to 19 % longer, with 16 KiB as
 * long. At an end that fills no window the smallest, or much of the last one would be nothing. */
int sa_window_of(const struct sa_seq *seq, int n_keys) {
    enum { MOST_WINDOW_BYTES = 32 << 10 };
    const int k = token_bytes(&seq->k, sa_abreast(seq)), v = token_bytes(&seq->v, sa_abreast(seq));
    int n = SA_MOST_WINDOW;
    if (sa_in_pages(seq))
        return n;
    while (n > SA_LEAST_WINDOW && n * (k > v ? k : v) > MOST_WINDOW_BYTES)
        n /= 2;
    return n_keys % n ? SA_LEAST_WINDOW : n;
}

/* ---------------------------------------------------------------- with threads to be kept busy */

/* As many as there are, or fewer if they are more than `most`; of blocks no three. */
static int at_most(const struct sa_problem *problem, const struct sa_seq *seq, int most) {
    const bool windows = sa_in_windows(seq);
    int n = sa_abreast(seq);
    while (n > most || problem->n_kv_heads % n || (n == 3 && !windows))
        n--;
    return n;
}

/* Of which its rows see more than sink keys; one if there are none. */
static int64_t count_chunks(const struct sa_problem *problem, const struct sa_seq *seq) {
    const struct sa_span span = sa_tile_span(problem, seq, 0);
    const int64_t begin = (span.lo > seq->first_key ? span.lo : seq->first_key) / SA_CHUNK_KEYS,
                  end = (span.hi + SA_CHUNK_KEYS - 1) / SA_CHUNK_KEYS;
    return end > begin ? end - begin : 1;
}

/* What the thread with the most items of sequences with several heads abreast has to do, in chunks of a head, if `most`
 * of them go abreast at most and each item is a chunk of as many as do on average. */
static int64_t longest(const struct sa_problem *problem, int most, int n_threads) {
    int64_t n_items = 0, n_chunks = 0;
    for (int64_t i = 0; i < problem->n_seqs; i++) {
        const struct sa_seq *seq = &problem->seqs[i];
        const int64_t chunks = seq->beside ? count_chunks(problem, seq) * problem->n_kv_heads : 0;
        n_chunks += chunks;
        n_items += chunks / at_most(problem, seq, most);
    }
    const int64_t items = (n_items + n_threads - 1) / n_threads;
    return n_items ? (items * n_chunks + n_items - 1) / n_items : 0;
}

static bool any_in_windows(const struct sa_problem *problem) {
    bool any = false;
    for (int64_t i = 0; i < problem->n_seqs && !any; i++)
        any = problem->seqs[i].beside && sa_in_windows(&problem->seqs[i]);
    return any;
}

/* A seventh more is less than what few heads abreast lose in windows; in blocks they lose a tenth. */
void sa_limit_abreast(struct sa_problem *problem, int n_threads) {
    const int part = any_in_windows(problem) ? 7 : 20;
    const int64_t alone = n_threads > 1 ? longest(problem, 1, n_threads) : 0;
    int most = problem->most_abreast;
    while (n_threads > 1 && most > 1 && part * longest(problem, most, n_threads) > (part + 1) * alone)
        most--;
    if (most == problem->most_abreast)
        return;
    problem->most_abreast = 1;
    for (int64_t i = 0; i < problem->n_seqs; i++) {
        const int n = at_most(problem, &problem->seqs[i], most);
        problem->seqs[i].beside = n - 1;
        problem->most_abreast = n > problem->most_abreast ? n : problem->most_abreast;
    }
}
