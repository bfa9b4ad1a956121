/* SPDX-License-Identifier: MIT */
/* Lines over threads: each takes some lines at a time and carries them from text to vectors, with an engine of its own
 * of one thread, so that no thread waits for another between the products. */
#include "encode.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "progress.h"

/* An OpenBLAS that would start threads of its own does not; any other BLAS is without this function. */
extern void openblas_set_num_threads(int n) __attribute__((weak));

/* Bytes of text that are taken at once: some five hundred tokens in most languages. The lines that are computed
 * together do not depend on the number of threads, so neither do the last bits of their vectors. */
enum { BYTES_AT_ONCE = 2048, MOST_THREADS = 1024 };

struct job {
    const struct encoder *encoder;
    const struct encode_line *lines;
    int64_t n, most_tokens;
    float *vectors;
    pthread_mutex_t lock; /* of what follows */
    int64_t next;
    struct encode_counts *counts;
    struct progress progress;
    struct fault fault;
    bool failed;
};

/* What a thread has. */
struct hand {
    struct job *job;
    sa_engine *engine;
    struct tokenizer_scratch tokenizer;
    struct encoder_scratch encoder;
    int32_t *ids;
    int64_t *lengths;
    int64_t ids_room, lines_room;
};

/* ---------------------------------------------------------------- a share of the lines */

/* Tokens that a line may have: none has more than bytes. */
static int64_t most_tokens(const struct job *job, const struct encode_line *line) {
    return line->length + 2 < (size_t)job->most_tokens ? (int64_t)line->length + 2 : job->most_tokens;
}

/* The next lines, first .. *end - 1; none are left, or another thread has failed: first = *end. */
static int64_t take_lines(struct job *job, int64_t *end) {
    size_t bytes = 0;
    pthread_mutex_lock(&job->lock);
    const int64_t first = job->next;
    while (!job->failed && job->next < job->n && bytes < BYTES_AT_ONCE)
        bytes += (size_t)most_tokens(job, &job->lines[job->next++]);
    *end = job->next;
    pthread_mutex_unlock(&job->lock);
    return first;
}

static bool make_room(struct hand *h, int64_t first, int64_t end) {
    int64_t tokens = 0;
    for (int64_t i = first; i < end; i++)
        tokens += most_tokens(h->job, &h->job->lines[i]);
    if (tokens > h->ids_room) {
        free(h->ids);
        h->ids = malloc((size_t)tokens * sizeof *h->ids);
        h->ids_room = h->ids ? tokens : 0;
    }
    if (end - first > h->lines_room) {
        free(h->lengths);
        h->lengths = malloc((size_t)(end - first) * sizeof *h->lengths);
        h->lines_room = h->lengths ? end - first : 0;
    }
    return h->ids && h->lengths;
}

/* *n_cut: lines that fill all the room there is. */
static bool tokenize(struct hand *h, int64_t first, int64_t end, struct encoder_batch *batch, int64_t *n_cut) {
    struct job *job = h->job;
    *batch = (struct encoder_batch){.n_lines = end - first, .lengths = h->lengths, .ids = h->ids};
    for (int64_t i = first; i < end; i++) {
        const int64_t n =
            tokenizer_line(&job->encoder->tokenizer, &h->tokenizer, job->lines[i].text, job->lines[i].length,
                           h->ids + batch->n_tokens, most_tokens(job, &job->lines[i]));
        if (n < 0)
            return false;
        h->lengths[i - first] = n;
        batch->n_tokens += n;
        *n_cut += n == job->most_tokens;
    }
    return true;
}

static void report(struct job *job, const struct encoder_batch *batch, int64_t n_cut, const struct fault *fault) {
    pthread_mutex_lock(&job->lock);
    if (fault && !job->failed)
        job->fault = *fault;
    job->failed |= fault != NULL;
    job->counts->n_tokens += batch->n_tokens;
    job->counts->n_cut += n_cut;
    __atomic_fetch_add(&job->progress.done, batch->n_lines, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&job->lock);
}

/* ---------------------------------------------------------------- a thread */

static void *work(void *argument) {
    struct hand *h = argument;
    struct job *job = h->job;
    const int64_t d = job->encoder->config.d_model;
    int64_t end;
    for (int64_t first; (first = take_lines(job, &end)) < end;) {
        struct fault fault = {"out of memory"};
        struct encoder_batch batch = {0};
        int64_t n_cut = 0;
        const bool good =
            make_room(h, first, end) && tokenize(h, first, end, &batch, &n_cut) &&
            encoder_forward(job->encoder, h->engine, &h->encoder, &batch, job->vectors + first * d, &fault);
        report(job, &batch, n_cut, good ? NULL : &fault);
    }
    return NULL;
}

static bool open_hand(struct job *job, struct hand *hand) {
    const sa_engine_options options = {.struct_size = sizeof options, .n_threads = 1};
    hand->job = job;
    return sa_engine_create(&options, &hand->engine) == SA_OK || complain("%s", sa_last_reason());
}

static void close_hand(struct hand *hand) {
    sa_engine_destroy(hand->engine);
    tokenizer_release(&hand->tokenizer);
    encoder_release(&hand->encoder);
    free(hand->ids);
    free(hand->lengths);
}

/* ---------------------------------------------------------------- all of them */

/* As many as an engine would have that is asked for so many. */
static bool count_threads(int64_t wanted, int *n) {
    const sa_engine_options options = {.struct_size = sizeof options, .n_threads = (int32_t)wanted};
    sa_engine_info info = {.struct_size = sizeof info};
    sa_engine *engine;
    const bool good = sa_engine_create(&options, &engine) == SA_OK && sa_engine_get_info(engine, &info) == SA_OK;
    *n = info.n_threads;
    sa_engine_destroy(engine);
    return good || complain("%s", sa_last_reason());
}

/* The calling thread is the first; threads that cannot be started leave their work to the others. */
static void run(struct hand *hands, int n) {
    pthread_t threads[MOST_THREADS];
    int started = 1;
    while (started < n && pthread_create(&threads[started], NULL, work, &hands[started]) == 0)
        started++;
    work(&hands[0]);
    for (int i = 1; i < started; i++)
        pthread_join(threads[i], NULL);
}

static bool run_job(struct job *job, int n) {
    struct hand *hands = calloc((size_t)n, sizeof *hands);
    bool good = hands || complain("no memory for %d threads", n);
    for (int i = 0; good && i < n; i++)
        good = open_hand(job, &hands[i]);
    if (good) {
        const double begin = seconds_now();
        progress_start(&job->progress, job->n);
        run(hands, n);
        progress_stop(&job->progress);
        job->counts->seconds = seconds_now() - begin;
        good = !job->failed || complain("%s", job->fault.text);
    }
    for (int i = 0; hands && i < n; i++)
        close_hand(&hands[i]);
    free(hands);
    return good;
}

bool encode_lines(const struct encoder *encoder, const struct encode_options *options, const struct encode_line *lines,
                  int64_t n, float *vectors, struct encode_counts *counts) {
    const int64_t limit = encoder->config.n_positions;
    struct job job = {.encoder = encoder, .lines = lines, .n = n, .vectors = vectors, .counts = counts};
    *counts = (struct encode_counts){.n_lines = n};
    job.most_tokens = options->most_tokens ? options->most_tokens : encoder->config.most_tokens;
    if (job.most_tokens > limit)
        return complain("--max-tokens is %lld, the model has %lld positions", (long long)job.most_tokens,
                        (long long)limit);
    if (!count_threads(options->n_threads, &counts->n_threads))
        return false;
    if (openblas_set_num_threads)
        openblas_set_num_threads(1);
    pthread_mutex_init(&job.lock, NULL);
    const bool good = run_job(&job, counts->n_threads);
    pthread_mutex_destroy(&job.lock);
    return good;
}
