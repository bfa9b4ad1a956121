/* SPDX-License-Identifier: MIT */
#include "bench_config.h"

#include <stdio.h>
#include <stdlib.h>

#include "peak.h"
#include "read_rate.h"

static bool open_config(struct bench_config *config, int n_threads, int isa, int binding) {
    sa_engine_options options = {
        .struct_size = sizeof options, .n_threads = n_threads, .binding = binding, .max_isa = isa};
    config->info.struct_size = sizeof config->info;
    if (sa_engine_create(&options, &config->engine) != SA_OK ||
        sa_engine_get_info(config->engine, &config->info) != SA_OK) {
        fprintf(stderr, "bench: no engine: %s\n", sa_last_reason());
        return false;
    }
    if (isa == SA_ISA_DEFAULT || config->info.isa == isa)
        return true;
    fprintf(stderr, "bench: this machine has no %s\n", bench_isa_name(isa));
    return false;
}

bool bench_configs_open(struct bench_configs *configs, const struct bench_options *options) {
    *configs = (struct bench_configs){0};
    configs->at = calloc((size_t)(options->threads.n * options->isas.n), sizeof *configs->at);
    if (!configs->at)
        return perror("bench"), false;
    for (int i = 0; i < options->isas.n; i++)
        for (int t = 0; t < options->threads.n; t++)
            if (!open_config(&configs->at[configs->n++], options->threads.at[t], options->isas.at[i], options->binding))
                return false;
    return true;
}

void bench_configs_close(struct bench_configs *configs) {
    for (int i = 0; i < configs->n; i++) {
        sa_engine_destroy(configs->at[i].engine);
        bench_samples_free(&configs->at[i].peaks);
        bench_samples_free(&configs->at[i].reads);
    }
    free(configs->at);
    *configs = (struct bench_configs){0};
}

/* Each measurement is the best of some 30 runs, and short, so that a machine that is slower for a while shows in the
 * median of the peaks as it shows in the median of the times. */
void bench_config_measure_peak(struct bench_config *config) {
    enum { N_PEAKS = 10 };
    static const double seconds = 0.002;
    for (int i = 0; i < N_PEAKS; i++)
        bench_samples_add(&config->peaks, peak_flops(peak_threads(&config->info), config->info.isa, seconds));
}

void bench_config_measure_read(struct bench_config *config) {
    bench_samples_add(&config->reads, read_rate(peak_threads(&config->info), &config->way));
}

void bench_configs_summarize(struct bench_configs *configs) {
    for (int i = 0; i < configs->n; i++) {
        configs->at[i].peak = bench_summarize(&configs->at[i].peaks);
        configs->at[i].read = bench_summarize(&configs->at[i].reads);
    }
}
