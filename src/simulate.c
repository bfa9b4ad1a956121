/* SPDX-License-Identifier: MIT */
#include "simulate.h"

#include <string.h>

/* ---------------------------------------------------------------- the state of a simulation */

/* A thread in the heap: who is free first takes next; of two, the one with the lower number. */
struct runner {
    double free_at;
    int thread;
};

/* How far some cache has read into the keys of a (sequence, kv head), or into a stretch of them that no part begins or
 * ends in. Tiles are met in order, and both ends of what they see move right, so two numbers tell all: what is known of
 * the sink, and how far the rest reaches. */
struct reach {
    int64_t stamp; /* of which stretch */
    int64_t sink, rest;
};

struct sim {
    const struct sa_plan *plan;
    const struct sa_problem *problem;
    const struct sa_sim_team *team;
    const struct sa_sim_details *details;
    struct sa_sim_result *result;
    struct sa_buffer memory;
    struct runner *heap;   /* [n_threads] */
    sa_segment *open;      /* [n_threads] */
    double *dealt;         /* [n_threads], time of a thread in round robin */
    struct reach *reach;   /* [1 + n_numa + n_domains] */
    int64_t *next;         /* [n_domains], item to be taken */
    int64_t *first_of_seq; /* [n_seqs], number of its first item in the order of the batch */
    int16_t *owner;        /* [n_items], domain that computes an item, in the order of the batch */
    int64_t n_stretches;   /* counted through */
    int n_running;
};

/* One block of memory, cut into arrays; without a base it is only counted. */
struct layout {
    char *base;
    size_t used;
};

static void *cut_off(struct layout *layout, size_t n, size_t bytes) {
    void *start = layout->base ? layout->base + layout->used : NULL;
    layout->used += (n * bytes + 63) / 64 * 64;
    return start;
}

static size_t lay_out(struct sim *s, void *base) {
    size_t n_threads = (size_t)s->team->shape.n_threads, n_domains = (size_t)s->team->shape.n_domains;
    struct layout layout = {base, 0};
    s->heap = cut_off(&layout, n_threads, sizeof *s->heap);
    s->open = cut_off(&layout, n_threads, sizeof *s->open);
    s->dealt = cut_off(&layout, n_threads, sizeof *s->dealt);
    s->reach = cut_off(&layout, 1 + (size_t)s->team->n_numa + n_domains, sizeof *s->reach);
    s->next = cut_off(&layout, n_domains, sizeof *s->next);
    s->first_of_seq = cut_off(&layout, (size_t)s->problem->n_seqs, sizeof *s->first_of_seq);
    s->owner = cut_off(&layout, (size_t)s->plan->n_items, sizeof *s->owner);
    return layout.used;
}

static double speed_of(const struct sim *s, int thread) {
    return s->team->thread_speed ? s->team->thread_speed[thread] : 1;
}

static double cost_of(const struct sim *s, struct sa_item item) {
    return sa_item_cost(s->plan, s->problem, s->team->shape.model, item);
}

/* ---------------------------------------------------------------- items in the order of the batch */

/* Items of a kv head before a tile. */
static int64_t items_before(const struct sim *s, int32_t seq, int64_t tile) {
    return tile + sa_splits_parts_before(&s->plan->splits, seq, tile);
}

static int64_t head_items(const struct sim *s, int32_t seq) {
    return items_before(s, seq, sa_seq_tiles(s->problem, &s->problem->seqs[seq]));
}

static int64_t number_of(const struct sim *s, struct sa_item item) {
    const int head = item.kv_head / sa_abreast(&s->problem->seqs[item.seq]);
    return s->first_of_seq[item.seq] + head * head_items(s, item.seq) + items_before(s, item.seq, item.tile) +
           item.part;
}

/* ---------------------------------------------------------------- who is free first */

static bool is_earlier(const struct runner *a, const struct runner *b) {
    return a->free_at != b->free_at ? a->free_at < b->free_at : a->thread < b->thread;
}

/* The first runner's time has grown, or it has been replaced: down to its place. */
static void sift_first(struct sim *s) {
    struct runner moving = s->heap[0];
    int at = 0;
    for (int child; (child = 2 * at + 1) < s->n_running; at = child) {
        if (child + 1 < s->n_running && is_earlier(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (is_earlier(&moving, &s->heap[child]))
            break;
        s->heap[at] = s->heap[child];
    }
    s->heap[at] = moving;
}

/* ---------------------------------------------------------------- segments */

static void close_segment(struct sim *s, int thread) {
    const sa_segment *open = &s->open[thread];
    if (open->n_items == 0)
        return;
    if (s->details->segments && s->result->n_segments < s->details->capacity)
        s->details->segments[s->result->n_segments] = *open;
    s->result->n_segments++;
}

static void add_to_segment(struct sim *s, int thread, int list, struct sa_item item, double begin, double end) {
    sa_segment *open = &s->open[thread];
    if (open->n_items && open->sequence == item.seq && open->kv_head == item.kv_head && open->list == list) {
        open->end = end;
        open->n_items++;
        return;
    }
    close_segment(s, thread);
    *open = (sa_segment){begin, end, item.seq, 1, item.kv_head, thread, list, 0};
}

/* ---------------------------------------------------------------- the replay */

/* As take_any() in team.c. Returns the list, or -1 if nothing is left. */
static int take(struct sim *s, int domain, struct sa_item *item) {
    int n = s->plan->n_domains;
    for (int i = 0; i < n; i++) {
        int list = (domain + i) % n;
        if (s->next[list] < s->plan->domains[list].n_items) {
            *item = sa_plan_item(s->plan, list, s->next[list]++);
            return list;
        }
    }
    return -1;
}

static void leave(struct sim *s) {
    struct runner *first = &s->heap[0];
    s->result->makespan = first->free_at > s->result->makespan ? first->free_at : s->result->makespan;
    if (s->details->busy)
        s->details->busy[first->thread] = first->free_at;
    close_segment(s, first->thread);
    *first = s->heap[--s->n_running];
}

static void work(struct sim *s, int list, struct sa_item item) {
    struct runner *first = &s->heap[0];
    int domain = s->team->thread_domain[first->thread];
    double cost = cost_of(s, item), end = first->free_at + cost / speed_of(s, first->thread);
    s->owner[number_of(s, item)] = (int16_t)domain;
    s->result->n_moved += list != domain;
    s->result->longest = cost > s->result->longest ? cost : s->result->longest;
    add_to_segment(s, first->thread, list, item, first->free_at, end);
    first->free_at = end;
}

static void replay(struct sim *s) {
    for (int t = 0; t < s->n_running; t++)
        s->heap[t] = (struct runner){0, t};
    while (s->n_running > 0) {
        struct sa_item item;
        int list = take(s, s->team->thread_domain[s->heap[0].thread], &item);
        if (list < 0)
            leave(s);
        else
            work(s, list, item);
        sift_first(s);
    }
}

/* ---------------------------------------------------------------- bytes across borders */

/* Keys of a stretch of a kv head's that the cache behind `reach` did not have. Those below the sink's end are seen as a
 * prefix, whether as sink keys or by the window; those above it as a run that moves right. */
static int64_t read_keys(struct reach *reach, int64_t stamp, struct sa_range keys, int64_t sink_end,
                         struct sa_span span) {
    if (reach->stamp != stamp)
        *reach = (struct reach){stamp, keys.begin, keys.begin};
    int64_t prefix = sa_clamp(span.hi < sink_end ? span.hi : sink_end, keys.begin, keys.end),
            from = sa_clamp(span.lo > sink_end ? span.lo : sink_end, keys.begin, keys.end),
            end = sa_clamp(span.hi, keys.begin, keys.end);
    from = from > reach->rest ? from : reach->rest;
    int64_t n = (prefix > reach->sink ? prefix - reach->sink : 0) + (end > from ? end - from : 0);
    reach->sink = prefix > reach->sink ? prefix : reach->sink;
    reach->rest = end > reach->rest ? end : reach->rest;
    return n;
}

struct head {
    int32_t seq;
    int64_t first; /* number of its first item, or of those that go abreast */
    bool dealt;    /* in turn, not as it was simulated */
};

static int domain_of(const struct sim *s, int64_t number, bool dealt) {
    return dealt ? s->team->thread_domain[number % s->team->shape.n_threads] : s->owner[number];
}

/* The domain whose item has the keys of a stretch of a tile, -1: no row sees any of them. */
static int reader_of(const struct sim *s, const struct head *head, int64_t tile, struct sa_range keys) {
    const struct sa_split *split = sa_splits_find(&s->plan->splits, head->seq, tile);
    if (split && !sa_split_sees(split, keys.begin, keys.end))
        return -1;
    const int part = split ? sa_parts_below(split, keys.begin) : 0;
    return domain_of(s, head->first + items_before(s, head->seq, tile) + part, head->dealt);
}

static void count_stretch(struct sim *s, const struct head *head, struct sa_range keys, struct sa_traffic *traffic) {
    const struct sa_seq *seq = &s->problem->seqs[head->seq];
    struct reach *all = s->reach, *numa = all + 1, *l3 = numa + s->team->n_numa;
    int64_t sink_end = sa_rule_of(s->problem, seq)->sink < seq->n_k ? sa_rule_of(s->problem, seq)->sink : seq->n_k;
    int64_t stamp = ++s->n_stretches, once = 0, l3_keys = 0, numa_keys = 0;
    for (int64_t tile = 0; tile < sa_seq_tiles(s->problem, seq); tile++) {
        struct sa_span span = sa_tile_span(s->problem, seq, tile);
        int domain = reader_of(s, head, tile, keys);
        if (domain < 0)
            continue;
        once += read_keys(all, stamp, keys, sink_end, span);
        l3_keys += read_keys(&l3[domain], stamp, keys, sink_end, span);
        numa_keys += read_keys(&numa[s->team->domain_numa[domain]], stamp, keys, sink_end, span);
    }
    traffic->keys += (double)once;
    traffic->l3_keys += (double)(l3_keys - once);
    traffic->numa_keys += (double)(numa_keys - once);
}

/* No part of a tile of the sequence begins or ends but at a multiple of this. */
static int64_t stretch_keys(const struct sim *s, int32_t seq) {
    const struct sa_splits *splits = &s->plan->splits;
    int64_t least = INT64_MAX / 2;
    for (int64_t i = 0; i < splits->n; i++)
        if (splits->at[i].seq == seq && sa_split_keys(&splits->at[i]) < least)
            least = sa_split_keys(&splits->at[i]);
    return least;
}

static void count_seq(struct sim *s, int32_t seq, bool dealt, struct sa_traffic *traffic) {
    const int64_t n_items = head_items(s, seq), n_k = s->problem->seqs[seq].n_k;
    if (n_items == 0)
        return;
    const int64_t step = stretch_keys(s, seq);
    const int abreast = sa_abreast(&s->problem->seqs[seq]);
    for (int kv_head = 0; kv_head < s->problem->n_kv_heads; kv_head++) {
        const struct head head = {seq, s->first_of_seq[seq] + kv_head / abreast * n_items, dealt};
        for (int64_t begin = 0; begin < n_k; begin += step)
            count_stretch(s, &head, (struct sa_range){begin, begin + step < n_k ? begin + step : n_k}, traffic);
    }
}

static struct sa_traffic count_traffic(struct sim *s, bool dealt) {
    struct sa_traffic traffic = {0, 0, 0};
    memset(s->reach, 0, (size_t)(1 + s->team->n_numa + s->team->shape.n_domains) * sizeof *s->reach);
    for (int32_t seq = 0; seq < s->problem->n_seqs; seq++)
        count_seq(s, seq, dealt, &traffic);
    return traffic;
}

/* ---------------------------------------------------------------- the comparison */

static void deal(struct sim *s, struct sa_item item) {
    int thread = (int)(number_of(s, item) % s->team->shape.n_threads);
    s->dealt[thread] += cost_of(s, item) / speed_of(s, thread);
}

static void deal_head(struct sim *s, int32_t seq, int kv_head) {
    for (int64_t tile = 0; tile < sa_seq_tiles(s->problem, &s->problem->seqs[seq]); tile++) {
        const struct sa_split *split = sa_splits_find(&s->plan->splits, seq, tile);
        struct sa_item item = {seq, kv_head, tile, split ? (int32_t)(split - s->plan->splits.at) : SA_WHOLE, 0};
        do
            deal(s, item);
        while (split && ++item.part < split->n_parts);
    }
}

static double round_robin(struct sim *s) {
    double last = 0;
    for (int32_t seq = 0; seq < s->problem->n_seqs; seq++)
        for (int kv_head = 0; kv_head < s->problem->n_kv_heads; kv_head += sa_abreast(&s->problem->seqs[seq]))
            deal_head(s, seq, kv_head);
    for (int t = 0; t < s->team->shape.n_threads; t++)
        last = s->dealt[t] > last ? s->dealt[t] : last;
    return last;
}

/* ---------------------------------------------------------------- all of it */

static void find_bounds(struct sim *s) {
    double speeds = 0, fastest = 0;
    for (int t = 0; t < s->team->shape.n_threads; t++) {
        speeds += speed_of(s, t);
        fastest = speed_of(s, t) > fastest ? speed_of(s, t) : fastest;
    }
    s->result->ideal = s->plan->cost / speeds;
    s->result->longest /= fastest;
}

static void number_items(struct sim *s) {
    int64_t n = 0;
    for (int32_t i = 0; i < s->problem->n_seqs; i++) {
        s->first_of_seq[i] = n;
        n += head_items(s, i) * sa_item_heads(s->problem, &s->problem->seqs[i]);
    }
}

bool sa_simulate(const struct sa_plan *plan, const struct sa_problem *problem, const struct sa_sim_team *team,
                 const struct sa_sim_details *details, struct sa_sim_result *result) {
    static const struct sa_sim_details none;
    struct sim s = {.plan = plan,
                    .problem = problem,
                    .team = team,
                    .details = details ? details : &none,
                    .result = result,
                    .n_running = team->shape.n_threads};
    *result = (struct sa_sim_result){.n_items = plan->n_items};
    size_t bytes = lay_out(&s, NULL);
    if (!sa_buffer_reserve(&s.memory, bytes))
        return false;
    memset(s.memory.data, 0, bytes);
    lay_out(&s, s.memory.data);
    number_items(&s);
    replay(&s);
    find_bounds(&s);
    result->traffic = count_traffic(&s, false);
    result->round_robin_traffic = count_traffic(&s, true);
    result->round_robin = round_robin(&s);
    sa_buffer_free(&s.memory);
    return true;
}
