/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <math.h>
#include <string.h>

#include "attend.h"
#include "block.h"
#include "few.h"

enum { LEAST_KEYS = SA_BLOCK_KEYS, MOST_KEYS = 4 * SA_BLOCK_KEYS, ITEMS_A_THREAD = 16 };

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---------------------------------------------------------------- the items */

static int64_t n_keys(const struct sa_seq *seq) { return seq->n_k - seq->first_key; }

static int64_t weight_lists(const struct sa_seq *seq) {
    const sa_row_weights *weights = &seq->reports.weights;
    return weights->data ? (weights->n_rows + SA_TILE_ROWS - 1) / SA_TILE_ROWS : 0;
}

static int64_t mass_lists(const struct sa_problem *problem, const struct sa_seq *seq) {
    const sa_key_mass *mass = &seq->reports.mass;
    return !mass->data ? 0 : mass->head_stride ? problem->n_kv_heads : 1;
}

/* Few enough keys to keep the team busy; of no consequence to any bit. */
static int64_t range_keys(const struct sa_seq *seq, int64_t n_lists, int n_threads) {
    const int64_t even = n_keys(seq) * n_lists / ((int64_t)ITEMS_A_THREAD * n_threads);
    return sa_clamp((even + LEAST_KEYS - 1) / LEAST_KEYS * LEAST_KEYS, LEAST_KEYS, MOST_KEYS);
}

static bool add(struct sa_report_plan *plan, struct sa_report report, int64_t n_lists) {
    const size_t used = (size_t)plan->n * sizeof report;
    if (!sa_buffer_extend(&plan->buffer, used, used + sizeof report))
        return false;
    plan->at = plan->buffer.data;
    plan->at[plan->n++] = report;
    plan->n_items += n_lists * report.n_ranges;
    return true;
}

static size_t known_floats(const struct sa_problem *problem, const struct sa_seq *seq) {
    return (size_t)sa_seq_rows(problem, seq) * (size_t)problem->n_kv_heads * 2;
}

bool sa_report_plan(struct sa_report_plan *plan, const struct sa_problem *problem, int n_threads) {
    plan->n = plan->n_items = 0;
    plan->known_bytes = 0;
    for (int32_t i = 0; i < problem->n_seqs; i++) {
        const struct sa_seq *seq = &problem->seqs[i];
        const int64_t weights = weight_lists(seq), lists = weights + mass_lists(problem, seq);
        if (lists == 0 || n_keys(seq) == 0)
            continue;
        const int64_t keys = range_keys(seq, lists, n_threads), n_ranges = (n_keys(seq) + keys - 1) / keys;
        if (!add(plan, (struct sa_report){plan->n_items, n_ranges, weights * n_ranges, keys, i}, lists))
            return false;
        plan->known_bytes += known_floats(problem, seq) * sizeof(float);
    }
    return true;
}

bool sa_report_grant(struct sa_report_plan *plan, struct sa_problem *problem) {
    if (!sa_buffer_reserve(&plan->known_buffer, plan->known_bytes))
        return false;
    float *known = plan->known_buffer.data;
    size_t used = 0;
    for (int64_t i = 0; i < plan->n; i++) {
        struct sa_seq *seq = &problem->seqs[plan->at[i].seq];
        seq->reports.known = known ? known + used : NULL; /* without a row there may be no room */
        used += known_floats(problem, seq);
    }
    return true;
}

void sa_report_free(struct sa_report_plan *plan) {
    sa_buffer_free(&plan->buffer);
    sa_buffer_free(&plan->known_buffer);
}

/* ---------------------------------------------------------------- weights of a tile */

/* Rows of a kv head under way: what is known of them. */
struct known {
    struct sa_tile tile;
    _Alignas(64) float m[SA_TILE_ROWS];
    float inverse[SA_TILE_ROWS]; /* of l; 0 where no key is seen */
    bool broken[SA_TILE_ROWS];   /* by a NaN or +inf: so is every weight of a key that is seen */
};

static void open_rows(struct known *k, int kv_head, int64_t first_row, int n_rows) {
    struct sa_tile *t = &k->tile;
    const float *known = t->seq->reports.known + 2 * (kv_head * sa_seq_rows(t->problem, t->seq) + first_row);
    sa_open_rows(t, kv_head, first_row, n_rows);
    for (int r = 0; r < SA_TILE_ROWS; r++) {
        const float m = r < n_rows ? known[2 * r] : -INFINITY, l = r < n_rows ? known[2 * r + 1] : 0.0f;
        k->broken[r] = !(l < INFINITY) || m != m;
        k->m[r] = k->broken[r] ? 0.0f : m;
        k->inverse[r] = k->broken[r] ? 1.0f : l == 0.0f ? 0.0f : 1.0f / l;
    }
    sa_play_interlude(t);
}

/* Weights, not yet divided by l, of the block at `at`. False: no row sees any of it. */
static bool weigh(const struct known *k, int64_t at, struct sa_scored *scored) {
    const int64_t end = min64(at + SA_BLOCK_KEYS, k->tile.seq->n_k);
    if (!sa_tile_sees_any(&k->tile, at, end))
        return false;
    return k->tile.n_rows <= SA_FEW_ROWS ? sa_weigh_few(&k->tile, at, k->m, k->broken, scored)
                                         : sa_weigh_block(&k->tile, at, k->m, k->broken, scored);
}

/* ---------------------------------------------------------------- weights of chosen rows */

struct chosen {
    int kv_head;
    int64_t row; /* of the kv head */
};

static struct chosen chosen_at(const struct sa_problem *problem, const struct sa_seq *seq, int64_t i) {
    const sa_row *row = &seq->reports.weights.rows[i];
    return (struct chosen){row->head / problem->group, row->query * problem->group + row->head % problem->group};
}

/* Rows of the list from `begin` on that follow each other. */
static int count_neighbours(const struct sa_problem *problem, const struct sa_seq *seq, int64_t begin, int64_t end) {
    const struct chosen first = chosen_at(problem, seq, begin);
    int n = 1;
    for (; begin + n < end; n++) {
        const struct chosen next = chosen_at(problem, seq, begin + n);
        if (next.kv_head != first.kv_head || next.row != first.row + n)
            break;
    }
    return n;
}

static float *weights_of(const struct sa_seq *seq, int64_t r, int64_t key) {
    return seq->reports.weights.data + r * seq->reports.weights.row_stride + (key - seq->first_key);
}

static void write_row(const struct known *k, const struct sa_scored *scored, int r, float *to) {
    const int group = r / SA_GROUP_ROWS;
    const float *from = sa_scored_row(scored, r);
    for (int j = scored->begin[group]; j < scored->end[group]; j++)
        to[j] = from[j * scored->key_step] * k->inverse[r];
}

static void write_neighbours(struct known *k, int64_t first, int n, int64_t begin, int64_t end) {
    const struct sa_seq *seq = k->tile.seq;
    const struct chosen chosen = chosen_at(k->tile.problem, seq, first);
    struct sa_scored scored;
    open_rows(k, chosen.kv_head, chosen.row, n);
    for (int r = 0; r < n; r++)
        memset(weights_of(seq, first + r, begin), 0, (size_t)(end - begin) * sizeof(float));
    for (int64_t at = begin; at < end; at += SA_BLOCK_KEYS)
        for (int r = 0, any = weigh(k, at, &scored); any && r < n; r++)
            write_row(k, &scored, r, weights_of(seq, first + r, at));
}

static void report_weights(struct known *k, int64_t list, int64_t begin, int64_t end) {
    const struct sa_seq *seq = k->tile.seq;
    const int64_t first = list * SA_TILE_ROWS, last = min64(first + SA_TILE_ROWS, seq->reports.weights.n_rows);
    int n;
    for (int64_t i = first; i < last; i += n) {
        n = count_neighbours(k->tile.problem, seq, i, last);
        write_neighbours(k, i, n, begin, end);
    }
}

/* ---------------------------------------------------------------- the mass of keys */

/* Rows of a tile that count. */
struct counted {
    int row[SA_TILE_ROWS], n;
};

static struct counted count_rows(const struct known *k, int kv_head) {
    const unsigned char *heads = k->tile.seq->reports.mass.heads;
    const int group = k->tile.problem->group;
    struct counted counted = {.n = 0};
    for (int r = 0; r < k->tile.n_rows; r++)
        if (!heads || heads[kv_head * group + (k->tile.first_row + r) % group])
            counted.row[counted.n++] = r;
    return counted;
}

/* Row after row; several keys side by side, so that one sum need not wait for itself. */
static void add_block(const struct known *k, const struct sa_scored *scored, const struct counted *counted,
                      double *sums) {
    enum { KEYS = 4 };
    for (int i = 0, next; i < counted->n; i = next) {
        const int group = counted->row[i] / SA_GROUP_ROWS;
        for (next = i; next < counted->n && counted->row[next] / SA_GROUP_ROWS == group;)
            next++;
        for (int j = scored->begin[group]; j < scored->end[group]; j += KEYS) {
            const int n = scored->end[group] - j < KEYS ? scored->end[group] - j : KEYS;
            for (int x = i; x < next; x++) {
                const float *p = sa_scored_row(scored, counted->row[x]) + j * scored->key_step;
                for (int y = 0; y < n; y++)
                    sums[j + y] += (double)(p[y * scored->key_step] * k->inverse[counted->row[x]]);
            }
        }
    }
}

static void add_head(struct known *k, int kv_head, int64_t begin, int64_t end, double *sums) {
    const sa_key_mass *mass = &k->tile.seq->reports.mass;
    const int64_t group = k->tile.problem->group, last = (mass->first_query + mass->n_queries) * group;
    for (int64_t row = mass->first_query * group, n; row < last; row += n) {
        n = min64(last - row, SA_TILE_ROWS);
        open_rows(k, kv_head, row, (int)n);
        const struct counted counted = count_rows(k, kv_head);
        struct sa_scored scored;
        for (int64_t at = begin; at < end && counted.n > 0; at += SA_BLOCK_KEYS)
            if (weigh(k, at, &scored))
                add_block(k, &scored, &counted, sums + (at - begin));
    }
}

static void report_mass(struct known *k, int64_t list, int64_t begin, int64_t end) {
    const struct sa_seq *seq = k->tile.seq;
    const sa_key_mass *mass = &seq->reports.mass;
    const bool all = mass->head_stride == 0;
    double sums[MOST_KEYS] = {0};
    for (int kv_head = all ? 0 : (int)list; kv_head < (all ? k->tile.problem->n_kv_heads : (int)list + 1); kv_head++)
        add_head(k, kv_head, begin, end, sums);
    for (int64_t j = begin; j < end; j++)
        mass->data[list * mass->head_stride + j - seq->first_key] = (float)sums[j - begin];
}

/* ---------------------------------------------------------------- an item */

static const struct sa_report *report_of(const struct sa_report_plan *plan, int64_t index) {
    int64_t low = 0, high = plan->n;
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        *(plan->at[middle].first_item <= index ? &low : &high) = middle;
    }
    return &plan->at[low];
}

void sa_report_item(const struct sa_kernels *kernels, const struct sa_problem *problem,
                    const struct sa_report_plan *plan, int64_t index, struct sa_workspace *space) {
    const struct sa_report *report = report_of(plan, index);
    const struct sa_seq *seq = &problem->seqs[report->seq];
    struct known k = {.tile = {.kernels = kernels, .problem = problem, .space = space, .seq = seq}};
    const int64_t item = index - report->first_item,
                  begin = seq->first_key + item % report->n_ranges * report->range_keys;
    const int64_t end = min64(begin + report->range_keys, seq->n_k);
    const struct sa_dots *dots = sa_dots_of(kernels, problem, seq);
    const struct sa_bytes *bytes = sa_bytes_of(kernels, problem, seq);
    sa_enter_products(dots, bytes);
    if (item < report->n_weights)
        report_weights(&k, item / report->n_ranges, begin, end);
    else
        report_mass(&k, (item - report->n_weights) / report->n_ranges, begin, end);
    sa_leave_products(dots, bytes);
}
