/* SPDX-License-Identifier: MIT */
#include "read_rate.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "peak_threads.h"

/* ---------------------------------------------------------------- how large */

static const size_t least_bytes = (size_t)256 << 20; /* all threads together */

/* Is timed by itself: short enough for most to be spared by whoever else wants the processor. */
static const size_t piece_bytes = (size_t)16 << 20;

/* As the kernel tells it: sysconf() of glibc is wrong about processors whose last level is several caches. */
size_t read_rate_cache_bytes(void) {
    size_t most = 0;
    for (int i = 0;; i++) {
        char path[64];
        unsigned long kib = 0;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        FILE *file = fopen(path, "r");
        if (!file)
            return most;
        if (fscanf(file, "%luK", &kib) == 1 && kib * 1024 > most)
            most = kib * 1024;
        fclose(file);
    }
}

/* Threads may sit on a cache each. */
static size_t bytes_a_thread(int n_threads) {
    const size_t cache = READ_RATE_CACHES * read_rate_cache_bytes(), least = least_bytes / (size_t)n_threads;
    return ((cache > least ? cache : least) + piece_bytes - 1) / piece_bytes * piece_bytes;
}

/* ---------------------------------------------------------------- reading */

typedef uint64_t line __attribute__((vector_size(64), may_alias));

/* The likeliest first: the time may not suffice for all. */
static const struct read_way ways[] = {{8, 0}, {2, 512}, {8, 512}, {4, 0}, {4, 512}, {1, 4096}, {1, 0}};
enum { N_WAYS = sizeof ways / sizeof *ways, LINE = 64, STEP = 4 * LINE };

/* n_streams is constant where it is inlined. */
static inline __attribute__((always_inline)) uint64_t read_streams(const char *at, size_t bytes, int n_streams,
                                                                   size_t distance) {
    const size_t part = bytes / (size_t)n_streams;
    line sums[8] = {{0}}, sum = {0};
    for (size_t i = 0; i < part; i += STEP)
        for (int s = 0; s < n_streams; s++) {
            const char *from = at + (size_t)s * part + i;
            for (int k = 0; k < STEP; k += LINE) {
                if (distance)
                    __builtin_prefetch(from + distance + k, 0, 2);
                sums[s] ^= *(const line *)(from + k);
            }
        }
    for (int s = 0; s < n_streams; s++)
        sum ^= sums[s];
    return sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
}

#define READ_FUNCTION(name, attributes)                                                                                \
    attributes static uint64_t name(const char *at, size_t bytes, struct read_way way) {                               \
        switch (way.n_streams) {                                                                                       \
        case 8: return read_streams(at, bytes, 8, way.distance);                                                       \
        case 4: return read_streams(at, bytes, 4, way.distance);                                                       \
        case 2: return read_streams(at, bytes, 2, way.distance);                                                       \
        default: return read_streams(at, bytes, 1, way.distance);                                                      \
        }                                                                                                              \
    }

READ_FUNCTION(read_plain, )
#if defined(__x86_64__)
READ_FUNCTION(read_avx512, __attribute__((target("avx512f"))))
READ_FUNCTION(read_avx2, __attribute__((target("avx2"))))
#endif

uint64_t read_once(const char *at, size_t bytes, struct read_way way) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return read_avx512(at, bytes, way);
    if (__builtin_cpu_supports("avx2"))
        return read_avx2(at, bytes, way);
#endif
    return read_plain(at, bytes, way);
}

void wake_pages(const char *at, size_t bytes) {
    static const size_t page = (size_t)2 << 20;
    for (size_t i = 0; i < bytes; i += page)
        (void)*(const volatile char *)(at + i);
    if (bytes)
        (void)*(const volatile char *)(at + bytes - 1);
}

/* ---------------------------------------------------------------- several threads at once */

enum { N_PASSES = 3 };
static const double seconds_to_meet = 50e-6;
static const double seconds_at_most = 0.6; /* then no other way is tried */

struct crew {
    pthread_mutex_t gate; /* held until it is known how many they are */
    pthread_barrier_t barrier;
    struct reader *readers;
    int n, n_there;
    size_t bytes;  /* a thread */
    double until;  /* when to stop; 0: not begun */
    double *rates; /* bytes/s of the pieces of this pass so far */
    size_t n_rates;
    double best; /* that of the median piece of the fastest pass */
    struct read_way fastest;
    bool no_memory, enough;
};

struct reader {
    pthread_t thread;
    struct crew *crew;
    double begin, end; /* of its last piece */
    uint64_t sink;     /* so that nothing is optimised away */
};

static char *touched(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, bytes, MADV_HUGEPAGE);
    return memset(memory, 1, bytes);
}

static size_t n_pieces(const struct crew *crew) { return crew->bytes / piece_bytes; }

/* From the first one's begin to the last one's end. */
static double rate_of_piece(const struct crew *crew) {
    double begin = crew->readers[0].begin, end = crew->readers[0].end;
    for (int i = 1; i < crew->n; i++) {
        begin = crew->readers[i].begin < begin ? crew->readers[i].begin : begin;
        end = crew->readers[i].end > end ? crew->readers[i].end : end;
    }
    return (double)crew->n * (double)piece_bytes / (end - begin);
}

static int compare_rates(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median: single pieces are interrupted, or lie in a large last-level cache still. A pass that ran out of time only
 * counts if there is no other. */
static void note_pass(struct crew *crew, struct read_way way) {
    qsort(crew->rates, crew->n_rates, sizeof *crew->rates, compare_rates);
    const double rate = crew->rates[crew->n_rates / 2];
    if (rate > crew->best && (crew->n_rates == n_pieces(crew) || crew->best == 0)) {
        crew->best = rate;
        crew->fastest = way;
    }
    crew->n_rates = 0;
}

/* What one of them does while the others wait. */
static void note_piece(struct crew *crew, struct read_way way) {
    crew->rates[crew->n_rates++] = rate_of_piece(crew);
    crew->until = crew->until > 0 ? crew->until : crew->readers[0].begin + seconds_at_most;
    crew->enough = crew->readers[0].end > crew->until;
    if (crew->enough || crew->n_rates == n_pieces(crew))
        note_pass(crew, way);
    crew->n_there = 0;
}

/* Threads wake one after the other: whoever is there waits a moment for the others, so that all begin at once. */
static void meet(struct crew *crew) {
    pthread_barrier_wait(&crew->barrier);
    const double end = peak_now() + seconds_to_meet;
    __atomic_add_fetch(&crew->n_there, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&crew->n_there, __ATOMIC_ACQUIRE) < crew->n && peak_now() < end)
        continue;
}

static void read_piece(struct reader *reader, const char *at, struct read_way way) {
    struct crew *crew = reader->crew;
    wake_pages(at, piece_bytes);
    meet(crew);
    reader->begin = peak_now();
    reader->sink += read_once(at, piece_bytes, way);
    reader->end = peak_now();
    if (pthread_barrier_wait(&crew->barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
        note_piece(crew, way);
    pthread_barrier_wait(&crew->barrier);
}

static void read_all_ways(struct reader *reader, const char *memory) {
    struct crew *crew = reader->crew;
    for (int i = 0; i < N_WAYS * N_PASSES; i++)
        for (size_t at = 0; at < crew->bytes && !crew->enough; at += piece_bytes)
            read_piece(reader, memory + at, ways[i % N_WAYS]);
}

static void *run(void *argument) {
    struct reader *reader = argument;
    struct crew *crew = reader->crew;
    pthread_mutex_lock(&crew->gate);
    pthread_mutex_unlock(&crew->gate);
    char *memory = touched(crew->bytes);
    if (!memory)
        __atomic_store_n(&crew->no_memory, true, __ATOMIC_RELAXED);
    pthread_barrier_wait(&crew->barrier);
    if (!__atomic_load_n(&crew->no_memory, __ATOMIC_RELAXED))
        read_all_ways(reader, memory);
    if (memory)
        munmap(memory, crew->bytes);
    return NULL;
}

/* Starts as many as there are to be had, lets them go at once and waits for them. */
static void run_crew(struct crew *crew, int n_threads) {
    pthread_mutex_lock(&crew->gate);
    for (; crew->n < n_threads; crew->n++) {
        crew->readers[crew->n].crew = crew;
        if (pthread_create(&crew->readers[crew->n].thread, NULL, run, &crew->readers[crew->n]) != 0)
            break;
    }
    if (crew->n > 0)
        pthread_barrier_init(&crew->barrier, NULL, (unsigned)crew->n);
    pthread_mutex_unlock(&crew->gate);
    for (int i = 0; i < crew->n; i++)
        pthread_join(crew->readers[i].thread, NULL);
    if (crew->n > 0)
        pthread_barrier_destroy(&crew->barrier);
}

double read_rate(int n_threads, struct read_way *fastest) {
    n_threads = peak_at_most_online(n_threads < 1 ? 1 : n_threads);
    struct crew crew = {.gate = PTHREAD_MUTEX_INITIALIZER,
                        .readers = calloc((size_t)n_threads, sizeof *crew.readers),
                        .bytes = bytes_a_thread(n_threads),
                        .fastest = ways[0]};
    crew.rates = calloc(n_pieces(&crew), sizeof *crew.rates);
    if (crew.readers && crew.rates)
        run_crew(&crew, n_threads);
    free(crew.readers);
    free(crew.rates);
    if (fastest)
        *fastest = crew.fastest;
    return crew.best;
}
