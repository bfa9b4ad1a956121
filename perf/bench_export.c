/* SPDX-License-Identifier: MIT */
#include "bench_report.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is there stays as it is: measuring may fail yet, and a pipe that is opened twice ends after the first time. */
static bool can_write(const char *path) {
    struct stat found;
    if (!path)
        return true;
    if (stat(path, &found) == 0) {
        if (!S_ISDIR(found.st_mode) && access(path, W_OK) == 0)
            return true;
        errno = S_ISDIR(found.st_mode) ? EISDIR : errno;
        return perror(path), false;
    }
    FILE *file = bench_open_output(path);
    return file && fclose(file) == 0 && remove(path) == 0;
}

bool bench_can_write(const struct bench_options *options) {
    return can_write(options->csv_path) && can_write(options->json_path);
}

FILE *bench_open_output(const char *path) {
    FILE *file = fopen(path, "w");
    if (!file)
        perror(path);
    return file;
}

bool bench_close_output(const char *path, FILE *file) {
    const bool failed = ferror(file);
    if (fclose(file) == 0 && !failed)
        return true;
    perror(path);
    return false;
}

/* ---------------------------------------------------------------- CSV */

static void write_row(FILE *file, const struct bench_result *result) {
    const struct bench_shape *shape = result->c->shape;
    const sa_engine_info *info = &result->config->info;
    const struct bench_summary *time = &result->time;
    const struct bench_rates rates = bench_rates_of(result);
    fprintf(file, "%s,%s,%d,%s,", shape->name, bench_isa_name(info->isa), info->n_threads,
            bench_binding_name(info->binding));
    fprintf(file, "%lld,%d,%d,%d,%d,%.0f,%.0f,%.0f,", (long long)shape->n_seqs, shape->heads, shape->kv_heads,
            shape->d_qk, shape->d_v, result->c->pairs, result->c->flops, result->c->kv_bytes);
    fprintf(file, "%zu,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,", time->n, time->min, time->quarter, time->median,
            time->three_quarters, time->max, result->cpu_time.median);
    fprintf(file, "%.6g,%.6g,%.6g,%.4f,%.4f,%.4f,%.6g,%.3g,", rates.gflops, rates.peak_median, rates.peak_best,
            rates.share, rates.share_best, rates.share_cpu, rates.gbytes, result->error_share);
    fprintf(file, "%s,%s,%s,%lld,%d,", bench_type_name(shape->q_type), bench_type_name(shape->kv_type),
            bench_type_name(shape->o_type), (long long)shape->page, result->copies.n);
    fprintf(file, "%.6g,%.6g,%.4f,%.4f,%.4f,%.4f,%.4f\n", rates.read_median, rates.read_best, rates.share_read,
            rates.share_read_best, rates.share_read_cpu, result->ratio.median, result->loop.median);
}

bool bench_write_csv(const char *path, const struct bench_results *results) {
    FILE *file = bench_open_output(path);
    if (!file)
        return false;
    fputs("shape,kernel,threads,binding,sequences,heads,kv_heads,d_qk,d_v,pairs,flops,kv_bytes,samples,min_s,quarter_s,"
          "median_s,three_quarters_s,max_s,cpu_median_s,gflops,peak_median_gflops,peak_best_gflops,share_median,share_"
          "best,share_cpu,"
          "kv_gbytes_per_s,error_over_bound,q_type,kv_type,o_type,page,copies,read_median_gbytes_per_s,"
          "read_best_gbytes_per_s,share_read,share_read_best,share_read_cpu,over_parts,share_loop\n",
          file);
    for (int i = 0; i < results->n; i++)
        write_row(file, &results->at[i]);
    return bench_close_output(path, file);
}

/* ---------------------------------------------------------------- JSON */

static void write_string(FILE *file, const char *key, const char *text) {
    fprintf(file, "\"%s\": \"", key);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            fprintf(file, "\\%c", *text);
        else if ((unsigned char)*text < ' ')
            fprintf(file, "\\u%04x", (unsigned)*text);
        else
            putc(*text, file);
    fputs("\", ", file);
}

void bench_json_samples(FILE *file, const char *key, const struct bench_samples *samples) {
    fprintf(file, "\"%s\": [", key);
    for (size_t i = 0; i < samples->n; i++)
        fprintf(file, "%s%.6g", i ? ", " : "", samples->at[i]);
    fputc(']', file);
}

void bench_json_head(FILE *file, const struct bench_machine *machine, const struct bench_configs *configs) {
    const sa_engine_info *info = &configs->at[0].info;
    write_string(file, "libsa", sa_version());
    write_string(file, "cpu", machine->cpu);
    fprintf(file, "\"cores\": %d, \"cpus\": %d, \"quota\": %.6g, \"load\": %.3g,\n ", info->n_cores, info->n_cpus,
            info->quota_cpus, machine->load);
    write_string(file, "compiler", bench_compiler);
    write_string(file, "flags", bench_flags);
    fputs("\n \"peaks\": [", file);
    for (int i = 0; i < configs->n; i++) {
        const struct bench_config *config = &configs->at[i];
        fprintf(file, "%s\n  {\"kernel\": \"%s\", \"threads\": %d, ", i ? "," : "", bench_isa_name(config->info.isa),
                config->info.n_threads);
        bench_json_samples(file, "flops_per_s", &config->peaks);
        fputs(", ", file);
        bench_json_samples(file, "read_bytes_per_s", &config->reads);
        fputc('}', file);
    }
    fputs("],\n", file);
}

static void write_share(FILE *file, const char *key, double share) {
    if (share > 0)
        fprintf(file, "\"%s\": %.4f, ", key, share);
    else
        fprintf(file, "\"%s\": null, ", key);
}

static void write_result(FILE *file, const struct bench_result *result) {
    const struct bench_shape *shape = result->c->shape;
    const sa_engine_info *info = &result->config->info;
    const struct bench_rates rates = bench_rates_of(result);
    fputs("  {", file);
    write_string(file, "shape", shape->name);
    write_string(file, "kernel", bench_isa_name(info->isa));
    write_string(file, "binding", bench_binding_name(info->binding));
    fprintf(file, "\"threads\": %d, \"sequences\": %lld, \"heads\": %d, \"kv_heads\": %d, \"d_qk\": %d, \"d_v\": %d,\n",
            info->n_threads, (long long)shape->n_seqs, shape->heads, shape->kv_heads, shape->d_qk, shape->d_v);
    fprintf(file, "   \"pairs\": %.0f, \"flops\": %.0f, \"kv_bytes\": %.0f, \"min_s\": %.9g, \"median_s\": %.9g,\n",
            result->c->pairs, result->c->flops, result->c->kv_bytes, result->time.min, result->time.median);
    fprintf(file, "   \"gflops\": %.6g, \"share_median\": %.4f, \"share_best\": %.4f, \"share_cpu\": %.4f,\n   ",
            rates.gflops, rates.share, rates.share_best, rates.share_cpu);
    fprintf(file, "\"kv_gbytes_per_s\": %.6g, \"error_over_bound\": %.3g,\n   ", rates.gbytes, result->error_share);
    fprintf(file, "\"q_type\": \"%s\", \"kv_type\": \"%s\", \"o_type\": \"%s\", \"page\": %lld, \"copies\": %d,\n   ",
            bench_type_name(shape->q_type), bench_type_name(shape->kv_type), bench_type_name(shape->o_type),
            (long long)shape->page, result->copies.n);
    write_share(file, "share_read", rates.share_read);
    write_share(file, "share_read_best", rates.share_read_best);
    write_share(file, "share_read_cpu", rates.share_read_cpu);
    bench_json_samples(file, "over_parts", &result->ratio_samples);
    fputs(",\n   ", file);
    bench_json_samples(file, "share_loop", &result->loop_samples);
    fputs(",\n   ", file);
    bench_json_samples(file, "samples_s", &result->samples);
    fputs(",\n   ", file);
    bench_json_samples(file, "cpu_samples_s", &result->cpu_samples);
    fputc('}', file);
}

bool bench_write_json(const char *path, const struct bench_machine *machine, const struct bench_results *results) {
    FILE *file = bench_open_output(path);
    if (!file)
        return false;
    fputs("{", file);
    bench_json_head(file, machine, &results->configs);
    fputs(" \"results\": [\n", file);
    for (int i = 0; i < results->n; i++) {
        write_result(file, &results->at[i]);
        fputs(i + 1 < results->n ? ",\n" : "\n", file);
    }
    fputs(" ]}\n", file);
    return bench_close_output(path, file);
}
