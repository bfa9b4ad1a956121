/* SPDX-License-Identifier: MIT */
#include "layer_report.h"

#include "layer_blas.h"

static const char *const part_keys[LAYER_PARTS] = {"layer", "attention", "separate", "packed", "vector"};

static void write_row(FILE *file, const struct layer_result *result) {
    const struct bench_shape *a = &result->shape->attention;
    const struct layer_rates rates = layer_rates_of(result);
    fprintf(file, "%s,%d,%lld,%lld,%d,%d,%d,%d,%d,", a->name, result->config->info.n_threads, (long long)a->n_seqs,
            (long long)result->n_tokens, result->shape->d_model, a->heads, a->kv_heads, a->d_qk, a->d_v);
    fprintf(file, "%s,%s,%s,%s,", bench_type_name(result->shape->x_type), bench_type_name(result->shape->y_type),
            bench_type_name(a->kv_type), bench_type_name(result->shape->weight_type));
    for (int part = 0; part < LAYER_PARTS; part++)
        fprintf(file, "%.9g,%.9g,", result->time[part].median, result->time[part].min);
    fprintf(file, "%s,%.4f,%.4f,%.4f,", layer_products_name(layer_best_products(result)), result->ratio.median,
            bench_spread(&result->ratio), layer_ratio_at_best(result));
    fprintf(file, "%.0f,%.0f,%.6g,%.4f,%.4f,%zu,%.0f,%.6g,%.3g\n", result->product_flops, result->flops, rates.gflops,
            rates.share, rates.share_best, result->workspace_bytes, result->weight_bytes, rates.weight_gbytes,
            result->error_share);
}

bool layer_write_csv(const char *path, const struct layer_results *results) {
    FILE *file = bench_open_output(path);
    if (!file)
        return false;
    fputs("shape,threads,sequences,tokens,d_model,heads,kv_heads,d_qk,d_v,x_type,y_type,kv_type,weight_type,", file);
    for (int part = 0; part < LAYER_PARTS; part++)
        fprintf(file, "%s_median_s,%s_min_s,", part_keys[part], part_keys[part]);
    fputs(
        "products,ratio,ratio_spread,ratio_at_best,product_flops,flops,gflops,share_median,share_best,workspace_bytes,"
        "weight_bytes,weight_gbytes_per_s,error_share\n",
        file);
    for (int i = 0; i < results->n; i++)
        write_row(file, &results->at[i]);
    return bench_close_output(path, file);
}

static void write_result(FILE *file, const struct layer_result *result) {
    const struct layer_rates rates = layer_rates_of(result);
    fprintf(file, "  {\"shape\": \"%s\", \"threads\": %d, \"tokens\": %lld, \"d_model\": %d, \"flops\": %.0f,\n   ",
            result->shape->attention.name, result->config->info.n_threads, (long long)result->n_tokens,
            result->shape->d_model, result->flops);
    fprintf(file, "\"ratio\": %.4f, \"ratio_at_best\": %.4f, \"gflops\": %.6g, \"share_median\": %.4f, ",
            result->ratio.median, layer_ratio_at_best(result), rates.gflops, rates.share);
    fprintf(file, "\"workspace_bytes\": %zu, \"weight_bytes\": %.0f,\n   ", result->workspace_bytes,
            result->weight_bytes);
    bench_json_samples(file, "ratios", &result->ratio_samples);
    for (int part = 0; part < LAYER_PARTS; part++) {
        char key[32];
        snprintf(key, sizeof key, "%s_s", part_keys[part]);
        fputs(",\n   ", file);
        bench_json_samples(file, key, &result->samples[part]);
    }
    fputc('}', file);
}

bool layer_write_json(const char *path, const struct bench_machine *machine, const struct layer_results *results) {
    FILE *file = bench_open_output(path);
    if (!file)
        return false;
    char name[LAYER_BLAS_CHARS];
    fprintf(file, "{\"blas\": \"%s\", ", layer_blas_name(name));
    bench_json_head(file, machine, &results->configs);
    fputs(" \"results\": [\n", file);
    for (int i = 0; i < results->n; i++) {
        write_result(file, &results->at[i]);
        fputs(i + 1 < results->n ? ",\n" : "\n", file);
    }
    fputs(" ]}\n", file);
    return bench_close_output(path, file);
}
