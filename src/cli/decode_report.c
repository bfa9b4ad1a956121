/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "decode.h"
#include "names.h"
#include "stored.h"

static double tokens_per_second(const struct decode_report *r) {
    const double seconds = r->times.appending + r->times.attending;
    return seconds > 0 ? (double)r->n_tokens / seconds : 0;
}

static double rate(double bytes, double seconds) { return seconds > 0 ? bytes / seconds : 0; }

/* Of the machine's read rate, by the steps whose caches do not come from the last-level cache; 0: there were none. */
static double share(const struct decode_report *r) {
    return r->read_rate > 0 ? rate(r->times.far_bytes, r->times.far_seconds) / r->read_rate : 0;
}

static void print_shape(const struct decode *decode, const struct decode_report *r) {
    const sa_batch *b = &decode->batch;
    printf("shape      %lld sequence%s, a prompt of %lld token%s, %lld steps; %d query heads, %d kv heads; d %d",
           (long long)b->n_sequences, b->n_sequences == 1 ? "" : "s", (long long)decode->options->n_prompt,
           decode->options->n_prompt == 1 ? "" : "s", (long long)decode->n_steps, (int)b->n_query_heads,
           (int)b->n_kv_heads, (int)b->d_qk);
    printf(b->d_v != b->d_qk ? " and %d\n" : "\n", (int)b->d_v);
    stored_print(&decode->options->store, b);
    printf("threads    %d (%s)\n", (int)r->engine.n_threads, isa_name(r->engine.isa));
}

static void print_times(const struct decode *decode, const struct decode_report *r) {
    const double n = (double)decode->n_steps;
    if (r->times.prompt > 0)
        printf("prompt     %.3f ms\n", r->times.prompt * 1e3);
    printf("speed      %.0f tokens/s; a step takes %.1f us (median), %.1f us (p99), %.1f us of it to append (mean)\n",
           tokens_per_second(r), r->step.median * 1e6, r->step.p99 * 1e6, r->times.appending / n * 1e6);
}

static void print_reading(const struct decode_report *r) {
    printf("reading    %.2f GB/s of k and v", rate(r->times.bytes, r->times.attending) * 1e-9);
    if (r->read_rate > 0)
        printf(
            "; %.2f GB/s once they are twice the last-level cache: %.1f %% of the read rate measured now, %.2f GB/s\n",
            rate(r->times.far_bytes, r->times.far_seconds) * 1e-9, 100 * share(r), r->read_rate * 1e-9);
    else if (r->times.far_seconds > 0)
        printf("; the memory's read rate could not be measured\n");
    else if (r->last_level > 0)
        printf("; no share of the memory's read rate: they grow to %s, which is not twice the last-level cache (%s)\n",
               bytes_text(r->cache_bytes), bytes_text(r->last_level));
    else
        printf("; no share of the memory's read rate: the size of the last-level cache is not known\n");
}

static void print_check(const struct decode_check *check) {
    printf("check      %lld rows against one prefill: ", (long long)check->n_rows);
    if (check->n_different)
        printf("%lld DIFFER\n", (long long)check->n_different);
    else
        printf("the same bits\n");
    printf("           ");
    rows_print(&check->rows);
    putchar('\n');
}

void decode_print(const struct decode *decode, const struct decode_report *report) {
    print_shape(decode, report);
    print_times(decode, report);
    print_reading(report);
    if (decode->options->check)
        print_check(&report->check);
}

static json_t *check_json(const struct decode_check *check) {
    json_t *json =
        json_pack("{s:I, s:I}", "rows", (json_int_t)check->n_rows, "different", (json_int_t)check->n_different);
    if (json)
        json_object_set_new(json, "float64", rows_json(&check->rows));
    return json;
}

/* null: the caches came from the last-level cache, or the rate is not known. */
static json_t *if_measured(const struct decode_report *r, double value) {
    return r->read_rate > 0 ? json_real(value) : json_null();
}

bool decode_print_json(const struct decode *decode, const struct decode_report *r) {
    const sa_batch *b = &decode->batch;
    json_t *json = json_pack(
        "{s:s, s:I, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:s, s:i}",
        "version", sa_version(), "sequences", (json_int_t)b->n_sequences, "query_heads", (int)b->n_query_heads,
        "kv_heads", (int)b->n_kv_heads, "d_qk", (int)b->d_qk, "d_v", (int)b->d_v, "prompt",
        (json_int_t)decode->options->n_prompt, "steps", (json_int_t)decode->n_steps, "tokens", (json_int_t)r->n_tokens,
        "prompt_seconds", r->times.prompt, "tokens_per_second", tokens_per_second(r), "step_seconds_median",
        r->step.median, "step_seconds_p99", r->step.p99, "append_seconds", r->times.appending, "attend_seconds",
        r->times.attending, "read_bytes", r->times.bytes, "read_bytes_per_second",
        rate(r->times.bytes, r->times.attending), "machine_bytes_per_second", if_measured(r, r->read_rate),
        "share_of_read_rate", if_measured(r, share(r)), "isa", isa_name(r->engine.isa), "threads",
        (int)r->engine.n_threads);
    if (json)
        stored_add_json(json, &decode->options->store, b);
    if (json && decode->options->check)
        json_object_set_new(json, "check", check_json(&r->check));
    return json_print(json);
}
