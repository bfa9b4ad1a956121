/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>

#include "cli.h"
#include "names.h"
#include "run.h"
#include "stored.h"

/* What the scores of all rows and keys would have taken as float32. */
static double n_x_n_bytes(const struct run_batch *run) {
    double bytes = 0;
    for (int64_t i = 0; i < run->batch.n_sequences; i++)
        bytes += 4.0 * (double)run->seqs[i].n_q * (double)run->seqs[i].n_k * run->batch.n_query_heads;
    return bytes;
}

static double gflops(const struct run_report *r) { return r->seconds > 0 ? r->info.flops / r->seconds * 1e-9 : 0; }
static double share(const struct run_report *r) { return r->peak > 0 ? gflops(r) * 1e9 / r->peak : 0; }

static void range(const struct run_batch *run, int64_t *n_q, int64_t *n_k) {
    n_q[0] = n_k[0] = INT64_MAX;
    n_q[1] = n_k[1] = 0;
    for (int64_t i = 0; i < run->batch.n_sequences; i++) {
        const sa_sequence *s = &run->seqs[i];
        n_q[0] = s->n_q < n_q[0] ? s->n_q : n_q[0];
        n_q[1] = s->n_q > n_q[1] ? s->n_q : n_q[1];
        n_k[0] = s->n_k < n_k[0] ? s->n_k : n_k[0];
        n_k[1] = s->n_k > n_k[1] ? s->n_k : n_k[1];
    }
}

static void print_range(const char *what, const int64_t n[2]) {
    if (n[0] == n[1])
        printf("%lld %s", (long long)n[0], what);
    else
        printf("%lld to %lld %s", (long long)n[0], (long long)n[1], what);
}

static void print_shape(const struct run_batch *run) {
    const sa_batch *b = &run->batch;
    int64_t n_q[2], n_k[2];
    printf("shape      %lld sequence%s", (long long)b->n_sequences, b->n_sequences == 1 ? "" : "s");
    if (b->n_sequences > 0) {
        range(run, n_q, n_k);
        printf(" of ");
        print_range("queries", n_q);
        printf(" and ");
        print_range("keys", n_k);
    }
    printf("; %d query heads, %d kv heads; d %d", (int)b->n_query_heads, (int)b->n_kv_heads, (int)b->d_qk);
    printf(b->d_v != b->d_qk ? " and %d\n" : "\n", (int)b->d_v);
}

static void print_speed(const struct run_report *r) {
    printf("time       %.3f ms, %.1f GFLOP/s: %.1f %% of the FMA peak measured now, %.1f GFLOP/s on %d thread%s (%s)\n",
           r->seconds * 1e3, gflops(r), 100 * share(r), r->peak * 1e-9, (int)r->engine.n_threads,
           r->engine.n_threads == 1 ? "" : "s", isa_name(r->engine.isa));
    if (r->info.in_caller)
        printf("           too little work for more than one thread\n");
}

static void print_check(const struct rows_check *check) {
    printf("check      ");
    rows_print(check);
    putchar('\n');
}

void run_print(const struct run_batch *run, const struct run_report *report) {
    print_shape(run);
    stored_print(&run->options->store, &run->batch);
    print_speed(report);
    printf("memory     workspace %s; the n x n scores would have needed %s\n",
           bytes_text((double)report->info.workspace_bytes), bytes_text(n_x_n_bytes(run)));
    if (run->options->check)
        print_check(&report->check);
    printf("%s   %s", report->check.good ? "wrote   " : "not kept", run->options->paths[OUTPUT_O]);
    for (int which = OUTPUT_O + 1; which < N_OUTPUTS; which++)
        if (run->options->paths[which])
            printf(", %s", run->options->paths[which]);
    putchar('\n');
}

bool run_print_json(const struct run_batch *run, const struct run_report *r) {
    static const char *const names[N_OUTPUTS] = {[OUTPUT_LSE] = "lse",
                                                 [OUTPUT_ROW_MAX] = "row_max",
                                                 [OUTPUT_WEIGHTS] = "weights",
                                                 [OUTPUT_KEY_MASS] = "key_mass"};
    const sa_batch *b = &run->batch;
    json_t *json = json_pack(
        "{s:s, s:I, s:i, s:i, s:i, s:i, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:s, s:i, s:b, s:I, s:f, s:s}", "version",
        sa_version(), "sequences", (json_int_t)b->n_sequences, "query_heads", (int)b->n_query_heads, "kv_heads",
        (int)b->n_kv_heads, "d_qk", (int)b->d_qk, "d_v", (int)b->d_v, "rows", (json_int_t)r->info.n_rows, "pairs",
        (json_int_t)r->info.n_pairs, "flops", r->info.flops, "seconds", r->seconds, "gflops", gflops(r), "peak_gflops",
        r->peak * 1e-9, "share_of_peak", share(r), "isa", isa_name(r->engine.isa), "threads", (int)r->info.n_threads,
        "in_caller", (int)r->info.in_caller, "workspace_bytes", (json_int_t)r->info.workspace_bytes, "n_x_n_bytes",
        n_x_n_bytes(run), "output", run->options->paths[OUTPUT_O]);
    if (json)
        stored_add_json(json, &run->options->store, &run->batch);
    for (int which = OUTPUT_O + 1; json && which < N_OUTPUTS; which++)
        if (run->options->paths[which])
            json_object_set_new(json, names[which], json_string(run->options->paths[which]));
    if (json && run->options->check)
        json_object_set_new(json, "check", rows_json(&r->check));
    return json_print(json);
}
