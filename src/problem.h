/* SPDX-License-Identifier: MIT */
/* A batch after validation: every default resolved, every number checked. Everything below works on this. */
#ifndef SA_PROBLEM_H
#define SA_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sa/sa.h>

#include "kernels/kernels.h"
#include "visibility.h"

/* Scores are kept in units of log2. */
#define LOG2_E 1.44269504088896340736

/* Strides are bytes everywhere but in lse. */
struct sa_strided {
    const char *data;
    ptrdiff_t token, head;
};

struct sa_strided_out {
    char *data;
    ptrdiff_t token, head;
};

struct sa_lse_out {
    float *data; /* NULL: not wanted */
    ptrdiff_t token, head;
};

/* k or v of a sequence, or of one kv head of it, see sa_cache_of_head(). */
struct sa_cache {
    const char *data;
    ptrdiff_t token, head, page;
    const int32_t *table; /* NULL: not paged, as if one page held all */
    ptrdiff_t table_head; /* entries */
    int32_t page_tokens;
    int64_t n_pages;
    int64_t sink_end, seen_begin, seen_end; /* some query sees the tokens up to sink_end, seen_begin .. seen_end - 1 */
    int type, d, d_bytes;                   /* sa_type, elements and bytes of a row */
    int scale_type;
    const char *scales; /* of SA_I8 */
    ptrdiff_t scale_token, scale_head, scale_page;
};

/* An element for each (query head, query, key). Strides are bytes, 0 where all share one. */
struct sa_field {
    const char *data; /* NULL: none */
    ptrdiff_t head, query, key;
};

/* The least and the largest of the numbers that a block of keys, or a tile of rows, has. */
struct sa_extent {
    int32_t least, largest;
};

/* What the queries of a sequence see beside the rule of the batch: see sa_sequence. */
struct sa_sight {
    bool any; /* of what follows: what a row sees is looked up key by key */
    const int32_t *q_positions, *k_positions;
    int64_t n_prefix;
    const int32_t *q_documents, *k_documents; /* both or none */
    const int32_t *parents;
    int64_t n_tree, tree_begin; /* nodes, and the key that is node 0 */
    sa_block_sparsity blocks;
    struct sa_field mask;                                        /* of bytes */
    const struct sa_extent *position_extents, *document_extents; /* of blocks of keys; NULL: not known */
    bool documents_ascend;                                       /* from block to block */
};

/* What happens to its scores, beside sa_problem.softcap. */
struct sa_terms {
    struct sa_field bias;
    const float *slopes; /* [query heads]; NULL: none */
};

/* Rows of which the weights are wanted, and the keys' mass. */
struct sa_reports {
    sa_row_weights weights; /* row_stride filled in */
    sa_key_mass mass;       /* n_queries filled in */
    float *known;           /* NULL, or where m and l of each row go, kv head by kv head */
};

struct sa_kept;

struct sa_seq {
    int64_t n_q, n_k, q_offset;
    struct sa_strided q;
    struct sa_cache k, v;
    struct sa_strided_out o;
    struct sa_lse_out lse, row_max;
    struct sa_sight sight;
    struct sa_terms terms;
    const float *sink_logits; /* [query heads]; NULL: none */
    struct sa_reports reports;
    int64_t
        first_key; /* there are no keys below it, but positions: of caches and fields, data stand as if there were */
    struct sa_kept *kept; /* NULL, or where the results go instead of o */
    bool unruled;         /* the batch's rule does not bound what the queries see */
    int beside;           /* kv heads that an item has beside its first one, see abreast.h */
    bool together;        /* tiles of a head may go through its keys two by two, see abreast.h */
};

enum { SA_MOST_ABREAST = 16 };

/* Kv heads that an item takes abreast: all of a sequence have equally many. */
static inline int sa_abreast(const struct sa_seq *seq) { return 1 + seq->beside; }

/* New tokens of a sequence on their way into its cache. */
struct sa_incoming {
    int64_t begin, n; /* they are tokens begin .. begin + n - 1 of the sequence */
    struct sa_strided from[2];
    struct sa_cache to[2]; /* k, v */
};

struct sa_problem {
    int64_t n_seqs;
    struct sa_seq *seqs;
    int n_kv_heads, group; /* group: query heads a kv head */
    int most_abreast;      /* of a sequence, see sa_abreast() */
    bool together;         /* those of any sequence may */
    int n_turned;          /* blocks of values that a thread keeps, see turned.h */
    size_t turned_bytes;   /* of each */
    int n_copies;          /* blocks that a thread keeps copies of, see copies.h */
    size_t copy_bytes[2];  /* of k and of v of each */
    int d_qk, d_v;
    int q_type, o_type;
    float factor;  /* scale * log2(e) */
    float softcap; /* 0: none */
    int bias_type;
    bool f16_pairs; /* SA_F16 may be multiplied in pairs */
    struct sa_rule rule;
    int64_t n_rows, n_pairs; /* all heads */
    int64_t *progress;       /* NULL, or the caller's counter of finished pairs */
};

/* Items of a tile of the sequence: of one kv head each, or of those that go abreast. */
static inline int sa_item_heads(const struct sa_problem *problem, const struct sa_seq *seq) {
    return problem->n_kv_heads / sa_abreast(seq);
}

/* Can kernels that have dots of this type multiply its elements in pairs? All of them must be of it. */
static inline bool sa_in_pairs(const struct sa_problem *problem, const struct sa_seq *seq, int type) {
    return problem->q_type == type && seq->k.type == type && seq->v.type == type && problem->d_qk % 2 == 0 &&
           (type == SA_BF16 || problem->f16_pairs);
}

/* Can kernels that have bytes multiply its k and v as they are? Not where keys are picked one by one, by what
 * rows see or by a bias of -inf. */
static inline bool sa_in_bytes(const struct sa_problem *problem, const struct sa_seq *seq) {
    return seq->k.type == SA_I8 && seq->v.type == SA_I8 && problem->d_qk >= SA_BYTES_MIN_D &&
           problem->d_qk <= SA_BYTES_MAX_D && !seq->sight.any && !seq->terms.bias.data;
}

/* Of an element. */
static inline int sa_type_bytes(int type) { return type == SA_F32 ? 4 : type == SA_I8 ? 1 : 2; }

/* Rows of a (sequence, kv head) are ordered by token, then query head: row r is token r / group, head r % group, so
 * that the query heads that share a kv head stand side by side in the lanes. */
static inline int64_t sa_seq_rows(const struct sa_problem *problem, const struct sa_seq *seq) {
    return seq->n_q * problem->group;
}

/* What bounds the keys that a query of the sequence sees. */
static inline const struct sa_rule *sa_rule_of(const struct sa_problem *problem, const struct sa_seq *seq) {
    static const struct sa_rule none = {SA_UNLIMITED, SA_UNLIMITED, 0};
    return seq->unruled ? &none : &problem->rule;
}

static inline struct sa_cache sa_cache_of_head(const struct sa_cache *cache, int kv_head) {
    struct sa_cache head = *cache;
    if (cache->data)
        head.data += kv_head * cache->head;
    if (cache->table)
        head.table += kv_head * cache->table_head;
    if (cache->scales)
        head.scales += kv_head * cache->scale_head;
    return head;
}

/* Of pairs of elements, each the word that both make. */
static inline struct sa_cache sa_words_of(const struct sa_cache *cache) {
    struct sa_cache words = *cache;
    words.type = SA_F32;
    words.d /= 2;
    return words;
}

#endif
