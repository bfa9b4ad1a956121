/* SPDX-License-Identifier: MIT */
/* Measures what cheaper patterns of attention lose on tensors in files; see --help. */
#include "cheaper.h"

#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "bench_config.h"
#include "bench_machine.h"
#include "cli.h"
#include "standard.h"

struct experiment {
    struct cheaper_options options;
    struct inputs inputs;
    sa_engine *engine;
    sa_engine_info info;
    struct cheaper_outputs exact, found; /* of the exact batch, of the last one computed */
    struct cheaper_case cases[CHEAPER_MOST_PATTERNS + 1];
    int n_cases;
};

/* ---------------------------------------------------------------- measuring */

static bool call(const struct experiment *e, const sa_batch *batch) {
    return sa_batch_forward(e->engine, batch) == SA_OK || complain("%s", sa_last_reason());
}

/* The first case is the exact one. */
static bool add_case(struct experiment *e, const struct cheaper_pattern *pattern) {
    struct cheaper_case *c = &e->cases[e->n_cases++];
    if (!cheaper_case_open(c, pattern, &e->inputs.batch, e->options.block, e->engine))
        return false;
    const struct cheaper_outputs *to = e->n_cases == 1 ? &e->exact : &e->found;
    cheaper_outputs_set(to, &c->batch, c->seqs);
    if (!call(e, &c->batch) || !cheaper_outputs_are_numbers(to, &c->batch) || !cheaper_check(c))
        return false;
    cheaper_compare(c, &e->exact, to);
    return true;
}

/* One call, or as many as take a millisecond. */
static bool take_sample(const struct experiment *e, struct cheaper_case *c) {
    enum { MOST_CALLS = 10000 };
    int n = 0;
    const double begin = bench_now();
    double end;
    do {
        if (!call(e, &c->batch))
            return false;
        end = bench_now();
    } while (++n < MOST_CALLS && end - begin < 1e-3);
    bench_samples_add(&c->seconds, (end - begin) / n);
    return true;
}

/* Rounds over all cases, so that a disturbance hits everyone alike. */
static bool measure(struct experiment *e) {
    const double end = bench_now() + e->options.seconds;
    for (int round = 0; round < e->options.repeats && (round == 0 || bench_now() < end); round++)
        for (int i = 0; i < e->n_cases; i++)
            if (!take_sample(e, &e->cases[i]))
                return false;
    return true;
}

/* ---------------------------------------------------------------- JSON */

static json_t *case_json(struct cheaper_case *c, double all_pairs) {
    const struct bench_summary time = bench_summarize(&c->seconds);
    return json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:f, s:f, s:f, s:f, s:f}", "kind",
                     cheaper_kind_names[c->pattern.kind], "size", (json_int_t)c->pattern.size, "sinks",
                     (json_int_t)c->pattern.sinks, "pairs", c->pairs, "share", all_pairs > 0 ? c->pairs / all_pairs : 1,
                     "seconds", time.median, "seconds_min", time.min, "spread", bench_spread(&time), "samples",
                     (json_int_t)time.n, "mass_mean", c->mass_mean, "mass_min", c->mass_min, "error_mean",
                     c->error_mean, "error_max", c->error_max, "error_share", c->error_share);
}

static int64_t longest(const sa_batch *batch) {
    int64_t n = 0;
    for (int64_t i = 0; i < batch->n_sequences; i++)
        n = batch->sequences[i].n_k > n ? batch->sequences[i].n_k : n;
    return n;
}

static bool print(struct experiment *e) {
    const struct bench_machine machine = bench_machine_look();
    const sa_batch *b = &e->inputs.batch;
    json_t *cases = json_array();
    for (int i = 0; i < e->n_cases; i++)
        json_array_append_new(cases, case_json(&e->cases[i], e->cases[0].pairs));
    return json_print(json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:i, s:i, s:i, s:i, s:b, s:I, s:o}", "version",
                                sa_version(), "cpu", machine.cpu, "isa", bench_isa_name(e->info.isa), "threads",
                                (int)e->info.n_threads, "sequences", (json_int_t)b->n_sequences, "longest",
                                (json_int_t)longest(b), "heads", (int)b->n_query_heads, "kv_heads", (int)b->n_kv_heads,
                                "d", (int)b->d_qk, "d_v", (int)b->d_v, "causal", e->options.causal, "block",
                                (json_int_t)e->options.block, "patterns", cases));
}

/* ---------------------------------------------------------------- the whole */

static bool open_engine(struct experiment *e) {
    sa_engine_options wanted = {.struct_size = sizeof wanted, .n_threads = e->options.threads};
    e->info.struct_size = sizeof e->info;
    return (sa_engine_create(&wanted, &e->engine) == SA_OK && sa_engine_get_info(e->engine, &e->info) == SA_OK) ||
           complain("no engine: %s", sa_last_reason());
}

static bool open_batch(struct experiment *e) {
    sa_batch *batch = &e->inputs.batch;
    if (!inputs_open(&e->options.inputs, &e->inputs))
        return false;
    batch->o_type = SA_F32; /* an error of rounding is none of the pattern's */
    batch->flags = e->options.causal ? SA_CAUSAL : 0;
    cheaper_options_choose(&e->options, longest(batch));
    if (!cheaper_outputs_open(&e->exact, batch) || !cheaper_outputs_open(&e->found, batch))
        return false;
    cheaper_outputs_set(&e->found, batch, e->inputs.seqs);
    return true;
}

static bool run(struct experiment *e) {
    const struct cheaper_pattern exact = {.kind = CHEAPER_EXACT};
    bool good = open_engine(e) && open_batch(e) && add_case(e, &exact);
    for (int i = 0; good && i < e->options.n_patterns; i++)
        good = add_case(e, &e->options.patterns[i]);
    return good && measure(e) && print(e);
}

static void close_all(struct experiment *e) {
    for (int i = 0; i < e->n_cases; i++)
        cheaper_case_close(&e->cases[i]);
    cheaper_outputs_close(&e->exact);
    cheaper_outputs_close(&e->found);
    inputs_close(&e->inputs);
    sa_engine_destroy(e->engine);
}

int main(int argc, char **argv) {
    static struct experiment e;
    standard_open();
    const int parse = cheaper_options_parse(&e.options, argc, argv);
    if (parse != 0)
        return standard_close("cheaper", parse == 2 ? 2 : 0);
    const bool good = run(&e);
    close_all(&e);
    return standard_close("cheaper", good ? 0 : 1);
}
