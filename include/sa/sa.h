/* SPDX-License-Identifier: MIT */
/*
 * libsa: exact batched self-attention for CPUs.
 *
 *     o = softmax(scale * q k^T) v        for every sequence and every head,
 *
 * computed in cache blocks with an online softmax (Milakov & Gimelshein, arXiv:1805.02867; Dao et al.,
 * arXiv:2205.14135). The n_q x n_k matrix never exists. This header is written to be read from top to bottom.
 *
 * 1. The shortest correct program (tests/shortest.c, compiled and run by the test suite):
 *
 *     #include <sa/sa.h>
 *     #include <stdio.h>
 *     int main(void) {
 *         float q[2 * 4] = {1, 0, 0, 0, 0, 1, 0, 0}, k[3 * 4] = {9, 0, 0, 0, 0, 9}, v[3 * 4] = {1, 1, 1, 1}, o[2 * 4];
 *         sa_engine *engine;
 *         if (sa_engine_create(NULL, &engine) != SA_OK) return puts(sa_last_reason()), 1;
 *         sa_sequence seq = {.n_q = 2, .n_k = 3, .q = {q, 0, 0}, .k = {k, 0, 0}, .v = {v, 0, 0}, .o = {o, 0, 0}};
 *         sa_batch batch = {SA_BATCH_HEAD, .n_sequences = 1, .sequences = &seq, .n_query_heads = 1, .d_qk = 4};
 *         if (sa_batch_forward(engine, &batch) != SA_OK) return puts(sa_last_reason()), 1;
 *         printf("%f %f\n", o[0], o[4]);
 *         sa_engine_destroy(engine);
 *     }
 *
 * 2. Words used everywhere
 *
 *     q k v o        queries, keys, values, output          n_q n_k     their numbers of tokens
 *     s              score, scale * dot(q, k)                d_qk d_v    dimensions of a head of q and k / of v and o
 *     m  l           maximum and sum of exp(s - m) of a row  lse         m + log(l), natural logarithm
 *     row            one (query token, query head)           kv head     a head of k and v; query head h reads kv head
 *                                                                        h / (n_query_heads / n_kv_heads)
 *
 * 3. Rules that hold for every function
 *
 *     Errors         Functions return a status; SA_OK is 0. sa_last_reason() says in words what was wrong with the last
 *                    failed call of the calling thread. After an invalid argument no output has been written. Nothing
 *                    here prints (unless SA_VERBOSE=1 is set in the environment), aborts or exits; but libgomp ends
 *                    the process if it cannot make a thread, so a team is as large as threads could be made just
 *                    before it is started.
 *     Threads        An engine may be used by any number of threads at once, except that sa_engine_destroy() must be
 *                    the last call. A process may fork() at any time, but not in a signal handler that has
 *                    interrupted one of these functions; the child may go on using its copy of the engine.
 *     Environment    The caller's CPU affinity, floating-point mode and flags, signal mask and OpenMP settings are the
 *                    same after a call as before it. errno may change.
 *     Structs        Public structs that may grow start with struct_size. Zero means "the default" in every field.
 *                    Fields are only ever appended; a larger struct from a newer header is accepted by an older
 *                    library while what it does not know is zero.
 *     Bits           The bits of a row of o, lse, row_max and weights depend on that row's q, the keys and values it
 *                    sees, what is added to their scores and the options of the batch, those of key_mass on the rows
 *                    that count: not on the number of threads, the other sequences, their order or the caller, nor
 *                    on the instruction set, with exceptions: the two with BF16 have others if all of q, k and v are
 *                    SA_BF16, and the one with AMX if all are SA_F16 and SA_F16_PAIRS is set, or if k and v are SA_I8
 *                    and neither a bias, even one that changes nothing, nor anything like a mask is given, see "Pairs"
 *                    and "Whole numbers" at sa_batch_forward().
 *                    (Payloads of NaNs are not part of this promise.)
 *
 * 4. Which field is for what. All of it goes together, but where a field says otherwise
 *
 *     causal, sliding windows, sink keys         sa_batch: flags, window_left, window_right, n_sink_keys
 *     a prefix that everybody sees               sa_sequence.n_prefix_keys, with SA_CAUSAL
 *     caches, chunks of a prompt                 nothing: the last query stands at the last key; or q_offset
 *     documents packed into one sequence         sa_sequence.k_documents
 *     tokens out of order, a cache with holes    q_positions, k_positions
 *     drafts of speculative decoding             tree_parents
 *     block-sparse attention                     blocks
 *     anything else                              mask, a byte for every query and key, or bias
 *     ALiBi, softcap, learnable sinks            alibi_slopes, softcap, sink_logits
 *     paged caches, int8                         k_pages, v_pages, k_scales, v_scales, sa_cache_append()
 *     where a row looks, who looks at a key      weights, key_mass
 *     keys spread over calls or machines         first_key and partial, or o and lse, and sa_merge()
 */
#ifndef SA_SA_H
#define SA_SA_H

#include <stddef.h>
#include <stdint.h>

#include <sa/version.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SA_API __attribute__((visibility("default")))
#else
#define SA_API
#endif

/* ------------------------------------------------------------------------------------------------------------------
 * Status
 */

/* The values are pinned: they never change, new ones are appended. */
typedef enum sa_status {
    SA_OK = 0,
    SA_INVALID = 1,     /* an argument is wrong; sa_last_reason() names it */
    SA_UNSUPPORTED = 2, /* a meaningful request that this version does not serve */
    SA_NO_MEMORY = 3,   /* an allocation failed; nothing leaked, the engine is still usable; outputs are undefined */
    SA_SYSTEM = 4       /* the operating system refused something else */
} sa_status;

/* "SA_OK", "SA_INVALID", ...; never NULL. */
SA_API const char *sa_status_name(sa_status status);

/* Why the last of this thread's calls that failed did, as one line of text; "" if none has. Valid until the next one
 * fails. */
SA_API const char *sa_last_reason(void);

/* "0.1.0", the version of the library that is running. */
SA_API const char *sa_version(void);

/* ------------------------------------------------------------------------------------------------------------------
 * Engine: the machine, the kernels and one team of threads. Make one per process and keep it.
 */

typedef struct sa_engine sa_engine;

/* Element types, chosen apart for q, k, v and o. SA_F16 is IEEE binary16, SA_BF16 the upper half of a SA_F32. SA_I8 is
 * for k and v only and needs scales. SA_F64 is answered with SA_UNSUPPORTED. Whatever the types, elements are converted
 * to SA_F32, which is exact, and all arithmetic is that of SA_F32, but where pairs of 16 bits or int8 are multiplied as
 * such, see sa_batch_forward(); an element of o is rounded once to its type (to nearest, ties to even; beyond the
 * largest number of SA_F16 lies inf). So the bits of a call on 16-bit tensors are those of the same call on their
 * SA_F32 copies, but for such pairs. */
typedef enum sa_type { SA_F32 = 0, SA_BF16 = 1, SA_F16 = 2, SA_F64 = 3, SA_I8 = 4 } sa_type;

/* Instruction sets, slowest first. */
typedef enum sa_isa {
    SA_ISA_DEFAULT = 0,     /* the fastest this machine has, capped by the environment variable SA_MAX_ISA */
    SA_ISA_GENERIC = 1,     /* portable C; on x86-64 without FMA it is exact, hence slow */
    SA_ISA_AVX2 = 2,        /* x86-64: AVX2 and FMA */
    SA_ISA_AVX512 = 3,      /* x86-64: AVX-512 F, BW, DQ, VL; the fastest that has the bits of all others */
    SA_ISA_AVX512_BF16 = 4, /* the same and BF16: products of pairs of SA_BF16, see sa_batch_forward(). Slower than
                               without on Intel's processors, where it is taken only if max_isa or SA_MAX_ISA name it */
    SA_ISA_AMX_BF16 = 5     /* the same and AMX, much faster at such pairs, and at int8. Linux gives a process AMX's
                               registers when it asks, which it cannot take back; sa_engine_create() asks where this is
                               what will be used. From then on a signal stack that a thread sets up must have room for
                               them: sysconf(_SC_MINSIGSTKSZ), which has counted them all along. Where a thread has a
                               smaller one already, Linux refuses, and the next slower set is taken */
} sa_isa;

/* Where the team's threads stand. If OMP_PROC_BIND, OMP_PLACES or GOMP_CPU_AFFINITY is set, the OpenMP runtime binds
 * them and this is ignored. The caller's threads are never bound. */
typedef enum sa_binding {
    SA_BIND_DEFAULT = 0, /* SA_BIND_CLOSE, if the engine has more than one thread's worth of room to bind in */
    SA_BIND_NONE = 1,    /* the operating system moves the threads as it likes */
    SA_BIND_CLOSE = 2,   /* one physical core each, filling one shared cache after the other */
    SA_BIND_SPREAD = 3   /* one physical core each, spread over packages, NUMA nodes and shared caches */
} sa_binding;

typedef struct sa_engine_options {
    size_t struct_size; /* sizeof(sa_engine_options) */
    int32_t n_threads;  /* size of the team, 1..1024. 0: OMP_NUM_THREADS (its first number); if that is not set, one per
                           physical core the creating thread may run on, at most the CPU quota of its cgroup rounded
                           down (at least 1) */
    int32_t binding;    /* sa_binding */
    int32_t max_isa;    /* sa_isa: never use more than this. An instruction set the machine lacks is no error */
    int32_t reserved;   /* 0 */

    const char *topology; /* NULL: this machine. Otherwise another one to plan for: an hwloc synthetic description such
                             as "package:2 numa:1 l3:8 core:12 pu:1", or, if it contains a '/' or ends in ".xml", the
                             file that `lstopo FILE.xml` wrote there. Such an engine has no threads: it describes, plans
                             and simulates, and sa_batch_forward() answers SA_UNSUPPORTED. n_threads 0 is then one per
                             core whatever OMP_NUM_THREADS says, and times are those of max_isa if that is given. What
                             cannot be read is SA_INVALID. The text is not needed after sa_engine_create(). */
} sa_engine_options;

/* Makes an engine. `options` may be NULL. On failure *engine is NULL. The team lives where the creating thread may run
 * (its affinity mask, or the OpenMP places if the user set them); its threads are started by the first call that needs
 * them, with the scheduling priority of who makes that. Costs milliseconds: the machine's topology is read. */
SA_API sa_status sa_engine_create(const sa_engine_options *options, sa_engine **engine);

/* Stops the team and frees everything. No call may be running. NULL is allowed. */
SA_API void sa_engine_destroy(sa_engine *engine);

/* ------------------------------------------------------------------------------------------------------------------
 * Batch: what to compute
 */

/* A tensor of one sequence: element (token t, head h, dimension c) stands at data[t * token_stride + h * head_stride +
 * c]. Strides count elements and may be negative or larger than 2^31. 0 means packed, [token][head][dimension]:
 * head_stride = d and token_stride = n_heads * d. [head][token][dimension] is head_stride = n_tokens * d,
 * token_stride = d. Any alignment of the element type's size is allowed. `data` may be NULL if there are no elements.
 */
typedef struct sa_tensor {
    const void *data;
    int64_t token_stride;
    int64_t head_stride;
} sa_tensor;

/* The same for an output. */
typedef struct sa_output {
    void *data;
    int64_t token_stride;
    int64_t head_stride;
} sa_output;

/* Scales of the int8 elements of k or v: the key of a (token, kv head) is scale * element, its score
 * (sa_batch.scale * scale) * dot(q, elements), and a value weighs p * scale. The scale of (token t, kv head h) stands
 * at data[t * token_stride + h * head_stride], or in a paged cache at data[page * page_stride + (t % page_tokens) *
 * token_stride + h * head_stride]. Strides count scales; 0 means packed, [token][head] and [page][token][head]. With
 * SA_SCALES_PER_HEAD there is one scale a kv head, data[h * head_stride], and the other strides are 0. Their type is
 * sa_batch.scale_type. data is NULL for other element types. */
typedef struct sa_scales {
    const void *data;
    int64_t token_stride, head_stride, page_stride;
} sa_scales;

/* Where the tokens of a paged k or v stand. They live in a pool of n_pages pages of page_tokens tokens each; table[i]
 * says which page holds the tokens i * page_tokens and following of the sequence. The element (token t, kv head h,
 * dimension c) stands at
 *
 *     data[table[h * head_step + t / page_tokens] * page_stride + (t % page_tokens) * token_stride
 *          + h * head_stride + c]
 *
 * with data and the strides of the sequence's sa_tensor, which hold within a page: 0 means
 * [page][token][head][dimension] or, with head_step, where a page holds one kv head, [page][token][dimension] and
 * head_stride 0. k and v may stand in one pool (a page for both: v.data = k.data + something and the page_stride of
 * both; or a page for either: a table for each) or in two. Pages may be shared between sequences. Every entry is
 * checked against n_pages before it is used; entries of pages in which no query of the sequence sees a key by causality
 * and windows are not looked at. All are where the sequence has positions of its own, a prefix, a tree or full blocks.
 */
typedef struct sa_pages {
    const int32_t *table; /* NULL: not paged */
    int64_t head_step;    /* entries from the table of one kv head to the next; 0: all kv heads share the table */
    int64_t n_pages;      /* pages in the pool */
    int64_t page_stride;  /* elements from one page to the next; 0: packed */
    int32_t page_tokens;  /* 1 or more; any number will do, from 16 on it costs next to nothing */
    int32_t reserved;     /* 0 */
} sa_pages;

/* Numbers that go with (query head h, query i, key j), at data[h * head_stride + i * query_stride + j * key_stride].
 * Strides count elements, may be negative, and 0 broadcasts: there is one number along that axis. */
typedef struct sa_grid {
    const void *data; /* NULL: none */
    int64_t head_stride, query_stride, key_stride;
} sa_grid;

/* Lists of key blocks. Those of (query head h, query block b) are blocks[begin[x]] .. blocks[begin[x + 1] - 1] with
 * x = h * head_stride + b, in ascending order, each once. begin NULL: all lists are empty; one of the two kinds has
 * lists. */
typedef struct sa_block_list {
    const int64_t *begin;
    const int32_t *blocks;
    int64_t head_stride; /* 0: all heads share the lists */
} sa_block_list;

/* Block-sparse attention: query block b is the queries b * q_block .. (b + 1) * q_block - 1, key block c the keys
 * c * k_block .. (c + 1) * k_block - 1. A query sees every key of the `full` blocks, whatever other rules say (but
 * a bias of -inf hides it); of the `partial` ones those that all other rules let it see; of the others none. A block in
 * both lists is full. */
typedef struct sa_block_sparsity {
    sa_block_list full, partial;
    int32_t q_block, k_block; /* 1 or more; 0 if there are no lists. A k_block that is a multiple of 16 is fast,
                                 of 32 in pairs */
} sa_block_sparsity;

/* One row of o. */
typedef struct sa_row {
    int64_t query;
    int32_t head; /* query head */
    int32_t reserved;
} sa_row;

/* Attention weights exp(s - lse) of chosen rows: that of rows[r] and key j goes to data[r * row_stride + j], and 0 for
 * keys that the row does not see: with m and l as they are, so that they sum to 1 as the weights in o do, or to less if
 * a sink takes its share. A row may be chosen more than once. */
typedef struct sa_row_weights {
    float *data; /* NULL: not wanted */
    const sa_row *rows;
    int64_t n_rows;
    int64_t row_stride; /* n_k or more; 0: n_k */
} sa_row_weights;

/* The attention mass that each key received: the sum of its weights over the queries first_query .. first_query +
 * n_queries - 1 and the chosen query heads. That of key j and kv head g goes to data[g * head_stride + j]; with
 * head_stride 0 that of all kv heads together to data[j]. Weights are summed in float64, kv head by kv head and row by
 * row in the order of queries, then heads, and rounded once. */
typedef struct sa_key_mass {
    float *data;                    /* NULL: not wanted */
    int64_t head_stride;            /* n_k or more, or 0 */
    int64_t first_query, n_queries; /* n_queries 0: all from first_query on */
    const unsigned char *heads;     /* NULL: all query heads; otherwise one a query head, not 0: it counts */
} sa_key_mass;

/* Flags of a sequence. */
#define SA_SEQ_Q_OFFSET 1u /* q_offset is given; otherwise it is n_k - n_q */

/* One sequence: n_q query tokens attend to n_k key tokens. All four tensors have the batch's heads and dimensions.
 * n_q = 0 and n_k = 0 are valid; a row that sees no key gets o = 0 and lse = -inf. No output (o, lse, row_max, weights,
 * key_mass, partial) may overlap another one or anything that is read, of any sequence. Within a sequence that is
 * checked, but for lists of blocks and page tables. Arrays must stay as they are until the call returns. */
typedef struct sa_sequence {
    int64_t n_q, n_k; /* 0 .. 2^31 - 2^20 */
    sa_tensor q;      /* n_q tokens, n_query_heads, d_qk */
    sa_tensor k;      /* n_k tokens, n_kv_heads,    d_qk */
    sa_tensor v;      /* n_k tokens, n_kv_heads,    d_v  */
    sa_output o;      /* n_q tokens, n_query_heads, d_v */
    sa_output lse; /* float whatever o is, one a row, element (t, h) at t * token_stride + h * head_stride; data NULL:
                      not wanted. Strides 0 mean [head][token]: head_stride = n_q, token_stride = 1 */
    int64_t q_offset; /* with SA_SEQ_Q_OFFSET: query i stands at position q_offset + i, key j at position j. The default
                         n_k - n_q aligns the last query and key (caches, chunks); 0 the first. Within -2^32 .. 2^32 */
    uint32_t flags;   /* SA_SEQ_* */
    uint32_t reserved;
    sa_pages k_pages, v_pages;    /* v_pages.table NULL: as k_pages, but with a page_stride of its own */
    sa_scales k_scales, v_scales; /* of SA_I8 */

    /* What else a query sees or does not see: a key must be allowed by every rule that is given, but for full blocks.
     * NULL or 0: no rule. */
    const int32_t *q_positions;  /* [n_q]: query i stands at position q_positions[i] instead of q_offset + i, */
    const int32_t *k_positions;  /* [n_k]: key j at k_positions[j] instead of j; for windows, causality and ALiBi. All
                                    within -2^30 .. 2^30, in any order */
    int64_t n_prefix_keys;       /* the right limit, causality for one, does not hold for keys 0 .. n_prefix_keys - 1 */
    const int32_t *k_documents;  /* [n_k]: a query sees keys of its own document only */
    const int32_t *q_documents;  /* [n_q]; NULL with k_documents: query i is token n_k - n_q + i of them, n_q <= n_k */
    const int32_t *tree_parents; /* [n_tree_keys]: the last n_tree_keys keys are nodes of a forest (of drafts), the
                                    parent of node t is node tree_parents[t] < t, or -1. The queries are the last n_q
                                    of these nodes: of the nodes, query n_q - 1 - i sees node n_tree_keys - 1 - i and
                                    its ancestors; rules of positions are for the other keys */
    int64_t n_tree_keys;         /* >= n_q if there are any */
    sa_block_sparsity blocks;
    sa_grid mask; /* unsigned char: a query sees key j where it is not 0 */

    /* What is added to the scores. */
    sa_grid bias; /* of sa_batch.bias_type; -inf hides the key, numbers below -2^127 count as that number */
    const float *alibi_slopes; /* [n_query_heads]; NULL: sa_batch.alibi_slopes */
    const float *sink_logits;  /* [n_query_heads]; NULL: sa_batch.sink_logits */

    /* More outputs. */
    sa_output row_max; /* m, a float a row, laid out as lse is; -inf where no key is seen */
    sa_row_weights weights;
    sa_key_mass key_mass;

    /* A sequence whose keys are dealt with in several calls, to be merged by sa_merge() to the bits of one call. */
    int64_t first_key; /* the keys are those at positions first_key .. first_key + n_k - 1 of the whole: a multiple of
                          sa_engine_info.chunk_keys and of the page_tokens of k and v. Everything that speaks of
                          positions counts from the first key of the whole: q_offset, by default first_key + n_k - n_q,
                          n_sink_keys and n_prefix_keys; arrays and grids that go by key hold these keys only, so
                          q_documents are needed with k_documents. Not
                          together with tree_parents and blocks */
    void *partial; /* NULL, or where the results over these keys are left to be merged: sa_partial_bytes() bytes on a
                      boundary of 8. o, lse, row_max, weights and key_mass are NULL then, and sink_logits are given
                      to sa_merge() instead */
    size_t partial_bytes; /* room there */
} sa_sequence;

/* Flags of a batch. */
#define SA_CAUSAL          1u /* a query at position p sees a key at position j only if j <= p */
#define SA_WINDOW          2u /* window_left and window_right are given: p - window_left <= j <= p + window_right */
#define SA_SCALES_PER_HEAD 4u /* sa_scales hold one scale a kv head, for all tokens */
#define SA_F16_PAIRS       8u /* SA_F16 may be multiplied in pairs, as SA_BF16 is; other bits: see sa_batch_forward() */

typedef struct sa_batch {
    size_t struct_size;   /* sizeof(sa_batch) */
    size_t sequence_size; /* sizeof(sa_sequence): the step from one element of `sequences` to the next */
    int64_t n_sequences;  /* 0 .. 2^31 - 1 */
    const sa_sequence *sequences;

    int32_t n_query_heads; /* 1 .. 2^20, a multiple of n_kv_heads */
    int32_t n_kv_heads;    /* 0: n_query_heads */
    int32_t d_qk;          /* 1..576 */
    int32_t d_v;           /* 1..576; 0: d_qk */

    int32_t q_type, k_type, v_type, o_type; /* sa_type */

    float scale;          /* below 2^127 in size; 0: 1/sqrt(d_qk) */
    uint32_t flags;       /* SA_CAUSAL, SA_WINDOW, SA_SCALES_PER_HEAD, SA_F16_PAIRS */
    int64_t window_left;  /* with SA_WINDOW: >= 0, or -1 for no limit */
    int64_t window_right; /* with SA_WINDOW: >= 0, or -1 for no limit; with SA_CAUSAL as well it is 0 */
    int64_t n_sink_keys; /* keys 0 .. n_sink_keys - 1 stay visible whatever the left limit; the right one still holds */

    int64_t *progress; /* NULL, or a counter of finished (query, key) pairs, all heads counted, that another thread may
                          read with an atomic load while the call runs. Set to 0 first, to n_pairs at the end.
                          Pairs are those that the rule of positions leaves, whether masks, documents and the like
                          hide them or not; with a rule of its own a sequence counts all pairs */

    int32_t scale_type; /* of all sa_scales: SA_F32, SA_BF16 or SA_F16 */
    int32_t bias_type;  /* of every bias: the same types */

    float softcap;     /* below 2^127; > 0: s = softcap * tanh(s / softcap), before anything is added; 0: not so */
    uint32_t reserved; /* 0 */
    const float *alibi_slopes; /* [n_query_heads]: s -= alibi_slopes[h] * |position of the query - that of the key| */
    const float *sink_logits;  /* [n_query_heads]: l += exp(sink_logits[h] - m), as of a key whose value is 0; -inf:
                                  none. These and slopes are below 2^127 in size */
} sa_batch;

/* First initialiser of a sa_batch: sa_batch b = {SA_BATCH_HEAD, .n_sequences = ...}; */
#define SA_BATCH_HEAD sizeof(sa_batch), sizeof(sa_sequence)

/* Computes o, and whatever else is wanted, for every sequence:
 *
 *     s[j]  = scale * dot(q, k[j])             for the visible keys j, -inf for the others
 *     s[j]  = softcap * tanh(s[j] / softcap)                    where there is a softcap
 *     s[j] -= alibi_slope * |p - p[j]|,  s[j] += bias[j]        where there are any
 *     m     = max s[j],  l = sum exp(s[j] - m) + exp(sink_logit - m),  o = sum exp(s[j] - m) v[j] / l,
 *     lse   = m + log(l)
 *
 * Returns when all outputs are written. Large calls are cut into work items that the team takes from a queue, the keys
 * of few queries as well, so that one sequence keeps all threads busy. Calls that are waiting share the queue. A call
 * of less than about 2 ms of work is begun when a thread comes to the end of a block of 256 keys (of few queries a
 * chunk of 1,024) in an item of a longer call; one of less than about 64 ms, or of less than a second, when one comes
 * to the end of an item. Thereafter the thread works for longer calls, if any wait, for as long as that took before it
 * turns to another one of its kind. Calls too small to be worth the hand-over run in the calling thread. The caller of
 * a call of less than 2 ms also works on it, in the place of a thread of the team that sleeps, so no more threads work
 * than the team has; a caller of low priority that is put aside there keeps others from that place. At its end such a
 * caller looks for the last item's end for at most 30 us before it sleeps, not at all if the team is larger than the
 * cores or the CPU quota. The threads of the team never spin: an engine without a call uses no CPU. No memory is
 * allocated once a call of the same dimensions, types, strides, number of sequences, concurrency and, where keys are
 * split, no fewer parts has been made, with more than 64 rows of a kv head if this one has; with weights or key_mass of
 * no fewer rows, with k_documents or k_positions of no fewer keys, and where this one may run in its caller, one that
 * did.
 *
 * Edge values, on every instruction set: NaN or inf in k, v or their scales at a position that is not visible or beyond
 * n_k never reaches an output bit; NaN in a visible q or k element gives NaN in that row, in a visible v element in
 * that column (but see "Whole numbers" below, for what is inf too); a +inf score gives NaN in that row, also in its
 * row_max, unless softcap has made a number of it. Scores are exact up to 2^127 / log2(e), those of int8 keys with and
 * without the key's scale, all with and without any bias (but see "Pairs" below, for subnormal numbers too): -inf is
 * the only sentinel. A key that a bias of -inf hides is not visible, whatever its score is; bias at a key that is not
 * visible is never an influence. Where no key is visible but there is a sink, o is 0 and lse the sink's logit, rounded.
 * Where all visible scores are -inf, as an inf in k may make them, o is 0, or NaN in columns of v with inf or NaN, and
 * lse is -inf. Zeros in o are +0, but for negative numbers that became zero by being rounded to 16 bits. Subnormal
 * inputs and outputs are honoured; weights below 2^-126 of the row's largest may count as anything below it, those
 * below 2^-127 as 0.
 *
 * Error against exact arithmetic, per element of o, to first order in u = 2^-24, with p[j] the exact weights,
 * z[j] = |scale| sum_c |q[c] k[j][c]|, and L = 0 up to 1024 keys and one more for every factor of 8:
 *
 *     |o - exact| <= sum_j p[j] t[j] (|v[j]| + |exact|) + (min(n_k, 256) + 40 + 56 L) u sum_j p[j] |v[j]|
 *                    + n_k 2^-125 max|v| + n_k 2^-148,       t[j] = u ((d_qk + 4) z[j] + |s[j] - m| + 6)
 *
 * where q, k and v are what their elements stand for, exactly, max|v| is that of o's column, no q[c] scale log2(e) and
 * no sum exp(s[j] - m) |v[j]| reaches 2^127, and |scale| is no less than 2^-126. Subnormal products in a score add
 * 2^-148 (d_qk + sum_c |k[j][c]|) to t[j]. What happens to scores adds u (9 T[j] + 2 z[j]) to t[j],
 * T[j] the sum of the magnitudes of the capped score and of what ALiBi and bias add; a sink is one more key in p, with
 * t = u (3 |sink| + 3 |sink - m| + 6) and v = 0, and adds 4 u to the others' t[j]. Int8 keys add u z[j] to t[j], int8
 * values 1 to the 40 and n_k 2^-142 to the whole; rounding o adds 2^-8 |o| + 2^-134 (SA_BF16) or 2^-11 |o| + 2^-25
 * (SA_F16). row_max is off by the largest u ((d_qk + 4) z[j] + 2 |s[j]|), with what is added to t[j]; lse by
 * e = sum_j p[j] t[j] + u (29 + 28 L + |lse|) + n_k 2^-125; a weight by the factors exp(t[j] + e) and
 * exp(4 u (|s[j]| + |lse| + 4)) and by 2^-125; their sums in key_mass are rounded once more.
 *
 * Pairs: SA_ISA_AVX512_BF16 and SA_ISA_AMX_BF16 multiply elements of q, k and v two by two and add the products to a
 * SA_F32 (the former one after the other, the latter those of every 32 dimensions or keys to each other first), in
 * sequences where all three are SA_BF16 and d_qk is even, whatever says what is seen. Weights are rounded to bf16 where
 * they meet v, not in row sums; products are scaled after they are added up, so that no part of the sum q k may reach
 * 2^127; and subnormal elements, scores, weights and sums count as 0. That adds 2^-8 sum_j p[j] |v[j]| + n_k 2^-125 to
 * the bound and 2^-125 (1 + |scale| sum_c (|q[c]| + |k[j][c]| + 1)) to t[j]. Bits depend on nothing else than
 * elsewhere, but are those of the processor's instruction. max_isa = SA_ISA_AVX512, or SA_MAX_ISA=avx512, does without.
 *     With SA_F16_PAIRS, SA_ISA_AMX_BF16 does so where all three are SA_F16, too: each element is the sum of two bf16,
 * which is exact (also where it is subnormal), each weight that of two to 2^-16 of it, and products of the lesser parts
 * of weights and values are left out. That adds 2^-13 in place of 2^-8; an inf in a visible q, k or v counts as NaN.
 * Prompts are nearly twice as fast by it, a query or a few against a long cache 0.8 times. Other instruction sets
 * ignore the flag.
 *
 * Whole numbers: SA_ISA_AMX_BF16 multiplies int8 elements of k and v as they are, where both are SA_I8, d_qk is 16 to
 * 256, there is no bias, and only causality, a window and sink keys say what is seen: no mask, documents, tree, blocks,
 * prefix, or positions where these count. Elements of q become whole numbers of 23 bits, in units that suit
 * the largest of the row; weights times the scales of their values such of 30 bits, in units that suit the largest of
 * the row in a block of 256 keys; sums of products are exact. That adds 3 u |scale| max_c |q[c]| sum_c |k[j][c]| +
 * 2^-127 sum_c |k[j][c]| to t[j], and 2^-30 sum_b max_j (p[j] |scale of v[j]|) sum_j |int8 of v[j]|, over blocks b and
 * their keys j, to the bound: where one key of a block has nearly all of the weight, and elements of 0 with a scale as
 * large as the others', these lose digits. An inf in q gives NaN in its row, and so does the scale of a visible value
 * that is inf or NaN. Bits are the same wherever a row is computed so, but not those of the other instruction sets;
 * max_isa = SA_ISA_AVX512, or SA_MAX_ISA=avx512, does without.
 *
 * Sums are formed in blocks of 256 keys, chunks of 1024 and a tree of chunks, all at fixed positions, so that in
 * practice the error is that of a few hundred keys at any length. tests/bound.h derives the terms. */
SA_API sa_status sa_batch_forward(sa_engine *engine, const sa_batch *batch);

/* ------------------------------------------------------------------------------------------------------------------
 * Caches
 */

/* New tokens of one sequence. */
typedef struct sa_new_tokens {
    int64_t n;   /* 0 .. n_k of the sequence: they become its last n tokens, n_k - n .. n_k - 1. 0 is valid */
    sa_tensor k; /* n tokens, n_kv_heads, d_qk */
    sa_tensor v; /* n tokens, n_kv_heads, d_v */
} sa_new_tokens;

typedef struct sa_append {
    size_t struct_size;          /* sizeof(sa_append) */
    size_t tokens_size;          /* sizeof(sa_new_tokens): the step from one element of `tokens` to the next */
    const sa_new_tokens *tokens; /* one for each sequence of the batch */
    int32_t k_type, v_type;      /* of the new tokens: SA_F32, SA_BF16 or SA_F16 */
} sa_append;

/* First initialiser of a sa_append. */
#define SA_APPEND_HEAD sizeof(sa_append), sizeof(sa_new_tokens)

/* Writes new keys and values into the caches that a batch describes, contiguous or paged, in their types: the same
 * `batch` then goes to sa_batch_forward(), n_k counting the new tokens. Of the batch only the k and v of its sequences,
 * their pages and scales, n_q, n_k, q_offset, dimensions, heads, types and flags are looked at: q, o and lse may be
 * empty; of the page tables only the entries of pages that are written to. The memory behind sa_tensor.data of k and v,
 * and behind sa_scales.data, is written although the pointers are to const. The rows that are written must not overlap
 * the new tokens of the sequence; these may be other rows of its pool, as when a page is copied, unless of SA_I8.
 *
 * Values are rounded to nearest, ties to even; those of the cache's own type keep their bits. To SA_I8 with a scale a
 * token: scale = max |x| / 127 over the dimensions, rounded to scale_type, element = x / scale rounded and kept within
 * -127 .. 127; a row of zeros, or one whose scale rounds to 0, gets scale 0 and zeros; a row with inf or NaN, or one
 * whose scale rounds to inf, gets a NaN for its scale and zeros. With SA_SCALES_PER_HEAD the scales are the caller's
 * and are only read; where x / scale is NaN, or scale is 0, the element is 0.
 *
 * Everything is checked before anything is written. Sequences are written in their order, k before v, so where two of
 * them write to the same row, the later one's stays: pages may be shared as far as they are full, a last page that has
 * room must be copied before either of its owners appends. Runs in the calling thread, allocates nothing, may be called
 * by any number of threads as long as they write to different rows, none of which a call reads meanwhile. Errors:
 * SA_INVALID and SA_UNSUPPORTED, for what sa_batch_forward() refuses as well and for tokens that are wrong.
 *
 * tests/growing.c is a loop that decodes, with a growing bf16 cache in pages. */
SA_API sa_status sa_cache_append(sa_engine *engine, const sa_batch *batch, const sa_append *append);

/* ------------------------------------------------------------------------------------------------------------------
 * Partial results
 */

/* Bytes that sa_sequence.partial needs. It holds d_v + 2 floats a row for each of the largest nodes of the tree of
 * chunks that lie wholly within these keys: at most 14 for every factor of 8 in the number of chunks, 1 for 8, 64, 512,
 * ... chunks from a multiple of so many on. 0: there are no such numbers. */
SA_API size_t sa_partial_bytes(int64_t n_q, int32_t n_query_heads, int32_t d_v, int64_t first_key, int64_t n_k);

/* The results of the same rows over some of their keys: o and lse, or what a call left in sa_sequence.partial. */
typedef struct sa_partial {
    sa_tensor o;          /* n_q tokens, n_query_heads, d_v, of SA_F32 */
    sa_tensor lse;        /* floats, one a row, element (t, h) at t * token_stride + h * head_stride. Strides 0 mean
                             [head][token]. -inf: the row saw none of these keys, its o is not looked at */
    const void *partial;  /* sa_sequence.partial after the call; o and lse are NULL then. All partials of a request are
                             of one kind, and these stand in key order */
    size_t partial_bytes; /* so many are there, of which it must not say that it has more; 0: it is known to be whole */
} sa_partial;

typedef struct sa_merge_request {
    size_t struct_size;  /* sizeof(sa_merge_request) */
    size_t partial_size; /* sizeof(sa_partial): the step from one element of `partials` to the next */
    int64_t n_partials;  /* 0 is valid: rows that see no key */
    const sa_partial *partials;

    int64_t n_q;
    int32_t n_query_heads, d_v;
    int32_t o_type;    /* SA_F32, SA_BF16 or SA_F16 */
    uint32_t reserved; /* 0 */
    sa_output o;       /* n_q tokens, n_query_heads, d_v */
    sa_output lse;     /* as that of a sequence; data NULL: not wanted */

    const float *sink_logits; /* [n_query_heads], as in sa_batch, of rows whose partials were computed without; NULL:
                                 none */
} sa_merge_request;

/* First initialiser of a sa_merge_request. */
#define SA_MERGE_HEAD sizeof(sa_merge_request), sizeof(sa_partial)

/* Merges partial results over sets of keys that have no key in common into those over all of these keys:
 *
 *     m = max lse[i],   l = sum exp(lse[i] - m),   o = sum exp(lse[i] - m) o[i] / l,   lse = m + log(l)
 *
 * over the partials i, in their order, and sinks last. Computed in float64 and rounded once to SA_F32, then as elements
 * of o are, so that o is as good as the numbers it is made of: of those, off by no more than
 * (1 + |lse[i]|) 2^-50 + 2^-24 of sum p[i] |o[i]| with p[i] = exp(lse[i] - lse), and 2^-149. What lse[i] itself lacks,
 * it being a float, is (|lse[i]| + 1) 2^-24 of p[i]. A row that saw nothing anywhere gets o = 0 and lse = -inf. A NaN
 * or +inf in lse[i] gives NaN in that row, a NaN in o[i] of a row that saw keys in that column.
 *
 * Of partials of calls the rows' bits are those of one call over all of these keys, however they are cut, on whatever
 * instruction sets and machines of one byte order the parts were computed (where pairs or whole numbers are
 * multiplied: all on one kind of processor): what the calls left are the results that one call would have at the same
 * places of its tree of chunks, and they are merged in the same order. Only the last of them may end within a chunk of
 * keys; keys that lie in none count as not seen.
 *
 * o and lse may be those of one of the partials, with the same strides and type: the result takes their place.
 * Otherwise no output may overlap an input or the other output. Runs in the calling thread and allocates nothing once
 * another of the same d_v has been made; any number of threads may merge at once, into outputs of their own. The bits
 * are the same on every instruction set.
 * Errors: SA_INVALID, SA_UNSUPPORTED and SA_NO_MEMORY; nothing has been written then. */
SA_API sa_status sa_merge(sa_engine *engine, const sa_merge_request *request);

/* ------------------------------------------------------------------------------------------------------------------
 * For libraries that stand on this one: libsa_layer is one
 */

/* One item of work, 0 .. n_items - 1. No two threads that work on the same call have the same `worker`, which is
 * 0 .. n_threads - 1 (see sa_engine_info). */
typedef void sa_item_function(void *argument, int64_t item, int32_t worker);

/* Calls `function` once for every item, on the engine's team, and returns when all have returned: as the items of a
 * batch, they queue and take turns with those of other calls, in the order of their numbers. `seconds`: about how long
 * all of them take together on one thread, which decides as for batches whether it is worth handing over and what it
 * waits for; 0: longer than others. Others wait for the end of an item, brief calls as well. The items may run in the
 * calling thread, under the floating-point mode of the library wherever they run. They must not call functions of the
 * engine that compute, start threads, or leave by any way but returning; a child that one of them forks must not
 * return. No memory is allocated once a call of the same
 * concurrency has been made. Errors: SA_INVALID; SA_UNSUPPORTED for an engine without threads; SA_NO_MEMORY. */
SA_API sa_status sa_engine_run(sa_engine *engine, int64_t n_items, double seconds, sa_item_function *function,
                               void *argument);

/* Makes `reason` (cut to one line of at most 255 bytes) what sa_last_reason() says in this thread, and returns
 * `status`. NULL is taken as "". */
SA_API sa_status sa_set_reason(sa_status status, const char *reason);

/* ------------------------------------------------------------------------------------------------------------------
 * What the engine decided, and why
 */

typedef struct sa_engine_info {
    size_t struct_size; /* sizeof(sa_engine_info), set by the caller */
    int32_t n_threads;  /* size of the team */
    int32_t n_cores;    /* physical cores the engine may use */
    int32_t n_cpus;     /* hardware threads the engine may use */
    int32_t n_l3;       /* groups of cores that share a last-level cache, among those used */
    int32_t n_numa;     /* NUMA nodes among those used */
    int32_t isa;        /* sa_isa in use */
    int32_t binding;    /* sa_binding in use */
    int32_t tile_rows;  /* rows a work item computes at once */
    int32_t block_keys; /* keys between two updates of the running maximum */
    int32_t chunk_keys; /* keys summed before a partial result is merged */
    double quota_cpus;  /* CPU quota of the cgroup, in CPUs; 0: none */
} sa_engine_info;

SA_API sa_status sa_engine_get_info(const sa_engine *engine, sa_engine_info *info);

/* Writes a description for people: machine, allowed CPUs, quota, threads and where they stand, kernel and tiles, and
 * why a faster instruction set or more threads are not used. At most `capacity` bytes including the final 0 are
 * written; *length, if not NULL, receives what the whole text needs without that 0. text may be NULL if capacity is 0.
 */
SA_API sa_status sa_engine_describe(const sa_engine *engine, char *text, size_t capacity, size_t *length);

typedef struct sa_batch_info {
    size_t struct_size;      /* sizeof(sa_batch_info), set by the caller */
    int64_t n_rows;          /* rows of o: query tokens x query heads */
    int64_t n_pairs;         /* (query, key) pairs, all query heads counted, as sa_batch.progress counts them */
    double flops;            /* 2 n_pairs (d_qk + d_v) */
    int64_t n_items;         /* work items */
    int64_t n_splits;        /* items that have a part of a tile's keys, others the rest; 0: no key range is split */
    int64_t workspace_bytes; /* scratch memory of the call: threads x bytes a thread, which do not depend on n_k, and on
                                n_q only in whether some sequence has more than 64 rows a kv head. Up to 2 MiB of
                                them, touched when used, are for values that are multiplied in pairs by AMX; where there
                                are more than 64 rows up to 8 for copies of k and v that cannot be used where they
                                stand: of other types than f32, in pages of no multiple of 256 tokens, of tokens a
                                multiple of 1024 or 2048 bytes apart. Beside these what the parts leave for each other:
                                tens of them a thread, however long the keys; 8 bytes a row of the sequences whose
                                weights or key_mass are wanted; and 8 for every 256 keys of those with k_documents, and
                                with k_positions. Not counted: as much again is set aside for when threads turn
                                from a long call to a brief one, and touched only then */
    int64_t plan_bytes;      /* the list of work items: grows with the number of sequences, not with their lengths */
    int32_t n_threads;       /* threads that will work on it at most */
    int32_t in_caller;       /* 1: too small for the team, will run in the calling thread */
} sa_batch_info;

/* Checks and plans a batch as sa_batch_forward() would, without touching its tensors, masks and bias; positions,
 * trees, lists, chosen rows, numbers a head and page tables are read. */
SA_API sa_status sa_batch_get_info(sa_engine *engine, const sa_batch *batch, sa_batch_info *info);

/* The same in words; arguments as in sa_engine_describe(). */
SA_API sa_status sa_batch_describe(sa_engine *engine, const sa_batch *batch, char *text, size_t capacity,
                                   size_t *length);

/* ------------------------------------------------------------------------------------------------------------------
 * What would happen
 */

/* Work that one thread does without a pause: items of one kv head, or of several, of one sequence. */
typedef struct sa_segment {
    double begin, end; /* seconds since the call began */
    int64_t sequence;
    int64_t n_items;
    int32_t kv_head; /* of few queries the first of several, where their k and v stand side by side */
    int32_t thread;  /* 0 .. n_threads - 1 */
    int32_t list;    /* the domain in whose list the items stood: another than the thread's if they were taken over */
    int32_t reserved;
} sa_segment;

/* What to assume, and what is wanted beside the result. Zero everywhere is the engine's own team, and nothing more. */
typedef struct sa_simulation_request {
    size_t struct_size;          /* sizeof(sa_simulation_request) */
    int32_t n_threads;           /* the engine's; how long the arrays below are, 0 if all three are NULL */
    int32_t reserved;            /* 0 */
    const double *thread_speeds; /* speed of each thread, > 0 and finite; the planner knows them, too. 1 is the speed of
                                    the processor the kernels were measured on. NULL: what the topology tells about
                                    kinds of core, the fastest being 1 */
    double *thread_busy;         /* NULL, or receives the seconds each thread works */
    int32_t *thread_domains;     /* NULL, or receives the domain of each thread: those of one domain share a last-level
                                    cache */
    sa_segment *segments;        /* NULL, or room for n_segments segments */
    int64_t n_segments;          /* >= 0. If there are more, the rest is left out; see sa_simulation.n_segments */
    /* Another machine's rates over those of the one the kernels were measured on: 1e-6 to 1e6, 0: 1. The planner knows
     * them, too. */
    double compute_speed; /* of all threads, besides thread_speeds: of everything but */
    double memory_speed;  /* a thread's reading of k and v the first time, which is what decoding mostly does */
} sa_simulation_request;

/* Seconds are the cost model's: see perf/README.md for how near they are. It knows nothing of memory that threads
 * share: an item takes the same time whatever the others do. */
typedef struct sa_simulation {
    size_t struct_size;         /* sizeof(sa_simulation), set by the caller */
    double seconds;             /* until the last thread has finished; without overhead_seconds */
    double ideal_seconds;       /* all work over all threads, each at its speed: no schedule is shorter */
    double longest_seconds;     /* the longest item on the fastest thread: no schedule of these items is shorter */
    double round_robin_seconds; /* if the items were dealt to the threads in turn, in the order of the batch */
    double overhead_seconds;    /* what the call costs beside its items: handing over, waking */

    /* Bytes of k and v. Every key (or value) of a kv head that some query sees is read from memory once, by the first
     * last-level cache with an item that sees it; every further cache (NUMA node) with such an item needs a copy of its
     * own, which crosses a border. A cache is taken to keep what it has until the call ends. */
    double kv_bytes;             /* each counted once */
    double l3_bytes;             /* copies for further last-level caches */
    double numa_bytes;           /* copies for further NUMA nodes */
    double round_robin_l3_bytes; /* the same, if the items were dealt to the threads in turn */
    double round_robin_numa_bytes;

    int64_t n_items;
    int64_t n_moved;    /* items computed by a thread of another domain than theirs */
    int64_t n_segments; /* segments there are, whether there was room for them or not */
    int32_t n_threads;  /* threads that take part: 1 if the call is too small for the team */
    int32_t n_domains;  /* lists of items, one for the threads of a last-level cache */
} sa_simulation;

/* Plans a batch as sa_batch_forward() would, without touching its tensors, and plays the plan through: threads take
 * items as the team's do, whoever is free first, each item takes as long as the cost model says. It counts pairs as
 * n_pairs does, so what masks, documents and the like hide takes time here; weights and key_mass take none.
 * Deterministic. Takes some 0.4 us and 2 bytes of memory an item meanwhile. `request` may be NULL. For any number of
 * threads at once. Errors: those of sa_batch_get_info(); SA_INVALID for a request that is wrong. On failure nothing has
 * been written. */
SA_API sa_status sa_batch_simulate(sa_engine *engine, const sa_batch *batch, const sa_simulation_request *request,
                                   sa_simulation *result);

#ifdef __cplusplus
}
#endif

#endif
