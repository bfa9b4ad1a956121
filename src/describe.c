/* SPDX-License-Identifier: MIT */
#include "describe.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "kernels/kernels.h"

__attribute__((format(printf, 2, 3))) static void add(struct sa_text *text, const char *format, ...) {
    size_t room = text->length < text->capacity ? text->capacity - text->length : 0;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(room ? text->at + text->length : NULL, room, format, arguments);
    va_end(arguments);
    text->length += n > 0 ? (size_t)n : 0;
}

static const char *plural(int n) { return n == 1 ? "" : "s"; }

/* ---------------------------------------------------------------- engine */

static void describe_machine(struct sa_text *text, const struct sa_machine *m) {
    add(text, "machine     %d core%s (%d hardware thread%s) allowed, %d shared cache%s, %d NUMA node%s, %d package%s\n",
        m->n_cores, plural(m->n_cores), m->n_cpus, plural(m->n_cpus), m->n_l3, plural(m->n_l3), m->n_numa,
        plural(m->n_numa), m->n_packages, plural(m->n_packages));
    if (m->n_kinds > 1)
        add(text, "            hybrid: %d kinds of core, the fastest come first; the slowest has %.2f of their speed\n",
            m->n_kinds, m->cores[m->n_cores - 1].speed);
    if (m->l2_bytes)
        add(text, "caches      L1 %lld KiB, L2 %lld KiB, L3 %lld KiB\n", (long long)m->l1_bytes / 1024,
            (long long)m->l2_bytes / 1024, (long long)m->l3_bytes / 1024);
    if (m->quota_cpus > 0)
        add(text, "quota       %.2f CPUs (control group)\n", m->quota_cpus);
    else
        add(text, "quota       none\n");
    if (m->why_unread)
        add(text, "            topology unknown: %s\n", m->why_unread);
}

static void describe_seats(struct sa_text *text, const struct sa_engine *engine) {
    const struct sa_team *team = &engine->team;
    if (engine->binding == SA_BIND_NONE) {
        add(text, "binding     none: %s\n", engine->why_unbound);
        return;
    }
    add(text, "binding     %s; threads on %s", engine->binding == SA_BIND_SPREAD ? "spread" : "close",
        engine->plans_only ? "cores of another machine" : "CPUs");
    for (int t = 0; t < team->shape.n_threads && !engine->plans_only; t++)
        add(text, " %d", engine->machine.cores[team->seats[t].core].os_cpu);
    add(text, "; %d domain%s of threads that share a cache\n", team->shape.n_domains, plural(team->shape.n_domains));
}

static const char *cap_text(enum sa_cpu_cap cap) {
    switch (cap) {
    case SA_CPU_CAP_OPTION: return "sa_engine_options.max_isa";
    case SA_CPU_CAP_ENVIRONMENT: return "SA_MAX_ISA";
    case SA_CPU_CAP_MACHINE: return "this processor or operating system lacks it";
    case SA_CPU_CAP_BUILD: return "not part of this build";
    case SA_CPU_CAP_SLOW: return "slower on this processor, so only if max_isa or SA_MAX_ISA names it";
    case SA_CPU_CAP_SYSTEM: return "the operating system does not let this process use it";
    case SA_CPU_CAP_NONE: break;
    }
    return "";
}

void sa_describe_engine(struct sa_text *text, const struct sa_engine *engine) {
    const struct sa_kernels *kernels = engine->cpu.kernels;
    int n = engine->team.shape.n_threads;
    add(text, "libsa       %s\n", SA_VERSION_STRING);
    describe_machine(text, &engine->machine);
    if (engine->plans_only)
        add(text,
            "            not this machine, but sa_engine_options.topology: the engine plans and does not compute\n");
    add(text, "threads     %d: %s\n", n, engine->why_threads);
    if (n < engine->machine.n_cores)
        add(text, "            not all %d cores are used, for that reason\n", engine->machine.n_cores);
    const int n_formed = __atomic_load_n(&engine->team.n_formed, __ATOMIC_RELAXED);
    if (n_formed && n_formed != n)
        add(text, "            the OpenMP runtime gave %d\n", n_formed);
    describe_seats(text, engine);
    add(text, "kernel      %s, %d floats a vector\n", kernels->name, kernels->lanes);
    if (engine->cpu.faster)
        add(text, "            not %s: %s\n", sa_isa_name(engine->cpu.faster), cap_text(engine->cpu.why));
    if (engine->config.max_isa_ignored)
        add(text, "            SA_MAX_ISA is ignored: no instruction set has that name\n");
    add(text, "tiles       %d rows in groups of %d; blocks of %d keys, chunks of %d\n", SA_TILE_ROWS, SA_GROUP_ROWS,
        SA_BLOCK_KEYS, SA_CHUNK_KEYS);
}

/* ---------------------------------------------------------------- call */

static int threads_of(const struct sa_engine *engine, const struct sa_call *call) {
    int n = engine->team.shape.n_threads;
    return call->in_caller ? 1 : call->plan.n_items < n ? (int)call->plan.n_items : n;
}

sa_batch_info sa_describe_batch_info(const struct sa_engine *engine, const struct sa_call *call) {
    const struct sa_problem *p = &call->problem;
    int n_threads = threads_of(engine, call);
    return (sa_batch_info){.n_rows = p->n_rows,
                           .n_pairs = p->n_pairs,
                           .flops = 2.0 * (double)p->n_pairs * (p->d_qk + p->d_v),
                           .n_items = call->plan.n_items,
                           .n_splits = call->plan.splits.n_parts,
                           .workspace_bytes = (int64_t)sa_problem_workspace_bytes(p) * n_threads +
                                              (int64_t)sa_call_partials_bytes(call) +
                                              (int64_t)call->reports.known_bytes + (int64_t)sa_call_extents_bytes(call),
                           .plan_bytes = (int64_t)(call->plan.n_runs * (int64_t)sizeof(struct sa_run) +
                                                   call->plan.splits.n * (int64_t)sizeof(struct sa_split) +
                                                   p->n_seqs * (int64_t)sizeof(struct sa_seq) +
                                                   call->reports.n * (int64_t)sizeof(struct sa_report)),
                           .n_threads = n_threads,
                           .in_caller = call->in_caller};
}

/* What positions do not decide is not counted beforehand. */
static bool may_hide(const struct sa_problem *p) {
    bool any = false;
    for (int64_t i = 0; i < p->n_seqs; i++)
        any = any || p->seqs[i].sight.any;
    return any;
}

static bool in_pairs_of_bf16(const struct sa_problem *p, const struct sa_seq *seq) {
    return sa_in_pairs(p, seq, SA_BF16);
}
static bool in_pairs_of_f16(const struct sa_problem *p, const struct sa_seq *seq) {
    return sa_in_pairs(p, seq, SA_F16);
}

/* Sequences of that kind. */
static int64_t count(const struct sa_problem *p, bool (*is)(const struct sa_problem *, const struct sa_seq *)) {
    int64_t n = 0;
    for (int64_t i = 0; i < p->n_seqs; i++)
        n += is(p, &p->seqs[i]);
    return n;
}

/* Of heads that go abreast all tiles are split alike, and count as one. */
static int64_t count_split_tiles(const struct sa_call *call) {
    const struct sa_splits *splits = &call->plan.splits;
    int64_t n = 0;
    for (int64_t i = 0; i < splits->n; i++)
        n += sa_item_heads(&call->problem, &call->problem.seqs[splits->at[i].seq]);
    return n;
}

void sa_describe_call(struct sa_text *text, const struct sa_engine *engine, const struct sa_call *call) {
    const struct sa_problem *p = &call->problem;
    sa_batch_info info = sa_describe_batch_info(engine, call);
    add(text, "batch       %lld sequence%s, %d query heads, %d kv heads, d_qk %d, d_v %d\n", (long long)p->n_seqs,
        p->n_seqs == 1 ? "" : "s", p->n_kv_heads * p->group, p->n_kv_heads, p->d_qk, p->d_v);
    add(text, "work        %lld rows, %lld visible pairs, %.4g GFLOP%s\n", (long long)info.n_rows,
        (long long)info.n_pairs, info.flops * 1e-9,
        may_hide(p) ? "; less where masks, documents and the like hide keys" : "");
    add(text, "items       %lld of up to %d rows%s, in %lld runs, longest first; ", (long long)info.n_items,
        SA_TILE_ROWS, p->most_abreast > 1 ? " a kv head, several heads abreast" : "", (long long)call->plan.n_runs);
    if (info.n_splits)
        add(text, "%lld of them have a part of the keys of one of %lld tiles\n", (long long)info.n_splits,
            (long long)count_split_tiles(call));
    else
        add(text, "no key range is split\n");
    if (info.in_caller)
        add(text, "threads     the calling thread: under %d us of work, less than handing it over costs\n", SA_TEAM_US);
    else
        add(text, "threads     %d of %d%s\n", info.n_threads, engine->team.shape.n_threads,
            info.n_threads < engine->team.shape.n_threads ? ": there are no more items" : "");
    add(text, "kernel      %s", engine->cpu.kernels->name);
    if (engine->cpu.kernels->dots)
        add(text, ", pairs of bf16 in %lld of %lld sequences", (long long)count(p, in_pairs_of_bf16),
            (long long)p->n_seqs);
    if (engine->cpu.kernels->dots_f16 && p->f16_pairs)
        add(text, ", of f16 in %lld", (long long)count(p, in_pairs_of_f16));
    if (engine->cpu.kernels->bytes)
        add(text, ", int8 as it is in %lld", (long long)count(p, sa_in_bytes));
    add(text, "\nworkspace   %lld bytes, %zu a thread", (long long)info.workspace_bytes, sa_problem_workspace_bytes(p));
    if (info.n_splits)
        add(text, " and %zu for results of parts", sa_call_partials_bytes(call));
    add(text, "; plan %lld bytes\n", (long long)info.plan_bytes);
}

void sa_describe_verbose(const struct sa_engine *engine, const struct sa_call *call, double seconds) {
    char line[320];
    struct sa_text text = {line, sizeof line, 0};
    const struct sa_problem *p = &call->problem;
    sa_batch_info info = sa_describe_batch_info(engine, call);
    add(&text,
        "libsa: %lld seqs %d:%d heads d %d/%d %.3g GFLOP %lld items %d %s %s workspace %lld B %.3f ms %.1f GFLOP/s\n",
        (long long)p->n_seqs, p->n_kv_heads * p->group, p->n_kv_heads, p->d_qk, p->d_v, info.flops * 1e-9,
        (long long)info.n_items, info.n_threads, info.in_caller ? "caller" : "threads", engine->cpu.kernels->name,
        (long long)info.workspace_bytes, seconds * 1e3, seconds > 0 ? info.flops * 1e-9 / seconds : 0.0);
    size_t n = text.length < sizeof line ? text.length : sizeof line - 1;
    ssize_t unused = write(STDERR_FILENO, line, n);
    (void)unused;
}
