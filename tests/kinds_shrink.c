/* SPDX-License-Identifier: MIT */
#include "kinds_shrink.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CASE_SECONDS = 30, SHRINK_SECONDS = 80 };

/* ---------------------------------------------------------------- one process */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void count(const struct kinds_case *c, const struct kinds_result *result, uint32_t pending,
                  struct kinds_tally *tally) {
    tally->n_rows += result->n_rows;
    tally->n_keys += result->n_keys;
    tally->n_right += result->verdict == KINDS_RIGHT;
    if (result->verdict == KINDS_UNSUPPORTED && c->features & pending) {
        tally->n_unsupported++;
    } else if (result->verdict != KINDS_RIGHT) {
        tally->failed = true;
        memcpy(tally->reason, result->reason, sizeof tally->reason);
    }
}

/* What the child does: the cases of a list, or of n seeds. */
struct errand {
    const struct kinds_case *one; /* NULL: seeds */
    uint64_t first, n;
    uint32_t pending;
    double until; /* 0: no end */
};

static void do_errand(const struct errand *errand, struct kinds_tally *tally) {
    struct kinds_engines engines = kinds_engines();
    for (uint64_t i = 0; i < errand->n && !tally->failed && !tally->out_of_time; i++) {
        const struct kinds_case c = errand->one ? *errand->one : kinds_draw(errand->first + i);
        struct kinds_result result;
        tally->seed = c.seed;
        alarm(CASE_SECONDS);
        kinds_check(&c, &engines, &result);
        count(&c, &result, errand->pending, tally);
        tally->out_of_time = errand->until > 0 && now() > errand->until;
    }
    kinds_stop(&engines);
}

static struct kinds_tally run(const struct errand *errand) {
    struct kinds_tally *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(shared != MAP_FAILED, "no memory");
    fflush(NULL);
    const pid_t child = fork();
    must(child >= 0, "no process");
    if (child == 0) {
        signal(SIGALRM, SIG_DFL);
        do_errand(errand, shared);
        fflush(NULL);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    struct kinds_tally tally = *shared;
    munmap(shared, sizeof *shared);
    if (!tally.failed && status != 0) {
        tally.failed = true;
        snprintf(tally.reason, sizeof tally.reason, WIFSIGNALED(status) ? "signal %d" : "exit code %d",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    return tally;
}

struct kinds_tally kinds_run(uint64_t first, uint64_t n, uint32_t pending, int seconds) {
    return run(&(struct errand){NULL, first, n, pending, seconds > 0 ? now() + seconds : 0});
}

/* ---------------------------------------------------------------- shrinking */

struct shrinking {
    struct kinds_case best;
    uint32_t pending;
    double until;
    char *reason;
};

static bool adopt_if_it_fails(struct shrinking *s, const struct kinds_case *smaller) {
    if (now() > s->until)
        return false;
    const struct kinds_tally tally = run(&(struct errand){smaller, 0, 1, s->pending, 0});
    if (!tally.failed)
        return false;
    s->best = *smaller;
    memcpy(s->reason, tally.reason, sizeof tally.reason);
    return true;
}

static bool drop_features(struct shrinking *s) {
    bool any = false;
    for (int f = 0; f < N_KINDS; f++) {
        struct kinds_case smaller = s->best;
        smaller.features &= ~(1u << f);
        any = (kinds_has(&s->best, f) && adopt_if_it_fails(s, &smaller)) || any;
    }
    struct kinds_case lonely = s->best;
    lonely.company = 0;
    return (s->best.company && adopt_if_it_fails(s, &lonely)) || any;
}

/* The numbers of a case by their places, n_q and n_k first. */
static int64_t get_number(const struct kinds_case *c, int which) {
    const int64_t numbers[] = {c->n_q, c->n_k, c->n_kv_heads, c->group, c->d_qk, c->d_v};
    return numbers[which];
}

static void set_number(struct kinds_case *c, int which, int64_t value) {
    int *const small[] = {&c->n_kv_heads, &c->group, &c->d_qk, &c->d_v};
    if (which < 2)
        *(which == 0 ? &c->n_q : &c->n_k) = value;
    else
        *small[which - 2] = (int)value;
}

static bool lower_number(struct shrinking *s, int which) {
    const int64_t n = get_number(&s->best, which);
    const int64_t candidates[] = {which < 2 ? 0 : 1, 1, n / 4, n / 2, n * 3 / 4, n - 16, n - 1};
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
        struct kinds_case smaller = s->best;
        set_number(&smaller, which, candidates[i]);
        if (candidates[i] < n && candidates[i] >= (which < 2 ? 0 : 1) && adopt_if_it_fails(s, &smaller))
            return true;
    }
    return false;
}

static bool lower_numbers(struct shrinking *s) {
    bool any = false;
    for (int which = 0; which < 6; which++)
        while (lower_number(s, which))
            any = true;
    return any;
}

struct kinds_case kinds_shrink(const struct kinds_case *failed, uint32_t pending, char reason[400]) {
    struct shrinking s = {*failed, pending, now() + SHRINK_SECONDS, reason};
    for (bool any = true; any;) {
        any = drop_features(&s);
        any = lower_numbers(&s) || any;
    }
    return s.best;
}
